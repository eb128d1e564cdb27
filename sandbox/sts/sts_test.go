package sts_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	sandboxiam "github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/sts"
)

const (
	root     = "arn:aws:iam::123456789012:root"
	admin    = "arn:aws:iam::123456789012:role/Administrator"
	worker   = "arn:aws:iam::123456789012:role/path/worker"
	alice    = "arn:aws:iam::123456789012:user/alice"
	readOnly = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["secretsmanager:List*","ec2:Describe*"],"Resource":"*"}}`
)

// world is a sandbox with an administrator, alice, who may do nothing of STS, and
// a clock.
type world struct {
	t   *testing.T
	now time.Time
	box *sandbox.Sandbox
	ctx context.Context
}

func newWorld(t *testing.T, o sandbox.Options) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC), ctx: context.Background()}
	o.Now = func() time.Time { return w.now }
	o.Principals = []sandbox.Principal{
		{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"},
		{AccessKeyID: "AKIAALICEEXAMPLE2222", SecretAccessKey: "a", ARN: alice, Policy: readOnly},
		{AccessKeyID: "AKIAROOTEXAMPLE22222", SecretAccessKey: "r", ARN: root},
	}
	w.box = testkit.Sandbox(t, o)
	return w
}

// role makes the role worker, with a trust statement.
func (w *world) role(trust string, more ...func(map[string]any)) {
	w.t.Helper()
	p := map[string]any{
		"RoleName": "worker", "Path": "/path/", "AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":` + trust + `}`,
		"Policies": []any{map[string]any{"PolicyName": "p", "PolicyDocument": readOnly}},
	}
	for _, f := range more {
		f(p)
	}
	testkit.MustCreate(w.t, w.box, sandboxiam.TypeRole, p)
}

func (w *world) as(principal int) *sdk.Client {
	return sdk.NewFromConfig(testkit.ConfigAs(w.box, w.box.Principals()[principal]))
}

// session is a configuration with temporary credentials.
func (w *world) session(c *types.Credentials) aws.Config {
	return testkit.ConfigAs(w.box, sandbox.Principal{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken})
}

func trusting(principal, condition string) string {
	s := `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`
	if condition != "" {
		s += `,"Condition":` + condition
	}
	return s + "}"
}

func assume(f ...func(*sdk.AssumeRoleInput)) *sdk.AssumeRoleInput {
	in := &sdk.AssumeRoleInput{RoleArn: aws.String(worker), RoleSessionName: aws.String("s1")}
	for _, g := range f {
		g(in)
	}
	return in
}

// A role is assumed by whom its trust policy names; if it names the account, the
// caller's own policies have to allow it too. The session has the rights of the
// role.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func TestAssumeRole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, trust string
		principal   int
		want        string
	}{
		{"named", trusting(alice, ""), 1, ""},
		{"account, and the caller may", trusting(root, ""), 0, ""},
		{"account, and the caller may not", trusting(root, ""), 1, "because no identity-based policy allows the sts:AssumeRole action"},
		{"not named", trusting(admin, ""), 1, "because no role trust policy allows the sts:AssumeRole action"},
		{"denied", `[` + trusting(root, "") + `,{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}]`, 0, "with an explicit deny in the role trust policy"},
		{"session name", trusting(root, `{"StringEquals":{"sts:RoleSessionName":"s1"}}`), 0, ""},
		{"other session name", trusting(root, `{"StringEquals":{"sts:RoleSessionName":"s2"}}`), 0, "because no role trust policy allows the sts:AssumeRole action"},
		{"external id that is missing", trusting(root, `{"StringEquals":{"sts:ExternalId":"xyz"}}`), 0, "because no role trust policy allows the sts:AssumeRole action"},
		{"service", `{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`, 0, "because no role trust policy allows the sts:AssumeRole action"},
		{"root user", trusting(root, ""), 2, "Roles may not be assumed by root accounts."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Options{})
			w.role(c.trust)
			out, err := w.as(c.principal).AssumeRole(w.ctx, assume())
			if c.want != "" {
				if testkit.Code(err) != "AccessDenied" || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			const arn = "arn:aws:sts::123456789012:assumed-role/worker/s1"
			if *out.AssumedRoleUser.Arn != arn || !strings.HasPrefix(*out.AssumedRoleUser.AssumedRoleId, "AROA") || !strings.HasSuffix(*out.AssumedRoleUser.AssumedRoleId, ":s1") {
				t.Errorf("got %v", out.AssumedRoleUser)
			}
			if got := out.Credentials.Expiration.Sub(w.now); got != time.Hour {
				t.Errorf("it lasts %s", got)
			}
			config := w.session(out.Credentials)
			who, err := sdk.NewFromConfig(config).GetCallerIdentity(w.ctx, nil)
			if err != nil || *who.Arn != arn || *who.UserId != *out.AssumedRoleUser.AssumedRoleId {
				t.Errorf("got %v, %v", who, err)
			}
			if _, err := secretsmanager.NewFromConfig(config).ListSecrets(w.ctx, nil); err != nil {
				t.Error(err)
			}
			if _, err := iam.NewFromConfig(config).ListUsers(w.ctx, nil); testkit.Code(err) != "AccessDenied" || !strings.Contains(err.Error(), "User: "+arn) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A request to assume a role is checked: the session's name, and its length,
// which the role bounds and which is an hour at most for a caller that is a
// session already.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use.html
func TestAssumeRoleIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	w.role(`[`+trusting(root, `{"StringEquals":{"sts:ExternalId":"xyz"}}`)+`,`+trusting(alice, "")+`]`, func(p map[string]any) { p["MaxSessionDuration"] = 7200 })
	for _, c := range []struct {
		name      string
		principal int
		in        *sdk.AssumeRoleInput
		want      string
	}{
		{"external id", 0, assume(func(in *sdk.AssumeRoleInput) { in.ExternalId = aws.String("xyz") }), ""},
		{"other external id", 0, assume(func(in *sdk.AssumeRoleInput) { in.ExternalId = aws.String("zyx") }), "AccessDenied"},
		{"two hours", 1, assume(func(in *sdk.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7200) }), ""},
		{"three hours", 1, assume(func(in *sdk.AssumeRoleInput) { in.DurationSeconds = aws.Int32(10800) }), "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{"a minute", 1, assume(func(in *sdk.AssumeRoleInput) { in.DurationSeconds = aws.Int32(60) }), "Value '60' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		{"chained for two hours", 0, assume(func(in *sdk.AssumeRoleInput) { in.ExternalId, in.DurationSeconds = aws.String("xyz"), aws.Int32(7200) }), "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."},
		{"session name", 1, assume(func(in *sdk.AssumeRoleInput) { in.RoleSessionName = aws.String("a b") }), "Value 'a b' at 'roleSessionName'"},
		{"bad policy", 1, assume(func(in *sdk.AssumeRoleInput) { in.Policy = aws.String("{") }), "MalformedPolicyDocument"},
		{"no role", 1, assume(func(in *sdk.AssumeRoleInput) { in.RoleArn = aws.String("arn:aws:iam::123456789012:role/none") }), "AccessDenied"},
		{"linked role", 0, assume(func(in *sdk.AssumeRoleInput) {
			in.RoleArn = aws.String("arn:aws:iam::123456789012:role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS")
		}), "AccessDenied"},
		{"MFA", 1, assume(func(in *sdk.AssumeRoleInput) { in.SerialNumber = aws.String("arn:aws:iam::123456789012:mfa/a") }), "NotModelled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := w.as(c.principal).AssumeRole(w.ctx, c.in)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A session policy, and session tags and a source identity, go with the
// credentials: the policy limits what the role may do.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session
func TestSessionPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	w.role(trusting(root, ""), func(p map[string]any) {
		p["Policies"] = []any{map[string]any{"PolicyName": "p", "PolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["secretsmanager:List*","iam:*"],"Resource":"*"},{"Effect":"Allow","Action":"ssm:DescribeParameters","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue","aws:SourceIdentity":"carol"}}}]}`}}
	})
	out, err := w.as(0).AssumeRole(w.ctx, assume(func(in *sdk.AssumeRoleInput) {
		in.Policy = aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["secretsmanager:*","ssm:*","ec2:*"],"Resource":"*"},{"Effect":"Deny","Action":"iam:ListRoles","Resource":"*"}]}`)
		in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}
		in.SourceIdentity = aws.String("carol")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if *out.SourceIdentity != "carol" {
		t.Errorf("got %v", out)
	}
	const arn = "arn:aws:sts::123456789012:assumed-role/worker/s1"
	config := w.session(out.Credentials)
	for _, c := range []struct {
		name, want string
		err        func() error
	}{
		{"allowed by both", "", func() error { _, err := secretsmanager.NewFromConfig(config).ListSecrets(w.ctx, nil); return err }},
		{"allowed by tag and identity", "", func() error { _, err := ssm.NewFromConfig(config).DescribeParameters(w.ctx, nil); return err }},
		{"not by the session's", "because no session policy allows the iam:ListUsers action", func() error { _, err := iam.NewFromConfig(config).ListUsers(w.ctx, nil); return err }},
		{"denied by the session's", "with an explicit deny in a session policy", func() error { _, err := iam.NewFromConfig(config).ListRoles(w.ctx, nil); return err }},
		{"not by the role's", "because no identity-based policy allows the ec2:DescribeVpcs action", func() error { _, err := ec2.NewFromConfig(config).DescribeVpcs(w.ctx, nil); return err }},
	} {
		err := c.err()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), "User: "+arn) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// Temporary credentials end when they say: each service has its own words for
// it. They need their token, and a clone of the account knows them.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_use-resources.html
func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	w.role(trusting(root, ""))
	before := testkit.Dump(w.box.Account())
	out, err := w.as(0).AssumeRole(w.ctx, assume(func(in *sdk.AssumeRoleInput) { in.DurationSeconds = aws.Int32(900) }))
	if err != nil {
		t.Fatal(err)
	}
	if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
		t.Errorf("a session leaves something behind:\n%s", diff)
	}
	config := w.session(out.Credentials)
	calls := map[string]func(aws.Config) error{
		"sts": func(c aws.Config) error { _, err := sdk.NewFromConfig(c).GetCallerIdentity(w.ctx, nil); return err },
		"ec2": func(c aws.Config) error { _, err := ec2.NewFromConfig(c).DescribeVpcs(w.ctx, nil); return err },
		"secretsmanager": func(c aws.Config) error {
			_, err := secretsmanager.NewFromConfig(c).ListSecrets(w.ctx, nil)
			return err
		},
		"s3": func(c aws.Config) error { _, err := s3.NewFromConfig(c).ListBuckets(w.ctx, nil); return err },
	}
	expect := func(when string, c aws.Config, want map[string]string) {
		t.Helper()
		for name, call := range calls {
			if got := testkit.Code(call(c)); got != want[name] {
				t.Errorf("%s, %s: got %q, want %q", when, name, got, want[name])
			}
		}
	}
	expect("at once", config, map[string]string{"s3": "AccessDenied"})
	clone := *w
	clone.box = w.box.Clone(nil)
	expect("in a clone", clone.session(out.Credentials), map[string]string{"s3": "AccessDenied"})
	unknown := map[string]string{"sts": "InvalidClientTokenId", "ec2": "AuthFailure", "secretsmanager": "UnrecognizedClientException", "s3": "InvalidAccessKeyId"}
	forged := *out.Credentials
	forged.SessionToken = aws.String("")
	expect("without token", w.session(&forged), unknown)
	body, sum, _ := strings.Cut(*out.Credentials.SessionToken, ".")
	forged.SessionToken = aws.String(body + "x." + sum)
	expect("with a forged token", w.session(&forged), unknown)
	other := newWorld(t, sandbox.Options{Seed: 7})
	expect("in another account", other.session(out.Credentials), unknown)
	w.now = w.now.Add(15*time.Minute - time.Second)
	expect("before their end", config, map[string]string{"s3": "AccessDenied"})
	w.now = w.now.Add(time.Second)
	expect("at their end", config, map[string]string{"sts": "ExpiredToken", "ec2": "RequestExpired", "secretsmanager": "ExpiredTokenException", "s3": "ExpiredToken"})
}

// The session of a role that was deleted may do nothing, also if there is a new
// role of its name.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
func TestRoleIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	w.role(trusting(root, ""))
	out, err := w.as(0).AssumeRole(w.ctx, assume())
	if err != nil {
		t.Fatal(err)
	}
	if err := testkit.Delete(w.box, sandboxiam.TypeRole, "worker"); err != nil {
		t.Fatal(err)
	}
	w.role(trusting(root, ""))
	if _, err := secretsmanager.NewFromConfig(w.session(out.Credentials)).ListSecrets(w.ctx, nil); testkit.Code(err) != "AccessDeniedException" {
		t.Errorf("got %v", err)
	}
}

// A user gets temporary credentials with its own rights, except for IAM and most
// of STS; a session of a role gets none.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
func TestGetSessionToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	if _, err := w.as(0).GetSessionToken(w.ctx, nil); testkit.Code(err) != "AccessDenied" || !strings.Contains(err.Error(), "Cannot call GetSessionToken with session credentials") {
		t.Errorf("got %v", err)
	}
	out, err := w.as(1).GetSessionToken(w.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.Credentials.Expiration.Sub(w.now); got != 12*time.Hour {
		t.Errorf("it lasts %s", got)
	}
	config := w.session(out.Credentials)
	who, err := sdk.NewFromConfig(config).GetCallerIdentity(w.ctx, nil)
	if err != nil || *who.Arn != alice {
		t.Errorf("got %v, %v", who, err)
	}
	if _, err := secretsmanager.NewFromConfig(config).ListSecrets(w.ctx, nil); err != nil {
		t.Error(err)
	}
	if _, err := sdk.NewFromConfig(config).GetSessionToken(w.ctx, nil); testkit.Code(err) != "InvalidClientTokenId" {
		t.Errorf("got %v", err)
	}
	if _, err := iam.NewFromConfig(config).GetUser(w.ctx, nil); testkit.Code(err) != "InvalidClientTokenId" {
		t.Errorf("got %v", err)
	}
	own, err := w.as(2).GetSessionToken(w.ctx, nil)
	if err != nil || own.Credentials.Expiration.Sub(w.now) != time.Hour {
		t.Errorf("root: got %v, %v", own, err)
	}
}

// Every caller may ask who it is, whatever policies say, and which account an
// access key belongs to.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetAccessKeyInfo.html
func TestIdentityNeedsNoPermission(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{AccountID: "001234567890", Principals: []sandbox.Principal{{AccessKeyID: "AKIADENIEDEXAMPLE222", SecretAccessKey: "d", ARN: "arn:aws:iam::001234567890:user/denied", Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`}}})
	c := sdk.NewFromConfig(testkit.Config(s))
	if who, err := c.GetCallerIdentity(ctx, nil); err != nil || *who.Account != "001234567890" {
		t.Errorf("got %v, %v", who, err)
	}
	made, err := c.GetSessionToken(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"AKIADENIEDEXAMPLE222", *made.Credentials.AccessKeyId} {
		info, err := c.GetAccessKeyInfo(ctx, &sdk.GetAccessKeyInfoInput{AccessKeyId: &id})
		if err != nil || *info.Account != "001234567890" {
			t.Errorf("%s: got %v, %v", id, info, err)
		}
	}
	if _, err := c.GetAccessKeyInfo(ctx, &sdk.GetAccessKeyInfoInput{AccessKeyId: aws.String("short")}); testkit.Code(err) != "ValidationError" {
		t.Errorf("got %v", err)
	}
}

// EC2 encodes the details of a refusal; who may decode such messages can have
// them in plain text.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html
func TestDecodeAuthorizationMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	_, err := ec2.NewFromConfig(testkit.ConfigAs(w.box, w.box.Principals()[1])).CreateVpc(w.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	_, message, ok := strings.Cut(fmt.Sprint(err), "Encoded authorization failure message: ")
	if testkit.Code(err) != "UnauthorizedOperation" || !ok {
		t.Fatalf("got %v", err)
	}
	out, err := w.as(0).DecodeAuthorizationMessage(w.ctx, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &message})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Allowed, ExplicitDeny bool
		Context               struct {
			Action    string
			Principal struct{ ARN string }
		}
	}
	if err := json.Unmarshal([]byte(*out.DecodedMessage), &got); err != nil || got.Allowed || got.ExplicitDeny || got.Context.Action != "ec2:CreateVpc" || got.Context.Principal.ARN != alice {
		t.Errorf("got %s, %v", *out.DecodedMessage, err)
	}
	if _, err := w.as(0).DecodeAuthorizationMessage(w.ctx, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: aws.String(message[1:])}); testkit.Code(err) != "InvalidAuthorizationMessageException" {
		t.Errorf("got %v", err)
	}
	if _, err := w.as(1).DecodeAuthorizationMessage(w.ctx, &sdk.DecodeAuthorizationMessageInput{EncodedMessage: &message}); testkit.Code(err) != "AccessDenied" {
		t.Errorf("got %v", err)
	}
}

const issuer = "https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF"

var keys = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token signs claims.
func token(t *testing.T, header string, claims map[string]any, sign func(digest []byte) []byte) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := encode([]byte(header)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	return text + "." + encode(sign(sum[:]))
}

// A token of an OpenID Connect issuer that the account has as provider gives a
// session of a role whose trust policy takes the token's subject and audience.
// The request needs no signature.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
// https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html
func TestAssumeRoleWithWebIdentity(t *testing.T) {
	t.Parallel()
	key, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := curve.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(map[string]any{"keys": []any{
		map[string]any{"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())},
		map[string]any{"kty": "EC", "kid": "2", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	rs := func(digest []byte) []byte {
		s, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
		if err != nil {
			t.Error(err)
		}
		return s
	}
	es := func(digest []byte) []byte {
		r, s, err := ecdsa.Sign(rand.Reader, curve, digest)
		if err != nil {
			t.Error(err)
			return nil
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	const rs1, es2, sub = `{"alg":"RS256","kid":"1"}`, `{"alg":"ES256","kid":"2"}`, "system:serviceaccount:poolside:core-api"
	set := func(k string, v any) func(map[string]any) { return func(c map[string]any) { c[k] = v } }
	for _, c := range []struct {
		name, header string
		edit         func(map[string]any)
		sign         func([]byte) []byte
		code, want   string
	}{
		{"fine", rs1, nil, rs, "", ""},
		{"one audience as text", rs1, set("aud", "sts.amazonaws.com"), rs, "", ""},
		{"elliptic", es2, nil, es, "", ""},
		{"other subject", rs1, set("sub", "system:serviceaccount:poolside:other"), rs, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		{"other audience", rs1, set("aud", []string{"kubernetes"}), rs, "InvalidIdentityToken", "Incorrect token audience"},
		{"audience of the provider, not of the role", rs1, set("aud", []string{"other"}), rs, "AccessDenied", "Not authorized"},
		{"other issuer", rs1, set("iss", "https://example.com"), rs, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://example.com"},
		{"expired", rs1, set("exp", 1793600000), rs, "ExpiredTokenException", "Token expired: current date/time 1793606400 must be before the expiration date/time 1793600000"},
		{"no expiry", rs1, set("exp", nil), rs, "InvalidIdentityToken", "Missing a required claim"},
		{"from the future", rs1, set("iat", 1793700000), rs, "InvalidIdentityToken", "not yet valid"},
		{"unknown key", `{"alg":"RS256","kid":"3"}`, nil, rs, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider"},
		{"no signature", `{"alg":"none"}`, nil, func([]byte) []byte { return nil }, "InvalidIdentityToken", "could not be verified"},
		{"wrong signature", rs1, nil, func(d []byte) []byte { d[0]++; return rs(d) }, "InvalidIdentityToken", "could not be verified"},
		{"HMAC with the public key", `{"alg":"HS256","kid":"1"}`, nil, rs, "InvalidIdentityToken", "could not be verified"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Options{IssuerKeys: func(of string) ([]byte, error) {
				if of != issuer {
					return nil, errors.New("no such host")
				}
				return jwks, nil
			}})
			provider := testkit.MustCreate(t, w.box, sandboxiam.TypeOIDCProvider, map[string]any{"Url": issuer, "ClientIdList": []any{"sts.amazonaws.com", "other"}}).ID
			host := strings.TrimPrefix(issuer, "https://")
			w.role(`{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + host + `:aud":"sts.amazonaws.com","` + host + `:sub":"` + sub + `"}}}`)
			claims := map[string]any{"iss": issuer, "sub": sub, "aud": []string{"sts.amazonaws.com"}, "iat": w.now.Unix(), "exp": w.now.Add(time.Hour).Unix()}
			if c.edit != nil {
				c.edit(claims)
			}
			config := testkit.Config(w.box)
			config.Credentials = aws.AnonymousCredentials{}
			out, err := sdk.NewFromConfig(config).AssumeRoleWithWebIdentity(w.ctx, &sdk.AssumeRoleWithWebIdentityInput{
				RoleArn: aws.String(worker), RoleSessionName: aws.String("pod"), WebIdentityToken: aws.String(token(t, c.header, claims, c.sign)),
			})
			if c.code != "" {
				if testkit.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %s: %s", err, c.code, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if *out.SubjectFromWebIdentityToken != sub || *out.Audience != "sts.amazonaws.com" || *out.Provider != provider {
				t.Errorf("got %v", out)
			}
			if _, err := secretsmanager.NewFromConfig(w.session(out.Credentials)).ListSecrets(w.ctx, nil); err != nil {
				t.Error(err)
			}
			if _, err := sdk.NewFromConfig(config).GetCallerIdentity(w.ctx, nil); testkit.Code(err) != "MissingAuthenticationToken" {
				t.Errorf("without a signature: got %v", err)
			}
		})
	}
}

// The keys of a cluster that runs Kubernetes are its issuer's, and its tokens are
// by the wall's time, wherever the account's clock is.
func TestServiceAccountToken(t *testing.T) {
	t.Parallel()
	key, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(der)
	header := `{"alg":"RS256","kid":"` + encode(id[:]) + `"}`
	sign := func(digest []byte) []byte {
		s, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
		if err != nil {
			t.Error(err)
		}
		return s
	}
	w := newWorld(t, sandbox.Options{})
	err = w.box.Account().Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: eks.TypeCluster, ID: "c", Status: "ACTIVE", Props: map[string]any{}, Attrs: map[string]any{"OpenIdConnectIssuerUrl": issuer}, Data: map[string]any{}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	provider := testkit.MustCreate(t, w.box, sandboxiam.TypeOIDCProvider, map[string]any{"Url": issuer, "ClientIdList": []any{"sts.amazonaws.com"}}).ID
	w.role(`{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity"}`)
	assume := func(issued time.Time) string {
		t.Helper()
		claims := map[string]any{"iss": issuer, "sub": "system:serviceaccount:a:b", "aud": []string{"sts.amazonaws.com"}, "iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix()}
		_, err := w.as(0).AssumeRoleWithWebIdentity(w.ctx, &sdk.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String(worker), RoleSessionName: aws.String("pod"), WebIdentityToken: aws.String(token(t, header, claims, sign)),
		})
		return testkit.Code(err)
	}
	if got := assume(time.Now()); got != "InvalidIdentityToken" {
		t.Errorf("without a Kubernetes: %s", got)
	}
	err = w.box.Account().Do(func(tx *account.Tx) error {
		eks.SetSigningKey(tx, "c", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := assume(time.Now()); got != "" {
		t.Errorf("a token of now: %s", got)
	}
	if got := assume(time.Now().Add(-2 * time.Hour)); got != "ExpiredTokenException" {
		t.Errorf("a token of two hours ago: %s", got)
	}
	if got := assume(time.Now().Add(24 * time.Hour)); got != "InvalidIdentityToken" {
		t.Errorf("a token of tomorrow: %s", got)
	}
}

// A session of a federated user carries its provider in the condition key
// aws:FederatedProvider.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-federatedprovider
func TestFederatedProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	w.role(trusting(root, ""), func(p map[string]any) {
		p["Policies"] = []any{map[string]any{"PolicyName": "p", "PolicyDocument": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ssm:*","Resource":"*","Condition":{"StringEquals":{"aws:FederatedProvider":"x"}}}}`}}
	})
	for provider, want := range map[string]bool{"x": true, "y": false, "": false} {
		err := w.box.Account().Do(func(tx *account.Tx) error {
			tx.Caller, tx.Session = "arn:aws:sts::123456789012:assumed-role/worker/s", &account.Session{Provider: provider}
			if got := sandboxiam.Permit(tx, tx.Caller, access.Demand{Action: "ssm:GetParameter"}) == nil; got != want {
				t.Errorf("%q: got %v", provider, got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzLookup: no token crashes the look-up, and none opens but those issued.
func FuzzLookup(f *testing.F) {
	f.Add("ASIA2", "eyJrIjoiQVNJQSJ9.AAAA")
	f.Add("", "..")
	s := testkit.Sandbox(f, sandbox.Options{})
	f.Fuzz(func(t *testing.T, key, token string) {
		_ = s.Account().Do(func(tx *account.Tx) error {
			if c, err := sts.Lookup(tx, key, token); err == nil {
				t.Errorf("%q, %q opens for %s", key, token, c.ARN)
			}
			return nil
		})
	})
}
