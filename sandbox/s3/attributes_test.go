package s3_test

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// An object's attributes are told without its body: those that were asked for,
// and no others. Its access control list has its owner alone.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html
func TestAttributes(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	c := sdk.NewFromConfig(testkit.Config(box), func(o *sdk.Options) { o.UsePathStyle = true })
	ctx, bucket, key := t.Context(), aws.String("data-1"), aws.String("a")
	_, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket})
	if err == nil {
		_, err = c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader([]byte("hello")), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	}
	if err != nil {
		t.Fatal(err)
	}
	all := types.ObjectAttributes("").Values()
	out, err := c.GetObjectAttributes(ctx, &sdk.GetObjectAttributesInput{Bucket: bucket, Key: key, ObjectAttributes: all})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.ETag) != "5d41402abc4b2a76b9719d911017c592" || aws.ToInt64(out.ObjectSize) != 5 || out.StorageClass != types.StorageClassStandard || out.ObjectParts != nil || out.LastModified == nil ||
		out.Checksum == nil || aws.ToString(out.Checksum.ChecksumSHA256) != "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=" {
		t.Errorf("got %+v with checksum %+v", out, out.Checksum)
	}
	out, err = c.GetObjectAttributes(ctx, &sdk.GetObjectAttributesInput{Bucket: bucket, Key: key, ObjectAttributes: []types.ObjectAttributes{"ObjectSize"}})
	if err != nil || out.ETag != nil || out.Checksum != nil || aws.ToInt64(out.ObjectSize) != 5 {
		t.Errorf("the size alone: %+v, %v", out, err)
	}
	if _, err := c.GetObjectAttributes(ctx, &sdk.GetObjectAttributesInput{Bucket: bucket, Key: key, ObjectAttributes: []types.ObjectAttributes{"Colour"}}); testkit.Code(err) != "InvalidArgument" {
		t.Errorf("an attribute that there isn't: %v", err)
	}
	if _, err := c.GetObjectAttributes(ctx, &sdk.GetObjectAttributesInput{Bucket: bucket, Key: aws.String("b"), ObjectAttributes: all}); testkit.Code(err) != "NoSuchKey" {
		t.Errorf("an object that isn't there: %v", err)
	}
	acl, err := c.GetObjectAcl(ctx, &sdk.GetObjectAclInput{Bucket: bucket, Key: key})
	if err != nil || len(acl.Grants) != 1 || acl.Grants[0].Permission != types.PermissionFullControl || aws.ToString(acl.Grants[0].Grantee.ID) != aws.ToString(acl.Owner.ID) {
		t.Errorf("access control list %+v, %v", acl, err)
	}
	if a, err := c.GetBucketAccelerateConfiguration(ctx, &sdk.GetBucketAccelerateConfigurationInput{Bucket: bucket}); err != nil || a.Status != "" {
		t.Errorf("transfer acceleration is %v, %v", a, err)
	}
}

// Buckets take no object that is encrypted with a customer's key, unless they say
// that they block no kind of encryption.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/blocking-unblocking-s3-c-encryption-gpb.html
func TestCustomerKeysAreBlocked(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	open := testkit.MustCreate(t, box, "AWS::S3::Bucket", map[string]any{"BucketName": "open-1", "BucketEncryption": map[string]any{"ServerSideEncryptionConfiguration": []any{map[string]any{
		"ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "AES256"}, "BlockedEncryptionTypes": map[string]any{"EncryptionType": []any{"NONE"}},
	}}}})
	plain := testkit.MustCreate(t, box, "AWS::S3::Bucket", map[string]any{"BucketName": "plain-1"})
	c := sdk.NewFromConfig(testkit.Config(box), func(o *sdk.Options) { o.UsePathStyle = true })
	for bucket, want := range map[string]string{plain.ID: "AccessDenied", open.ID: "NotModelled"} {
		_, err := c.PutObject(t.Context(), &sdk.PutObjectInput{
			Bucket: &bucket, Key: aws.String("a"), Body: bytes.NewReader(nil), SSECustomerAlgorithm: aws.String("AES256"), SSECustomerKey: aws.String("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), SSECustomerKeyMD5: aws.String("3GfMkHTRbzYQQ6ZQ7Jpm+Q=="),
		})
		if testkit.Code(err) != want {
			t.Errorf("%s: %v, want %s", bucket, err, want)
		}
	}
}
