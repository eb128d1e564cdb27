package releases

import (
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
)

const definition = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  versions: [{name: v1}, {name: v1beta1}]
`

// An object of a kind that the cluster doesn't have, and no release up to its own
// defines, is noted; a definition that comes later doesn't help.
func TestLacking(t *testing.T) {
	t.Parallel()
	thing := func(version string) string {
		return "---\napiVersion: example.com/" + version + "\nkind: Thing\nmetadata: {name: a}\n"
	}
	pod := "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
	for name, tt := range map[string]struct {
		manifests []string
		want      []int // how many objects of each release
	}{
		"of the cluster":    {[]string{pod}, []int{0}},
		"of nobody":         {[]string{pod + thing("v1") + thing("v1beta1")}, []int{2}},
		"its own":           {[]string{thing("v1") + definition}, []int{0}},
		"of one before it":  {[]string{definition, thing("v1beta1")}, []int{0, 0}},
		"of one after it":   {[]string{thing("v1"), definition}, []int{1, 0}},
		"another's version": {[]string{definition, thing("v2")}, []int{0, 1}},
	} {
		s := &session{served: common.VersionSet{"v1", "v1/Pod", "apiextensions.k8s.io/v1/CustomResourceDefinition"}}
		var list []Rendered
		for _, m := range tt.manifests {
			list = append(list, Rendered{Name: "r", Manifest: m})
		}
		if err := s.lacking(list); err != nil {
			t.Fatal(err)
		}
		for i, r := range list {
			if len(r.Lacks) != tt.want[i] {
				t.Errorf("%s: release %d lacks %v", name, i, r.Lacks)
			}
			for _, k := range r.Lacks {
				if k.Kind != "Thing" || k.Place != "release r, Thing a" {
					t.Errorf("%s: %+v", name, k)
				}
			}
		}
	}
	s := &session{}
	list := []Rendered{{Manifest: thing("v1")}}
	if err := s.lacking(list); err != nil || len(list[0].Lacks) > 0 {
		t.Errorf("where nobody was asked: %v %v", list[0].Lacks, err)
	}
}
