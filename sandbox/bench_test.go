package sandbox_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// deployment drives stacks on a clock that it turns itself.
type deployment struct {
	tb  testing.TB
	now time.Time
	s   *sandbox.Sandbox
	c   *cfn.Client
}

func newDeployment(tb testing.TB) *deployment {
	d := &deployment{tb: tb, now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	d.s = testkit.Sandbox(tb, sandbox.Options{Now: func() time.Time { return d.now }})
	d.c = cfn.NewFromConfig(testkit.Config(d.s))
	return d
}

// create starts a stack and returns its id.
func (d *deployment) create(name, body string) string {
	d.tb.Helper()
	out, err := d.c.CreateStack(context.Background(), &cfn.CreateStackInput{
		StackName: &name, TemplateBody: &body, Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
		Tags: []types.Tag{{Key: aws.String("deployment"), Value: aws.String(name)}},
	})
	if err != nil {
		d.tb.Fatal(err)
	}
	return *out.StackId
}

// rest lets time pass until the stack has the status.
func (d *deployment) rest(id string, want types.StackStatus) {
	d.tb.Helper()
	for range 1000 {
		out, err := d.c.DescribeStacks(context.Background(), &cfn.DescribeStacksInput{StackName: &id})
		if err != nil {
			d.tb.Fatal(err)
		}
		switch got := out.Stacks[0].StackStatus; {
		case got == want:
			return
		case !strings.HasSuffix(string(got), "_IN_PROGRESS"):
			events, _ := d.c.DescribeStackEvents(context.Background(), &cfn.DescribeStackEventsInput{StackName: &id})
			for _, e := range events.StackEvents {
				if strings.HasSuffix(string(e.ResourceStatus), "_FAILED") {
					d.tb.Log(aws.ToString(e.LogicalResourceId), aws.ToString(e.ResourceStatusReason))
				}
			}
			d.tb.Fatalf("stack is %s: %s", got, aws.ToString(out.Stacks[0].StackStatusReason))
		}
		d.now = d.now.Add(time.Minute)
	}
	d.tb.Fatalf("stack %s never comes to rest", id)
}

func (d *deployment) remove(ids ...string) {
	d.tb.Helper()
	for _, id := range ids {
		if _, err := d.c.DeleteStack(context.Background(), &cfn.DeleteStackInput{StackName: &id}); err != nil {
			d.tb.Fatal(err)
		}
		d.rest(id, types.StackStatusDeleteComplete)
	}
}

// networkTemplate has 80 resources: a VPC in three zones.
func networkTemplate() string {
	var b strings.Builder
	b.WriteString(`Parameters:
  Cidr: {Type: String, Default: 10.0.0.0/16}
Mappings:
  Tiers:
    Public: {Offset: 0}
    Private: {Offset: 3}
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: !Ref Cidr, EnableDnsHostnames: true, EnableDnsSupport: true}
  Gateway: {Type: AWS::EC2::InternetGateway}
  Attachment:
    Type: AWS::EC2::VPCGatewayAttachment
    Properties: {VpcId: !Ref Vpc, InternetGatewayId: !Ref Gateway}
  Acl:
    Type: AWS::EC2::NetworkAcl
    Properties: {VpcId: !Ref Vpc}
`)
	for i := range 12 {
		fmt.Fprintf(&b, `  Subnet%d:
    Type: AWS::EC2::Subnet
    Properties:
      VpcId: !Ref Vpc
      AvailabilityZone: !Select [%d, !GetAZs ""]
      CidrBlock: !Select [%d, !Cidr [!Ref Cidr, 12, 8]]
  Table%d:
    Type: AWS::EC2::RouteTable
    Properties: {VpcId: !Ref Vpc, Tags: [{Key: Name, Value: !Sub "${AWS::StackName}-%d"}]}
  TableOf%d:
    Type: AWS::EC2::SubnetRouteTableAssociation
    Properties: {SubnetId: !Ref Subnet%d, RouteTableId: !Ref Table%d}
  AclOf%d:
    Type: AWS::EC2::SubnetNetworkAclAssociation
    Properties: {SubnetId: !Ref Subnet%d, NetworkAclId: !Ref Acl}
`, i, i%3, i, i, i, i, i, i, i, i)
	}
	for i := range 7 {
		fmt.Fprintf(&b, `  Group%d:
    Type: AWS::EC2::SecurityGroup
    Properties: {VpcId: !Ref Vpc, GroupDescription: group %d}
  In%d:
    Type: AWS::EC2::SecurityGroupIngress
    Properties: {GroupId: !Ref Group%d, IpProtocol: tcp, FromPort: 443, ToPort: 443, SourceSecurityGroupId: !Ref Group%d}
  Out%d:
    Type: AWS::EC2::SecurityGroupEgress
    Properties: {GroupId: !Ref Group%d, IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0}
  Entry%d:
    Type: AWS::EC2::NetworkAclEntry
    Properties: {NetworkAclId: !Ref Acl, RuleNumber: %d, Protocol: -1, RuleAction: allow, CidrBlock: 0.0.0.0/0}
`, i, i, i, i, (i+1)%7, i, i, i, 100+i)
	}
	return b.String()
}

// servicesTemplate has 170 resources: keys, roles, buckets, repositories, log
// groups, topics and parameters.
func servicesTemplate() string {
	var b strings.Builder
	b.WriteString("Resources:\n")
	for i := range 10 {
		fmt.Fprintf(&b, `  Key%[1]d:
    Type: AWS::KMS::Key
    Properties:
      EnableKeyRotation: true
      KeyPolicy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}, {Effect: Allow, Principal: {Service: !Sub "logs.${AWS::Region}.amazonaws.com"}, Action: ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"], Resource: "*"}]}
  Alias%[1]d:
    Type: AWS::KMS::Alias
    Properties: {AliasName: !Sub "alias/${AWS::StackName}-%[1]d", TargetKeyId: !Ref Key%[1]d}
  Role%[1]d:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: "sts:AssumeRole"}]}
      Policies: [{PolicyName: read, PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: !Sub "${Bucket%[1]d.Arn}/*"}]}}]
  Bucket%[1]d:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !Sub "${AWS::StackName}-%[1]d"
      VersioningConfiguration: {Status: Enabled}
      BucketEncryption: {ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: "aws:kms", KMSMasterKeyID: !GetAtt Key%[1]d.Arn}}]}
      PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
  BucketPolicy%[1]d:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket%[1]d
      PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Deny, Principal: "*", Action: "s3:*", Resource: !Sub "${Bucket%[1]d.Arn}/*", Condition: {Bool: {"aws:SecureTransport": "false"}}}]}
  Repository%[1]d:
    Type: AWS::ECR::Repository
    Properties: {RepositoryName: !Sub "${AWS::StackName}/%[1]d", EncryptionConfiguration: {EncryptionType: KMS, KmsKey: !GetAtt Key%[1]d.Arn}}
  Logs%[1]d:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub "/${AWS::StackName}/%[1]d", RetentionInDays: 30, KmsKeyId: !GetAtt Key%[1]d.Arn}
`, i)
		for j := range 10 {
			fmt.Fprintf(&b, `  Parameter%[1]dx%[2]d:
    Type: AWS::SSM::Parameter
    Properties: {Name: !Sub "/${AWS::StackName}/%[1]d/%[2]d", Type: String, Value: !GetAtt Role%[1]d.Arn}
`, i, j)
		}
	}
	return b.String()
}

// A deployment of 250 resources in two stacks, made and deleted.
func BenchmarkDeployment(b *testing.B) {
	network, services := networkTemplate(), servicesTemplate()
	for b.Loop() {
		d := newDeployment(b)
		n, s := d.create("bench-network", network), d.create("bench-services", services)
		d.rest(n, types.StackStatusCreateComplete)
		d.rest(s, types.StackStatusCreateComplete)
		d.remove(s, n)
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/deployment")
}

// smallTemplate is a deployment that a thousand of have room in one account by
// AWS's quotas.
const smallTemplate = `
Parameters:
  Vpc: {Type: "AWS::EC2::VPC::Id"}
Resources:
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties: {VpcId: !Ref Vpc, GroupDescription: group}
  Peer:
    Type: AWS::EC2::SecurityGroup
    Properties: {VpcId: !Ref Vpc, GroupDescription: peer}
  In:
    Type: AWS::EC2::SecurityGroupIngress
    Properties: {GroupId: !Ref Group, IpProtocol: tcp, FromPort: 443, ToPort: 443, SourceSecurityGroupId: !Ref Peer}
  Out:
    Type: AWS::EC2::SecurityGroupEgress
    Properties: {GroupId: !Ref Group, IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0}
  Key:
    Type: AWS::KMS::Key
    Properties:
      KeyPolicy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}]}
  Alias:
    Type: AWS::KMS::Alias
    Properties: {AliasName: !Sub "alias/${AWS::StackName}", TargetKeyId: !Ref Key}
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !Ref AWS::StackName
      BucketEncryption: {ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: "aws:kms", KMSMasterKeyID: !GetAtt Key.Arn}}]}
  BucketPolicy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Deny, Principal: "*", Action: "s3:*", Resource: !Sub "${Bucket.Arn}/*", Condition: {Bool: {"aws:SecureTransport": "false"}}}]}
  Repository:
    Type: AWS::ECR::Repository
    Properties: {RepositoryName: !Sub "${AWS::StackName}/app", EncryptionConfiguration: {EncryptionType: KMS, KmsKey: !GetAtt Key.Arn}}
  Logs:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub "/${AWS::StackName}"}
  Topic:
    Type: AWS::SNS::Topic
    Properties: {TopicName: !Ref AWS::StackName}
  Parameter:
    Type: AWS::SSM::Parameter
    Properties: {Name: !Sub "/${AWS::StackName}/repository", Type: String, Value: !GetAtt Repository.RepositoryUri}
  Second:
    Type: AWS::SSM::Parameter
    Properties: {Name: !Sub "/${AWS::StackName}/key", Type: String, Value: !GetAtt Key.Arn}
`

// Deployments in one sandbox, all there at once, made and deleted; the metric
// ratio is the cost of one among a thousand by that of one alone.
func BenchmarkThousandDeployments(b *testing.B) {
	const many = 1000
	make := func(d *deployment, n int) string {
		vpc := ""
		_ = d.s.Account().Do(func(tx *account.Tx) error {
			vpc = tx.List("AWS::EC2::VPC")[0].ID
			return nil
		})
		id := d.create(fmt.Sprintf("deployment-%d", n), strings.Replace(smallTemplate, `{Type: "AWS::EC2::VPC::Id"}`, `{Type: "AWS::EC2::VPC::Id", Default: `+vpc+`}`, 1))
		d.rest(id, types.StackStatusCreateComplete)
		return id
	}
	// Both are measured in turns, so that a busy machine slows both.
	var alone, among time.Duration
	timed := func(total *time.Duration, f func()) {
		began := time.Now()
		f()
		*total += time.Since(began)
	}
	for b.Loop() {
		d := newDeployment(b)
		ids := []string{}
		for i := range many {
			timed(&among, func() { ids = append(ids, make(d, i)) })
			if i%5 == 0 {
				one := newDeployment(b)
				var id string
				timed(&alone, func() { id = make(one, i) })
				timed(&alone, func() { one.remove(id) })
			}
		}
		for i, id := range ids {
			timed(&among, func() { d.remove(id) })
			if i%5 == 0 {
				one := newDeployment(b)
				timed(&alone, func() { one.remove(make(one, i)) })
			}
		}
		if err := d.s.Account().CheckIndexes(); err != nil {
			b.Fatal(err)
		}
	}
	among, alone = among/many, alone/(2*many/5)
	b.ReportMetric(float64(among)/float64(alone), "ratio")
	b.ReportMetric(float64(among.Microseconds())/1000/float64(b.N), "ms/deployment")
}
