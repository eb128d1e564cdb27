package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
