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
	ts.Check(tarFiles(ts.MkAbs(args[0]), args[1:]...))
}

// tarFiles writes an archive of files, each as NAME=SIZE.
func tarFiles(path string, files ...string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	for _, file := range files {
		name, text, _ := strings.Cut(file, "=")
		size, bad := strconv.ParseInt(text, 10, 64)
		if err = errors.Join(err, bad, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size})); err != nil {
			break
		}
		_, err = io.CopyN(w, rand.NewChaCha8([32]byte{byte(size), byte(len(files) + 1)}), size)
	}
	return errors.Join(err, w.Close(), f.Close())
}
