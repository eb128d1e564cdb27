package models

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/bundle/checkpoint"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Checkpoint is one in the bucket.
type Checkpoint struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
	// Complete says that the marker is there, since Marked.
	Complete bool      `json:"complete"`
	Marked   time.Time `json:"marked,omitzero"`
	// Digest is that of the archive it came from; "" if the marker doesn't say.
	Digest string `json:"digest,omitempty"`
	// Recorded says that its files were recorded with their checksums.
	Recorded bool `json:"recorded"`
	// Files and Bytes are those that are there.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Uploads are unfinished ones, of pushes that go on or were interrupted.
	Uploads int `json:"unfinishedUploads"`
}

// List lists the bucket's checkpoints by name: also those that are not complete.
func (s *Store) List(ctx context.Context) ([]Checkpoint, error) {
	found := map[string]*Checkpoint{}
	at := func(key string) (c *Checkpoint, file string) {
		name, file, ok := strings.Cut(strings.TrimPrefix(key, Prefix), "/")
		if !ok || name == "" {
			return nil, ""
		}
		c = found[name]
		if c == nil {
			c = &Checkpoint{Name: name, URI: s.uri(name)}
			found[name] = c
		}
		return c, file
	}
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: aws.String(Prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the checkpoints of bucket %s: %w", s.Bucket, err)
		}
		for _, o := range page.Contents {
			if folderObject(aws.ToString(o.Key), aws.ToInt64(o.Size)) {
				continue
			}
			c, file := at(aws.ToString(o.Key))
			switch {
			case c == nil:
			case file == Marker:
				c.Complete, c.Marked = true, aws.ToTime(o.LastModified)
			default:
				c.Files++
				c.Bytes += aws.ToInt64(o.Size)
			}
		}
	}
	uploads, err := s.uploads(ctx, Prefix)
	if err != nil {
		return nil, err
	}
	for key, list := range uploads {
		if c, _ := at(key); c != nil {
			c.Uploads += len(list)
		}
	}
	out := []Checkpoint{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c := found[name]
		if c.Complete {
			m, err := s.marker(ctx, name)
			if err != nil {
				return nil, err
			}
			if c.Complete = m != nil; c.Complete {
				c.Digest, c.Recorded = m.digest(), m.meta[metaRecord] != ""
			}
		}
		out = append(out, *c)
	}
	return out, nil
}

// Difference is what is not as it was recorded.
type Difference struct {
	// File is empty for the checkpoint as a whole.
	File   string `json:"file,omitempty"`
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// String is one line, without the fix.
func (d Difference) String() string {
	if d.File == "" {
		return "the checkpoint " + d.Reason
	}
	return d.File + " " + d.Reason
}

// Verification is what a look at all of a checkpoint came to.
type Verification struct {
	Checkpoint
	// Whole says that nothing differs.
	Whole       bool         `json:"whole"`
	Differences []Difference `json:"differences"`
	// Unchecked is what could not be compared, and why.
	Unchecked []string `json:"unchecked"`
}

// Verify compares each file of a checkpoint with what was recorded when it was
// pushed: its size, and the checksum that S3 keeps of the whole object. Nothing is
// downloaded. That a checkpoint is not there is an error of the kind [Gone].
func (s *Store) Verify(ctx context.Context, name string) (*Verification, error) {
	if err := checkpoint.CheckName(name); err != nil {
		return nil, err
	}
	there, err := s.objects(ctx, folder(name))
	if err != nil {
		return nil, err
	}
	if len(there) == 0 {
		return nil, &goneError{name, s.Bucket}
	}
	v := &Verification{Checkpoint: Checkpoint{Name: name, URI: s.uri(name)}, Differences: []Difference{}, Unchecked: []string{}}
	differ := func(file, fix, reason string, args ...any) {
		v.Differences = append(v.Differences, Difference{file, fmt.Sprintf(reason, args...), fix})
	}
	again := "push it again: poolhouse models push"
	m, err := s.marker(ctx, name)
	if err != nil {
		return nil, err
	}
	unfinished, err := s.uploads(ctx, folder(name))
	if err != nil {
		return nil, err
	}
	for _, list := range unfinished {
		v.Uploads += len(list)
	}
	marked := there[folder(name)+Marker].modified
	delete(there, folder(name)+Marker)
	for _, o := range there {
		v.Files++
		v.Bytes += o.size
	}
	if m == nil {
		differ("", "push it, which goes on where an earlier push stopped: poolhouse models push", "is not complete: it has no marker")
		return v, nil
	}
	v.Complete, v.Marked, v.Digest = true, marked, m.digest()
	r, err := s.record(ctx, name, m)
	var other *recordError
	switch {
	case errors.As(err, &other), awsapi.IsNotFound(err):
		differ("", again, "has no record of its files: %v", err)
		return v, nil
	case err != nil:
		return nil, err
	case r == nil:
		v.Unchecked = append(v.Unchecked, "the files' names, sizes and checksums: the program that pushed it recorded none")
		v.Whole = true
		return v, nil
	}
	v.Recorded = true
	if hexOf(r.Digest) != hexOf(v.Digest) {
		differ("", again, "has a marker for %s, and a record for %s", v.Digest, r.Digest)
	}
	reasons := make([]string, len(r.Files))
	if err := each(ctx, len(r.Files), func(ctx context.Context, i int) (err error) {
		reasons[i], err = s.differs(ctx, name, r.Files[i])
		return err
	}); err != nil {
		return nil, err
	}
	for i, f := range r.Files {
		if reasons[i] != "" {
			differ(f.Name, again, "%s", reasons[i])
		}
		delete(there, folder(name)+f.Name)
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		differ(strings.TrimPrefix(key, folder(name)), "remove it, or push the checkpoint again with --delete-others", "was put there by somebody else")
	}
	v.Whole = len(v.Differences) == 0
	return v, nil
}

// differs compares an object with what was recorded of it.
func (s *Store) differs(ctx context.Context, name string, f File) (string, error) {
	out, err := s.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.Bucket, Key: aws.String(folder(name) + f.Name), ChecksumMode: types.ChecksumModeEnabled})
	switch {
	case awsapi.IsNotFound(err):
		return "is gone", nil
	case err != nil:
		return "", fmt.Errorf("look at %s%s: %w", s.uri(name), f.Name, err)
	case aws.ToInt64(out.ContentLength) != f.Size:
		return fmt.Sprintf("has %d bytes, and had %d", aws.ToInt64(out.ContentLength), f.Size), nil
	case out.ChecksumCRC64NVME == nil || out.ChecksumType == types.ChecksumTypeComposite:
		return "was written by another program: S3 has no checksum of its whole", nil
	case aws.ToString(out.ChecksumCRC64NVME) != f.CRC64NVME:
		return fmt.Sprintf("has the checksum %s, and had %s", aws.ToString(out.ChecksumCRC64NVME), f.CRC64NVME), nil
	}
	return "", nil
}

// each calls f for 0 to n-1, some at a time, and returns the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	next := make(chan int)
	var busy sync.WaitGroup
	for range workers {
		busy.Go(func() {
			for i := range next {
				if ctx.Err() != nil {
					continue
				}
				if err := f(ctx, i); err != nil {
					fail(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	busy.Wait()
	return context.Cause(ctx)
}
