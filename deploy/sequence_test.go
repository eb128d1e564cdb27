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
