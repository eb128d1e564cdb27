package view_test

import (
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/cluster/objects"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

// TestContents tells what goes of a cluster, and what stays for want of a program.
func TestContents(t *testing.T) {
	t.Parallel()
	c := &deploy.Contents{
		Kinds:    map[string]int{"Service": 1},
		Volumes:  []deploy.Claimed{{Claim: "shop/db", Volume: "vol-1", Size: "8Gi"}, {Claim: "shop/old", Volume: "vol-2", Size: "1Gi", Kept: true}},
		Releases: []objects.Release{{Name: "shop"}, {Name: "foundation"}},
	}
	for name, tc := range map[string]struct {
		data   deploy.Data
		atHand bool
		want   string
	}{
		"destroy":    {deploy.DestroyData, true, "First goes what its cluster holds: 1 Service, 2 releases.\nvolume vol-1, 8Gi, of the claim shop/db is destroyed with its data\nvolume vol-2, 1Gi, of the claim shop/old is kept\n"},
		"keep":       {deploy.KeepData, true, "First goes what its cluster holds: 1 Service, 2 releases.\nvolume vol-1, 8Gi, of the claim shop/db is kept\nvolume vol-2, 1Gi, of the claim shop/old is kept\n"},
		"no program": {deploy.KeepData, false, "First goes what its cluster holds: 1 Service.\nNot uninstalled: 2 releases, for want of the program helm; what they consist of goes with the cluster.\nvolume vol-1, 8Gi, of the claim shop/db is kept\nvolume vol-2, 1Gi, of the claim shop/old is kept\n"},
	} {
		var out strings.Builder
		view.Contents(&out, c, tc.data, "helm", tc.atHand)
		words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
		if got := out.String(); words(got) != words(tc.want) {
			t.Errorf("%s: got\n%swant\n%s", name, got, tc.want)
		}
	}
}
