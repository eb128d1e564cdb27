package cli_test

import (
	"archive/tar"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// writeTar FILE NAME=SIZE... writes an archive of files whose content hangs on their
// sizes and on how many there are.
func writeTar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tar FILE NAME=SIZE...")
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	w := tar.NewWriter(f)
	for _, file := range args[1:] {
		name, text, _ := strings.Cut(file, "=")
		size, err := strconv.ParseInt(text, 10, 64)
		ts.Check(err)
		ts.Check(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}))
		_, err = io.CopyN(w, rand.NewChaCha8([32]byte{byte(size), byte(len(args))}), size)
		ts.Check(err)
	}
	ts.Check(errors.Join(w.Close(), f.Close()))
}
