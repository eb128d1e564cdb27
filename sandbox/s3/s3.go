// Package s3 is Amazon S3: buckets, their configuration and policies, and
// objects with versions and locks.
//
// Invariants: bucket names are valid and unique; a bucket that holds anything,
// be it a delete marker, can't be deleted; a version under a compliance lock
// stays until its date; object lock implies versioning.
//
// Objects live in the account ("s3:object", one resource a key with all its
// versions), so a clone has them too.
//
// Limits: bucket policies are checked but not enforced, access logs are not
// written and lifecycle rules don't run; multipart uploads, replication,
// notifications, inventories, websites, access points and ACLs other than
// canned ones are not modelled.
package s3

import (
	"net/http"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package. The id of a bucket and of its policy is
// the bucket's name, that of an object "bucket/key".
const (
	TypeBucket       = "AWS::S3::Bucket"
	TypeBucketPolicy = "AWS::S3::BucketPolicy"
	TypeObject       = "s3:object"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{bucketType(), bucketPolicyType(), {Name: TypeObject}}
}

// errorf is a refusal with S3's HTTP status for its code.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func errorf(code, format string, args ...any) error {
	e := account.Errorf(code, format, args...)
	switch {
	case strings.HasPrefix(code, "NoSuch"), strings.HasSuffix(code, "NotFoundError"), code == "NotFound":
		e.Status = http.StatusNotFound
	case slices.Contains([]string{"BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketNotEmpty", "InvalidBucketState"}, code):
		e.Status = http.StatusConflict
	case code == "AccessDenied":
		e.Status = http.StatusForbidden
	case code == "MethodNotAllowed":
		e.Status = http.StatusMethodNotAllowed
	case code == "PreconditionFailed":
		e.Status = http.StatusPreconditionFailed
	case code == "InvalidRange":
		e.Status = http.StatusRequestedRangeNotSatisfiable
	}
	return e
}

// Lookup returns a bucket of this account, or S3's NoSuchBucket.
func Lookup(tx *account.Tx, name string) (*account.Resource, error) {
	b := tx.Get(TypeBucket, name)
	if b == nil {
		return nil, errorf("NoSuchBucket", "The specified bucket does not exist")
	}
	return b, nil
}

// arn is the ARN of a bucket, or of what is in it.
func arn(tx *account.Tx, rest string) string { return "arn:" + tx.Partition() + ":s3:::" + rest }

// MayDeliver tells whether an AWS service may write an object, such as a log,
// into a bucket: the bucket exists, its policy lets the service, in the context
// given, and its default encryption is one that services can write with.
func MayDeliver(tx *account.Tx, bucket, key, service string, context map[string]string) error {
	b, err := Lookup(tx, bucket)
	if err != nil {
		return err
	}
	denied := errorf("AccessDenied", "Access Denied for bucket: %s. Please check S3bucket permission", bucket)
	p := tx.Get(TypeBucketPolicy, bucket)
	if p == nil {
		return denied
	}
	doc, err := policy.Parse(p.Props["PolicyDocument"], policy.Resource)
	if err != nil {
		return denied
	}
	r := policy.Request{Type: "Service", Principal: service, Action: "s3:PutObject", Resource: arn(tx, bucket+"/"+key), Context: map[string]string{
		"aws:SourceAccount": tx.AccountID(), "aws:SecureTransport": "true", "s3:x-amz-acl": "bucket-owner-full-control", "s3:TlsVersion": "1.3",
	}}
	for k, v := range context {
		r.Context[k] = v
	}
	if !doc.Allows(r) {
		return denied
	}
	if algorithm, ref := encryption(b.Props); algorithm != "AES256" {
		if ref == "" || strings.HasSuffix(ref, "alias/aws/s3") {
			return denied
		}
		if _, err := kms.Usable(tx, ref, service, context, "kms:GenerateDataKey"); err != nil {
			return denied
		}
	}
	return nil
}

// encryption is a bucket's default: the algorithm and, with KMS, the key.
func encryption(p map[string]any) (algorithm, key string) {
	for _, rule := range props.Maps(p, "BucketEncryption", "ServerSideEncryptionConfiguration") {
		if a := props.Str(rule, "ServerSideEncryptionByDefault", "SSEAlgorithm"); a != "" {
			return a, props.Str(rule, "ServerSideEncryptionByDefault", "KMSMasterKeyID")
		}
	}
	return "AES256", ""
}
