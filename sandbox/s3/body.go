package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Bodies hold what objects hold. They are safe for concurrent use.
type Bodies interface {
	// Put keeps a body of that length, read to its end. It returns the body's
	// own errors as they are, and keeps nothing then.
	Put(ctx context.Context, body io.Reader, length int64) (Body, error)
	// Get opens a part of a body.
	Get(ctx context.Context, b Body, from, length int64) (io.ReadCloser, error)
	// Remove forgets bodies.
	Remove(ctx context.Context, bodies []Body) error
}

// Body is where bytes are: in Text, or outside of the account under Name.
type Body struct {
	Text, Name string
	Size       int64
}

// InAccount are bodies that are in the account itself, and in its clones. It is
// for small ones.
type InAccount struct{}

var _ Bodies = InAccount{}

// maxInAccount is the size of the largest body that an account takes.
const maxInAccount = 64 << 20

// Put reads a body.
func (InAccount) Put(_ context.Context, body io.Reader, length int64) (Body, error) {
	if length > maxInAccount {
		return Body{}, errorf("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size: the sandbox takes objects up to %d bytes where it has no data plane for S3", maxInAccount)
	}
	text, err := io.ReadAll(body)
	return Body{Text: string(text), Size: int64(len(text))}, err
}

// Get opens a part of a body.
func (InAccount) Get(_ context.Context, b Body, from, length int64) (io.ReadCloser, error) {
	if b.Name != "" {
		return nil, errors.New("it holds this object, and the sandbox was started without it")
	}
	return io.NopCloser(strings.NewReader(b.Text[from : from+length])), nil
}

// Remove has nothing to do.
func (InAccount) Remove(context.Context, []Body) error { return nil }

// value is a body as resources hold it.
func (b Body) value() map[string]any {
	if b.Name == "" {
		return map[string]any{"text": b.Text}
	}
	return map[string]any{"name": b.Name, "size": int(b.Size)}
}

// bodies are what a version, or a part of an upload, consists of, in order.
func bodies(holder map[string]any) []Body {
	var out []Body
	for _, m := range props.Maps(holder, "bodies") {
		b := Body{Text: props.Str(m, "text"), Name: props.Str(m, "name"), Size: int64(props.Int(m, 0, "size"))}
		if b.Name == "" {
			b.Size = int64(len(b.Text))
		}
		out = append(out, b)
	}
	return out
}

// Names are the names of all bodies outside of the account that it refers to.
func Names(tx *account.Tx) map[string]bool {
	out := map[string]bool{}
	note := func(holder map[string]any) {
		for _, b := range bodies(holder) {
			if b.Name != "" {
				out[b.Name] = true
			}
		}
	}
	for _, o := range tx.List(TypeObject) {
		for _, v := range versions(o) {
			note(v)
		}
	}
	for _, u := range tx.List(TypeUpload) {
		for _, p := range props.Map(u.Data, "parts") {
			if part, ok := p.(map[string]any); ok {
				note(part)
			}
		}
	}
	return out
}

// unavailable is the answer while the data plane doesn't do its part; clients
// try again.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
func unavailable(err error) error {
	e := account.Errorf("ServiceUnavailable", "Service is unable to handle request. (S3's data plane: %v)", err)
	e.Status = http.StatusServiceUnavailable
	return e
}

// open reads a range of bodies in order, each opened when its turn comes.
func (a *api) open(ctx context.Context, list []Body, from, length int64) *reader {
	return &reader{ctx: ctx, from: a.bodies, list: list, skip: from, left: length}
}

// reader reads a range of bodies.
type reader struct {
	ctx        context.Context
	from       Bodies
	list       []Body
	skip, left int64
	now        io.ReadCloser
}

var _ io.ReadCloser = (*reader)(nil)

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.now == nil {
			if r.left == 0 {
				return 0, io.EOF
			}
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.now.Read(p)
		r.left -= int64(n)
		if errors.Is(err, io.EOF) {
			err = r.now.Close()
			r.now = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next opens the next body that the range has a part of.
func (r *reader) next() error {
	for len(r.list) > 0 && r.skip >= r.list[0].Size {
		r.skip -= r.list[0].Size
		r.list = r.list[1:]
	}
	if len(r.list) == 0 {
		return io.ErrUnexpectedEOF
	}
	b := r.list[0]
	n := min(b.Size-r.skip, r.left)
	in, err := r.from.Get(r.ctx, b, r.skip, n)
	if err != nil {
		return unavailable(err)
	}
	r.now, r.list, r.skip = &exactly{ReadCloser: in, left: n}, r.list[1:], 0
	return nil
}

func (r *reader) Close() error {
	if r.now == nil {
		return nil
	}
	return r.now.Close()
}

// exactly tells of a body that ends early.
type exactly struct {
	io.ReadCloser
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// forget removes bodies once a request has come to a good end. What can't be
// removed is left to the sweep of the next start.
func (a *api) forget(r *wire.Request, list []Body) {
	if len(list) == 0 {
		return
	}
	r.Settle = append(r.Settle, func(ctx context.Context, err error) {
		if err == nil {
			_ = a.bodies.Remove(context.WithoutCancel(ctx), list)
		}
	})
}

// Content is the body of an object's version, of the current one if version is
// empty, as other services read it, or S3's error.
func Content(tx *account.Tx, bucket, key, version string) (string, error) {
	if tx.Get(TypeBucket, bucket) == nil {
		return "", errorf("NoSuchBucket", "The specified bucket does not exist")
	}
	v, err := find(tx, bucket, key, version)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, b := range bodies(v) {
		text := b.Text
		if b.Name != "" {
			if text, err = tx.Body(b.Name, b.Size); err != nil {
				return "", unavailable(err)
			}
		}
		out.WriteString(text)
	}
	return out.String(), nil
}
