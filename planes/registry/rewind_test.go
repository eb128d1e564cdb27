package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAbandonedUploads has clients begin uploads and go away: what nobody goes on with
// for a day is forgotten, with what came of it, and what goes on stays.
func TestAbandonedUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &rewinding{root: t.TempDir(), uploads: map[string]*upload{}}
		goOn := func(id string, turn int64) (release func(bool)) {
			t.Helper()
			if err := os.MkdirAll(u.folder(id), 0o700); err != nil {
				t.Fatal(err)
			}
			release, err := u.take(t.Context(), id, turn)
			if err != nil {
				t.Fatal(err)
			}
			return release
		}
		there := func(id string) bool {
			_, err := os.Stat(u.folder(id))
			return u.uploads[id] != nil && err == nil
		}
		const abandonedOnes = 100
		for n := range abandonedOnes {
			goOn(fmt.Sprint("left-", n), 1)(false)
		}
		goOn("slow", 1)(false)
		busy := goOn("busy", 1)
		time.Sleep(23 * time.Hour)
		goOn("slow", 2)(false)
		if len(u.uploads) != abandonedOnes+2 {
			t.Errorf("after 23 hours %d are there", len(u.uploads))
		}
		time.Sleep(2 * time.Hour)
		goOn("new", 1)(false)
		if len(u.uploads) != 3 || !there("slow") || !there("busy") || !there("new") {
			t.Errorf("after 25 hours %d are there", len(u.uploads))
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(u.folder("x")), "left-*")); err != nil || len(left) > 0 {
			t.Errorf("on the disk there are %d, %v", len(left), err)
		}
		if _, err := u.take(t.Context(), "slow", 2); !errors.Is(err, errLate) {
			t.Errorf("what goes on has forgotten its turns: %v", err)
		}
		busy(false)
	})
}

// TestUploadOfTwo has two clients go on with one upload at the same time: the later
// request waits until the earlier one is over, so that what one sends is never mixed into
// what the other does. One whose client goes away meanwhile waits no more.
func TestUploadOfTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &rewinding{root: t.TempDir(), uploads: map[string]*upload{}}
		release, err := u.take(t.Context(), "one", 1)
		if err != nil {
			t.Fatal(err)
		}
		var inside atomic.Bool
		over := make(chan func(bool), 1)
		go func() {
			next, err := u.take(t.Context(), "one", 2)
			if err != nil {
				t.Error(err)
				return
			}
			inside.Store(true)
			over <- next
		}()
		gone, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := u.take(gone, "one", 3)
			left <- err
		}()
		synctest.Wait()
		if inside.Load() {
			t.Error("the second goes on beside the first")
		}
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who goes away while it waits gets %v", err)
		}
		release(false)
		synctest.Wait()
		if !inside.Load() {
			t.Fatal("the second waits on after the first is over")
		}
		(<-over)(false)
		if _, err := u.take(t.Context(), "one", 2); !errors.Is(err, errLate) {
			t.Errorf("a turn that is over gets %v", err)
		}
	})
}
