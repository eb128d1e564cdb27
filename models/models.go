// Package models keeps checkpoints of models in a deployment's bucket: pushes,
// lists, verifies and removes them.
//
// The layout is the vendor's. The files of the checkpoint NAME lie below
// models/checkpoints/NAME/ under the names that they have in the archive. An empty
// object .checkpoint-complete beside them, written last, says that all of them are
// there; its metadata holds the SHA-256 of the archive that they came from. Which
// metadata key the vendor's uploader uses is not public: a marker of either tool is
// known by the digest among its values, and ours is under sha256.
//
// A push reads its source as a stream and keeps nothing on disk. It holds
// [Memory] bytes of parts at most, whatever the size, and the process stays below
// 256 MiB. Each part, and each object as a whole, carries a CRC-64/NVME, which S3
// compares with what arrives. What an interrupted push has sent is found by its
// checksums and not sent again. The marker goes before anything else of a
// checkpoint is changed, and comes back once all of it was looked at: with the
// marker, a checkpoint is whole and of one source.
//
// The names, sizes and checksums of a checkpoint's files are recorded beside the
// vendor's layout, in poolhouse/checkpoints/NAME.json; the marker's metadata holds
// the record's SHA-256.
//
// Limits: a file of a checkpoint has 781 GiB at most. Two pushes of one checkpoint
// at the same time are not kept apart, and may both fail: a push stops when it sees
// the other's marker or files, and withdraws any marker if it has changed files by
// then. A push that is killed just as the other marks can leave a marker over files
// of both: the marker says what a listing of its files showed, so that verify tells
// and the next push mends it.
package models

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// The layout.
const (
	// Prefix is what the keys of all checkpoints begin with.
	Prefix = "models/checkpoints/"
	// Marker is the object that says that a checkpoint is whole.
	Marker = ".checkpoint-complete"
	// records is where the lists of files lie.
	records = "poolhouse/checkpoints/"
)

// The marker's metadata.
const (
	metaDigest = "sha256"
	metaRecord = "poolhouse-record"
	metaFiles  = "poolhouse-files"
	metaBytes  = "poolhouse-bytes"
	// metaListing is the SHA-256 of what a listing shows of the files.
	metaListing = "poolhouse-listing"
)

// metaPushed is what the objects carry that a push writes, so that they are known as its
// own also if it did not come to record them: the SHA-256 of the key, for which a copy
// that somebody made under another name is not taken.
const metaPushed = "poolhouse-pushed"

func pushed(key string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(key))) }

// Store is the bucket of a deployment's models. Safe for concurrent use, as long
// as no checkpoint is pushed or removed twice at a time.
type Store struct {
	S3     *s3.Client
	Clock  clock.Clock
	Bucket string

	// kms and key are the bucket's encryption, which is asked for by name.
	kms bool
	key string
	// part is the least size of parts that are sent, and copied that of those that S3
	// copies; 0 are [least] and [copied].
	part, copied int64
}

// Open looks at a bucket's encryption. Calls that stand still are given up and repeated.
func Open(ctx context.Context, c *awsapi.Clients, bucket string) (*Store, error) {
	c = c.Watched()
	s := &Store{S3: c.S3, Clock: c.Clock, Bucket: bucket}
	out, err := c.S3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &bucket})
	if err != nil {
		return nil, fmt.Errorf("look at the encryption of bucket %s: %w", bucket, err)
	}
	for _, r := range out.ServerSideEncryptionConfiguration.Rules {
		if d := r.ApplyServerSideEncryptionByDefault; d != nil && d.SSEAlgorithm == types.ServerSideEncryptionAwsKms {
			s.kms, s.key = true, aws.ToString(d.KMSMasterKeyID)
		}
	}
	return s, nil
}

// encryption is what uploads ask for: the bucket's key, by way of its bucket key.
func (s *Store) encryption() (types.ServerSideEncryption, *string, *bool) {
	if !s.kms {
		return "", nil, nil
	}
	if s.key == "" {
		return types.ServerSideEncryptionAwsKms, nil, new(true)
	}
	return types.ServerSideEncryptionAwsKms, &s.key, new(true)
}

func folder(name string) string         { return Prefix + name + "/" }
func recordKey(name string) string      { return records + name + ".json" }
func (s *Store) uri(name string) string { return "s3://" + s.Bucket + "/" + folder(name) }
func digestOf(sum []byte) string        { return fmt.Sprintf("sha256:%x", sum) }
func hexOf(digest string) string        { return strings.ToLower(strings.TrimPrefix(digest, "sha256:")) }
func trim(etag *string) string          { return strings.Trim(aws.ToString(etag), `"`) }

// object is one that is there.
type object struct {
	size     int64
	etag     string
	modified time.Time
}

// folderObject tells that an object is a folder as consoles make them.
func folderObject(key string, size int64) bool { return size == 0 && strings.HasSuffix(key, "/") }

// objects are those of a prefix by key, without folders.
func (s *Store) objects(ctx context.Context, prefix string) (map[string]object, error) {
	return s.first(ctx, prefix, math.MaxInt)
}

// first are the objects of a prefix as [Store.objects] has them, and of more than most at
// least one more.
func (s *Store) first(ctx context.Context, prefix string, most int, how ...func(*s3.Options)) (map[string]object, error) {
	out := map[string]object{}
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: &prefix})
	for pages.HasMorePages() && len(out) <= most {
		page, err := pages.NextPage(ctx, how...)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", "s3://"+s.Bucket+"/"+prefix, err)
		}
		for _, o := range page.Contents {
			if key := aws.ToString(o.Key); !folderObject(key, aws.ToInt64(o.Size)) {
				out[key] = object{aws.ToInt64(o.Size), trim(o.ETag), aws.ToTime(o.LastModified)}
			}
		}
	}
	return out, nil
}

// uploads are the unfinished uploads of a prefix by key, oldest first.
func (s *Store) uploads(ctx context.Context, prefix string) (map[string][]types.MultipartUpload, error) {
	out := map[string][]types.MultipartUpload{}
	pages := s3.NewListMultipartUploadsPaginator(s.S3, &s3.ListMultipartUploadsInput{Bucket: &s.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list unfinished uploads of %s: %w", "s3://"+s.Bucket+"/"+prefix, err)
		}
		for _, u := range page.Uploads {
			out[aws.ToString(u.Key)] = append(out[aws.ToString(u.Key)], u)
		}
	}
	for _, list := range out {
		slices.SortStableFunc(list, func(a, b types.MultipartUpload) int { return aws.ToTime(a.Initiated).Compare(aws.ToTime(b.Initiated)) })
	}
	return out, nil
}

// abort ends unfinished uploads and returns how many it did.
func (s *Store) abort(ctx context.Context, uploads []types.MultipartUpload) (n int, err error) {
	for _, u := range uploads {
		_, failed := s.S3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.Bucket, Key: u.Key, UploadId: u.UploadId})
		switch {
		case failed == nil:
			n++
		case !awsapi.IsNotFound(failed):
			err = errors.Join(err, fmt.Errorf("end the unfinished upload of %s: %w", aws.ToString(u.Key), failed))
		}
	}
	return n, err
}

// mark is a marker that is there.
type mark struct {
	meta map[string]string
}

// of tells that a marker is of an archive with a digest.
func (m *mark) of(digest string) bool {
	if m == nil || digest == "" {
		return false
	}
	for k, v := range m.meta {
		if k != metaRecord && k != metaListing && hexOf(strings.TrimSpace(v)) == hexOf(digest) {
			return true
		}
	}
	return false
}

var sum = regexp.MustCompile(`^(sha256:)?[0-9a-fA-F]{64}$`)

// digest is that of the archive, or "" if the marker has none: ours is preferred,
// else it is the only value that looks like one. Of several nobody knows which.
func (m *mark) digest() string {
	if v := m.meta[metaDigest]; sum.MatchString(v) {
		return "sha256:" + hexOf(v)
	}
	found := ""
	for k, v := range m.meta {
		switch v = hexOf(strings.TrimSpace(v)); {
		case k == metaRecord || k == metaListing || !sum.MatchString(v) || v == found:
		case found != "":
			return ""
		default:
			found = v
		}
	}
	if found == "" {
		return ""
	}
	return "sha256:" + found
}

// over tells that a marker was written over the objects of a folder, which it is one
// of. One that does not say over which, as the vendor's, is over those that are not
// newer.
func (m *mark) over(folder string, files map[string]object) bool {
	if was, ok := m.meta[metaListing]; ok {
		return was == listing(folder, files)
	}
	for _, o := range files {
		if o.modified.After(files[folder+Marker].modified) {
			return false
		}
	}
	return true
}

// listing is the SHA-256 of the names, sizes and ETags of the files of a folder. An
// ETag changes with each upload whose bytes or parts differ.
func listing(folder string, files map[string]object) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if file := strings.TrimPrefix(key, folder); file != Marker {
			// A hash takes everything.
			_, _ = fmt.Fprintf(h, "%s\x00%d\x00%s\n", file, files[key].size, files[key].etag)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// marker looks for a checkpoint's marker; nil means that there is none.
func (s *Store) marker(ctx context.Context, name string) (*mark, error) {
	return s.markerOf(ctx, folder(name))
}

func (s *Store) markerOf(ctx context.Context, folder string, how ...func(*s3.Options)) (*mark, error) {
	out, err := s.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.Bucket, Key: aws.String(folder + Marker)}, how...)
	if awsapi.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look whether s3://%s/%s is complete: %w", s.Bucket, folder, err)
	}
	meta := map[string]string{}
	for k, v := range out.Metadata {
		meta[strings.ToLower(k)] = v
	}
	return &mark{meta}, nil
}

// sending counts what really goes over the wire, and holds it to the limit. What a
// failed attempt sent is taken back.
type sending struct {
	next  s3.HTTPClient
	item  *transfer.Item
	limit *transfer.Limit
}

// Do implements [s3.HTTPClient].
func (c *sending) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return c.next.Do(r)
	}
	body := &counted{ReadCloser: r.Body}
	r.Body = struct {
		io.Reader
		io.Closer
	}{transfer.Reader(r.Context(), body, c.item, c.limit), r.Body}
	resp, err := c.next.Do(r)
	if err != nil || resp.StatusCode >= 300 {
		c.item.Move(-body.n.Load())
	}
	return resp, err
}

// counted counts what is read of a body.
type counted struct {
	io.ReadCloser
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// sent are the options of a call whose body is counted. The body is not hashed for
// the signature too: its checksum is signed, and S3 compares it.
func sent(item *transfer.Item, limit *transfer.Limit) func(*s3.Options) {
	return func(o *s3.Options) {
		o.HTTPClient = &sending{o.HTTPClient, item, limit}
		o.APIOptions = append(slices.Clone(o.APIOptions), v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
}
