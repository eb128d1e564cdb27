package images_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/images"
)

// A tag that another image has is not touched, and nothing is sent; one that can be
// moved is.
func TestTagOfAnother(t *testing.T) {
	t.Parallel()
	for _, mutability := range []string{"IMMUTABLE", "MUTABLE"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, mutability)
			if _, err := w.push(t.Context(), sample(t, "b.tar", 1000)); err != nil {
				t.Fatal(err)
			}
			w.writes = nil
			c := sample(t, "b.tar", 2000)
			_, err := w.push(t.Context(), c)
			if mutability == "MUTABLE" {
				if err != nil {
					t.Fatal(err)
				}
				w.everything(c)
				return
			}
			var faults fault.Faults
			if !errors.As(err, &faults) || len(faults) != 3 || !strings.Contains(faults.Error(), "whose tag can't be moved") || len(w.writes) > 0 {
				t.Errorf("%v, after %q", err, w.writes)
			}
		})
	}
}

// What can't be pushed is said before anything is sent, all of it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := sample(t, "b.tar", 1000)
		refused := func(w *world, n int, text string) {
			t.Helper()
			_, err := w.push(t.Context(), c)
			var faults fault.Faults
			if !errors.As(err, &faults) || len(faults) != n || !strings.Contains(faults.Error(), text) || len(w.writes) > 0 {
				t.Errorf("%v, after %q", err, w.writes)
			}
			if missing, err := w.open().Check(t.Context(), c); err != nil || len(missing) == 0 {
				t.Errorf("the charts miss %v, %v", missing, err)
			}
		}
		w := newWorld(t, "IMMUTABLE")
		w.arch.Config.Registry.Repositories = []string{"core-api", "other"}
		refused(w, 2, "add inference to registry.repositories in deployment.yaml")
		w.arch.Config.Name = "another-one"
		w.arch.Config.Registry.Repositories = all
		refused(w, 3, "whose repository another-one/core-api does not exist yet")
		if p, err := images.Prepare(t.Context(), w.open(), c, true); err != nil || p.Send == 0 || p.There != 0 || p.Empty() {
			t.Errorf("before it exists the plan is %+v, %v", p, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "IMMUTABLE")
		c := sample(t, "b.tar", 1000)
		c.Faults = fault.Faults{{Place: "x", Reason: "is damaged", Fix: "fetch it again"}}
		if _, err := w.push(t.Context(), c); err == nil || !strings.Contains(err.Error(), "is damaged") || len(w.writes) > 0 {
			t.Errorf("%v, after %q", err, w.writes)
		}
	})
}
