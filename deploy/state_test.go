package deploy_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/graph"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

// whole is all of an account in bytes, but for the present.
func whole(t *testing.T, m *account.Image, kinds *graph.Kinds) string {
	t.Helper()
	x := *m
	x.Now, x.Reached = time.Time{}, time.Time{}
	e := graph.NewEncoder(kinds)
	b, err := e.Append(nil, &x)
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Definitions()) + string(b)
}

// TestStateOfADeployment keeps an account while a deployment is created,
// changed and deleted in it, and dies at random moments: after any request, what
// is on the disk is the account, and an account that is restored of it ends as
// the one does that goes on.
func TestStateOfADeployment(t *testing.T) {
	t.Parallel()
	const seed = 5
	kinds, err := sandbox.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		name, often := "evaluation", 70
		if os.Getenv("POOLHOUSE_FULL") != "" {
			name, often = "production", 10
		}
		a := example(t, name)
		dir := t.TempDir()
		store, err := state.Open(dir, kinds)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t}
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(seed, seed))
		calls, compared, restored := 0, 0, 0
		o := sandbox.Options{Region: a.Config.Region, Now: time.Now, Seed: seed, OnCall: func(c sandbox.Call) {
			mu.Lock()
			defer mu.Unlock()
			calls++
			if w.box == nil || t.Failed() || random.IntN(often) > 0 {
				return
			}
			at := fmt.Sprintf("seed %d, call %d, %s:%s", seed, calls, c.Service, c.Operation)
			var copied string
			err := w.box.Account().Image(func(m *account.Image) error {
				b, err := os.ReadFile(onlyFile(t, dir))
				if err != nil {
					return err
				}
				kept, _, err := state.Read(b, kinds)
				if err != nil {
					return err
				}
				if whole(t, m, kinds) != whole(t, kept, kinds) {
					t.Errorf("%s: the account differs from what is kept of it:\n%s", at, differing(t, kept, m, kinds))
				}
				compared++
				if random.IntN(5) == 0 {
					copied = t.TempDir()
					return os.CopyFS(copied, os.DirFS(dir))
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", at, err)
			}
			if copied != "" {
				restored++
				w.endsAlike(at, copied, kinds)
			}
		}}
		if w.box, err = sandbox.Open(o, store); err != nil {
			t.Fatal(err)
		}
		if _, err := rehearse.Given(w.box, a); err != nil {
			t.Fatal(err)
		}
		w.create(a)
		next := changed(t, a)
		w.update(next)
		w.destroy(next)
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if compared < 10 || restored < 2 {
			t.Errorf("of %d calls, %d were compared and %d restored: too few", calls, compared, restored)
		}
		t.Logf("of %d calls, %d were compared and %d restored", calls, compared, restored)
	})
}

func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "account-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the folder holds %v (%v), want one file", files, err)
	}
	return files[0]
}

// endsAlike restores an account from a folder, and lets it and a clone of the
// world's go on to where nothing is in flight any more.
func (w *world) endsAlike(at, dir string, kinds *graph.Kinds) {
	w.t.Helper()
	end := time.Now().Add(3 * time.Hour)
	later := func() time.Time { return end }
	clone := w.box.Clone(later)
	store, err := state.Open(dir, kinds)
	if err != nil {
		w.t.Errorf("%s: %v", at, err)
		return
	}
	box, err := sandbox.Open(sandbox.Options{Now: later}, store)
	if err != nil {
		w.t.Errorf("%s: %v", at, err)
		return
	}
	if diff := testkit.DiffDumps(testkit.Dump(clone.Account()), testkit.Dump(box.Account())); diff != "" {
		w.t.Errorf("%s: what goes on and what is restored end differently, -on +restored:\n%s", at, diff)
	}
	if err := store.Close(); err != nil {
		w.t.Errorf("%s: %v", at, err)
	}
}

// differing says where two images differ.
func differing(t *testing.T, want, got *account.Image, kinds *graph.Kinds) string {
	t.Helper()
	one := func(r *account.Resource) string {
		return whole(t, &account.Image{Resources: []*account.Resource{r}}, kinds)
	}
	was := map[account.Key]*account.Resource{}
	for _, r := range want.Resources {
		was[account.Key{Type: r.Type, ID: r.ID}] = r
	}
	var out string
	for _, r := range got.Resources {
		k := account.Key{Type: r.Type, ID: r.ID}
		if w := was[k]; w == nil {
			out += fmt.Sprintf("%s %s is missing\n", k.Type, k.ID)
		} else if one(r) != one(w) {
			rx, wx := *r, *w
			rx.State, wx.State = nil, nil
			out += fmt.Sprintf("%s %s: %s\n", k.Type, k.ID, cmp.Diff(wx, rx))
		}
		delete(was, k)
	}
	for k := range was {
		out += fmt.Sprintf("%s %s is left\n", k.Type, k.ID)
	}
	return out + cmp.Diff(want.Events, got.Events) + cmp.Diff(want.Journal, got.Journal)
}
