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
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

const drifting = `
Parameters:
  Days: {Type: Number, Default: 30}
Resources:
  Key:
    Type: AWS::KMS::Key
    Properties:
      EnableKeyRotation: true
      PendingWindowInDays: 7
      KeyPolicy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}]}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: "sts:AssumeRole"}]}
      ManagedPolicyArns: ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"]
      Policies:
      - PolicyName: read
        PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "*"}]}
  Logs:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: /stack, RetentionInDays: !Ref Days}
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      Tags: [{Key: purpose, Value: data}]
      PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
      VersioningConfiguration: {Status: Enabled}
  BucketPolicy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Deny, Principal: "*", Action: "s3:*", Resource: !Sub "${Bucket.Arn}/*", Condition: {Bool: {"aws:SecureTransport": "false"}}}]}
  Parameter:
    Type: AWS::SSM::Parameter
    Properties: {Name: /stack/bucket, Type: String, Value: !Ref Bucket, Description: a bucket}
  Vpc:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: 10.0.0.0/16}
  Web:
    Type: AWS::EC2::SecurityGroup
    Properties:
      VpcId: !Ref Vpc
      GroupDescription: web
      SecurityGroupIngress:
      - {IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 192.0.2.0/24}
      - {IpProtocol: tcp, FromPort: 80, ToPort: 80, CidrIp: 192.0.2.0/24}
  Inside:
    Type: AWS::EC2::SecurityGroup
    Properties: {VpcId: !Ref Vpc, GroupDescription: inside}
  Rule:
    Type: AWS::EC2::SecurityGroupIngress
    Properties: {GroupId: !Ref Inside, IpProtocol: tcp, FromPort: 8080, ToPort: 8080, SourceSecurityGroupId: !Ref Web}
  Acl:
    Type: AWS::EC2::NetworkAcl
    Properties: {VpcId: !Ref Vpc}
  Entry:
    Type: AWS::EC2::NetworkAclEntry
    Properties: {NetworkAclId: !Ref Acl, RuleNumber: 100, Protocol: -1, RuleAction: allow, CidrBlock: 10.0.0.0/16}
`

// drifter is a stack and what changes it behind CloudFormation's back.
type drifter struct {
	t     *testing.T
	ctx   context.Context
	box   *sandbox.Sandbox
	cfn   *cfn.Client
	names map[string]string // physical ids
}

func newDrifter(t *testing.T) *drifter {
	t.Helper()
	d := &drifter{t: t, ctx: t.Context(), box: testkit.Sandbox(t, sandbox.Options{}), names: map[string]string{}}
	d.cfn = cfn.NewFromConfig(testkit.Config(d.box))
	_, err := d.cfn.CreateStack(d.ctx, &cfn.CreateStackInput{
		StackName: new("s"), TemplateBody: new(drifting), Capabilities: []types.Capability{types.CapabilityCapabilityIam},
		Tags: []types.Tag{{Key: new("owner"), Value: new("me")}},
	})
	d.must(err)
	d.must(cfn.NewStackCreateCompleteWaiter(d.cfn).Wait(d.ctx, &cfn.DescribeStacksInput{StackName: new("s")}, time.Hour))
	out, err := d.cfn.DescribeStackResources(d.ctx, &cfn.DescribeStackResourcesInput{StackName: new("s")})
	d.must(err)
	for _, r := range out.StackResources {
		d.names[*r.LogicalResourceId] = *r.PhysicalResourceId
	}
	return d
}

func (d *drifter) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// detect returns what a detection finds: "Logs MODIFIED NOT_EQUAL /RetentionInDays 30 7".
func (d *drifter) detect() []string {
	d.t.Helper()
	began, err := d.cfn.DetectStackDrift(d.ctx, &cfn.DetectStackDriftInput{StackName: new("s")})
	d.must(err)
	var st *cfn.DescribeStackDriftDetectionStatusOutput
	for st == nil || st.DetectionStatus == types.StackDriftDetectionStatusDetectionInProgress {
		if st != nil {
			time.Sleep(time.Second)
		}
		st, err = d.cfn.DescribeStackDriftDetectionStatus(d.ctx, &cfn.DescribeStackDriftDetectionStatusInput{StackDriftDetectionId: began.StackDriftDetectionId})
		d.must(err)
	}
	out, err := d.cfn.DescribeStackResourceDrifts(d.ctx, &cfn.DescribeStackResourceDriftsInput{StackName: new("s")})
	d.must(err)
	var lines []string
	drifted := 0
	for _, r := range out.StackResourceDrifts {
		if r.StackResourceDriftStatus == types.StackResourceDriftStatusInSync {
			continue
		}
		drifted++
		if len(r.PropertyDifferences) == 0 {
			lines = append(lines, fmt.Sprint(*r.LogicalResourceId, " ", r.StackResourceDriftStatus))
		}
		for _, p := range r.PropertyDifferences {
			lines = append(lines, fmt.Sprint(*r.LogicalResourceId, " ", r.StackResourceDriftStatus, " ", p.DifferenceType, " ", *p.PropertyPath, " ", *p.ExpectedValue, " ", *p.ActualValue))
		}
	}
	stacks, err := d.cfn.DescribeStacks(d.ctx, &cfn.DescribeStacksInput{StackName: new("s")})
	d.must(err)
	want := types.StackDriftStatusInSync
	if drifted > 0 {
		want = types.StackDriftStatusDrifted
	}
	if got := stacks.Stacks[0].DriftInformation; got.StackDriftStatus != want || st.StackDriftStatus != want || int(*st.DriftedStackResourceCount) != drifted || got.LastCheckTimestamp == nil {
		d.t.Errorf("the stack is %s, the detection says %s with %d resources; want %s with %d", got.StackDriftStatus, st.StackDriftStatus, *st.DriftedStackResourceCount, want, drifted)
	}
	return lines
}

// changeSet makes a change set that reverts drift and returns its changes.
func (d *drifter) changeSet(params ...types.Parameter) (*cfn.DescribeChangeSetOutput, []string) {
	d.t.Helper()
	made, err := d.cfn.CreateChangeSet(d.ctx, &cfn.CreateChangeSetInput{
		StackName: new("s"), ChangeSetName: new("revert"), UsePreviousTemplate: new(true), DeploymentMode: types.DeploymentModeRevertDrift,
		Capabilities: []types.Capability{types.CapabilityCapabilityIam}, Parameters: params,
	})
	d.must(err)
	time.Sleep(5 * time.Minute)
	set, err := d.cfn.DescribeChangeSet(d.ctx, &cfn.DescribeChangeSetInput{ChangeSetName: made.Id, IncludePropertyValues: new(true)})
	d.must(err)
	var lines []string
	for _, c := range set.Changes {
		r := c.ResourceChange
		if len(r.Details) == 0 {
			lines = append(lines, fmt.Sprint(*r.LogicalResourceId, " ", r.Action, " ", r.ResourceDriftStatus))
		}
		for _, x := range r.Details {
			line := fmt.Sprint(*r.LogicalResourceId, " ", r.Action, " ", r.ResourceDriftStatus, " ", x.Target.AttributeChangeType, " ", *x.Target.Path, " ", aws.ToString(x.Target.BeforeValue), " ", aws.ToString(x.Target.AfterValue), " ", x.ChangeSource)
			if drift := x.Target.Drift; drift != nil {
				line += " was " + aws.ToString(drift.PreviousValue)
			}
			lines = append(lines, line)
		}
	}
	return set, lines
}

func (d *drifter) execute(set *cfn.DescribeChangeSetOutput) {
	d.t.Helper()
	_, err := d.cfn.ExecuteChangeSet(d.ctx, &cfn.ExecuteChangeSetInput{ChangeSetName: set.ChangeSetId})
	d.must(err)
	if err := cfn.NewStackUpdateCompleteWaiter(d.cfn).Wait(d.ctx, &cfn.DescribeStacksInput{StackName: new("s")}, time.Hour); err != nil {
		events, _ := d.cfn.DescribeStackEvents(d.ctx, &cfn.DescribeStackEventsInput{StackName: new("s")})
		for _, e := range events.StackEvents {
			d.t.Log(*e.LogicalResourceId, e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
		}
		d.t.Fatal(err)
	}
}

// What was changed outside of CloudFormation is found by drift detection, and a
// drift-aware change set puts it right.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
func TestDrift(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(d *drifter)
		// found is what the detection says, and put the change set.
		found, put []string
		// stays: the change set leaves it alone.
		stays bool
	}{
		"nothing": {change: func(*drifter) {}, stays: true},
		"nested property": {
			change: func(d *drifter) {
				_, err := s3.NewFromConfig(testkit.Config(d.box)).PutPublicAccessBlock(d.ctx, &s3.PutPublicAccessBlockInput{Bucket: new(d.names["Bucket"]), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
					BlockPublicAcls: new(true), BlockPublicPolicy: new(false), IgnorePublicAcls: new(true), RestrictPublicBuckets: new(true),
				}})
				d.must(err)
			},
			found: []string{"Bucket MODIFIED NOT_EQUAL /PublicAccessBlockConfiguration/BlockPublicPolicy true false"},
			put:   []string{"Bucket Modify MODIFIED Modify /Properties/PublicAccessBlockConfiguration/BlockPublicPolicy false true NoModification was true"},
		},
		"property gone": {
			change: func(d *drifter) {
				_, err := s3.NewFromConfig(testkit.Config(d.box)).DeletePublicAccessBlock(d.ctx, &s3.DeletePublicAccessBlockInput{Bucket: new(d.names["Bucket"])})
				d.must(err)
			},
			found: []string{`Bucket MODIFIED REMOVE /PublicAccessBlockConfiguration {"BlockPublicAcls":true,"BlockPublicPolicy":true,"IgnorePublicAcls":true,"RestrictPublicBuckets":true} null`},
			put:   []string{`Bucket Modify MODIFIED Add /Properties/PublicAccessBlockConfiguration  {"BlockPublicAcls":true,"BlockPublicPolicy":true,"IgnorePublicAcls":true,"RestrictPublicBuckets":true} NoModification was {"BlockPublicAcls":true,"BlockPublicPolicy":true,"IgnorePublicAcls":true,"RestrictPublicBuckets":true}`},
		},
		"element added": {
			change: func(d *drifter) {
				_, err := ec2.NewFromConfig(testkit.Config(d.box)).AuthorizeSecurityGroupIngress(d.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(d.names["Web"]), IpPermissions: []ec2types.IpPermission{
					{IpProtocol: new("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: new("0.0.0.0/0")}}},
				}})
				d.must(err)
			},
			found: []string{`Web MODIFIED ADD /SecurityGroupIngress/2 null {"CidrIp":"0.0.0.0/0","FromPort":"22","IpProtocol":"tcp","ToPort":"22"}`},
			put:   []string{`Web Modify MODIFIED Remove /Properties/SecurityGroupIngress/2 {"CidrIp":"0.0.0.0/0","FromPort":"22","IpProtocol":"tcp","ToPort":"22"}  NoModification was `},
		},
		"element removed": {
			change: func(d *drifter) {
				_, err := ec2.NewFromConfig(testkit.Config(d.box)).RevokeSecurityGroupIngress(d.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: new(d.names["Web"]), IpPermissions: []ec2types.IpPermission{
					{IpProtocol: new("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []ec2types.IpRange{{CidrIp: new("192.0.2.0/24")}}},
				}})
				d.must(err)
			},
			found: []string{`Web MODIFIED REMOVE /SecurityGroupIngress/0 {"CidrIp":"192.0.2.0/24","FromPort":443,"IpProtocol":"tcp","ToPort":443} null`},
			put:   []string{`Web Modify MODIFIED Add /Properties/SecurityGroupIngress/0  {"CidrIp":"192.0.2.0/24","FromPort":443,"IpProtocol":"tcp","ToPort":443} NoModification was {"CidrIp":"192.0.2.0/24","FromPort":443,"IpProtocol":"tcp","ToPort":443}`},
		},
		"what the template leaves out is not compared": {
			change: func(d *drifter) {
				_, err := ec2.NewFromConfig(testkit.Config(d.box)).AuthorizeSecurityGroupIngress(d.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(d.names["Inside"]), IpPermissions: []ec2types.IpPermission{
					{IpProtocol: new("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: new("0.0.0.0/0")}}},
				}})
				d.must(err)
			},
			stays: true,
		},
		"resource gone": {
			change: func(d *drifter) {
				_, err := ec2.NewFromConfig(testkit.Config(d.box)).RevokeSecurityGroupIngress(d.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: new(d.names["Inside"]), SecurityGroupRuleIds: []string{d.names["Rule"]}})
				d.must(err)
			},
			found: []string{"Rule DELETED"}, put: []string{"Rule Add DELETED"},
		},
		"named resource gone": {
			change: func(d *drifter) {
				_, err := cloudwatchlogs.NewFromConfig(testkit.Config(d.box)).DeleteLogGroup(d.ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: new("/stack")})
				d.must(err)
			},
			found: []string{"Logs DELETED"}, put: []string{"Logs Add DELETED"},
		},
		"policy": {
			change: func(d *drifter) {
				c := s3.NewFromConfig(testkit.Config(d.box))
				_, err := c.DeleteBucketPolicy(d.ctx, &s3.DeleteBucketPolicyInput{Bucket: new(d.names["Bucket"])})
				d.must(err)
			},
			found: []string{"BucketPolicy DELETED"}, put: []string{"BucketPolicy Add DELETED"},
		},
		"role": {
			change: func(d *drifter) {
				c := iam.NewFromConfig(testkit.Config(d.box))
				_, err := c.AttachRolePolicy(d.ctx, &iam.AttachRolePolicyInput{RoleName: new(d.names["Role"]), PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess")})
				d.must(err)
				_, err = c.PutRolePolicy(d.ctx, &iam.PutRolePolicyInput{RoleName: new(d.names["Role"]), PolicyName: new("read"), PolicyDocument: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)})
				d.must(err)
			},
			found: []string{
				"Role MODIFIED ADD /ManagedPolicyArns/1 null arn:aws:iam::aws:policy/AdministratorAccess",
				`Role MODIFIED NOT_EQUAL /Policies/0/PolicyDocument {"Statement":[{"Action":"s3:GetObject","Effect":"Allow","Resource":"*"}],"Version":"2012-10-17"} {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
			},
			put: []string{
				"Role Modify MODIFIED Remove /Properties/ManagedPolicyArns/1 arn:aws:iam::aws:policy/AdministratorAccess  NoModification was ",
				`Role Modify MODIFIED Modify /Properties/Policies/0/PolicyDocument {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]} {"Statement":[{"Action":"s3:GetObject","Effect":"Allow","Resource":"*"}],"Version":"2012-10-17"} NoModification was {"Statement":[{"Action":"s3:GetObject","Effect":"Allow","Resource":"*"}],"Version":"2012-10-17"}`,
			},
		},
		"rotation": {
			change: func(d *drifter) {
				_, err := kms.NewFromConfig(testkit.Config(d.box)).DisableKeyRotation(d.ctx, &kms.DisableKeyRotationInput{KeyId: new(d.names["Key"])})
				d.must(err)
			},
			found: []string{"Key MODIFIED NOT_EQUAL /EnableKeyRotation true false"},
			put:   []string{"Key Modify MODIFIED Modify /Properties/EnableKeyRotation false true NoModification was true"},
		},
		"key waiting for its end": {
			change: func(d *drifter) {
				_, err := kms.NewFromConfig(testkit.Config(d.box)).ScheduleKeyDeletion(d.ctx, &kms.ScheduleKeyDeletionInput{KeyId: new(d.names["Key"])})
				d.must(err)
			},
			found: []string{"Key DELETED"}, put: []string{"Key Add DELETED"},
		},
		"value, and a description that can't be read": {
			change: func(d *drifter) {
				_, err := ssm.NewFromConfig(testkit.Config(d.box)).PutParameter(d.ctx, &ssm.PutParameterInput{Name: new("/stack/bucket"), Value: new("x"), Description: new("y"), Overwrite: new(true)})
				d.must(err)
			},
			found: []string{"Parameter MODIFIED NOT_EQUAL /Value BUCKET x"},
			put:   []string{"Parameter Modify MODIFIED Modify /Properties/Value x BUCKET NoModification was BUCKET"},
		},
		"foreign tags stay": {
			change: func(d *drifter) {
				_, err := s3.NewFromConfig(testkit.Config(d.box)).PutBucketTagging(d.ctx, &s3.PutBucketTaggingInput{Bucket: new(d.names["Bucket"]), Tagging: &s3types.Tagging{TagSet: []s3types.Tag{
					{Key: new("purpose"), Value: new("data")}, {Key: new("owner"), Value: new("me")}, {Key: new("cost"), Value: new("7")},
				}}})
				d.must(err)
			},
			found: []string{`Bucket MODIFIED ADD /Tags/0 null {"Key":"cost","Value":"7"}`}, stays: true,
		},
		"own tags come back": {
			change: func(d *drifter) {
				_, err := s3.NewFromConfig(testkit.Config(d.box)).PutBucketTagging(d.ctx, &s3.PutBucketTaggingInput{Bucket: new(d.names["Bucket"]), Tagging: &s3types.Tagging{TagSet: []s3types.Tag{
					{Key: new("purpose"), Value: new("toys")}, {Key: new("owner"), Value: new("me")},
				}}})
				d.must(err)
			},
			found: []string{"Bucket MODIFIED NOT_EQUAL /Tags/0/Value data toys"},
			put:   []string{"Bucket Modify MODIFIED Modify /Properties/Tags/0/Value toys data NoModification was data"},
		},
		"types without a read handler are not checked": {
			change: func(d *drifter) {
				_, err := ec2.NewFromConfig(testkit.Config(d.box)).DescribeNetworkAcls(d.ctx, &ec2.DescribeNetworkAclsInput{})
				d.must(err)
				d.must(testkit.Update(d.box, "AWS::EC2::NetworkAclEntry", d.names["Entry"], map[string]any{"NetworkAclId": d.names["Acl"], "RuleNumber": 100, "Protocol": 6, "PortRange": map[string]any{"From": 1, "To": 2}, "RuleAction": "allow", "CidrBlock": "10.0.0.0/16"}))
			},
			stays: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDrifter(t)
				if lines := d.detect(); len(lines) > 0 {
					t.Fatalf("a new stack has drifted: %q", lines)
				}
				tc.change(d)
				own := func(lines []string) []string {
					var out []string
					for _, l := range lines {
						out = append(out, strings.ReplaceAll(l, d.names["Bucket"], "BUCKET"))
					}
					return out
				}
				if diff := cmp.Diff(tc.found, own(d.detect())); diff != "" {
					t.Errorf("detected, -want +got:\n%s", diff)
				}
				set, lines := d.changeSet()
				if tc.stays {
					if set.Status != types.ChangeSetStatusFailed || !strings.Contains(aws.ToString(set.StatusReason), "didn't contain changes") {
						t.Errorf("the change set is %s (%s) with %q; want none", set.Status, aws.ToString(set.StatusReason), lines)
					}
					return
				}
				// Others are listed because they refer to what changes.
				lines = slices.DeleteFunc(own(lines), func(l string) bool { return strings.Contains(l, " IN_SYNC ") })
				if diff := cmp.Diff(tc.put, lines); diff != "" || set.StackDriftStatus != types.StackDriftStatusDrifted || set.DeploymentMode != types.DeploymentModeRevertDrift {
					t.Errorf("change set of a stack %s, -want +got:\n%s", set.StackDriftStatus, diff)
				}
				d.execute(set)
				if lines := d.detect(); len(lines) > 0 {
					t.Errorf("left after the change set: %q", lines)
				}
			})
		})
	}
}

// A template that is changed to what is there already syncs the stack, and does
// nothing to the resource.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
func TestDriftThatIsWanted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDrifter(t)
		logs := cloudwatchlogs.NewFromConfig(testkit.Config(d.box))
		_, err := logs.PutRetentionPolicy(d.ctx, &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: new("/stack"), RetentionInDays: aws.Int32(7)})
		d.must(err)
		set, lines := d.changeSet(types.Parameter{ParameterKey: new("Days"), ParameterValue: new("7")})
		want := []string{"Logs SyncWithActual MODIFIED SyncWithActual /Properties/RetentionInDays 7 7 ParameterReference was 30", "Logs SyncWithActual MODIFIED SyncWithActual /Properties/RetentionInDays 7 7 DirectModification was 30"}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		d.execute(set)
		if lines := d.detect(); len(lines) > 0 {
			t.Errorf("left: %q", lines)
		}
		events, err := d.cfn.DescribeStackEvents(d.ctx, &cfn.DescribeStackEventsInput{StackName: new("s")})
		d.must(err)
		for _, e := range events.StackEvents {
			if *e.LogicalResourceId == "Logs" && strings.HasPrefix(string(e.ResourceStatus), "UPDATE") {
				t.Errorf("the resource was touched: %s", e.ResourceStatus)
			}
		}
	})
}

// An update that reverts drift and fails goes back to what was there, not to
// what was deployed.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
func TestDriftSurvivesARollback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDrifter(t)
		keys := kms.NewFromConfig(testkit.Config(d.box))
		_, err := keys.DisableKeyRotation(d.ctx, &kms.DisableKeyRotationInput{KeyId: new(d.names["Key"])})
		d.must(err)
		bad := strings.Replace(drifting, "Description: a bucket}", "Description: a bucket}\n  Bad:\n    Type: AWS::Logs::LogGroup\n    DependsOn: Key\n    Properties: {LogGroupName: bad, KmsKeyId: 'arn:aws:kms:us-east-1:123456789012:key/none'}", 1)
		made, err := d.cfn.CreateChangeSet(d.ctx, &cfn.CreateChangeSetInput{
			StackName: new("s"), ChangeSetName: new("bad"), TemplateBody: new(bad), DeploymentMode: types.DeploymentModeRevertDrift, Capabilities: []types.Capability{types.CapabilityCapabilityIam},
		})
		d.must(err)
		time.Sleep(time.Minute)
		_, err = d.cfn.ExecuteChangeSet(d.ctx, &cfn.ExecuteChangeSetInput{ChangeSetName: made.Id})
		d.must(err)
		time.Sleep(time.Hour)
		out, err := d.cfn.DescribeStacks(d.ctx, &cfn.DescribeStacksInput{StackName: new("s")})
		d.must(err)
		if s := out.Stacks[0].StackStatus; s != types.StackStatusUpdateRollbackComplete {
			t.Fatalf("the stack is %s", s)
		}
		if diff := cmp.Diff([]string{"Key MODIFIED NOT_EQUAL /EnableKeyRotation true false"}, d.detect()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// Drift detection runs for a while, one at a time for a stack, and tells the
// drift of single resources and of the whole.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DetectStackDrift.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackDriftDetectionStatus.html
func TestDriftDetectionOfOneStack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDrifter(t)
		_, err := d.cfn.DetectStackDrift(d.ctx, &cfn.DetectStackDriftInput{StackName: new("s"), LogicalResourceIds: []string{"Key"}})
		d.must(err)
		if _, err = d.cfn.DetectStackDrift(d.ctx, &cfn.DetectStackDriftInput{StackName: new("s")}); testkit.Code(err) != "ValidationError" || !strings.Contains(err.Error(), "already in progress") {
			t.Errorf("a second detection: %v", err)
		}
		time.Sleep(time.Minute)
		out, err := d.cfn.DescribeStackResourceDrifts(d.ctx, &cfn.DescribeStackResourceDriftsInput{StackName: new("s")})
		d.must(err)
		if len(out.StackResourceDrifts) != 1 || *out.StackResourceDrifts[0].LogicalResourceId != "Key" {
			t.Errorf("checked: %+v; want the one asked for", out.StackResourceDrifts)
		}
		one, err := d.cfn.DetectStackResourceDrift(d.ctx, &cfn.DetectStackResourceDriftInput{StackName: new("s"), LogicalResourceId: new("Logs")})
		d.must(err)
		if got := one.StackResourceDrift; got.StackResourceDriftStatus != types.StackResourceDriftStatusInSync || *got.ExpectedProperties != `{"LogGroupName":"/stack","RetentionInDays":30}` || *got.ActualProperties != *got.ExpectedProperties {
			t.Errorf("one resource: %s, expected %s, actual %s", got.StackResourceDriftStatus, *got.ExpectedProperties, *got.ActualProperties)
		}
		if _, err = d.cfn.DetectStackResourceDrift(d.ctx, &cfn.DetectStackResourceDriftInput{StackName: new("s"), LogicalResourceId: new("Entry")}); testkit.Code(err) != "ValidationError" {
			t.Errorf("a type that can't be read: %v", err)
		}
		_, err = d.cfn.DeleteStack(d.ctx, &cfn.DeleteStackInput{StackName: new("s")})
		d.must(err)
		if _, err = d.cfn.DetectStackDrift(d.ctx, &cfn.DetectStackDriftInput{StackName: new("s")}); testkit.Code(err) != "ValidationError" {
			t.Errorf("while it is deleted: %v", err)
		}
	})
}
