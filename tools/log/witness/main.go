// A witness of one log (https://c2sp.org/tlog-witness). What it judges with is transparency-dev's: the note, the
// consistency proof and the cosignature are none of the broker's code. What it saw is kept in memory.
//
//	log-witness -new NAME                                 prints a secret key and the public key for it
//	WITNESS_KEY=... log-witness -listen ADDRESS -log KEY  countersigns checkpoints of the log with that key
//
// With -lie it answers what a witness must not: `signature` signs another text, `size` says that it knows a log that
// is longer.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/transparency-dev/formats/log"
	cosigned "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

type witness struct {
	verifier note.Verifier
	signer   note.Signer
	lie      string
	mutex    sync.Mutex
	latest   log.Checkpoint
}

// The request: the old size, the proof's hashes a line each, an empty line, the checkpoint.
func parse(body string) (old uint64, hashes [][]byte, checkpoint string, err error) {
	head, checkpoint, found := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	if _, err := fmt.Sscanf(lines[0], "old %d", &old); err != nil || !found || fmt.Sprintf("old %d", old) != lines[0] {
		return 0, nil, "", errors.New("malformed")
	}
	for _, line := range lines[1:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != 32 {
			return 0, nil, "", errors.New("malformed proof")
		}
		hashes = append(hashes, hash)
	}
	return old, hashes, checkpoint, nil
}

func (w *witness) add(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, 1<<20))
	if err != nil {
		http.Error(answer, "too long", http.StatusBadRequest)
		return
	}
	old, hashes, text, err := parse(string(body))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	if !strings.HasPrefix(text, w.verifier.Name()+"\n") {
		http.Error(answer, "unknown log", http.StatusNotFound)
		return
	}
	next, _, opened, err := log.ParseCheckpoint([]byte(text), w.verifier.Name(), w.verifier)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusForbidden)
		return
	}
	if old > next.Size {
		http.Error(answer, "the old size is larger than the checkpoint's", http.StatusBadRequest)
		return
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	size := w.latest.Size
	if w.lie == "size" {
		size = next.Size + 1000
	}
	if old != size {
		answer.Header().Set("Content-Type", "text/x.tlog.size")
		answer.WriteHeader(http.StatusConflict)
		fmt.Fprintf(answer, "%d\n", size)
		return
	}
	if old == 0 && len(hashes) > 0 {
		http.Error(answer, "a proof from nothing", http.StatusUnprocessableEntity)
		return
	}
	if old > 0 {
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old, next.Size, hashes, w.latest.Hash, next.Hash); err != nil {
			http.Error(answer, err.Error(), http.StatusUnprocessableEntity)
			return
		}
	}
	if w.lie == "signature" {
		opened.Text = strings.Replace(opened.Text, "\n", "\n1", 1)
	}
	// note.Sign writes the whole note; the cosignature is its last line.
	both, err := note.Sign(&note.Note{Text: opened.Text}, w.signer)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	w.latest = *next
	_, lines, _ := strings.Cut(string(both), "\n\n")
	fmt.Fprint(answer, lines)
}

func run() error {
	name := flag.String("new", "", "make a key of this name")
	listen := flag.String("listen", "127.0.0.1:0", "address")
	logKey := flag.String("log", "", "the log's public key")
	lie := flag.String("lie", "", "what to lie about: signature or size")
	flag.Parse()
	if *name != "" {
		secret, public, err := note.GenerateKey(rand.Reader, *name)
		if err != nil {
			return err
		}
		public, err = cosigned.VKeyToCosignatureV1(public)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n%s\n", secret, public)
		return nil
	}
	verifier, err := note.NewVerifier(*logKey)
	if err != nil {
		return fmt.Errorf("-log: %w", err)
	}
	signer, err := cosigned.NewSignerForCosignatureV1(os.Getenv("WITNESS_KEY"))
	if err != nil {
		return fmt.Errorf("WITNESS_KEY: %w", err)
	}
	own := &witness{verifier: verifier, signer: signer, lie: *lie}
	doors := http.NewServeMux()
	doors.HandleFunc("POST /add-checkpoint", own.add)
	doors.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	return http.ListenAndServe(*listen, doors)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
