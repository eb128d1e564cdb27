// Command poolhouse-releases works on the Helm releases of a cluster. Its parent
// starts it, and asks one thing by a line on its standard input; it ends when that is
// done, or when the input ends.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/poolhouse/poolhouse/releases"
)

func main() {
	// The answer is the only thing that goes to standard output.
	out := os.Stdout
	os.Stdout = os.Stderr
	os.Exit(run(os.Stdin, out))
}

// grace is how long work may take to end with the input. Who asks kills it 10 seconds
// after that.
const grace = 8 * time.Second

func run(in io.Reader, out io.Writer) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		fmt.Fprintln(os.Stderr, "read the request:", err)
		return 1
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines) // its end is all that matters
		stop()
		// What doesn't mind that is given up: nobody may be left who would kill it.
		time.Sleep(grace)
		fmt.Fprintln(os.Stderr, "gave up what did not end with the input")
		os.Exit(1)
	}()
	if err := releases.Serve(ctx, bytes.NewReader(line), out); err != nil {
		fmt.Fprintln(os.Stderr, "answer:", err)
		return 1
	}
	return 0
}
