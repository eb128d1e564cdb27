package models

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// begin finds an upload of an earlier push to go on with, or begins one. S3 tells of no
// part what it was copied from, so that the copy of a source without a checksum of its
// whole goes on with none. Nor is its upload taken, which bears the mark of that source:
// none of its parts has the size that it would have here (see [apart]).
func (c *sender) begin(f *file) error {
	for _, u := range slices.Backward(c.unfinished[f.key]) {
		have, err := c.parts(f, u)
		if err != nil {
			return err
		}
		if len(have) > 0 {
			f.upload, f.have = aws.ToString(u.UploadId), have
			return nil
		}
	}
	return c.anew(f)
}

// anew begins an upload.
func (c *sender) anew(f *file) error {
	algorithm, key, bucketKey := c.encryption()
	out, err := c.S3.CreateMultipartUpload(c.ctx, &s3.CreateMultipartUploadInput{
		Bucket: &c.Bucket, Key: &f.key, ServerSideEncryption: algorithm, SSEKMSKeyId: key, BucketKeyEnabled: bucketKey,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject, Metadata: f.metadata(),
	})
	if err != nil {
		return err
	}
	f.upload = aws.ToString(out.UploadId)
	return nil
}

// parts are those of an upload that has checksums and sizes as ours have; else none.
func (c *sender) parts(f *file, u types.MultipartUpload) (map[int32]types.Part, error) {
	have := map[int32]types.Part{}
	pages := s3.NewListPartsPaginator(c.S3, &s3.ListPartsInput{Bucket: &c.Bucket, Key: &f.key, UploadId: u.UploadId})
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.ctx)
		if awsapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if page.ChecksumType == types.ChecksumTypeComposite || page.StorageClass != "" && page.StorageClass != types.StorageClassStandard {
			return nil, nil // somebody else's
		}
		for _, p := range page.Parts {
			number := aws.ToInt32(p.PartNumber)
			if p.ChecksumCRC64NVME == nil || number < 1 || int(number) > len(f.sums) || aws.ToInt64(p.Size) != f.cut(number) {
				return nil, nil
			}
			have[number] = p
		}
	}
	return have, nil
}

// errUploadEnded is that an upload is gone in whose parts a file is sent.
var errUploadEnded = errors.New("somebody has ended the upload of this file, as another push of the checkpoint or a removal does; repeat the command when nobody else works on it")

// errOtherwise is that an object came about with another encryption than was asked
// for: its upload was begun by somebody else.
var errOtherwise = errors.New("its upload was begun with another encryption")

// cut is the size of a part, by its number.
func (f *file) cut(number int32) int64 {
	return min(f.part, f.Size-int64(number-1)*f.part)
}

// otherwise has a file go once more, by another way, after its parts were moved in vain:
// they count no more.
func (c *sender) otherwise(f *file) {
	var moved int64
	for i, sum := range f.sums {
		number := int32(i + 1)
		have, there := f.have[number]
		switch {
		case f.tags[i] == "":
		case there && aws.ToString(have.ChecksumCRC64NVME) == text(sum):
			c.item.Skip(-f.cut(number))
		default:
			moved += f.cut(number)
		}
	}
	c.item.Move(-moved)
	if f.from != nil {
		c.copies.Add(-moved)
	}
	c.repeat(f)
}

// repeat has the next pass send a file, whatever is there.
func (c *sender) repeat(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again[f.Name] = true
}

// discard ends the upload of a file whose parts S3 copied wrongly, or not all: a push
// after this one would go on with it, and it costs as much as what it holds.
func (c *sender) discard(f *file) error {
	c.otherwise(f)
	if f.upload == "" {
		return nil
	}
	_, err := c.abort(c.ctx, []types.MultipartUpload{{Key: &f.key, UploadId: &f.upload}})
	return err
}

// complete ends a file once all of its parts were sent or compared.
func (c *sender) complete(f *file) error {
	if f.refused {
		return c.discard(f)
	}
	whole := f.sums[0]
	for i, sum := range f.sums[1:] {
		whole = join(whole, sum, f.cut(int32(i+2)))
	}
	f.CRC64NVME = text(whole)
	switch {
	case f.same != "" && f.same != f.CRC64NVME:
		c.repeat(f)
		return nil
	case f.original != "" && f.original != f.CRC64NVME && f.from != nil:
		// Parts were there of another source, or the server says of a part what holds of
		// the whole source: then it is read and sent.
		if len(f.have) == 0 {
			c.run.streams.Store(true)
		}
		return c.discard(f)
	case f.original != "" && f.original != f.CRC64NVME:
		return fmt.Errorf("what was read has the checksum %s, and the source has %s; repeat the command", f.CRC64NVME, f.original)
	case f.same != "":
		c.item.Skip(f.Size)
	case len(f.sums) == 1:
		f.etag = f.tags[0]
	default:
		err := c.assemble(f)
		if errors.Is(err, errOtherwise) && len(f.have) > 0 {
			c.otherwise(f)
			return nil
		}
		if err != nil {
			return err
		}
	}
	c.finished(f)
	return nil
}

// finished takes down that a file is there. What its parts were is not needed any more.
func (c *sender) finished(f *file) {
	f.sums, f.tags, f.have, f.from = nil, nil, nil, nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[f.key] = f
	delete(c.again, f.Name)
}

// assemble makes an object of parts. S3 compares its checksum and size.
func (c *sender) assemble(f *file) error {
	if err := c.touch(); err != nil {
		return err
	}
	list := make([]types.CompletedPart, len(f.sums))
	for i, sum := range f.sums {
		list[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: &f.tags[i], ChecksumCRC64NVME: aws.String(text(sum))}
	}
	out, err := c.S3.CompleteMultipartUpload(c.ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &c.Bucket, Key: &f.key, UploadId: &f.upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: list},
		ChecksumCRC64NVME: &f.CRC64NVME, ChecksumType: types.ChecksumTypeFullObject, MpuObjectSize: &f.Size,
	})
	if err == nil {
		f.etag = trim(out.ETag)
		if algorithm, key, _ := c.encryption(); algorithm != "" && (out.ServerSideEncryption != algorithm || !sameKey(aws.ToString(key), aws.ToString(out.SSEKMSKeyId))) {
			return errOtherwise
		}
		return nil
	}
	if awsapi.Code(err) != "NoSuchUpload" {
		return fmt.Errorf("put its %d parts together: %w", len(list), err)
	}
	// The answer to an earlier attempt may have been lost.
	head, lost := c.S3.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: &c.Bucket, Key: &f.key, ChecksumMode: types.ChecksumModeEnabled})
	if lost != nil || aws.ToInt64(head.ContentLength) != f.Size || aws.ToString(head.ChecksumCRC64NVME) != f.CRC64NVME {
		return fmt.Errorf("put its %d parts together: %w", len(list), errUploadEnded)
	}
	f.etag = trim(head.ETag)
	return nil
}

// sameKey tells that a key is the one that was asked for. A bucket may name its key by
// id or alias, and S3 answers with the ARN: what can't be compared passes.
func sameKey(asked, is string) bool {
	return asked == is || !strings.HasPrefix(asked, "arn:") || strings.Contains(asked, ":alias/")
}
