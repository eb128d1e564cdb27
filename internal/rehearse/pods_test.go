package rehearse

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/internal/testkit"
)

// An installation that failed is none of the charts' fault where it waits for nothing but
// pods that no process can be made of here; and what isn't deployed is named either way.
func TestInstallationThatFailed(t *testing.T) {
	t.Parallel()
	release := func(name, status string, ready, pods int) cluster.Revision {
		return cluster.Revision{Name: name, Namespace: "poolside", Status: status, Ready: ready, Pods: pods}
	}
	one := func(name, notRun, waits string) Pod {
		return Pod{Namespace: "poolside", Name: name, Zone: "z", Ready: notRun+waits == "", NotRun: notRun, Waits: waits}
	}
	first := release("base", "deployed", 1, 1)
	refused := release("platform", "failed", 0, 1)
	refused.Waits = []string{"pod b: the image is for arm64", "Deployment c has no pods: violates PodSecurity"}
	unfit := one("b", "the image is for arm64", "")
	for name, tc := range map[string]struct {
		releases []cluster.Revision
		ran      []Pod
		excused  bool
		says     string
	}{
		"all is well":              {[]cluster.Revision{first, release("platform", "deployed", 1, 1), release("last", "deployed", 0, 0)}, []Pod{one("a", "", ""), one("b", "", "")}, false, "3 releases deployed, 2 of 2 pods ready in 1 zone"},
		"no process":               {[]cluster.Revision{first, release("platform", "failed", 0, 1)}, []Pod{one("a", "", ""), unfit}, true, "1 of 3 releases deployed (platform is failed, last was not begun), 1 of 2 pods ready in 1 zone; process not run: 1"},
		"another pod waits":        {[]cluster.Revision{first, release("platform", "failed", 0, 2)}, []Pod{one("a", "", ""), unfit, one("c", "", "it crashes")}, false, "1 of 3 releases deployed (platform is failed, last was not begun), 1 of 3 pods"},
		"its pods are ready":       {[]cluster.Revision{first, release("platform", "failed", 1, 1)}, []Pod{one("a", "", ""), one("c", "", ""), unfit}, false, "1 of 3"},
		"a release without pods":   {[]cluster.Revision{first, release("platform", "failed", 0, 0)}, []Pod{one("a", "", ""), unfit}, false, "1 of 3"},
		"nothing that was begun":   {[]cluster.Revision{first}, []Pod{one("a", "", ""), unfit}, false, "1 of 3 releases deployed (platform was not begun, last was not begun)"},
		"elsewhere a pod waits":    {[]cluster.Revision{first, release("platform", "failed", 0, 1)}, []Pod{unfit, {Namespace: "kube-system", Name: "d", Waits: "it crashes"}}, true, "1 of 3"},
		"pods that are refused":    {[]cluster.Revision{first, refused}, []Pod{one("a", "", ""), unfit}, false, "1 of 3"},
		"a release left uninstall": {[]cluster.Revision{first, release("platform", "uninstalling", 0, 1)}, []Pod{unfit}, true, "1 of 3 releases deployed (platform is uninstalling, last was not begun)"},
	} {
		p := &Pods{Charts: []string{"base", "platform", "last"}, Releases: tc.releases, Ran: tc.ran}
		if got := p.excused(); got != tc.excused {
			t.Errorf("%s: excused %v", name, got)
		}
		if got := p.summary(); !strings.HasPrefix(got, tc.says) {
			t.Errorf("%s: %q, want %q", name, got, tc.says)
		}
	}
}

// Which pods are behind a group is what Kubernetes says of the services that are bound to
// it, by its ARN or by its name; without the kind there are none.
func TestBehindGroups(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123"
	for name, tc := range map[string]struct {
		bindings string
		want     map[string]bool
	}{
		"by its ARN":  {`{"metadata": {"namespace": "n"}, "spec": {"targetGroupARN": "` + arn + `", "serviceRef": {"name": "s"}}}`, map[string]bool{"10.0.0.1": true, "10.0.0.3": true}},
		"by its name": {`{"metadata": {"namespace": "n"}, "spec": {"targetGroupName": "web", "serviceRef": {"name": "s"}}}`, map[string]bool{"10.0.0.1": true, "10.0.0.3": true}},
		"another":     {`{"metadata": {"namespace": "n"}, "spec": {"targetGroupName": "we", "serviceRef": {"name": "s"}}}`, map[string]bool{}},
		"no kind":     {"", nil},
	} {
		k := &kube{at: "https://kubernetes", way: testkit.Transport{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case tc.bindings != "" && strings.HasSuffix(r.URL.Path, "/targetgroupbindings"):
				fmt.Fprintf(w, `{"items": [%s]}`, tc.bindings)
			case r.URL.Path == "/apis/discovery.k8s.io/v1/namespaces/n/endpointslices" && r.URL.Query().Get("labelSelector") == "kubernetes.io/service-name=s":
				fmt.Fprint(w, `{"items": [{"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}, {"addresses": ["10.0.0.3"]}]}]}`)
			default:
				http.NotFound(w, r)
			}
		})}}
		if got, err := k.behind(t.Context(), arn); err != nil || !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
