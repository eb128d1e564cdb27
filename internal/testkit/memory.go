package testkit

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peak is where Linux says how much memory a process has had at most, in KiB.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
var peak = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// Peak is the most memory, in bytes, that the process has had: what lay in it at one time
// as Linux counts it, its program included, or what Go's runtime got from the system, if
// that is more.
func Peak() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/status")
	if found := peak.FindSubmatch(text); err == nil && found != nil {
		if kib, err := strconv.ParseUint(string(found[1]), 10, 64); err == nil {
			return max(kib<<10, m.Sys)
		}
	}
	return m.Sys
}

// Apart has a test run in a process of its own, whose memory nobody else uses. It returns
// true there; elsewhere it returns false once that process has ended, whose failure is the
// test's.
func Apart(t *testing.T) bool {
	t.Helper()
	const variable = "POOLHOUSE_TEST_APART"
	if os.Getenv(variable) == t.Name() {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	if d, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(d).String())
	}
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = append(os.Environ(), variable+"="+t.Name())
	said, err := c.CombinedOutput()
	if err != nil || !bytes.Contains(said, []byte("--- PASS: "+t.Name())) {
		t.Errorf("in a process of its own: %v\n%s", err, said)
		return false
	}
	t.Logf("in a process of its own:\n%s", said)
	return false
}
