package deploy

import (
	"testing"

	"github.com/poolhouse/poolhouse/stack"
)

func TestVersionsThatAreNoDrift(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typ, path, was, is string
		grown, raised      bool
	}{
		"storage":            {"AWS::RDS::DBInstance", "/AllocatedStorage", "100", "120", true, false},
		"less storage":       {"AWS::RDS::DBInstance", "/AllocatedStorage", "120", "100", false, false},
		"minor":              {"AWS::RDS::DBInstance", "/EngineVersion", "17.4", "17.5", true, false},
		"two digits":         {"AWS::RDS::DBInstance", "/EngineVersion", "17.9", "17.10", true, false},
		"major named":        {"AWS::RDS::DBInstance", "/EngineVersion", "17", "17.6", true, false},
		"major upgrade":      {"AWS::RDS::DBInstance", "/EngineVersion", "17.6", "18.1", false, false},
		"minor downgrade":    {"AWS::RDS::DBInstance", "/EngineVersion", "17.6", "17.5", false, false},
		"no version":         {"AWS::RDS::DBInstance", "/EngineVersion", "17.6", "17.x", false, false},
		"another property":   {"AWS::RDS::DBInstance", "/Port", "5432", "5433", false, false},
		"cluster":            {"AWS::EKS::Cluster", "/Version", "1.35", "1.36", false, true},
		"nodes":              {"AWS::EKS::Nodegroup", "/Version", "1.9", "1.10", false, true},
		"older nodes":        {"AWS::EKS::Nodegroup", "/Version", "1.36", "1.35", false, false},
		"add-on":             {"AWS::EKS::Addon", "/AddonVersion", "v1.1.0", "v1.2.0", false, false},
		"template's version": {"AWS::EKS::Nodegroup", "/LaunchTemplate/Version", "1", "2", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := stack.Difference{Path: tc.path, Kind: "NOT_EQUAL", Expected: tc.was, Actual: tc.is}
			if got := grown(stack.Drifted{Type: tc.typ}, d); got != tc.grown {
				t.Errorf("grown is %v", got)
			}
			if got := Raised(tc.typ, d); got != tc.raised {
				t.Errorf("raised is %v", got)
			}
		})
	}
}
