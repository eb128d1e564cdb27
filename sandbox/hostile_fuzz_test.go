package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/graph"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// chooser makes choices of bytes; without bytes, always the first.
type chooser []byte

func (c *chooser) of(n int) int {
	if n < 2 || len(*c) == 0 {
		return 0
	}
	x := int((*c)[0])
	*c = (*c)[1:]
	if n > 256 && len(*c) > 0 {
		x = x<<8 | int((*c)[0])
		*c = (*c)[1:]
	}
	return x % n
}

// target is an operation to call.
type target struct {
	service wire.Service
	op      wire.Operation
	names   []string // of members, as the service's code has them
	members []string // the operation's own, if AWS's models are at hand
}

var memberName = regexp.MustCompile(`"([A-Za-z][A-Za-z0-9]{1,40})"`)

var plain = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// targets are all operations. What members may be called is taken from the
// strings in the code of their service.
func targets(t testing.TB) []target {
	t.Helper()
	var out []target
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			dir := s.Name
			switch dir {
			case "elasticloadbalancing":
				dir = "elbv2"
			case "monitoring":
				dir = "cloudwatch"
			}
			if _, err := os.Stat(dir); err != nil {
				t.Fatalf("service %s has no folder %s", s.Name, dir)
			}
			var model apiModel
			if models := os.Getenv("POOLHOUSE_API_MODELS"); models != "" {
				name := cmp.Or(s.API, s.Name)
				if name == "elasticloadbalancing" {
					name = dir
				}
				model, _ = readModel(t, filepath.Join(models, name+".json.gz"))
			}
			var names []string
			err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
					return err
				}
				b, err := os.ReadFile(path)
				for _, m := range memberName.FindAllSubmatch(b, -1) {
					names = append(names, string(m[1]))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(names)
			names = slices.Compact(names)
			for _, o := range s.Operations {
				out = append(out, target{s, o, names, model.members(o)})
			}
		}
	}
	return out
}

// value is a value of a small grammar: words, lists and structures.
func (c *chooser) value(names, words []string, depth int) any {
	kind := c.of(8)
	switch {
	case kind == 0 && depth > 0:
		m := map[string]any{}
		for range 1 + c.of(4) {
			m[names[c.of(len(names))]] = c.value(names, words, depth-1)
		}
		return m
	case kind == 1 && depth > 0:
		l := []any{}
		for range c.of(4) {
			l = append(l, c.value(names, words, depth-1))
		}
		return l
	case kind == 2:
		return []any{true, false, 0, 1, -1, 443, 1e12, nil}[c.of(8)]
	}
	return words[c.of(len(words))]
}

// form spells a value as query parameters.
func form(out url.Values, name string, v any, ec2 bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			form(out, name+"."+k, x, ec2)
		}
	case []any:
		if !ec2 {
			name += ".member"
		}
		for i, x := range v {
			form(out, fmt.Sprintf("%s.%d", name, i+1), x, ec2)
		}
	case nil:
		out.Set(name, "")
	default:
		out.Set(name, fmt.Sprint(v))
	}
}

// element spells a value as XML.
func element(out *strings.Builder, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		fmt.Fprintf(out, "<%s>", name)
		for k, x := range v {
			element(out, k, x)
		}
		fmt.Fprintf(out, "</%s>", name)
	case []any:
		for _, x := range v {
			element(out, name, x)
		}
	default:
		fmt.Fprintf(out, "<%s>%s</%s>", name, strings.NewReplacer("<", "&lt;", "&", "&amp;", "\x00", "", "\xff", "").Replace(fmt.Sprint(v)), name)
	}
}

// request is a signed request for an operation with some input.
func (c *chooser) request(t testing.TB, tg target, words []string) *http.Request {
	t.Helper()
	in := map[string]any{}
	for range c.of(7) {
		names := tg.names
		if len(tg.members) > 0 && c.of(4) > 0 {
			names = tg.members
		}
		in[names[c.of(len(names))]] = c.value(tg.names, words, 3)
	}
	method, path, body, contentType, signing := http.MethodPost, "/", "", "", ""
	switch tg.service.Protocol {
	case wire.Query, wire.EC2Query:
		values := url.Values{"Action": {tg.op.Name}, "Version": {tg.service.Version}}
		for k, v := range in {
			form(values, k, v, tg.service.Protocol == wire.EC2Query)
		}
		body, contentType = values.Encode(), "application/x-www-form-urlencoded"
	case wire.JSON10, wire.JSON11:
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body, contentType = string(b), "application/x-amz-json-1.1"
	default:
		method = tg.op.Method
		parts := strings.Split(tg.op.Path, "/")
		for i, p := range parts {
			if strings.HasPrefix(p, "{") {
				// The signer and AWS don't agree on paths with anything else.
				parts[i] = plain.ReplaceAllString(words[c.of(len(words))], "-")
			}
		}
		path = strings.Join(parts, "/")
		query := url.Values{}
		for _, q := range tg.op.Query {
			k, v, _ := strings.Cut(q, "=")
			query.Set(k, v)
		}
		for k, v := range in {
			if c.of(3) == 0 {
				query.Set(k, fmt.Sprint(v))
				delete(in, k)
			}
		}
		path += "?" + query.Encode()
		if tg.service.Protocol == wire.RestJSON {
			b, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			body, contentType = string(b), "application/json"
		} else if c.of(4) > 0 {
			var b strings.Builder
			element(&b, tg.op.Name, in)
			body, contentType = b.String(), "application/xml"
		}
		if method == http.MethodGet || method == http.MethodHead {
			body = ""
		}
	}
	signing = tg.service.Name
	r := httptest.NewRequest(method, "https://sandbox.invalid"+path, strings.NewReader(body))
	r.RequestURI = ""
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if tg.service.Protocol == wire.JSON10 || tg.service.Protocol == wire.JSON11 {
		r.Header.Set("X-Amz-Target", tg.service.Target+"."+tg.op.Name)
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey}, r, hash, signing, "us-east-1", time.Now(), func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = signing == "s3"
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// content is the account but for the present, ids that were drawn and what the
// trail has of calls.
func content(t testing.TB, ks *graph.Kinds, box *Sandbox) string {
	t.Helper()
	var out string
	err := box.Account().Image(func(m *account.Image) error {
		x := *m
		x.Now, x.Reached, x.Serial, x.Journal = time.Time{}, time.Time{}, 0, nil
		e := graph.NewEncoder(ks)
		b, err := e.Append(nil, &x)
		out = string(e.Definitions()) + string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzRequests sends signed requests with arbitrary input to any operation, one
// after the other: each is answered, none as the sandbox's own failure, and what
// is refused, or only reads, changes nothing.
func FuzzRequests(f *testing.F) {
	all := targets(f)
	ks := kinds(f)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	base := New(Options{Now: func() time.Time { return start }})
	plant(f, base)
	words := []string{
		"", "x", "hostile", "hostile-1", "/hostile", "*", "-1", "65536", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.0/33", "::/0", "a b", "%00", "\x00", "\xff",
		"{}", "[]", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`, `{"Statement":[null]}`,
		"arn:aws:iam::123456789012:role/Administrator", "arn:aws:iam::aws:policy/AdministratorAccess", "us-east-1a", "use1-az1", "ALL", "true", "2026-01-01T00:00:00Z",
		`{"Resources":{"T":{"Type":"AWS::SNS::Topic"}}}`, `{"Resources":{"T":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":{"Ref":"AWS::StackId"}}}}}`,
		"CREATE", "UPDATE", "CAPABILITY_NAMED_IAM", "String", "postgres", "17.9", "1.33", "db.m6g.large", "m5.large", "lambda.amazonaws.com", "vpc-cni",
		strings.Repeat("a", 300), strings.Repeat("9", 40),
	}
	for _, r := range base.Account().Resources() {
		words = append(words, r.ID)
		if arn, ok := r.Attrs["Arn"].(string); ok {
			words = append(words, arn)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range all {
		seed := []byte{byte(i >> 8), byte(i)}
		for range 50 {
			seed = append(seed, byte(random.Uint32()))
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := chooser(data)
		now := start
		box := base.Clone(func() time.Time { return now })
		var sent []string
		for range 8 {
			tg := all[c.of(len(all))]
			r := c.request(t, tg, words)
			var body bytes.Buffer
			if _, err := body.ReadFrom(r.Body); err != nil {
				t.Fatal(err)
			}
			r.Body = http.NoBody
			if body.Len() > 0 {
				r.Body = fsNopCloser{bytes.NewReader(body.Bytes())}
			}
			sent = append(sent, fmt.Sprintf("%s:%s %s %s %.1500s", tg.service.Name, tg.op.Name, r.Method, r.URL.RequestURI(), body.Bytes()))
			r.RequestURI = r.URL.RequestURI()
			before := content(t, ks, box)
			rec := httptest.NewRecorder()
			began := time.Now()
			box.ServeHTTP(rec, r)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s\n%s", took, strings.Join(sent, "\n"))
			}
			answer := rec.Body.String()
			switch {
			case rec.Code == http.StatusInternalServerError:
				t.Fatalf("answered %d %.600s\n%s", rec.Code, answer, strings.Join(sent, "\n"))
			case (rec.Code >= 400 || wire.Reads(tg.op.Name)) && content(t, ks, box) != before:
				t.Fatalf("answered %d %.300s, and changed the account\n%s", rec.Code, answer, strings.Join(sent, "\n"))
			}
			now = now.Add([]time.Duration{0, time.Second, time.Hour, 40 * 24 * time.Hour}[c.of(4)])
			box.Account().Resources() // lets happen what is due
			if len(c) == 0 {
				return
			}
		}
	})
}

type fsNopCloser struct{ *bytes.Reader }

func (fsNopCloser) Close() error { return nil }
