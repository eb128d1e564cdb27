package objects_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/cluster/objects"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
)

// caller shows a token, as whoever leads to an API does.
type caller struct{ next http.RoundTripper }

func (c caller) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer token")
	return c.next.RoundTrip(r)
}

func client(h http.Handler) *objects.Client {
	return &objects.Client{Endpoint: "https://kubernetes", Transport: caller{testkit.Transport{Handler: h}}, Clock: clock.Real{}}
}

// TestListsAreWhole reads lists of several pages, and of kinds that the cluster has not.
func TestListsAreWhole(t *testing.T) {
	t.Parallel()
	api := kubernetes.New(nil)
	const many = 1203
	for i := range many {
		api.Put(fmt.Sprintf("/api/v1/namespaces/n%d/services/s", i), `{"spec": {"type": "LoadBalancer"}}`)
	}
	api.Put("/api/v1/namespaces/n/services/other", `{"spec": {"type": "NodePort"}}`)
	got, err := client(api).Fronts(t.Context())
	if err != nil || len(got) != many {
		t.Errorf("%d of %d Services, %v", len(got), many, err)
	}
	if got, err := client(api).Bindings(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("bindings of a cluster without their kind: %v, %v", got, err)
	}
}

// TestWhatPassesIsAskedAgain asks again what a server in trouble was asked, for about a
// minute, and not what is refused; before each attempt of a write the gate is asked.
func TestWhatPassesIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status, times int
		wantAsked     int
		wantTime      time.Duration
		want          string
	}{
		"trouble that passes":      {http.StatusServiceUnavailable, 2, 3, 6 * time.Second, ""},
		"too many":                 {http.StatusTooManyRequests, 1, 2, 2 * time.Second, ""},
		"trouble that doesn't":     {http.StatusInternalServerError, 100, 6, 62 * time.Second, "DELETE /api/v1/namespaces/n/services/s: 500 Internal Server Error: \"not now\""},
		"a refusal":                {http.StatusForbidden, 100, 1, 0, "403 Forbidden"},
		"a redirect is no success": {http.StatusTemporaryRedirect, 100, 1, 0, "307 Temporary Redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := kubernetes.New(nil)
				api.Put("/api/v1/namespaces/n/services/s", `{"spec": {"type": "LoadBalancer"}}`)
				n, gated := 0, 0
				api.Before = func(string, string) int {
					if n++; n <= tc.times {
						return tc.status
					}
					return 0
				}
				c := client(api)
				c.Gate = func(context.Context) error { gated++; return nil }
				list, err := c.Fronts(t.Context())
				if err != nil || gated != 0 {
					t.Fatalf("a read asked the gate %d times: %v", gated, err)
				}
				start := time.Now()
				err = c.Delete(t.Context(), list[0])
				if took := time.Since(start); n != tc.wantAsked || gated != n || took != tc.wantTime {
					t.Errorf("asked %d times behind %d gates in %v, want %d in %v", n, gated, took, tc.wantAsked, tc.wantTime)
				}
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
			})
		})
	}
}

// TestShutGate sends no write, and returns the gate's error.
func TestShutGate(t *testing.T) {
	t.Parallel()
	api := kubernetes.New(nil)
	api.Put("/api/v1/persistentvolumes/v", `{"spec": {"persistentVolumeReclaimPolicy": "Delete"}}`)
	api.Before = func(method, path string) int { t.Errorf("%s %s was sent", method, path); return 0 }
	shut := errors.New("the lease is lost")
	c := client(api)
	c.Gate = func(context.Context) error { return shut }
	if _, err := c.Retain(t.Context()); !errors.Is(err, shut) {
		t.Errorf("got %v", err)
	}
}

// TestOthersAreLeft deletes and changes only the object that was seen.
func TestOthersAreLeft(t *testing.T) {
	t.Parallel()
	api := kubernetes.New(nil)
	const at = "/api/v1/namespaces/n/services/s"
	api.Put(at, `{"spec": {"type": "LoadBalancer"}}`)
	c := client(api)
	list, err := c.Fronts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	uid := api.Put(at, `{"spec": {"type": "LoadBalancer"}}`)
	if err := c.Delete(t.Context(), list[0]); err != nil || api.Get(at) == nil {
		t.Errorf("another object %s of the name went: %v", uid, err)
	}
}

// TestRetain has volumes and the snapshots of volumes outlive their objects.
func TestRetain(t *testing.T) {
	t.Parallel()
	api := kubernetes.New(map[string]map[string]string{"snapshot.storage.k8s.io/v1": {"volumesnapshotcontents": "VolumeSnapshotContent"}})
	const content = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/c"
	api.Put("/api/v1/persistentvolumes/goes", `{"spec": {"persistentVolumeReclaimPolicy": "Delete", "claimRef": {"namespace": "n", "name": "c"}, "csi": {"driver": "d", "volumeHandle": "vol-1"}}}`)
	api.Put("/api/v1/persistentvolumes/stays", `{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}`)
	api.Put(content, `{"spec": {"deletionPolicy": "Delete", "driver": "d"}}`)
	got, err := client(api).Retain(t.Context())
	if err != nil || len(got) != 1 || got[0].Handle != "vol-1" || got[0].Claim != "n/c" {
		t.Errorf("changed %+v, %v", got, err)
	}
	for path, want := range map[string]any{
		"/api/v1/persistentvolumes/goes": kubernetes.Object{"persistentVolumeReclaimPolicy": "Retain", "claimRef": kubernetes.Object{"namespace": "n", "name": "c"}, "csi": kubernetes.Object{"driver": "d", "volumeHandle": "vol-1"}},
		content:                          kubernetes.Object{"deletionPolicy": "Retain", "driver": "d"},
	} {
		if diff := cmp.Diff(want, api.Get(path)["spec"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if got, err := client(api).Retain(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("changed again: %+v, %v", got, err)
	}
}

// TestUsers finds what is at the top of those that made pods which use claims.
func TestUsers(t *testing.T) {
	t.Parallel()
	api := kubernetes.New(map[string]map[string]string{"acme.example.com/v1": {"databases": "Database"}})
	own := func(version, kind, name, uid string) string {
		return fmt.Sprintf(`"ownerReferences": [{"apiVersion": %q, "kind": %q, "name": %q, "uid": %q, "controller": true}]`, version, kind, name, uid)
	}
	const claim = `"spec": {"volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "c"}}]}`
	// Its fields have the names of others that are read, and other types.
	top := api.Put("/apis/acme.example.com/v1/namespaces/n/databases/main", `{"spec": {"type": 3, "capacity": "10Gi", "claimRef": "c"}, "status": {"conditions": "fine"}}`)
	set := api.Put("/apis/apps/v1/namespaces/n/statefulsets/db", `{"metadata": {`+own("acme.example.com/v1", "Database", "main", top)+`}}`)
	for i := range 2 {
		api.Put(fmt.Sprintf("/api/v1/namespaces/n/pods/db-%d", i), `{"metadata": {`+own("apps/v1", "StatefulSet", "db", set)+`}, `+claim+`}`)
	}
	api.Put("/api/v1/namespaces/n/pods/alone", `{`+claim+`}`)
	api.Put("/api/v1/namespaces/n/pods/of-node", `{"metadata": {`+own("v1", "Node", "one", "u")+`}, `+claim+`}`)
	api.Put("/api/v1/namespaces/n/pods/of-another", `{"metadata": {`+own("apps/v1", "StatefulSet", "db", "of-before")+`}, `+claim+`}`)
	api.Put("/api/v1/namespaces/n/pods/unknown-kind", `{"metadata": {`+own("gone.example.com/v1", "Thing", "t", "u")+`}, `+claim+`}`)
	api.Put("/api/v1/namespaces/n/pods/idle", `{"metadata": {`+own("apps/v1", "StatefulSet", "db", set)+`}, "spec": {}}`)
	got, err := client(api).Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, o := range got {
		words = append(words, o.String())
	}
	want := []string{"Pod alone in n", "Database main in n", "Pod of-another in n", "Pod of-node in n", "Pod unknown-kind in n"}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHostileAnswers: what an API names can't lead a request elsewhere, and an answer
// has an end.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"is no name":             `{"items": [{"metadata": {"name": "../../secrets/x", "namespace": "n"}, "spec": {"type": "LoadBalancer"}}]}`,
		"which is no name":       `{"items": [{"metadata": {"name": "x", "namespace": "n?watch=1"}}]}`,
		"read the answer":        `{"items": 3}`,
		"the answer has more":    strings.Repeat(" ", 64<<20+1),
		"unexpected end of JSON": ``,
	} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			// The client may have had enough.
			_, _ = w.Write([]byte(answer))
		})
		if _, err := client(h).Claims(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

// TestReleases are the latest revisions, by labels alone.
func TestReleases(t *testing.T) {
	t.Parallel()
	api := kubernetes.New(nil)
	for _, v := range []string{"9", "10", "1"} {
		api.Put("/api/v1/namespaces/n/secrets/sh.helm.release.v1.web.v"+v, `{"metadata": {"labels": {"owner": "helm", "name": "web", "version": "`+v+`", "status": "superseded"}}}`)
	}
	api.Put("/api/v1/namespaces/n/secrets/sh.helm.release.v1.own.v1", `{"metadata": {"labels": {"owner": "helm", "name": "own", "version": "1", "status": "deployed", "poolhouse/order": "001"}}}`)
	api.Put("/api/v1/namespaces/n/secrets/other", `{"metadata": {"labels": {"name": "password"}}}`)
	got, err := client(api).Releases(t.Context())
	if diff := cmp.Diff([]objects.Release{{Name: "own", Namespace: "n", Revision: "1", Status: "deployed", Order: "001"}, {Name: "web", Namespace: "n", Revision: "10", Status: "superseded"}}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
