// Package testkit holds what tests share: AWS clients on an in-process sandbox,
// golden files and account dumps that can be compared.
//
// Nothing in it opens a socket or leaves a goroutine behind, so it works inside
// testing/synctest.
package testkit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Endpoint is the address under which the in-process sandbox is found.
const Endpoint = "https://sandbox.invalid"

// update is a package variable because the testing package parses flags before
// tests run; only tests link it.
var update = flag.Bool("update", false, "rewrite golden files")

// Golden compares got with the file at path, or writes it under -update.
func Golden(t testing.TB, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs (run the test with -update to rewrite it), -want +got:\n%s", path, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")))
	}
}

// Transport hands requests to a handler in the caller's goroutine.
type Transport struct{ Handler http.Handler }

var _ http.RoundTripper = Transport{}

// RoundTrip answers one request. A connection that the handler cuts is
// io.ErrUnexpectedEOF, as the standard transport has it.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	in.RequestURI = in.URL.RequestURI()
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	in.RemoteAddr = "127.0.0.1:1"
	w := &response{header: http.Header{}}
	t.Handler.ServeHTTP(w, in)
	if w.cut {
		return nil, io.ErrUnexpectedEOF
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	length := int64(w.body.Len())
	if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil {
		length = n
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: length, Request: req,
	}, nil
}

// response records what a handler answers.
type response struct {
	header http.Header
	status int
	body   bytes.Buffer
	cut    bool
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Hijack lets a handler close the connection without an answer.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.cut = true
	conn, peer := net.Pipe()
	return conn, nil, peer.Close()
}

// Client is an HTTP client on the sandbox.
func Client(s *sandbox.Sandbox) *http.Client {
	return &http.Client{Transport: Transport{s}}
}

// Config is the configuration for AWS SDK clients on the sandbox, signing as
// its first principal.
func Config(s *sandbox.Sandbox) aws.Config { return ConfigAs(s, s.Principals()[0]) }

// ConfigAs is [Config] for another principal of the sandbox.
func ConfigAs(s *sandbox.Sandbox, p sandbox.Principal) aws.Config {
	return aws.Config{
		Region:       s.Region(),
		BaseEndpoint: aws.String(Endpoint),
		HTTPClient:   Client(s),
		// What the SDK's own loader of configuration sets.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey, SessionToken: p.SessionToken, Source: "sandbox"}, nil
		}),
	}
}

// Dump is the account's resources as text, one line a value, fit for diffs and
// golden files. Times are left out of it, since two moments that are alike
// differ in them.
func Dump(a *account.Account) []byte {
	var b bytes.Buffer
	for _, r := range a.Resources() {
		fmt.Fprintf(&b, "%s %s\n", r.Type, r.ID)
		if r.Status != "" {
			fmt.Fprintf(&b, "  status %s\n", r.Status)
		}
		tags := map[string]any{}
		for k, v := range r.Tags {
			tags[k] = v
		}
		lines(&b, "  tags", tags)
		lines(&b, "  props", r.Props)
		lines(&b, "  attrs", r.Attrs)
		lines(&b, "  data", r.Data)
	}
	return b.Bytes()
}

// lines writes the leaves of a value with their paths.
func lines(b *bytes.Buffer, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			lines(b, path+"."+k, v[k])
		}
	case []any:
		for i, x := range v {
			lines(b, path+"["+strconv.Itoa(i)+"]", x)
		}
	case time.Time:
	case string:
		// An object's content, say, is told apart by its hash.
		if len(v) > 1000 || strings.ContainsAny(v, "\n\r") {
			sum := sha256.Sum256([]byte(v))
			fmt.Fprintf(b, "%s = %.60q... (%d bytes, sha256 %x)\n", path, v, len(v), sum[:8])
			return
		}
		line(b, path, v)
	case bool:
		line(b, path, strconv.FormatBool(v))
	case int:
		line(b, path, strconv.Itoa(v))
	default:
		fmt.Fprintf(b, "%s = %v\n", path, v)
	}
}

func line(b *bytes.Buffer, path, value string) {
	b.WriteString(path)
	b.WriteString(" = ")
	b.WriteString(value)
	b.WriteByte('\n')
}

// DiffDumps tells two dumps apart, line by line under the resource they belong
// to; "" if they are equal.
func DiffDumps(before, after []byte) string {
	want, got := sections(before), sections(after)
	var b strings.Builder
	names := map[string]bool{}
	for k := range want {
		names[k] = true
	}
	for k := range got {
		names[k] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		w, inWant := want[name]
		g, inGot := got[name]
		switch {
		case !inGot:
			fmt.Fprintf(&b, "- %s\n", name)
		case !inWant:
			fmt.Fprintf(&b, "+ %s\n", name)
		default:
			var changed []string
			for _, l := range w {
				if !slices.Contains(g, l) {
					changed = append(changed, "-"+l)
				}
			}
			for _, l := range g {
				if !slices.Contains(w, l) {
					changed = append(changed, "+"+l)
				}
			}
			if changed != nil {
				fmt.Fprintf(&b, "  %s\n%s\n", name, strings.Join(changed, "\n"))
			}
		}
	}
	return b.String()
}

// sections cuts a dump into resources.
func sections(dump []byte) map[string][]string {
	out := map[string][]string{}
	name := ""
	for line := range strings.Lines(string(dump)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, " ") {
			name = line
			out[name] = nil
			continue
		}
		out[name] = append(out[name], line)
	}
	return out
}

// Lasting is a dump without what AWS keeps of what is gone, its service-linked
// roles, and the sections named in except.
func Lasting(dump []byte, except map[string]bool) []byte {
	var out bytes.Buffer
	var held []string
	flush := func() {
		if held == nil {
			return
		}
		name := strings.TrimSpace(held[0])
		gone := strings.HasPrefix(name, "cloudformation:stack ") && slices.Contains(held, "  status DELETE_COMPLETE\n")
		if !gone && !except[name] && !strings.Contains(name, "AWSServiceRoleFor") {
			out.WriteString(strings.Join(held, ""))
		}
		held = nil
	}
	for line := range strings.Lines(string(dump)) {
		if !strings.HasPrefix(line, " ") {
			flush()
		}
		held = append(held, line)
	}
	flush()
	return out.Bytes()
}
