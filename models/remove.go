package models

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/bundle/checkpoint"
)

// Removal is what a checkpoint holds, and what goes with it.
type Removal struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
	// Complete says that the marker is there: model servers may load it.
	Complete bool `json:"complete"`
	// Versions are those of all files, also of such as were replaced or deleted,
	// and Bytes what S3 stores of them.
	Versions int   `json:"versions"`
	Bytes    int64 `json:"bytes"`
	// Uploads are unfinished ones, whose parts are stored too.
	Uploads int `json:"unfinishedUploads"`
}

// Removable says what [Store.Remove] would remove. That there is nothing is an
// error of the kind [Gone].
func (s *Store) Removable(ctx context.Context, name string) (*Removal, error) {
	r, _, err := s.removable(ctx, name)
	return r, err
}

// removable also returns the versions but those of the marker.
func (s *Store) removable(ctx context.Context, name string) (*Removal, []types.ObjectIdentifier, error) {
	if err := checkpoint.CheckName(name); err != nil {
		return nil, nil, err
	}
	r := &Removal{Name: name, URI: s.uri(name)}
	var ids []types.ObjectIdentifier
	marks := 0
	ours := func(key *string) bool {
		return aws.ToString(key) == recordKey(name) || strings.HasPrefix(aws.ToString(key), folder(name))
	}
	for _, prefix := range []string{folder(name), recordKey(name)} {
		pages := s3.NewListObjectVersionsPaginator(s.S3, &s3.ListObjectVersionsInput{Bucket: &s.Bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, nil, fmt.Errorf("list the versions of %s: %w", "s3://"+s.Bucket+"/"+prefix, err)
			}
			for _, v := range page.Versions {
				if !ours(v.Key) {
					continue
				}
				r.Versions++
				r.Bytes += aws.ToInt64(v.Size)
				if aws.ToString(v.Key) == folder(name)+Marker {
					r.Complete = r.Complete || aws.ToBool(v.IsLatest)
					marks++
					continue
				}
				ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
			}
			for _, m := range page.DeleteMarkers {
				if !ours(m.Key) {
					continue
				}
				marks++
				if aws.ToString(m.Key) != folder(name)+Marker {
					ids = append(ids, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
				}
			}
		}
	}
	uploads, err := s.uploads(ctx, folder(name))
	if err != nil {
		return nil, nil, err
	}
	for _, list := range uploads {
		r.Uploads += len(list)
	}
	if len(ids) == 0 && marks == 0 && r.Uploads == 0 {
		return nil, nil, &goneError{name, s.Bucket}
	}
	return r, ids, nil
}

// PartlyRemovedError is a checkpoint that may be removed in part.
type PartlyRemovedError struct {
	Name string
	Err  error
}

func (e *PartlyRemovedError) Error() string { return fmt.Sprintf("remove %s: %v", e.Name, e.Err) }
func (e *PartlyRemovedError) Unwrap() error { return e.Err }

// Remove removes a checkpoint for good: its marker first, then all versions of its
// files, its record and unfinished uploads. What was interrupted is gone on with by
// the same call. It says what was removed. From the first call that removes something
// on, its errors are a [PartlyRemovedError].
func (s *Store) Remove(ctx context.Context, name string) (*Removal, error) {
	r, ids, err := s.removable(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := s.remove(ctx, name, ids); err != nil {
		return nil, &PartlyRemovedError{name, err}
	}
	return r, nil
}

// remove removes versions, unfinished uploads and the marker of a checkpoint.
func (s *Store) remove(ctx context.Context, name string, ids []types.ObjectIdentifier) error {
	marker := aws.String(folder(name) + Marker)
	// On a versioned bucket this hides it; its versions go last, so that none of
	// them comes to light while there are files.
	if _, err := s.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: marker}); err != nil {
		return fmt.Errorf("remove the marker: %w", err)
	}
	uploads, err := s.uploads(ctx, folder(name))
	if err != nil {
		return err
	}
	for _, list := range uploads {
		if _, err := s.abort(ctx, list); err != nil {
			return err
		}
	}
	if err := s.delete(ctx, ids); err != nil {
		return err
	}
	var old, hides []types.ObjectIdentifier
	pages := s3.NewListObjectVersionsPaginator(s.S3, &s3.ListObjectVersionsInput{Bucket: &s.Bucket, Prefix: marker})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list the versions of the marker: %w", err)
		}
		for _, v := range page.Versions {
			if aws.ToString(v.Key) == *marker {
				old = append(old, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
			}
		}
		for _, m := range page.DeleteMarkers {
			if aws.ToString(m.Key) == *marker {
				hides = append(hides, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
			}
		}
	}
	for _, list := range [][]types.ObjectIdentifier{old, hides} {
		if err := s.delete(ctx, list); err != nil {
			return fmt.Errorf("remove the marker: %w", err)
		}
	}
	return nil
}

// batch is how many versions one call deletes.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
const batch = 1000

func (s *Store) delete(ctx context.Context, ids []types.ObjectIdentifier) error {
	for len(ids) > 0 {
		n := min(len(ids), batch)
		out, err := s.S3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &s.Bucket, Delete: &types.Delete{Objects: ids[:n], Quiet: new(true)}})
		if err != nil {
			return err
		}
		var all []error
		for i, e := range out.Errors {
			if i == 5 {
				all = append(all, fmt.Errorf("and %d more", len(out.Errors)-i))
				break
			}
			takes := ""
			if aws.ToString(e.Code) == "AccessDenied" {
				takes = "; it takes the permission s3:DeleteObjectVersion"
			}
			all = append(all, fmt.Errorf("%s: %s: %s%s", aws.ToString(e.Key), aws.ToString(e.Code), aws.ToString(e.Message), takes))
		}
		if len(all) > 0 {
			return errors.Join(all...)
		}
		ids = ids[n:]
	}
	return nil
}
