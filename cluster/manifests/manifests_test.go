package manifests_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster/manifests"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/testkit"
)

func example(t *testing.T, name string) *architecture.Architecture {
	t.Helper()
	c, err := config.LoadFile(filepath.Join("../../examples", name))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func outputs() manifests.Outputs {
	return manifests.Outputs{
		architecture.Keys:     {"VolumesKeyArn": "arn:aws:kms:us-east-1:123456789012:key/volumes"},
		architecture.Identity: {"CoreApiRoleArn": "arn:aws:iam::123456789012:role/core-api", "InferenceRoleArn": "arn:aws:iam::123456789012:role/inference", "DatabaseSetupRoleArn": "arn:aws:iam::123456789012:role/database-setup", "TelemetryCollectorRoleArn": "arn:aws:iam::123456789012:role/telemetry-collector"},
	}
}

// TestFoundation holds the objects of every example to golden files.
func TestFoundation(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, err := manifests.Foundation(example(t, name), outputs())
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, o := range list {
				text, err := o.JSON()
				if err != nil {
					t.Fatal(err)
				}
				b.Write(text)
				b.WriteByte('\n')
			}
			testkit.Golden(t, filepath.Join("testdata", strings.TrimSuffix(name, ".yaml")+".jsonl"), []byte(b.String()))
		})
	}
}

func TestFoundationNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := manifests.Foundation(example(t, "evaluation.yaml"), nil)
	var missing manifests.MissingError
	if !errors.As(err, &missing) || missing[0] != "keys.VolumesKeyArn" || missing[1] != "identity.CoreApiRoleArn" {
		t.Errorf("got %v", err)
	}
}

// Pods of one kind can't land on nodes of another: each place selects one label, and
// tolerates the taint of its own nodes only.
func TestPlaces(t *testing.T) {
	t.Parallel()
	a := example(t, "production.yaml")
	seen := map[config.Role]bool{}
	for _, p := range manifests.Places(a) {
		seen[p.Role] = true
		served := 0
		for _, g := range append(a.NodeGroups, a.GPUGroups...) {
			matches := true
			for k, v := range p.Selector {
				matches = matches && g.Labels()[k] == v
			}
			if !matches {
				continue
			}
			served++
			for _, taint := range g.Taints() {
				if taint.Effect == "NoSchedule" && (p.Taint == nil || p.Taint.Key != taint.Key || p.Taint.Value != "" && p.Taint.Value != taint.Value) {
					t.Errorf("pods of %s don't tolerate %v of %s", p.Role, taint, g.Key())
				}
			}
		}
		if served == 0 {
			t.Errorf("no node is for %s", p.Role)
		}
	}
	for _, r := range []config.Role{config.Core, config.WebAssistant, config.Interface} {
		if !seen[r] {
			t.Errorf("there is no place for %s", r)
		}
	}
}
