package sandbox_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// database has what the calendar has most of: backups, a rotation, windows.
const database = `{"Resources": {
	"VPC": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
	"A": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "VPC"}, "CidrBlock": "10.0.0.0/24", "AvailabilityZone": {"Fn::Select": [0, {"Fn::GetAZs": ""}]}}},
	"B": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "VPC"}, "CidrBlock": "10.0.1.0/24", "AvailabilityZone": {"Fn::Select": [1, {"Fn::GetAZs": ""}]}}},
	"Group": {"Type": "AWS::RDS::DBSubnetGroup", "Properties": {"DBSubnetGroupDescription": "x", "SubnetIds": [{"Ref": "A"}, {"Ref": "B"}]}},
	"Base": {"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Delete", "Properties": {"Engine": "postgres", "DBInstanceClass": "db.m7g.large", "AllocatedStorage": "20",
		"DBSubnetGroupName": {"Ref": "Group"}, "MasterUsername": "keeper", "ManageMasterUserPassword": true, "BackupRetentionPeriod": 7}}
}}`

// Operations are pending until they are over; what is on a date never is.
func TestPending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := testkit.Sandbox(t, sandbox.Options{})
		config := testkit.Config(s)
		keys, secrets, stacks := kms.NewFromConfig(config), secretsmanager.NewFromConfig(config), cloudformation.NewFromConfig(config)
		name := aws.String("shop")
		for _, tt := range []struct {
			name  string
			do    func() error
			least time.Duration // that the operations take
			most  time.Duration
		}{
			{"a key's deletion", func() error {
				k, err := keys.CreateKey(ctx, nil)
				if err != nil {
					return err
				}
				_, err = keys.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: k.KeyMetadata.KeyId, PendingWindowInDays: aws.Int32(7)})
				return err
			}, 0, time.Minute},
			{"a secret's deletion", func() error {
				if _, err := secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: name, SecretString: name}); err != nil {
					return err
				}
				_, err := secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: name})
				return err
			}, 0, time.Minute},
			{"a role", func() error {
				_, err := iam.NewFromConfig(config).CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustEC2)})
				return err
			}, time.Second, time.Minute},
			{"a stack", func() error {
				_, err := stacks.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(database), TimeoutInMinutes: aws.Int32(600)})
				return err
			}, 5 * time.Minute, time.Hour},
			{"its end", func() error {
				_, err := stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: name})
				return err
			}, 2 * time.Minute, time.Hour},
		} {
			if err := tt.do(); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			began := time.Now()
			for after, ok := s.Account().Pending(); ok; after, ok = s.Account().Pending() {
				if time.Since(began) > 24*time.Hour {
					t.Fatalf("%s is pending after a day", tt.name)
				}
				time.Sleep(after)
				if err := s.Account().Do(func(*account.Tx) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took < tt.least || took > tt.most {
				t.Errorf("%s was pending for %s, want %s to %s", tt.name, took, tt.least, tt.most)
			}
			if tt.name == "a stack" {
				out, err := stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: name})
				if err != nil {
					t.Fatal(err)
				}
				if st := out.Stacks[0]; st.StackStatus != cfntypes.StackStatusCreateComplete {
					t.Errorf("the stack is %s", st.StackStatus)
				}
			}
		}
	})
}
