package access

import (
	"encoding/xml"
	"net/url"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/props"
)

// bucketActions are S3's operations on buckets, and the actions that they need.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
var bucketActions = map[string]string{
	"CreateBucket": "CreateBucket", "DeleteBucket": "DeleteBucket", "HeadBucket": "ListBucket",
	"ListObjects": "ListBucket", "ListObjectsV2": "ListBucket", "ListObjectVersions": "ListBucketVersions", "ListMultipartUploads": "ListBucketMultipartUploads",
	"GetBucketAcl": "GetBucketAcl", "GetBucketCors": "GetBucketCORS", "GetBucketLocation": "GetBucketLocation", "GetBucketLogging": "GetBucketLogging",
	"GetBucketEncryption": "GetEncryptionConfiguration", "PutBucketEncryption": "PutEncryptionConfiguration", "DeleteBucketEncryption": "PutEncryptionConfiguration",
	"GetBucketLifecycleConfiguration": "GetLifecycleConfiguration", "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration", "DeleteBucketLifecycle": "PutLifecycleConfiguration",
	"GetBucketAccelerateConfiguration": "GetAccelerateConfiguration", "GetBucketNotificationConfiguration": "GetBucketNotification",
	"GetBucketOwnershipControls": "GetBucketOwnershipControls", "PutBucketOwnershipControls": "PutBucketOwnershipControls", "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
	"GetBucketPolicy": "GetBucketPolicy", "PutBucketPolicy": "PutBucketPolicy", "DeleteBucketPolicy": "DeleteBucketPolicy", "GetBucketPolicyStatus": "GetBucketPolicyStatus",
	"GetBucketReplication": "GetReplicationConfiguration", "GetBucketRequestPayment": "GetBucketRequestPayment",
	"GetBucketTagging": "GetBucketTagging", "PutBucketTagging": "PutBucketTagging", "DeleteBucketTagging": "PutBucketTagging",
	"GetBucketVersioning": "GetBucketVersioning", "PutBucketVersioning": "PutBucketVersioning",
	"GetBucketWebsite": "GetBucketWebsite", "PutBucketLogging": "PutBucketLogging",
	"GetObjectLockConfiguration": "GetBucketObjectLockConfiguration", "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
	"GetPublicAccessBlock": "GetBucketPublicAccessBlock", "PutPublicAccessBlock": "PutBucketPublicAccessBlock", "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
}

func buckets() map[string]rule {
	bucket := one("AWS::S3::Bucket", "Bucket")
	object := func(c *call) []target {
		return []target{{arn: arnOf(c.tx, "s3:object", c.r.String("Bucket")+"/"+c.r.String("Key"))}}
	}
	out := map[string]rule{"s3:ListBuckets": {action: "s3:ListAllMyBuckets"}}
	for op, action := range bucketActions {
		out["s3:"+op] = rule{action: "s3:" + action, on: bucket}
	}
	list := out["s3:ListObjectsV2"]
	list.context = sets(set("s3:prefix", "prefix"), set("s3:delimiter", "delimiter"), set("s3:max-keys", "max-keys"))
	out["s3:ListObjectsV2"], out["s3:ListObjects"] = list, list
	list.action = "s3:ListBucketVersions"
	out["s3:ListObjectVersions"] = list
	// Headers that set more than the bucket ask for it.
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
	create := out["s3:CreateBucket"]
	create.also = func(c *call) []Demand {
		var out []Demand
		if c.header("x-amz-bucket-object-lock-enabled") == "true" {
			out = append(out, c.demands("s3:PutBucketObjectLockConfiguration", bucket(c))...)
			out = append(out, c.demands("s3:PutBucketVersioning", bucket(c))...)
		}
		if c.header("x-amz-object-ownership") != "" {
			out = append(out, c.demands("s3:PutBucketOwnershipControls", bucket(c))...)
		}
		return out
	}
	out["s3:CreateBucket"] = create
	// A version of an object has an action of its own.
	versioned := func(plain, version string, then func(*call) []Demand) rule {
		return rule{action: plain, make: func(c *call) []Demand {
			out := c.demands(plain, object(c))
			if v := c.r.String("versionId"); v != "" {
				out = c.demand(version, object(c), "s3:VersionId", v)
			}
			return append(out, then(c)...)
		}}
	}
	key := func(c *call) string {
		if k := c.header("x-amz-server-side-encryption-aws-kms-key-id"); k != "" {
			return k
		}
		b := c.tx.Get("AWS::S3::Bucket", c.r.String("Bucket"))
		if b == nil {
			return ""
		}
		for _, rule := range props.Maps(b.Props, "BucketEncryption", "ServerSideEncryptionConfiguration") {
			return props.Str(rule, "ServerSideEncryptionByDefault", "KMSMasterKeyID")
		}
		return ""
	}
	// The encryption context is the object, or the bucket if it has a key of its
	// own under that of KMS.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
	through := func(c *call, action string) []Demand {
		on := object(c)
		if b := c.tx.Get("AWS::S3::Bucket", c.r.String("Bucket")); b != nil {
			for _, rule := range props.Maps(b.Props, "BucketEncryption", "ServerSideEncryptionConfiguration") {
				if props.Bool(rule, false, "BucketKeyEnabled") {
					on = bucket(c)
				}
			}
		}
		return within(c.through("s3", key(c), action), "aws:s3:arn", on[0].arn)
	}
	opens := func(c *call) []Demand { return through(c, "kms:Decrypt") }
	bypass := func(c *call, on []target) []Demand {
		if c.header("x-amz-bypass-governance-retention") != "true" {
			return nil
		}
		return c.demands("s3:BypassGovernanceRetention", on)
	}
	out["s3:GetObject"] = versioned("s3:GetObject", "s3:GetObjectVersion", opens)
	out["s3:HeadObject"] = versioned("s3:GetObject", "s3:GetObjectVersion", opens)
	out["s3:DeleteObject"] = versioned("s3:DeleteObject", "s3:DeleteObjectVersion", func(c *call) []Demand { return bypass(c, object(c)) })
	writes := func(c *call) []Demand {
		out := through(c, "kms:GenerateDataKey")
		for _, h := range []struct{ header, action string }{
			{"x-amz-acl", "s3:PutObjectAcl"},
			{"x-amz-tagging", "s3:PutObjectTagging"},
			{"x-amz-object-lock-mode", "s3:PutObjectRetention"},
			{"x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"},
		} {
			if c.header(h.header) != "" {
				out = append(out, c.demands(h.action, object(c))...)
			}
		}
		return out
	}
	// What a copy reads.
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
	reads := func(c *call) []Demand {
		path, version, _ := strings.Cut(strings.TrimPrefix(c.header("x-amz-copy-source"), "/"), "?versionId=")
		if plain, err := url.PathUnescape(path); err == nil {
			path = plain
		}
		from := []target{{arn: arnOf(c.tx, "s3:object", path)}}
		if !strings.Contains(path, "/") {
			from = object(c) // the operation refuses it
		}
		if version != "" {
			return c.demand("s3:GetObjectVersion", from, "s3:VersionId", version)
		}
		return c.demands("s3:GetObject", from)
	}
	out["s3:PutObject"] = rule{on: object, also: writes}
	out["s3:CopyObject"] = rule{action: "s3:PutObject", on: object, also: func(c *call) []Demand { return append(writes(c), reads(c)...) }}
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
	parts := func(c *call) []Demand { return append(through(c, "kms:GenerateDataKey"), through(c, "kms:Decrypt")...) }
	out["s3:CreateMultipartUpload"] = rule{action: "s3:PutObject", on: object, also: func(c *call) []Demand { return append(writes(c), opens(c)...) }}
	out["s3:UploadPart"] = rule{action: "s3:PutObject", on: object, also: parts}
	out["s3:UploadPartCopy"] = rule{action: "s3:PutObject", on: object, also: func(c *call) []Demand { return append(parts(c), reads(c)...) }}
	out["s3:CompleteMultipartUpload"] = rule{action: "s3:PutObject", on: object, also: opens}
	out["s3:AbortMultipartUpload"] = rule{on: object}
	out["s3:ListParts"] = rule{action: "s3:ListMultipartUploadParts", on: object}
	nothing := func(*call) []Demand { return nil }
	attributes := versioned("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes", nothing)
	out["s3:GetObjectAttributes"] = rule{action: "s3:GetObjectAttributes", make: func(c *call) []Demand { return append(attributes.make(c), out["s3:GetObject"].make(c)...) }}
	out["s3:GetObjectAcl"] = versioned("s3:GetObjectAcl", "s3:GetObjectVersionAcl", nothing)
	out["s3:GetObjectTagging"] = versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging", nothing)
	out["s3:PutObjectTagging"] = versioned("s3:PutObjectTagging", "s3:PutObjectVersionTagging", nothing)
	out["s3:DeleteObjectTagging"] = versioned("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging", nothing)
	out["s3:PutObjectLegalHold"] = rule{on: object}
	out["s3:PutObjectRetention"] = rule{on: object, also: func(c *call) []Demand { return bypass(c, object(c)) }}
	out["s3:DeleteObjects"] = rule{action: "s3:DeleteObject", make: func(c *call) []Demand {
		objects, versions := c.deleted()
		out := c.each("s3:DeleteObject", objects)
		out = append(out, c.each("s3:DeleteObjectVersion", versions)...)
		return append(out, bypass(c, append(objects, versions...))...)
	}}
	return out
}

func (c *call) header(name string) string {
	for k, v := range c.r.Header {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// each asks for an action on resources whose tags it doesn't test, if there are
// any: one demand for all.
func (c *call) each(action string, on []target) []Demand {
	if len(on) == 0 {
		return nil
	}
	d := Demand{Action: action, Context: c.context(action, nil)}
	for _, t := range on {
		d.Resources = append(d.Resources, t.arn)
	}
	return []Demand{d}
}

// deleted are the objects that DeleteObjects removes, apart from those whose
// versions it names.
func (c *call) deleted() (objects, versions []target) {
	var in struct {
		Objects []struct{ Key, VersionId string } `xml:"Object"`
	}
	bucket := c.r.String("Bucket")
	if err := xml.Unmarshal(c.r.Body, &in); err != nil || len(in.Objects) == 0 {
		// The operation refuses it.
		return []target{{arn: arnOf(c.tx, "s3:object", bucket+"/*")}}, nil
	}
	for _, o := range in.Objects {
		t := target{arn: arnOf(c.tx, "s3:object", bucket+"/"+o.Key)}
		if o.VersionId != "" {
			versions = append(versions, t)
		} else {
			objects = append(objects, t)
		}
	}
	return objects, versions
}
