// Command platform is what the images of the sample's platform run: the component that
// its argument names.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/poolhouse/poolhouse/internal/samplebundle/component"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("the argument is a component, for example core-api")
	}
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("find the way to AWS: %w", err)
	}
	return component.Run(ctx, component.Options{Role: args[0], Env: os.Getenv, Secrets: "/run/secrets", AWS: c, Log: os.Stdout})
}
