package images

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// Plane is the name of the data plane, and program that of its program.
const (
	Plane   = "ecr"
	Program = "registry"
)

// repository is the server's only one.
const repository = "poolhouse"

// Store is a server, and how to use it. It is safe for concurrent use.
type Store struct {
	client
	server *plane.Server
}

var _ ecr.Layers = (*Store)(nil)

// Open starts the server. Name and Config of the options are its own.
func Open(ctx context.Context, o plane.Options) (*Store, error) {
	password := rand.Text() + rand.Text()
	// The secret keeps clients from making up uploads, of which the only one needs
	// to go on with those of the server before.
	o.Name, o.Config = Plane, map[string]string{"password": password, "secret": "uploads"}
	server, err := plane.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Store{client: newClient("http://"+server.Address("registry"), password), server: server}, nil
}

// Server is the server, to look at and to break.
func (s *Store) Server() *plane.Server { return s.server }

// Close ends the server.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	return s.server.Close()
}

// client is the way to a server.
type client struct {
	url, password string
	http          *http.Client
	turns         *atomic.Int64 // of requests about uploads
}

func newClient(url, password string) client {
	return client{url: url, password: password, turns: new(atomic.Int64), http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 16, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10, DisableCompression: true,
	}}}
}

// refusedError is the server's refusal.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("it answers %d: %s", e.status, e.text) }

// do sends a request, and takes an answer of another kind for an error. The
// address is one of the server's, or the path of one.
func (c client) do(ctx context.Context, method, address string, body io.Reader, header http.Header) (*http.Response, error) {
	at, err := url.Parse(c.url)
	if err != nil {
		return nil, err
	}
	to, err := at.Parse(address)
	if err != nil {
		return nil, err
	}
	if to.Host != at.Host {
		return nil, fmt.Errorf("it sends to %s", to.Host)
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.SetBasicAuth("sandbox", c.password)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	beyond := method == http.MethodGet && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable
	if resp.StatusCode >= 300 && !beyond { // that a layer ends before is an answer
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return nil, errors.Join(&refusedError{resp.StatusCode, strings.TrimSpace(string(text))}, err, resp.Body.Close())
	}
	return resp, nil
}

// offset is the header that says how much of an upload counts: the server forgets
// what is left of a part that broke.
const offset = "Upload-Offset"

// turn is the header that says which of two requests about an upload is the later:
// one that was given up may reach the server after the next.
const turn = "Upload-Turn"

// Begin begins an upload.
func (c client) Begin(ctx context.Context) (ecr.Upload, error) {
	resp, err := c.do(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, nil)
	if err != nil {
		return ecr.Upload{}, err
	}
	return ecr.Upload{At: resp.Header.Get("Location")}, resp.Body.Close()
}

// Append adds a part.
func (c client) Append(ctx context.Context, u ecr.Upload, part io.Reader) (ecr.Upload, error) {
	in := &counted{Reader: part}
	resp, err := c.goOn(ctx, http.MethodPatch, u, u.At, io.NopCloser(in))
	if err != nil {
		return ecr.Upload{}, err
	}
	return ecr.Upload{At: resp.Header.Get("Location"), Size: u.Size + in.n}, resp.Body.Close()
}

// goOn sends a request about an upload.
func (c client) goOn(ctx context.Context, method string, u ecr.Upload, to string, body io.Reader) (*http.Response, error) {
	resp, err := c.do(ctx, method, to, body, http.Header{
		"Content-Type": {"application/octet-stream"},
		offset:         {strconv.FormatInt(u.Size, 10)},
		turn:           {strconv.FormatInt(c.turns.Add(1), 10)},
	})
	if refused, ok := errors.AsType[*refusedError](err); ok && strings.Contains(refused.text, "BLOB_UPLOAD_UNKNOWN") {
		return nil, ecr.ErrNoUpload
	}
	return resp, err
}

// counted counts what is read.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// Complete ends an upload.
func (c client) Complete(ctx context.Context, u ecr.Upload, digest string) error {
	to, err := url.Parse(u.At)
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("digest", digest)
	to.RawQuery = q.Encode()
	resp, err := c.goOn(ctx, http.MethodPut, u, to.String(), nil)
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusBadRequest && strings.Contains(refused.text, "DIGEST_INVALID") {
		return ecr.ErrOtherDigest
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Get answers with a layer, or with a part of it that the header asks for.
func (c client) Get(ctx context.Context, method, digest string, header http.Header) (*http.Response, error) {
	wanted := http.Header{}
	for _, k := range []string{"Range", "If-Range"} {
		if v := header.Get(k); v != "" {
			wanted.Set(k, v)
		}
	}
	return c.do(ctx, method, "/v2/"+repository+"/blobs/"+digest, nil, wanted)
}

// Sweep removes the layers that an account doesn't know, and returns how many
// there were. It is for a time when nothing else goes on.
func (c client) Sweep(ctx context.Context, known []string) (int, error) {
	body, err := json.Marshal(known)
	if err != nil {
		return 0, err
	}
	resp, err := c.do(ctx, http.MethodPost, "/sweep", bytes.NewReader(body), nil)
	if err != nil {
		return 0, err
	}
	var out struct{ Swept int }
	return out.Swept, errors.Join(json.NewDecoder(resp.Body).Decode(&out), resp.Body.Close())
}
