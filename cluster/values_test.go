package cluster_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/manifests"
)

func TestValues(t *testing.T) {
	t.Parallel()
	outputs := manifests.Outputs{architecture.Storage: {"ModelsBucketName": "models"}, architecture.Database: {"Endpoint": "db", "Port": "5432"}}
	got, err := cluster.Values([]byte("bucket: s3://${storage.ModelsBucketName}/a\ndatabase: {url: \"${database.Endpoint}:${database.Port}\"}\nlist: [\"${storage.ModelsBucketName}\", 3, \"$HOME ${other}\"]\n"), outputs)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"bucket": "s3://models/a", "database": map[string]any{"url": "db:5432"}, "list": []any{"models", uint64(3), "$HOME ${other}"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err = cluster.Values([]byte("a: ${storage.Nothing}\nb: ${nowhere.Name}\n"), outputs)
	if err == nil || !strings.Contains(err.Error(), "${storage.Nothing} is no output") || !strings.Contains(err.Error(), "${nowhere.Name} is no output") {
		t.Errorf("got %v", err)
	}
	if _, err := cluster.Values([]byte("a: ["), outputs); err == nil {
		t.Error("no YAML is taken")
	}
	for text, ok := range map[string]bool{"": true, "a: ${storage.Later}": true, "a: [": false, "- a": false} {
		if err := cluster.CheckValues([]byte(text)); (err == nil) != ok {
			t.Errorf("values %q: %v", text, err)
		}
	}
}

// A file of a chart may be anybody's: what few bytes blow up is refused unread.
func TestValuesRefused(t *testing.T) {
	t.Parallel()
	laughs := "a0: &a0 [x, x]\n"
	for i := range 40 {
		laughs += fmt.Sprintf("a%d: &a%[1]d [*a%d, *a%[2]d]\n", i+1, i)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"laughs":    {laughs, "line 1 has an anchor (&)"},
		"alias":     {"a: 1\nb: *a\n", "line 2 has an alias (*)"},
		"merge":     {"a:\n  <<: *b\n", "line 2 has an alias (*)"},
		"brackets":  {"a: " + strings.Repeat("[", 1<<12), "line 1 is nested too deeply"},
		"braces":    {"a: " + strings.Repeat("{a: ", 1<<12), "line 1 is nested too deeply"},
		"sequences": {"a:\n" + strings.Repeat("- ", 1<<12) + "b\n", "line 2 is nested too deeply"},
		"keys":      {strings.Repeat("? ", 1<<12) + "b\n", "line 1 is nested too deeply"},
	} {
		if err := cluster.CheckValues([]byte(tt.text)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %.200v", name, err)
		}
		if _, err := cluster.Values([]byte(tt.text), nil); err == nil {
			t.Errorf("%s are taken", name)
		}
	}
	if got, err := cluster.Values([]byte("a: \"*b & c\"\nd: e & *f\n"), nil); err != nil || got["a"] != "*b & c" || got["d"] != "e & *f" {
		t.Errorf("text: %v, %v", got, err)
	}
}

func TestValuesWithDefaults(t *testing.T) {
	t.Parallel()
	outputs := manifests.Outputs{architecture.Storage: {"ModelsBucketName": "models"}}
	got, err := cluster.Values([]byte("a: ${storage.ModelsBucketName:-other}\nb: ${identity.InferenceRoleArn:-}\nc: x${nowhere.Name:-none at all}y\nd: \"${storage.ModelsBucketName:+http://there:80}\"\ne: a${identity.InferenceRoleArn:+there}\n"), outputs)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"a": "models", "b": "", "c": "xnone at ally", "d": "http://there:80", "e": "a"}, got); d != "" {
		t.Error(d)
	}
}

// archive is a packed chart of files by name, in order.
func archive(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f[0], Size: int64(len(f[1])), Mode: 0o644})
		if err == nil {
			_, err = w.Write([]byte(f[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A chart's own file counts, and none of the charts within it.
func TestChartValues(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		chart      []byte
		want, fail string
	}{
		"there":   {archive(t, [2]string{"acme/Chart.yaml", "name: acme"}, [2]string{"acme/poolhouse-values.yaml", "a: 1"}), "a: 1", ""},
		"not":     {archive(t, [2]string{"acme/Chart.yaml", "name: acme"}), "", ""},
		"below":   {archive(t, [2]string{"acme/charts/sub/poolhouse-values.yaml", "a: 1"}, [2]string{"poolhouse-values.yaml", "a: 2"}), "", ""},
		"outside": {archive(t, [2]string{"../poolhouse-values.yaml", "a: 1"}), "", ""},
		"large":   {archive(t, [2]string{"acme/poolhouse-values.yaml", strings.Repeat(" ", 1<<20+1)}), "", "no file of at most"},
		"no tar":  {[]byte("acme"), "", "unpack the chart"},
	} {
		got, err := cluster.ChartValues(tt.chart)
		if string(got) != tt.want || (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestOver(t *testing.T) {
	t.Parallel()
	base := map[string]any{"a": map[string]any{"x": 1, "y": 2}, "b": []any{1}, "c": "below", "d": map[string]any{"x": 1}}
	got := cluster.Over(base, map[string]any{"a": map[string]any{"y": 3, "z": nil}, "b": []any{2}, "d": "above", "e": map[string]any{"n": 1}})
	want := map[string]any{"a": map[string]any{"x": 1, "y": 3, "z": nil}, "b": []any{2}, "c": "below", "d": "above", "e": map[string]any{"n": 1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"x": 1, "y": 2}, base["a"]); d != "" {
		t.Errorf("what lies below changed: %s", d)
	}
	if got := cluster.Over(nil, nil); got == nil {
		t.Error("no values are nil")
	}
}
