// Package s3 is Amazon S3: buckets, their configuration and policies, and
// objects with versions and locks.
//
// Invariants: bucket names are valid, unique in all of AWS, and not free at once
// when their bucket is gone; a bucket that holds anything,
// be it a delete marker, can't be deleted; a version under a compliance lock
// stays until its date; object lock implies versioning.
//
// Objects live in the account ("s3:object", one resource a key with all its
// versions), so a clone has them too: their names, versions, locks, tags and how
// they are encrypted. What they hold is in [Bodies], of which an object has one
// or, if it was uploaded in parts, several: in the account, for tests in virtual
// time, or in a server of its own. A body never changes; it goes when no version
// has it any more.
//
// Limits: access logs are not written and lifecycle rules don't run; replication,
// notifications, inventories, websites, access points, encryption with keys of
// customers and ACLs other than canned ones are not modelled.
package s3

import (
	"encoding/json"
	"fmt"
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
	return []*account.Type{bucketType(), bucketPolicyType(), {Name: TypeObject}, {Name: TypeUpload}}
}

// errorf is a refusal with S3's HTTP status for its code.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func errorf(code, format string, args ...any) error {
	e := account.Errorf(code, format, args...)
	switch {
	case strings.HasPrefix(code, "NoSuch"), strings.HasSuffix(code, "NotFoundError"), code == "NotFound":
		e.Status = http.StatusNotFound
	case slices.Contains([]string{"BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketNotEmpty", "InvalidBucketState", "OperationAborted"}, code):
		e.Status = http.StatusConflict
	case code == "AccessDenied":
		e.Status = http.StatusForbidden
	case code == "MethodNotAllowed":
		e.Status = http.StatusMethodNotAllowed
	case code == "PreconditionFailed":
		e.Status = http.StatusPreconditionFailed
	case code == "InvalidRange", code == "InvalidPartNumber":
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
	r := policy.Request{Type: "Service", Principal: service, Action: "s3:PutObject", Resource: arn(tx, bucket+"/"+key)}
	keys := policy.Single{"aws:SourceAccount": tx.AccountID(), "aws:SecureTransport": "true", "s3:x-amz-acl": "bucket-owner-full-control", "s3:TlsVersion": "1.3"}
	for k, v := range context {
		keys[k] = v
	}
	r.Context = keys
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

// bucketKey tells whether a bucket keeps a key of its own under that of KMS.
func bucketKey(p map[string]any) bool {
	for _, rule := range props.Maps(p, "BucketEncryption", "ServerSideEncryptionConfiguration") {
		if props.Bool(rule, false, "BucketKeyEnabled") {
			return true
		}
	}
	return false
}

// LetDeliver adds to a bucket's policy what lets an AWS service write below a
// path, "logs/*", in the name of a source, as some services do by themselves.
func LetDeliver(tx *account.Tx, bucket, path, service, source string) error {
	b, err := Lookup(tx, bucket)
	if err != nil {
		return err
	}
	doc, p := map[string]any{"Version": "2012-10-17"}, tx.Get(TypeBucketPolicy, bucket)
	if p != nil {
		text, err := policy.Text(p.Props["PolicyDocument"])
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			return fmt.Errorf("read the policy of bucket %s: %w", bucket, err)
		}
	}
	same := func(more map[string]any) map[string]any {
		equals := map[string]any{"aws:SourceAccount": tx.AccountID()}
		for k, v := range more {
			equals[k] = v
		}
		return map[string]any{"StringEquals": equals, "ArnLike": map[string]any{"aws:SourceArn": source}}
	}
	own := props.List(doc, "Statement")
	if one := props.Map(doc, "Statement"); one != nil {
		own = []any{one}
	}
	doc["Statement"] = append(own[:len(own):len(own)],
		map[string]any{
			"Sid": "AWSLogDeliveryWrite", "Effect": "Allow", "Principal": map[string]any{"Service": service}, "Action": "s3:PutObject",
			"Resource": arn(tx, bucket+"/"+path), "Condition": same(map[string]any{"s3:x-amz-acl": "bucket-owner-full-control"}),
		},
		map[string]any{
			"Sid": "AWSLogDeliveryAclCheck", "Effect": "Allow", "Principal": map[string]any{"Service": service}, "Action": "s3:GetBucketAcl",
			"Resource": arn(tx, bucket), "Condition": same(nil),
		})
	next := map[string]any{"Bucket": bucket, "PolicyDocument": doc}
	if err := checkPolicy(tx, b, doc); err != nil {
		return err
	}
	if p != nil {
		p.Props = next
		return nil
	}
	tx.Put(&account.Resource{Type: TypeBucketPolicy, ID: bucket, Props: next, Attrs: map[string]any{}, Data: map[string]any{}, Owner: service})
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
