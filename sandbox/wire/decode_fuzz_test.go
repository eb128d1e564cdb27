package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
)

// depth is how deeply a decoded value is nested, and size how many values it
// is made of.
func measure(v any) (depth, size int) {
	var below []any
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			below = append(below, x)
		}
	case []any:
		below = v
	}
	size = 1
	for _, x := range below {
		d, n := measure(x)
		depth, size = max(depth, d), size+n
	}
	return depth + 1, size
}

// bounded fails the test for a decoded value that is larger than inputs may be.
func bounded(t *testing.T, v any, bytes int) {
	t.Helper()
	depth, size := measure(v)
	if depth > maxDepth+3 || size > 3*maxNodes || size > 64*(bytes+1) {
		t.Errorf("%d bytes became %d values, %d deep", bytes, size, depth)
	}
}

func FuzzForm(f *testing.F) {
	f.Add("Action=A&B.member.1.C=1&B.member.2.C=2&B=3&B.1=4", false)
	f.Add("Filter.1.Value.1=a&Filter.01.Value.1=b&Filter.-1=c&.=d&..=e", true)
	f.Add(strings.Repeat("a.", 70)+"=1", false)
	f.Fuzz(func(t *testing.T, body string, ec2 bool) {
		form, _ := url.ParseQuery(body)
		got, err := decodeForm(form, ec2)
		if err == nil {
			bounded(t, got, len(body))
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, ``, `null`, `[]`, `{"a":[{"b":null},1e999,"\ud800"]}`, `{"a":{"a":{"a":{}}}}`, "{\"a\":\"\\", strings.Repeat(`{"a":`, 70)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeJSON(body)
		if err != nil {
			return
		}
		bounded(t, got, len(body))
		if len(bytes.TrimSpace(body)) > 0 && !json.Valid(body) {
			t.Errorf("took %q for JSON", body)
		}
	})
}

func FuzzXML(f *testing.F) {
	for _, s := range []string{``, `<a/>`, `<a><b>1</b><b>2</b><c d:type="x"/></a>`, `<a/><b/>`, `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, `<?xml version="1.0" encoding="x"?><a/>`, strings.Repeat("<a>", 70)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := decodeXML(body); err == nil {
			bounded(t, got, len(body))
		}
	})
}

// FuzzPath looks for paths that are matched and yield labels that can't have
// been in them.
func FuzzPath(f *testing.F) {
	patterns := []string{"/", "/{Bucket}", "/{Bucket}/{Key+}", "/clusters/{name}/node-groups/{nodegroupName}", "/2013-04-01/hostedzone/{Id}/rrset/"}
	for _, s := range []string{"/", "//", "/a", "/a/b%2Fc", "/%2e%2e/%00", "/clusters/a%2Fb/node-groups/c/", "/2013-04-01/hostedzone/Z/rrset", "/a/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, pattern := range patterns {
			labels, ok := matchPath(pattern, path)
			if !ok {
				continue
			}
			if len(labels) != strings.Count(pattern, "{") {
				t.Errorf("%s matched %q with %d labels", pattern, path, len(labels))
			}
			for name, v := range labels {
				if v == "" || len(v) > len(path) {
					t.Errorf("%s matched %q with %s = %q", pattern, path, name, v)
				}
			}
		}
	})
}

// FuzzChunks reads chunked uploads of every form. What comes out was in it, and
// without the secret nobody makes a signed one.
func FuzzChunks(f *testing.F) {
	f.Add(streamUnsignedTrailer, "x-amz-checksum-crc32", []byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"))
	f.Add(streamSigned, "", []byte("5;chunk-signature=00\r\nhello\r\n0;chunk-signature=00\r\n\r\n"))
	f.Add(streamSignedTrailer, "a,b", []byte("0;chunk-signature=\r\na:1\r\nb:2\r\nx-amz-trailer-signature:0\r\n\r\n"))
	f.Add(streamUnsignedTrailer, "", []byte("7fffffff\r\nx\r\n"))
	f.Add(streamUnsignedTrailer, "", []byte("-1\r\n"))
	f.Fuzz(func(t *testing.T, mode, trailers string, body []byte) {
		s := &signature{date: "20260101", region: "us-east-1", service: "s3", amzDate: "20260101T000000Z", signature: strings.Repeat("0", 64), trailerNames: trailers}
		got, err := io.ReadAll(s.chunks(mode, bytes.NewReader(body), "secret"))
		if err != nil {
			return
		}
		if mode == streamSigned || mode == streamSignedTrailer {
			t.Errorf("took %q as signed", body)
		}
		if len(got) > len(body) || len(got) > 0 && !bytes.Contains(body, got[:1]) {
			t.Errorf("%d bytes became %d", len(body), len(got))
		}
	})
}

// FuzzSignature reads signatures out of headers and queries.
func FuzzSignature(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request, SignedHeaders=host;x, Signature=0", "20260101T000000Z", "")
	f.Add("AWS4-HMAC-SHA256 Credential=/////, SignedHeaders=;, Signature=", "", "")
	f.Add("AWS3", "", "")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20260101/b/c/aws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Expires=-9223372036854775808")
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		if strings.ContainsFunc(auth+date, unicode.IsControl) {
			t.Skip("HTTP has no such headers")
		}
		r := httptest.NewRequest(http.MethodGet, "https://sandbox.invalid/", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", auth)
		r.Header.Set("X-Amz-Date", date)
		s, flaw := parseSignature(r)
		if flaw != nil || s == nil {
			return
		}
		if s.key == "" || s.service == "" || len(s.signed) == 0 {
			t.Errorf("%q %q is read as %+v", auth, query, s)
		}
		if s.presigned && (s.expires < 0 || s.expires > maxExpiry) {
			t.Errorf("%q expires after %s", query, s.expires/time.Second)
		}
	})
}
