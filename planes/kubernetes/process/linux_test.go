package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// nobody is a user who may nothing.
const nobody = 65534

// TestOrdinaryUser: containers run for who isn't root too, as the tests of this package
// ask of them.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		return // all of them are it
	}
	// Folders of tests are for their user alone.
	dir, err := os.MkdirTemp("", "ordinary-")
	ok(t, err)
	t.Cleanup(func() { ok(t, os.RemoveAll(dir)) })
	ok(t, os.Chmod(dir, 0o755))
	tests, program, temporary := filepath.Join(dir, "tests"), filepath.Join(dir, "guest"), filepath.Join(dir, "tmp")
	put(t, tests, os.Args[0])
	put(t, program, guest(t))
	ok(t, os.Mkdir(temporary, 0o700))
	ok(t, os.Chown(temporary, nobody, nobody))
	c := exec.CommandContext(t.Context(), tests, "-test.v")
	c.Dir, c.Env = temporary, []string{"TMPDIR=" + temporary, guestAt + "=" + program, "PATH=/usr/bin:/bin"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if err != nil || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestKeyrings: no process has the keys of who started the runtime, or of another's.
func TestKeyrings(t *testing.T) {
	t.Parallel()
	w := open(t)
	s, _ := w.pod(process.SandboxOptions{})
	own, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	ok(t, err)
	seen := map[string]bool{fmt.Sprint(own): true}
	for range 2 {
		out, exit := run(t, s, w.container("keyring"))
		if exit.Code != 0 || seen[out] {
			t.Errorf("%v: keyring %s, others are %v", exit, out, seen)
		}
		seen[out] = true
	}
}
