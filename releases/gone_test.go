package releases_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/poolhouse/poolhouse/releases"
)

// unheard is a socket before another, behind which nobody hears of what a collection
// consists of.
func unheard(t *testing.T, socket, collection string) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "poolhouse-")
	ok(t, err)
	l, err := net.Listen("unix", filepath.Join(folder, "api"))
	ok(t, err)
	away := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Transport: away, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: "kubernetes"})
	}}
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == collection {
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ok(t, server.Close())
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		away.CloseIdleConnections()
		ok(t, os.RemoveAll(folder))
	})
	return filepath.Join(folder, "api")
}

// gone has a removal wait for each object, also for one that no watch has told of when
// the others are gone, and name what is left.
func gone(t *testing.T, f fixture) {
	list := f.releases(f.values(0, "low"))
	list[1].Name = f.namespace + "-platform"
	same(t, f.actions(f.apply(60, list)), []string{"installed", "installed"})
	hold := func(finalizers string) {
		t.Helper()
		_, err := f.admin.AppsV1().Deployments(f.namespace).Patch(t.Context(), "core-api", types.MergePatchType, []byte(`{"metadata": {"finalizers": `+finalizers+`}}`), meta.PatchOptions{})
		ok(t, err)
	}
	hold(`["example.com/hold"]`)
	a := ask(t.Context(), t, releases.Request{
		Operation: releases.Uninstall, Socket: unheard(t, f.socket, "/apis/apps/v1/namespaces/"+f.namespace+"/deployments"), Timeout: 2,
		Releases: []releases.Release{{Name: list[1].Name}},
	})
	if len(a.problems) != 1 || !strings.Contains(a.problems[0].Reason, "Deployment core-api is not gone after 2s: it waits for what it owns, or for a finalizer") {
		t.Errorf("with a finalizer: %+v", a)
	}
	hold("null")
	same(t, f.actions(ask(t.Context(), t, releases.Request{Operation: releases.Uninstall, Socket: f.socket, Timeout: 60, Releases: []releases.Release{{Name: list[0].Name}}})), []string{"removed"})
}
