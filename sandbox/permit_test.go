package sandbox_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/recording"
)

// limited is a sandbox with an administrator, and an operator who may do
// everything but what a list denies.
type limited struct {
	t         *testing.T
	box       *sandbox.Sandbox
	admin     *iam.Client
	operator  *cfn.Client
	recording *recording.Recording
}

func newLimited(t *testing.T, denied ...string) *limited {
	t.Helper()
	statement := `{"Effect":"Allow","Action":"*","Resource":"*"}`
	if len(denied) > 0 {
		statement += `,{"Effect":"Deny","Action":["` + strings.Join(denied, `","`) + `"],"Resource":"*"}`
	}
	l := &limited{t: t, recording: &recording.Recording{}}
	l.box = testkit.Sandbox(t, sandbox.Options{Recording: l.recording, Principals: []sandbox.Principal{
		{AccessKeyID: "AKIAADMIN", SecretAccessKey: "a", ARN: "arn:aws:sts::123456789012:assumed-role/Admin/a"},
		{AccessKeyID: "AKIAOPERATOR", SecretAccessKey: "o", ARN: "arn:aws:sts::123456789012:assumed-role/Operator/o", Policy: `{"Version":"2012-10-17","Statement":[` + statement + `]}`},
	}})
	l.admin = iam.NewFromConfig(testkit.Config(l.box))
	l.operator = cfn.NewFromConfig(testkit.ConfigAs(l.box, l.box.Principals()[1]))
	return l
}

// create makes a stack and returns its status, and why a resource failed.
func (l *limited) create(in *cfn.CreateStackInput) (types.StackStatus, string) {
	l.t.Helper()
	in.StackName, in.Tags = new("s"), []types.Tag{{Key: new("team"), Value: new("a")}}
	if _, err := l.operator.CreateStack(l.t.Context(), in); err != nil {
		return "", err.Error()
	}
	return l.status("CREATE_FAILED")
}

func (l *limited) status(of types.ResourceStatus) (types.StackStatus, string) {
	l.t.Helper()
	time.Sleep(time.Hour)
	ctx := context.Background()
	out, err := l.operator.DescribeStacks(ctx, &cfn.DescribeStacksInput{StackName: new("s")})
	if err != nil {
		l.t.Fatal(err)
	}
	events, err := l.operator.DescribeStackEvents(ctx, &cfn.DescribeStackEventsInput{StackName: new("s")})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range events.StackEvents {
		if e.ResourceStatus == of && *e.ResourceType != "AWS::CloudFormation::Stack" {
			return out.Stacks[0].StackStatus, aws.ToString(e.ResourceStatusReason)
		}
	}
	return out.Stacks[0].StackStatus, ""
}

const oneVPC = `{"Resources":{"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.0.0.0/16"}}}}`

func contains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%q does not say %q", got, w)
		}
	}
}

// CloudFormation makes resources with the permissions of who asked for the
// stack: without one that the resource type's handler needs, the resource fails
// with the service's refusal, and the stack rolls back.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/control-access-with-iam.html
func TestStackNeedsTheCallersPermissions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, "ec2:CreateVpc")
		status, reason := l.create(&cfn.CreateStackInput{TemplateBody: new(oneVPC)})
		if status != types.StackStatusRollbackComplete {
			t.Errorf("the stack is %s, want ROLLBACK_COMPLETE", status)
		}
		contains(t, reason,
			`Resource handler returned message: "You are not authorized to perform this operation. User: arn:aws:sts::123456789012:assumed-role/Operator/o is not authorized to perform: ec2:CreateVpc on resource: arn:aws:ec2:us-east-1:123456789012:vpc/*`,
			"with an explicit deny in an identity-based policy", "(Service: Ec2, Status Code: 403, ", "HandlerErrorCode: AccessDenied)")
	})
}

// Whoever may not write inline policies can't by a template either.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-policy.html
func TestStackNeedsPermissionsForInlinePolicies(t *testing.T) {
	t.Parallel()
	body := `{"Resources":{"Policy":{"Type":"AWS::IAM::Policy","Properties":{"PolicyName":"more","Roles":["Operator"],"PolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}}}}}`
	for denied, want := range map[string]types.StackStatus{"iam:PutRolePolicy": types.StackStatusRollbackComplete, "sqs:CreateQueue": types.StackStatusCreateComplete} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimited(t, denied)
			status, reason := l.create(&cfn.CreateStackInput{TemplateBody: &body, Capabilities: []types.Capability{types.CapabilityCapabilityIam}})
			if status != want {
				t.Errorf("without %s the stack is %s, want %s: %s", denied, status, want, reason)
			}
		})
	}
}

// A handler needs all permissions that AWS publishes for it, also those to read
// what it has made.
//
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html#schema-properties-handlers
func TestStackNeedsPermissionsToRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, "ec2:DescribeVpcAttribute")
		_, reason := l.create(&cfn.CreateStackInput{TemplateBody: new(oneVPC)})
		contains(t, reason, "ec2:DescribeVpcAttribute on resource", "HandlerErrorCode: AccessDenied)")
	})
}

// A resource that fails because its tagging was refused has the error code
// UnauthorizedTaggingOperation, and CloudFormation says what to do.
//
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract-errors.html
func TestStackNeedsPermissionsToTag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, "ec2:CreateTags")
		_, reason := l.create(&cfn.CreateStackInput{TemplateBody: new(oneVPC)})
		contains(t, reason, "Encountered a permissions error performing a tagging operation, please add required tag permissions. See https://repost.aws/", "HandlerErrorCode: UnauthorizedTaggingOperation)")
	})
}

// Deleting a resource takes permissions of its own: without them it stays, and
// the stack's deletion fails.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/control-access-with-iam.html
func TestStackNeedsPermissionsToDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, "ec2:DeleteVpc")
		if status, reason := l.create(&cfn.CreateStackInput{TemplateBody: new(oneVPC)}); status != types.StackStatusCreateComplete {
			t.Fatalf("the stack is %s: %s", status, reason)
		}
		if _, err := l.operator.DeleteStack(t.Context(), &cfn.DeleteStackInput{StackName: new("s")}); err != nil {
			t.Fatal(err)
		}
		status, reason := l.status("DELETE_FAILED")
		if status != types.StackStatusDeleteFailed {
			t.Errorf("the stack is %s, want DELETE_FAILED", status)
		}
		contains(t, reason, "is not authorized to perform: ec2:DeleteVpc on resource: arn:aws:ec2:us-east-1:123456789012:vpc/vpc-")
	})
}

// With a service role CloudFormation uses that role's permissions, and the
// caller needs none but to pass it.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-servicerole.html
func TestServiceRoleCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			denied, policy string
			status         types.StackStatus
			says           string
		}{
			{"ec2:CreateVpc", "ec2:*", types.StackStatusCreateComplete, ""},
			{"s3:*", "ec2:Describe*", types.StackStatusRollbackComplete, "User: arn:aws:sts::123456789012:assumed-role/service/AWSCloudFormation is not authorized to perform: ec2:Create"},
			{"iam:PassRole", "ec2:*", "", "is not authorized to perform: iam:PassRole on resource: arn:aws:iam::123456789012:role/service"},
		} {
			l := newLimited(t, c.denied)
			role, err := l.admin.CreateRole(t.Context(), &iam.CreateRoleInput{
				RoleName:                 new("service"),
				AssumeRolePolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"cloudformation.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = l.admin.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: new("service"), PolicyName: new("p"), PolicyDocument: new(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"%s","Resource":"*"}]}`, c.policy))})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			status, reason := l.create(&cfn.CreateStackInput{TemplateBody: new(oneVPC), RoleARN: role.Role.Arn})
			if status != c.status {
				t.Errorf("with %s denied and a role for %s the stack is %s, want %s: %s", c.denied, c.policy, status, c.status, reason)
			}
			contains(t, reason, c.says)
		}
	})
}

// Who hands a role to a service needs iam:PassRole on that role, which a policy
// may allow for some services only.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
func TestPassRole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t)
		role, err := l.admin.CreateRole(t.Context(), &iam.CreateRoleInput{
			RoleName:                 new("cluster"),
			AssumeRolePolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		k := eks.NewFromConfig(testkit.ConfigAs(l.box, l.box.Principals()[1]))
		const refusal = "is not authorized to perform: iam:PassRole on resource: arn:aws:iam::123456789012:role/cluster"
		for service, refused := range map[string]bool{"ec2.amazonaws.com": true, "eks.amazonaws.com": false} {
			_, err := l.admin.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
				RoleName: new("Operator"), PolicyName: new("pass"),
				PolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:PassRole","Resource":"*","Condition":{"StringNotEquals":{"iam:PassedToService":"` + service + `"}}}]}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			_, err = k.CreateCluster(t.Context(), &eks.CreateClusterInput{Name: new("c"), RoleArn: role.Role.Arn, ResourcesVpcConfig: &ekstypes.VpcConfigRequest{SubnetIds: []string{"subnet-0", "subnet-1"}}})
			if err == nil || strings.Contains(err.Error(), refusal) != refused {
				t.Errorf("a role that may be passed to %s is passed to EKS: %v", service, err)
			}
		}
	})
}

// Detecting drift takes the caller's permission to read each resource; the
// detection fails for those that it can't read, and tells of the others.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackDriftDetectionStatus.html
func TestDriftDetectionNeedsPermissionsToRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t)
		body := `{"Resources":{"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.0.0.0/16"}},"Logs":{"Type":"AWS::Logs::LogGroup"}}}`
		if status, reason := l.create(&cfn.CreateStackInput{TemplateBody: &body}); status != types.StackStatusCreateComplete {
			t.Fatalf("the stack is %s: %s", status, reason)
		}
		_, err := l.admin.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: new("Operator"), PolicyName: new("deny"), PolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ec2:DescribeVpcs","Resource":"*"}]}`)})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		d, err := l.operator.DetectStackDrift(t.Context(), &cfn.DetectStackDriftInput{StackName: new("s")})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		out, err := l.operator.DescribeStackDriftDetectionStatus(t.Context(), &cfn.DescribeStackDriftDetectionStatusInput{StackDriftDetectionId: d.StackDriftDetectionId})
		if err != nil {
			t.Fatal(err)
		}
		if out.DetectionStatus != types.StackDriftDetectionStatusDetectionFailed {
			t.Errorf("the detection is %s, want DETECTION_FAILED", out.DetectionStatus)
		}
		contains(t, aws.ToString(out.DetectionStatusReason), "Failed to detect drift on resource [Vpc].", "ec2:DescribeVpcs")
		drifts, err := l.operator.DescribeStackResourceDrifts(t.Context(), &cfn.DescribeStackResourceDriftsInput{StackName: new("s")})
		if err != nil {
			t.Fatal(err)
		}
		if len(drifts.StackResourceDrifts) != 1 || *drifts.StackResourceDrifts[0].LogicalResourceId != "Logs" {
			t.Errorf("%d resources were looked at, want the log group alone", len(drifts.StackResourceDrifts))
		}
		if _, err := l.operator.DetectStackResourceDrift(t.Context(), &cfn.DetectStackResourceDriftInput{StackName: new("s"), LogicalResourceId: new("Vpc")}); err == nil || !strings.Contains(err.Error(), "ec2:DescribeVpcs") {
			t.Errorf("looking at the VPC: %v, want a refusal", err)
		}
	})
}

// A recording keeps the calls of clients apart from what CloudFormation does on
// their behalf, by whom and what for, denied ones too.
func TestRecording(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, "ec2:DescribeVpcAttribute")
		l.create(&cfn.CreateStackInput{TemplateBody: new(oneVPC)})
		found := map[string]recording.Permission{}
		for _, p := range l.recording.Permissions() {
			if p.Principal == "arn:aws:iam::123456789012:role/Operator" {
				found[string(p.Source)+" "+p.Action+" "+p.Cause] = p
			}
		}
		for key, denied := range map[string]bool{
			"recorded cloudformation:CreateStack cloudformation:CreateStack": false,
			"published ec2:CreateVpc AWS::EC2::VPC create":                   false,
			"published ec2:DescribeVpcAttribute AWS::EC2::VPC create":        true,
		} {
			p, ok := found[key]
			if !ok || (p.Denied > 0) != denied {
				t.Errorf("%s: there %v, denied %d times; want %v", key, ok, p.Denied, denied)
			}
		}
		if v := found["published ec2:CreateVpc AWS::EC2::VPC create"].Context["aws:CalledVia"]; len(v) != 1 || v[0] != "cloudformation.amazonaws.com" {
			t.Errorf("aws:CalledVia is %v", v)
		}
	})
}
