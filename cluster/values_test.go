package cluster_test

import (
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
}
