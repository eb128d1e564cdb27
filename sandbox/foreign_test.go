package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// people deploy stacks as one does with the AWS CLI.
type people struct {
	t *testing.T
	c *cfn.Client
}

func foreign(t *testing.T, name string) *string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "foreign", name))
	if err != nil {
		t.Fatal(err)
	}
	return aws.String(string(body))
}

// settle waits until a stack is at rest in a status.
func (p people) settle(stack string, want types.StackStatus) {
	p.t.Helper()
	for {
		out, err := p.c.DescribeStacks(p.t.Context(), &cfn.DescribeStacksInput{StackName: &stack})
		if err != nil {
			p.t.Fatal(err)
		}
		status := out.Stacks[0].StackStatus
		if strings.HasSuffix(string(status), "_IN_PROGRESS") {
			time.Sleep(10 * time.Second)
			continue
		}
		if status == want {
			return
		}
		events, err := p.c.DescribeStackEvents(p.t.Context(), &cfn.DescribeStackEventsInput{StackName: &stack})
		if err != nil {
			p.t.Fatal(err)
		}
		for _, e := range events.StackEvents {
			if strings.HasSuffix(string(e.ResourceStatus), "FAILED") {
				p.t.Log(*e.LogicalResourceId, e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
			}
		}
		p.t.Fatalf("stack %s is %s, want %s", stack, status, want)
	}
}

func (p people) create(stack, template string, parameters ...types.Parameter) {
	p.t.Helper()
	if _, err := p.c.CreateStack(p.t.Context(), &cfn.CreateStackInput{StackName: &stack, TemplateBody: foreign(p.t, template), Parameters: parameters, Capabilities: []types.Capability{types.CapabilityCapabilityIam}}); err != nil {
		p.t.Fatal(err)
	}
	p.settle(stack, types.StackStatusCreateComplete)
}

func (p people) update(stack string, parameters ...types.Parameter) {
	p.t.Helper()
	if _, err := p.c.UpdateStack(p.t.Context(), &cfn.UpdateStackInput{StackName: &stack, UsePreviousTemplate: aws.Bool(true), Parameters: parameters, Capabilities: []types.Capability{types.CapabilityCapabilityIam}}); err != nil {
		p.t.Fatal(err)
	}
	p.settle(stack, types.StackStatusUpdateComplete)
}

func (p people) remove(stack string) {
	p.t.Helper()
	out, err := p.c.DescribeStacks(p.t.Context(), &cfn.DescribeStacksInput{StackName: &stack})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.c.DeleteStack(p.t.Context(), &cfn.DeleteStackInput{StackName: &stack}); err != nil {
		p.t.Fatal(err)
	}
	p.settle(*out.Stacks[0].StackId, types.StackStatusDeleteComplete)
}

func value(key, value string) types.Parameter {
	return types.Parameter{ParameterKey: &key, ParameterValue: &value}
}

// A network as AWS's own samples write it goes through its life and leaves
// nothing.
//
// https://docs.aws.amazon.com/codebuild/latest/userguide/cloudformation-vpc-template.html
func TestSampleNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		before := testkit.Dump(s.Account())
		p := people{t, cfn.NewFromConfig(testkit.Config(s))}
		p.create("net", "sample-vpc.yaml", value("EnvironmentName", "town"))
		gateways := func() (n int) {
			for _, r := range s.Account().Resources() {
				if r.Type == "AWS::EC2::NatGateway" {
					n++
				}
			}
			return n
		}
		if n := gateways(); n != 2 {
			t.Errorf("%d NAT gateways, want 2", n)
		}
		p.update("net", value("EnvironmentName", "town"), value("NatPerZone", "false"))
		if n := gateways(); n != 1 {
			t.Errorf("%d NAT gateways after the update, want 1", n)
		}
		p.remove("net")
		time.Sleep(time.Hour)
		if left := leftBehind(before, s); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
}

// A cluster and nodes in stacks of the shape that eksctl writes, joined by
// exports, go through their life: what is exported can't be deleted while it is
// imported, and nothing is left.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
func TestClusterInEksctlsShape(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := testkit.Sandbox(t, sandbox.Options{})
		before := testkit.Dump(s.Account())
		p := people{t, cfn.NewFromConfig(testkit.Config(s))}
		p.create("eksctl-harbour-cluster", "eksctl-cluster.json")
		k := eks.NewFromConfig(testkit.Config(s))
		for _, addon := range []string{"vpc-cni", "kube-proxy"} {
			if _, err := k.CreateAddon(ctx, &eks.CreateAddonInput{ClusterName: aws.String("harbour"), AddonName: &addon}); err != nil {
				t.Fatal(err)
			}
		}
		p.create("eksctl-harbour-nodegroup-piers", "eksctl-nodegroup.json")
		p.update("eksctl-harbour-nodegroup-piers", value("Nodes", "3"))
		private := strings.Replace(*foreign(t, "eksctl-cluster.json"), `"EndpointPrivateAccess": false`, `"EndpointPrivateAccess": true`, 1)
		if _, err := p.c.UpdateStack(ctx, &cfn.UpdateStackInput{StackName: aws.String("eksctl-harbour-cluster"), TemplateBody: &private, Capabilities: []types.Capability{types.CapabilityCapabilityIam}}); err != nil {
			t.Fatal(err)
		}
		p.settle("eksctl-harbour-cluster", types.StackStatusUpdateComplete)
		if c, err := k.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String("harbour")}); err != nil || !c.Cluster.ResourcesVpcConfig.EndpointPrivateAccess {
			t.Errorf("the cluster's endpoint is not private after the update: %v", err)
		}
		group, err := k.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: aws.String("harbour"), NodegroupName: aws.String("piers")})
		if err != nil {
			t.Fatal(err)
		}
		if n := *group.Nodegroup.ScalingConfig.DesiredSize; n != 3 {
			t.Errorf("%d nodes, want 3", n)
		}
		more := &eks.DescribeNodegroupInput{ClusterName: aws.String("harbour"), NodegroupName: aws.String("quay")}
		if _, err := k.CreateNodegroup(ctx, &eks.CreateNodegroupInput{ClusterName: more.ClusterName, NodegroupName: more.NodegroupName, NodeRole: group.Nodegroup.NodeRole, Subnets: group.Nodegroup.Subnets, Labels: map[string]string{"place": "quay"}, Tags: map[string]string{"by": "hand"}}); err != nil {
			t.Fatal(err)
		}
		if err := eks.NewNodegroupActiveWaiter(k).Wait(ctx, more, time.Hour); err != nil {
			t.Fatal(err)
		}
		if quay, err := k.DescribeNodegroup(ctx, more); err != nil || quay.Nodegroup.Labels["place"] != "quay" || quay.Nodegroup.Tags["by"] != "hand" {
			t.Errorf("node group made by hand: %v %v", quay, err)
		}
		if _, err := k.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: more.ClusterName, NodegroupName: more.NodegroupName}); err != nil {
			t.Fatal(err)
		}
		if err := eks.NewNodegroupDeletedWaiter(k).Wait(ctx, more, time.Hour); err != nil {
			t.Fatal(err)
		}
		_, err = p.c.DeleteStack(ctx, &cfn.DeleteStackInput{StackName: aws.String("eksctl-harbour-cluster")})
		if err == nil || !strings.Contains(err.Error(), "as it is in use by eksctl-harbour-nodegroup-piers") {
			t.Errorf("delete of a stack whose exports are imported: %v", err)
		}
		p.remove("eksctl-harbour-nodegroup-piers")
		p.remove("eksctl-harbour-cluster")
		time.Sleep(time.Hour)
		if left := leftBehind(before, s); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
}
