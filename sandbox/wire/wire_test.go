package wire_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// echo is a service's operation that keeps what it was asked.
type echo struct {
	in   map[string]any
	body string
	out  any
	err  error
}

func (e *echo) do(_ *account.Tx, r *wire.Request) (any, error) {
	e.in, e.body = r.In, string(r.Body)
	return e.out, e.err
}

type setup struct {
	echo   *echo
	config aws.Config
	server *wire.Server
	calls  []wire.Call
}

var key = wire.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ARN: "arn:aws:iam::123456789012:user/tester"}

// newSetup serves every protocol with operations that all echo.
func newSetup(intercept func(*http.Request, string, string) error) *setup {
	s := &setup{echo: &echo{}}
	op := func(name string) []wire.Operation { return []wire.Operation{{Name: name, Do: s.echo.do}} }
	services := []wire.Service{
		{Name: "iam", Version: "2010-05-08", Protocol: wire.Query, Namespace: "https://iam.amazonaws.com/doc/2010-05-08/", Operations: op("ListRoles")},
		{Name: "ec2", Version: "2016-11-15", Protocol: wire.EC2Query, Namespace: "http://ec2.amazonaws.com/doc/2016-11-15/", Operations: op("DescribeVpcs")},
		{Name: "kms", Target: "TrentService", Protocol: wire.JSON11, Operations: op("DescribeKey")},
		{Name: "eks", Protocol: wire.RestJSON, Operations: []wire.Operation{
			{Name: "DescribeCluster", Method: "GET", Path: "/clusters/{name}", Do: s.echo.do},
			{Name: "ListClusters", Method: "GET", Path: "/clusters", Do: s.echo.do},
			{Name: "TagResource", Method: "POST", Path: "/tags/{resourceArn}", Do: s.echo.do},
		}},
		{Name: "route53", Protocol: wire.RestXML, Namespace: "https://route53.amazonaws.com/doc/2013-04-01/", Operations: []wire.Operation{
			{Name: "GetHostedZone", Method: "GET", Path: "/2013-04-01/hostedzone/{Id}", Do: s.echo.do},
			{Name: "ChangeTagsForResource", Method: "POST", Path: "/2013-04-01/tags/{ResourceType}/{ResourceId}", Do: s.echo.do},
		}},
		{Name: "s3", Protocol: wire.RestXML, Subresources: []string{"policy", "versions", "acl"}, Operations: []wire.Operation{
			{Name: "PutObject", Method: "PUT", Path: "/{Bucket}/{Key+}", Do: s.echo.do},
			{Name: "GetObject", Method: "GET", Path: "/{Bucket}/{Key+}", Do: s.echo.do},
			{Name: "ListObjectsV2", Method: "GET", Path: "/{Bucket}", Query: []string{"list-type=2"}, Do: s.echo.do},
			{Name: "ListObjects", Method: "GET", Path: "/{Bucket}", Do: s.echo.do},
			{Name: "ListObjectVersions", Method: "GET", Path: "/{Bucket}", Query: []string{"versions"}, Do: s.echo.do},
		}},
	}
	a := account.New(&account.Model{}, account.Options{Now: time.Now})
	s.server = wire.NewServer(wire.Options{Account: a, Region: "us-east-1", Services: services, Credentials: []wire.Credential{key}, OnCall: func(c wire.Call) { s.calls = append(s.calls, c) }, Intercept: intercept})
	s.config = aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(testkit.Endpoint),
		HTTPClient:  &http.Client{Transport: testkit.Transport{Handler: s.server}},
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: credentials(key),
	}
	return s
}

func credentials(c wire.Credential) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}, nil
	})
}

// describe calls one operation of each protocol.
var describe = map[string]func(aws.Config) error{
	"iam": func(c aws.Config) error {
		_, err := iam.NewFromConfig(c).ListRoles(context.Background(), nil)
		return err
	},
	"ec2": func(c aws.Config) error {
		_, err := ec2.NewFromConfig(c).DescribeVpcs(context.Background(), nil)
		return err
	},
	"kms": func(c aws.Config) error {
		_, err := kms.NewFromConfig(c).DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: aws.String("alias/x")})
		return err
	},
	"eks": func(c aws.Config) error {
		_, err := eks.NewFromConfig(c).ListClusters(context.Background(), nil)
		return err
	},
	"route53": func(c aws.Config) error {
		_, err := route53.NewFromConfig(c).GetHostedZone(context.Background(), &route53.GetHostedZoneInput{Id: aws.String("Z1")})
		return err
	},
	"s3": func(c aws.Config) error {
		_, err := s3.NewFromConfig(c).ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: aws.String("my-bucket")})
		return err
	},
}

func TestErrorsReachSDKs(t *testing.T) {
	t.Parallel()
	for service, call := range describe {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			s := newSetup(nil)
			s.echo.err = account.Errorf("SomethingException", "a <bad> thing & more")
			err := call(s.config)
			var api smithy.APIError
			if !errors.As(err, &api) {
				t.Fatalf("got %v, want an API error", err)
			}
			if api.ErrorCode() != "SomethingException" || api.ErrorMessage() != "a <bad> thing & more" {
				t.Errorf("got %q %q", api.ErrorCode(), api.ErrorMessage())
			}
			if !strings.Contains(err.Error(), "StatusCode: 400") || !strings.Contains(err.Error(), s.calls[0].RequestID) {
				t.Errorf("status or request id missing in %v", err)
			}
			want := wire.Call{RequestID: s.calls[0].RequestID, Service: service, Operation: s.calls[0].Operation, Caller: key.ARN, Code: "SomethingException", Status: 400, Time: s.calls[0].Time}
			if diff := cmp.Diff([]wire.Call{want}, s.calls); diff != "" {
				t.Errorf("record of calls, -want +got:\n%s", diff)
			}
			s.echo.err = nil
			if err := call(s.config); err != nil {
				t.Errorf("without a refusal: %v", err)
			}
		})
	}
}

func TestUnauthenticRequests(t *testing.T) {
	t.Parallel()
	wrongKey, wrongSecret, session := key, key, key
	wrongKey.AccessKeyID = "AKIAIOSFODNN7UNKNOWN"
	wrongSecret.SecretAccessKey = "nope"
	session.SessionToken = "token"
	for _, c := range []struct {
		name       string
		credential wire.Credential
		region     string
		age        time.Duration
		want       map[string]string
	}{
		{name: "unknown key", credential: wrongKey, want: map[string]string{
			"iam": "InvalidClientTokenId", "ec2": "AuthFailure", "kms": "UnrecognizedClientException", "eks": "UnrecognizedClientException", "route53": "InvalidClientTokenId", "s3": "InvalidAccessKeyId",
		}},
		{name: "wrong secret", credential: wrongSecret, want: map[string]string{
			"iam": "SignatureDoesNotMatch", "ec2": "SignatureDoesNotMatch", "kms": "InvalidSignatureException", "eks": "InvalidSignatureException", "route53": "SignatureDoesNotMatch", "s3": "SignatureDoesNotMatch",
		}},
		{name: "unexpected token", credential: session, want: map[string]string{
			"iam": "InvalidClientTokenId", "ec2": "AuthFailure", "kms": "UnrecognizedClientException", "eks": "UnrecognizedClientException", "route53": "InvalidClientTokenId", "s3": "InvalidAccessKeyId",
		}},
		{name: "expired", credential: key, age: 16 * time.Minute, want: map[string]string{
			"iam": "SignatureDoesNotMatch", "ec2": "RequestExpired", "kms": "InvalidSignatureException", "eks": "InvalidSignatureException", "route53": "SignatureDoesNotMatch", "s3": "RequestTimeTooSkewed",
		}},
		{name: "from the future", credential: key, age: -16 * time.Minute, want: map[string]string{
			"iam": "SignatureDoesNotMatch", "ec2": "RequestExpired", "kms": "InvalidSignatureException", "eks": "InvalidSignatureException", "route53": "SignatureDoesNotMatch", "s3": "RequestTimeTooSkewed",
		}},
		{name: "other region", credential: key, region: "eu-west-1", want: map[string]string{
			"iam": "NotModelled", "ec2": "NotModelled", "kms": "NotModelled", "eks": "NotModelled", "route53": "NotModelled", "s3": "NotModelled",
		}},
		{name: "almost expired", credential: key, age: 14 * time.Minute, want: map[string]string{
			"iam": "", "ec2": "", "kms": "", "eks": "", "route53": "", "s3": "",
		}},
	} {
		for service, call := range describe {
			t.Run(c.name+"/"+service, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newSetup(nil)
					s.config.Credentials = credentials(c.credential)
					if c.region != "" {
						s.config.Region = c.region
					}
					s.config.HTTPClient = &http.Client{Transport: late{testkit.Transport{Handler: s.server}, c.age}}
					if c.age < 0 {
						// Sign now, arrive earlier: sign after a wait instead.
						s.config.HTTPClient = &http.Client{Transport: resign{testkit.Transport{Handler: s.server}, -c.age}}
					}
					err := call(s.config)
					got := ""
					var api smithy.APIError
					if errors.As(err, &api) {
						got = api.ErrorCode()
					} else if err != nil {
						t.Fatal(err)
					}
					if got != c.want[service] {
						t.Errorf("got %q (%v), want %q", got, err, c.want[service])
					}
				})
			})
		}
	}
}

// late delivers requests some time after they were signed.
type late struct {
	next http.RoundTripper
	by   time.Duration
}

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.by > 0 {
		time.Sleep(l.by)
	}
	return l.next.RoundTrip(r)
}

// resign signs requests for a time to come.
type resign struct {
	next  http.RoundTripper
	ahead time.Duration
}

func (l resign) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	scope := strings.Split(r.Header.Get("Authorization"), "/")
	r.Header.Del("Authorization")
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, r, sum(body), scope[3], scope[2], time.Now().Add(l.ahead))
	if err != nil {
		return nil, err
	}
	return l.next.RoundTrip(r)
}

func TestMissingAuthentication(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target, contentType, amzTarget, body string
		status                                             int
		want                                               string
	}{
		{"query", "POST", "/", "application/x-www-form-urlencoded", "", "Action=ListRoles&Version=2010-05-08", 403, "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type><Code>MissingAuthenticationToken</Code><Message>Request is missing Authentication Token</Message></Error>"},
		{"ec2", "POST", "/", "application/x-www-form-urlencoded", "", "Action=DescribeVpcs&Version=2016-11-15", 403, "<Response><Errors><Error><Code>MissingAuthenticationToken</Code>"},
		{"json", "POST", "/", "application/x-amz-json-1.1", "TrentService.DescribeKey", "{}", 400, `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`},
		{"rest json by host", "GET", "https://eks.us-east-1.amazonaws.com/clusters", "", "", "", 403, `{"message":"Missing Authentication Token"}`},
		{"s3", "GET", "/bucket/key", "", "", "", 403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><Resource>/bucket/key</Resource>"},
		{"unknown action", "POST", "/", "application/x-www-form-urlencoded", "", "Action=Fly&Version=1", 501, "<Code>NotModelled</Code>"},
		{"unknown target", "POST", "/", "application/x-amz-json-1.1", "Bird.Fly", "{}", 501, "target Bird.Fly is not modelled by the sandbox"},
		{"not a signature", "GET", "/bucket/key?X-Amz-Signature=1", "", "", "", 400, "<Error><Code>AuthorizationQueryParametersError</Code>"},
		{"s3, presigned by version 2", "GET", "/bucket/key?AWSAccessKeyId=AKIA&Signature=c2ln&Expires=1", "", "", "", 400, "<Error><Code>InvalidRequest</Code><Message>The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.</Message>"},
		{"query, presigned by version 2", "GET", "https://iam.amazonaws.com/?Action=ListRoles&Version=2010-05-08&AWSAccessKeyId=AKIA&Signature=c2ln", "", "", "", 400, "<Code>IncompleteSignature</Code><Message>AWS query-string parameters must include"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(nil)
			r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.contentType)
			if c.amzTarget != "" {
				r.Header.Set("X-Amz-Target", c.amzTarget)
			}
			w := httptest.NewRecorder()
			s.server.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, c.status, c.want)
			}
		})
	}
}

// A signature of version 2 in the header is answered as one in the query.
func TestFormerSignature(t *testing.T) {
	t.Parallel()
	s := newSetup(nil)
	r := httptest.NewRequest("PUT", "/bucket/key", strings.NewReader("x"))
	r.Header.Set("Authorization", "AWS AKIA:c2ln")
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	if want := "<Error><Code>InvalidRequest</Code>"; w.Code != 400 || !strings.Contains(w.Body.String(), want) {
		t.Errorf("got %d %s, want 400 %s", w.Code, w.Body, want)
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, c := range []struct {
		name string
		call func(aws.Config) error
		want map[string]any
		body string
	}{
		{"query", func(c aws.Config) error {
			_, err := iam.NewFromConfig(c).ListRoles(ctx, &iam.ListRolesInput{PathPrefix: aws.String("/a b/"), MaxItems: aws.Int32(3)})
			return err
		}, map[string]any{"PathPrefix": "/a b/", "MaxItems": "3"}, ""},
		{"ec2 lists", func(c aws.Config) error {
			_, err := ec2.NewFromConfig(c).DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-1", "vpc-2"}, Filters: []ec2types.Filter{{Name: aws.String("tag:a"), Values: []string{"b"}}}})
			return err
		}, map[string]any{"VpcId": []any{"vpc-1", "vpc-2"}, "Filter": []any{map[string]any{"Name": "tag:a", "Value": []any{"b"}}}}, ""},
		{"json", func(c aws.Config) error {
			_, err := kms.NewFromConfig(c).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("k"), GrantTokens: []string{"t"}})
			return err
		}, map[string]any{"KeyId": "k", "GrantTokens": []any{"t"}}, ""},
		{"rest json label with slashes", func(c aws.Config) error {
			_, err := eks.NewFromConfig(c).TagResource(ctx, &eks.TagResourceInput{ResourceArn: aws.String("arn:aws:eks:us-east-1:123456789012:cluster/x"), Tags: map[string]string{"a": "ä +"}})
			return err
		}, map[string]any{"resourceArn": "arn:aws:eks:us-east-1:123456789012:cluster/x", "tags": map[string]any{"a": "ä +"}}, ""},
		{"rest json query", func(c aws.Config) error {
			_, err := eks.NewFromConfig(c).ListClusters(ctx, &eks.ListClustersInput{Include: []string{"all", "x y"}, MaxResults: aws.Int32(2)})
			return err
		}, map[string]any{"include": []any{"all", "x y"}, "maxResults": "2"}, ""},
		{"s3 virtual host and odd key", func(c aws.Config) error {
			_, err := s3.NewFromConfig(c).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("my-bucket"), Key: aws.String("a//b/../ü +%20.txt"), VersionId: aws.String("v")})
			return err
		}, map[string]any{"Bucket": "my-bucket", "Key": "a//b/../ü +%20.txt", "versionId": "v"}, ""},
		{"s3 path style", func(c aws.Config) error {
			_, err := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("my-bucket"), Prefix: aws.String("a/&b")})
			return err
		}, map[string]any{"Bucket": "my-bucket", "list-type": "2", "prefix": "a/&b"}, ""},
		{"s3 upload with checksum trailer", func(c aws.Config) error {
			_, err := s3.NewFromConfig(c).PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("my-bucket"), Key: aws.String("k"), Body: &unseekable{strings.NewReader("hello")}, ContentLength: aws.Int64(5), ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256})
			return err
		}, map[string]any{"Bucket": "my-bucket", "Key": "k"}, "hello"},
		{"s3 upload over http", func(c aws.Config) error {
			c.BaseEndpoint = aws.String("http://localhost:4566")
			_, err := s3.NewFromConfig(c).PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("my-bucket"), Key: aws.String("k"), Body: strings.NewReader("hello")})
			return err
		}, map[string]any{"Bucket": "my-bucket", "Key": "k"}, "hello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(nil)
			if err := c.call(s.config); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.echo.in); diff != "" {
				t.Errorf("input, -want +got:\n%s", diff)
			}
			if c.body != "" && s.echo.body != c.body {
				t.Errorf("body %q, want %q", s.echo.body, c.body)
			}
		})
	}
}

type unseekable struct{ io.Reader }

func TestAnswers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	at := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	s := newSetup(nil)
	type vpc struct {
		VpcID string `xml:"vpcId"`
	}
	for name, out := range map[string]any{
		"struct": struct {
			Vpcs []vpc `xml:"vpcSet>item"`
		}{[]vpc{{"vpc-1 & co"}}},
		"map": map[string]any{"vpcSet": []any{map[string]any{"vpcId": "vpc-1 & co"}}},
	} {
		s.echo.out = out
		got, err := ec2.NewFromConfig(s.config).DescribeVpcs(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Vpcs) != 1 || aws.ToString(got.Vpcs[0].VpcId) != "vpc-1 & co" {
			t.Errorf("ec2 %s: got %+v", name, got.Vpcs)
		}
	}
	s.echo.out = map[string]any{"Roles": []map[string]any{{"RoleName": "r", "CreateDate": at}}, "IsTruncated": false}
	roles, err := iam.NewFromConfig(s.config).ListRoles(ctx, nil)
	if err != nil || len(roles.Roles) != 1 || !roles.Roles[0].CreateDate.Equal(at) {
		t.Errorf("iam: got %+v, %v", roles, err)
	}
	s.echo.out = map[string]any{"KeyMetadata": map[string]any{"KeyId": "k", "CreationDate": at, "Enabled": true}}
	k, err := kms.NewFromConfig(s.config).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("k")})
	if err != nil || !k.KeyMetadata.CreationDate.Equal(at) || !k.KeyMetadata.Enabled {
		t.Errorf("kms: got %+v, %v", k, err)
	}
	s.echo.out = struct {
		XMLName xml.Name `xml:"ListBucketResult"`
		Name    string
	}{Name: "my-bucket"}
	b, err := s3.NewFromConfig(s.config).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("my-bucket")})
	if err != nil || aws.ToString(b.Name) != "my-bucket" {
		t.Errorf("s3: got %+v, %v", b, err)
	}
	s.echo.out = &wire.Raw{Header: map[string][]string{"Etag": {`"e"`}}, Body: []byte("content")}
	o, err := s3.NewFromConfig(s.config).GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("my-bucket"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(o.Body); string(body) != "content" || aws.ToString(o.ETag) != `"e"` {
		t.Errorf("s3 object: got %q %q", body, aws.ToString(o.ETag))
	}
}

// An upload in signed chunks is taken when each chunk's signature is right, as
// in the example of AWS's documentation.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
func TestSignedChunks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, last, want string }{
		{"authentic", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", ""},
		{"forged", "a6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", "<Code>SignatureDoesNotMatch</Code>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)))
				s := newSetup(nil)
				body := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + strings.Repeat("a", 65536) +
					"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) +
					"\r\n0;chunk-signature=" + c.last + "\r\n\r\n"
				r := httptest.NewRequest("PUT", "https://s3.amazonaws.com/examplebucket/chunkObject.txt", strings.NewReader(body))
				for k, v := range map[string]string{
					"X-Amz-Date": "20130524T000000Z", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "Content-Encoding": "aws-chunked",
					"X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length": "66560",
					"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class, Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
				} {
					r.Header.Set(k, v)
				}
				w := httptest.NewRecorder()
				s.server.ServeHTTP(w, r)
				if c.want != "" {
					if !strings.Contains(w.Body.String(), c.want) {
						t.Errorf("got %d %s, want %s", w.Code, w.Body, c.want)
					}
					return
				}
				if w.Code != 200 || s.echo.body != strings.Repeat("a", 66560) {
					t.Errorf("got %d %s, %d bytes", w.Code, w.Body, len(s.echo.body))
				}
			})
		})
	}
}

func TestPresigned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		wait   time.Duration
		change func(*http.Request)
		status int
	}{
		{"in time", 50 * time.Second, nil, 200},
		{"too late", 61 * time.Second, nil, 403},
		{"other key", 0, func(r *http.Request) { r.URL.Path = "/other" }, 403},
		{"more query", 0, func(r *http.Request) { r.URL.RawQuery += "&versionId=1" }, 403},
		{"unsigned header", 0, func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSetup(nil)
				p, err := s3.NewPresignClient(s3.NewFromConfig(s.config)).PresignGetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("my-bucket"), Key: aws.String("a b")}, s3.WithPresignExpires(time.Minute))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.wait)
				r := httptest.NewRequest(p.Method, p.URL, nil)
				if c.change != nil {
					c.change(r)
				}
				w := httptest.NewRecorder()
				s.server.ServeHTTP(w, r)
				if w.Code != c.status {
					t.Errorf("got %d %s, want %d", w.Code, w.Body, c.status)
				}
			})
		})
	}
}

func TestNotModelled(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newSetup(nil)
	for name, call := range map[string]func() error{
		"iam:ListUsers": func() error { _, err := iam.NewFromConfig(s.config).ListUsers(ctx, nil); return err },
		"kms:ListKeys":  func() error { _, err := kms.NewFromConfig(s.config).ListKeys(ctx, nil); return err },
		"s3: GET /?policy=": func() error {
			_, err := s3.NewFromConfig(s.config).GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String("my-bucket")})
			return err
		},
		"eks: DELETE /clusters/x": func() error {
			_, err := eks.NewFromConfig(s.config).DeleteCluster(ctx, &eks.DeleteClusterInput{Name: aws.String("x")})
			return err
		},
	} {
		err := call()
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "NotModelled" || !strings.Contains(strings.ReplaceAll(api.ErrorMessage(), "?policy ", "?policy= "), name) || !strings.Contains(err.Error(), "501") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestSignedRefusals are authentic requests that SDKs in use here don't make.
func TestSignedRefusals(t *testing.T) {
	t.Parallel()
	s := newSetup(nil)
	for _, c := range []struct {
		name, service, contentType, protocol, body string
		status                                     int
		want                                       string
	}{
		{"other service", "sagemaker", "application/x-amz-json-1.1", "", "{}", 501, "service sagemaker is not modelled by the sandbox"},
		{"CBOR", "monitoring", "application/cbor", "rpc-v2-cbor", "\xa0", 501, "\xa2\x7a\x00\x00\x00\x06__type\x7a\x00\x00\x00\x0bNotModelled\x7a\x00\x00\x00\x07message\x7a\x00\x00\x00\x33protocol rpc-v2-cbor is not modelled by the sandbox"},
		{"too many parameters", "iam", "application/x-www-form-urlencoded", "", "Action=ListRoles" + strings.Repeat("&a=1", 20000), 400, "<Code>MalformedQueryString</Code>"},
	} {
		r := httptest.NewRequest(http.MethodPost, testkit.Endpoint+"/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		if c.protocol != "" {
			r.Header.Set("Smithy-Protocol", c.protocol)
		}
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, r, sum([]byte(c.body)), c.service, "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: got %d %q, want %d %q", c.name, w.Code, w.Body, c.status, c.want)
		}
	}
}

func TestIntercept(t *testing.T) {
	t.Parallel()
	throttle := account.Errorf("Throttling", "Rate exceeded")
	for _, c := range []struct {
		name    string
		err     error
		reached bool
		want    string
	}{
		{"none", nil, true, ""},
		{"refused before", throttle, false, "api error Throttling: Rate exceeded"},
		{"refused after", &wire.Fault{After: true, Err: throttle}, true, "api error Throttling: Rate exceeded"},
		{"cut before", &wire.Fault{}, false, "unexpected EOF"},
		{"cut after", &wire.Fault{After: true}, true, "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(func(_ *http.Request, service, operation string) error {
				if service+":"+operation != "iam:ListRoles" {
					t.Errorf("intercepted %s:%s", service, operation)
				}
				return c.err
			})
			err := describe["iam"](s.config)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if reached := s.echo.in != nil; reached != c.reached {
				t.Errorf("operation reached: %v", reached)
			}
		})
	}
	t.Run("over a socket", func(t *testing.T) {
		t.Parallel()
		s := newSetup(func(*http.Request, string, string) error { return &wire.Fault{} })
		server := httptest.NewServer(s.server)
		defer server.Close()
		s.config.BaseEndpoint, s.config.HTTPClient = aws.String(server.URL), server.Client()
		if err := describe["iam"](s.config); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Errorf("got %v, want EOF", err)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := newSetup(nil)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for _, c := range []struct{ name, service, target, body, want string }{
		{"large", "kms", "TrentService.DescribeKey", strings.Repeat(" ", 3<<20), "RequestEntityTooLarge"},
		{"deep json", "kms", "TrentService.DescribeKey", deep, "SerializationException"},
		{"not json", "kms", "TrentService.DescribeKey", "\x00\xff", "SerializationException"},
		{"json list", "kms", "TrentService.DescribeKey", "[]", "SerializationException"},
		{"deep form", "iam", "", "Action=ListRoles&" + url.QueryEscape(strings.Repeat("a.", 1000)) + "=1", "MalformedQueryString"},
	} {
		r := httptest.NewRequest("POST", testkit.Endpoint+"/", strings.NewReader(c.body))
		r.Header.Set("X-Amz-Target", c.target)
		if c.target == "" {
			r.Header.Del("X-Amz-Target")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, r, sum([]byte(c.body)), c.service, "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: got %d %.200s, want %s", c.name, w.Code, w.Body, c.want)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	items := []int{1, 2, 3, 4, 5}
	var got [][]int
	token := ""
	for {
		page, next, err := wire.Page(items, token, 2, "InvalidMarker")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page)
		if token = next; token == "" {
			break
		}
	}
	if diff := cmp.Diff([][]int{{1, 2}, {3, 4}, {5}}, got); diff != "" {
		t.Error(diff)
	}
	if _, _, err := wire.Page(items, "garbage", 2, "InvalidMarker"); err == nil {
		t.Error("garbage token taken")
	}
}
