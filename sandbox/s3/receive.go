package s3

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"net/http"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// work is what the steps of a request with a body hand on.
type work struct {
	// source are what a copy reads, in place of the request's body.
	source       []Body
	from, length int64
	copied       version // the source's
	// algorithm is what the checksum of a copy is computed by, and sum its value; ""
	// for none.
	algorithm, sum string

	body Body
	md5  []byte
}

// etag is that of a whole object.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
func (w *work) etag() string { return `"` + hex.EncodeToString(w.md5) + `"` }

// workOf is the work of a request that was admitted.
func workOf(r *wire.Request) *work {
	if w, ok := r.Work.(*work); ok {
		return w
	}
	w := &work{}
	r.Work = w
	return w
}

// receiving makes an operation of one whose body is kept before it is carried
// out. What is kept goes again if that fails.
func (a *api) receiving(o wire.Operation, admit handler) wire.Operation {
	o.Admit = func(tx *account.Tx, r *wire.Request) error {
		_, err := onBucket(admit)(tx, r)
		return err
	}
	o.Receive = a.receive
	return o
}

func (a *api) receive(ctx context.Context, r *wire.Request, payload *wire.Payload) error {
	w := workOf(r)
	in, length, sum := io.Reader(payload), payload.Length(), hash.Hash(nil)
	switch {
	case w.source != nil || w.copied != nil:
		if _, err := io.Copy(io.Discard, payload); err != nil {
			return err
		}
		source := a.open(ctx, w.source, w.from, w.length)
		defer func() { _ = source.Close() }()
		sum = md5.New()
		to := io.Writer(sum)
		if w.algorithm != "" {
			check := wire.Checksum(w.algorithm)
			to = io.MultiWriter(sum, check)
			defer func() { w.sum = base64.StdEncoding.EncodeToString(check.Sum(nil)) }()
		}
		in, length = io.TeeReader(source, to), w.length
	case length < 0:
		return &account.Error{Code: "MissingContentLength", Message: "You must provide the Content-Length HTTP header.", Status: http.StatusLengthRequired}
	case length > maxBody:
		return errorf("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	var err error
	if w.body, err = a.bodies.Put(ctx, in, length); err != nil {
		if refusal := payload.Refused(); refusal != nil {
			return refusal
		}
		if _, ok := err.(*account.Error); ok {
			return err
		}
		return unavailable(err)
	}
	r.Settle = append(r.Settle, func(ctx context.Context, err error) {
		if err != nil {
			_ = a.bodies.Remove(context.WithoutCancel(ctx), []Body{w.body})
		}
	})
	// Whether the body is what it should be is told at its very end.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if sum == nil {
		w.md5 = payload.MD5()
	} else {
		w.md5 = sum.Sum(nil)
	}
	return nil
}

// maxBody is the most that one request puts, and that one copies.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const maxBody = 5 << 30
