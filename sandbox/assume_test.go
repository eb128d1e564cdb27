package sandbox_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
)

func trustFor(service string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}}`
}

// A role that a stack is given has to let CloudFormation assume it.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
func TestServiceRoleTrustsCloudFormation(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	for name, service := range map[string]string{"stacks": "cloudformation.amazonaws.com", "instances": "ec2.amazonaws.com"} {
		testkit.MustCreate(t, s, "AWS::IAM::Role", map[string]any{"RoleName": name, "AssumeRolePolicyDocument": trustFor(service), "ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/AdministratorAccess"}})
	}
	c := cloudformation.NewFromConfig(testkit.Config(s))
	for name, want := range map[string]string{"stacks": "", "instances": "Role arn:aws:iam::123456789012:role/instances is invalid or cannot be assumed", "none": "Role arn:aws:iam::123456789012:role/none is invalid or cannot be assumed"} {
		_, err := c.CreateStack(ctx, &cloudformation.CreateStackInput{
			StackName: aws.String("with-" + name), RoleARN: aws.String("arn:aws:iam::123456789012:role/" + name),
			TemplateBody: aws.String(`{"Resources":{"Topic":{"Type":"AWS::SNS::Topic"}}}`),
		})
		if want == "" && err != nil || want != "" && (testkit.Code(err) != "ValidationError" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A role or instance profile that was made a moment ago can't be used yet:
// services that look at it answer as if it weren't there.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_roles.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
func TestFreshRolesAreNotKnown(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Now()
	s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	c := testkit.Config(s)
	identity := iam.NewFromConfig(c)
	for name, service := range map[string]string{"cluster": "eks.amazonaws.com", "stacks": "cloudformation.amazonaws.com", "instances": "ec2.amazonaws.com"} {
		if _, err := identity.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(name), AssumeRolePolicyDocument: aws.String(trustFor(service))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := identity.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("instances")}); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("instances"), RoleName: aws.String("instances")}); err != nil {
		t.Fatal(err)
	}
	found, err := ec2.NewFromConfig(c).DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: aws.String("availability-zone"), Values: []string{"us-east-1a", "us-east-1b"}}}})
	if err != nil || len(found.Subnets) != 2 {
		t.Fatalf("got %v, %v", found, err)
	}
	subnets := []string{*found.Subnets[0].SubnetId, *found.Subnets[1].SubnetId}
	calls := map[string]func() error{
		"Role with arn: arn:aws:iam::123456789012:role/cluster, could not be assumed because it does not exist or the trusted entity is not correct": func() error {
			_, err := eks.NewFromConfig(c).CreateCluster(ctx, &eks.CreateClusterInput{
				Name: aws.String("c"), RoleArn: aws.String("arn:aws:iam::123456789012:role/cluster"),
				ResourcesVpcConfig: &ekstypes.VpcConfigRequest{SubnetIds: subnets},
			})
			return err
		},
		"Role arn:aws:iam::123456789012:role/stacks is invalid or cannot be assumed": func() error {
			_, err := cloudformation.NewFromConfig(c).CreateStack(ctx, &cloudformation.CreateStackInput{
				StackName: aws.String("s"), RoleARN: aws.String("arn:aws:iam::123456789012:role/stacks"), TemplateBody: aws.String(`{"Resources":{"Topic":{"Type":"AWS::SNS::Topic"}}}`),
			})
			return err
		},
		"Invalid IAM Instance Profile name": func() error {
			// What an Auto Scaling group does, which tries again later.
			return s.Account().Do(func(tx *account.Tx) error {
				_, err := instance.Run(tx, instance.Launch{
					Data:   map[string]any{"InstanceType": "m5.large", "ImageId": "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", "IamInstanceProfile": map[string]any{"Name": "instances"}},
					Subnet: subnets[0],
				})
				return err
			})
		},
	}
	for want, call := range calls {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("at once: got %v, want %s", err, want)
		}
	}
	now = now.Add(5 * time.Second)
	for want, call := range calls {
		if err := call(); err != nil {
			t.Errorf("later, when it was %q: got %v", want, err)
		}
	}
}
