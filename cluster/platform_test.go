package cluster_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
)

// A release is neither made twice when GPU nodes are added, nor lost with its namespace
// when they are taken out.
func TestDisplaced(t *testing.T) {
	t.Parallel()
	list := func(a *architecture.Architecture) []cluster.Release {
		return []cluster.Release{{Name: cluster.Foundation, Namespace: "kube-system"}, {Name: "acme", Namespace: "poolside"}, {Name: "acme-inference", Namespace: cluster.NamespaceOf(a, "acme-inference")}}
	}
	foundation, acme := cluster.Revision{Name: cluster.Foundation, Namespace: "kube-system"}, cluster.Revision{Name: "acme", Namespace: "poolside"}
	for _, tt := range []struct {
		name, file string
		there      []cluster.Revision
		want       []cluster.ReleaseProblem
		left       []cluster.Revision
	}{
		{"nothing", "gpu-inference.yaml", nil, nil, nil},
		{"prerequisites", "production.yaml", []cluster.Revision{foundation, {Name: "aws-load-balancer-controller", Namespace: "kube-system"}, {Name: "external-secrets", Namespace: "external-secrets"}}, nil, []cluster.Revision{{Name: "aws-load-balancer-controller", Namespace: "kube-system"}, {Name: "external-secrets", Namespace: "external-secrets"}}},
		{"the same", "gpu-inference.yaml", []cluster.Revision{foundation, acme, {Name: "acme-inference", Namespace: "poolside-models"}}, nil, nil},
		{
			"added", "gpu-inference.yaml",
			[]cluster.Revision{foundation, acme, {Name: "acme-inference", Namespace: "poolside"}},
			[]cluster.ReleaseProblem{{"release acme-inference", "is in the namespace poolside, and would be installed a second time in poolside-models", "uninstall acme-inference first"}},
			nil,
		},
		{
			"taken out", "production.yaml",
			[]cluster.Revision{foundation, acme, {Name: "acme-inference", Namespace: "poolside-models"}, {Name: "other-inference", Namespace: "poolside-models"}},
			[]cluster.ReleaseProblem{
				{"release acme-inference", "is in the namespace poolside-models, and would be installed a second time in poolside", "uninstall acme-inference first"},
				{"release other-inference", "is in the namespace poolside-models, which would be removed with it and the volumes claimed there", "uninstall other-inference first"},
			},
			[]cluster.Revision{{Name: "other-inference", Namespace: "poolside-models"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := example(t, tt.file)
			if d := cmp.Diff(tt.want, cluster.Displaced(a, list(a), tt.there)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.left, cluster.Left(list(a), tt.there)); d != "" {
				t.Error(d)
			}
		})
	}
}
