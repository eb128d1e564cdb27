package s3

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// A version is one version of an object, as Data["versions"] of its resource
// holds it, newest first: id, modified, size, etag, bodies, headers, and marker
// for a delete marker; parts are the sizes of what it was uploaded in, mode and
// until are for a retention, hold for a legal hold.
type version = map[string]any

// objects are all objects of a bucket in the order of their keys.
func objects(tx *account.Tx, bucket string) []*account.Resource {
	return tx.Where(TypeObject, "bucket", func(o *account.Resource) string {
		name, _, _ := strings.Cut(o.ID, "/")
		return name
	}, bucket)
}

// keyOf is an object's key.
func keyOf(o *account.Resource) string {
	_, key, _ := strings.Cut(o.ID, "/")
	return key
}

func versions(o *account.Resource) []version { return props.Maps(o.Data, "versions") }

// setVersions stores versions, and the object with them; with none left, the
// object goes.
func setVersions(tx *account.Tx, o *account.Resource, list []version) {
	if len(list) == 0 {
		tx.Drop(TypeObject, o.ID)
		return
	}
	all := make([]any, len(list))
	for i, v := range list {
		all[i] = v
	}
	o.Data["versions"] = all
	if tx.Get(TypeObject, o.ID) == nil {
		tx.Put(o)
	}
}

// object returns the resource of a key, a new one if there is none.
func object(tx *account.Tx, bucket, key string) *account.Resource {
	if o := tx.Get(TypeObject, bucket+"/"+key); o != nil {
		return o
	}
	return &account.Resource{Type: TypeObject, ID: bucket + "/" + key, Owner: tx.Caller, Props: map[string]any{}, Attrs: map[string]any{}, Data: map[string]any{}, Tags: map[string]string{}}
}

// find returns the version asked for, or the current one. A delete marker is
// there only for those who ask for it by its id.
func find(tx *account.Tx, bucket, key, id string) (version, error) {
	missing := errorf("NoSuchKey", "The specified key does not exist.")
	o := tx.Get(TypeObject, bucket+"/"+key)
	if o == nil {
		if id != "" {
			return nil, errorf("NoSuchVersion", "The specified version does not exist.")
		}
		return nil, missing
	}
	for i, v := range versions(o) {
		if id == "" && i == 0 {
			if v["marker"] == true {
				return v, missing
			}
			return v, nil
		}
		if id != "" && v["id"] == id {
			if v["marker"] == true {
				return v, errorf("MethodNotAllowed", "The specified method is not allowed against this resource.")
			}
			return v, nil
		}
	}
	return nil, errorf("NoSuchVersion", "The specified version does not exist.")
}

// add puts a new version in front as the bucket's versioning has it. It returns
// the bodies of the one that it replaces.
func add(tx *account.Tx, b *account.Resource, key string, v version) (replaced []Body) {
	o := object(tx, b.ID, key)
	list := versions(o)
	v["id"] = "null"
	if versioning(b.Props) == "Enabled" {
		// Ids of newer versions sort first, so that a listing can go on behind
		// a version that is gone by then.
		n := props.Int(o.Data, 0, "count") + 1
		o.Data["count"] = n
		v["id"] = fmt.Sprintf("%08x", 1<<32-1-n) + tx.HexID(24)
	} else {
		list = slices.DeleteFunc(list, func(old version) bool {
			if old["id"] != "null" {
				return false
			}
			replaced = bodies(old)
			return true
		})
	}
	v["modified"] = tx.Now()
	setVersions(tx, o, append([]version{v}, list...))
	return replaced
}

// admitObject checks what a request says about an object to be, of which it is
// to keep the headers that it returns.
func admitObject(tx *account.Tx, b *account.Resource, key string, header map[string]string) (map[string]any, error) {
	if len(key) > 1024 {
		return nil, errorf("KeyTooLongError", "Your key is too long")
	}
	if b.Status == "deleting" {
		return nil, errorf("OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
	}
	if acl := header["x-amz-acl"]; acl != "" && acl != "bucket-owner-full-control" && acl != "private" && ownership(b.Props) == "BucketOwnerEnforced" {
		return nil, errorf("AccessControlListNotSupported", "The bucket does not allow ACLs")
	}
	if err := customerKey(b, header); err != nil {
		return nil, err
	}
	// Objects there can't be read until they are restored.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/archived-objects.html
	if class := header["x-amz-storage-class"]; class == "GLACIER" || class == "DEEP_ARCHIVE" {
		return nil, account.NotModelled("the storage class %s is not modelled by the sandbox", class)
	}
	if _, err := parseTags(header["x-amz-tagging"]); err != nil {
		return nil, err
	}
	kept := map[string]any{}
	for k, value := range header {
		if strings.HasPrefix(k, "x-amz-meta-") || strings.HasPrefix(k, "x-amz-checksum-") && k != "x-amz-checksum-mode" && k != "x-amz-checksum-algorithm" ||
			slices.Contains([]string{"content-type", "cache-control", "content-disposition", "content-language", "content-encoding", "expires", "x-amz-storage-class", "x-amz-tagging", "x-amz-website-redirect-location"}, k) {
			kept[k] = value
		}
	}
	if e := strings.TrimPrefix(strings.TrimPrefix(header["content-encoding"], "aws-chunked"), ","); e != "" {
		kept["content-encoding"] = e
	} else {
		delete(kept, "content-encoding")
	}
	if kept["content-type"] == nil {
		kept["content-type"] = "binary/octet-stream"
	}
	return kept, encrypt(tx, b, key, header, kept)
}

// put makes a version of an object of what was kept, and checks what the request
// says about lock and encryption. It returns the bodies of what it replaces.
func put(tx *account.Tx, b *account.Resource, key string, w *work, header map[string]string) (version, []Body, error) {
	kept, err := admitObject(tx, b, key, header)
	if err != nil {
		return nil, nil, err
	}
	v := version{"size": int(w.body.Size), "etag": w.etag(), "bodies": []any{w.body.value()}, "headers": kept}
	if err := lock(tx, b, header, v); err != nil {
		return nil, nil, err
	}
	return v, add(tx, b, key, v), nil
}

// encrypt decides how an object is encrypted: as the request says, else as the
// bucket does.
func encrypt(tx *account.Tx, b *account.Resource, object string, header map[string]string, kept map[string]any) error {
	algorithm, key := header["x-amz-server-side-encryption"], header["x-amz-server-side-encryption-aws-kms-key-id"]
	switch algorithm {
	case "":
		if key != "" {
			return errorf("InvalidArgument", "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
		}
		algorithm, key = encryption(b.Props)
	case "AES256", "aws:kms", "aws:kms:dsse":
	default:
		return errorf("InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid. Supported value: AES256.")
	}
	kept["x-amz-server-side-encryption"] = algorithm
	if algorithm == "AES256" {
		return nil
	}
	if key == "" {
		key = "alias/aws/s3"
	}
	k, err := usable(tx, b, object, key, "kms:GenerateDataKey")
	if err != nil {
		return err
	}
	kept["x-amz-server-side-encryption-aws-kms-key-id"] = kms.ARN(k)
	return nil
}

// usable asks KMS for a key in the name of the caller, for an object; KMS's
// refusals carry S3's prefix.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#encryption-context
func usable(tx *account.Tx, b *account.Resource, object, key, action string) (*account.Resource, error) {
	context := map[string]string{"kms:ViaService": "s3." + tx.Region() + ".amazonaws.com", "kms:EncryptionContext:aws:s3:arn": arn(tx, b.ID+"/"+object)}
	if bucketKey(b.Props) {
		context["kms:EncryptionContext:aws:s3:arn"] = arn(tx, b.ID)
	}
	k, err := kms.Usable(tx, key, "", context, action)
	if err == nil {
		return k, nil
	}
	code, message, _ := strings.Cut(err.Error(), ": ")
	if code == "AccessDeniedException" {
		return nil, errorf("AccessDenied", "%s", message)
	}
	return nil, errorf("KMS."+code, "%s", message)
}

// lock gives a version its retention and hold: what the request asks for, else
// the bucket's default.
func lock(tx *account.Tx, b *account.Resource, header map[string]string, v version) error {
	mode, until, hold := header["x-amz-object-lock-mode"], header["x-amz-object-lock-retain-until-date"], header["x-amz-object-lock-legal-hold"]
	asked := mode != "" || until != "" || hold != ""
	if asked && !locked(b.Props) {
		return errorf("InvalidRequest", "Bucket is missing Object Lock Configuration")
	}
	if (mode == "") != (until == "") {
		return errorf("InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	rule := props.Map(b.Props, "ObjectLockConfiguration", "Rule", "DefaultRetention")
	if (asked || rule != nil) && header["content-md5"] == "" && !hasChecksum(header) {
		return errorf("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
	}
	switch {
	case mode != "":
		at, err := time.Parse(time.RFC3339, until)
		if err != nil || mode != "GOVERNANCE" && mode != "COMPLIANCE" {
			return errorf("InvalidArgument", "Unknown wormMode directive or date.")
		}
		if !at.After(tx.Now()) {
			return errorf("InvalidArgument", "The retain until date must be in the future!")
		}
		v["mode"], v["until"] = mode, at
	case rule != nil:
		v["mode"] = props.Str(rule, "Mode")
		v["until"] = tx.Now().AddDate(props.Int(rule, 0, "Years"), 0, props.Int(rule, 0, "Days"))
	}
	if hold == "ON" {
		v["hold"] = true
	}
	return nil
}

func hasChecksum(header map[string]string) bool {
	for k := range header {
		if strings.HasPrefix(k, "x-amz-checksum-") && k != "x-amz-checksum-mode" && k != "x-amz-checksum-algorithm" {
			return true
		}
	}
	return false
}

// held refuses to remove a version that a retention or hold protects.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
func held(tx *account.Tx, v version, bypass bool) error {
	until, ok := v["until"].(time.Time)
	protected := ok && until.After(tx.Now()) && (v["mode"] == "COMPLIANCE" || !bypass)
	if protected || v["hold"] == true {
		return errorf("AccessDenied", "Access Denied because object protected by object lock.")
	}
	return nil
}

// removal is the outcome of deleting an object or version.
type removal struct {
	id     string // of the version removed or the marker made
	marker bool   // a marker was made or removed
	bodies []Body // of what is no more
}

// remove deletes the version of that id for good; without one it deletes the
// object as the bucket's versioning has it. What isn't there is gone already.
func remove(tx *account.Tx, b *account.Resource, key, id string, bypass bool) (removal, error) {
	o := tx.Get(TypeObject, b.ID+"/"+key)
	if id == "" {
		switch versioning(b.Props) {
		case "":
			out := removal{}
			if o != nil {
				for _, v := range versions(o) {
					out.bodies = append(out.bodies, bodies(v)...)
				}
				tx.Drop(TypeObject, o.ID)
			}
			return out, nil
		case "Suspended":
			if o != nil {
				for _, v := range versions(o) {
					if v["id"] == "null" {
						if err := held(tx, v, bypass); err != nil {
							return removal{}, err
						}
					}
				}
			}
		}
		v := version{"marker": true}
		replaced := add(tx, b, key, v)
		return removal{id: props.Str(v, "id"), marker: true, bodies: replaced}, nil
	}
	if o == nil {
		return removal{id: id}, nil
	}
	out := removal{id: id}
	var left []version
	for _, v := range versions(o) {
		if v["id"] != id {
			left = append(left, v)
			continue
		}
		if err := held(tx, v, bypass); err != nil {
			return removal{}, err
		}
		out.marker, out.bodies = v["marker"] == true, bodies(v)
	}
	setVersions(tx, o, left)
	return out, nil
}

// Empty tells whether a bucket holds no version of any object.
func Empty(tx *account.Tx, bucket string) bool { return len(objects(tx, bucket)) == 0 }
