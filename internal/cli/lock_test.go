package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// One at a time has a lock file; who is refused is told by whom. What a process that was
// killed has left hinders nobody, and a link is not followed.
func TestOccupy(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lock")
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.Local)
	if err := os.WriteFile(name, []byte(`{"pid": 1, "host": "left by somebody, and longer than what comes `+strings.Repeat("x", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	release, err := occupy(name, at)
	if err != nil {
		t.Fatal(err)
	}
	var held *occupiedError
	if _, err := occupy(name, at); !errors.As(err, &held) || held.by.PID != os.Getpid() || !strings.HasPrefix(err.Error(), "process "+strconv.Itoa(os.Getpid())+" on ") || !strings.Contains(err.Error(), " since 07:08:09 is at it") {
		t.Errorf("while it is held: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left behind: %v", err)
	}

	var inside, most, had atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				release, err := occupy(name, at)
				if errors.As(err, new(*occupiedError)) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				had.Add(1)
				most.Store(max(most.Load(), inside.Add(1)))
				inside.Add(-1)
				if err := release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || had.Load() == 0 {
		t.Errorf("%d had it at a time, of %d", most.Load(), had.Load())
	}

	precious := filepath.Join(t.TempDir(), "precious")
	if err := errors.Join(os.WriteFile(precious, []byte("mine"), 0o600), os.Symlink(precious, name)); err != nil {
		t.Fatal(err)
	}
	if _, err := occupy(name, at); err == nil {
		t.Error("a link is followed")
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}
