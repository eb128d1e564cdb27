package cloudformation_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, in)
	return w.Result(), nil
}

const realTypes = `
Description: a network
Parameters:
  Cidr: {Type: String, Default: 10.20.0.0/16}
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: !Ref Cidr, EnableDnsSupport: true}
  Subnet:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Vpc, CidrBlock: !Select [0, !Cidr [!GetAtt Vpc.CidrBlock, 4, 8]], AvailabilityZone: !Select [0, !GetAZs ""]}
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties: {VpcId: !Ref Vpc, GroupDescription: web, SecurityGroupIngress: [{IpProtocol: tcp, FromPort: "443", ToPort: 443, CidrIp: 0.0.0.0/0}]}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}]}
Outputs:
  Role: {Value: !GetAtt Role.Arn, Description: its role, Export: {Name: role}}
`

// What the SDK reads out of the answers is what the service means.
func TestThroughTheSDK(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	sb := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	c := cloudformation.New(cloudformation.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://sandbox.invalid"), Retryer: aws.NopRetryer{},
		HTTPClient: &http.Client{Transport: inProcess{sb}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey}, nil
		}),
	})
	stack := func() types.Stack {
		t.Helper()
		out, err := c.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: aws.String("net")})
		if err != nil {
			t.Fatal(err)
		}
		return out.Stacks[0]
	}
	rest := func() types.StackStatus {
		for range 200 {
			if s := stack().StackStatus; !strings.HasSuffix(string(s), "_IN_PROGRESS") {
				return s
			}
			now = now.Add(10 * time.Second)
		}
		return "stuck"
	}
	_, err := c.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: aws.String("net")})
	var ae smithy.APIError
	if !errors.As(err, &ae) || ae.ErrorCode() != "ValidationError" || ae.ErrorMessage() != "Stack with id net does not exist" {
		t.Fatalf("got %v", err)
	}
	_, err = c.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{StackName: aws.String("net"), ChangeSetName: aws.String("first"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(realTypes)})
	var insufficient *types.InsufficientCapabilitiesException
	if !errors.As(err, &insufficient) {
		t.Fatalf("got %v", err)
	}
	made, err := c.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: aws.String("net"), ChangeSetName: aws.String("first"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(realTypes),
		Capabilities: []types.Capability{types.CapabilityCapabilityIam}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}},
		Parameters: []types.Parameter{{ParameterKey: aws.String("Cidr"), ParameterValue: aws.String("10.30.0.0/16")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(5 * time.Second)
	cs, err := c.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id, IncludePropertyValues: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if cs.Status != types.ChangeSetStatusCreateComplete || len(cs.Changes) != 4 || cs.Changes[3].ResourceChange.Action != types.ChangeActionAdd || aws.ToString(cs.Parameters[0].ParameterValue) != "10.30.0.0/16" {
		t.Fatalf("change set: %s %s %+v", cs.Status, aws.ToString(cs.StatusReason), cs.Changes)
	}
	if _, err := c.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: made.Id}); err != nil {
		t.Fatal(err)
	}
	events := func() []string {
		var lines []string
		p := cloudformation.NewDescribeStackEventsPaginator(c, &cloudformation.DescribeStackEventsInput{StackName: aws.String("net")})
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.StackEvents {
				lines = append(lines, aws.ToString(e.LogicalResourceId)+" "+string(e.ResourceStatus)+" "+aws.ToString(e.ResourceStatusReason))
			}
		}
		return lines
	}
	if s := rest(); s != types.StackStatusCreateComplete {
		t.Fatalf("stack is %s:\n%s", s, strings.Join(events(), "\n"))
	}
	st := stack()
	if len(st.Outputs) != 1 || !strings.HasPrefix(aws.ToString(st.Outputs[0].OutputValue), "arn:aws:iam::123456789012:role/net-Role-") || aws.ToString(st.Tags[0].Key) != "team" || st.CreationTime == nil || *st.EnableTerminationProtection {
		t.Errorf("stack: %+v", st)
	}
	update, err := c.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: aws.String("net"), ChangeSetName: aws.String("second"), TemplateBody: aws.String(strings.Replace(realTypes, "EnableDnsSupport: true", "EnableDnsSupport: false", 1)),
		Capabilities: []types.Capability{types.CapabilityCapabilityIam}, Parameters: []types.Parameter{{ParameterKey: aws.String("Cidr"), UsePreviousValue: aws.Bool(true)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(5 * time.Second)
	cs, err = c.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: update.Id, IncludePropertyValues: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, x := range cs.Changes {
		for _, d := range x.ResourceChange.Details {
			lines = append(lines, strings.Join([]string{
				*x.ResourceChange.LogicalResourceId, string(x.ResourceChange.Replacement), aws.ToString(d.Target.Path), string(d.Target.RequiresRecreation),
				string(d.ChangeSource), aws.ToString(d.CausingEntity), string(d.Evaluation), aws.ToString(d.Target.BeforeValue), aws.ToString(d.Target.AfterValue),
			}, " "))
		}
	}
	if d := cmp.Diff([]string{
		"Subnet Conditional /Properties/CidrBlock Always ResourceAttribute Vpc.CidrBlock Dynamic 10.30.0.0/24 {{changeSet:KNOWN_AFTER_APPLY}}",
		"Vpc False /Properties/EnableDnsSupport Never DirectModification  Static true false",
	}, lines); d != "" {
		t.Error(d)
	}
	if _, err := c.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: update.Id}); err != nil {
		t.Fatal(err)
	}
	if s := rest(); s != types.StackStatusUpdateComplete {
		t.Fatalf("stack is %s:\n%s", s, strings.Join(events(), "\n"))
	}
	exports, err := c.ListExports(ctx, &cloudformation.ListExportsInput{})
	if err != nil || len(exports.Exports) != 1 {
		t.Errorf("exports %+v, %v", exports, err)
	}
	resources, err := c.ListStackResources(ctx, &cloudformation.ListStackResourcesInput{StackName: aws.String("net")})
	if err != nil || len(resources.StackResourceSummaries) != 4 {
		t.Errorf("resources %+v, %v", resources, err)
	}
	summary, err := c.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{StackName: aws.String("net")})
	if err != nil || len(summary.ResourceTypes) != 4 || len(summary.Parameters) != 1 || summary.Capabilities[0] != types.CapabilityCapabilityIam {
		t.Errorf("summary %+v, %v", summary, err)
	}
	id := stack().StackId
	if _, err := c.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String("net")}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(10 * time.Minute)
	out, err := c.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: id})
	if err != nil || out.Stacks[0].StackStatus != types.StackStatusDeleteComplete || out.Stacks[0].DeletionTime == nil {
		t.Errorf("deleted stack: %+v, %v", out, err)
	}
	if _, err := c.ListStackSets(ctx, &cloudformation.ListStackSetsInput{}); !errors.As(err, &ae) || ae.ErrorCode() != "NotModelled" {
		t.Errorf("stack sets: got %v", err)
	}
}
