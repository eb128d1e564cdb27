package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/stack"
)

// lockLooks is how many locked versions are asked for their dates at most.
const lockLooks = 1000

// lateLogs is how often a bucket of logs is emptied before it is left to its
// expiry: S3 and load balancers deliver logs hours after what they tell of.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html
const lateLogs = 5

// emptied is what emptying a bucket came to.
type emptied struct {
	deleted int
	// locked versions are under object lock, the last of them until, or for as
	// long as a legal hold lasts.
	locked, holds int
	until         time.Time
	more          bool // not all of them were looked at
}

// deleteBucket removes every version, marker and unfinished upload, then the
// bucket. Objects may arrive meanwhile, so it looks again until none is left.
// Objects under a lock stay, with the bucket.
func (d *deleting) deleteBucket(ctx context.Context, name architecture.StackName, logs bool, bucket string) error {
	removed, looks := 0, 0
	w := poll.Wait{For: "bucket " + bucket + " to be empty", Next: again}
	return d.until(ctx, name, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		e, err := d.emptyBucket(ctx, bucket)
		if removed += e.deleted; e.deleted > 0 {
			d.progress()
		}
		switch {
		case awsapi.IsNotFound(err):
			return true, "", nil
		case err != nil:
			return false, "", err
		case e.locked > 0:
			d.keepLocked(bucket, e)
			return true, "", nil
		}
		looks++
		_, err = d.AWS.S3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
		switch {
		case err == nil || awsapi.IsNotFound(err):
			d.step(name, "deleted bucket %s with %d object versions", bucket, removed)
			return true, "", nil
		case awsapi.Code(err) != "BucketNotEmpty":
			return false, "", err
		case logs && looks >= lateLogs:
			return true, "", d.expireLogs(ctx, bucket)
		}
		// What was written a moment ago may not be listed yet.
		return false, fmt.Sprintf("%d object versions deleted, and others are still written to it", removed), nil
	})
}

// expireLogs leaves a bucket that logs still come to: its objects end after a
// day.
func (d *deleting) expireLogs(ctx context.Context, bucket string) error {
	_, err := d.AWS.S3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &bucket, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: []s3types.LifecycleRule{{
			ID: aws.String("deleted-deployment"), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
			Expiration:                     &s3types.LifecycleExpiration{Days: aws.Int32(1)},
			NoncurrentVersionExpiration:    &s3types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(1)},
			AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(1)},
		}}},
	})
	if err != nil {
		return fmt.Errorf("let what is in bucket %s expire: %w", bucket, err)
	}
	d.keep(Kept{
		Type: "AWS::S3::Bucket", ID: bucket, ARN: d.bucketARN(bucket),
		Why:    "logs still come to it; they expire after a day, and the bucket can go when it stays empty",
		Remove: []string{"aws s3api delete-bucket --bucket " + bucket},
	})
	return nil
}

// keepLocked notes a bucket that object lock keeps.
func (d *deleting) keepLocked(bucket string, e emptied) {
	why := fmt.Sprintf("object lock keeps %d object versions in it", e.locked)
	switch {
	case e.more:
		why += fmt.Sprintf("; the date is the last of %d that were looked at", lockLooks)
	case e.holds > 0:
		why += fmt.Sprintf(", %d of them under a legal hold, which somebody has to lift", e.holds)
	}
	d.keep(Kept{
		Type: "AWS::S3::Bucket", ID: bucket, ARN: d.bucketARN(bucket), After: e.until,
		Why:    why + "; a delete takes the versions and the bucket away when their retention has ended",
		Remove: []string{destroyAll},
	})
}

// emptyBucket deletes page by page what the bucket holds now.
func (r *run) emptyBucket(ctx context.Context, bucket string) (e emptied, err error) {
	uploads := s3.NewListMultipartUploadsPaginator(r.AWS.S3, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	for uploads.HasMorePages() {
		page, err := uploads.NextPage(ctx)
		if err != nil {
			return e, err
		}
		for _, u := range page.Uploads {
			if _, err := r.AWS.S3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: u.Key, UploadId: u.UploadId}); err != nil && !awsapi.IsNotFound(err) {
				return e, err
			}
		}
	}
	versions := s3.NewListObjectVersionsPaginator(r.AWS.S3, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for versions.HasMorePages() {
		page, err := versions.NextPage(ctx)
		if err != nil {
			return e, err
		}
		var ids []s3types.ObjectIdentifier
		for _, v := range page.Versions {
			ids = append(ids, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			ids = append(ids, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if len(ids) == 0 {
			continue
		}
		out, err := r.AWS.S3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &s3types.Delete{Objects: ids, Quiet: aws.Bool(true)}})
		if err != nil {
			return e, err
		}
		e.deleted += len(ids) - len(out.Errors)
		for _, f := range out.Errors {
			if err := r.refusedVersion(ctx, bucket, f, &e); err != nil {
				return e, err
			}
		}
	}
	return e, nil
}

// refusedVersion finds out why a version could not be deleted. S3 answers a lock
// and a missing permission with the same code: the version itself tells.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
func (r *run) refusedVersion(ctx context.Context, bucket string, f s3types.Error, e *emptied) error {
	refused := fmt.Errorf("delete object %s: %s: %s", aws.ToString(f.Key), aws.ToString(f.Code), aws.ToString(f.Message))
	switch aws.ToString(f.Code) {
	case "AccessDenied":
	case "InternalError", "SlowDown": // the next look finds it again
		return nil
	default:
		return refused
	}
	if e.locked >= lockLooks {
		e.locked++
		e.more = true
		return nil
	}
	head, err := r.AWS.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: f.Key, VersionId: f.VersionId})
	if awsapi.IsNotFound(err) {
		return nil // it has gone meanwhile
	}
	if err != nil {
		return errors.Join(refused, fmt.Errorf("ask whether object lock keeps it: %w", err))
	}
	until := aws.ToTime(head.ObjectLockRetainUntilDate)
	held := head.ObjectLockLegalHoldStatus == s3types.ObjectLockLegalHoldStatusOn
	if !held && !until.After(r.AWS.Clock.Now()) {
		return fmt.Errorf("%w; no object lock keeps it: allow s3:DeleteObjectVersion and s3:GetObjectRetention, or see what denies them", refused)
	}
	e.locked++
	if held {
		e.holds++
	}
	if until.After(e.until) {
		e.until = until
	}
	return nil
}

// isLogs tells that a resource is the bucket that logs are delivered to.
func isLogs(res stack.Resource) bool {
	return res.Type == "AWS::S3::Bucket" && res.LogicalID == "LogsBucket"
}

// bucketARN is a bucket's ARN, in the partition of the stack that holds it.
func (d *deleting) bucketARN(bucket string) string {
	partition := "aws"
	if st := d.owned[architecture.Storage]; st != nil {
		if parts := strings.Split(st.ID, ":"); len(parts) > 1 {
			partition = parts[1]
		}
	}
	return "arn:" + partition + ":s3:::" + bucket
}
