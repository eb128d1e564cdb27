package ecr

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Layers hold what layers hold, by their digests. They are safe for concurrent
// use.
type Layers interface {
	// Begin begins an upload.
	Begin(ctx context.Context) (Upload, error)
	// Append adds a part to an upload, and returns it as it is then. A part counts
	// as a whole or not at all: after an error the upload goes on from where it
	// was, and what came of the part is forgotten.
	Append(ctx context.Context, u Upload, part io.Reader) (Upload, error)
	// Complete ends an upload. It is refused with [ErrOtherDigest], and goes on, if
	// that is not of what was uploaded.
	Complete(ctx context.Context, u Upload, digest string) error
}

// Upload is one that goes on.
type Upload struct {
	// At is where, and Size how many bytes it has.
	At   string
	Size int64
}

// Errors of [Layers].
var (
	// ErrOtherDigest tells that what was uploaded is not what was said.
	ErrOtherDigest = errors.New("the digest is another one")
	// ErrNoUpload tells that an upload is not there any more.
	ErrNoUpload = errors.New("the upload is not there any more")
)

// eventUpload looks whether an upload is abandoned: nobody has gone on with it
// for so long. It is a time of the sandbox's own; AWS tells none.
const (
	eventUpload = "ecr:upload"
	abandoned   = 24 * time.Hour
)

// The sizes of parts of layers that clients upload by themselves: what is
// suggested, what a part that others follow has at least, and the most.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html
const (
	suggestedPart = 10 << 20
	minPart       = 5 << 20
	maxPart       = 20 << 20
)

// uploads are the operations on layers, which are held outside of the account.
type uploads struct{ layers Layers }

// work is what the steps of an upload hand on to each other.
type work struct {
	// upload is as it was before, and next as it is then.
	upload, next Upload
	part         io.Reader
	// gone tells that what holds layers doesn't know the upload any more.
	gone bool
}

// workOf is what the step before handed on: something, where layers are held.
func workOf(r *wire.Request) (*work, error) {
	w, ok := r.Work.(*work)
	if !ok {
		return nil, noLayers()
	}
	return w, nil
}

// admits makes the first step of an operation on a repository.
func admits(do handler) func(*account.Tx, *wire.Request) error {
	on := onRepository(do)
	return func(tx *account.Tx, r *wire.Request) error {
		_, err := on(tx, r)
		return err
	}
}

// unavailable is the answer while the data plane doesn't do its part.
func unavailable(err error) error {
	e := account.Errorf("ServerException", "The service encountered an error. (ECR's data plane: %v)", err)
	e.Status = http.StatusInternalServerError
	return e
}

func (l *uploads) mayBegin(tx *account.Tx, _ *wire.Request, repo *account.Resource) (any, error) {
	if l.layers == nil {
		return nil, noLayers()
	}
	return nil, keyWorks(tx, repo)
}

func (l *uploads) begin(ctx context.Context, r *wire.Request, _ *wire.Payload) error {
	u, err := l.layers.Begin(ctx)
	if err != nil {
		return unavailable(err)
	}
	r.Work = &work{next: u}
	return nil
}

func (l *uploads) began(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	w, err := workOf(r)
	if err != nil {
		return nil, err
	}
	h := tx.HexID(32)
	id := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	u := &account.Resource{Type: TypeUpload, ID: repo.ID + "@" + id, Owner: tx.Caller, Props: map[string]any{}, Attrs: map[string]any{}, Tags: map[string]string{}, Data: map[string]any{}}
	tx.Put(u)
	note(tx, u, w.next)
	tx.After(abandoned, account.Event{Calendar: true, Kind: eventUpload, Type: TypeUpload, ID: u.ID})
	return map[string]any{"uploadId": id, "partSize": suggestedPart}, nil
}

// note keeps how far an upload is.
func note(tx *account.Tx, u *account.Resource, now Upload) {
	u.Data["at"], u.Data["size"], u.Data["touched"] = now.At, int(now.Size), tx.Now()
}

// noted is what note kept.
func noted(u *account.Resource) Upload {
	return Upload{At: props.Str(u.Data, "at"), Size: int64(props.Int(u.Data, 0, "size"))}
}

// abandon drops an upload that nobody goes on with, or looks again later.
func abandon(tx *account.Tx, e account.Event) {
	u := tx.Get(TypeUpload, e.ID)
	if u == nil {
		return
	}
	if at, ok := u.Data["touched"].(time.Time); ok {
		if left := at.Add(abandoned).Sub(tx.Now()); left > 0 {
			tx.After(left, account.Event{Calendar: true, Kind: eventUpload, Type: TypeUpload, ID: u.ID})
			return
		}
	}
	tx.Drop(TypeUpload, u.ID)
}

// upload finds the one that a request is about.
func upload(tx *account.Tx, r *wire.Request, repo *account.Resource) (*account.Resource, error) {
	u := tx.Get(TypeUpload, repo.ID+"@"+r.String("uploadId"))
	if u == nil {
		return nil, account.Errorf("UploadNotFoundException", "The upload with id '%s' does not exist in the repository with name '%s' in the registry with id '%s'", r.String("uploadId"), repo.ID, tx.AccountID())
	}
	return u, nil
}

// goesOn finds the upload again that a part or an end was received for, and drops
// it if what holds layers has lost it: clients then begin anew.
func goesOn(tx *account.Tx, r *wire.Request, repo *account.Resource, w *work) (*account.Resource, error) {
	u, err := upload(tx, r, repo)
	switch {
	case err != nil:
		return nil, err
	case w.gone:
		tx.Drop(TypeUpload, u.ID)
		return upload(tx, r, repo)
	case noted(u) != w.upload:
		return nil, account.Errorf("InvalidLayerPartException", "Invalid layer part: another one came at the same time")
	}
	return u, nil
}

func (l *uploads) mayAppend(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	if l.layers == nil {
		return nil, noLayers()
	}
	u, err := upload(tx, r, repo)
	if err != nil {
		return nil, err
	}
	w := &work{upload: noted(u), part: r.Stream}
	if first := int64(r.Int("partFirstByte", -1)); first != w.upload.Size && (first >= 0 || r.Stream == nil) {
		return nil, account.Errorf("InvalidLayerPartException", "Invalid layer part: it begins with byte %d, and the upload has %d bytes", first, w.upload.Size)
	}
	if r.Stream == nil {
		part, err := base64.StdEncoding.DecodeString(r.String("layerPartBlob"))
		// Nobody needs it again.
		delete(r.In, "layerPartBlob")
		if err != nil || len(part) > maxPart {
			return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'layerPartBlob' failed to satisfy constraint: 'Member must have length less than or equal to %d'", maxPart)
		}
		if n := int64(r.Int("partLastByte", -1)) + 1 - w.upload.Size; n != int64(len(part)) {
			return nil, account.Errorf("InvalidLayerPartException", "Invalid layer part: it has %d bytes, not the %d that it should have", len(part), n)
		}
		w.part = bytes.NewReader(part)
	}
	r.Work = w
	return nil, keyWorks(tx, repo)
}

// incoming keeps the error that reading a body ended with.
type incoming struct {
	io.Reader
	err error
}

func (i *incoming) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		i.err = err
	}
	return n, err
}

func (l *uploads) append(ctx context.Context, r *wire.Request, _ *wire.Payload) error {
	w, err := workOf(r)
	if err != nil {
		return err
	}
	in := &incoming{Reader: w.part}
	w.next, err = l.layers.Append(ctx, w.upload, in)
	switch {
	case in.err != nil:
		return account.Errorf("InvalidLayerPartException", "The layer part ended early: %v", in.err)
	case errors.Is(err, ErrNoUpload):
		w.gone = true
	case err != nil:
		return unavailable(err)
	}
	return nil
}

func (l *uploads) appended(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	w, err := workOf(r)
	if err != nil {
		return nil, err
	}
	u, err := goesOn(tx, r, repo, w)
	if err != nil {
		return nil, err
	}
	if r.Stream == nil {
		// Of parts, only the last may be small.
		if last := int64(props.Int(u.Data, minPart, "last")); last < minPart {
			u.Data["small"] = true
		}
		u.Data["last"] = int(w.next.Size - w.upload.Size)
	}
	note(tx, u, w.next)
	return map[string]any{"registryId": tx.AccountID(), "repositoryName": repo.ID, "uploadId": r.String("uploadId"), "lastByteReceived": w.next.Size - 1}, nil
}

func (l *uploads) mayComplete(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	if l.layers == nil {
		return nil, noLayers()
	}
	u, err := upload(tx, r, repo)
	if err != nil {
		return nil, err
	}
	digests := r.Strings("layerDigests")
	switch {
	case len(digests) != 1 || !digestForm.MatchString(digests[0]):
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'layerDigests' failed to satisfy constraint: 'the sandbox takes one digest, of SHA-256'")
	case props.Int(u.Data, 0, "size") == 0:
		return nil, account.Errorf("EmptyUploadException", "The upload with id '%s' has no layer parts", r.String("uploadId"))
	case props.Bool(u.Data, false, "small"):
		return nil, account.Errorf("LayerPartTooSmallException", "Layer parts must be at least 5 MiB in size")
	case tx.Get(TypeLayer, repo.ID+"@"+digests[0]) != nil:
		// Nobody goes on with it.
		tx.Drop(TypeUpload, u.ID)
		return nil, account.Errorf("LayerAlreadyExistsException", "The layer with digest '%s' already exists in the repository with name '%s' in registry with id '%s'", digests[0], repo.ID, tx.AccountID())
	}
	r.Work = &work{upload: noted(u)}
	return nil, keyWorks(tx, repo)
}

func (l *uploads) complete(ctx context.Context, r *wire.Request, _ *wire.Payload) error {
	w, err := workOf(r)
	if err != nil {
		return err
	}
	err = l.layers.Complete(ctx, w.upload, r.Strings("layerDigests")[0])
	switch {
	case errors.Is(err, ErrNoUpload):
		w.gone = true
	case errors.Is(err, ErrOtherDigest):
		return account.Errorf("InvalidLayerException", "None of the provided layer digests match the calculated layer digest")
	case err != nil:
		return unavailable(err)
	}
	return nil
}

func (l *uploads) completed(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	w, err := workOf(r)
	if err != nil {
		return nil, err
	}
	u, err := goesOn(tx, r, repo, w)
	if err != nil {
		return nil, err
	}
	digest := r.Strings("layerDigests")[0]
	tx.Drop(TypeUpload, u.ID)
	have(tx, repo.ID, digest, w.upload.Size)
	return map[string]any{"registryId": tx.AccountID(), "repositoryName": repo.ID, "uploadId": r.String("uploadId"), "layerDigest": digest}, nil
}
