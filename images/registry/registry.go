// Package registry speaks the distribution protocol, which ECR, Docker Hub and
// others speak, as far as images are moved: layers are asked for, mounted, sent
// and fetched, and manifests put and read.
//
// What can be repeated is repeated, with pauses by a clock: after cut connections,
// throttling and errors of the server. The body of an upload runs through once
// and is not repeated here; see [IsTransient] for its error. A layer is sent by one
// request, since ECR loses what comes with a second one
// (https://github.com/aws/containers-roadmap/issues/2831). Passwords and tokens are in
// no error. The protocol:
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md
package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

const (
	// answerTime is how long the registry may take to begin its answer, and layerTime
	// how long if it has to look at a whole layer first.
	answerTime = time.Minute
	layerTime  = 10 * time.Minute
)

// maxManifest is the size of the largest manifest that is read, and maxText that of
// an error's text.
const (
	maxManifest = 4 << 20
	maxText     = 16 << 10
)

// manifests are the media types that are asked for.
var manifests = []string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
}

// Credentials are a user's at a registry.
type Credentials struct {
	User, Password string
	// Identity is a token that a registry's token service takes in place of them.
	Identity string
}

// Login finds credentials; empty ones are nobody's. With fresh set, those that it
// found before were refused.
type Login func(ctx context.Context, fresh bool) (Credentials, error)

// Client is the way to one registry. It is safe for concurrent use.
type Client struct {
	// Guard, if it isn't nil, is asked before each request that writes, which is not
	// sent if it returns an error. It is set before the client is used.
	Guard func(context.Context) error

	host   string
	scheme string
	http   *http.Client
	clock  clock.Clock
	login  Login

	mu sync.Mutex
	// asked is how the registry wants to be told who calls; nil before it said so.
	asked  *challenge
	tokens map[string]token // by scope
}

// New returns the way to a registry by its host, with port. One on a loopback
// address is spoken to without TLS, as docker does it.
func New(host string, web *http.Client, c clock.Clock, login Login) *Client {
	own := *web
	own.CheckRedirect = follow
	r := &Client{host: host, scheme: "https", http: &own, clock: c, login: login, tokens: map[string]token{}}
	if loopback(host) {
		r.scheme = "http"
	}
	return r
}

// loopback tells that a host, perhaps with a port, is this machine.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Host is the registry's.
func (c *Client) Host() string { return c.host }

// follow goes where layers are fetched from, and never from TLS to none. Who calls
// is told to nobody but the registry. What writes is led nowhere: it would become a
// request that reads, and the answer to that would pass for a yes.
func follow(r *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet && via[0].Method != http.MethodHead {
		return http.ErrUseLastResponse
	}
	if len(via) >= 5 {
		return errAround
	}
	if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return errPlain
	}
	if r.URL.Host != via[0].URL.Host {
		r.Header.Del("Authorization")
	}
	return nil
}

var (
	errAround = errors.New("it leads from one address to the next")
	errPlain  = errors.New("it leads to an address without TLS")
)

// Error is a registry's refusal.
type Error struct {
	// Doing is what was refused.
	Doing  string
	Status int
	// Code is one of the protocol, and Message what the registry says; either may
	// be empty.
	Code, Message string
	// after is how long the registry asks to wait.
	after time.Duration
	// stale: new credentials may be let in.
	stale bool
}

func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = http.StatusText(e.Status)
	}
	if e.Code != "" {
		text = e.Code + ": " + text
	}
	return fmt.Sprintf("%s: the registry answers %d, %s", e.Doing, e.Status, text)
}

// brokenError is that no answer came, or not all of it.
type brokenError struct {
	doing string
	err   error
}

func (e *brokenError) Error() string { return fmt.Sprintf("%s: %v", e.doing, e.err) }
func (e *brokenError) Unwrap() error { return e.err }

// begins tells that an upload has to begin anew.
func (e *Error) begins() bool {
	return e.Code == "BLOB_UPLOAD_UNKNOWN" || e.Code == "BLOB_UPLOAD_INVALID"
}

// IsNotFound tells that there is no such repository, manifest or layer.
func IsNotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound
}

// IsDenied tells that the caller may not do it.
func IsDenied(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// IsOther tells that a layer which was sent may have another digest than it should:
// ECR says that by the code of any upload that can't be completed.
func IsOther(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Code == "DIGEST_INVALID" || e.Code == "BLOB_UPLOAD_INVALID")
}

// IsTransient tells that the same may succeed later.
func IsTransient(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return e.stale || e.Code == "TOOMANYREQUESTS" || e.begins()
	}
	_, broken := errors.AsType[*brokenError](err)
	return broken
}

// Attempts is how often something is tried, with pauses that double from one
// second to half a minute.
const Attempts = 7

// Pause waits before a further attempt, longer each time: the first failure is
// number 1. It returns the context's error.
func Pause(ctx context.Context, c clock.Clock, failures int, err error) error {
	d := min(time.Second<<(failures-1), 30*time.Second)
	if e, ok := errors.AsType[*Error](err); ok && e.after > 0 {
		d = max(d, min(e.after, 2*time.Minute))
	}
	return c.Sleep(ctx, d)
}

// call is a request that can be repeated.
type call struct {
	doing, method string
	// address is absolute, or a path of the registry.
	address string
	scope   string
	header  http.Header
	body    []byte
	// layer: the registry looks at a whole layer before it answers.
	layer bool
}

// do makes a call until it is answered. The answer's body is the caller's to close.
func (c *Client) do(ctx context.Context, q call, want ...int) (*http.Response, error) {
	for n := 1; ; n++ {
		resp, err := c.once(ctx, q, func() (io.Reader, int64) { return bytes.NewReader(q.body), int64(len(q.body)) }, want...)
		refused, ok := errors.AsType[*Error](err)
		if err == nil || n == Attempts || !IsTransient(err) || ok && refused.begins() || ctx.Err() != nil {
			return resp, ended(ctx, err)
		}
		if slept := Pause(ctx, c.clock, n, err); slept != nil {
			return nil, errors.Join(slept, err)
		}
	}
}

// ended gives an error the context's cause, if that has ended.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// once makes a call once, and once more with credentials if they are asked for, or new
// ones if those it had were refused, and the body was not begun to be read.
func (c *Client) once(ctx context.Context, q call, body func() (io.Reader, int64), want ...int) (*http.Response, error) {
	at, err := c.at(q.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.doing, err)
	}
	for again, fresh := false, false; ; again = true {
		authorization, err := c.authorize(ctx, q.scope, fresh)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.doing, err)
		}
		if c.Guard != nil && q.method != http.MethodGet && q.method != http.MethodHead {
			if err := c.Guard(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", q.doing, err)
			}
		}
		answer := answerTime
		if q.layer {
			answer = layerTime
		}
		in, size := body()
		sent := &begun{r: in}
		req, err := http.NewRequestWithContext(ctx, q.method, at.String(), nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.doing, bare(err))
		}
		if size > 0 {
			req.Body, req.ContentLength = io.NopCloser(sent), size
		}
		for k, v := range q.header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", "poolhouse")
		if authorization != "" && at.Host == c.host {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := transfer.Do(req, answer, c.http.Do)
		if err != nil {
			return nil, unanswered(q.doing, err)
		}
		if slices.Contains(want, resp.StatusCode) {
			return resp, nil
		}
		refused := refusal(q.doing, resp)
		if again || !c.renews(refused, resp) {
			return nil, refused
		}
		if len(q.body) == 0 && sent.read.Load() {
			// A stream can't be sent again from here.
			refused.stale = true
			return nil, refused
		}
		// Who was not told yet how to say who calls has none that were refused.
		fresh = authorization != ""
	}
}

// begun is the body of a request, and whether any of it was read.
type begun struct {
	r    io.Reader
	read atomic.Bool
}

// Read implements [io.Reader].
func (b *begun) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.r.Read(p)
}

// unanswered is the error of a request that got no answer: what broke may hold
// another time, but not who is not trusted, and not a proxy that says no.
func unanswered(doing string, err error) error {
	err = bare(err)
	_, refused := errors.AsType[*awsapi.ProxyError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case refused:
		return fmt.Errorf("%s: %w; have it lead there, or name another way by HTTPS_PROXY or NO_PROXY", doing, err)
	case untrusted:
		return fmt.Errorf("%s: %w; if that is an authority of your own, name its certificate by AWS_CA_BUNDLE", doing, err)
	case errors.Is(err, errAround), errors.Is(err, errPlain):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &brokenError{doing, err}
}

// bare is an error of the HTTP client without the address, whose query may have a
// secret.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func (c *Client) at(address string) (*url.URL, error) {
	base := &url.URL{Scheme: c.scheme, Host: c.host}
	to, err := base.Parse(address)
	if err != nil {
		return nil, errors.New("the registry leads to what is no address")
	}
	if to.Scheme != "https" && to.Scheme != c.scheme {
		return nil, errors.New("the registry leads to an address without TLS")
	}
	return to, nil
}

// refusal reads an answer that is not the one that was hoped for.
func refusal(doing string, resp *http.Response) *Error {
	// What can't be read says nothing.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxText))
	_ = resp.Body.Close()
	e := &Error{Doing: doing, Status: resp.StatusCode}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.after = time.Duration(n) * time.Second
	}
	var said struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(text, &said) == nil && len(said.Errors) > 0 {
		e.Code, e.Message = printable(said.Errors[0].Code), printable(said.Errors[0].Message)
	}
	return e
}

// printable is what a registry says, on one line of bounded length.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 500 {
		s = string(r[:500]) + "..."
	}
	return s
}

// drop closes an answer that says nothing more.
func drop(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxText))
	return errors.Join(err, resp.Body.Close())
}

func pull(repository string) string { return "repository:" + repository + ":pull" }
func push(repository string) string { return "repository:" + repository + ":pull,push" }

// Layer tells whether a repository has a layer or configuration, whose size is in
// bytes. If the registry leads elsewhere, as one does that keeps its layers in S3, what
// is there has to have that size: a page to sign in at is no layer.
func (c *Client) Layer(ctx context.Context, repository, digest string, size int64) (bool, error) {
	address := "/v2/" + repository + "/blobs/" + digest
	resp, err := c.do(ctx, call{doing: "look for layer " + digest + " in " + repository, method: http.MethodHead, address: address, scope: push(repository)}, http.StatusOK)
	if IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	led := !c.own(resp) || resp.Request.URL.Path != address
	return !led || resp.ContentLength == size, drop(resp)
}

// Digest is that of the manifest that a tag, or a digest, stands for in a
// repository; empty if there is none.
func (c *Client) Digest(ctx context.Context, repository, reference string) (string, error) {
	doing := "look for " + repository + " " + reference
	resp, err := c.do(ctx, call{doing: doing, method: http.MethodHead, address: "/v2/" + repository + "/manifests/" + reference, scope: push(repository), header: http.Header{"Accept": manifests}}, http.StatusOK)
	if IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	digest := resp.Header.Get("Docker-Content-Digest")
	if err := drop(resp); err != nil {
		return "", &brokenError{doing, err}
	}
	if digest == "" {
		m, err := c.Manifest(ctx, repository, reference)
		return m.Digest, err
	}
	return digest, nil
}

// Manifest is a manifest or an index as a registry has it.
type Manifest struct {
	Digest, MediaType string
	Text              []byte
}

// Manifest reads what a tag, or a digest, stands for.
func (c *Client) Manifest(ctx context.Context, repository, reference string) (Manifest, error) {
	doing := "read " + repository + " " + reference
	for n := 1; ; n++ {
		resp, err := c.do(ctx, call{doing: doing, method: http.MethodGet, address: "/v2/" + repository + "/manifests/" + reference, scope: pull(repository), header: http.Header{"Accept": manifests}}, http.StatusOK)
		if err != nil {
			return Manifest{}, err
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
		err = errors.Join(err, resp.Body.Close())
		if err != nil {
			if err = (&brokenError{doing, err}); n < Attempts && ctx.Err() == nil && Pause(ctx, c.clock, n, err) == nil {
				continue
			}
			return Manifest{}, ended(ctx, err)
		}
		m := Manifest{Digest: digestOf(text), MediaType: mediaType(resp.Header.Get("Content-Type"), text), Text: text}
		switch {
		case len(text) > maxManifest:
			return Manifest{}, fmt.Errorf("%s: the manifest has more than %d bytes", doing, maxManifest)
		case strings.HasPrefix(reference, "sha256:") && m.Digest != reference:
			return Manifest{}, fmt.Errorf("%s: the registry answers with another manifest, %s", doing, m.Digest)
		}
		return m, nil
	}
}

// mediaType is a manifest's: what the registry says, if that is a manifest's, or else
// what the manifest says.
func mediaType(header string, text []byte) string {
	header, _, _ = strings.Cut(header, ";")
	header = strings.ToLower(strings.TrimSpace(header))
	var doc struct {
		MediaType string `json:"mediaType"`
	}
	if slices.Contains(manifests, header) || json.Unmarshal(text, &doc) != nil || doc.MediaType == "" {
		return header
	}
	return doc.MediaType
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Put stores a manifest under a tag or its digest. What stands there with the same
// digest is no error.
func (c *Client) Put(ctx context.Context, repository, reference string, m Manifest) error {
	doing := "put " + repository + " " + reference
	resp, err := c.do(ctx, call{
		doing: doing, method: http.MethodPut, address: "/v2/" + repository + "/manifests/" + reference, scope: push(repository),
		header: http.Header{"Content-Type": {m.MediaType}}, body: m.Text,
	}, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		// An answer that was lost may have been a yes, and a tag that can't be moved
		// is then refused.
		if there, look := c.Digest(ctx, repository, reference); look == nil && there == m.Digest {
			return nil
		}
		return err
	}
	digest := resp.Header.Get("Docker-Content-Digest")
	if err := drop(resp); err != nil {
		return &brokenError{doing, err}
	}
	if digest != "" && digest != m.Digest {
		return fmt.Errorf("%s: the registry has stored another manifest, %s", doing, digest)
	}
	return nil
}

// Upload is where a layer goes on to be sent.
type Upload struct {
	repository, digest, location string
}

// Begin begins to send a layer to a repository. If from names another repository
// of the registry, the layer is taken from there if that may be; then the upload is
// nil, and there is nothing to send.
func (c *Client) Begin(ctx context.Context, repository, digest, from string) (*Upload, error) {
	address, scope, doing := "/v2/"+repository+"/blobs/uploads/", push(repository), "begin layer "+digest+" in "+repository
	if from != "" {
		address += "?" + url.Values{"mount": {digest}, "from": {from}}.Encode()
		scope += " " + pull(from)
	}
	resp, err := c.do(ctx, call{doing: doing, method: http.MethodPost, address: address, scope: scope}, http.StatusAccepted, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	location, mounted := resp.Header.Get("Location"), resp.StatusCode == http.StatusCreated
	if err := drop(resp); err != nil {
		return nil, &brokenError{doing, err}
	}
	if mounted && from != "" {
		return nil, nil
	}
	if location == "" {
		return nil, fmt.Errorf("%s: the registry does not say where to send it", doing)
	}
	return &Upload{repository, digest, location}, nil
}

// Send sends a layer, whose size is in bytes, and completes it: it is there then,
// or not at all. The body is read once.
func (c *Client) Send(ctx context.Context, u *Upload, size int64, body io.Reader) error {
	doing, scope := "send layer "+u.digest+" to "+u.repository, push(u.repository)
	location := u.location
	if size > 0 {
		resp, err := c.once(ctx, call{doing: doing, method: http.MethodPatch, address: u.location, scope: scope, header: http.Header{"Content-Type": {"application/octet-stream"}}, layer: true},
			func() (io.Reader, int64) { return body, size }, http.StatusAccepted, http.StatusCreated, http.StatusNoContent)
		if err != nil {
			return ended(ctx, err)
		}
		if next := resp.Header.Get("Location"); next != "" {
			location = next
		}
		if err := drop(resp); err != nil {
			return &brokenError{doing, err}
		}
	}
	to, err := c.at(location)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	query := to.Query()
	query.Set("digest", u.digest)
	to.RawQuery = query.Encode()
	resp, err := c.do(ctx, call{doing: "complete layer " + u.digest + " in " + u.repository, method: http.MethodPut, address: to.String(), scope: scope, layer: true}, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		// An answer that was lost may have been a yes.
		if there, look := c.Layer(ctx, u.repository, u.digest, size); look == nil && there {
			return nil
		}
		return err
	}
	return drop(resp)
}
