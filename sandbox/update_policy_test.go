package sandbox_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

const rolling = `
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}
  Subnet: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.0.0/24}}
  Template:
    Type: AWS::EC2::LaunchTemplate
    Properties:
      LaunchTemplateData: {InstanceType: t3.small, ImageId: "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"}
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    UpdatePolicy: {AutoScalingRollingUpdate: {MinInstancesInService: 0}}
    Properties:
      MinSize: "1"
      MaxSize: "1"
      VPCZoneIdentifier: [!Ref Subnet]
      LaunchTemplate: {LaunchTemplateId: !Ref Template, Version: !GetAtt Template.LatestVersionNumber}
`

// The instances of an Auto Scaling group whose template has changed are replaced
// only as its update policy says.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := testkit.Sandbox(t, sandbox.Options{})
		c := cfn.NewFromConfig(testkit.Config(s))
		stack := &cfn.DescribeStacksInput{StackName: aws.String("s")}
		machine := func() (types string) {
			for _, r := range s.Account().Resources() {
				if r.Type == instance.TypeInstance && r.Status == "running" {
					types += " " + props.Str(r.Props, "InstanceType")
				}
			}
			return strings.TrimSpace(types)
		}
		if _, err := c.CreateStack(ctx, &cfn.CreateStackInput{StackName: aws.String("s"), TemplateBody: aws.String(rolling)}); err != nil {
			t.Fatal(err)
		}
		if err := cfn.NewStackCreateCompleteWaiter(c).Wait(ctx, stack, time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := machine(); got != "t3.small" {
			t.Fatalf("made %q, want t3.small", got)
		}
		for _, step := range []struct{ old, new, want string }{
			{"t3.small", "t3.medium", "t3.medium"},
			{"    UpdatePolicy: {AutoScalingRollingUpdate: {MinInstancesInService: 0}}\n", "", "t3.medium"},
		} {
			body := strings.NewReplacer(step.old, step.new, "t3.small", "t3.large").Replace(rolling)
			if _, err := c.UpdateStack(ctx, &cfn.UpdateStackInput{StackName: aws.String("s"), TemplateBody: aws.String(body)}); err != nil {
				t.Fatal(err)
			}
			if err := cfn.NewStackUpdateCompleteWaiter(c).Wait(ctx, stack, time.Hour); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if got := machine(); got != step.want {
				t.Errorf("instances are of type %q, want %q", got, step.want)
			}
		}
	})
}
