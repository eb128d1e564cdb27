package logs_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/logs"
)

const logsPolicy = `{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"},
{"Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":["kms:Encrypt*","kms:Decrypt*","kms:ReEncrypt*","kms:GenerateDataKey*","kms:Describe*"],"Resource":"*",
 "Condition":{"ArnLike":{"kms:EncryptionContext:aws:logs:arn":"arn:aws:logs:us-east-1:123456789012:log-group:/app/*"}}}]}`

func TestLogGroups(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	good := kms.ARN(testkit.MustCreate(t, s, kms.TypeKey, map[string]any{"KeyPolicy": logsPolicy}))
	closed := kms.ARN(testkit.MustCreate(t, s, kms.TypeKey, map[string]any{}))
	testkit.MustCreate(t, s, logs.TypeLogGroup, map[string]any{"LogGroupName": "/taken"})
	for _, c := range []struct {
		name  string
		props map[string]any
		want  string
	}{
		{"plain", map[string]any{"LogGroupName": "/app/x", "RetentionInDays": 30, "KmsKeyId": good}, ""},
		{"name taken", map[string]any{"LogGroupName": "/taken"}, "ResourceAlreadyExistsException: The specified log group already exists"},
		{"bad name", map[string]any{"LogGroupName": "a b"}, "InvalidParameterException: 1 validation error detected: Value 'a b' at 'logGroupName'"},
		{"bad retention", map[string]any{"LogGroupName": "/x", "RetentionInDays": 42}, "InvalidParameterException: 1 validation error detected: Value '42' at 'retentionInDays'"},
		{"bad class", map[string]any{"LogGroupName": "/x", "LogGroupClass": "CHEAP"}, "InvalidParameterException: Invalid log group class: CHEAP"},
		{"key for other groups", map[string]any{"LogGroupName": "/other", "KmsKeyId": good}, "AccessDeniedException: The specified KMS Key does not exist or is not allowed to be used with Arn 'arn:aws:logs:us-east-1:123456789012:log-group:/other'"},
		{"key closed to the service", map[string]any{"LogGroupName": "/app/x", "KmsKeyId": closed}, "AccessDeniedException: "},
		{"no key", map[string]any{"LogGroupName": "/app/x", "KmsKeyId": strings.Replace(good, "key/", "key/0", 1)}, "AccessDeniedException: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := testkit.Create(s.Clone(nil), logs.TypeLogGroup, c.props)
			testkit.Refused(t, err, c.want)
			if want := "arn:aws:logs:us-east-1:123456789012:log-group:/app/x:*"; err == nil && r.Attrs["Arn"] != want {
				t.Errorf("ARN %s, want %s", r.Attrs["Arn"], want)
			}
		})
	}
}

// A log group with deletion protection can't be deleted.
//
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogGroupDeletionProtection.html
func TestDeletionProtection(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	g := testkit.MustCreate(t, s, logs.TypeLogGroup, map[string]any{"LogGroupName": "/x", "DeletionProtectionEnabled": true})
	testkit.Refused(t, testkit.Delete(s, logs.TypeLogGroup, g.ID), "ValidationException: Log group /x has deletion protection enabled.")
	testkit.Refused(t, testkit.Update(s, logs.TypeLogGroup, g.ID, map[string]any{"LogGroupName": "/x"}), "")
	testkit.Refused(t, testkit.Delete(s, logs.TypeLogGroup, g.ID), "")
}

func TestAPI(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	start := testkit.Dump(s.Account())
	c := sdk.NewFromConfig(testkit.Config(s))
	for _, name := range []string{"/a/1", "/a/2", "/b/1"} {
		if _, err := c.CreateLogGroup(ctx, &sdk.CreateLogGroupInput{LogGroupName: &name, Tags: map[string]string{"k": name}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.CreateLogGroup(ctx, &sdk.CreateLogGroupInput{LogGroupName: aws.String("/a/1")}); testkit.Code(err) != "ResourceAlreadyExistsException" {
		t.Errorf("second create: %v", err)
	}
	if _, err := c.PutRetentionPolicy(ctx, &sdk.PutRetentionPolicyInput{LogGroupName: aws.String("/a/1"), RetentionInDays: aws.Int32(7)}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := sdk.NewDescribeLogGroupsPaginator(c, &sdk.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/a"), Limit: aws.Int32(1)}); p.HasMorePages(); n++ {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.LogGroups) != 1 {
			t.Fatalf("page %d: %+v", n, page.LogGroups)
		}
		if g := page.LogGroups[0]; n == 0 && (*g.RetentionInDays != 7 || *g.LogGroupArn+":*" != *g.Arn || *g.CreationTime == 0) {
			t.Errorf("got %+v", g)
		}
	}
	if n != 2 {
		t.Errorf("%d pages", n)
	}
	tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:logs:us-east-1:123456789012:log-group:/b/1")})
	if err != nil || tags.Tags["k"] != "/b/1" {
		t.Errorf("tags %v %v", tags, err)
	}
	for _, name := range []string{"/a/1", "/a/2", "/b/1"} {
		if _, err := c.DeleteLogGroup(ctx, &sdk.DeleteLogGroupInput{LogGroupName: &name}); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.DeleteLogGroup(ctx, &sdk.DeleteLogGroupInput{LogGroupName: aws.String("/a/1")}); testkit.Code(err) != "ResourceNotFoundException" {
		t.Errorf("second delete: %v", err)
	}
	if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
}
