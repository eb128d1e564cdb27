package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/checkpoint"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// scheme is what the address of a source in S3 begins with.
const scheme = "s3://"

// remote is a source in S3: an archive, or the objects below a prefix.
type remote struct {
	store  *Store
	bucket string
	// key is an archive's, or a prefix that ends with a slash.
	key string
	// region is the bucket's, once it was asked for.
	region string
	// expect, if not nil, is told how many bytes the objects have.
	expect func(total int64)
}

// parseRemote reads an address such as s3://bucket/models/laguna-xs-2.2/.
func parseRemote(s string) (*remote, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(s, scheme), "/")
	if bucket == "" || strings.Trim(key, "/") == "" {
		return nil, fmt.Errorf("%q is no source in S3: write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY.tar", s)
	}
	if !checkpoint.IsArchive(key) {
		key = strings.TrimRight(key, "/") + "/"
	}
	return &remote{bucket: bucket, key: key}, nil
}

// archive tells that it is one, by its name.
func (r *remote) archive() bool { return checkpoint.IsArchive(r.key) }

func (r *remote) uri(key string) string { return scheme + r.bucket + "/" + key }

// there are the options of calls to the source's bucket, which may be in another
// region.
func (r *remote) there(o *s3.Options) {
	if r.region != "" {
		o.Region = r.region
	}
}

// find asks for the bucket's region. Whoever may not list the bucket is told it too,
// and needs no more for an archive.
func (r *remote) find(ctx context.Context) error {
	out, err := r.store.S3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &r.bucket})
	if err == nil {
		r.region = aws.ToString(out.BucketRegion)
		return nil
	}
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
	if resp, is := errors.AsType[*awshttp.ResponseError](err); is && resp.HTTPResponse() != nil {
		status := resp.HTTPStatusCode()
		if r.region = resp.HTTPResponse().Header.Get("X-Amz-Bucket-Region"); r.region != "" && status != http.StatusNotFound && (status != http.StatusForbidden || r.archive()) {
			return nil
		}
	}
	if awsapi.IsNotFound(err) {
		return fmt.Errorf("there is no bucket %s: correct the source's address, %s", r.bucket, r.uri(r.key))
	}
	return fmt.Errorf("look at the source's bucket %s: %w", r.bucket, err)
}

// read visits the objects below the prefix; a visitor that reads one fetches it. The
// digest is that of the archive which a marker beside them names, if they are those
// that it was written over; else that of their names, sizes and ETags. Files that were
// changed under a marker of ours are a fault.
func (r *remote) read(ctx context.Context, visit archive.Visit) (string, error) {
	other := *r.store
	other.Bucket = r.bucket
	b := archive.NewBudget(ctx, limits())
	// The marker is none of the files.
	found, err := other.first(ctx, r.key, b.Members+1, r.there)
	if err != nil {
		return "", err
	}
	if _, marked := found[r.key+Marker]; len(found) > b.Members+1 || len(found) > b.Members && !marked {
		b.Add(r.uri(r.key), "name the prefix of one checkpoint", "holds more than %d files", b.Members)
		return "", b.Faults()
	}
	marked := false
	files := map[string]object{}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		name := strings.TrimPrefix(key, r.key)
		switch clean, reason, fix := b.Clean(name); {
		case name == Marker:
			marked = true
			continue
		case reason != "":
			b.Add(r.uri(key), fix, "%s", reason)
		case clean == ".":
			b.Add(r.uri(key), "copy the object to a key with a name, or name another prefix", "has no name of a file below the prefix")
		case clean != name:
			b.Add(r.uri(key), "copy the object to a key with a plain name", "has a name that other programs write otherwise: %s", clean)
		}
		files[name] = found[key]
	}
	if len(files) == 0 && len(b.Faults()) == 0 {
		b.Add(r.uri(r.key), "name the archive or the prefix that holds the checkpoint's files", "holds no files")
	}
	digest := "sha256:" + listing("", files)
	if marked {
		m, err := other.markerOf(ctx, r.key, r.there)
		switch {
		case err != nil:
			return "", err
		case m == nil || m.digest() == "":
		case m.over(r.key, found):
			digest = m.digest()
		case m.meta[metaListing] != "":
			b.Add(r.uri(r.key), "push that checkpoint anew first, or remove its marker", "has files that were changed after it was marked as complete")
		}
	}
	if f := b.Faults(); len(f) > 0 {
		return "", f
	}
	if r.expect != nil {
		total := int64(0)
		for _, o := range files {
			total += o.size
		}
		r.expect(total)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		o := &fetched{ctx: ctx, from: r, key: r.key + name, object: files[name]}
		err := visit(archive.Member{Name: name, Size: files[name].size}, o)
		if err := errors.Join(err, o.Close()); err != nil {
			return "", err
		}
	}
	return digest, nil
}

// open opens an archive.
func (r *remote) open(ctx context.Context) (io.ReadCloser, error) {
	head, err := r.store.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &r.bucket, Key: &r.key}, r.there)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", r.uri(r.key), err)
	}
	return &fetched{ctx: ctx, from: r, key: r.key, object: object{size: aws.ToInt64(head.ContentLength), etag: trim(head.ETag)}}, nil
}

// fetched is an object that is read, from where it broke if it does.
type fetched struct {
	ctx  context.Context
	from *remote
	key  string
	object

	in       io.ReadCloser
	at       int64
	failures int   // since something was read
	bad      error // what is wrong with all of it
}

const (
	// attempts is how often an object is asked for without a byte of it coming, and
	// pause is between.
	attempts = 5
	pause    = time.Second
)

// Read implements [io.Reader].
func (o *fetched) Read(p []byte) (int, error) {
	for {
		if o.bad != nil {
			return 0, o.bad
		}
		if o.at == o.size {
			return 0, io.EOF
		}
		if o.in == nil {
			in := &s3.GetObjectInput{Bucket: &o.from.bucket, Key: &o.key, IfMatch: aws.String(`"` + o.etag + `"`), ChecksumMode: types.ChecksumModeEnabled}
			if o.at > 0 {
				in.Range = aws.String(fmt.Sprintf("bytes=%d-", o.at))
			}
			out, err := o.from.store.S3.GetObject(o.ctx, in, o.from.there)
			if err != nil {
				return 0, o.failed(err)
			}
			o.in = out.Body
		}
		n, err := o.in.Read(p)
		if o.at += int64(n); n > 0 {
			o.failures = 0
		}
		if o.at == o.size {
			// The checksum is compared at the end, which a reader that has all bytes
			// does not look for: the last of them are held back if it is wrong.
			for err == nil {
				_, err = o.in.Read(make([]byte, 1))
			}
			if !errors.Is(err, io.EOF) {
				o.bad = o.failed(err)
				return 0, o.bad
			}
			return n, nil
		}
		if n > 0 || err == nil {
			if err != nil {
				_ = o.Close() // what broke is asked for again
			}
			return n, nil
		}
		_ = o.Close()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		o.failures++
		if o.failures == attempts || o.from.store.Clock.Sleep(o.ctx, pause) != nil {
			return 0, o.failed(err)
		}
	}
}

func (o *fetched) failed(err error) error {
	if awsapi.Code(err) == "PreconditionFailed" || awsapi.IsNotFound(err) {
		return fault.Faults{changed(o.from.uri(o.key))}
	}
	if o.ctx.Err() != nil {
		return context.Cause(o.ctx)
	}
	return fmt.Errorf("read %s: %w", o.from.uri(o.key), err)
}

// Close implements [io.Closer].
func (o *fetched) Close() error {
	if o.in == nil {
		return nil
	}
	in := o.in
	o.in = nil
	return in.Close()
}

// escaped is a key as CopySource has it.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
func (r *remote) escaped(key string) *string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	return aws.String(r.bucket + "/" + strings.Join(parts, "/"))
}
