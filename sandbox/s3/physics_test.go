package s3_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

// Names of buckets are unique in all of AWS: one that another account has is
// refused by another code than one's own.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
func TestBucketNamesAreUniqueWorldwide(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{World: account.World{ForeignBuckets: []string{"acme-models"}}})
	_, err := testkit.Create(s, s3.TypeBucket, obj{"BucketName": "acme-models"})
	testkit.Refused(t, err, "BucketAlreadyExists: The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.")
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "acme-logs"})
	_, err = testkit.Create(s, s3.TypeBucket, obj{"BucketName": "acme-logs"})
	testkit.Refused(t, err, "BucketAlreadyOwnedByYou: Your previous request to create the named bucket succeeded and you already own it.")
}

// Making a bucket that one owns already succeeds in us-east-1, and only there.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
func TestBucketAgain(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"us-east-1": "", "eu-west-1": "BucketAlreadyOwnedByYou"} {
		s := testkit.Sandbox(t, sandbox.Options{Region: region})
		testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "acme-logs"})
		in := &sdk.CreateBucketInput{Bucket: aws.String("acme-logs")}
		if region != "us-east-1" {
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
		}
		if _, err := sdk.NewFromConfig(testkit.Config(s)).CreateBucket(context.Background(), in); testkit.Code(err) != want {
			t.Errorf("%s: got %v, want %q", region, err, want)
		}
	}
}

// The name of a bucket that was just deleted isn't free at once.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/delete-bucket.html
// https://repost.aws/knowledge-center/s3-conflicting-conditional-operation
func TestDeletedBucketNameIsTaken(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "acme-logs"})
	testkit.Refused(t, testkit.Delete(s, s3.TypeBucket, "acme-logs"), "")
	create := func() error {
		_, err := testkit.Create(s, s3.TypeBucket, obj{"BucketName": "acme-logs"})
		return err
	}
	testkit.Refused(t, create(), "OperationAborted: A conflicting conditional operation is currently in progress against this resource. Please try again.")
	now = now.Add(time.Minute)
	testkit.Refused(t, create(), "")
}

// A bucket that holds an object, a version or a delete marker isn't deleted.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/delete-bucket.html
func TestBucketIsDeletedEmpty(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(s))
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "acme-logs", "VersioningConfiguration": obj{"Status": "Enabled"}})
	put, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: aws.String("acme-logs"), Key: aws.String("a")})
	if err != nil {
		t.Fatal(err)
	}
	const refusal = "BucketNotEmpty: The bucket you tried to delete is not empty. You must delete all versions in the bucket."
	testkit.Refused(t, testkit.Delete(s, s3.TypeBucket, "acme-logs"), refusal)
	marker, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: aws.String("acme-logs"), Key: aws.String("a")})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Refused(t, testkit.Delete(s, s3.TypeBucket, "acme-logs"), refusal)
	for _, v := range []*string{put.VersionId, marker.VersionId} {
		if _, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: aws.String("acme-logs"), Key: aws.String("a"), VersionId: v}); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Refused(t, testkit.Delete(s, s3.TypeBucket, "acme-logs"), "")
}

// The target of server access logs is a bucket with SSE-S3 and without a default
// retention.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html
func TestServerAccessLogTarget(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "plain-logs"})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "kms-logs", "BucketEncryption": sse("aws:kms", "alias/x")})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "locked-logs", "ObjectLockEnabled": true, "ObjectLockConfiguration": obj{
		"ObjectLockEnabled": "Enabled", "Rule": obj{"DefaultRetention": obj{"Mode": "GOVERNANCE", "Days": 1}},
	}})
	for target, want := range map[string]string{
		"plain-logs":  "",
		"kms-logs":    "InvalidTargetBucketForLogging: The target bucket for logging can't have default encryption with AWS KMS keys",
		"locked-logs": "InvalidTargetBucketForLogging: The target bucket for logging can't have an Object Lock default retention period",
		"none-logs":   "InvalidTargetBucketForLogging: The target bucket for logging does not exist",
	} {
		_, err := testkit.Create(s.Clone(nil), s3.TypeBucket, obj{"BucketName": "acme-data", "LoggingConfiguration": obj{"DestinationBucketName": target}})
		testkit.Refused(t, err, want)
	}
}

// An AWS service delivers into a bucket only what the bucket's policy lets it,
// and with KMS only if the key's policy lets it too.
//
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-V2-S3.html
func TestServicesNeedAPolicyToDeliver(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "logs-123"})
	deliver := func(s *sandbox.Sandbox) error {
		return s.Account().Do(func(tx *account.Tx) error {
			return s3.MayDeliver(tx, "logs-123", "a", "delivery.logs.amazonaws.com", map[string]string{"aws:SourceArn": "arn:aws:logs:us-east-1:123456789012:*"})
		})
	}
	testkit.Refused(t, deliver(s), "AccessDenied: Access Denied for bucket: logs-123. Please check S3bucket permission")
	testkit.MustCreate(t, s, s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Allow","Principal":{"Service":"delivery.logs.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-123/*"}`))
	testkit.Refused(t, deliver(s), "")
	kms := s.Clone(nil)
	testkit.Refused(t, testkit.Update(kms, s3.TypeBucket, "logs-123", obj{"BucketName": "logs-123", "BucketEncryption": sse("aws:kms", "")}), "")
	testkit.Refused(t, deliver(kms), "AccessDenied: ")
}
