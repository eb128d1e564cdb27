package transfer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Resumed is a reader that goes on where it broke. Make one with [Resume]; it is not
// for concurrent use.
type Resumed struct {
	open  func(at int64) (*http.Response, error)
	again func(failures int, err error) error

	in io.ReadCloser // nil after it broke
	// at is how many bytes were read, of size; that is negative if nobody said it.
	at, size int64
	// passed is how many bytes come once more before those that are left.
	passed   int64
	failures int // since something was read
}

// Resume begins to read what a server has. Open asks for it from a byte on, by a Range
// unless that is 0; a server may answer with all of it. Where the reading breaks, again
// is told how often nothing was read and why: if it returns nil, after a pause, what is
// left is asked for; else its error is the reader's. The bytes are compared with nothing.
func Resume(open func(at int64) (*http.Response, error), again func(failures int, err error) error) (*Resumed, error) {
	r := &Resumed{open: open, again: again}
	return r, r.begin()
}

// begin asks for what is left.
func (r *Resumed) begin() error {
	resp, err := r.open(r.at)
	if err != nil {
		return err
	}
	switch {
	case r.at == 0:
		r.size = resp.ContentLength
	case resp.StatusCode == http.StatusOK:
		r.passed = r.at
	case !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", r.at)):
		return errors.Join(errors.New("the server answers with another part than the one that was asked for"), resp.Body.Close())
	}
	r.in = resp.Body
	return nil
}

// Read implements [io.Reader].
func (r *Resumed) Read(p []byte) (int, error) {
	for {
		if r.in == nil {
			if err := r.begin(); err != nil {
				return 0, err
			}
		}
		n, err := r.read(p)
		if r.at += int64(n); n > 0 {
			r.failures = 0
		}
		if err == nil {
			return n, nil
		}
		if errors.Is(err, io.EOF) && r.at < r.size {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, io.EOF) || r.at > 0 && r.at == r.size {
			return n, io.EOF
		}
		_ = r.Close() // what broke is read no more
		r.failures++
		if err := r.again(r.failures, err); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// read reads what comes next, after what was read before.
func (r *Resumed) read(p []byte) (int, error) {
	for r.passed > 0 {
		n, err := io.CopyN(io.Discard, r.in, r.passed)
		if r.passed -= n; err != nil {
			return 0, err
		}
	}
	return r.in.Read(p)
}

// Close implements [io.Closer].
func (r *Resumed) Close() error {
	if r.in == nil {
		return nil
	}
	in := r.in
	r.in, r.passed = nil, 0
	return in.Close()
}

var _ io.ReadCloser = (*Resumed)(nil)
