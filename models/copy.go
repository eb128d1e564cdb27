package models

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// copied is the least size of the parts that S3 copies; what has no more is copied in
// one piece.
const copied = 256 << 20

// copySize is the size of the parts of a file that S3 copies, a multiple of the least.
// It may be 5 GiB at most: https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
func copySize(size, least int64) int64 {
	n := (size + least*maxParts - 1) / (least * maxParts)
	return max(n, 1) * least
}

// apart is the size of the parts of a file whose upload nobody else may go on with: each
// of them has another size than the one of its number where the same file is cut into
// parts of the size sent, or of the size copied, which is not less.
func apart(size, sent, copied int64) int64 {
	n := copied + 1
	for size > n {
		if last := (size-1)%n + 1; last != sent && last != copied {
			break
		}
		n++
	}
	return n
}

// copy has S3 copy a file from another bucket, or place of this one. Where S3 may not,
// it is read and sent.
func (c *sender) copy(name string, from *fetched, compare bool) error {
	f := &file{File: File{Name: name, Size: from.size}, key: folder(c.name) + name, part: copySize(from.size, cmp.Or(c.copied, copied)), from: from}
	head, err := c.S3.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: &from.from.bucket, Key: &from.key, IfMatch: aws.String(`"` + from.etag + `"`), ChecksumMode: types.ChecksumModeEnabled}, from.from.there)
	if err != nil {
		return inFile(f, from.failed(err))
	}
	if head.ChecksumType != types.ChecksumTypeComposite {
		f.original = aws.ToString(head.ChecksumCRC64NVME)
	}
	if f.original == "" {
		f.origin, f.part = from.origin(), apart(f.Size, partSize(f.Size, cmp.Or(c.part, least)), f.part)
	}
	parts := int(max((f.Size+f.part-1)/f.part, 1))
	f.sums, f.tags, f.left = make([]uint64, parts), make([]string, parts), parts
	resume := compare && f.original != ""
	if o, ok := c.there[f.key]; ok && compare && o.size == f.Size {
		known, err := c.compare(f, o)
		if err != nil {
			return inFile(f, err)
		}
		if f.same != "" && (f.same == f.original || f.origin != "" && known == f.origin) {
			f.CRC64NVME = f.same
			c.item.Skip(f.Size)
			c.finished(f)
			return nil
		}
		f.same, compare = "", compare && f.original == ""
	}
	if c.run.streams.Load() {
		return c.send(name, from.size, from, compare, f.original)
	}
	if parts > 1 {
		begin := c.begin
		if !resume {
			begin = c.anew
		}
		if err := begin(f); err != nil {
			return inFile(f, err)
		}
	}
	for n := range parts {
		select {
		case c.jobs <- job{f: f, number: int32(n + 1), size: f.cut(int32(n + 1))}:
		case <-c.ctx.Done():
			return nil
		}
	}
	return nil
}

// origin tells an object that is copied from others, and from what it was before it was
// written over: by an ETag, which changes with each upload whose bytes or parts differ.
func (o *fetched) origin() string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s", o.from.uri(o.key), o.size, o.etag)))
}

// metaOrigin is what an object was copied from whose source had no checksum of its whole:
// a copy of it is known by that.
const metaOrigin = "poolhouse-origin"

func (f *file) metadata() map[string]string {
	m := map[string]string{metaPushed: pushed(f.key)}
	if f.origin != "" {
		m[metaOrigin] = f.origin
	}
	return m
}

// errStream says that S3 doesn't copy a file by itself.
var errStream = errors.New("S3 does not copy it")

// refused tells that S3 doesn't copy by itself what may still be read and sent: over
// an endpoint that leads to one region, or from a server that doesn't know how.
func refused(err error) bool {
	return awsapi.IsDenied(err) || awsapi.Code(err) == "NotImplemented" || awsapi.Code(err) == "MethodNotAllowed"
}

// duplicate copies a part, or a whole file. What it returns is as that of a part that
// was sent.
func (c *sender) duplicate(j job) (crc uint64, tag string, err error) {
	f := j.f
	source, match := f.from.from.escaped(f.from.key), aws.String(`"`+f.from.etag+`"`)
	var sum string
	reused := false
	switch p, have := f.have[j.number]; {
	case have:
		reused = true
		sum, tag = aws.ToString(p.ChecksumCRC64NVME), aws.ToString(p.ETag)
		c.item.Skip(j.size)
	case len(f.sums) == 1:
		if err := c.touch(); err != nil {
			return 0, "", err
		}
		algorithm, key, bucketKey := c.encryption()
		var out *s3.CopyObjectOutput
		out, err = c.S3.CopyObject(c.ctx, &s3.CopyObjectInput{
			Bucket: &c.Bucket, Key: &f.key, CopySource: source, CopySourceIfMatch: match,
			MetadataDirective: types.MetadataDirectiveReplace, TaggingDirective: types.TaggingDirectiveReplace,
			ServerSideEncryption: algorithm, SSEKMSKeyId: key, BucketKeyEnabled: bucketKey, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
			Metadata: f.metadata(),
		})
		if err == nil && out.CopyObjectResult != nil {
			sum, tag = aws.ToString(out.CopyObjectResult.ChecksumCRC64NVME), trim(out.CopyObjectResult.ETag)
		}
	default:
		at := int64(j.number-1) * f.part
		var out *s3.UploadPartCopyOutput
		out, err = c.S3.UploadPartCopy(c.ctx, &s3.UploadPartCopyInput{
			Bucket: &c.Bucket, Key: &f.key, UploadId: &f.upload, PartNumber: &j.number, CopySource: source, CopySourceIfMatch: match,
			CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+j.size-1)),
		})
		if err == nil && out.CopyPartResult != nil {
			sum, tag = aws.ToString(out.CopyPartResult.ChecksumCRC64NVME), aws.ToString(out.CopyPartResult.ETag)
		}
	}
	switch {
	case awsapi.Code(err) == "PreconditionFailed" || awsapi.Code(err) == "NoSuchKey":
		return 0, "", fault.Faults{changed(f.from.from.uri(f.from.key))}
	case awsapi.Code(err) == "NoSuchUpload":
		return 0, "", fmt.Errorf("part %d: %w", j.number, errUploadEnded)
	case err != nil && refused(err):
		return 0, "", errStream
	case err != nil:
		return 0, "", fmt.Errorf("copy it from %s: %w", f.from.from.uri(f.from.key), err)
	}
	raw, bad := base64.StdEncoding.DecodeString(sum)
	if bad != nil || len(raw) != 8 {
		return 0, "", errStream // by a server that computes no such checksums
	}
	if !reused {
		c.item.Move(j.size)
		c.copies.Add(j.size)
	}
	return binary.BigEndian.Uint64(raw), tag, nil
}

var _ io.Reader = (*fetched)(nil)
