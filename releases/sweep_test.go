package releases_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/poolhouse/poolhouse/releases"
)

var (
	full = flag.Bool("full", os.Getenv("POOLHOUSE_FULL") != "", "sweep all crash points, not a seeded part of them")
	seed = flag.Uint64("seed", 1, "seed of the part")
	only = flag.String("case", "", "sweep this crash point alone, as a failure names it: upgrade-3-before")
)

// share is which part of the crash points is swept when it is not all of them.
const share = 0.25

// wanted tells whether a crash point is swept; the first of each deed is always.
func wanted(name string, at int) bool {
	if *only != "" {
		return name == *only
	}
	h := fnv.New32a()
	fmt.Fprint(h, *seed, "|", name)
	return *full || at == 1 || float64(h.Sum32()%1000) < share*1000
}

// killer is a way to a cluster, in the middle of which the program that calls is killed:
// before its nth write arrives, or after it was done and before it is answered. Nothing
// that it has sent arrives later.
type killer struct {
	socket string
	nth    int // 0 never
	after  bool

	program *exec.Cmd
	mu      sync.Mutex
	writes  []string
	killed  bool
}

// kills opens such a way, which is closed with the test.
func kills(t *testing.T, socket string, nth int, after bool) *killer {
	t.Helper()
	folder, err := os.MkdirTemp("", "poolhouse-")
	ok(t, err)
	k := &killer{socket: filepath.Join(folder, "api"), nth: nth, after: after}
	l, err := net.Listen("unix", k.socket)
	ok(t, err)
	away := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Transport: away, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: "kubernetes"})
	}}
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			proxy.ServeHTTP(w, r)
			return
		}
		// One write at a time: which one is the nth is known.
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.killed {
			return
		}
		k.writes = append(k.writes, r.Method+" "+r.URL.Path)
		if len(k.writes) != k.nth {
			proxy.ServeHTTP(w, r)
			return
		}
		if k.after {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		}
		k.killed = true
		if err := k.program.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("kill the program: %v", err)
		}
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		ok(t, server.Close())
		<-served
		away.CloseIdleConnections()
		ok(t, os.RemoveAll(folder))
	})
	return k
}

// ask has the program do something, by the way that it may be killed on.
func (k *killer) ask(t *testing.T, r releases.Request) (a answer) {
	t.Helper()
	r.Socket = k.socket
	line, err := json.Marshal(r)
	ok(t, err)
	dir := t.TempDir()
	k.program = exec.CommandContext(t.Context(), os.Getenv("POOLHOUSE_RELEASES"))
	k.program.Dir, k.program.Env = dir, []string{"HOME=" + dir, "TMPDIR=" + dir}
	var out, said bytes.Buffer
	k.program.Stdout, k.program.Stderr = &out, &said
	in, err := k.program.StdinPipe()
	ok(t, err)
	// It can't be killed before it is known.
	k.mu.Lock()
	err = k.program.Start()
	k.mu.Unlock()
	ok(t, err)
	_, err = in.Write(append(line, '\n'))
	ok(t, err)
	ended := k.program.Wait()
	_ = in.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	if ended != nil && !k.killed {
		t.Fatalf("the program: %v\n%s", ended, &said)
	}
	for d := json.NewDecoder(&out); d.More(); {
		var m releases.Message
		if err := d.Decode(&m); err != nil {
			break // it was killed in the middle of it
		}
		if m.Event == nil {
			a.problems, a.result, a.refused = m.Problems, m.Result, m.Refused
		}
	}
	return a
}

// crashing is a deed that is killed, in a namespace of its own.
type crashing struct {
	fixture
	name string
	// before brings it to where the deed begins, by a program that isn't killed.
	before func(c crashing)
	deed   func(c crashing) releases.Request
	// level is what the releases have in the end; "" if they are gone.
	level string
}

// list are a namespace and what is in it, with a name that no other case has.
func (c crashing) list(replicas int, level string) []releases.Release {
	list := c.releases(c.values(replicas, level))
	list[1].Name = c.namespace + "-platform"
	return list
}

func (c crashing) apply(timeout int, list []releases.Release) releases.Request {
	return releases.Request{Operation: releases.Apply, Socket: c.socket, Run: "run", Timeout: timeout, Releases: list}
}

// stands are the releases of the case, by name.
func (c crashing) stands() map[string]releases.Revision {
	c.t.Helper()
	out := map[string]releases.Revision{}
	for _, r := range read[[]releases.Revision](c.t, ask(c.t.Context(), c.t, releases.Request{Operation: releases.Status, Socket: c.socket})) {
		if strings.HasPrefix(r.Name, c.namespace+"-") {
			out[r.Name] = r
		}
	}
	return out
}

// uninstall are the case's releases that stand: who names none means those.
func (c crashing) uninstall() releases.Request {
	r := releases.Request{Operation: releases.Uninstall, Socket: c.socket, Timeout: 60}
	for name := range c.stands() {
		r.Releases = append(r.Releases, releases.Release{Name: name})
	}
	return r
}

// ends has the deed's command run again, and be as if nobody had been killed.
func (c crashing) ends() {
	c.t.Helper()
	if c.level == "" {
		if again := c.uninstall(); len(again.Releases) > 0 {
			read[[]releases.Applied](c.t, ask(c.t.Context(), c.t, again))
		}
		if left := c.stands(); len(left) > 0 {
			c.t.Errorf("releases are left: %+v", left)
		}
		for _, namespace := range []string{"kube-system", c.namespace} {
			secrets, err := c.admin.CoreV1().Secrets(namespace).List(c.t.Context(), meta.ListOptions{LabelSelector: "owner=helm"})
			ok(c.t, err)
			for _, s := range secrets.Items {
				if strings.HasPrefix(s.Labels["name"], c.namespace+"-") {
					c.t.Errorf("the record %s/%s is left", namespace, s.Name)
				}
			}
		}
		// Who was killed has deleted it, and none is left to wait for it.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // the cluster is a process of its own
			_, err := c.admin.CoreV1().Namespaces().Get(c.t.Context(), c.namespace, meta.GetOptions{})
			if apierrors.IsNotFound(err) {
				return
			}
			ok(c.t, err)
			if time.Now().After(deadline) {
				c.t.Fatal("its namespace is there")
			}
		}
	}
	list := c.list(0, c.level)
	read[[]releases.Applied](c.t, ask(c.t.Context(), c.t, c.apply(60, list)))
	stands := c.stands()
	for _, r := range list {
		if got := stands[r.Name]; got.Status != "deployed" {
			c.t.Errorf("release %s is %+v", r.Name, got)
		}
		history := read[[]releases.Revision](c.t, ask(c.t.Context(), c.t, releases.Request{Operation: releases.History, Socket: c.socket, Releases: []releases.Release{{Name: r.Name, Namespace: r.Namespace}}}))
		deployed := 0
		for i, h := range history {
			if h.Status == "deployed" {
				deployed++
			}
			if strings.HasPrefix(h.Status, "pending") && i == len(history)-1 {
				c.t.Errorf("release %s is pending: %+v", r.Name, h)
			}
		}
		if deployed != 1 {
			c.t.Errorf("%d revisions of release %s are deployed: %+v", deployed, r.Name, history)
		}
	}
	if got := c.fixture.level(); got != c.level {
		c.t.Errorf("level %s, want %s", got, c.level)
	}
	all, err := c.admin.AppsV1().Deployments(c.namespace).List(c.t.Context(), meta.ListOptions{})
	ok(c.t, err)
	if len(all.Items) != 1 || *all.Items[0].Spec.Replicas != 0 {
		c.t.Errorf("the namespace has %+v", all.Items)
	}
	var did []string
	for _, one := range read[[]releases.Applied](c.t, ask(c.t.Context(), c.t, c.apply(60, list))) {
		did = append(did, one.Action)
	}
	same(c.t, did, []string{"unchanged", "unchanged"})
}

// TestSweepKubernetes kills the program before and after each write of Helm's to a real
// API server: of an installation, an upgrade, an upgrade that is rolled back, and a
// removal. The next run ends as if nobody had been killed: one revision is deployed, or
// nothing is left.
//
// Limits: of writes that Helm sends side by side the order is that of one run, and one
// arrives at a time.
func TestSweepKubernetes(t *testing.T) {
	if os.Getenv("POOLHOUSE_RELEASES") == "" {
		t.Skip("POOLHOUSE_RELEASES names no program: go build -o DIR ./poolhouse-releases, then POOLHOUSE_RELEASES=DIR/poolhouse-releases")
	}
	socket, admin := cluster(t)
	applied := func(replicas int, level string) func(crashing) {
		return func(c crashing) {
			read[[]releases.Applied](c.t, ask(c.t.Context(), c.t, c.apply(60, c.list(replicas, level))))
		}
	}
	var survived, points atomic.Int64
	began := time.Now()
	t.Run("points", func(t *testing.T) {
		for _, deed := range []crashing{
			{name: "install", before: func(crashing) {}, deed: func(c crashing) releases.Request { return c.apply(60, c.list(0, "low")) }, level: "low"},
			{name: "upgrade", before: applied(0, "low"), deed: func(c crashing) releases.Request { return c.apply(60, c.list(0, "high")) }, level: "high"},
			{name: "rollback", before: applied(0, "low"), deed: func(c crashing) releases.Request { return c.apply(2, c.list(1, "high")) }, level: "low"},
			{name: "uninstall", before: applied(0, "low"), deed: crashing.uninstall},
		} {
			t.Run(deed.name, func(t *testing.T) {
				t.Parallel()
				at := func(t *testing.T, name string) crashing {
					c := deed
					c.fixture = fixture{t, socket, name, admin}
					c.before(c)
					return c
				}
				// Undisturbed, it ends, and its writes are counted.
				c := at(t, deed.name)
				counted := kills(t, socket, 0, false)
				a := counted.ask(t, c.deed(c))
				if (len(a.problems) > 0) != (deed.name == "rollback") {
					t.Fatalf("undisturbed: %+v", a.problems)
				}
				c.ends()
				points.Add(int64(2 * len(counted.writes)))
				t.Logf("%d writes: %s", len(counted.writes), strings.Join(counted.writes, ", "))
				for nth := range counted.writes {
					for _, after := range []bool{false, true} {
						name := fmt.Sprintf("%s-%d-%s", deed.name, nth+1, map[bool]string{false: "before", true: "after"}[after])
						if !wanted(name, nth+1) {
							continue
						}
						t.Run(name, func(t *testing.T) {
							c := at(t, name)
							k := kills(t, socket, nth+1, after)
							k.ask(t, c.deed(c))
							if !k.killed {
								t.Fatalf("it was not killed, at writes %q", k.writes)
							}
							c.ends()
							if !t.Failed() {
								survived.Add(1)
							} else {
								t.Logf("killed at %s; once more: go test -run '^TestSweepKubernetes$' -case %s .", slices.Concat(k.writes)[len(k.writes)-1], name)
							}
						})
					}
				}
			})
		}
	})
	t.Logf("seed %d: %d crash points of %d survived in %v", *seed, survived.Load(), points.Load(), time.Since(began).Round(time.Second))
	if survived.Load() == 0 || *only == "" && points.Load() < leastPoints {
		t.Errorf("%d of %d crash points were survived", survived.Load(), points.Load())
	}
}

// leastPoints is how many crash points there are in all at the least.
const leastPoints = 40
