package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Fetch begins to read a layer. What breaks is gone on with where it broke, after
// pauses. The bytes are compared with nothing.
func (c *Client) Fetch(ctx context.Context, repository, digest string) (io.ReadCloser, error) {
	f := &fetching{ctx: ctx, client: c, repository: repository, digest: digest}
	return f, f.open()
}

// fetching is a layer that is read.
type fetching struct {
	ctx                context.Context
	client             *Client
	repository, digest string

	in io.ReadCloser // nil after it broke
	// at is how many bytes were read, of size; that is negative if nobody said it.
	at, size int64
	failures int // since something was read
}

func (f *fetching) doing() string { return "fetch layer " + f.digest + " of " + f.repository }

// open asks for what is left.
func (f *fetching) open() error {
	// Bytes as they are stored: their digest is that of the compressed layer.
	q := call{
		doing: f.doing(), method: http.MethodGet, address: "/v2/" + f.repository + "/blobs/" + f.digest, scope: pull(f.repository),
		header: http.Header{"Accept-Encoding": {"identity"}},
	}
	want := []int{http.StatusOK}
	if f.at > 0 {
		q.header.Set("Range", fmt.Sprintf("bytes=%d-", f.at))
		want = append(want, http.StatusPartialContent)
	}
	resp, err := f.client.do(f.ctx, q, want...)
	if err != nil {
		return err
	}
	switch {
	case f.at == 0:
		f.size = resp.ContentLength
	case resp.StatusCode == http.StatusOK:
		_, err = io.CopyN(io.Discard, resp.Body, f.at)
	case !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", f.at)):
		err = errors.New("the registry answers with another part than the one that was asked for")
	}
	if err != nil {
		return &brokenError{f.doing(), errors.Join(err, resp.Body.Close())}
	}
	f.in = resp.Body
	return nil
}

// Read implements [io.Reader].
func (f *fetching) Read(p []byte) (int, error) {
	for {
		if f.in == nil {
			if err := f.open(); err != nil {
				return 0, err
			}
		}
		n, err := f.in.Read(p)
		if f.at += int64(n); n > 0 {
			f.failures = 0
		}
		if err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
		// What is read no more.
		_ = f.Close()
		if f.at > 0 && f.at == f.size {
			return n, io.EOF
		}
		f.failures++
		broken := &brokenError{f.doing(), err}
		if f.failures == Attempts || f.ctx.Err() != nil || Pause(f.ctx, f.client.clock, f.failures, broken) != nil {
			return n, ended(f.ctx, broken)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// Close implements [io.Closer].
func (f *fetching) Close() error {
	if f.in == nil {
		return nil
	}
	in := f.in
	f.in = nil
	return in.Close()
}
