package s3

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// attributes are what can be asked of an object without its body.
var attributes = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

// getObjectAttributes says of an object what is asked for. Of parts it says how
// many there are: each part's checksum is not kept.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
func getObjectAttributes(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	v, err := find(tx, b.ID, r.String("Key"), r.String("versionId"))
	if err != nil {
		return nil, err
	}
	kept := props.Map(v, "headers")
	if key := props.Str(kept, "x-amz-server-side-encryption-aws-kms-key-id"); key != "" {
		if _, err := usable(tx, b, r.String("Key"), key, "kms:Decrypt"); err != nil {
			return nil, err
		}
	}
	out := map[string]any{}
	// Clients write them into one header, or into several.
	var asked []string
	for k, list := range r.Header {
		if strings.EqualFold(k, "x-amz-object-attributes") {
			asked = append(asked, strings.FieldsFunc(strings.Join(list, ","), func(c rune) bool { return c == ',' || c == ' ' })...)
		}
	}
	if len(asked) == 0 {
		return nil, errorf("InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	for _, a := range asked {
		switch {
		case !slices.Contains(attributes, a):
			return nil, errorf("InvalidArgument", "Invalid attribute name specified.")
		case a == "ETag":
			out[a] = strings.Trim(props.Str(v, "etag"), `"`)
		case a == "StorageClass":
			out[a] = props.Str(kept, "x-amz-storage-class")
			if out[a] == "" {
				out[a] = "STANDARD"
			}
		case a == "ObjectSize":
			out[a] = props.Int(v, 0, "size")
		case a == "Checksum":
			if c := sums(kept); len(c) > 0 {
				out[a] = c
			}
		case a == "ObjectParts":
			if n := len(props.List(v, "parts")); n > 0 {
				out[a] = map[string]any{"PartsCount": n}
			}
		}
	}
	modified, _ := v["modified"].(time.Time)
	header := http.Header(answer("X-Amz-Version-Id", shownID(b, props.Str(v, "id")), "Last-Modified", modified.UTC().Format(http.TimeFormat)))
	return wire.Headed{Header: header, Out: wire.Document{Root: "GetObjectAttributesResponse", Fields: out}}, nil
}

// sums are the checksums of an object, by the names that AWS has for them.
func sums(kept map[string]any) map[string]any {
	out := map[string]any{}
	for k, x := range kept {
		switch name := strings.ToUpper(strings.TrimPrefix(k, "x-amz-checksum-")); {
		case isChecksum(k):
			out["Checksum"+name] = props.Str(x)
		case k == "x-amz-checksum-type":
			out["ChecksumType"] = props.Str(x)
		}
	}
	return out
}

// getObjectACL is the owner's full control: where ACLs are off, and where only
// canned ones are taken, nobody else has a grant that is modelled.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
func getObjectACL(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	if _, err := find(tx, b.ID, r.String("Key"), r.String("versionId")); err != nil {
		return nil, err
	}
	return getBucketACL(tx, r, b)
}

// customerKey refuses encryption with a customer's key: a bucket takes none
// unless it says that it blocks no kind of encryption, and then it isn't modelled.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/blocking-unblocking-s3-c-encryption-gpb.html
func customerKey(b *account.Resource, header map[string]string) error {
	if header["x-amz-server-side-encryption-customer-algorithm"] == "" {
		return nil
	}
	for _, rule := range props.Maps(b.Props, "BucketEncryption", "ServerSideEncryptionConfiguration") {
		if slices.Contains(props.Strs(rule, "BlockedEncryptionTypes", "EncryptionType"), "NONE") {
			return account.NotModelled("encryption with keys of customers (SSE-C) is not modelled by the sandbox")
		}
	}
	return errorf("AccessDenied", "Access Denied")
}
