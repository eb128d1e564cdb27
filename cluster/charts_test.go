package cluster_test

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/charts"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/manifests"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/templates"
)

// outputsOf are all outputs that the templates of a deployment have, with values that say
// which they are.
func outputsOf(t *testing.T, a *architecture.Architecture) manifests.Outputs {
	t.Helper()
	stacks, err := templates.All(a)
	if err != nil {
		t.Fatal(err)
	}
	out := manifests.Outputs{}
	for _, s := range stacks {
		out[s.Name] = map[string]string{}
		for _, name := range s.Outputs {
			v := strings.ToLower(string(s.Name) + "-" + name)
			switch {
			case strings.HasSuffix(name, "SecretArn"):
				v = "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + v
			case strings.HasSuffix(name, "TargetGroupArn"):
				v = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/" + v + "/0123456789abcdef"
			case name == "Port":
				v = "5432"
			}
			out[s.Name][name] = v
		}
	}
	return out
}

// TestChartsOfOurs holds what the charts of ours take from the deployments of all examples
// to golden files, which the module releases renders. No example lacks an output.
func TestChartsOfOurs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := config.LoadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a, err := architecture.New(c)
			if err != nil {
				t.Fatal(err)
			}
			outputs := outputsOf(t, a)
			var list []cluster.Release
			for _, chart := range []string{charts.Inference, charts.Platform} {
				folder, err := charts.Folder(chart)
				if err != nil {
					t.Fatal(err)
				}
				text, err := fs.ReadFile(folder, cluster.ValuesFile)
				if err != nil {
					t.Fatal(err)
				}
				r := cluster.Release{Name: chart, Namespace: cluster.NamespaceOf(a, chart), Places: cluster.Places(a)}
				if r.Values, err = cluster.Values(text, outputs); err != nil {
					t.Fatal(err)
				}
				list = append(list, r)
			}
			text, err := json.MarshalIndent(list, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			testkit.Golden(t, "../charts/testdata/"+name+".json", append(text, '\n'))
		})
	}
}
