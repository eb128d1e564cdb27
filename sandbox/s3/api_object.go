package s3

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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

func putObject(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	key, h := r.String("Key"), headers(r)
	body := string(r.Body)
	source := h["x-amz-copy-source"]
	if source != "" {
		v, err := copied(tx, source)
		if err != nil {
			return nil, err
		}
		body = props.Str(v, "body")
		if h["x-amz-metadata-directive"] != "REPLACE" {
			for k, x := range props.Map(v, "headers") {
				if !strings.HasPrefix(k, "x-amz-server-side-encryption") {
					h[k] = props.Str(x)
				}
			}
		}
	}
	if err := precondition(tx, b, key, h); err != nil {
		return nil, err
	}
	v, err := put(tx, b, key, body, h)
	if err != nil {
		return nil, err
	}
	out := answer("X-Amz-Version-Id", shownID(b, props.Str(v, "id")))
	for k, x := range props.Map(v, "headers") {
		if strings.HasPrefix(k, "x-amz-server-side-encryption") || strings.HasPrefix(k, "x-amz-checksum-") {
			http.Header(out).Set(k, props.Str(x))
		}
	}
	if source == "" {
		http.Header(out).Set("Etag", props.Str(v, "etag"))
		return wire.Raw{Header: out}, nil
	}
	http.Header(out).Set("Content-Type", "application/xml")
	content, err := xml.Marshal(struct {
		XMLName      xml.Name `xml:"CopyObjectResult"`
		ETag         string
		LastModified time.Time
	}{ETag: props.Str(v, "etag"), LastModified: tx.Now().UTC()})
	return wire.Raw{Header: out, Body: content}, err
}

// copied is the version that a copy's source names: bucket/key?versionId=id.
func copied(tx *account.Tx, source string) (version, error) {
	path, query, _ := strings.Cut(source, "?versionId=")
	path, err := url.PathUnescape(strings.TrimPrefix(path, "/"))
	bucket, key, ok := strings.Cut(path, "/")
	if err != nil || !ok {
		return nil, errorf("InvalidArgument", "Invalid copy source object key")
	}
	if _, err := Lookup(tx, bucket); err != nil {
		return nil, err
	}
	return find(tx, bucket, key, query)
}

// precondition refuses a write that another one overtook.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
func precondition(tx *account.Tx, b *account.Resource, key string, h map[string]string) error {
	v, err := find(tx, b.ID, key, "")
	exists := err == nil
	switch match := h["if-match"]; {
	case h["if-none-match"] == "*" && exists, match != "" && exists && strings.Trim(match, `"`) != strings.Trim(props.Str(v, "etag"), `"`):
		return errorf("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	case match != "" && !exists:
		return errorf("NoSuchKey", "The specified key does not exist.")
	}
	return nil
}

func getObject(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	h := headers(r)
	v, err := find(tx, b.ID, r.String("Key"), r.String("versionId"))
	if err != nil {
		if v["marker"] == true {
			// The refusal of a marker says that it is one.
			e, ok := err.(*account.Error)
			if ok {
				return wire.Raw{Status: e.Status, Header: answer("X-Amz-Delete-Marker", "true", "X-Amz-Version-Id", props.Str(v, "id"), "Content-Type", "application/xml"), Body: refusal(r, e)}, nil
			}
		}
		return nil, err
	}
	etag := props.Str(v, "etag")
	modified, _ := v["modified"].(time.Time)
	if m := h["if-match"]; m != "" && strings.Trim(m, `"`) != strings.Trim(etag, `"`) {
		return nil, errorf("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	if m := h["if-none-match"]; m != "" && (m == "*" || strings.Trim(m, `"`) == strings.Trim(etag, `"`)) {
		return wire.Raw{Status: http.StatusNotModified, Header: answer("Etag", etag)}, nil
	}
	kept := props.Map(v, "headers")
	if key := props.Str(kept, "x-amz-server-side-encryption-aws-kms-key-id"); key != "" {
		if _, err := usable(tx, key, "kms:Decrypt"); err != nil {
			return nil, err
		}
	}
	body, contentRange, err := slice(props.Str(v, "body"), h["range"])
	if err != nil {
		return nil, err
	}
	out := answer("Etag", etag, "Last-Modified", modified.UTC().Format(http.TimeFormat), "Accept-Ranges", "bytes", "Content-Length", strconv.Itoa(len(body)),
		"Content-Range", contentRange, "X-Amz-Version-Id", shownID(b, props.Str(v, "id")), "X-Amz-Object-Lock-Mode", props.Str(v, "mode"))
	for k, x := range kept {
		if k == "x-amz-tagging" || strings.HasPrefix(k, "x-amz-checksum-") && (h["x-amz-checksum-mode"] != "ENABLED" || contentRange != "") {
			continue
		}
		http.Header(out).Set(k, props.Str(x))
	}
	if until, ok := v["until"].(time.Time); ok {
		http.Header(out).Set("X-Amz-Object-Lock-Retain-Until-Date", wire.ISO(until))
	}
	if v["hold"] == true {
		http.Header(out).Set("X-Amz-Object-Lock-Legal-Hold", "ON")
	}
	status := http.StatusOK
	if contentRange != "" {
		status = http.StatusPartialContent
	}
	return wire.Raw{Status: status, Header: out, Body: []byte(body)}, nil
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

func deleteObject(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	out, err := remove(tx, b, r.String("Key"), r.String("versionId"), headers(r)["x-amz-bypass-governance-retention"] == "true")
	if err != nil {
		return nil, err
	}
	marker := ""
	if out.marker {
		marker = "true"
	}
	return wire.Raw{Status: http.StatusNoContent, Header: answer("X-Amz-Version-Id", out.id, "X-Amz-Delete-Marker", marker)}, nil
}

func deleteObjects(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
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

// listing is one page of keys, common prefixes rolled up.
type listing struct {
	prefix, delimiter string
	max               int
	encode            func(string) string
	encoding          any
	prefixes          wire.Flat
	count             int
	last              string // last key or prefix that fit
	truncated         bool
}

func newListing(r *wire.Request) (*listing, error) {
	l := &listing{prefix: r.String("prefix"), delimiter: r.String("delimiter"), max: min(r.Int("max-keys", 1000), 1000), encode: func(s string) string { return s }}
	if l.max < 0 {
		return nil, errorf("InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
	}
	switch r.String("encoding-type") {
	case "":
	case "url":
		l.encoding = "url"
		l.encode = func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/") }
	default:
		return nil, errorf("InvalidArgument", "Invalid Encoding Method specified in Request")
	}
	return l, nil
}

// take counts a key; true means that it is on the page by itself. A key that
// doesn't fit any more ends the page.
func (l *listing) take(key, after string) bool {
	if !strings.HasPrefix(key, l.prefix) || l.truncated {
		return false
	}
	name := key
	if l.delimiter != "" {
		if i := strings.Index(key[len(l.prefix):], l.delimiter); i >= 0 {
			name = key[:len(l.prefix)+i+len(l.delimiter)]
			if name == l.last || after != "" && strings.HasPrefix(after, name) {
				return false
			}
		}
	}
	if l.count >= l.max {
		l.truncated = true
		return false
	}
	l.count++
	l.last = name
	if name != key {
		l.prefixes = append(l.prefixes, map[string]any{"Prefix": l.encode(name)})
		return false
	}
	return true
}

func (l *listing) fields(b *account.Resource) map[string]any {
	return map[string]any{
		"Name": b.ID, "Prefix": l.encode(l.prefix), "MaxKeys": l.max, "IsTruncated": l.truncated, "CommonPrefixes": l.prefixes, "Delimiter": none(l.encode(l.delimiter)), "EncodingType": l.encoding,
	}
}

func content(l *listing, o *account.Resource, v version) map[string]any {
	return map[string]any{"Key": l.encode(keyOf(o)), "LastModified": v["modified"], "ETag": v["etag"], "Size": v["size"], "StorageClass": class(v)}
}

func class(v version) string {
	if c := props.Str(v, "headers", "x-amz-storage-class"); c != "" {
		return c
	}
	return "STANDARD"
}

// list takes the current versions after a key.
func list(tx *account.Tx, b *account.Resource, l *listing, after string) wire.Flat {
	var contents wire.Flat
	for _, o := range objects(tx, b.ID) {
		v := versions(o)[0]
		if v["marker"] == true || keyOf(o) <= after {
			continue
		}
		if l.take(keyOf(o), after) {
			contents = append(contents, content(l, o, v))
		}
	}
	return contents
}

func listObjectsV2(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	l, err := newListing(r)
	if err != nil {
		return nil, err
	}
	after := r.String("start-after")
	if token := r.String("continuation-token"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, errorf("InvalidArgument", "The continuation token provided is incorrect")
		}
		after = string(raw)
	}
	contents := list(tx, b, l, after)
	out := l.fields(b)
	out["Contents"], out["KeyCount"] = contents, l.count
	out["StartAfter"], out["ContinuationToken"] = none(r.String("start-after")), none(r.String("continuation-token"))
	if l.truncated {
		out["NextContinuationToken"] = base64.RawURLEncoding.EncodeToString([]byte(l.last))
	}
	return wire.Document{Root: "ListBucketResult", Fields: out}, nil
}

func listObjects(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	l, err := newListing(r)
	if err != nil {
		return nil, err
	}
	contents := list(tx, b, l, r.String("marker"))
	out := l.fields(b)
	out["Contents"], out["Marker"] = contents, r.String("marker")
	if l.truncated {
		out["NextMarker"] = l.encode(l.last)
	}
	return wire.Document{Root: "ListBucketResult", Fields: out}, nil
}

func listObjectVersions(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	l, err := newListing(r)
	if err != nil {
		return nil, err
	}
	keyMarker, idMarker := r.String("key-marker"), r.String("version-id-marker")
	if idMarker != "" && keyMarker == "" {
		return nil, errorf("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
	}
	var shown, markers wire.Flat
	lastID := ""
	for _, o := range objects(tx, b.ID) {
		key := keyOf(o)
		if key < keyMarker || key == keyMarker && idMarker == "" {
			continue
		}
		// Past the marker within its key: the versions after that id, which
		// may be gone.
		all := versions(o)
		for i, v := range all {
			if key == keyMarker && !behind(all, i, idMarker) {
				continue
			}
			before := l.count
			if !l.take(key, keyMarker) {
				if l.count > before {
					lastID = ""
				}
				continue
			}
			lastID = props.Str(v, "id")
			m := map[string]any{"Key": l.encode(key), "VersionId": v["id"], "IsLatest": i == 0, "LastModified": v["modified"]}
			if v["marker"] == true {
				markers = append(markers, m)
				continue
			}
			m["ETag"], m["Size"], m["StorageClass"] = v["etag"], v["size"], class(v)
			shown = append(shown, m)
		}
	}
	out := l.fields(b)
	out["Version"], out["DeleteMarker"], out["KeyMarker"], out["VersionIdMarker"] = shown, markers, l.encode(keyMarker), idMarker
	if l.truncated {
		out["NextKeyMarker"], out["NextVersionIdMarker"] = l.encode(l.last), none(lastID)
	}
	return wire.Document{Root: "ListVersionsResult", Fields: out}, nil
}

// behind tells whether the version at i comes after the one of an id.
func behind(all []version, i int, id string) bool {
	at := slices.IndexFunc(all, func(v version) bool { return v["id"] == id })
	if at >= 0 {
		return i > at
	}
	return props.Str(all[i], "id") > id || id == "null"
}

func listMultipartUploads(_ *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	return wire.Document{Root: "ListMultipartUploadsResult", Fields: map[string]any{"Bucket": b.ID, "Prefix": r.String("prefix"), "MaxUploads": 1000, "IsTruncated": false}}, nil
}

func putObjectRetention(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		Mode            string
		RetainUntilDate time.Time
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	return nil, relock(tx, r, b, func(v version) error {
		until, _ := v["until"].(time.Time)
		shorter := until.After(tx.Now()) && (in.RetainUntilDate.Before(until) || in.Mode != v["mode"])
		if shorter && (v["mode"] == "COMPLIANCE" && in.RetainUntilDate.Before(until) || v["mode"] == "GOVERNANCE" && headers(r)["x-amz-bypass-governance-retention"] != "true") {
			return errorf("AccessDenied", "Access Denied because object protected by object lock.")
		}
		delete(v, "mode")
		delete(v, "until")
		if in.Mode != "" {
			v["mode"], v["until"] = in.Mode, in.RetainUntilDate
		}
		return nil
	})
}

func putObjectLegalHold(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct{ Status string }
	if err := xml.Unmarshal(r.Body, &in); err != nil || in.Status != "ON" && in.Status != "OFF" {
		return nil, malformed()
	}
	return nil, relock(tx, r, b, func(v version) error {
		v["hold"] = in.Status == "ON"
		return nil
	})
}

func relock(tx *account.Tx, r *wire.Request, b *account.Resource, edit func(version) error) error {
	if !locked(b.Props) {
		return errorf("InvalidRequest", "Bucket is missing Object Lock Configuration")
	}
	v, err := find(tx, b.ID, r.String("Key"), r.String("versionId"))
	if err != nil {
		return err
	}
	return edit(v)
}
