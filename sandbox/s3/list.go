package s3

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

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
