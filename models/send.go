package models

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/transfer"
)

const (
	// least is the least that is sent as a part, apart from the last of a file.
	least = 8 << 20
	// piece is what memory is given in, and pieces how many there are: enough for a
	// part of each worker and for what is read meanwhile. The garbage collector lets the
	// heap grow to twice of what is held.
	piece  = 2 << 20
	pieces = 40
	// Memory is how many bytes of parts a push holds at most.
	Memory = pieces * piece
	// workers is how many parts are sent at the same time.
	workers = 8
	// maxParts is how many parts an object may have.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
	maxParts = 10_000
)

// partSize is the size of the parts of a file: that of the least, or as many pieces as
// it takes. It depends on nothing else, so that parts of an earlier push fit. It is 0
// for a file that is too large.
func partSize(size, least int64) int64 {
	if size <= least*maxParts {
		return least
	}
	for n := least/piece + 1; n <= pieces; n++ {
		if size <= n*piece*maxParts {
			return n * piece
		}
	}
	return 0
}

// memory are the pieces of a push that nobody holds: those that were held before come
// first, so that none is made while others lie idle.
type memory struct {
	made chan []byte
	// fresh are those that were never held.
	fresh chan struct{}
}

func newMemory() *memory {
	m := &memory{made: make(chan []byte, pieces), fresh: make(chan struct{}, pieces)}
	for range pieces {
		m.fresh <- struct{}{}
	}
	return m
}

// take waits for a piece, or returns nil when the context ends.
func (m *memory) take(ctx context.Context) []byte {
	select {
	case b := <-m.made:
		return b
	default:
	}
	select {
	case b := <-m.made:
		return b
	case <-m.fresh:
		return make([]byte, 0, piece)
	case <-ctx.Done():
		return nil
	}
}

// give gives pieces back.
func (m *memory) give(list [][]byte) {
	for _, b := range list {
		m.made <- b[:0]
	}
}

// sender sends the files of one checkpoint. Only one goroutine may hand it files.
type sender struct {
	*Store
	name  string
	item  *transfer.Item
	limit *transfer.Limit
	run   *run
	// there are the objects and unfinished uploads that there were before.
	there      map[string]object
	unfinished map[string][]types.MultipartUpload

	ctx  context.Context
	fail context.CancelCauseFunc
	free *memory
	jobs chan job
	busy sync.WaitGroup
	// bytes are those that were sent and arrived.
	bytes atomic.Int64
	// copies are those that S3 copied.
	copies atomic.Int64

	mu   sync.Mutex
	done map[string]*file
	// again are files whose object was thought to be the same and is not.
	again map[string]bool
}

// file is one that is on its way.
type file struct {
	File
	key  string
	etag string

	part   int64
	upload string // the multipart upload's id
	// have are the parts that an earlier push has sent or had copied, as large as ours.
	have map[int32]types.Part
	// same is the checksum of an object of the same size that is there; the file is
	// read to be compared with it, and not sent.
	same string
	// from is what S3 copies; nil if the file is sent. Original is the checksum of a
	// source in S3, or "" if S3 has none of the whole.
	from     *fetched
	original string
	// origin is what the copy of a source without such a checksum is marked with, or "".
	// Its parts are cut as those of no other push.
	origin string

	mu sync.Mutex
	// sums and tags are those of the parts; a part that S3 did not copy has no tag.
	sums []uint64
	tags []string
	left int
	// refused says that S3 did not copy all of its parts.
	refused bool
}

// job is a part of a file, or a whole one.
type job struct {
	f      *file
	number int32
	body   [][]byte
	size   int64
}

func (s *Store) sender(ctx context.Context, name string, item *transfer.Item, limit *transfer.Limit, free *memory, r *run) *sender {
	c := &sender{Store: s, name: name, item: item, limit: limit, run: r, free: free, jobs: make(chan job), done: map[string]*file{}, again: map[string]bool{}}
	c.ctx, c.fail = context.WithCancelCause(ctx)
	for range workers {
		c.busy.Go(c.work)
	}
	return c
}

// close waits until all is sent and returns the first error.
func (c *sender) close() error {
	close(c.jobs)
	c.busy.Wait()
	err := context.Cause(c.ctx)
	c.fail(nil)
	return err
}

// inFile names a file in an error.
func inFile(f *file, err error) error { return fmt.Errorf("file %s: %w", f.Name, err) }

func (c *sender) work() {
	for j := range c.jobs {
		if c.ctx.Err() == nil {
			if err := c.one(j); err != nil {
				c.fail(inFile(j.f, err))
			}
		}
		c.free.give(j.body)
	}
}

// take reads up to n bytes into free memory.
func (c *sender) take(r io.Reader, n int64) (j job, err error) {
	for j.size < n {
		b := c.free.take(c.ctx)
		if b == nil {
			return j, context.Cause(c.ctx)
		}
		b = b[:min(n-j.size, piece)]
		got, err := io.ReadFull(r, b)
		j.body, j.size = append(j.body, b[:got]), j.size+int64(got)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return j, &endedError{err}
		}
		if err != nil {
			return j, err
		}
	}
	return j, nil
}

// endedError says that a file of the source has fewer bytes than it was said to
// have. A call's own error may be the same end of a file, of its connection's.
type endedError struct{ err error }

func (e *endedError) Error() string { return e.err.Error() }

// touch is called before an object of the checkpoint is written. A marker that is
// there by then is another push's: what is under it is not written over.
func (c *sender) touch() error {
	there, err := c.marker(c.ctx, c.name)
	if err != nil {
		return err
	}
	if there != nil {
		return &meddledError{Marker}
	}
	c.run.changed.Store(true)
	return nil
}

// send reads a file and hands its parts to the workers. Compare says that an
// object which seems to be the same is compared, and not sent over. Original is the
// checksum that it should have, or "".
func (c *sender) send(name string, size int64, r io.Reader, compare bool, original string) error {
	f := &file{File: File{Name: name, Size: size}, key: folder(c.name) + name, part: partSize(size, cmp.Or(c.part, least)), original: original}
	if f.part == 0 {
		return inFile(f, fmt.Errorf("it has %d bytes, and S3 takes %d at most in %d parts of %d MiB", size, int64(Memory)*maxParts, maxParts, Memory>>20))
	}
	parts := int(max((size+f.part-1)/f.part, 1))
	f.sums, f.tags, f.left = make([]uint64, parts), make([]string, parts), parts
	if o, ok := c.there[f.key]; ok && compare && o.size == size {
		if _, err := c.compare(f, o); err != nil {
			return inFile(f, err)
		}
	}
	if parts > 1 && f.same == "" {
		if err := c.begin(f); err != nil {
			return inFile(f, err)
		}
	}
	for n, at := int32(1), int64(0); at < size || n == 1; n++ {
		j, err := c.take(r, min(f.part, size-at))
		if err != nil {
			c.free.give(j.body)
			return err
		}
		at += j.size
		j.f, j.number = f, n
		select {
		case c.jobs <- j:
		case <-c.ctx.Done():
			c.free.give(j.body)
			return context.Cause(c.ctx)
		}
	}
	return nil
}

// compare looks at the checksum of an object that is there, and at the origin that it
// is marked with.
func (c *sender) compare(f *file, o object) (origin string, err error) {
	out, err := c.S3.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: &c.Bucket, Key: &f.key, ChecksumMode: types.ChecksumModeEnabled})
	if awsapi.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if aws.ToInt64(out.ContentLength) == f.Size && out.ChecksumType != types.ChecksumTypeComposite {
		f.same, f.etag = aws.ToString(out.ChecksumCRC64NVME), trim(out.ETag)
	}
	return out.Metadata[metaOrigin], nil
}

// damaged is how often bytes that arrived otherwise than they were sent are sent
// again.
const damaged = 3

// one sends a part, or a whole file, and completes the file after its last.
func (c *sender) one(j job) (err error) {
	f, i := j.f, j.number-1
	var crc uint64
	for _, b := range j.body {
		crc = crc64.Update(crc, table(), b)
	}
	tag, refused := "", false
	switch {
	case f.from != nil:
		if crc, tag, err = c.duplicate(j); errors.Is(err, errStream) {
			c.run.streams.Store(true)
			refused, err = true, nil
		}
	case f.same != "" && len(f.sums) == 1 && text(crc) != f.same:
		// All of it is at hand.
		f.same = ""
		tag, err = c.whole(f, j, crc)
	case f.same != "":
		tag = f.etag
	case len(f.sums) == 1:
		tag, err = c.whole(f, j, crc)
	default:
		tag, err = c.put(f, j, crc)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.sums[i], f.tags[i], f.refused = crc, tag, f.refused || refused
	f.left--
	last := f.left == 0
	f.mu.Unlock()
	if !last {
		return nil
	}
	return c.complete(f)
}

// sendBody makes a call with a body, again if the body was damaged on its way.
func sendBody(body func() io.ReadSeeker, call func(io.ReadSeeker) error) (err error) {
	for range damaged {
		if err = call(body()); awsapi.Code(err) != "BadDigest" && awsapi.Code(err) != "XAmzContentChecksumMismatch" {
			return err
		}
	}
	return err
}

func (c *sender) whole(f *file, j job, crc uint64) (tag string, err error) {
	if err := c.touch(); err != nil {
		return "", err
	}
	algorithm, key, bucketKey := c.encryption()
	err = sendBody(j.reader, func(body io.ReadSeeker) error {
		out, err := c.S3.PutObject(c.ctx, &s3.PutObjectInput{
			Bucket: &c.Bucket, Key: &f.key, Body: body, ContentLength: &j.size, ChecksumCRC64NVME: aws.String(text(crc)),
			ServerSideEncryption: algorithm, SSEKMSKeyId: key, BucketKeyEnabled: bucketKey, Metadata: f.metadata(),
		}, sent(c.item, c.limit))
		if err == nil {
			tag = trim(out.ETag)
		}
		return err
	})
	if err == nil {
		c.bytes.Add(j.size)
	}
	return tag, err
}

func (c *sender) put(f *file, j job, crc uint64) (tag string, err error) {
	if p, ok := f.have[j.number]; ok && aws.ToString(p.ChecksumCRC64NVME) == text(crc) {
		c.item.Skip(j.size)
		return aws.ToString(p.ETag), nil
	}
	err = sendBody(j.reader, func(body io.ReadSeeker) error {
		out, err := c.S3.UploadPart(c.ctx, &s3.UploadPartInput{
			Bucket: &c.Bucket, Key: &f.key, UploadId: &f.upload, PartNumber: &j.number, Body: body, ContentLength: &j.size, ChecksumCRC64NVME: aws.String(text(crc)),
		}, sent(c.item, c.limit))
		if err == nil {
			tag = aws.ToString(out.ETag)
		}
		return err
	})
	if awsapi.Code(err) == "NoSuchUpload" {
		return "", fmt.Errorf("part %d: %w", j.number, errUploadEnded)
	}
	if err != nil {
		return "", fmt.Errorf("part %d: %w", j.number, err)
	}
	c.bytes.Add(j.size)
	return tag, nil
}

// reader is a job's body.
func (j job) reader() io.ReadSeeker { return &body{pieces: j.body, size: j.size} }

// body reads pieces of memory as one; all but the last have the same size.
type body struct {
	pieces   [][]byte
	size, at int64
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.at >= b.size {
		return 0, io.EOF
	}
	n := copy(p, b.pieces[b.at/piece][b.at%piece:])
	b.at += int64(n)
	return n, nil
}

// Seek implements [io.Seeker].
func (b *body) Seek(offset int64, whence int) (int64, error) {
	at := offset
	switch whence {
	case io.SeekCurrent:
		at += b.at
	case io.SeekEnd:
		at += b.size
	}
	if at < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return b.at, errors.New("seek before the start of a part")
	}
	b.at = at
	return at, nil
}
