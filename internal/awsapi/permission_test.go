package awsapi_test

import (
	"fmt"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Permissions have the names that IAM has for them, not those of the operations.
func TestPermissionsOfObjects(t *testing.T) {
	t.Parallel()
	for operation, want := range map[string]string{
		"PutObject": "s3:PutObject", "UploadPart": "s3:PutObject", "CreateMultipartUpload": "s3:PutObject", "CompleteMultipartUpload": "s3:PutObject",
		"AbortMultipartUpload": "s3:AbortMultipartUpload", "ListParts": "s3:ListMultipartUploadParts", "ListMultipartUploads": "s3:ListBucketMultipartUploads",
		"GetBucketEncryption": "s3:GetEncryptionConfiguration", "HeadObject": "s3:GetObject", "DeleteObjects": "s3:DeleteObjectVersion", "CopyObject": "s3:PutObject", "UploadPartCopy": "s3:PutObject", "ListObjectVersions": "s3:ListBucketVersions",
	} {
		err := fmt.Errorf("push: %w", &smithy.OperationError{ServiceID: "S3", OperationName: operation, Err: &smithy.GenericAPIError{Code: "AccessDenied"}})
		if got := awsapi.Permission(err); got != want {
			t.Errorf("%s takes %s, want %s", operation, got, want)
		}
	}
}
