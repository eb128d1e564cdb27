package bundle_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle"
)

// TestCheckpointNames reads bundles without bundle.yaml: a checkpoint is called as a push
// of its archive would call it, and one that can't be called so, or as another is, is a
// fault of the bundle.
func TestCheckpointNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		files []string
		names []string
		fault string // place and reason
	}{
		{[]string{"a.tar", "b.tar.gz", "c.tgz", "d.tar.zst", "laguna-xs-2.2.tar"}, []string{"a", "b", "c", "d", "laguna-xs-2.2"}, ""},
		{[]string{"a.gz"}, []string{"a.gz"}, ""},
		{[]string{"my model.tar"}, []string{"my model"}, "checkpoints/my model.tar: has a name that gives none to a checkpoint: \"my model\" is no name of a checkpoint"},
		{[]string{"-a.tar"}, []string{"-a"}, "checkpoints/-a.tar: has a name"},
		{[]string{".tar"}, []string{""}, "checkpoints/.tar: has a name"},
		{[]string{strings.Repeat("a", 129) + ".tar"}, []string{strings.Repeat("a", 129)}, "has a name that gives none"},
		{[]string{"a.tar", "a.tgz"}, []string{"a", "a"}, "checkpoints/a.tgz: is a second checkpoint a, as checkpoints/a.tar is"},
		{[]string{"x/a.tar", "y/a.tar"}, []string{"a", "a"}, "checkpoints/y/a.tar: is a second checkpoint a, as checkpoints/x/a.tar is"},
	} {
		_, made := sample(t, "sample.tar")
		content := unpacked(t, made.Path)
		delete(content, bundle.Description)
		delete(content, bundle.Sums)
		for _, file := range tt.files {
			content["checkpoints/"+file] = []byte("weights")
		}
		c := read(t, folder(t, content))
		var names []string
		for _, p := range c.Checkpoints {
			names = append(names, p.Name)
		}
		slices.Sort(names)
		if d := cmp.Diff(tt.names, names); d != "" {
			t.Errorf("%v (-want +got):\n%s", tt.files, d)
		}
		if tt.fault == "" && len(c.Faults) > 0 || tt.fault != "" && (len(c.Faults) != 1 || !strings.Contains(c.Faults[0].String(), tt.fault) || !strings.Contains(c.Faults[0].Fix, "rename the file") || !c.Damaged()) {
			t.Errorf("%v: %v, want %q", tt.files, c.Faults, tt.fault)
		}
	}
}
