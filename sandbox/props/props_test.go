package props_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/props"
)

func TestReadsScalarsAsCloudFormationWritesThem(t *testing.T) {
	t.Parallel()
	v := map[string]any{"N": "20", "F": 2.0, "B": "true", "L": map[string]any{"member": []any{"a", 1.0}}}
	got := []any{
		props.Int(v, 0, "N"), props.Int(v, 0, "F"), props.Int(v, 7, "None"),
		props.Bool(v, false, "B"), props.Bool(v, true, "None"),
		props.Strs(v, "L"), props.Str(v, "F"),
	}
	want := []any{20, 2, 7, true, true, []string{"a", "1"}, "2"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	want := map[string]string{"a": "1", "b": "2"}
	list := map[string]any{"Tags": props.Pairs(want)}
	if d := cmp.Diff(want, props.Tags(list, "Tags")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, props.Tags(map[string]any{"a": "1", "b": "2"})); d != "" {
		t.Error(d)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	old := map[string]any{"A": "1", "B": []any{"x"}, "C": map[string]any{"D": true}, "E": nil}
	next := map[string]any{"A": 1.0, "B": []any{"y"}, "C": map[string]any{"D": "true"}, "E": []any{}}
	if d := cmp.Diff([]string{"B"}, props.Changed(old, next)); d != "" {
		t.Error(d)
	}
}
