package controlplane

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// signed is a request to STS as the AWS CLI signs it, with changes.
func signed(change func(*url.URL, url.Values)) string {
	u := &url.URL{Scheme: "https", Host: "sts.us-east-1.amazonaws.com", Path: "/"}
	q := url.Values{
		"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}, "X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {"AKIA/20261129/us-east-1/sts/aws4_request"},
		"X-Amz-Date": {"20261129T000000Z"}, "X-Amz-Expires": {"60"}, "X-Amz-SignedHeaders": {"host;x-k8s-aws-id"}, "X-Amz-Signature": {"0"},
	}
	if change != nil {
		change(u, q)
	}
	u.RawQuery = q.Encode()
	return tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(u.String()))
}

// A token is the one request to STS that proves who somebody is to one cluster.
func TestReadToken(t *testing.T) {
	t.Parallel()
	set := func(k, v string) string { return signed(func(_ *url.URL, q url.Values) { q.Set(k, v) }) }
	for token, want := range map[string]string{
		signed(nil):          "",
		signed(nil) + "==":   "",
		"":                   "no token of EKS",
		"a.b.c":              "no token of EKS",
		tokenPrefix + "%":    "not base64",
		tokenPrefix + "AAAA": "no request to STS",
		tokenPrefix + strings.Repeat("A", mostToken):                             "no token of EKS",
		signed(func(u *url.URL, _ url.Values) { u.Path = "/x" }):                 "no request to STS",
		signed(func(u *url.URL, _ url.Values) { u.Scheme = "ftp" }):              "no request to STS",
		signed(func(u *url.URL, _ url.Values) { u.User = url.User("x") }):        "no request to STS",
		set("Action", "AssumeRole"):                                              "is not GetCallerIdentity",
		set("RoleArn", "x"):                                                      `has the parameter "RoleArn"`,
		signed(func(_ *url.URL, q url.Values) { q.Add("Action", "AssumeRole") }): `has the parameter "Action"`,
		set("X-Amz-Expires", "901"):                                              "for more than 900 seconds",
		set("X-Amz-Expires", "-1"):                                               "for more than 900 seconds",
		signed(func(_ *url.URL, q url.Values) { q.Del("X-Amz-Expires") }):        "for more than 900 seconds",
		set("X-Amz-SignedHeaders", "host"):                                       "names no cluster",
	} {
		_, err := readToken(token)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60s: %v, want %q", token, err, want)
		}
	}
}

func FuzzReadToken(f *testing.F) {
	f.Add(signed(nil))
	f.Add(tokenPrefix)
	f.Fuzz(func(t *testing.T, token string) {
		u, err := readToken(token)
		if err == nil && (u.Query().Get("Action") != "GetCallerIdentity" || len(u.Query()["Action"]) != 1) {
			t.Errorf("%q is taken for %s", token, u)
		}
	})
}

// The webhook answers a control plane by its own secret alone.
func TestWebhookAsksForTheSecret(t *testing.T) {
	t.Parallel()
	c := &Clusters{running: map[string]*running{"A": {cluster: "a", secret: "of a"}, "B": {cluster: "b", secret: "of b"}}}
	h := c.webhook()
	for _, tt := range []struct {
		path, secret, body string
		status             int
		want               string
	}{
		{"/A/authenticate", "of a", `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}}`, 200, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":false,"error":"no token of EKS"}}`},
		{"/A/authorize", "of a", `{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "x"}}`, 200, `"status":{"allowed":false}`},
		{"/A/authenticate", "of a", "x", 400, "a review is needed"},
		{"/A/authenticate", "of b", "{}", 401, "alone are answered"},
		{"/A/authenticate", "", "{}", 401, "alone are answered"},
		{"/C/authenticate", "", "{}", 401, "alone are answered"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, tt.path, strings.NewReader(tt.body))
		r.Header.Set("Authorization", "Bearer "+tt.secret)
		h.ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s with %q: %d %s", tt.path, tt.secret, w.Code, w.Body)
		}
	}
}
