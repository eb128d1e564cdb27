package logs_test

import (
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/logs"
)

// Names of log groups are unique in an account and region.
//
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
func TestLogGroupNamesAreUnique(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, logs.TypeLogGroup, map[string]any{"LogGroupName": "/app"})
	_, err := testkit.Create(s, logs.TypeLogGroup, map[string]any{"LogGroupName": "/app"})
	testkit.Refused(t, err, "ResourceAlreadyExistsException: The specified log group already exists")
}

// clocked is a sandbox whose clock stands still.
func clocked(t *testing.T) (*sandbox.Sandbox, *time.Time) {
	now := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	return testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }}), &now
}

func group(t *testing.T, s *sandbox.Sandbox, name string) (r *account.Resource) {
	t.Helper()
	_ = s.Account().Do(func(tx *account.Tx) error {
		r = tx.Get(logs.TypeLogGroup, name)
		return nil
	})
	return r
}

// The log group of a cluster comes back after its deletion while the cluster's
// control plane logs, without retention and key; it stays gone when nothing logs.
//
// https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html
func TestClusterLogGroupComesBack(t *testing.T) {
	t.Parallel()
	for _, logging := range []bool{true, false} {
		s, now := clocked(t)
		const name = "/aws/eks/prod/cluster"
		testkit.MustCreate(t, s, logs.TypeLogGroup, map[string]any{"LogGroupName": name, "RetentionInDays": 30})
		types := []any{}
		if logging {
			types = append(types, map[string]any{"Type": "audit"})
		}
		_ = s.Account().Do(func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: "AWS::EKS::Cluster", ID: "prod", Props: map[string]any{"Logging": map[string]any{"ClusterLogging": map[string]any{"EnabledTypes": types}}}})
			return nil
		})
		testkit.Refused(t, testkit.Delete(s, logs.TypeLogGroup, name), "")
		if group(t, s, name) != nil {
			t.Fatal("the group wasn't deleted")
		}
		*now = now.Add(5 * time.Minute)
		back := group(t, s, name)
		switch {
		case logging != (back != nil):
			t.Errorf("logging %t: the group is there: %t", logging, back != nil)
		case logging && (back.Props["RetentionInDays"] != nil || back.Owner != "eks.amazonaws.com"):
			t.Errorf("the group came back as %v of %s", back.Props, back.Owner)
		}
	}
}

// The log group of exported database logs comes back while the instance exports
// them.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_LogAccess.Procedural.UploadtoCloudWatch.html
func TestDatabaseLogGroupComesBack(t *testing.T) {
	t.Parallel()
	s, now := clocked(t)
	names := []string{"/aws/rds/instance/db/postgresql", "/aws/rds/instance/db/upgrade"}
	_ = s.Account().Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::RDS::DBInstance", ID: "db", Props: map[string]any{"EnableCloudwatchLogsExports": []any{"postgresql"}}})
		return nil
	})
	for _, name := range names {
		testkit.MustCreate(t, s, logs.TypeLogGroup, map[string]any{"LogGroupName": name})
		testkit.Refused(t, testkit.Delete(s, logs.TypeLogGroup, name), "")
	}
	*now = now.Add(5 * time.Minute)
	if group(t, s, names[0]) == nil || group(t, s, names[1]) != nil {
		t.Error("want the group of the exported log back, and no other")
	}
}

// A flow log makes its log group again if its role may create groups, even some
// minutes after the flow log itself is gone: the last records come late.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-cwl.html
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
func TestFlowLogGroupComesBack(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]bool{"logs:PutLogEvents": false, "logs:CreateLogGroup": true} {
		s, now := clocked(t)
		role := testkit.MustCreate(t, s, iam.TypeRole, map[string]any{
			"RoleName": "flows",
			"AssumeRolePolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
				"Effect": "Allow", "Principal": map[string]any{"Service": "vpc-flow-logs.amazonaws.com"}, "Action": "sts:AssumeRole",
			}}},
			"Policies": []any{map[string]any{"PolicyName": "write", "PolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
				"Effect": "Allow", "Action": []any{action}, "Resource": "*",
			}}}}},
		})
		vpc := testkit.MustCreate(t, s, ec2.TypeVPC, map[string]any{"CidrBlock": "10.0.0.0/16"})
		testkit.MustCreate(t, s, logs.TypeLogGroup, map[string]any{"LogGroupName": "flows"})
		flow := testkit.MustCreate(t, s, ec2.TypeFlowLog, map[string]any{
			"ResourceType": "VPC", "ResourceId": vpc.ID, "TrafficType": "ALL", "LogGroupName": "flows", "DeliverLogsPermissionArn": role.Attrs["Arn"],
		})
		testkit.Refused(t, testkit.Delete(s, ec2.TypeFlowLog, flow.ID), "")
		testkit.Refused(t, testkit.Delete(s, logs.TypeLogGroup, "flows"), "")
		*now = now.Add(5 * time.Minute)
		if got := group(t, s, "flows") != nil; got != want {
			t.Errorf("%s: the group is back: %t, want %t", action, got, want)
		}
		if want {
			*now = now.Add(time.Hour)
			testkit.Refused(t, testkit.Delete(s, logs.TypeLogGroup, "flows"), "")
			*now = now.Add(time.Hour)
			if group(t, s, "flows") != nil {
				t.Error("the group comes back although its flow log is long gone")
			}
		}
	}
}
