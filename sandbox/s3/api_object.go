package s3

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type handler func(*account.Tx, *wire.Request, *account.Resource) (any, error)

// onBucket looks the bucket up and checks who is said to own it.
func onBucket(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		b, err := Lookup(tx, r.String("Bucket"))
		if err != nil {
			return nil, err
		}
		r.Resource = arn(tx, strings.TrimSuffix(b.ID+"/"+r.String("Key"), "/"))
		if owner := headers(r)["x-amz-expected-bucket-owner"]; owner != "" && owner != tx.AccountID() {
			return nil, errorf("AccessDenied", "Access Denied")
		}
		return do(tx, r, b)
	}
}

// headers are a request's headers by lower-case names.
func headers(r *wire.Request) map[string]string {
	out := map[string]string{}
	for k, v := range r.Header {
		if len(v) > 0 {
			out[strings.ToLower(k)] = v[0]
		}
	}
	return out
}

// answer makes the headers of an answer.
func answer(pairs ...string) map[string][]string {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			h.Set(pairs[i], pairs[i+1])
		}
	}
	return h
}

// shownID is a version id as answers have it: none without versioning.
func shownID(b *account.Resource, id string) string {
	if versioning(b.Props) == "" {
		return ""
	}
	return id
}

// admitPut checks what can be before the body comes.
func admitPut(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	h := headers(r)
	if err := precondition(tx, b, r.String("Key"), h); err != nil {
		return nil, err
	}
	_, err := admitObject(tx, b, r.String("Key"), h)
	return nil, err
}

func (a *api) putObject(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	key, h := r.String("Key"), headers(r)
	if err := precondition(tx, b, key, h); err != nil {
		return nil, err
	}
	v, replaced, err := put(tx, b, key, workOf(r), h)
	if err != nil {
		return nil, err
	}
	a.forget(r, replaced)
	out := made(b, v)
	out.Set("Etag", props.Str(v, "etag"))
	return wire.Raw{Header: out}, nil
}

// made are the headers that tell of a new version.
func made(b *account.Resource, v version) http.Header {
	out := http.Header(answer("X-Amz-Version-Id", shownID(b, props.Str(v, "id"))))
	for k, x := range props.Map(v, "headers") {
		if strings.HasPrefix(k, "x-amz-server-side-encryption") || strings.HasPrefix(k, "x-amz-checksum-") {
			out.Set(k, props.Str(x))
		}
	}
	return out
}

// sourced finds what a copy reads, of which a range header may ask for a part.
func sourced(tx *account.Tx, r *wire.Request) (*work, error) {
	h, w := headers(r), workOf(r)
	v, err := copied(tx, h["x-amz-copy-source"])
	if err != nil {
		return nil, err
	}
	if err := sourceCondition(v, h); err != nil {
		return nil, err
	}
	if key := props.Str(v, "headers", "x-amz-server-side-encryption-aws-kms-key-id"); key != "" {
		bucket, object := source(h["x-amz-copy-source"])
		from, err := Lookup(tx, bucket)
		if err != nil {
			return nil, err
		}
		if _, err := usable(tx, from, object, key, "kms:Decrypt"); err != nil {
			return nil, err
		}
	}
	size := int64(props.Int(v, 0, "size"))
	w.copied, w.source, w.length = v, bodies(v), size
	if spec := h["x-amz-copy-source-range"]; spec != "" {
		first, n, shown, err := span(size, spec)
		if err != nil || shown == "" {
			return nil, errorf("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
		}
		w.from, w.length = first, n
	}
	if w.length > maxBody {
		return nil, errorf("InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxBody))
	}
	return w, nil
}

// sourceCondition compares a copy's source with what the request supposes.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
func sourceCondition(v version, h map[string]string) error {
	modified, _ := v["modified"].(time.Time)
	status, err := condition(props.Str(v, "etag"), modified, h["x-amz-copy-source-if-match"], h["x-amz-copy-source-if-none-match"], h["x-amz-copy-source-if-modified-since"], h["x-amz-copy-source-if-unmodified-since"])
	if status != 0 {
		return failed()
	}
	return err
}

// likeSource adds the source's own headers to those of a copy that doesn't
// replace them.
func likeSource(h map[string]string, v version) map[string]string {
	for k, x := range props.Map(v, "headers") {
		if strings.HasPrefix(k, "x-amz-checksum-") {
			continue // those of a copy are its own
		}
		tagging, replaced := k == "x-amz-tagging", h["x-amz-metadata-directive"] == "REPLACE"
		if tagging {
			replaced = h["x-amz-tagging-directive"] == "REPLACE"
		}
		if !replaced && !strings.HasPrefix(k, "x-amz-server-side-encryption") && (k != "x-amz-storage-class" || h[k] == "") {
			h[k] = props.Str(x)
		}
	}
	return h
}

func admitCopy(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	w, err := sourced(tx, r)
	if err != nil {
		return nil, err
	}
	h := headers(r)
	if bucket, key := source(h["x-amz-copy-source"]); bucket == b.ID && key == r.String("Key") && !strings.Contains(h["x-amz-copy-source"], "versionId=") && h["x-amz-metadata-directive"] != "REPLACE" && h["x-amz-storage-class"] == "" && h["x-amz-server-side-encryption"] == "" {
		return nil, errorf("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	if err := precondition(tx, b, r.String("Key"), h); err != nil {
		return nil, err
	}
	if w.algorithm, err = copyAlgorithm(h, w.copied); err != nil {
		return nil, err
	}
	_, err = admitObject(tx, b, r.String("Key"), likeSource(h, w.copied))
	return nil, err
}

// copyAlgorithm is what the checksum of a copy is computed by: what was asked for, or
// that of the source's checksum, or CRC-64/NVME.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
func copyAlgorithm(h map[string]string, v version) (string, error) {
	asked, err := checksumOf(map[string]string{"x-amz-checksum-algorithm": h["x-amz-checksum-algorithm"]})
	if err != nil || asked.algorithm != "" {
		return asked.algorithm, err
	}
	for k := range props.Map(v, "headers") {
		if isChecksum(k) {
			return strings.TrimPrefix(k, "x-amz-checksum-"), nil
		}
	}
	return "crc64nvme", nil
}

func (a *api) copyObject(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	w, key := workOf(r), r.String("Key")
	h := likeSource(headers(r), w.copied)
	h["x-amz-checksum-"+w.algorithm], h["x-amz-checksum-type"] = w.sum, checksum{whole: true}.kind()
	if err := precondition(tx, b, key, h); err != nil {
		return nil, err
	}
	v, replaced, err := put(tx, b, key, w, h)
	if err != nil {
		return nil, err
	}
	a.forget(r, replaced)
	out := made(b, v)
	fields := map[string]any{"ETag": v["etag"], "LastModified": v["modified"]}
	told(out, props.Map(v, "headers"), fields)
	return wire.Headed{Header: out, Out: wire.Document{Root: "CopyObjectResult", Fields: fields}}, nil
}

// told moves an object's checksums from the headers of an answer to its
// document.
func told(out http.Header, kept, fields map[string]any) {
	for k, x := range kept {
		if isChecksum(k) {
			fields["Checksum"+strings.ToUpper(strings.TrimPrefix(k, "x-amz-checksum-"))] = x
			if kind := kept["x-amz-checksum-type"]; kind != nil {
				fields["ChecksumType"] = kind
			}
			out.Del(k)
		}
	}
	out.Del("X-Amz-Checksum-Type")
}

// source are the bucket and key that a copy's source names.
func source(header string) (bucket, key string) {
	path, _, _ := strings.Cut(header, "?versionId=")
	if plain, err := url.PathUnescape(strings.TrimPrefix(path, "/")); err == nil {
		bucket, key, _ = strings.Cut(plain, "/")
	}
	return bucket, key
}

// copied is the version that a copy's source names: bucket/key?versionId=id.
func copied(tx *account.Tx, header string) (version, error) {
	bucket, key := source(header)
	if bucket == "" || key == "" {
		return nil, errorf("InvalidArgument", "Invalid copy source object key")
	}
	if _, err := Lookup(tx, bucket); err != nil {
		return nil, err
	}
	_, id, _ := strings.Cut(header, "?versionId=")
	return find(tx, bucket, key, id)
}

// precondition refuses a write that another one overtook.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
func precondition(tx *account.Tx, b *account.Resource, key string, h map[string]string) error {
	v, err := find(tx, b.ID, key, "")
	exists := err == nil
	switch match := h["if-match"]; {
	case h["if-none-match"] == "*" && exists, match != "" && exists && strings.Trim(match, `"`) != strings.Trim(props.Str(v, "etag"), `"`):
		return failed()
	case match != "" && !exists:
		return errorf("NoSuchKey", "The specified key does not exist.")
	}
	return nil
}

// refusal is an error's document, for an answer with headers of its own.
func refusal(r *wire.Request, e *account.Error) []byte {
	b, err := xml.Marshal(struct {
		XMLName                  xml.Name `xml:"Error"`
		Code, Message, RequestId string
	}{Code: e.Code, Message: e.Message, RequestId: r.ID})
	if err != nil {
		return nil
	}
	return b
}

func (a *api) deleteObject(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	out, err := remove(tx, b, r.String("Key"), r.String("versionId"), headers(r)["x-amz-bypass-governance-retention"] == "true")
	if err != nil {
		return nil, err
	}
	a.forget(r, out.bodies)
	marker := ""
	if out.marker {
		marker = "true"
	}
	return wire.Raw{Status: http.StatusNoContent, Header: answer("X-Amz-Version-Id", out.id, "X-Amz-Delete-Marker", marker)}, nil
}

func (a *api) deleteObjects(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	h := headers(r)
	var in struct {
		Quiet   bool
		Objects []struct{ Key, VersionId string } `xml:"Object"`
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil || len(in.Objects) == 0 || len(in.Objects) > 1000 {
		return nil, malformed()
	}
	if h["content-md5"] == "" && !hasChecksum(h) {
		return nil, errorf("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	var deleted, failed wire.Flat
	for _, o := range in.Objects {
		out, err := remove(tx, b, o.Key, o.VersionId, h["x-amz-bypass-governance-retention"] == "true")
		if err != nil {
			code, message, _ := strings.Cut(err.Error(), ": ")
			failed = append(failed, map[string]any{"Key": o.Key, "VersionId": none(o.VersionId), "Code": code, "Message": message})
			continue
		}
		a.forget(r, out.bodies)
		if in.Quiet {
			continue
		}
		d := map[string]any{"Key": o.Key, "VersionId": none(o.VersionId)}
		if out.marker {
			d["DeleteMarker"], d["DeleteMarkerVersionId"] = true, out.id
		}
		deleted = append(deleted, d)
	}
	return wire.Document{Root: "DeleteResult", Fields: map[string]any{"Deleted": deleted, "Error": failed}}, nil
}

// none leaves an element out if it would be empty.
func none(s string) any {
	if s == "" {
		return nil
	}
	return s
}
