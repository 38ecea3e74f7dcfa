// Reads a log served in the C2SP tlog-tiles form and checks all of it with implementations that are not the
// broker's: Tessera's fsck (entries, bundles, every tile, the root), golang.org/x/mod (the note, proofs made from
// tiles, the proofs of the JSON interface) and transparency-dev/merkle (the same proofs once more).
//
//	LOG_TOKEN=... log-reader -log https://HOST/log -key NAME+HASH+KEY [-key ...] [-witness NAME+HASH+KEY ...]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	cosigned "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

type log struct {
	base, token string
}

func (l log) get(path string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, l.base+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+l.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, answer.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

func (l log) proof(path string, into any) error {
	body, err := l.get("proof/" + path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// Tiles as golang.org/x/mod asks for them: its paths name the tile's height, ours have it fixed.
func (l log) Height() int                         { return 8 }
func (l log) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (l log) ReadTiles(t []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range t {
		body, err := l.get(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		all = append(all, body)
	}
	return all, nil
}

func raw(hashes []tlog.Hash) [][]byte {
	all := [][]byte{}
	for _, hash := range hashes {
		all = append(all, hash[:])
	}
	return all
}

func leaves(bundle []byte) ([][]byte, error) {
	entries := &api.EntryBundle{}
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func (l log) inclusion(tree tlog.Tree, entry int64, reader tlog.HashReader) error {
	var said struct {
		Leaf, Root tlog.Hash
		Proof      []tlog.Hash
	}
	if err := l.proof(fmt.Sprintf("inclusion?entry=%d&size=%d", entry, tree.N), &said); err != nil {
		return err
	}
	if err := tlog.CheckRecord(said.Proof, tree.N, tree.Hash, entry, said.Leaf); err != nil {
		return fmt.Errorf("inclusion of %d by x/mod: %w", entry, err)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(entry), uint64(tree.N), said.Leaf[:], raw(said.Proof), tree.Hash[:]); err != nil {
		return fmt.Errorf("inclusion of %d by merkle: %w", entry, err)
	}
	own, err := tlog.ProveRecord(tree.N, entry, reader)
	if err != nil {
		return fmt.Errorf("inclusion of %d made from tiles: %w", entry, err)
	}
	if fmt.Sprint(own) != fmt.Sprint(said.Proof) || said.Root != tree.Hash {
		return fmt.Errorf("inclusion of %d: the interface and the tiles disagree", entry)
	}
	return nil
}

func (l log) consistency(tree tlog.Tree, from int64, reader tlog.HashReader) error {
	var said struct {
		FromRoot tlog.Hash `json:"from_root"`
		Proof    []tlog.Hash
	}
	if err := l.proof(fmt.Sprintf("consistency?from=%d&to=%d", from, tree.N), &said); err != nil {
		return err
	}
	old, err := tlog.TreeHash(from, reader)
	if err != nil {
		return err
	}
	if old != said.FromRoot {
		return fmt.Errorf("the root of %d: the interface and the tiles disagree", from)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from), uint64(tree.N), raw(said.Proof), old[:], tree.Hash[:]); err != nil {
		return fmt.Errorf("consistency from %d by merkle: %w", from, err)
	}
	if from == tree.N {
		return nil // x/mod wants no proof here
	}
	if err := tlog.CheckTree(said.Proof, tree.N, tree.Hash, from, old); err != nil {
		return fmt.Errorf("consistency from %d by x/mod: %w", from, err)
	}
	return nil
}

func run() error {
	var keys, witnesses list
	base := flag.String("log", "", "the log's address")
	flag.Var(&keys, "key", "a public key of the log; each of them must have signed")
	flag.Var(&witnesses, "witness", "a witness's public key; each of them must have cosigned")
	flag.Parse()
	l := log{strings.TrimSuffix(*base, "/"), os.Getenv("LOG_TOKEN")}
	if len(keys) == 0 {
		return errors.New("no -key was given")
	}
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		verifiers = append(verifiers, verifier)
	}
	all := append([]note.Verifier{}, verifiers...)
	for _, key := range witnesses {
		verifier, err := cosigned.NewVerifierForCosignatureV1(key)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		all = append(all, verifier)
	}
	text, err := l.get("checkpoint")
	if err != nil {
		return err
	}
	opened, err := note.Open(text, note.VerifierList(all...))
	if err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	if len(opened.Sigs) != len(all) {
		return fmt.Errorf("the checkpoint has %d of %d signatures", len(opened.Sigs), len(all))
	}
	// Its first line is the origin, the next two are those of x/mod's tree.
	lines := strings.SplitN(opened.Text, "\n", 4)
	if len(lines) < 4 || lines[0] != verifiers[0].Name() {
		return fmt.Errorf("the checkpoint is of another log: %q", lines[0])
	}
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + lines[1] + "\n" + lines[2] + "\n"))
	if err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	reader := tlog.TileHashReader(tree, l)
	for _, entry := range places(tree.N) {
		if err := l.inclusion(tree, entry, reader); err != nil {
			return err
		}
		if err := l.consistency(tree, entry+1, reader); err != nil {
			return err
		}
	}
	address, err := url.Parse(l.base)
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(address, nil)
	if err != nil {
		return err
	}
	fetcher.SetAuthorizationHeader("Bearer " + l.token)
	whole := fsck.New(verifiers[0].Name(), verifiers[0], fetcher, leaves, fsck.Opts{N: 1})
	if err := whole.Check(context.Background()); err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	fmt.Printf("checked: %d entries, %d proofs of each kind, %d signatures\n", tree.N, len(places(tree.N)), len(opened.Sigs))
	return nil
}

// Entries whose proofs differ in shape: at the edges of tiles, at the ends, between.
func places(size int64) []int64 {
	var found []int64
	seen := map[int64]bool{}
	for _, at := range []int64{0, 1, 254, 255, 256, 257, size / 3, size / 2, size - 2, size - 1} {
		if at >= 0 && at < size && !seen[at] {
			seen[at] = true
			found = append(found, at)
		}
	}
	return found
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
