package cluster_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/cluster"
)

// script is a program that has read its request.
func script(t *testing.T, body string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("#!/bin/sh\nread line\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReleases holds the conversation with the program that has Helm to its words.
func TestReleases(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	var heard []string
	ask := func(body string) ([]cluster.Applied, error) {
		heard = nil
		return cluster.Releases{Program: script(t, body), Run: "run", Timeout: time.Minute, KeepFailed: true, Tell: func(release, text string) { heard = append(heard, release+" "+text) }}.
			Apply(t.Context(), []cluster.Release{{Name: "acme", Namespace: "poolside", Chart: []byte("chart"), Values: map[string]any{"a": 1}}})
	}
	// It is asked in one line, which it may answer with events first; and it knows
	// nothing of this process.
	got, err := ask(`case $line in '{"operation":"apply","run":"run","releases":[{"name":"acme","namespace":"poolside","chart":"Y2hhcnQ=","values":{"a":1}}],"keepFailed":true,"timeout":60}') ;; *) echo "asked $line" >&2; exit 1 ;; esac
echo '{"event":{"release":"acme","text":"installs"}}'
echo '{"result":[{"name":"'"$AWS_SECRET_ACCESS_KEY$PATH_OF_TEST"'","revision":3,"action":"installed"}]}'`)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]cluster.Applied{{Revision: 3, Action: "installed"}}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"acme installs"}, heard); d != "" {
		t.Error(d)
	}
	_, err = ask(`echo '{"problems":[{"place":"release a","reason":"is bad","next":"mend it"},{"place":"release b","reason":"too","next":"as well"}]}'`)
	var problems *cluster.ReleasesError
	if !errors.As(err, &problems) || len(problems.Problems) != 2 || problems.Problems[0].Next != "mend it" || err.Error() != "release a is bad; release b too" {
		t.Errorf("problems are %v", err)
	}
	if problems.Refused {
		t.Error("they are taken for those of charts")
	}
	if _, err := ask(`echo '{"problems":[{"place":"release a","reason":"is bad","next":"mend it"}],"refused":true}'`); !errors.As(err, &problems) || !problems.Refused {
		t.Errorf("got %v", err)
	}
	for body, want := range map[string]string{
		"echo no JSON; head -c 1000000 /dev/zero": "a line that is no message",
		"echo 'no JSON'":        "a line that is no message",
		"echo broken >&2":       "gave no answer",
		"exit 7":                "exit status 7",
		"kill -9 $$":            "signal: killed",
		`echo '{"result": 3}'`:  "read the answer of",
		`printf '{"result":[]'`: "gave no answer",
	} {
		if _, err := ask(body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", body, err, want)
		}
	}
	if _, err := (cluster.Releases{Program: filepath.Join(t.TempDir(), "none")}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a program: %v", err)
	}
}

// TestReleasesInterrupted ends the program's input with the context, and waits for it.
func TestReleasesInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	mark := filepath.Join(t.TempDir(), "ended")
	r := cluster.Releases{Program: script(t, `echo '{"event":{"release":"acme","text":"installs"}}'
read more
echo > `+mark), Tell: func(string, string) { cancel(why) }}
	if _, err := r.Apply(ctx, nil); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the program did not end by itself: %v", err)
	}
}

// ticking is a clock that is set.
type ticking struct{ now atomic.Int64 }

// Now implements [clock.Clock].
func (c *ticking) Now() time.Time { return time.Unix(c.now.Load(), 0) }

// Sleep implements [clock.Clock].
func (c *ticking) Sleep(context.Context, time.Duration) error {
	return errors.New("nobody sleeps here")
}

// TestGateway answers as the API does, with the caller's token, and makes another one
// when that ends.
func TestGateway(t *testing.T) {
	t.Parallel()
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("Authorization") + " " + r.URL.Path + " " + r.Host))
	}))
	api.EnableHTTP2 = true
	api.StartTLS()
	defer api.Close()
	c := &ticking{}
	made := 0
	fail := false
	g, err := cluster.OpenGateway(cluster.RouteTo(api.URL, api.Certificate(), func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", api.Listener.Addr().String())
	}), c, func(context.Context) (cluster.Token, error) {
		if fail {
			return cluster.Token{}, errors.New("the session has ended")
		}
		made++
		return cluster.Token{Value: strings.Repeat("x", made), Expires: c.Now().Add(10 * time.Second)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	way := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", g.Socket)
	}}
	get := func() (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://kubernetes/api/v1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer mine")
		resp, err := way.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		if err := resp.Write(&b); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, b.String()
	}
	host := strings.TrimPrefix(api.URL, "https://")
	for _, step := range []struct {
		at   int64
		want string
	}{{0, "Bearer x /api/v1 " + host}, {9, "Bearer x /api/v1 " + host}, {10, "Bearer xx /api/v1 " + host}} {
		c.now.Store(step.at)
		if code, got := get(); code != http.StatusOK || !strings.HasSuffix(got, step.want) {
			t.Errorf("at %d: %d %s", step.at, code, got)
		}
	}
	c.now.Store(30)
	fail = true
	if code, got := get(); code != http.StatusBadGateway || !strings.Contains(got, "the session has ended") || strings.Contains(got, "Retry-After") {
		t.Errorf("without a token: %d %s", code, got)
	}
	fail = false
	api.Close()
	if code, got := get(); code != http.StatusBadGateway || !strings.Contains(got, "Retry-After: 1") {
		t.Errorf("without an API: %d %s", code, got)
	}
	if info, err := os.Stat(filepath.Dir(g.Socket)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its folder is %v, %v", info, err)
	}
	way.CloseIdleConnections()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(g.Socket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder stays: %v", err)
	}
}
