//go:build !linux

// Package agent is what runs in the program poolhouse-pods, on Linux.
package agent

import (
	"fmt"
	"os"
	"runtime"
)

// Main says that there is nothing to run.
func Main([]string) int {
	fmt.Fprintf(os.Stderr, "poolhouse-pods runs on Linux only, and this is %s\n", runtime.GOOS)
	return 1
}
