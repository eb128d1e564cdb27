package deploy

import (
	"context"
	"fmt"

	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// release removes, by API and before its stack goes, a resource that
// CloudFormation would leave behind or could not delete. While the stack is
// there it is the list of what is left to do, so a run that was cut off can go
// on. Releasing what is gone does nothing.
func (d *deleting) release(ctx context.Context, name architecture.StackName, res stack.Resource) error {
	switch res.Type {
	case "AWS::S3::Bucket":
		return d.deleteBucket(ctx, name, isLogs(res), res.PhysicalID)
	case "AWS::S3::BucketPolicy": // it goes with its bucket
		return nil
	case "AWS::ECR::Repository":
		return d.deleteRepository(ctx, name, res.PhysicalID)
	case "AWS::RDS::DBInstance":
		never := res.Status == cfntypes.ResourceStatusCreateFailed || res.Status == cfntypes.ResourceStatusCreateInProgress || res.Status == cfntypes.ResourceStatusDeleteComplete
		return d.deleteDatabase(ctx, name, res.PhysicalID, d.opts.Data == SnapshotData && !never)
	case "AWS::KMS::Key":
		return d.releaseKey(ctx, res.PhysicalID, res.LogicalID)
	case "AWS::Backup::BackupVault":
		return d.dropVault(ctx, name, res.PhysicalID)
	case "AWS::Logs::LogGroup":
		return d.deleteLogGroup(ctx, res.PhysicalID)
	case "AWS::Route53::HostedZone":
		return d.emptyZone(ctx, res.PhysicalID)
	case "AWS::CertificateManager::Certificate":
		return d.forgetValidation(ctx, d.Architecture.Config.DNS.ZoneID, res.PhysicalID, d.keep)
	}
	return fmt.Errorf("the template retains it, and there is no way known to remove a %s", res.Type)
}

func (d *deleting) deleteRepository(ctx context.Context, name architecture.StackName, repository string) error {
	_, err := d.AWS.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &repository, Force: true})
	if err == nil {
		d.step(name, "deleted repository %s with its images", repository)
	}
	return absent(err)
}

func (d *deleting) deleteLogGroup(ctx context.Context, group string) error {
	_, err := d.AWS.Logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &group})
	return absent(err)
}

// absent turns the error of something that isn't there into success.
func absent(err error) error {
	if awsapi.IsNotFound(err) {
		return nil
	}
	return err
}
