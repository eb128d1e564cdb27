package sandbox_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// fixed is a group of one instance with an interface and an address that were
// there before, as a NAT instance has, and a private subnet that leaves by it.
const fixed = `
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}
  Subnet: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.0.0/24}}
  Private: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.1.0/24, AvailabilityZone: !GetAtt Subnet.AvailabilityZone}}
  Internet: {Type: AWS::EC2::InternetGateway}
  Attachment: {Type: AWS::EC2::VPCGatewayAttachment, Properties: {VpcId: !Ref Vpc, InternetGatewayId: !Ref Internet}}
  Table: {Type: AWS::EC2::RouteTable, Properties: {VpcId: !Ref Vpc}}
  Way: {Type: AWS::EC2::Route, DependsOn: Attachment, Properties: {RouteTableId: !Ref Table, DestinationCidrBlock: 0.0.0.0/0, GatewayId: !Ref Internet}}
  OfSubnet: {Type: AWS::EC2::SubnetRouteTableAssociation, Properties: {RouteTableId: !Ref Table, SubnetId: !Ref Subnet}}
  PrivateTable: {Type: AWS::EC2::RouteTable, Properties: {VpcId: !Ref Vpc}}
  OfPrivate: {Type: AWS::EC2::SubnetRouteTableAssociation, Properties: {RouteTableId: !Ref PrivateTable, SubnetId: !Ref Private}}
  PrivateWay: {Type: AWS::EC2::Route, DependsOn: Group, Properties: {RouteTableId: !Ref PrivateTable, DestinationCidrBlock: 0.0.0.0/0, NetworkInterfaceId: !Ref Interface}}
  Nat:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: nat
      VpcId: !Ref Vpc
      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 10.0.1.0/24}]
  Interface: {Type: AWS::EC2::NetworkInterface, Properties: {SubnetId: !Ref Subnet, SourceDestCheck: false, GroupSet: [!Ref Nat]}}
  Address: {Type: AWS::EC2::EIP, DependsOn: Attachment, Properties: {Domain: vpc}}
  Association: {Type: AWS::EC2::EIPAssociation, Properties: {AllocationId: !GetAtt Address.AllocationId, NetworkInterfaceId: !Ref Interface}}
  Template:
    Type: AWS::EC2::LaunchTemplate
    Properties:
      LaunchTemplateData:
        InstanceType: t4g.small
        ImageId: "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
        NetworkInterfaces: [{DeviceIndex: 0, NetworkInterfaceId: !Ref Interface}]
        UserData:
          Fn::Base64: !Sub |
            #!/bin/bash
            /opt/aws/bin/cfn-signal -e $? --region ${AWS::Region} --resource Group --stack ${AWS::StackName}
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    DependsOn: [Association, Way, OfSubnet]
    CreationPolicy: {ResourceSignal: {Count: 1}}
    UpdatePolicy: {AutoScalingRollingUpdate: {WaitOnResourceSignals: true}}
    Properties:
      MinSize: "1"
      MaxSize: "1"
      AvailabilityZones: [!GetAtt Subnet.AvailabilityZone]
      LaunchTemplate: {LaunchTemplateId: !Ref Template, Version: !GetAtt Template.LatestVersionNumber}
`

// way is how the private subnet of the stack leaves, the public address of its
// way and the instance behind it.
func way(s *sandbox.Sandbox) (how, address, machine string, err error) {
	err = s.Account().Do(func(tx *account.Tx) error {
		subnet := tx.Find(ec2.TypeSubnet, func(r *account.Resource) bool { return r.LogicalID == "Private" })
		eni := tx.Find(ec2.TypeNetworkInterface, func(r *account.Resource) bool { return r.LogicalID == "Interface" })
		how, address = ec2.ReachesInternet(tx, subnet), ec2.PublicIP(tx, eni)
		machine = props.Str(eni.Data, "attachment", "instance")
		return nil
	})
	return how, address, machine, err
}

// A group with a creation policy is made when its instance has signalled, which
// takes longer than until it runs; one whose instance has no way out, or calls
// nobody, fails when its time is over. An update that waits for signals replaces
// the instance, and goes back if the new one stays silent.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-creationpolicy.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func TestL28SignalsDecide(t *testing.T) {
	t.Parallel()
	silent := strings.Replace(fixed, "/opt/aws/bin/cfn-signal", "true", 1)
	walled := strings.Replace(fixed, "CidrIp: 10.0.1.0/24}]", "CidrIp: 10.0.1.0/24}]\n      SecurityGroupEgress: [{IpProtocol: tcp, FromPort: 80, ToPort: 80, CidrIp: 0.0.0.0/0}]", 1)
	other := strings.Replace(fixed, "--resource Group", "--resource Other", 1)
	for name, body := range map[string]string{"silent": silent, "walled": walled, "signals another group": other} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := cfn.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
				began := time.Now()
				if _, err := c.CreateStack(t.Context(), &cfn.CreateStackInput{StackName: aws.String("s"), TemplateBody: &body}); err != nil {
					t.Fatal(err)
				}
				if err := cfn.NewStackCreateCompleteWaiter(c).Wait(t.Context(), &cfn.DescribeStacksInput{StackName: aws.String("s")}, time.Hour); err == nil {
					t.Fatal("the stack is made")
				}
				if reasons := failures(t, c); !slices.ContainsFunc(reasons, func(r string) bool {
					return strings.HasPrefix(r, "Group: ") && strings.Contains(r, "Failed to receive 1 resource signal(s) within the specified duration")
				}) {
					t.Errorf("failures %q", reasons)
				}
				if took := time.Since(began); took < 5*time.Minute {
					t.Errorf("it failed after %v, before the five minutes that a signal may take", took)
				}
			})
		})
	}
	t.Run("replaced", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := testkit.Sandbox(t, sandbox.Options{})
			c := cfn.NewFromConfig(testkit.Config(s))
			name := &cfn.DescribeStacksInput{StackName: aws.String("s")}
			if _, err := c.CreateStack(t.Context(), &cfn.CreateStackInput{StackName: aws.String("s"), TemplateBody: aws.String(fixed)}); err != nil {
				t.Fatal(err)
			}
			if err := cfn.NewStackCreateCompleteWaiter(c).Wait(t.Context(), name, time.Hour); err != nil {
				t.Fatalf("%v: %q", err, failures(t, c))
			}
			how, address, first, err := way(s)
			if err != nil || how != "nat" || address == "" || first == "" {
				t.Fatalf("the private subnet leaves by %q, %s, %s (%v)", how, address, first, err)
			}
			larger := strings.Replace(fixed, "t4g.small", "t4g.medium", 1)
			if _, err := c.UpdateStack(t.Context(), &cfn.UpdateStackInput{StackName: aws.String("s"), TemplateBody: &larger}); err != nil {
				t.Fatal(err)
			}
			if err := cfn.NewStackUpdateCompleteWaiter(c).Wait(t.Context(), name, time.Hour); err != nil {
				t.Fatalf("%v: %q", err, failures(t, c))
			}
			how, same, second, err := way(s)
			if err != nil || how != "nat" || same != address || second == first {
				t.Errorf("after the update the private subnet leaves by %q, %s, %s (%v)", how, same, second, err)
			}
			broken := strings.Replace(silent, "t4g.small", "t4g.large", 1)
			if _, err := c.UpdateStack(t.Context(), &cfn.UpdateStackInput{StackName: aws.String("s"), TemplateBody: &broken}); err != nil {
				t.Fatal(err)
			}
			if err := cfn.NewStackUpdateCompleteWaiter(c).Wait(t.Context(), name, time.Hour); err == nil {
				t.Error("an instance that does not signal is taken for ready")
			}
			if reasons := failures(t, c); !slices.ContainsFunc(reasons, func(r string) bool {
				return strings.Contains(r, "Received 0 SUCCESS signal(s) out of 1")
			}) {
				t.Errorf("failures %q", reasons)
			}
			time.Sleep(10 * time.Minute)
			how, same, _, err = way(s)
			if err != nil || how != "nat" || same != address {
				t.Errorf("after the rollback the private subnet leaves by %q, %s (%v)", how, same, err)
			}
		})
	})
}

// failures are the stack's failed resources with their reasons.
func failures(t *testing.T, c *cfn.Client) []string {
	t.Helper()
	pages := cfn.NewDescribeStackEventsPaginator(c, &cfn.DescribeStackEventsInput{StackName: aws.String("s")})
	var out []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.StackEvents {
			if strings.HasSuffix(string(e.ResourceStatus), "_FAILED") {
				out = append(out, fmt.Sprintf("%s: %s", aws.ToString(e.LogicalResourceId), aws.ToString(e.ResourceStatusReason)))
			}
		}
	}
	return out
}

// The instance of a group of one that has a fixed interface is replaced by
// another with the same interface and address. The interface is in use until the
// old instance is gone, so the first launch is refused, and tried again; in
// between the subnets that leave by it reach nothing, and the route to it is a
// black hole.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html
func TestL28InstanceIsReplacedAtItsInterface(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		c := cfn.NewFromConfig(testkit.Config(s))
		groups := autoscaling.NewFromConfig(testkit.Config(s))
		if _, err := c.CreateStack(t.Context(), &cfn.CreateStackInput{StackName: aws.String("s"), TemplateBody: aws.String(fixed)}); err != nil {
			t.Fatal(err)
		}
		if err := cfn.NewStackCreateCompleteWaiter(c).Wait(t.Context(), &cfn.DescribeStacksInput{StackName: aws.String("s")}, time.Hour); err != nil {
			t.Fatalf("%v: %q", err, failures(t, c))
		}
		_, address, first, err := way(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := groups.TerminateInstanceInAutoScalingGroup(t.Context(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{
			InstanceId: &first, ShouldDecrementDesiredCapacity: aws.Bool(false),
		}); err != nil {
			t.Fatal(err)
		}
		if how, _, _, err := way(s); err != nil || how != "" {
			t.Errorf("the private subnet still leaves by %q (%v)", how, err)
		}
		time.Sleep(5 * time.Minute)
		how, same, second, err := way(s)
		if err != nil || how != "nat" || same != address || second == first || second == "" {
			t.Errorf("replaced, the private subnet leaves by %q, %s, %s, want by another instance with %s (%v)", how, same, second, address, err)
		}
		out, err := groups.DescribeScalingActivities(t.Context(), &autoscaling.DescribeScalingActivitiesInput{})
		if err != nil {
			t.Fatal(err)
		}
		var refused bool
		for _, a := range out.Activities {
			refused = refused || strings.HasPrefix(aws.ToString(a.StatusMessage), "Interface: [eni-") && strings.Contains(aws.ToString(a.StatusMessage), "in use")
		}
		if !refused {
			t.Errorf("no launch was refused while the interface was in use: %+v", out.Activities)
		}
		running := 0
		for _, r := range s.Account().Resources() {
			if r.Type == instance.TypeInstance {
				running++
			}
		}
		if running != 1 {
			t.Errorf("%d instances, want 1", running)
		}
	})
}
