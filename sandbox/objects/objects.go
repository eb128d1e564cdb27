// Package objects holds what the objects of the sandbox's S3 hold, in an S3
// server of its own: a data plane, see package plane.
//
// The server knows nothing of buckets, keys or who may do what: the account does.
// Each body is an object of a random name, written once. Whoever hasn't the
// credentials, which are made for one run, can't go round the account.
package objects

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Plane is the name of the data plane.
const Plane = "s3"

// The server's only bucket and its region.
const (
	bucket = "poolhouse"
	region = "us-east-1"
)

// Store is a server, and how to use it. It is safe for concurrent use.
type Store struct {
	client
	server *plane.Server
}

var _ s3.Bodies = (*Store)(nil)

// Open starts the server. Name and Config of the options are its own.
func Open(ctx context.Context, o plane.Options) (*Store, error) {
	c := wire.Credential{AccessKeyID: "AKIA" + rand.Text()[:16], SecretAccessKey: rand.Text() + rand.Text()}
	o.Name, o.Config = Plane, map[string]string{"accessKeyId": c.AccessKeyID, "secretAccessKey": c.SecretAccessKey}
	server, err := plane.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Store{client: newClient("http://"+server.Address("s3"), c), server: server}, nil
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
	url        string
	credential wire.Credential
	http       *http.Client
}

func newClient(url string, c wire.Credential) client {
	return client{url: url, credential: c, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10, DisableCompression: true,
	}}}
}

// do sends a request, and takes an answer of another kind for an error.
func (c client) do(ctx context.Context, method, path string, body io.Reader, length int64, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+"/"+bucket+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.ContentLength = length
	wire.Sign(req, c.credential, region, time.Now())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return nil, errors.Join(&refusedError{resp.StatusCode, strings.TrimSpace(string(text))}, err, resp.Body.Close())
	}
	return resp, nil
}

// refusedError is the server's refusal.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("it answers %d: %s", e.status, e.text) }

// Put keeps a body under a new name.
func (c client) Put(ctx context.Context, body io.Reader, length int64) (s3.Body, error) {
	if length == 0 {
		// The client would not read it: nothing needs to be kept.
		_, err := io.Copy(io.Discard, body)
		return s3.Body{}, err
	}
	name := rand.Text()
	resp, err := c.do(ctx, http.MethodPut, "/"+name, io.NopCloser(body), length, nil)
	if err != nil {
		return s3.Body{}, err
	}
	return s3.Body{Name: name, Size: length}, resp.Body.Close()
}

// Get opens a part of a body.
func (c client) Get(ctx context.Context, b s3.Body, from, length int64) (io.ReadCloser, error) {
	if b.Name == "" {
		return s3.InAccount{}.Get(ctx, b, from, length)
	}
	var header http.Header
	if length < b.Size {
		header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, from+length-1)}}
	}
	resp, err := c.do(ctx, http.MethodGet, "/"+b.Name, nil, 0, header)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Remove forgets bodies; those that aren't there are forgotten already.
func (c client) Remove(ctx context.Context, bodies []s3.Body) error {
	var all error
	for _, b := range bodies {
		if b.Name == "" {
			continue
		}
		resp, err := c.do(ctx, http.MethodDelete, "/"+b.Name, nil, 0, nil)
		var refused *refusedError
		switch {
		case errors.As(err, &refused) && refused.status == http.StatusNotFound:
		case err != nil:
			all = errors.Join(all, err)
		default:
			all = errors.Join(all, resp.Body.Close())
		}
	}
	return all
}

// Sweep removes the bodies that an account doesn't know: what a process kept and
// died before it noted it. It is for a time when nothing else goes on, and
// returns how many there were.
func (c client) Sweep(ctx context.Context, known map[string]bool) (int, error) {
	swept := 0
	for token := ""; ; {
		query := url.Values{"list-type": {"2"}}
		if token != "" {
			query.Set("continuation-token", token)
		}
		resp, err := c.do(ctx, http.MethodGet, "?"+query.Encode(), nil, 0, nil)
		if err != nil {
			return swept, err
		}
		var page struct {
			Contents              []struct{ Key string }
			NextContinuationToken string
		}
		err = errors.Join(xml.NewDecoder(resp.Body).Decode(&page), resp.Body.Close())
		if err != nil {
			return swept, fmt.Errorf("list what is kept: %w", err)
		}
		var lost []s3.Body
		for _, o := range page.Contents {
			if !known[o.Key] {
				lost = append(lost, s3.Body{Name: o.Key})
			}
		}
		if err := c.Remove(ctx, lost); err != nil {
			return swept, err
		}
		swept += len(lost)
		if token = page.NextContinuationToken; token == "" {
			return swept, nil
		}
	}
}
