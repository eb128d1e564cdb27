// Command poolhouse-plane-oidc is the identity provider of a sandbox. Its parent
// starts it, and says on its standard input what to be; it ends when that ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/poolhouse/poolhouse/planes/oidc"
)

func main() {
	// The answer is the only thing that goes to standard output: what the server
	// prints is its log.
	out := os.Stdout
	os.Stdout = os.Stderr
	os.Exit(run(os.Stdin, out))
}

// start is the line that the parent writes, ready is the answer to it.
type start struct {
	Config    oidc.Config       `json:"config"`
	Dir       string            `json:"dir"`
	Temporary bool              `json:"temporary"`
	Listen    map[string]string `json:"listen"`
}

type ready struct {
	Addresses map[string]string `json:"addresses,omitempty"`
	Error     string            `json:"error,omitempty"`
}

func run(in io.Reader, out io.Writer) int {
	ctx, quiet := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer quiet()
	// Nobody reads the log any more once the parent has ended, which must not
	// cut the end short.
	signal.Ignore(syscall.SIGPIPE)
	// A signal that comes after the end of the input must not cut the end short.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	var s start
	if err == nil {
		err = json.Unmarshal(line, &s)
	}
	if err != nil {
		return fail(out, fmt.Errorf("read what to be: %w", err))
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		stop()
	}()
	if s.Temporary {
		if err := os.MkdirAll(s.Dir, 0o700); err != nil {
			return fail(out, err)
		}
	}
	err = oidc.Serve(ctx, s.Config, s.Listen["oidc"], func(address string) {
		if err := say(out, ready{Addresses: map[string]string{"oidc": address}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	if s.Temporary {
		err = errors.Join(err, os.RemoveAll(s.Dir))
	}
	if err != nil {
		return fail(out, err)
	}
	return 0
}

func fail(out io.Writer, err error) int {
	fmt.Fprintln(os.Stderr, err)
	_ = say(out, ready{Error: err.Error()}) // it has gone to the log as well
	return 1
}

func say(out io.Writer, r ready) error {
	return json.NewEncoder(out).Encode(r)
}
