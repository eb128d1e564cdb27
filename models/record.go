package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// File is a file of a checkpoint.
type File struct {
	// Name is its key without the checkpoint's folder.
	Name string `json:"name"`
	Size int64  `json:"size"`
	// CRC64NVME is its checksum as S3 writes it.
	CRC64NVME string `json:"crc64nvme"`
}

// Record is what a checkpoint was when it was pushed.
type Record struct {
	Name string `json:"name"`
	// Digest is that of the archive or folder it came from: sha256:...
	Digest string    `json:"digest"`
	Pushed time.Time `json:"pushed"`
	Files  []File    `json:"files"`
}

// maxRecord is how long a record may be that is read.
const maxRecord = 64 << 20

// write records a checkpoint and then marks it as complete, unless it is marked. Listed
// is the [listing] of its files.
func (s *Store) write(ctx context.Context, r Record, listed string) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record %s: %w", r.Name, err)
	}
	algorithm, key, bucketKey := s.encryption()
	if _, err := s.S3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.Bucket, Key: aws.String(recordKey(r.Name)), Body: bytes.NewReader(body), ContentType: aws.String("application/json"),
		ServerSideEncryption: algorithm, SSEKMSKeyId: key, BucketKeyEnabled: bucketKey, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
	}); err != nil {
		return fmt.Errorf("record %s: %w", r.Name, err)
	}
	var total int64
	for _, f := range r.Files {
		total += f.Size
	}
	sum := sha256.Sum256(body)
	_, err = s.S3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.Bucket, Key: aws.String(folder(r.Name) + Marker), Body: bytes.NewReader(nil), ContentLength: aws.Int64(0), IfNoneMatch: aws.String("*"),
		ServerSideEncryption: algorithm, SSEKMSKeyId: key, BucketKeyEnabled: bucketKey, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
		Metadata: map[string]string{
			metaDigest: hexOf(r.Digest), metaRecord: fmt.Sprintf("%x", sum), metaFiles: strconv.Itoa(len(r.Files)), metaBytes: strconv.FormatInt(total, 10),
			metaListing: listed,
		},
	})
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
	if code := awsapi.Code(err); code == "PreconditionFailed" || code == "ConditionalRequestConflict" {
		// It is this push's own if the answer to an earlier attempt was lost.
		there, lost := s.marker(ctx, r.Name)
		switch {
		case lost != nil:
			return lost
		case there == nil || there.meta[metaRecord] != fmt.Sprintf("%x", sum):
			return &meddledError{Marker}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark %s as complete: %w", s.uri(r.Name), err)
	}
	return nil
}

// record reads what a marker says was recorded; nil if it says nothing, as that of
// the vendor's uploader.
func (s *Store) record(ctx context.Context, name string, m *mark) (r *Record, err error) {
	want := m.meta[metaRecord]
	if want == "" {
		return nil, nil
	}
	key := recordKey(name)
	out, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("read the record s3://%s/%s: %w", s.Bucket, key, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(out.Body, maxRecord+1))
	if err != nil {
		return nil, fmt.Errorf("read the record s3://%s/%s: %w", s.Bucket, key, err)
	}
	if sum := sha256.Sum256(body); len(body) > maxRecord || fmt.Sprintf("%x", sum) != want {
		return nil, &recordError{key}
	}
	r = &Record{}
	if err := json.Unmarshal(body, r); err != nil {
		return nil, &recordError{key}
	}
	return r, nil
}

// lastRecord is the record of the checkpoint's last push that ended, also if its marker
// is gone; an empty one if there is none, or none that can be read.
func (s *Store) lastRecord(ctx context.Context, name string) (r Record, err error) {
	key := recordKey(name)
	out, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	if awsapi.IsNotFound(err) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read the record s3://%s/%s: %w", s.Bucket, key, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(out.Body, maxRecord))
	if err != nil {
		return r, fmt.Errorf("read the record s3://%s/%s: %w", s.Bucket, key, err)
	}
	if json.Unmarshal(body, &r) != nil {
		r = Record{} // then all that is there is somebody's
	}
	return r, nil
}

// recordError says that a record is not the one that the marker names.
type recordError struct{ key string }

func (e *recordError) Error() string {
	return e.key + " is not the record that the marker names"
}
