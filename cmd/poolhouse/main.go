// Command poolhouse puts the Poolside reference architecture into an AWS
// account from one file, keeps it there and takes it away again.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/poolhouse/poolhouse/internal/cli"
)

func main() {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		// The first signal stops watching, the second exits at once. Neither
		// stops what AWS is doing.
		<-signals
		stop(cli.ErrInterrupted)
		<-signals
		os.Exit(cli.Failed)
	}()
	os.Exit(cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
