package deploy

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/stack"
)

func clusterTemplate(props string) []byte {
	return fmt.Appendf(nil, `{"Parameters":{"P":{"Type":"String"}},"Resources":{"Cluster":{"Type":"AWS::EKS::Cluster","Properties":%s},"Group":{"Type":"AWS::Logs::LogGroup"}}}`, props)
}

func TestOneKindAtATime(t *testing.T) {
	for _, tt := range []struct {
		name      string
		old, next string
		kinds     []string
	}{
		{"nothing changes", `{"Version":"1.34"}`, `{"Version":"1.34"}`, nil},
		{"one kind goes with the whole", `{"Version":"1.34"}`, `{"Version":"1.35"}`, nil},
		{"tags are no kind", `{"Version":"1.34","Tags":[1]}`, `{"Version":"1.35","Tags":[2]}`, nil},
		{
			"two properties of one call are one kind",
			`{"ResourcesVpcConfig":{"EndpointPublicAccess":false}}`,
			`{"ResourcesVpcConfig":{"EndpointPublicAccess":true,"PublicAccessCidrs":["203.0.113.0/24"]}}`, nil,
		},
		{
			"access and subnets are two",
			`{"ResourcesVpcConfig":{"EndpointPublicAccess":false,"SubnetIds":["a"]}}`,
			`{"ResourcesVpcConfig":{"EndpointPublicAccess":true,"SubnetIds":["b"]}}`,
			[]string{"endpoint access"},
		},
		{
			"three kinds are three updates, the last one with the whole",
			`{"Version":"1.34","Logging":{"a":1},"ResourcesVpcConfig":{"EndpointPublicAccess":false}}`,
			`{"Version":"1.35","Logging":{"a":2},"ResourcesVpcConfig":{"EndpointPublicAccess":true}}`,
			[]string{"Logging", "Version"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := stack.Spec{Template: clusterTemplate(tt.next), Parameters: map[string]string{"P": "1"}}
			parts := oneKindAtATime(clusterTemplate(tt.old), spec, nil)
			var kinds []string
			was := properties(t, clusterTemplate(tt.old))
			for _, p := range parts {
				kinds = append(kinds, p.kind)
				is := properties(t, p.spec.Template)
				if cmp.Equal(was, is) {
					t.Errorf("the update of %s changes nothing", p.kind)
				}
				if again := oneKindAtATime(clusterTemplate(mustJSON(t, was)), p.spec, nil); again != nil {
					t.Errorf("the update of %s is more than one kind of change", p.kind)
				}
				was = is
			}
			if diff := cmp.Diff(tt.kinds, kinds); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
			if rest := oneKindAtATime(clusterTemplate(mustJSON(t, was)), spec, nil); rest != nil {
				t.Errorf("after the parts, the whole is still more than one kind of change")
			}
		})
	}
}

// TestL12VersionsGoAlone: a version changes together with nothing else, drift that
// is put back included.
func TestL12VersionsGoAlone(t *testing.T) {
	t.Parallel()
	raised := &stack.Drift{Resources: []stack.Drifted{{LogicalID: "Cluster", Type: "AWS::EKS::Cluster", Actual: map[string]any{"Version": "1.35"}}}}
	logging := &stack.Drift{Resources: []stack.Drifted{{LogicalID: "Cluster", Type: "AWS::EKS::Cluster", Actual: map[string]any{"Logging": "off"}}}}
	for name, tc := range map[string]struct {
		next  string
		drift *stack.Drift
		alone bool
	}{
		"nothing":              {`{"Version":"1.34"}`, nil, false},
		"drift only":           {`{"Version":"1.34"}`, logging, false},
		"a version only":       {`{"Version":"1.35"}`, nil, false},
		"a version and more":   {`{"Version":"1.35","Logging":"on"}`, nil, true},
		"a version and drift":  {`{"Version":"1.35"}`, logging, true},
		"raised there already": {`{"Version":"1.35"}`, raised, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := stack.Spec{Template: clusterTemplate(tc.next), RevertDrift: tc.drift != nil}
			p := versionAlone(clusterTemplate(`{"Version":"1.34"}`), spec, &stack.State{}, tc.drift)
			if (p != nil) != tc.alone {
				t.Fatalf("got %+v, want one: %v", p, tc.alone)
			}
			if p == nil {
				return
			}
			if diff := cmp.Diff(map[string]any{"Version": "1.35"}, properties(t, p.spec.Template)); diff != "" || p.spec.RevertDrift {
				t.Errorf("reverts drift: %v; (-want +got):\n%s", p.spec.RevertDrift, diff)
			}
		})
	}
}

func TestOneKindAtATimeKeepsParametersThatHeldBackPropertiesNeed(t *testing.T) {
	old := []byte(`{"Parameters":{"Old":{"Type":"String"}},"Resources":{"Cluster":{"Type":"AWS::EKS::Cluster","Properties":{"Logging":{"Ref":"Old"},"Version":"1"}}}}`)
	next := []byte(`{"Parameters":{"New":{"Type":"String"}},"Resources":{"Cluster":{"Type":"AWS::EKS::Cluster","Properties":{"Logging":{"Ref":"New"},"Version":"2","AccessConfig":"x"}}}}`)
	parts := oneKindAtATime(old, stack.Spec{Template: next, Parameters: map[string]string{"New": "n"}}, map[string]string{"Old": "o"})
	if len(parts) != 2 {
		t.Fatalf("%d parts, want 2", len(parts))
	}
	want := map[string]string{"New": "n", "Old": "o"}
	if diff := cmp.Diff(want, parts[0].spec.Parameters); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

func properties(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var doc struct {
		Resources struct {
			Cluster struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Resources.Cluster.Properties
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
