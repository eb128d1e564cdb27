package calibrate

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// TestGuard sends calls past the probes: none gets out that could change
// something, though it were listed, and none that isn't listed.
func TestGuard(t *testing.T) {
	t.Parallel()
	ours, theirs := aws.String(StackPrefix+"x"), aws.String("theirs")
	listed := []string{
		"ec2:DescribeVpcs", "ec2:CreateVpc", "eks:DescribeCluster", "eks:DeleteCluster", "s3:DeleteBucket", "secretsmanager:DescribeSecret", "secretsmanager:DeleteSecret",
		"cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet", "cloudformation:DeleteStack", "cloudformation:CreateStack", "cloudformation:DeleteChangeSet",
	}
	tests := map[string]struct {
		changeSets bool
		call       func(c *awsapi.Clients) error
		want       string // why it stayed; empty if it went out
	}{
		"reads": {false, func(c *awsapi.Clients) error {
			_, err := c.EC2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
			return err
		}, ""},
		"reads by JSON": {false, func(c *awsapi.Clients) error {
			_, err := c.SecretsManager.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: theirs})
			return err
		}, ""},
		"reads by GET": {false, func(c *awsapi.Clients) error {
			_, err := c.EKS.DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: theirs})
			return err
		}, ""},
		"reads what isn't listed": {false, func(c *awsapi.Clients) error {
			_, err := c.EC2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
			return err
		}, "ec2:DescribeSubnets was not sent: no probe lists it"},
		"dry run": {false, func(c *awsapi.Clients) error {
			_, err := c.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), DryRun: aws.Bool(true)})
			return err
		}, ""},
		"no dry run": {false, func(c *awsapi.Clients) error {
			_, err := c.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
			return err
		}, "ec2:CreateVpc was not sent: it could change something"},
		"deletes by DELETE": {false, func(c *awsapi.Clients) error {
			_, err := c.EKS.DeleteCluster(t.Context(), &eks.DeleteClusterInput{Name: theirs})
			return err
		}, "eks:DeleteCluster was not sent: its method is DELETE"},
		"deletes a bucket": {false, func(c *awsapi.Clients) error {
			_, err := c.S3.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: theirs})
			return err
		}, "s3:DeleteBucket was not sent: its method is DELETE"},
		"deletes by JSON": {false, func(c *awsapi.Clients) error {
			_, err := c.SecretsManager.DeleteSecret(t.Context(), &secretsmanager.DeleteSecretInput{SecretId: theirs})
			return err
		}, "secretsmanager:DeleteSecret was not sent: it could change something"},
		"change set": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.CreateChangeSet(t.Context(), &cloudformation.CreateChangeSetInput{StackName: ours, ChangeSetName: ours, ChangeSetType: cfntypes.ChangeSetTypeCreate})
			return err
		}, ""},
		"change set that wasn't asked for": {false, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.CreateChangeSet(t.Context(), &cloudformation.CreateChangeSetInput{StackName: ours, ChangeSetName: ours, ChangeSetType: cfntypes.ChangeSetTypeCreate})
			return err
		}, "it could change something"},
		"change set of another stack": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.CreateChangeSet(t.Context(), &cloudformation.CreateChangeSetInput{StackName: theirs, ChangeSetName: ours, ChangeSetType: cfntypes.ChangeSetTypeCreate})
			return err
		}, "it could change something"},
		"change set of a named stack": {false, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.CreateChangeSet(t.Context(), &cloudformation.CreateChangeSetInput{StackName: aws.String("named"), ChangeSetName: ours, ChangeSetType: cfntypes.ChangeSetTypeUpdate})
			return err
		}, ""},
		"somebody's change set of a named stack": {false, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.DeleteChangeSet(t.Context(), &cloudformation.DeleteChangeSetInput{StackName: aws.String("named"), ChangeSetName: theirs})
			return err
		}, "it could change something"},
		"deletion of a named stack": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: aws.String("named")})
			return err
		}, "it could change something"},
		"execution on a named stack": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.ExecuteChangeSet(t.Context(), &cloudformation.ExecuteChangeSetInput{StackName: aws.String("named"), ChangeSetName: ours})
			return err
		}, "it could change something"},
		"execution": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.ExecuteChangeSet(t.Context(), &cloudformation.ExecuteChangeSetInput{StackName: ours, ChangeSetName: ours})
			return err
		}, "cloudformation:ExecuteChangeSet was not sent: it could change something"},
		"creation": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: ours})
			return err
		}, "it could change something"},
		"deletion of a stack in review": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: ours})
			return err
		}, ""},
		"deletion by ARN": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: aws.String("arn:aws:cloudformation:us-east-1:123456789012:stack/theirs/" + StackPrefix)})
			return err
		}, "it could change something"},
		"deletion of another stack": {true, func(c *awsapi.Clients) error {
			_, err := c.CloudFormation.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: theirs})
			return err
		}, "cloudformation:DeleteStack was not sent: it could change something"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := 0
			answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sent++
				w.WriteHeader(http.StatusTeapot)
			})
			c, err := awsapi.New(t.Context(), awsapi.Options{
				Region: "us-east-1", Endpoint: "https://account.invalid", HTTPClient: handlerClient{answer},
				Guard:       newGuard(listed, tc.changeSets, []string{"named"}).check,
				Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
			})
			if err != nil {
				t.Fatal(err)
			}
			err = tc.call(c)
			switch {
			case err == nil:
				t.Error("a teapot was taken for AWS")
			case tc.want == "" && sent != 1:
				t.Errorf("it was sent %d times: %v", sent, err)
			case tc.want != "" && (sent > 0 || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("it was sent %d times: %v; want %q", sent, err, tc.want)
			}
		})
	}
}

// TestGuardReadsTheWire goes by what is on the wire.
func TestGuardReadsTheWire(t *testing.T) {
	t.Parallel()
	const signed = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=x"
	g := newGuard([]string{"ec2:DescribeVpcs", "ec2:CreateVpc"}, true, nil)
	request := func(authorization, body string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://ec2.us-east-1.amazonaws.com/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", authorization)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	for name, tc := range map[string]struct {
		r    *http.Request
		want string
	}{
		"good":                {request(signed, "Action=DescribeVpcs"), ""},
		"unsigned":            {request("", "Action=DescribeVpcs"), "it isn't signed"},
		"no action":           {request(signed, "x=y"), "its method is POST"},
		"bad form":            {request(signed, "%zz"), "read its body"},
		"dry run of nothing":  {request(signed, "Action=CreateVpc&DryRun=false"), "it could change something"},
		"dry run of somebody": {request(strings.Replace(signed, "/ec2/", "/iam/", 1), "Action=CreateVpc&DryRun=true"), "no probe lists it"},
	} {
		err := g.check(tc.r)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestNormal(t *testing.T) {
	t.Parallel()
	s := &side{identity: identity{account: "123456789012"}}
	for in, want := range map[string]string{
		"vpc-0a1b2c3d4e5f60718 of 123456789012":                               "vpc-ID of ACCOUNT",
		"vpc-0123456789abcdef0 stays":                                         "vpc-0123456789abcdef0 stays",
		"i-1234abcd, eipalloc-0a1b2c3d4e5f60718":                              "i-ID, eipalloc-ID",
		"id 01234567-89ab-cdef-0123-456789abcdef at 2026-01-02T03:04:05.678Z": "id UUID at TIME",
		"User: arn:aws:sts::123456789012:assumed-role/Me/x may not":           "User: arn:aws:sts::ACCOUNT:CALLER may not",
		"us-east-1 has db.m6g.large":                                          "us-east-1 has db.m6g.large",
	} {
		if got := s.normal(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
