package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Credential is a principal's key pair, and session token if the keys are
// temporary.
type Credential struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	// ARN is the principal's: a user, or an assumed-role session.
	ARN string
	// Session is what temporary keys carry; nil for others.
	Session *account.Session
}

// Why [Options.Lookup] finds no key pair.
var (
	ErrUnknownKey   = errors.New("access key is not known, or its session token isn't its")
	ErrExpiredToken = errors.New("session token is expired")
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeFormat = "20060102T150405Z"
	// freshness is how far a request's time may be from ours.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
	freshness = 15 * time.Minute
	// maxExpiry is the longest life of a presigned request, seven days.
	maxExpiry = 7 * 24 * time.Hour
)

// The special values of x-amz-content-sha256.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html
const (
	unsignedPayload       = "UNSIGNED-PAYLOAD"
	streamSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	emptyHash             = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// faultKind is why a request isn't authentic; each protocol has its own code
// for it.
type faultKind int

const (
	missingToken    faultKind = iota
	formerSignature           // of version 2
	incompleteSignature
	incompleteQuery // of a presigned request
	unknownKey
	expiredToken
	wrongSignature
	expired
	presignExpired
	unsignedHeaders
	wrongRegion
)

// fault is an authentication failure.
type fault struct {
	kind   faultKind
	detail string
}

func (f *fault) Error() string { return f.detail }

// signature is what a request says about how it was signed.
type signature struct {
	key, date, region, service string
	signed                     []string // header names
	signature                  string
	at                         time.Time
	amzDate                    string
	token                      string
	trailerNames               string        // x-amz-trailer of a chunked upload
	expires                    time.Duration // presigned only
	presigned                  bool
}

func (s *signature) scope() string {
	return s.date + "/" + s.region + "/" + s.service + "/aws4_request"
}

// parseSignature reads the Authorization header or the query of a presigned
// request; a request without either has no signature and no fault. Signatures of
// version 2 are a fault: no bucket that is made today takes them.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/Appendix-Sigv2.html
func parseSignature(r *http.Request) (*signature, *fault) {
	query := r.URL.Query()
	if auth := r.Header.Get("Authorization"); auth != "" {
		return parseHeader(r, auth)
	}
	if query.Get("X-Amz-Algorithm") != "" || query.Get("X-Amz-Signature") != "" {
		return parsePresigned(query)
	}
	if query.Get("AWSAccessKeyId") != "" && query.Get("Signature") != "" {
		return nil, &fault{formerSignature, "AWS query-string parameters must include 'X-Amz-Algorithm'."}
	}
	return nil, nil
}

func parseHeader(r *http.Request, auth string) (*signature, *fault) {
	name, rest, _ := strings.Cut(auth, " ")
	if name == "AWS" {
		return nil, &fault{formerSignature, "Unsupported AWS 'algorithm': 'AWS'."}
	}
	if name != algorithm {
		return nil, &fault{incompleteSignature, "Unsupported AWS 'algorithm': '" + name + "'."}
	}
	parts := map[string]string{}
	for _, p := range strings.Split(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		parts[k] = v
	}
	for _, k := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parts[k] == "" {
			return nil, &fault{incompleteSignature, "Authorization header requires '" + k + "' parameter."}
		}
	}
	s := &signature{
		signed:    strings.Split(strings.ToLower(parts["SignedHeaders"]), ";"),
		signature: parts["Signature"],
		amzDate:   r.Header.Get("X-Amz-Date"),
		token:     r.Header.Get("X-Amz-Security-Token"),

		trailerNames: r.Header.Get("X-Amz-Trailer"),
	}
	if s.amzDate == "" {
		at, err := http.ParseTime(r.Header.Get("Date"))
		if err != nil {
			return nil, &fault{incompleteSignature, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."}
		}
		s.amzDate = at.UTC().Format(timeFormat)
	}
	return s, s.complete(parts["Credential"])
}

func parsePresigned(query url.Values) (*signature, *fault) {
	for _, k := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if query.Get(k) == "" {
			return nil, &fault{incompleteQuery, "AWS query-string parameters must include '" + k + "'."}
		}
	}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return nil, &fault{incompleteQuery, "Unsupported AWS 'algorithm': '" + query.Get("X-Amz-Algorithm") + "'."}
	}
	s := &signature{
		presigned: true,
		signed:    strings.Split(strings.ToLower(query.Get("X-Amz-SignedHeaders")), ";"),
		signature: query.Get("X-Amz-Signature"),
		amzDate:   query.Get("X-Amz-Date"),
		token:     query.Get("X-Amz-Security-Token"),
		expires:   freshness,
	}
	if e := query.Get("X-Amz-Expires"); e != "" {
		n, err := strconv.Atoi(e)
		if err != nil || n < 0 || time.Duration(n)*time.Second > maxExpiry {
			return nil, &fault{incompleteQuery, "X-Amz-Expires must be a number of seconds less than a week (604800)."}
		}
		s.expires = time.Duration(n) * time.Second
	}
	flaw := s.complete(query.Get("X-Amz-Credential"))
	if flaw != nil && flaw.kind == incompleteSignature {
		flaw.kind = incompleteQuery
	}
	return s, flaw
}

// complete reads the credential scope and the time.
func (s *signature) complete(credential string) *fault {
	scope := strings.Split(credential, "/")
	if len(scope) < 5 {
		return &fault{incompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."}
	}
	// An access key id may contain slashes, the rest not.
	n := len(scope)
	s.key = strings.Join(scope[:n-4], "/")
	s.date, s.region, s.service = scope[n-4], scope[n-3], scope[n-2]
	if scope[n-1] != "aws4_request" {
		return &fault{incompleteSignature, "Credential should be scoped with a valid terminator: 'aws4_request'."}
	}
	if s.key == "" || s.region == "" || s.service == "" {
		return &fault{incompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."}
	}
	at, err := time.Parse(timeFormat, s.amzDate)
	if err != nil {
		return &fault{incompleteSignature, "Date must be in ISO-8601 'basic format'."}
	}
	s.at = at
	if s.date != s.amzDate[:8] {
		return &fault{wrongSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP."}
	}
	return nil
}

// life is how long a presigned request is good for. STS goes by its own time, whatever
// the request says, which tokens of EKS live on: they are signed for 60 seconds.
// https://github.com/kubernetes-sigs/aws-iam-authenticator/blob/master/pkg/token/token.go
func (s *signature) life() time.Duration {
	if s.service == "sts" {
		return freshness
	}
	return s.expires
}

// verify checks the request against the credential's secret. The body is the
// one that came over the wire, which S3's signatures don't need; now is the time
// that its age is told by.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func (s *signature) verify(r *http.Request, body []byte, c Credential, now time.Time) *fault {
	if c.SessionToken != s.token {
		return &fault{unknownKey, "The security token included in the request is invalid."}
	}
	switch {
	case now.Before(s.at.Add(-freshness)):
		return &fault{expired, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)", s.amzDate, now.Add(freshness).UTC().Format(timeFormat), now.UTC().Format(timeFormat))}
	case s.presigned && now.After(s.at.Add(s.life())):
		return &fault{presignExpired, "Request has expired"}
	case !s.presigned && now.After(s.at.Add(freshness)):
		return &fault{expired, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)", s.amzDate, now.Add(-freshness).UTC().Format(timeFormat), now.UTC().Format(timeFormat))}
	}
	if !slices.Contains(s.signed, "host") {
		return &fault{wrongSignature, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."}
	}
	if s.service == "s3" {
		for name := range r.Header {
			name = strings.ToLower(name)
			if strings.HasPrefix(name, "x-amz-") && name != "x-amz-content-sha256" && !slices.Contains(s.signed, name) {
				return &fault{unsignedHeaders, "There were headers present in the request which were not signed"}
			}
		}
	}
	payload, f := s.payloadHash(r, body)
	if f != nil {
		return f
	}
	want := hex.EncodeToString(hmacSum(s.signingKey(c.SecretAccessKey), s.stringToSign(s.canonical(r, payload))))
	if !hmac.Equal([]byte(want), []byte(s.signature)) {
		return &fault{wrongSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	}
	return nil
}

// payloadHash is the body's hash as the canonical request has it. S3's is what
// the client says it is, which [Payload] holds the body to.
func (s *signature) payloadHash(r *http.Request, body []byte) (string, *fault) {
	if s.service != "s3" {
		return hexSum(body), nil
	}
	switch declared := r.Header.Get("X-Amz-Content-Sha256"); {
	case s.presigned && declared == "":
		return unsignedPayload, nil
	case declared == "":
		return "", &fault{unsignedHeaders, "Missing required header for this request: x-amz-content-sha256"}
	default:
		return declared, nil
	}
}

func (s *signature) stringToSign(canonical string) string {
	return strings.Join([]string{algorithm, s.amzDate, s.scope(), hexSum([]byte(canonical))}, "\n")
}

func (s *signature) signingKey(secret string) []byte {
	k := hmacSum([]byte("AWS4"+secret), s.date)
	k = hmacSum(k, s.region)
	k = hmacSum(k, s.service)
	return hmacSum(k, "aws4_request")
}

// canonical is the canonical request.
func (s *signature) canonical(r *http.Request, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + canonicalPath(r.URL, s.service == "s3") + "\n" + canonicalQuery(r.URL.RawQuery) + "\n")
	for _, name := range s.signed {
		b.WriteString(name + ":" + canonicalHeader(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(s.signed, ";") + "\n" + payload)
	return b.String()
}

// canonicalPath is the path encoded once more than it was sent, without dot
// segments; S3 takes it as it was sent.
func canonicalPath(u *url.URL, s3 bool) string {
	if s3 {
		if u.Path == "" {
			return "/"
		}
		return uriEncode(u.Path, true)
	}
	var out []string
	segments := strings.Split(u.EscapedPath(), "/")
	for i, seg := range segments {
		switch {
		case seg == "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		case seg == "." || seg == "" && i > 0 && i < len(segments)-1:
		case seg == "" && i == 0:
		default:
			out = append(out, uriEncode(seg, false))
		}
	}
	return "/" + strings.Join(out, "/")
}

func canonicalQuery(raw string) string {
	var pairs []string
	for _, p := range strings.Split(raw, "&") {
		if p == "" {
			continue
		}
		k, v, _ := strings.Cut(p, "=")
		k, v = unescape(k), unescape(v)
		if k == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, uriEncode(k, false)+"="+uriEncode(v, false))
	}
	// By name, then by value: "=" sorts before every unreserved character
	// but "-", "." and digits, so the pairs are compared part by part.
	slices.SortFunc(pairs, func(a, b string) int {
		ak, av, _ := strings.Cut(a, "=")
		bk, bv, _ := strings.Cut(b, "=")
		if c := strings.Compare(ak, bk); c != 0 {
			return c
		}
		return strings.Compare(av, bv)
	})
	return strings.Join(pairs, "&")
}

func unescape(s string) string {
	u, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return u
}

func canonicalHeader(r *http.Request, name string) string {
	switch name {
	case "host":
		if r.Host != "" {
			return r.Host
		}
		return r.URL.Host
	case "content-length":
		if r.Header.Get("Content-Length") == "" {
			return strconv.FormatInt(max(r.ContentLength, 0), 10)
		}
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ",")
	}
	values := r.Header.Values(name)
	out := make([]string, len(values))
	for i, v := range values {
		words := strings.FieldsFunc(v, func(c rune) bool { return c == ' ' })
		out[i] = strings.Join(words, " ")
	}
	return strings.Join(out, ",")
}

// uriEncode is AWS's percent encoding: all but the unreserved characters, in
// upper case.
func uriEncode(s string, keepSlash bool) string {
	var b bytes.Buffer
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func hmacSum(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
