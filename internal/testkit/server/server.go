// Package server runs the real servers of data planes for tests, with nothing before
// them: on this machine's disk, or on a [Disk] that can be full. A [Door] before one
// counts what comes to it, where it comes, and cuts it off.
//
// Limits: it opens sockets and starts processes, so it is not for testing/synctest.
package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// Program is the program of a server, by the name of its module in planes: s3,
// registry. The test is skipped where the environment names none.
func Program(t testing.TB, name string) string {
	t.Helper()
	variable := "POOLHOUSE_PLANE_" + strings.ToUpper(name)
	program := os.Getenv(variable)
	if program == "" {
		t.Skipf("%[1]s names no program: go -C planes/%[2]s build -o DIR ./poolhouse-plane-%[2]s, then %[1]s=DIR/poolhouse-plane-%[2]s", variable, name)
	}
	return program
}

// Run starts a server, which ends with the test.
func Run(t testing.TB, o plane.Options) *plane.Server {
	t.Helper()
	s, err := plane.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Disk is a file system of its own, in memory, that a server keeps its data in.
type Disk struct {
	// Options have a server run with it: its program and folder.
	plane.Options
	size int64
}

// NewDisk makes one of so many bytes, in a namespace of the server's. The test is
// skipped where that can't be made.
func NewDisk(t testing.TB, program string, size int64) Disk {
	t.Helper()
	apart := []string{"--user", "--map-root-user", "--mount"}
	if out, err := exec.Command("unshare", append(apart, "true")...).CombinedOutput(); err != nil {
		t.Skipf("file systems can't be mounted: unshare of util-linux and namespaces of users make it possible: %v: %s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "data")
	const mount = `mount -t tmpfs -o size="$1" tmpfs "$2" && exec "$3"`
	args := append(apart, "sh", "-c", mount, "sh", fmt.Sprint(size), dir, program)
	return Disk{plane.Options{Program: "unshare", Args: args, Dir: dir}, size}
}

// Fill takes room away so that so many bytes are left, and returns what gives it back.
// The server's process is its id.
func (d Disk) Fill(t testing.TB, process int, room int64) (empty func()) {
	t.Helper()
	path := filepath.Join(fmt.Sprintf("/proc/%d/root", process), d.Dir, "ballast")
	if err := os.WriteFile(path, make([]byte, d.size-room), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
