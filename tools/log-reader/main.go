package main

import (
	_ "github.com/transparency-dev/formats/note"
	_ "github.com/transparency-dev/merkle/rfc6962"
	_ "github.com/transparency-dev/tessera/client"
	_ "github.com/transparency-dev/tessera/fsck"
	_ "golang.org/x/mod/sumdb/tlog"
)

func main() {}
