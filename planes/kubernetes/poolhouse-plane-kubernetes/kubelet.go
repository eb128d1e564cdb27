package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/poolhouse/poolhouse/planes/kubernetes/kubelet"
)

// runKubelet is the kubelet of one of a cluster's nodes, which the cluster's process
// starts.
func runKubelet(in io.Reader) int {
	// Who started it ends it, by the end of its input.
	signal.Ignore(os.Interrupt, syscall.SIGPIPE)
	if err := kubelet.Main(context.Background(), in); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
