package stack

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"
)

func TestMasked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typ, path, value string
		live             bool
		want             string
	}{
		"parameter there":        {"AWS::SSM::Parameter", "/Value", "hunter2", true, Hidden},
		"parameter set":          {"AWS::SSM::Parameter", "/Value", "1.35", false, "1.35"},
		"parameter gone":         {"AWS::SSM::Parameter", "/Value", "null", true, "null"},
		"parameter's name":       {"AWS::SSM::Parameter", "/Description", "a name", true, "a name"},
		"another's value":        {"AWS::Logs::LogGroup", "/Tags/0/Value", "ops", true, "ops"},
		"user data there":        {"AWS::EC2::LaunchTemplate", "LaunchTemplateData.UserData", "hunter2", true, Hidden},
		"user data set":          {"AWS::EC2::LaunchTemplate", "LaunchTemplateData.UserData", "boot", false, "boot"},
		"password set":           {"AWS::RDS::DBInstance", "MasterUserPassword", "hunter2", false, Hidden},
		"managed password":       {"AWS::RDS::DBInstance", "/ManageMasterUserPassword", "false", true, "false"},
		"reference to a secret":  {"X", "A.ClientSecret", "{{resolve:secretsmanager:arn}}", false, "{{resolve:secretsmanager:arn}}"},
		"element of a list":      {"X", "/List/0/ClientSecret", "hunter2", true, Hidden},
		"whole property there":   {"X", "/LaunchTemplateData", `{"KeyName":"k","Tags":[{"UserData":"hunter2"}]}`, true, `{"KeyName":"k","Tags":[{"UserData":"` + Hidden + `"}]}`},
		"whole property set":     {"X", "/LaunchTemplateData", `{"UserData":"boot","Password":{"a":"hunter2"}}`, false, `{"Password":"` + Hidden + `","UserData":"boot"}`},
		"nothing hidden is kept": {"X", "/A", `{"b": 1}`, true, `{"b": 1}`},
		"no JSON":                {"X", "/A", `{{resolve}`, true, `{{resolve}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, masked(tc.typ, tc.path, tc.value, tc.live)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestChangesHideWhatIsThere, also where only one of a property's causes is said
// to be drift.
func TestChangesHideWhatIsThere(t *testing.T) {
	t.Parallel()
	detail := func(drift bool) types.ResourceChangeDetail {
		x := types.ResourceChangeDetail{Target: &types.ResourceTargetDefinition{Name: new("Value"), Path: new("/Properties/Value"), BeforeValue: new("hunter2"), AfterValue: new("1.35")}}
		if drift {
			x.Target.Drift = &types.LiveResourceDrift{ActualValue: new("hunter2"), PreviousValue: new("1.34")}
		}
		return x
	}
	c := types.ResourceChange{ResourceType: new("AWS::SSM::Parameter"), Action: types.ChangeActionModify, Details: []types.ResourceChangeDetail{detail(false), detail(true)}}
	got, err := json.Marshal(change(&c))
	if err != nil || strings.Contains(string(got), "hunter2") || !strings.Contains(string(got), Hidden) {
		t.Errorf("%v: %s", err, got)
	}
	c.Details = []types.ResourceChangeDetail{detail(false)}
	if got := change(&c).Properties[0].Before; got != "hunter2" {
		t.Errorf("what the stack had set is shown as %q", got)
	}
}
