package account

import (
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
)

// BucketName is a bucket's name in this account and region.
func (l *Look) BucketName(b architecture.Bucket) string {
	return strings.NewReplacer("${AWS::AccountId}", l.ID.Account, "${AWS::Region}", l.AWS.Region).Replace(b.Name)
}

// BucketARN is the ARN of a planned bucket.
func (l *Look) BucketARN(b architecture.Bucket) string {
	return "arn:" + l.ID.Partition + ":s3:::" + l.BucketName(b)
}
