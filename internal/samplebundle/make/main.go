// Command make makes the sample bundle. Run it at the top of the repository:
//
//	go run ./internal/samplebundle/make sample.tar.gz
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 1 {
		return errors.New("make takes the name of the bundle: go run ./internal/samplebundle/make sample.tar.gz")
	}
	dir, err := os.MkdirTemp("", "poolhouse-sample-")
	if err != nil {
		return fmt.Errorf("make the sample bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o, err := samplebundle.Write(dir, samplebundle.Build)
	if err != nil {
		return err
	}
	made, err := bundle.Build(context.Background(), args[0], o)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d files, %d bytes\n", made.Path, made.Files, made.Size)
	return nil
}
