package deploy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/stack"
)

// unmakeTime is the longest that the deletion of a database is waited for that
// never was part of a whole stack.
const unmakeTime = 2 * time.Hour

// holdsError says that something is not taken away because of what is in it.
type holdsError struct{ what string }

func (e *holdsError) Error() string { return e.what }

// unmake takes away, by API, something that a creation made which failed, as its
// rollback was to: without force, so that the service itself refuses to lose what
// somebody has put in. Only a bucket of logs is emptied. It says what it did; ""
// is that it was gone, or going.
func (r *run) unmake(ctx context.Context, st *stack.State, res stack.Resource) (did string, err error) {
	id := res.PhysicalID
	switch res.Type {
	case "AWS::S3::Bucket":
		return r.unmakeBucket(ctx, res)
	case "AWS::ECR::Repository":
		_, err = r.AWS.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &id})
		// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepository.html
		if awsapi.Code(err) == "RepositoryNotEmptyException" {
			return "", &holdsError{"it holds images"}
		}
		did = "deleted repository " + id
	case "AWS::RDS::DBInstance":
		return r.unmakeDatabase(ctx, st, id)
	case "AWS::KMS::Key":
		// Nothing of the deployment is encrypted under it: a stack hands its keys on
		// once it is whole.
		_, err = r.AWS.KMS.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(keyWindow)})
		if awsapi.Code(err) == "KMSInvalidStateException" { // it is scheduled already
			return "", nil
		}
		did = fmt.Sprintf("scheduled key %s for deletion in %d days", id, keyWindow)
	case "AWS::Backup::BackupVault":
		_, err = r.AWS.Backup.DeleteBackupVault(ctx, &backup.DeleteBackupVaultInput{BackupVaultName: &id})
		// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupVault.html
		if awsapi.Code(err) == "InvalidRequestException" {
			return "", &holdsError{awsapi.Message(err)}
		}
		did = "deleted backup vault " + id
	default:
		return "", fmt.Errorf("the template retains it, and there is no way known to remove a %s", res.Type)
	}
	if awsapi.IsNotFound(err) {
		return "", nil
	}
	return did, err
}

func (r *run) unmakeBucket(ctx context.Context, res stack.Resource) (string, error) {
	id := res.PhysicalID
	if isLogs(res) {
		if _, err := r.emptyBucket(ctx, id); err != nil {
			return "", absent(err)
		}
	}
	_, err := r.AWS.S3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &id})
	switch {
	case awsapi.IsNotFound(err):
		return "", nil
	case awsapi.Code(err) == "BucketNotEmpty":
		return "", &holdsError{"it holds objects"}
	}
	return "deleted bucket " + id, err
}

// unmakeDatabase deletes an instance that never was part of a whole stack, and
// returns when it is gone.
func (r *run) unmakeDatabase(ctx context.Context, st *stack.State, id string) (did string, err error) {
	w := poll.Wait{For: "the deletion of database " + id, AtMost: unmakeTime, Next: "repeat the command"}
	err = r.until(ctx, r.names[st.Name], w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		out, err := r.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
		switch {
		case awsapi.IsNotFound(err):
			return true, "", nil
		case err != nil || len(out.DBInstances) != 1:
			return false, "", err
		}
		i := out.DBInstances[0]
		state := aws.ToString(i.DBInstanceStatus)
		// RDS says when an instance was made once it is.
		// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBInstance.html
		if i.InstanceCreateTime != nil && i.InstanceCreateTime.Before(st.Created) {
			return false, "", &holdsError{"it was made before the stack was"}
		}
		if state == "deleting" {
			return false, state, nil
		}
		_, err = r.AWS.RDS.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(true)})
		switch {
		case err == nil:
			did = "deleted database " + id
		case awsapi.IsNotFound(err), strings.Contains(awsapi.Message(err), "already being deleted"):
		case awsapi.Code(err) == "InvalidDBInstanceState": // an operation is under way
			return false, state + ": " + awsapi.Message(err), nil
		default:
			return false, "", err
		}
		return false, "deleting", nil
	})
	return did, err
}
