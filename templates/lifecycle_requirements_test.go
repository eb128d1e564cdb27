package templates

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// exampleConfigs are all examples, by name.
func exampleConfigs(t *testing.T) map[string]*config.Config {
	t.Helper()
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples (%v), want at least 6", len(files), err)
	}
	all := map[string]*config.Config{}
	for _, f := range files {
		c, err := config.LoadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".yaml")] = c
	}
	return all
}

// TestL21KeyPoliciesKeepTheRoot holds, over all examples, that every key policy
// has the account root statement, and names nobody by a role that IAM Identity
// Center generates or that a deployment makes only later: no key is ever made by
// a role that is gone, or waits for one that comes after it.
func TestL21KeyPoliciesKeepTheRoot(t *testing.T) {
	t.Parallel()
	for name, c := range exampleConfigs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := architecture.New(c)
			if err != nil {
				t.Fatal(err)
			}
			d := built(t, a, architecture.Keys)
			keys := d.ofType("AWS::KMS::Key")
			if len(keys) < 9 {
				t.Fatalf("%d keys", len(keys))
			}
			for _, id := range keys {
				policy := d.properties(t, id, "AWS::KMS::Key")["KeyPolicy"]
				root := statements(t, policy)["Account"]
				if text(at(root, "Principal", "AWS")) != "arn:${AWS::Partition}:iam::${AWS::AccountId}:root" || root["Action"] != "kms:*" || root["Effect"] != "Allow" || root["Condition"] != nil {
					t.Errorf("%s: the account's statement is %v", id, root)
				}
				for sid, s := range statements(t, policy) {
					principal := text(at(s, "Principal", "AWS"))
					switch {
					case strings.Contains(principal, "AWSReservedSSO_") || strings.Contains(principal, "aws-reserved"):
						t.Errorf("%s: statement %s names a generated role: %s", id, sid, principal)
					case principal == "" || principal == "*" || strings.HasSuffix(principal, ":root"):
					case !strings.HasSuffix(principal, ":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"):
						t.Errorf("%s: statement %s names %s, which does not exist before the key", id, sid, principal)
					}
				}
			}
		})
	}
}

// TestL27OneBoundaryReachesEveryRole holds, over all examples, that the boundary
// is on every role of every template, those of NAT and session instances among
// them, and on none without the setting.
func TestL27OneBoundaryReachesEveryRole(t *testing.T) {
	t.Parallel()
	const want = "arn:aws:iam::123456789012:policy/one-boundary"
	for name, c := range exampleConfigs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, boundary := range []string{want, ""} {
				c.PermissionBoundary = boundary
				a, err := architecture.New(c)
				if err != nil {
					t.Fatal(err)
				}
				roles := 0
				everyRole(t, a, func(stack architecture.StackName, id string, role object) {
					roles++
					if got, _ := role["PermissionsBoundary"].(string); got != boundary {
						t.Errorf("%s of %s has the boundary %q, want %q", id, stack, got, boundary)
					}
				})
				if roles < 8 {
					t.Errorf("there are %d roles only", roles)
				}
			}
		})
	}
}

// TestL03NoCustomResources: no template of any example has a resource that
// somebody's code answers for: a custom resource whose function can't reach the
// Kubernetes API any more would keep its stack from being deleted.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-custom-resources.html
func TestL03NoCustomResources(t *testing.T) {
	t.Parallel()
	for name, c := range exampleConfigs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := architecture.New(c)
			if err != nil {
				t.Fatal(err)
			}
			all, err := All(a)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, s := range all {
				var doc struct {
					Resources map[string]struct{ Type string }
					Transform any
				}
				if err := json.Unmarshal(s.Body, &doc); err != nil {
					t.Fatal(err)
				}
				if doc.Transform != nil {
					t.Errorf("stack %s has a transform: %v", s.Name, doc.Transform)
				}
				for id, r := range doc.Resources {
					n++
					if !strings.HasPrefix(r.Type, "AWS::") || r.Type == "AWS::CloudFormation::CustomResource" || r.Type == "AWS::CloudFormation::Macro" {
						t.Errorf("stack %s: %s is a %s", s.Name, id, r.Type)
					}
				}
			}
			if n < 100 {
				t.Errorf("%d resources were looked at", n)
			}
		})
	}
}
