package s3_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// An object under a KMS key needs the key's permission too, in the encryption
// context of the object or, with a bucket key, of the bucket.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
func TestObjectsUnderKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	const operator = "arn:aws:sts::123456789012:assumed-role/Operator/me"
	for _, c := range []struct {
		name, context string
		bucketKey     bool
		want          string
	}{
		{"object", "arn:aws:s3:::sealed-1/x", false, ""},
		{"other object", "arn:aws:s3:::sealed-1/y", false, "AccessDenied"},
		{"bucket for an object", "arn:aws:s3:::sealed-1", false, "AccessDenied"},
		{"bucket", "arn:aws:s3:::sealed-1", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Sandbox(t, sandbox.Options{Principals: []sandbox.Principal{
				{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"},
				{AccessKeyID: "AKIAOPERATOREXAMPLE2", SecretAccessKey: "o", ARN: operator, Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:*"],"Resource":"*"}}`},
			}})
			key := testkit.MustCreate(t, s, "AWS::KMS::Key", map[string]any{"KeyPolicy": `{"Version":"2012-10-17","Statement":[
				{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"},
				{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/Operator"},"Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","kms:EncryptionContext:aws:s3:arn":"` + c.context + `"}}}]}`})
			testkit.MustCreate(t, s, "AWS::S3::Bucket", map[string]any{"BucketName": "sealed-1", "BucketEncryption": map[string]any{"ServerSideEncryptionConfiguration": []any{map[string]any{
				"BucketKeyEnabled": c.bucketKey, "ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key.Attrs["Arn"]},
			}}}})
			client := sdk.NewFromConfig(testkit.ConfigAs(s, s.Principals()[1]), func(o *sdk.Options) { o.UsePathStyle = true })
			_, err := client.PutObject(ctx, &sdk.PutObjectInput{Bucket: aws.String("sealed-1"), Key: aws.String("x"), Body: strings.NewReader("x")})
			if got := testkit.Code(err); got != c.want {
				t.Fatalf("put: got %v, want %s", err, c.want)
			}
			if c.want != "" {
				if m := "User: " + operator + " is not authorized to perform: kms:GenerateDataKey on resource: "; !strings.Contains(err.Error(), m) {
					t.Errorf("got %v", err)
				}
				return
			}
			if _, err := client.GetObject(ctx, &sdk.GetObjectInput{Bucket: aws.String("sealed-1"), Key: aws.String("x")}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A bucket's policy decides about requests over the wire: what it denies nobody
// may, and whom it names needs no policy of its own.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html
func TestBucketPolicyIsEnforced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{Principals: []sandbox.Principal{
		{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"},
		{AccessKeyID: "AKIAREADEREXAMPLE222", SecretAccessKey: "r", ARN: "arn:aws:iam::123456789012:user/reader", Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:*","Resource":"*"}}`},
	}})
	testkit.MustCreate(t, s, "AWS::S3::Bucket", map[string]any{"BucketName": "shared-1"})
	testkit.MustCreate(t, s, "AWS::S3::BucketPolicy", map[string]any{"Bucket": "shared-1", "PolicyDocument": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/reader"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared-1/*"},
		{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::shared-1/sealed/*"}]}`})
	client := func(i int) *sdk.Client {
		return sdk.NewFromConfig(testkit.ConfigAs(s, s.Principals()[i]), func(o *sdk.Options) { o.UsePathStyle = true })
	}
	put := func(i int, key string) string {
		_, err := client(i).PutObject(ctx, &sdk.PutObjectInput{Bucket: aws.String("shared-1"), Key: &key, Body: strings.NewReader("x")})
		return testkit.Code(err)
	}
	for _, c := range []struct {
		principal int
		key, want string
	}{{0, "open/x", ""}, {0, "sealed/x", "AccessDenied"}, {1, "open/x", "AccessDenied"}} {
		if got := put(c.principal, c.key); got != c.want {
			t.Errorf("put %s as %d: got %q, want %q", c.key, c.principal, got, c.want)
		}
	}
	if _, err := client(1).GetObject(ctx, &sdk.GetObjectInput{Bucket: aws.String("shared-1"), Key: aws.String("open/x")}); err != nil {
		t.Error(err)
	}
}
