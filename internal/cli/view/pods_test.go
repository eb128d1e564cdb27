package view

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/internal/rehearse"
)

// TestPods is what a rehearsal prints of Kubernetes: releases, pods and their nodes, what
// the hosts answered and from which pods, what these said, and what was refused.
func TestPods(t *testing.T) {
	t.Parallel()
	p := &rehearse.Pods{
		Bundle: "the sample bundle", Charts: []string{"poolhouse-foundation", "platform", "inference"},
		Releases: []cluster.Revision{
			{Name: "poolhouse-foundation", Namespace: "kube-system", Status: "deployed"},
			{Name: "platform", Namespace: "poolside", Status: "failed", Ready: 1, Pods: 3},
		},
		Ran: []rehearse.Pod{
			{Namespace: "poolside", Name: "core-api-1", Node: "ip-10-80-1-1", Kind: "core", Zone: "us-east-1a", Ready: true},
			{Namespace: "poolside", Name: "web-assistant-1", Node: "ip-10-80-2-1", Kind: "interface, web-assistant", Zone: "us-east-1b", NotRun: "the image is for arm64"},
			{Namespace: "poolside-models", Name: "inference-1", GPUs: 8, Waits: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu"},
		},
		Entries: []rehearse.Entry{
			{Host: "poolside.example.com", Status: 302, Leads: "https://login.example.com/authorize", User: "user@example.com", Redirects: 4, Pod: "web-assistant-1", Bound: []string{"web-assistant-1", "web-assistant-2"}},
			{Host: "api.poolside.example.com", Status: 200, Pod: "interface-1", Bound: []string{"interface-1"}},
			{Host: "admin.poolside.example.com", Status: 302, Leads: "https://login.example.com/authorize", Bound: []string{"admin-console-1"}, LeftOut: "nobody signed in (--without oidc)"},
			{Host: "other.poolside.example.com", LeftOut: "no pod is bound to its target group"},
		},
		Told: []rehearse.Told{{Component: "core-api", Pod: "core-api-1", Host: "api.poolside.example.com", Checks: []rehearse.Check{
			{Check: "identity", Required: true, OK: true, Says: "arn:aws:sts::123456789012:assumed-role/poolside-core-api"},
			{Check: "database", Required: true, LeftOut: "databases hold no rows here (--without postgres)", Says: "no route"},
			{Check: "checkpoint", Says: "there is none of the name"},
		}}},
		Apart:   []rehearse.Apart{{Pods: "core", Nodes: "gpu", Says: "0/3 nodes are available: 1 node(s) had untolerated taint"}},
		Refused: []rehearse.Refused{{Namespace: "poolside", What: "runs as root", Says: `violates PodSecurity "restricted:latest"`}},
	}
	want := `
Kubernetes, in a copy of the account: 1 of 3 pods of the sample bundle ready
  release poolhouse-foundation in kube-system: deployed, 0 of 0 pods ready
  release platform in poolside: failed, 1 of 3 pods ready
  not deployed: release platform is failed
  not deployed: release inference was not begun
  POD                          NODE          FOR                       ZONE        READY
  poolside/core-api-1          ip-10-80-1-1  core                      us-east-1a  true
  poolside/web-assistant-1     ip-10-80-2-1  interface, web-assistant  us-east-1b  false
  poolside-models/inference-1                                                      false
  process not run: poolside/web-assistant-1: the image is for arm64
  poolside-models/inference-1 asks for 8 GPUs
  not ready: poolside-models/inference-1: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu

Through the load balancers, over TLS
  poolside.example.com: 302, leads to https://login.example.com/authorize; user@example.com signed
    in by 4 redirects; pod web-assistant-1 answered; 2 pods bound and healthy
  api.poolside.example.com: 200; pod interface-1 answered; 1 pod bound and healthy
  admin.poolside.example.com: 302, leads to https://login.example.com/authorize; 1 pod bound and
    healthy; left out: nobody signed in (--without oidc)
  other.poolside.example.com: left out: no pod is bound to its target group

What pod core-api-1 says at api.poolside.example.com
  identity: arn:aws:sts::123456789012:assumed-role/poolside-core-api
  database: left out, databases hold no rows here (--without postgres)
  checkpoint, which it can do without: there is none of the name

Where the scheduler doesn't let pods go, by its own messages
  a pod of kind core to a node for gpu: 0/3 nodes are available: 1 node(s) had untolerated taint

What the API server refuses: a pod that
  runs as root, in poolside: violates PodSecurity "restricted:latest"
`
	var b bytes.Buffer
	pods(&b, sections(&b), p)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Where no host was asked, and nothing else tried, there is nothing of it.
	b.Reset()
	pods(&b, sections(&b), &rehearse.Pods{Bundle: "acme.tar.gz", Charts: []string{"acme"}})
	want = `
Kubernetes, in a copy of the account: 0 of 0 pods of acme.tar.gz ready
  not deployed: release acme was not begun
  POD  NODE  FOR  ZONE  READY
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// sections are headings as [Report] has them.
func sections(w io.Writer) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(w, "\n"+format+"\n", args...) }
}
