package sandbox_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// everything is a stack of all types that this test's packages have.
const everything = `
Resources:
  Key:
    Type: AWS::KMS::Key
    Properties:
      EnableKeyRotation: true
      PendingWindowInDays: 7
      KeyPolicy:
        Version: "2012-10-17"
        Statement:
        - {Effect: Allow, Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}
        - {Effect: Allow, Principal: {Service: !Sub "logs.${AWS::Region}.amazonaws.com"}, Action: ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*"], Resource: "*"}
  Alias:
    Type: AWS::KMS::Alias
    Properties: {AliasName: alias/stack, TargetKeyId: !Ref Key}
  Policy:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: !Sub "${Bucket.Arn}/*"}]}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: "sts:AssumeRole"}]}
      ManagedPolicyArns: [!Ref Policy, !Sub "arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"]
      Policies:
      - PolicyName: key
        PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "kms:Decrypt", Resource: !GetAtt Key.Arn}]}
  Profile:
    Type: AWS::IAM::InstanceProfile
    Properties: {Roles: [!Ref Role]}
  Provider:
    Type: AWS::IAM::OIDCProvider
    Properties: {Url: "https://oidc.eks.us-east-1.amazonaws.com/id/0", ClientIdList: [sts.amazonaws.com]}
  Logs:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: /stack, RetentionInDays: 30, KmsKeyId: !GetAtt Key.Arn}
  LogBucket:
    Type: AWS::S3::Bucket
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      VersioningConfiguration: {Status: Enabled}
      BucketEncryption: {ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: "aws:kms", KMSMasterKeyID: !GetAtt Key.Arn}}]}
      LoggingConfiguration: {DestinationBucketName: !Ref LogBucket}
  BucketPolicy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Deny, Principal: "*", Action: "s3:*", Resource: !Sub "${Bucket.Arn}/*", Condition: {Bool: {"aws:SecureTransport": "false"}}}]}
  Repository:
    Type: AWS::ECR::Repository
    Properties: {RepositoryName: stack/app, ImageTagMutability: IMMUTABLE, EncryptionConfiguration: {EncryptionType: KMS, KmsKey: !GetAtt Key.Arn}}
  Parameter:
    Type: AWS::SSM::Parameter
    Properties: {Name: /stack/repository, Type: String, Value: !GetAtt Repository.RepositoryUri}
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties: {KmsKeyId: !GetAtt Key.Arn, GenerateSecretString: {PasswordLength: 40}}
Outputs:
  Uri: {Value: !GetAtt Parameter.Value}
  Secret: {Value: !Ref Secret}
  Bucket: {Value: !GetAtt Bucket.RegionalDomainName}
  Role: {Value: !GetAtt Role.Arn}
`

// TestStack makes and deletes everything as CloudFormation does.
func TestStack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := testkit.Sandbox(t, sandbox.Options{})
		start := testkit.Dump(s.Account())
		c := cfn.NewFromConfig(testkit.Config(s))
		if _, err := c.CreateStack(ctx, &cfn.CreateStackInput{StackName: aws.String("all"), TemplateBody: aws.String(everything), Capabilities: []types.Capability{types.CapabilityCapabilityIam}, Tags: []types.Tag{{Key: aws.String("owner"), Value: aws.String("me")}}}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := cfn.NewStackCreateCompleteWaiter(c).Wait(ctx, &cfn.DescribeStacksInput{StackName: aws.String("all")}, time.Hour); err != nil {
			events, _ := c.DescribeStackEvents(ctx, &cfn.DescribeStackEventsInput{StackName: aws.String("all")})
			for _, e := range events.StackEvents {
				if strings.HasSuffix(string(e.ResourceStatus), "FAILED") {
					t.Log(*e.LogicalResourceId, e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
				}
			}
			t.Fatal(err)
		}
		if took := time.Since(began); took < 2*time.Minute || took > 20*time.Minute {
			t.Errorf("creation took %v", took)
		}
		out, err := c.DescribeStacks(ctx, &cfn.DescribeStacksInput{StackName: aws.String("all")})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range out.Stacks[0].Outputs {
			want := map[string]string{
				"Uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/stack/app", "Secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:",
				"Bucket": "all-bucket-", "Role": "arn:aws:iam::123456789012:role/all-Role-",
			}[*o.OutputKey]
			if !strings.HasPrefix(*o.OutputValue, want) {
				t.Errorf("output %s is %s, want %s", *o.OutputKey, *o.OutputValue, want)
			}
		}
		for _, r := range s.Account().Resources() {
			switch r.Type {
			case "AWS::IAM::InstanceProfile", "AWS::IAM::ManagedPolicy", "AWS::KMS::Alias", "AWS::S3::BucketPolicy":
				// These take no tags, or none from stacks.
			default:
				if strings.Contains(r.Owner, ":stack/all/") && r.Tags["owner"] != "me" {
					t.Errorf("%s %s lacks the stack's tag: %v", r.Type, r.ID, r.Tags)
				}
			}
		}
		if err := s.Account().CheckIndexes(); err != nil {
			t.Error(err)
		}
		if _, err := c.DeleteStack(ctx, &cfn.DeleteStackInput{StackName: aws.String("all")}); err != nil {
			t.Fatal(err)
		}
		if err := cfn.NewStackDeleteCompleteWaiter(c).Wait(ctx, &cfn.DescribeStacksInput{StackName: aws.String("all")}, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * 24 * time.Hour)
		if left := leftBehind(start, s); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
}

// leftBehind is what an account has that it had not at the start, but for
// deleted stacks, which are listed for 90 days.
func leftBehind(start []byte, s *sandbox.Sandbox) (left string) {
	for line := range strings.Lines(testkit.DiffDumps(start, testkit.Dump(s.Account()))) {
		if !strings.Contains(strings.ToLower(line), "cloudformation:stack") {
			left += line
		}
	}
	return left
}

// A presigned GetCallerIdentity proves to EKS who a client is, and a changed one
// is refused.
//
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-auth.html
func TestPresignedIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Sandbox(t, sandbox.Options{})
		signed, err := sts.NewPresignClient(sts.NewFromConfig(testkit.Config(s))).PresignGetCallerIdentity(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{http.StatusOK, http.StatusForbidden} {
			req, err := http.NewRequest(signed.Method, signed.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := testkit.Client(s).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != want {
				t.Errorf("got %d, want %d", resp.StatusCode, want)
			}
			time.Sleep(16 * time.Minute)
		}
	})
}

// TestForksRunSideBySide lets forks of one moment, with a stack half made, end
// at the same time as their original, which shares nothing with them that
// changes: all arrive at the same, and a fork that waits stays as it is.
func TestForksRunSideBySide(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var now atomic.Int64
	begin := time.Now()
	s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return begin.Add(time.Duration(now.Load())) }})
	if _, err := cfn.NewFromConfig(testkit.Config(s)).CreateStack(ctx, &cfn.CreateStackInput{StackName: aws.String("all"), TemplateBody: aws.String(everything), Capabilities: []types.Capability{types.CapabilityCapabilityIam}}); err != nil {
		t.Fatal(err)
	}
	now.Store(int64(time.Minute))
	moment := begin.Add(time.Minute)
	idle := s.Clone(func() time.Time { return moment })
	before := testkit.Dump(idle.Account())
	runners := []*sandbox.Sandbox{s}
	var clocks []*atomic.Int64
	for range 3 {
		clock := &atomic.Int64{}
		clock.Store(int64(time.Minute))
		clocks = append(clocks, clock)
		runners = append(runners, idle.Clone(func() time.Time { return begin.Add(time.Duration(clock.Load())) }))
	}
	var all sync.WaitGroup
	for i, r := range runners {
		clock := &now
		if i > 0 {
			clock = clocks[i-1]
		}
		all.Go(func() {
			c := cfn.NewFromConfig(testkit.Config(r))
			for range 40 {
				clock.Add(int64(time.Minute))
				if _, err := c.DescribeStackEvents(ctx, &cfn.DescribeStackEventsInput{StackName: aws.String("all")}); err != nil {
					t.Error(err)
				}
			}
			body := strings.NewReplacer("RetentionInDays: 30", "RetentionInDays: 60", "PasswordLength: 40", "PasswordLength: 50").Replace(everything)
			if _, err := c.UpdateStack(ctx, &cfn.UpdateStackInput{StackName: aws.String("all"), TemplateBody: aws.String(body), Capabilities: []types.Capability{types.CapabilityCapabilityIam}}); err != nil {
				t.Error(err)
			}
			for range 40 {
				clock.Add(int64(time.Minute))
				_ = r.Account().Resources()
			}
		})
	}
	all.Wait()
	want := testkit.Dump(s.Account())
	for i, r := range runners[1:] {
		if diff := testkit.DiffDumps(want, testkit.Dump(r.Account())); diff != "" {
			t.Errorf("fork %d arrived elsewhere than the original:\n%s", i, diff)
		}
	}
	if diff := testkit.DiffDumps(before, testkit.Dump(idle.Account())); diff != "" {
		t.Errorf("the idle fork changed:\n%s", diff)
	}
	if diff := testkit.DiffDumps(before, want); !strings.Contains(diff, "AWS::Logs::LogGroup") {
		t.Errorf("nothing happened after the fork:\n%s", diff)
	}
}
