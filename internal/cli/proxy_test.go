package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
)

// TestProxyFor: a kubeconfig names the proxy of a route, unless that wants more than
// a kubeconfig can hold.
func TestProxyFor(t *testing.T) {
	t.Parallel()
	const via = "http://proxy.example.com:3128"
	for _, tc := range []struct {
		route cluster.Route
		want  string
		fails string
	}{
		{cluster.Route{Way: architecture.WayDirect}, "", ""},
		{cluster.Route{Way: architecture.WayProxy, Via: via}, via, ""},
		{cluster.Route{Way: architecture.WayProxy, Via: via, Login: true}, "", via + " with a user and password"},
		{cluster.Route{Way: architecture.WaySession, Via: "i-1"}, "", "only a session"},
	} {
		got, err := proxyFor(&tc.route, "my file.yaml")
		if got != tc.want || (err == nil) != (tc.fails == "") {
			t.Errorf("%s: %q, %v", &tc.route, got, err)
		}
		if err == nil {
			continue
		}
		var h hinted
		if !strings.Contains(err.Error(), tc.fails) || !errors.As(err, &h) || !strings.HasSuffix(h.hint, "poolhouse cluster connect -f 'my file.yaml' --kubeconfig kubeconfig") {
			t.Errorf("%s: %v, with the hint %q", &tc.route, err, h.hint)
		}
	}
}
