package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

type obj = map[string]any

func bucketPolicy(statement string) obj {
	return obj{"Bucket": "logs-123", "PolicyDocument": `{"Version":"2012-10-17","Statement":[` + statement + `]}`}
}

func sse(algorithm, key string) obj {
	by := obj{"SSEAlgorithm": algorithm}
	if key != "" {
		by["KMSMasterKeyID"] = key
	}
	return obj{"ServerSideEncryptionConfiguration": []any{obj{"ServerSideEncryptionByDefault": by}}}
}

func rules(pairs ...any) obj {
	r := obj{"Status": "Enabled"}
	for i := 0; i < len(pairs); i += 2 {
		r[pairs[i].(string)] = pairs[i+1]
	}
	return obj{"BucketName": "new-123", "LifecycleConfiguration": obj{"Rules": []any{r}}}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "logs-123"})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "kms-123", "BucketEncryption": sse("aws:kms", "")})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "open-123", "PublicAccessBlockConfiguration": obj{"BlockPublicAcls": true}})
	const malformed = "MalformedXML: "
	for _, c := range []struct {
		name, typ string
		props     obj
		want      string
	}{
		{"everything", s3.TypeBucket, obj{
			"BucketName": "new-123", "BucketEncryption": sse("aws:kms", "alias/x"), "ObjectLockEnabled": true,
			"ObjectLockConfiguration": obj{"ObjectLockEnabled": "Enabled", "Rule": obj{"DefaultRetention": obj{"Mode": "COMPLIANCE", "Days": 1}}},
			"LoggingConfiguration":    obj{"DestinationBucketName": "logs-123", "LogFilePrefix": "a/"},
			"OwnershipControls":       obj{"Rules": []any{obj{"ObjectOwnership": "BucketOwnerEnforced"}}},
			"LifecycleConfiguration":  obj{"Rules": []any{obj{"Id": "a", "Status": "Enabled", "ExpirationInDays": 60, "Transitions": []any{obj{"StorageClass": "STANDARD_IA", "TransitionInDays": 30}}}}},
		}, ""},
		{"capitals", s3.TypeBucket, obj{"BucketName": "Bucket"}, "InvalidBucketName: The specified bucket is not valid."},
		{"an address", s3.TypeBucket, obj{"BucketName": "10.0.0.1"}, "InvalidBucketName: "},
		{"reserved suffix", s3.TypeBucket, obj{"BucketName": "x-s3alias"}, "InvalidBucketName: "},
		{"ours", s3.TypeBucket, obj{"BucketName": "logs-123"}, "BucketAlreadyOwnedByYou: "},
		{"somebody else's", s3.TypeBucket, obj{"BucketName": "test"}, "BucketAlreadyExists: The requested bucket name is not available."},
		{"ACL without ownership", s3.TypeBucket, obj{"BucketName": "new-123", "AccessControl": "LogDeliveryWrite"}, "InvalidBucketAclWithObjectOwnership: "},
		{"key without KMS", s3.TypeBucket, obj{"BucketName": "new-123", "BucketEncryption": sse("AES256", "k")}, "InvalidArgument: a KMSMasterKeyID is not applicable"},
		{"unknown algorithm", s3.TypeBucket, obj{"BucketName": "new-123", "BucketEncryption": sse("rot13", "")}, "InvalidEncryptionAlgorithmError: "},
		{"lock without versions", s3.TypeBucket, obj{"BucketName": "new-123", "ObjectLockEnabled": true, "VersioningConfiguration": obj{"Status": "Suspended"}}, "InvalidBucketState: "},
		{"retention without lock", s3.TypeBucket, obj{"BucketName": "new-123", "ObjectLockConfiguration": obj{"Rule": obj{"DefaultRetention": obj{"Mode": "COMPLIANCE", "Days": 1}}}}, "InvalidRequest: "},
		{"retention in days and years", s3.TypeBucket, obj{"BucketName": "new-123", "ObjectLockEnabled": true, "ObjectLockConfiguration": obj{"ObjectLockEnabled": "Enabled", "Rule": obj{"DefaultRetention": obj{"Mode": "COMPLIANCE", "Days": 1, "Years": 1}}}}, malformed},
		{"logs to nowhere", s3.TypeBucket, obj{"BucketName": "new-123", "LoggingConfiguration": obj{"DestinationBucketName": "none-123"}}, "InvalidTargetBucketForLogging: The target bucket for logging does not exist"},
		{"logs to a KMS bucket", s3.TypeBucket, obj{"BucketName": "new-123", "LoggingConfiguration": obj{"DestinationBucketName": "kms-123"}}, "InvalidTargetBucketForLogging: "},
		{"rule that does nothing", s3.TypeBucket, rules(), "InvalidRequest: At least one action needs to be specified in a rule"},
		{"infrequent access too early", s3.TypeBucket, rules("Transitions", []any{obj{"StorageClass": "STANDARD_IA", "TransitionInDays": 29}}), "InvalidArgument: 'Days' in Transition action must be greater than or equal to 30 for storageClass 'STANDARD_IA'"},
		{"expiry before transition", s3.TypeBucket, rules("ExpirationInDays", 30, "Transition", obj{"StorageClass": "STANDARD_IA", "TransitionInDays": 30}), "InvalidArgument: 'Days' in the Expiration action"},
		{"not modelled", s3.TypeBucket, obj{"BucketName": "new-123", "ReplicationConfiguration": obj{}}, "NotModelled: ReplicationConfiguration of AWS::S3::Bucket is not modelled by the sandbox"},

		{"good policy", s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-123/*"},{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs-123","arn:aws:s3:::logs-123/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`), ""},
		{"policy of no bucket", s3.TypeBucketPolicy, obj{"Bucket": "none-123", "PolicyDocument": "{}"}, "NoSuchBucket: The specified bucket does not exist"},
		{"policy for another bucket", s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::other/*"}`), "MalformedPolicy: Policy has invalid resource"},
		{"policy with other action", s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Deny","Principal":"*","Action":"ec2:*","Resource":"arn:aws:s3:::logs-123/*"}`), "MalformedPolicy: Policy has invalid action"},
		{"policy with wrong level", s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-123"}`), "MalformedPolicy: Action does not apply to any resource(s) in statement"},
		{"policy for nobody", s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/ghost"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-123/*"}`), "MalformedPolicy: Invalid principal in policy"},
		{"public policy", s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::logs-123/*"}`), "AccessDenied: User: "},
		{"public policy where that is open", s3.TypeBucketPolicy, obj{"Bucket": "open-123", "PolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::open-123/*"}]}`}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := testkit.Create(s.Clone(nil), c.typ, c.props)
			testkit.Refused(t, err, c.want)
		})
	}
}

func TestMayDeliver(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "logs-123"})
	testkit.MustCreate(t, s, s3.TypeBucketPolicy, bucketPolicy(`{"Effect":"Allow","Principal":{"Service":"logdelivery.elasticloadbalancing.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-123/alb/*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/*"}}},
		{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs-123","arn:aws:s3:::logs-123/*"],"Condition":{"NumericLessThan":{"s3:TlsVersion":"1.2"}}}`))
	from := map[string]string{"aws:SourceArn": "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/1"}
	for _, c := range []struct {
		bucket, key, service string
		context              map[string]string
		want                 string
	}{
		{"logs-123", "alb/x", "logdelivery.elasticloadbalancing.amazonaws.com", from, ""},
		{"logs-123", "nlb/x", "logdelivery.elasticloadbalancing.amazonaws.com", from, "AccessDenied: "},
		{"logs-123", "alb/x", "logging.s3.amazonaws.com", from, "AccessDenied: "},
		{"logs-123", "alb/x", "logdelivery.elasticloadbalancing.amazonaws.com", nil, "AccessDenied: "},
		{"none-123", "alb/x", "logdelivery.elasticloadbalancing.amazonaws.com", from, "NoSuchBucket: "},
	} {
		testkit.Refused(t, s.Account().Do(func(tx *account.Tx) error { return s3.MayDeliver(tx, c.bucket, c.key, c.service, c.context) }), c.want)
	}
}

// clients are the two ways to address buckets.
func clients(s *sandbox.Sandbox) map[string]*sdk.Client {
	return map[string]*sdk.Client{
		"virtual host": sdk.NewFromConfig(testkit.Config(s)),
		"path":         sdk.NewFromConfig(testkit.Config(s), func(o *sdk.Options) { o.UsePathStyle = true }),
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, style := range []string{"virtual host", "path"} {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			o := sandbox.Options{Region: "eu-west-1"}
			if style == "path" {
				o.Objects = newElsewhere()
			}
			s := testkit.Sandbox(t, o)
			start := testkit.Dump(s.Account())
			c := clients(s)[style]
			bucket := aws.String("data-123")
			if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket}); testkit.Code(err) != "IllegalLocationConstraintException" {
				t.Errorf("create without a place: %v", err)
			}
			if _, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: bucket, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
				t.Fatal(err)
			}
			where, err := c.GetBucketLocation(ctx, &sdk.GetBucketLocationInput{Bucket: bucket})
			if err != nil || where.LocationConstraint != "eu-west-1" {
				t.Errorf("location: %+v %v", where, err)
			}
			keys := []string{"a/1", "a/2", "b ü+%", "c//d/", "z"}
			for _, key := range keys {
				if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("body of " + key), Metadata: map[string]string{"Digest": "abc"}, ContentType: aws.String("text/plain")}); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range keys {
				got, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(got.Body)
				if err != nil || string(body) != "body of "+key || got.Metadata["digest"] != "abc" || aws.ToString(got.ContentType) != "text/plain" {
					t.Errorf("%s: %q %v %+v", key, body, err, got)
				}
			}
			head, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: aws.String("z")})
			if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: aws.String("archived"), StorageClass: types.StorageClassDeepArchive}); testkit.Code(err) != "NotModelled" {
				t.Errorf("an archived object: %v", err)
			}
			if err != nil || *head.ContentLength != 9 || head.ServerSideEncryption != types.ServerSideEncryptionAes256 {
				t.Errorf("head: %+v %v", head, err)
			}
			part, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: aws.String("z"), Range: aws.String("bytes=5-6")})
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(part.Body); string(body) != "of" || aws.ToString(part.ContentRange) != "bytes 5-6/9" {
				t.Errorf("range: %q %s", body, aws.ToString(part.ContentRange))
			}
			_, err = c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: aws.String("none")})
			var missing *types.NotFound
			if !errors.As(err, &missing) {
				t.Errorf("head of nothing: %v", err)
			}
			var listed []string
			for p := sdk.NewListObjectsV2Paginator(c, &sdk.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2), Delimiter: aws.String("/")}); p.HasMorePages(); {
				page, err := p.NextPage(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range page.Contents {
					listed = append(listed, *o.Key)
				}
				for _, o := range page.CommonPrefixes {
					listed = append(listed, *o.Prefix)
				}
			}
			slices.Sort(listed)
			if diff := cmp.Diff([]string{"a/", "b ü+%", "c/", "z"}, listed); diff != "" {
				t.Errorf("listing, -want +got:\n%s", diff)
			}
			if _, err := c.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("data-123/a/1")}); err != nil {
				t.Error(err)
			}
			if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: aws.String("copy"), IfNoneMatch: aws.String("*")}); testkit.Code(err) != "PreconditionFailed" {
				t.Errorf("second write of a new key: %v", err)
			}
			if _, err := c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: bucket}); testkit.Code(err) != "BucketNotEmpty" {
				t.Errorf("delete of a full bucket: %v", err)
			}
			var ids []types.ObjectIdentifier
			for _, key := range append(keys, "copy", "none") {
				ids = append(ids, types.ObjectIdentifier{Key: &key})
			}
			out, err := c.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: ids}})
			if err != nil || len(out.Deleted) != len(ids) || len(out.Errors) != 0 {
				t.Errorf("delete objects: %+v %v", out, err)
			}
			if _, err := c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: bucket}); err != nil {
				t.Error(err)
			}
			if _, err := c.HeadBucket(ctx, &sdk.HeadBucketInput{Bucket: bucket}); !errors.As(err, &missing) {
				t.Errorf("head of no bucket: %v", err)
			}
			if diff := testkit.DiffDumps(start, testkit.Dump(s.Account())); diff != "" {
				t.Errorf("left behind:\n%s", diff)
			}
		})
	}
}

// empty removes all versions and markers, as those who delete buckets must.
func empty(ctx context.Context, c *sdk.Client, bucket string, bypass bool) (failed []string, err error) {
	for p := sdk.NewListObjectVersionsPaginator(c, &sdk.ListObjectVersionsInput{Bucket: &bucket, MaxKeys: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		var ids []types.ObjectIdentifier
		for _, v := range page.Versions {
			ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, v := range page.DeleteMarkers {
			ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		if len(ids) == 0 {
			continue
		}
		out, err := c.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}, BypassGovernanceRetention: &bypass})
		if err != nil {
			return nil, err
		}
		for _, e := range out.Errors {
			failed = append(failed, *e.Key+" "+*e.Code)
		}
	}
	return failed, nil
}

// With versioning a deletion hides an object behind a marker; its versions
// stay.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html
func TestVersions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := clients(s)["virtual host"]
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "v-123", "VersioningConfiguration": obj{"Status": "Enabled"}})
	bucket, key := aws.String("v-123"), aws.String("k")
	var ids []string
	for i := range 3 {
		out, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *out.VersionId)
	}
	if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: aws.String("l"), Body: strings.NewReader("l")}); err != nil {
		t.Fatal(err)
	}
	marker, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: bucket, Key: key})
	if err != nil || !*marker.DeleteMarker {
		t.Fatalf("delete: %+v %v", marker, err)
	}
	if _, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key}); testkit.Code(err) != "NoSuchKey" {
		t.Errorf("get of a deleted object: %v", err)
	}
	old, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key, VersionId: &ids[1]})
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(old.Body); string(body) != "1" {
		t.Errorf("old version holds %q", body)
	}
	if _, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: marker.VersionId}); err != nil {
		t.Fatal(err)
	}
	back, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil || *back.VersionId != ids[2] {
		t.Errorf("after the marker went: %+v %v", back, err)
	}
	list, err := c.ListObjectVersions(ctx, &sdk.ListObjectVersionsInput{Bucket: bucket})
	if err != nil || len(list.Versions) != 4 || !*list.Versions[0].IsLatest || *list.Versions[1].IsLatest {
		t.Errorf("versions: %+v %v", list, err)
	}
	testkit.Refused(t, testkit.Delete(s, s3.TypeBucket, "v-123"), "BucketNotEmpty: The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
	if failed, err := empty(ctx, c, "v-123", false); err != nil || failed != nil {
		t.Errorf("empty: %v %v", failed, err)
	}
	testkit.Refused(t, testkit.Delete(s, s3.TypeBucket, "v-123"), "")
}

// An object version under a compliance lock stays until its date, whoever asks.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
func TestObjectLock(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				s := testkit.Sandbox(t, sandbox.Options{})
				c := clients(s)["virtual host"]
				testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "lock-123", "ObjectLockEnabled": true, "ObjectLockConfiguration": obj{"ObjectLockEnabled": "Enabled", "Rule": obj{"DefaultRetention": obj{"Mode": mode, "Days": 10}}}})
				bucket := aws.String("lock-123")
				out, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: strings.NewReader("x")})
				if err != nil {
					t.Fatal(err)
				}
				head, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: bucket, Key: aws.String("k")})
				if err != nil || string(head.ObjectLockMode) != mode || time.Until(*head.ObjectLockRetainUntilDate) != 10*24*time.Hour {
					t.Errorf("head: %+v %v", head, err)
				}
				if _, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: bucket, Key: aws.String("k"), VersionId: out.VersionId}); testkit.Code(err) != "AccessDenied" {
					t.Errorf("delete of a locked version: %v", err)
				}
				failed, err := empty(ctx, c, "lock-123", true)
				if err != nil {
					t.Fatal(err)
				}
				if mode == "GOVERNANCE" {
					if failed != nil {
						t.Errorf("bypass of governance: %v", failed)
					}
					return
				}
				if diff := cmp.Diff([]string{"k AccessDenied"}, failed); diff != "" {
					t.Errorf("bypass of compliance: %s", diff)
				}
				time.Sleep(11 * 24 * time.Hour)
				if failed, err := empty(ctx, c, "lock-123", false); err != nil || failed != nil {
					t.Errorf("after the retention: %v %v", failed, err)
				}
				testkit.Refused(t, testkit.Delete(s, s3.TypeBucket, "lock-123"), "")
			})
		})
	}
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := clients(s)["virtual host"]
	key := testkit.MustCreate(t, s, kms.TypeKey, obj{})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "e-123", "BucketEncryption": sse("aws:kms", key.ID)})
	put := &sdk.PutObjectInput{Bucket: aws.String("e-123"), Key: aws.String("k"), Body: bytes.NewReader([]byte("x"))}
	out, err := c.PutObject(ctx, put)
	if err != nil || *out.SSEKMSKeyId != kms.ARN(key) || out.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
		t.Errorf("put: %+v %v", out, err)
	}
	testkit.Refused(t, testkit.Delete(s, kms.TypeKey, key.ID), "")
	if _, err := c.PutObject(ctx, put); testkit.Code(err) != "KMS.KMSInvalidStateException" {
		t.Errorf("put with a dying key: %v", err)
	}
	if _, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: put.Bucket, Key: put.Key}); testkit.Code(err) != "KMS.KMSInvalidStateException" {
		t.Errorf("get with a dying key: %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := clients(s)["virtual host"]
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "logs-123"})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{
		"BucketName": "c-123", "ObjectLockEnabled": true, "ObjectLockConfiguration": obj{"ObjectLockEnabled": "Enabled", "Rule": obj{"DefaultRetention": obj{"Mode": "GOVERNANCE", "Years": 1}}},
		"LoggingConfiguration": obj{"DestinationBucketName": "logs-123", "LogFilePrefix": "p/"}, "BucketEncryption": sse("aws:kms", "alias/x"),
		"LifecycleConfiguration": obj{"Rules": []any{obj{"Id": "a", "Status": "Enabled", "ExpirationInDays": 60, "NoncurrentVersionExpiration": obj{"NoncurrentDays": 5}, "AbortIncompleteMultipartUpload": obj{"DaysAfterInitiation": 7}}}},
		"Tags":                   []any{obj{"Key": "a", "Value": "b"}},
	})
	bucket := aws.String("c-123")
	check := func(what string, err error, got, want any) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); diff != "" {
			t.Errorf("%s, -want +got:\n%s", what, diff)
		}
	}
	v, err := c.GetBucketVersioning(ctx, &sdk.GetBucketVersioningInput{Bucket: bucket})
	check("versioning", err, v.Status, "Enabled")
	_, err = c.PutBucketVersioning(ctx, &sdk.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
	if testkit.Code(err) != "InvalidBucketState" {
		t.Errorf("suspend versions of a locked bucket: %v", err)
	}
	e, err := c.GetBucketEncryption(ctx, &sdk.GetBucketEncryptionInput{Bucket: bucket})
	check("encryption", err, *e.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.KMSMasterKeyID, "alias/x")
	l, err := c.GetBucketLogging(ctx, &sdk.GetBucketLoggingInput{Bucket: bucket})
	check("logging", err, *l.LoggingEnabled.TargetBucket+*l.LoggingEnabled.TargetPrefix, "logs-123p/")
	_, err = c.PutBucketLogging(ctx, &sdk.PutBucketLoggingInput{Bucket: bucket, BucketLoggingStatus: &types.BucketLoggingStatus{}})
	check("stop logging", err, "", "")
	l, err = c.GetBucketLogging(ctx, &sdk.GetBucketLoggingInput{Bucket: bucket})
	check("logging", err, l.LoggingEnabled == nil, true)
	o, err := c.GetObjectLockConfiguration(ctx, &sdk.GetObjectLockConfigurationInput{Bucket: bucket})
	check("lock", err, *o.ObjectLockConfiguration.Rule.DefaultRetention.Years, 1)
	b, err := c.GetPublicAccessBlock(ctx, &sdk.GetPublicAccessBlockInput{Bucket: bucket})
	check("public access", err, *b.PublicAccessBlockConfiguration.RestrictPublicBuckets, true)
	w, err := c.GetBucketOwnershipControls(ctx, &sdk.GetBucketOwnershipControlsInput{Bucket: bucket})
	check("ownership", err, w.OwnershipControls.Rules[0].ObjectOwnership, "BucketOwnerEnforced")
	g, err := c.GetBucketTagging(ctx, &sdk.GetBucketTaggingInput{Bucket: bucket})
	check("tags", err, *g.TagSet[0].Value, "b")
	a, err := c.GetBucketAcl(ctx, &sdk.GetBucketAclInput{Bucket: bucket})
	check("acl", err, a.Grants[0].Grantee.Type, "CanonicalUser")
	y, err := c.GetBucketLifecycleConfiguration(ctx, &sdk.GetBucketLifecycleConfigurationInput{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	check("lifecycle", nil, []int32{*y.Rules[0].Expiration.Days, *y.Rules[0].NoncurrentVersionExpiration.NoncurrentDays, *y.Rules[0].AbortIncompleteMultipartUpload.DaysAfterInitiation}, []int32{60, 5, 7})
	y.Rules[0].Expiration.Days = aws.Int32(90)
	_, err = c.PutBucketLifecycleConfiguration(ctx, &sdk.PutBucketLifecycleConfigurationInput{Bucket: bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: y.Rules}})
	check("put lifecycle", err, "", "")
	y, err = c.GetBucketLifecycleConfiguration(ctx, &sdk.GetBucketLifecycleConfigurationInput{Bucket: bucket})
	check("lifecycle", err, *y.Rules[0].Expiration.Days, 90)
	if _, err := c.GetBucketPolicy(ctx, &sdk.GetBucketPolicyInput{Bucket: bucket}); testkit.Code(err) != "NoSuchBucketPolicy" {
		t.Errorf("no policy: %v", err)
	}
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::c-123/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
	_, err = c.PutBucketPolicy(ctx, &sdk.PutBucketPolicyInput{Bucket: bucket, Policy: &doc})
	check("put policy", err, "", "")
	p, err := c.GetBucketPolicy(ctx, &sdk.GetBucketPolicyInput{Bucket: bucket})
	check("policy", err, *p.Policy, doc)
	all, err := c.ListBuckets(ctx, nil)
	check("buckets", err, len(all.Buckets), 2)
	if _, err := c.GetBucketCors(ctx, &sdk.GetBucketCorsInput{Bucket: bucket}); testkit.Code(err) != "NoSuchCORSConfiguration" {
		t.Errorf("cors: %v", err)
	}
}

func TestPresigned(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "p-123"})
	presign := sdk.NewPresignClient(clients(s)["virtual host"])
	put, err := presign.PresignPutObject(ctx, &sdk.PutObjectInput{Bucket: aws.String("p-123"), Key: aws.String("a/b c")})
	if err != nil {
		t.Fatal(err)
	}
	get, err := presign.PresignGetObject(ctx, &sdk.GetObjectInput{Bucket: aws.String("p-123"), Key: aws.String("a/b c")})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct{ method, url, body string }{{"PUT", put.URL, "hello"}, {"GET", get.URL, ""}} {
		req, err := http.NewRequest(r.method, r.url, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := testkit.Client(s).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || r.method == "GET" && string(body) != "hello" {
			t.Errorf("%s: %d %s", r.method, resp.StatusCode, body)
		}
	}
}

// TestConfigurationChanges takes away and puts back what protects a bucket.
func TestConfigurationChanges(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{})
	c := clients(s)["virtual host"]
	testkit.MustCreate(t, s, s3.TypeBucket, obj{"BucketName": "c-123"})
	bucket := aws.String("c-123")
	code := func(what string, err error, want string) {
		t.Helper()
		if testkit.Code(err) != want {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	_, err := c.DeletePublicAccessBlock(ctx, &sdk.DeletePublicAccessBlockInput{Bucket: bucket})
	code("delete block", err, "")
	_, err = c.GetPublicAccessBlock(ctx, &sdk.GetPublicAccessBlockInput{Bucket: bucket})
	code("no block", err, "NoSuchPublicAccessBlockConfiguration")
	open := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::c-123/*"}]}`
	_, err = c.PutBucketPolicy(ctx, &sdk.PutBucketPolicyInput{Bucket: bucket, Policy: &open})
	code("public policy without block", err, "")
	_, err = c.PutPublicAccessBlock(ctx, &sdk.PutPublicAccessBlockInput{Bucket: bucket, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicPolicy: aws.Bool(true)}})
	code("put block", err, "")
	_, err = c.PutBucketPolicy(ctx, &sdk.PutBucketPolicyInput{Bucket: bucket, Policy: &open})
	code("public policy with block", err, "AccessDenied")

	_, err = c.DeleteBucketOwnershipControls(ctx, &sdk.DeleteBucketOwnershipControlsInput{Bucket: bucket})
	code("delete ownership", err, "")
	_, err = c.GetBucketOwnershipControls(ctx, &sdk.GetBucketOwnershipControlsInput{Bucket: bucket})
	code("no ownership", err, "OwnershipControlsNotFoundError")
	put := func(o types.ObjectOwnership) error {
		_, err := c.PutBucketOwnershipControls(ctx, &sdk.PutBucketOwnershipControlsInput{Bucket: bucket, OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: o}}}})
		return err
	}
	code("unknown ownership", put("Mine"), "MalformedXML")
	code("put ownership", put(types.ObjectOwnershipBucketOwnerPreferred), "")
	w, err := c.GetBucketOwnershipControls(ctx, &sdk.GetBucketOwnershipControlsInput{Bucket: bucket})
	if err != nil || w.OwnershipControls.Rules[0].ObjectOwnership != types.ObjectOwnershipBucketOwnerPreferred {
		t.Errorf("ownership: %v, %v", w, err)
	}

	encrypt := func(by types.ServerSideEncryptionByDefault) error {
		_, err := c.PutBucketEncryption(ctx, &sdk.PutBucketEncryptionInput{Bucket: bucket, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
			Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &by, BucketKeyEnabled: aws.Bool(true)}},
		}})
		return err
	}
	code("key without KMS", encrypt(types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256, KMSMasterKeyID: aws.String("k")}), "InvalidArgument")
	code("encrypt", encrypt(types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: aws.String("k")}), "")
	for _, want := range []string{"aws:kms k true", "AES256  false"} {
		e, err := c.GetBucketEncryption(ctx, &sdk.GetBucketEncryptionInput{Bucket: bucket})
		if err != nil {
			t.Fatal(err)
		}
		rule := e.ServerSideEncryptionConfiguration.Rules[0]
		by := rule.ApplyServerSideEncryptionByDefault
		if got := fmt.Sprintf("%s %s %v", by.SSEAlgorithm, aws.ToString(by.KMSMasterKeyID), aws.ToBool(rule.BucketKeyEnabled)); got != want {
			t.Errorf("encryption %q, want %q", got, want)
		}
		_, err = c.DeleteBucketEncryption(ctx, &sdk.DeleteBucketEncryptionInput{Bucket: bucket})
		code("delete encryption", err, "")
	}

	lock := func(rule *types.ObjectLockRule) error {
		_, err := c.PutObjectLockConfiguration(ctx, &sdk.PutObjectLockConfigurationInput{Bucket: bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: rule}})
		return err
	}
	year := &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Years: aws.Int32(1)}}
	code("lock without versions", lock(year), "InvalidBucketState")
	_, err = c.PutBucketVersioning(ctx, &sdk.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	code("versions", err, "")
	code("lock", lock(year), "")
	o, err := c.GetObjectLockConfiguration(ctx, &sdk.GetObjectLockConfigurationInput{Bucket: bucket})
	if err != nil || aws.ToInt32(o.ObjectLockConfiguration.Rule.DefaultRetention.Years) != 1 {
		t.Errorf("lock: %v, %v", o, err)
	}
	code("lock of two lengths", lock(&types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1), Years: aws.Int32(1)}}), "MalformedXML")
	code("no rule", lock(nil), "")
	o, err = c.GetObjectLockConfiguration(ctx, &sdk.GetObjectLockConfigurationInput{Bucket: bucket})
	if err != nil || o.ObjectLockConfiguration.Rule != nil {
		t.Errorf("lock: %v, %v", o, err)
	}
}
