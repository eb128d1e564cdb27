package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// api is S3's, over what holds its objects' bodies.
type api struct{ bodies Bodies }

// Service returns S3's API; bodies are in the account if b is nil.
func Service(b Bodies) wire.Service {
	a := &api{bodies: b}
	if b == nil {
		a.bodies = InAccount{}
	}
	const bucket, key = "/{Bucket}", "/{Bucket}/{Key+}"
	op := func(name, method, path, query string, do func(*account.Tx, *wire.Request) (any, error)) wire.Operation {
		o := wire.Operation{Name: name, Method: method, Path: path, Do: do}
		if query != "" {
			o.Query = strings.Fields(query)
		}
		if method == http.MethodDelete {
			o.Status = http.StatusNoContent
		}
		return o
	}
	copying := func(o wire.Operation) wire.Operation {
		o.Header = "X-Amz-Copy-Source"
		return o
	}
	on := onBucket
	return wire.Service{
		Name: "s3", Protocol: wire.RestXML, Namespace: namespace,
		Subresources: []string{
			"abac", "accelerate", "acl", "analytics", "annotation", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle",
			"location", "logging", "metadataAnnotationTable", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy", "policyStatus",
			"publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention", "select", "session", "tagging", "torrent", "uploadId", "uploads",
			"versioning", "versions", "website",
		},
		Operations: []wire.Operation{
			op("ListBuckets", "GET", "/", "", listBuckets),
			op("CreateBucket", "PUT", bucket, "", apiCreateBucket),
			op("HeadBucket", "HEAD", bucket, "", on(headBucket)),
			op("DeleteBucket", "DELETE", bucket, "", on(deleteBucket)),
			op("GetBucketLocation", "GET", bucket, "location", on(getBucketLocation)),
			op("GetBucketVersioning", "GET", bucket, "versioning", on(getBucketVersioning)),
			op("PutBucketVersioning", "PUT", bucket, "versioning", on(putBucketVersioning)),
			op("GetBucketEncryption", "GET", bucket, "encryption", on(getBucketEncryption)),
			op("PutBucketEncryption", "PUT", bucket, "encryption", on(putBucketEncryption)),
			op("DeleteBucketEncryption", "DELETE", bucket, "encryption", on(func(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
				return nil, change(tx, b, "BucketEncryption", nil)
			})),
			op("GetBucketLogging", "GET", bucket, "logging", on(getBucketLogging)),
			op("PutBucketLogging", "PUT", bucket, "logging", on(putBucketLogging)),
			op("GetBucketPolicy", "GET", bucket, "policy", on(getBucketPolicy)),
			op("PutBucketPolicy", "PUT", bucket, "policy", on(putBucketPolicy)),
			op("DeleteBucketPolicy", "DELETE", bucket, "policy", on(deleteBucketPolicy)),
			op("GetBucketPolicyStatus", "GET", bucket, "policyStatus", on(getBucketPolicyStatus)),
			op("GetPublicAccessBlock", "GET", bucket, "publicAccessBlock", on(getPublicAccessBlock)),
			op("PutPublicAccessBlock", "PUT", bucket, "publicAccessBlock", on(putPublicAccessBlock)),
			op("DeletePublicAccessBlock", "DELETE", bucket, "publicAccessBlock", on(deletePublicAccessBlock)),
			op("GetBucketOwnershipControls", "GET", bucket, "ownershipControls", on(getBucketOwnershipControls)),
			op("PutBucketOwnershipControls", "PUT", bucket, "ownershipControls", on(putBucketOwnershipControls)),
			op("DeleteBucketOwnershipControls", "DELETE", bucket, "ownershipControls", on(func(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
				return nil, change(tx, b, "OwnershipControls", map[string]any{})
			})),
			op("GetBucketTagging", "GET", bucket, "tagging", on(getBucketTagging)),
			op("PutBucketTagging", "PUT", bucket, "tagging", on(putBucketTagging)),
			op("DeleteBucketTagging", "DELETE", bucket, "tagging", on(deleteBucketTagging)),
			op("GetBucketLifecycleConfiguration", "GET", bucket, "lifecycle", on(getBucketLifecycle)),
			op("PutBucketLifecycleConfiguration", "PUT", bucket, "lifecycle", on(putBucketLifecycle)),
			op("DeleteBucketLifecycle", "DELETE", bucket, "lifecycle", on(func(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
				return nil, change(tx, b, "LifecycleConfiguration", nil)
			})),
			op("GetObjectLockConfiguration", "GET", bucket, "object-lock", on(getObjectLockConfiguration)),
			op("PutObjectLockConfiguration", "PUT", bucket, "object-lock", on(putObjectLockConfiguration)),
			op("GetBucketAcl", "GET", bucket, "acl", on(getBucketACL)),
			// Transfer acceleration is off, which is said by nothing.
			op("GetBucketAccelerateConfiguration", "GET", bucket, "accelerate", on(nothing("AccelerateConfiguration"))),
			op("GetBucketNotificationConfiguration", "GET", bucket, "notification", on(nothing("NotificationConfiguration"))),
			op("GetBucketRequestPayment", "GET", bucket, "requestPayment", on(func(*account.Tx, *wire.Request, *account.Resource) (any, error) {
				return wire.Document{Root: "RequestPaymentConfiguration", Fields: map[string]any{"Payer": "BucketOwner"}}, nil
			})),
			op("GetBucketCors", "GET", bucket, "cors", on(missing("NoSuchCORSConfiguration", "The CORS configuration does not exist"))),
			op("GetBucketReplication", "GET", bucket, "replication", on(missing("ReplicationConfigurationNotFoundError", "The replication configuration was not found"))),
			op("GetBucketWebsite", "GET", bucket, "website", on(missing("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"))),

			op("ListObjects", "GET", bucket, "", on(listObjects)),
			op("ListObjectsV2", "GET", bucket, "list-type=2", on(listObjectsV2)),
			op("ListObjectVersions", "GET", bucket, "versions", on(listObjectVersions)),
			op("ListMultipartUploads", "GET", bucket, "uploads", on(listMultipartUploads)),
			op("DeleteObjects", "POST", bucket, "delete", on(a.deleteObjects)),
			a.receiving(op("PutObject", "PUT", key, "", on(a.putObject)), admitPut),
			a.receiving(copying(op("CopyObject", "PUT", key, "", on(a.copyObject))), admitCopy),
			op("GetObject", "GET", key, "partNumber?", on(a.getObject)),
			op("HeadObject", "HEAD", key, "partNumber?", on(a.getObject)),
			op("DeleteObject", "DELETE", key, "", on(a.deleteObject)),
			op("CreateMultipartUpload", "POST", key, "uploads", on(createUpload)),
			a.receiving(op("UploadPart", "PUT", key, "partNumber uploadId", on(a.uploadPart)), admitPart),
			a.receiving(copying(op("UploadPartCopy", "PUT", key, "partNumber uploadId", on(a.uploadPartCopy))), admitPartCopy),
			{Name: "CompleteMultipartUpload", Method: "POST", Path: key, Query: []string{"uploadId"}, Do: on(a.completeUpload), SumsOfObject: true},
			op("AbortMultipartUpload", "DELETE", key, "uploadId", on(a.abortUpload)),
			op("ListParts", "GET", key, "uploadId", on(listParts)),
			op("GetObjectAttributes", "GET", key, "attributes", on(getObjectAttributes)),
			op("GetObjectAcl", "GET", key, "acl", on(getObjectACL)),
			op("GetObjectTagging", "GET", key, "tagging", on(getObjectTagging)),
			op("PutObjectTagging", "PUT", key, "tagging", on(putObjectTagging)),
			op("DeleteObjectTagging", "DELETE", key, "tagging", on(deleteObjectTagging)),
			op("PutObjectRetention", "PUT", key, "retention", on(putObjectRetention)),
			op("PutObjectLegalHold", "PUT", key, "legal-hold", on(putObjectLegalHold)),
		},
	}
}

func malformed() error {
	return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

// missing refuses to show a configuration that buckets here never have.
func missing(code, message string) handler {
	return func(*account.Tx, *wire.Request, *account.Resource) (any, error) {
		return nil, errorf(code, "%s", message)
	}
}

// nothing shows an empty configuration.
func nothing(root string) handler {
	return func(*account.Tx, *wire.Request, *account.Resource) (any, error) {
		return wire.Document{Root: root, Fields: map[string]any{}}, nil
	}
}

// change sets one property of a bucket through its type; nil removes it.
func change(tx *account.Tx, b *account.Resource, property string, value any) error {
	next, _ := account.Copy(b.Props).(map[string]any)
	next[property] = value
	if value == nil {
		delete(next, property)
	}
	_, err := tx.Update(b, next, false)
	return err
}

func listBuckets(tx *account.Tx, r *wire.Request) (any, error) {
	items := []any{}
	for _, b := range tx.List(TypeBucket) {
		if strings.HasPrefix(b.ID, r.String("prefix")) {
			items = append(items, map[string]any{"Name": b.ID, "CreationDate": b.Created, "BucketRegion": tx.Region(), "BucketArn": arn(tx, b.ID)})
		}
	}
	page, next, err := wire.Page(items, r.String("continuation-token"), r.Int("max-buckets", 10000), "InvalidArgument")
	if err != nil {
		return nil, err
	}
	return wire.Document{Root: "ListAllMyBucketsResult", Fields: map[string]any{
		"Owner": owner(tx), "Buckets": map[string]any{"Bucket": wire.Flat(page)}, "ContinuationToken": none(next), "Prefix": none(r.String("prefix")),
	}}, nil
}

// owner is the account's canonical user.
func owner(tx *account.Tx) map[string]any {
	return map[string]any{"ID": strings.Repeat(tx.AccountID(), 6)[:64]}
}

func apiCreateBucket(tx *account.Tx, r *wire.Request) (any, error) {
	var in struct {
		LocationConstraint string
		Tags               []struct{ Key, Value string } `xml:"Tags>Tag"`
	}
	if len(r.Body) > 0 {
		if err := xml.Unmarshal(r.Body, &in); err != nil {
			return nil, malformed()
		}
	}
	want := tx.Region()
	if want == "us-east-1" {
		want = ""
	}
	switch {
	case in.LocationConstraint == "" && want != "":
		return nil, errorf("IllegalLocationConstraintException", "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	case in.LocationConstraint != want:
		return nil, errorf("InvalidLocationConstraint", "The specified location-constraint is not valid")
	}
	h := headers(r)
	p := map[string]any{"BucketName": r.String("Bucket")}
	if h["x-amz-bucket-object-lock-enabled"] == "true" {
		p["ObjectLockEnabled"] = true
	}
	if o := h["x-amz-object-ownership"]; o != "" {
		p["OwnershipControls"] = map[string]any{"Rules": []any{map[string]any{"ObjectOwnership": o}}}
	}
	if acl := h["x-amz-acl"]; acl != "" && acl != "private" {
		p["AccessControl"] = acl
	}
	tags := map[string]string{}
	for _, t := range in.Tags {
		tags[t.Key] = t.Value
	}
	p["Tags"] = props.Pairs(tags)
	// In its oldest region S3 takes one's own bucket as made.
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
	if b := tx.Get(TypeBucket, r.String("Bucket")); b != nil && tx.Region() == "us-east-1" {
		r.Resource = arn(tx, b.ID)
		return wire.Raw{Header: answer("Location", "/"+b.ID, "X-Amz-Bucket-Arn", arn(tx, b.ID))}, nil
	}
	b, _, err := tx.Create(TypeBucket, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	r.Resource = arn(tx, b.ID)
	return wire.Raw{Header: answer("Location", "/"+b.ID, "X-Amz-Bucket-Arn", arn(tx, b.ID))}, tx.Settle(b, "create")
}

func headBucket(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	return wire.Raw{Header: answer("X-Amz-Bucket-Region", tx.Region(), "X-Amz-Bucket-Arn", arn(tx, b.ID), "Content-Type", "application/xml")}, nil
}

func deleteBucket(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	if _, err := tx.Delete(b, false); err != nil {
		return nil, err
	}
	return nil, tx.Settle(b, "delete")
}

func getBucketLocation(tx *account.Tx, _ *wire.Request, _ *account.Resource) (any, error) {
	region := tx.Region()
	if region == "us-east-1" {
		region = ""
	}
	return wire.Raw{Header: answer("Content-Type", "application/xml"), Body: []byte(xml.Header + `<LocationConstraint xmlns="` + namespace + `">` + region + "</LocationConstraint>")}, nil
}

func getBucketVersioning(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	return wire.Document{Root: "VersioningConfiguration", Fields: map[string]any{"Status": none(versioning(b.Props))}}, nil
}

func putBucketVersioning(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct{ Status string }
	if err := xml.Unmarshal(r.Body, &in); err != nil || in.Status == "" {
		return nil, malformed()
	}
	return nil, change(tx, b, "VersioningConfiguration", map[string]any{"Status": in.Status})
}

func getBucketEncryption(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	algorithm, key := encryption(b.Props)
	bucketKey := false
	for _, r := range props.Maps(b.Props, "BucketEncryption", "ServerSideEncryptionConfiguration") {
		bucketKey = props.Bool(r, false, "BucketKeyEnabled")
	}
	return wire.Document{Root: "ServerSideEncryptionConfiguration", Fields: map[string]any{"Rule": map[string]any{
		"ApplyServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": algorithm, "KMSMasterKeyID": none(key)}, "BucketKeyEnabled": bucketKey,
	}}}, nil
}

func putBucketEncryption(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		Rules []struct {
			Default          struct{ SSEAlgorithm, KMSMasterKeyID string } `xml:"ApplyServerSideEncryptionByDefault"`
			BucketKeyEnabled bool
		} `xml:"Rule"`
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	rules := []any{}
	for _, rule := range in.Rules {
		by := map[string]any{"SSEAlgorithm": rule.Default.SSEAlgorithm}
		if k := rule.Default.KMSMasterKeyID; k != "" {
			by["KMSMasterKeyID"] = k
		}
		rules = append(rules, map[string]any{"ServerSideEncryptionByDefault": by, "BucketKeyEnabled": rule.BucketKeyEnabled})
	}
	return nil, change(tx, b, "BucketEncryption", map[string]any{"ServerSideEncryptionConfiguration": rules})
}

func getBucketLogging(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	out := map[string]any{}
	if l := props.Map(b.Props, "LoggingConfiguration"); l != nil {
		target := props.Str(l, "DestinationBucketName")
		if target == "" {
			target = b.ID
		}
		out["LoggingEnabled"] = map[string]any{"TargetBucket": target, "TargetPrefix": props.Str(l, "LogFilePrefix")}
	}
	return wire.Document{Root: "BucketLoggingStatus", Fields: out}, nil
}

func putBucketLogging(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		LoggingEnabled *struct{ TargetBucket, TargetPrefix string }
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	if in.LoggingEnabled == nil {
		return nil, change(tx, b, "LoggingConfiguration", nil)
	}
	return nil, change(tx, b, "LoggingConfiguration", map[string]any{"DestinationBucketName": in.LoggingEnabled.TargetBucket, "LogFilePrefix": in.LoggingEnabled.TargetPrefix})
}

func bucketPolicy(tx *account.Tx, b *account.Resource) (*account.Resource, error) {
	p := tx.Get(TypeBucketPolicy, b.ID)
	if p == nil {
		return nil, errorf("NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	return p, nil
}

func getBucketPolicy(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	p, err := bucketPolicy(tx, b)
	if err != nil {
		return nil, err
	}
	text, err := policy.Text(p.Props["PolicyDocument"])
	return wire.Raw{Header: answer("Content-Type", "application/json"), Body: []byte(text)}, err
}

func putBucketPolicy(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	next := map[string]any{"Bucket": b.ID, "PolicyDocument": string(r.Body)}
	if p := tx.Get(TypeBucketPolicy, b.ID); p != nil {
		_, err := tx.Update(p, next, false)
		return wire.Raw{Status: http.StatusNoContent}, err
	}
	p, _, err := tx.Create(TypeBucketPolicy, next, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	return wire.Raw{Status: http.StatusNoContent}, tx.Settle(p, "create")
}

func deleteBucketPolicy(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	p := tx.Get(TypeBucketPolicy, b.ID)
	if p == nil {
		return nil, nil
	}
	if _, err := tx.Delete(p, false); err != nil {
		return nil, err
	}
	return nil, tx.Settle(p, "delete")
}

func getBucketPolicyStatus(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	p, err := bucketPolicy(tx, b)
	if err != nil {
		return nil, err
	}
	d, err := policy.Parse(p.Props["PolicyDocument"], policy.Resource)
	if err != nil {
		return nil, err
	}
	open := false
	for _, s := range d.Statements {
		open = open || public(s)
	}
	return wire.Document{Root: "PolicyStatus", Fields: map[string]any{"IsPublic": open}}, nil
}

func accessBlocks() []string {
	return []string{"BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"}
}

// unblocked tells that a bucket's own configuration of public access was
// deleted. It then blocks nothing, as opposed to a new bucket.
func unblocked(b *account.Resource) bool {
	return b.Data["unblocked"] == true && !slices.ContainsFunc(accessBlocks(), func(k string) bool { return blocked(b.Props, k) })
}

func deletePublicAccessBlock(tx *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	off := map[string]any{}
	for _, k := range accessBlocks() {
		off[k] = false
	}
	if err := change(tx, b, "PublicAccessBlockConfiguration", off); err != nil {
		return nil, err
	}
	b.Data["unblocked"] = true
	return nil, nil
}

func getPublicAccessBlock(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	if unblocked(b) {
		return nil, errorf("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	}
	out := map[string]any{}
	for _, k := range accessBlocks() {
		out[k] = blocked(b.Props, k)
	}
	return wire.Document{Root: "PublicAccessBlockConfiguration", Fields: out}, nil
}

func putPublicAccessBlock(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct{ BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy, RestrictPublicBuckets bool }
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	delete(b.Data, "unblocked")
	return nil, change(tx, b, "PublicAccessBlockConfiguration", map[string]any{
		"BlockPublicAcls": in.BlockPublicAcls, "IgnorePublicAcls": in.IgnorePublicAcls, "BlockPublicPolicy": in.BlockPublicPolicy, "RestrictPublicBuckets": in.RestrictPublicBuckets,
	})
}

func getBucketOwnershipControls(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	if ownership(b.Props) == "" {
		return nil, errorf("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
	}
	return wire.Document{Root: "OwnershipControls", Fields: map[string]any{"Rule": map[string]any{"ObjectOwnership": ownership(b.Props)}}}, nil
}

func putBucketOwnershipControls(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		Rules []struct{ ObjectOwnership string } `xml:"Rule"`
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil || len(in.Rules) != 1 {
		return nil, malformed()
	}
	o := in.Rules[0].ObjectOwnership
	if !slices.Contains([]string{"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"}, o) {
		return nil, malformed()
	}
	return nil, change(tx, b, "OwnershipControls", map[string]any{"Rules": []any{map[string]any{"ObjectOwnership": o}}})
}

func getBucketTagging(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	if len(b.Tags) == 0 {
		return nil, errorf("NoSuchTagSet", "The TagSet does not exist")
	}
	return wire.Document{Root: "Tagging", Fields: map[string]any{"TagSet": map[string]any{"Tag": wire.Flat(props.Pairs(b.Tags))}}}, nil
}

// putBucketTagging replaces all tags but those that CloudFormation put.
func putBucketTagging(_ *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		Tags []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	if len(in.Tags) > 50 {
		return nil, errorf("BadRequest", "Bucket tag count cannot be greater than 50")
	}
	tags := map[string]string{}
	for k, v := range b.Tags {
		if strings.HasPrefix(k, "aws:") {
			tags[k] = v
		}
	}
	for _, t := range in.Tags {
		if strings.HasPrefix(t.Key, "aws:") && tags[t.Key] != t.Value {
			return nil, errorf("InvalidTag", "System tags cannot be added/updated by requester")
		}
		tags[t.Key] = t.Value
	}
	b.Tags = tags
	return wire.Raw{Status: http.StatusNoContent}, nil
}

func deleteBucketTagging(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	for k := range b.Tags {
		if !strings.HasPrefix(k, "aws:") {
			delete(b.Tags, k)
		}
	}
	return nil, nil
}

func getObjectLockConfiguration(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	if !locked(b.Props) {
		return nil, errorf("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
	}
	out := map[string]any{"ObjectLockEnabled": "Enabled"}
	if rule := props.Map(b.Props, "ObjectLockConfiguration", "Rule", "DefaultRetention"); rule != nil {
		retention := map[string]any{"Mode": props.Str(rule, "Mode")}
		for _, k := range []string{"Days", "Years"} {
			if n := props.Int(rule, 0, k); n > 0 {
				retention[k] = n
			}
		}
		out["Rule"] = map[string]any{"DefaultRetention": retention}
	}
	return wire.Document{Root: "ObjectLockConfiguration", Fields: out}, nil
}

// putObjectLockConfiguration sets the rule for objects that bring none. A bucket
// with versions can be given object lock later, too.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-configure.html
func putObjectLockConfiguration(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		ObjectLockEnabled string
		Rule              *struct {
			DefaultRetention struct {
				Mode        string
				Days, Years int
			}
		}
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil || in.ObjectLockEnabled != "Enabled" {
		return nil, malformed()
	}
	if versioning(b.Props) != "Enabled" {
		return nil, errorf("InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
	}
	lock := map[string]any{"ObjectLockEnabled": "Enabled"}
	if in.Rule != nil {
		keep := map[string]any{"Mode": in.Rule.DefaultRetention.Mode}
		if n := in.Rule.DefaultRetention.Days; n != 0 {
			keep["Days"] = n
		}
		if n := in.Rule.DefaultRetention.Years; n != 0 {
			keep["Years"] = n
		}
		lock["Rule"] = map[string]any{"DefaultRetention": keep}
	}
	return nil, change(tx, b, "ObjectLockConfiguration", lock)
}

func getBucketACL(tx *account.Tx, _ *wire.Request, _ *account.Resource) (any, error) {
	// The grantee's kind is an attribute, which only a struct can carry.
	type grantee struct {
		XSI  string `xml:"xmlns:xsi,attr"`
		Type string `xml:"xsi:type,attr"`
		ID   string
	}
	type grant struct {
		Grantee    grantee
		Permission string
	}
	id := props.Str(owner(tx), "ID")
	return struct {
		XMLName xml.Name `xml:"AccessControlPolicy"`
		Owner   struct{ ID string }
		Grants  []grant `xml:"AccessControlList>Grant"`
	}{
		Owner:  struct{ ID string }{id},
		Grants: []grant{{grantee{"http://www.w3.org/2001/XMLSchema-instance", "CanonicalUser", id}, "FULL_CONTROL"}},
	}, nil
}
