package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// clients reach a sandbox as one of its principals.
func clients(t *testing.T, box *sandbox.Sandbox, p sandbox.Principal, c clock.Clock) *awsapi.Clients {
	t.Helper()
	got, err := awsapi.New(t.Context(), awsapi.Options{
		Region: box.Region(), Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box), Clock: c,
		Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken),
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// kinds are the names of the kinds that an error is of.
func kinds(err error) []string {
	var out []string
	for _, k := range []struct {
		name string
		is   func(error) bool
	}{
		{"not found", awsapi.IsNotFound},
		{"exists", awsapi.IsExists},
		{"denied", awsapi.IsDenied},
		{"credentials", awsapi.IsCredentials},
		{"no credentials", awsapi.IsNoCredentials},
		{"expired", awsapi.IsExpired},
		{"unreachable", awsapi.IsUnreachable},
		{"passes", awsapi.Passes},
	} {
		if k.is(err) {
			out = append(out, k.name)
		}
	}
	return out
}

func TestKindsOfErrors(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	c := clients(t, box, box.Principals()[0], nil)
	none := "none"
	notFound := []string{"not found"}
	for _, tt := range []struct {
		name string
		call func(context.Context) error
		want []string
	}{
		{"certificate", func(ctx context.Context) error {
			_, err := c.ACM.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: new("arn:aws:acm:us-east-1:123456789012:certificate/none")})
			return err
		}, notFound},
		{"vault", func(ctx context.Context) error {
			_, err := c.Backup.DeleteBackupVault(ctx, &backup.DeleteBackupVaultInput{BackupVaultName: &none})
			return err
		}, notFound},
		{"stack", func(ctx context.Context) error {
			_, err := c.CloudFormation.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &none})
			return err
		}, notFound},
		{"template that is none", func(ctx context.Context) error {
			_, err := c.CloudFormation.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: &none, TemplateBody: new("{}")})
			return err
		}, nil},
		{"log group", func(ctx context.Context) error {
			_, err := c.Logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &none})
			return err
		}, notFound},
		{"VPC", func(ctx context.Context) error {
			_, err := c.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0123456789abcdef0"}})
			return err
		}, notFound},
		{"repository", func(ctx context.Context) error {
			_, err := c.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &none})
			return err
		}, notFound},
		{"node group", func(ctx context.Context) error {
			_, err := c.EKS.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &none, NodegroupName: &none})
			return err
		}, notFound},
		{"role", func(ctx context.Context) error {
			_, err := c.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &none})
			return err
		}, notFound},
		{"service-linked role that is there", func(ctx context.Context) error {
			_, err := c.IAM.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: new("autoscaling.amazonaws.com")})
			return err
		}, []string{"exists"}},
		{"key", func(ctx context.Context) error {
			_, err := c.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: new("00000000-0000-0000-0000-000000000000")})
			return err
		}, notFound},
		{"database", func(ctx context.Context) error {
			_, err := c.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &none})
			return err
		}, notFound},
		{"zone", func(ctx context.Context) error {
			_, err := c.Route53.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: new("Z0000000000000000000")})
			return err
		}, notFound},
		{"bucket", func(ctx context.Context) error {
			_, err := c.S3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &none})
			return err
		}, notFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.call(t.Context())
			if err == nil {
				t.Fatal("the call succeeded")
			}
			if diff := cmp.Diff(tt.want, kinds(err)); diff != "" {
				t.Errorf("kinds of %v (-want +got):\n%s", err, diff)
			}
			if awsapi.Code(err) == "" || awsapi.Message(err) == "" || awsapi.RequestID(err) == "" {
				t.Errorf("code %q, message %q, request id %q of %v", awsapi.Code(err), awsapi.Message(err), awsapi.RequestID(err), err)
			}
		})
	}
}

// TestFilesAreNoEndpoints: an error of a file says nothing of a connection.
func TestFilesAreNoEndpoints(t *testing.T) {
	t.Parallel()
	_, err := os.Open(filepath.Join(t.TempDir(), "none"))
	if got := kinds(fmt.Errorf("read it: %w", err)); err == nil || got != nil {
		t.Errorf("%v is %v", err, got)
	}
}

// TestKindsOfRefusals has the same call refused for many reasons.
func TestKindsOfRefusals(t *testing.T) {
	t.Parallel()
	failing := func(err error) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, err })
	}
	api := func(code string) error { return &account.Error{Code: code, Message: "no", Status: 403} }
	for _, tt := range []struct {
		name     string
		answer   error // of the service
		provider aws.CredentialsProvider
		want     []string
	}{
		{name: "policy", answer: api("AccessDenied"), want: []string{"denied"}},
		{name: "policy, of a JSON service", answer: api("AccessDeniedException"), want: []string{"denied"}},
		{name: "expired session", answer: api("ExpiredToken"), want: []string{"credentials", "expired"}},
		{name: "unknown key", answer: api("InvalidClientTokenId"), want: []string{"credentials"}},
		{name: "wrong secret", provider: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, "wrong", ""), want: []string{"credentials"}},
		{name: "empty credentials", provider: credentials.NewStaticCredentialsProvider("", "", ""), want: []string{"credentials", "no credentials"}},
		{name: "no credentials", provider: failing(errors.New("none anywhere")), want: []string{"credentials", "no credentials"}},
		{name: "single sign-on has expired", provider: failing(&ssocreds.InvalidTokenError{}), want: []string{"credentials", "expired"}},
		{name: "the role may not be assumed", provider: denied{t}, want: []string{"denied", "credentials"}},
		{name: "connection cut", answer: &sandbox.Fault{}, want: []string{"unreachable", "passes"}},
		{name: "throttled", answer: api("Throttling"), want: []string{"passes"}},
		{name: "broken", answer: &account.Error{Code: "InternalFailure", Message: "no", Status: 500}, want: []string{"passes"}},
		{name: "wrong", answer: &account.Error{Code: "ValidationError", Message: "no", Status: 400}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error { return tt.answer }})
				provider := tt.provider
				if provider == nil {
					provider = credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, "")
				}
				c, err := awsapi.New(t.Context(), awsapi.Options{Region: "us-east-1", Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box), Credentials: provider})
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Identity(t.Context())
				if diff := cmp.Diff(tt.want, kinds(err)); diff != "" {
					t.Errorf("kinds of %v (-want +got):\n%s", err, diff)
				}
			})
		})
	}
}

// TestPermission: what was denied is named as policies name it.
func TestPermission(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
		return &account.Error{Code: "AccessDenied", Message: "no", Status: 403}
	}})
	c := clients(t, box, box.Principals()[0], nil)
	none := "none"
	for want, call := range map[string]func(context.Context) error{
		"cloudformation:DescribeStacks": func(ctx context.Context) error {
			_, err := c.CloudFormation.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{})
			return fmt.Errorf("look: %w", err)
		},
		"logs:DeleteLogGroup": func(ctx context.Context) error {
			_, err := c.Logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &none})
			return err
		},
		"s3:ListBucketVersions": func(ctx context.Context) error {
			_, err := c.S3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &none})
			return err
		},
		"to look": func(context.Context) error { return errors.New("no call") },
	} {
		if got := awsapi.Permission(call(t.Context())); got != want {
			t.Errorf("the permission is %s, want %s", got, want)
		}
	}
}

// denied is a provider whose call to STS is refused.
type denied struct{ t *testing.T }

func (d denied) Retrieve(ctx context.Context) (aws.Credentials, error) {
	box := testkit.Sandbox(d.t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
		return &account.Error{Code: "AccessDenied", Message: "no", Status: 403}
	}})
	_, err := sts.NewFromConfig(testkit.Config(box)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	return aws.Credentials{}, err
}

func TestInterruptIsNoFaultOfCredentials(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	box := testkit.Sandbox(t, sandbox.Options{})
	c, err := awsapi.New(ctx, awsapi.Options{
		Region: "us-east-1", Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box),
		Credentials: aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			cancel()
			return aws.Credentials{}, ctx.Err()
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Identity(ctx); err == nil || kinds(err) != nil {
		t.Errorf("%v is of the kinds %v, want none", err, kinds(err))
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	const id = "123456789012"
	for _, tt := range []struct {
		name, region, arn string
		role              string // ARN that IAM has
		want              awsapi.Identity
	}{
		{
			name: "role", arn: "arn:aws:sts::" + id + ":assumed-role/deploy/alice",
			want: awsapi.Identity{Account: id, Partition: "aws", Principal: "arn:aws:iam::" + id + ":role/deploy"},
		},
		{
			name: "role with a path", arn: "arn:aws:sts::" + id + ":assumed-role/AWSReservedSSO_Admin_0123/alice@example.com",
			role: "arn:aws:iam::" + id + ":role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123",
			want: awsapi.Identity{Account: id, Partition: "aws", Principal: "arn:aws:iam::" + id + ":role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123"},
		},
		{
			name: "user", arn: "arn:aws:iam::" + id + ":user/alice",
			want: awsapi.Identity{Account: id, Partition: "aws", Principal: "arn:aws:iam::" + id + ":user/alice"},
		},
		{
			name: "GovCloud", region: "us-gov-west-1", arn: "arn:aws-us-gov:sts::" + id + ":assumed-role/deploy/alice",
			want: awsapi.Identity{Account: id, Partition: "aws-us-gov", Principal: "arn:aws-us-gov:iam::" + id + ":role/deploy"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := sandbox.Principal{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret", ARN: tt.arn}
			box := testkit.Sandbox(t, sandbox.Options{AccountID: id, Region: tt.region, Principals: []sandbox.Principal{p}})
			if tt.role != "" {
				err := box.Account().Do(func(tx *account.Tx) error {
					tx.Get("AWS::IAM::Role", tt.role[strings.LastIndex(tt.role, "/")+1:]).Attrs["Arn"] = tt.role
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			got, err := clients(t, box, p, nil).Identity(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tt.want.ARN = tt.arn
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestRetriesOnTheClock has calls throttled: they are repeated, after delays on
// the clock, until the attempts are used up.
func TestRetriesOnTheClock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		throttled int
		clock     func() clock.Clock
		fails     bool
		low, high time.Duration // of the bubble's time
	}{
		{"real", 6, func() clock.Clock { return clock.Real{} }, false, time.Second, 3 * time.Minute},
		{"fast", 6, func() clock.Clock { return clock.NewScaled(10_000) }, false, 0, 20 * time.Millisecond},
		{"for ever", 1000, func() clock.Clock { return clock.Real{} }, true, 5 * time.Second, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				box := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
					if calls++; calls <= tt.throttled {
						return &account.Error{Code: "Throttling", Message: "Rate exceeded", Status: 400}
					}
					return nil
				}})
				watch := tt.clock()
				c := clients(t, box, box.Principals()[0], watch)
				start, began := time.Now(), watch.Now()
				_, err := c.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
				if (err != nil) != tt.fails {
					t.Errorf("after %d calls: %v", calls, err)
				}
				if took := time.Since(start); took < tt.low || took > tt.high {
					t.Errorf("took %v, want %v to %v", took, tt.low, tt.high)
				}
				// Whoever reads the clock sees the delays pass, a simulated
				// service that is busy for a while above all.
				if passed := watch.Now().Sub(began); passed < time.Second || passed > 5*time.Minute {
					t.Errorf("%v passed on the clock, want 1s to 5m", passed)
				}
			})
		})
	}
}

func TestRefusalsAreNotRetried(t *testing.T) {
	t.Parallel()
	calls := 0
	box := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
		calls++
		return &account.Error{Code: "AccessDenied", Message: "no", Status: 403}
	}})
	_, err := clients(t, box, box.Principals()[0], nil).Identity(t.Context())
	if !awsapi.IsDenied(err) || calls != 1 {
		t.Errorf("%d calls, error %v; want one that is refused", calls, err)
	}
}

// nothing is an environment that says nothing of AWS.
func nothing(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "AWS_CONFIG_FILE": filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "credentials"),
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
		"AWS_SESSION_TOKEN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
	} {
		t.Setenv(name, value)
	}
}

func TestNoRegion(t *testing.T) {
	nothing(t)
	if _, err := awsapi.New(t.Context(), awsapi.Options{}); !errors.Is(err, awsapi.ErrNoRegion) {
		t.Errorf("got %v, want ErrNoRegion", err)
	}
	t.Setenv("AWS_REGION", "eu-central-1")
	c, err := awsapi.New(t.Context(), awsapi.Options{})
	if err != nil || c.Region != "eu-central-1" {
		t.Errorf("from the environment: %+v, %v", c, err)
	}
	if c, err = awsapi.New(t.Context(), awsapi.Options{Region: "us-east-1"}); err != nil || c.Region != "us-east-1" {
		t.Errorf("from the options: %+v, %v", c, err)
	}
}

func TestNoCredentials(t *testing.T) {
	nothing(t)
	c, err := awsapi.New(t.Context(), awsapi.Options{Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Identity(t.Context())
	if diff := cmp.Diff([]string{"credentials", "no credentials"}, kinds(err)); diff != "" {
		t.Errorf("kinds of %v (-want +got):\n%s", err, diff)
	}
}
