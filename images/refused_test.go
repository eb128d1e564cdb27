package images_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poolhouse/poolhouse/bundle/chart"
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
			var refs []chart.Reference
			for _, h := range c.Charts {
				refs = append(refs, h.Images...)
			}
			if _, missing, err := w.open().Locate(t.Context(), c, refs); err != nil || len(missing) == 0 {
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

// Requests of each kind that fail for good, for each reason: the push ends with the names
// of the image and of the layer that it is about, nothing half-done is to be seen, the
// other images get there, and the next push sends what had not arrived.
func TestFailsForGood(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 3 * mebi} {
		c := sample(t, "b.tar", size)
		layer := coreLayer(c)
		for reason, answer := range map[string]struct{ status, cut int }{
			"429": {http.StatusTooManyRequests, 0}, "403": {http.StatusForbidden, 0}, errCut.Error(): {0, 1},
		} {
			for name, about := range map[string]func(repository string, r *http.Request) bool{
				"begin": func(repository string, r *http.Request) bool {
					return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/blobs/") && r.URL.Query().Get("mount") == ""
				},
				"send": func(_ string, r *http.Request) bool {
					return r.Method == http.MethodPatch && r.ContentLength == layer.Size
				},
				"complete": func(_ string, r *http.Request) bool {
					return r.Method == http.MethodPut && r.URL.Query().Get("digest") == layer.Digest
				},
				"put": func(repository string, r *http.Request) bool {
					return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/manifests/")
				},
			} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, "IMMUTABLE")
					repository := w.arch.RepositoryName("core-api")
					total := w.plan(c).Send
					w.meddle = func(_ int, r *http.Request) (int, int) {
						if about(repository, r) {
							return answer.status, answer.cut
						}
						return 0, 0
					}
					_, err := w.push(t.Context(), c)
					failed, ok := errors.AsType[*images.PushError](err)
					if !ok || len(failed.Failures) != 1 || !strings.HasSuffix(failed.Failures[0].Image, "/core-api:v1.0.0") || !strings.Contains(err.Error(), reason) {
						t.Errorf("%s, %s: the error is %v", name, reason, err)
					}
					if name != "put" && (err == nil || !strings.Contains(err.Error(), "sha256:")) {
						t.Errorf("%s, %s: no layer is named: %v", name, reason, err)
					}
					if got := w.visible(); len(got) != 2 || slices.Contains(got, "core-api") {
						t.Errorf("%s, %s: there are %v", name, reason, got)
					}
					w.meddle = nil
					before, missing := w.sent, total-w.layers.Size()
					if _, err := w.push(t.Context(), c); err != nil || w.sent-before != missing {
						t.Errorf("%s, %s: %d bytes came then, and %d were missing: %v", name, reason, w.sent-before, missing, err)
					}
					w.everything(c)
				})
			}
		}
	}
}
