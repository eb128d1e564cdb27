package wire_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/poolhouse/poolhouse/internal/testkit"
)

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// FuzzSigned sends authentic requests with hostile content to every protocol.
func FuzzSigned(f *testing.F) {
	for _, seed := range []struct{ service, contentType, target, body string }{
		{"iam", "application/x-www-form-urlencoded", "", "Action=ListRoles&A.member.1=x&A.member.01=y&A=1&A.B.1.C=2"},
		{"ec2", "application/x-www-form-urlencoded", "", "Action=DescribeVpcs&Filter.1.Value.1=a&Filter.99999999999999999999=b&..=1"},
		{"kms", "application/x-amz-json-1.1", "TrentService.DescribeKey", `{"KeyId":{"a":[1,null,"\u0000"]}}`},
		{"route53", "application/xml", "", `<a xmlns:x="y" x:type="z"><b>1</b><b><c/></b></a>`},
		{"s3", "", "", "5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n"},
	} {
		f.Add(seed.service, seed.contentType, seed.target, []byte(seed.body))
	}
	s := newSetup(nil)
	f.Fuzz(func(t *testing.T, service, contentType, target string, body []byte) {
		if strings.ContainsFunc(contentType+target, unicode.IsControl) {
			t.Skip("HTTP has no such headers")
		}
		path := map[string]string{"s3": "/bucket/key", "route53": "/2013-04-01/tags/hostedzone/Z1"}[service]
		method := map[string]string{"s3": http.MethodPut}[service]
		if method == "" {
			method = http.MethodPost
		}
		r := httptest.NewRequest(method, testkit.Endpoint+"/"+path, bytes.NewReader(body))
		r.URL.Path = path
		if path == "" {
			r.URL.Path = "/"
		}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Amz-Target", target)
		hash := sum(body)
		if service == "s3" {
			hash = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		}
		r.Header.Set("X-Amz-Content-Sha256", hash)
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, r, hash, service, "us-east-1", time.Now()); err != nil {
			t.Skip(err)
		}
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if w.Code == http.StatusForbidden {
			t.Errorf("an authentic request of %s was refused: %s", service, w.Body)
		}
	})
}

// FuzzUnsigned sends requests with hostile signatures.
func FuzzUnsigned(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0", "20260101T000000Z", "Action=ListRoles")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/2/3/4/aws4_request&X-Amz-Date=2&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Expires=99999999999999999999")
	s := newSetup(nil)
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		r := httptest.NewRequest(http.MethodGet, testkit.Endpoint+"/bucket", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", auth)
		r.Header.Set("X-Amz-Date", date)
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if w.Code < 400 {
			t.Errorf("got %d for a request without a valid signature", w.Code)
		}
	})
}
