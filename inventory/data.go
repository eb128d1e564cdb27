package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// databases is the instance of the deployment's name, and those under a key of
// the deployment's, such as one that somebody restored beside it.
func (r *reading) databases(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, rds.NewDescribeDBInstancesPaginator(r.aws.RDS, &rds.DescribeDBInstancesInput{})) {
		if err != nil {
			return err
		}
		for _, db := range page.DBInstances {
			id := aws.ToString(db.DBInstanceIdentifier)
			i := Item{
				Type: "AWS::RDS::DBInstance", ID: id, ARN: aws.ToString(db.DBInstanceArn), Origin: ByTag,
				State: aws.ToString(db.DBInstanceStatus), Key: aws.ToString(db.KmsKeyId), Data: true,
			}
			switch {
			case id == r.arch.DatabaseName() && (r.has(i.Type, id) || r.tagged(db.TagList)):
			case r.hasKey(i.Key):
				i.Origin, i.Why = ByKey, "a database under a key of the deployment's"
			default:
				continue
			}
			if i.Origin == ByTag {
				r.made(&i, texts(db.TagList, func(t rdstypes.Tag) (k, v *string) { return t.Key, t.Value }))
			}
			r.add(i)
		}
	}
	return nil
}

func (r *reading) tagged(tags []rdstypes.Tag) bool {
	return slices.ContainsFunc(tags, func(t rdstypes.Tag) bool { return aws.ToString(t.Key) == Tag && aws.ToString(t.Value) == r.arch.Name() })
}

// snapshots are those that people or a deletion took of the database, and all
// under a key of the deployment's. RDS's own go with the instance, and AWS
// Backup's belong to their vault, which may be anybody's.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBSnapshots.html
func (r *reading) snapshots(ctx context.Context) error {
	for _, kind := range []string{"manual", "awsbackup"} {
		if err := r.snapshotsOf(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) snapshotsOf(ctx context.Context, kind string) error {
	for page, err := range awsapi.Pages(ctx, rds.NewDescribeDBSnapshotsPaginator(r.aws.RDS, &rds.DescribeDBSnapshotsInput{SnapshotType: &kind})) {
		if awsapi.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, s := range page.DBSnapshots {
			i := Item{
				Type: "AWS::RDS::DBSnapshot", ID: aws.ToString(s.DBSnapshotIdentifier), ARN: aws.ToString(s.DBSnapshotArn), Origin: ByName,
				Why: "a snapshot of the database", State: aws.ToString(s.Status), Key: aws.ToString(s.KmsKeyId), Data: true, Part: kind == "awsbackup",
			}
			ours := aws.ToString(s.DBInstanceIdentifier) == r.arch.DatabaseName() && !i.Part
			switch {
			case ours && r.tagged(s.TagList):
				i.Origin = ByTag
			case ours:
			case r.hasKey(i.Key):
				i.Origin, i.Why = ByKey, "a snapshot of database "+aws.ToString(s.DBInstanceIdentifier)
			default:
				continue
			}
			r.add(i)
		}
	}
	return nil
}

// automatedBackups are RDS's backups of instances that are gone.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.Retaining.html
func (r *reading) automatedBackups(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, rds.NewDescribeDBInstanceAutomatedBackupsPaginator(r.aws.RDS, &rds.DescribeDBInstanceAutomatedBackupsInput{DBInstanceIdentifier: aws.String(r.arch.DatabaseName())})) {
		if awsapi.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, b := range page.DBInstanceAutomatedBackups {
			if aws.ToString(b.Status) == "active" {
				continue // of an instance that is there
			}
			origin := ByName
			switch {
			case r.tagged(b.TagList):
				origin = ByTag
			case r.hasKey(aws.ToString(b.KmsKeyId)):
				origin = ByKey
			}
			until, err := BackupEnds(ctx, r.aws.RDS, b)
			if err != nil {
				return err
			}
			r.add(Item{
				Type: "AWS::RDS::DBInstanceAutomatedBackup", ID: aws.ToString(b.DbiResourceId), ARN: aws.ToString(b.DBInstanceAutomatedBackupsArn), Origin: origin,
				Why: "backups of a database that is gone" + Restorable(b), State: aws.ToString(b.Status), Until: until, Key: aws.ToString(b.KmsKeyId), Data: true,
			})
		}
	}
	return nil
}

// BackupEnds is when RDS removes the automated backups of an instance that is
// gone: once the retention is over for the last snapshot that it took by itself.
// The zero time is unknown.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.Retaining.html
func BackupEnds(ctx context.Context, c *rds.Client, b rdstypes.DBInstanceAutomatedBackup) (time.Time, error) {
	var last time.Time
	for page, err := range awsapi.Pages(ctx, rds.NewDescribeDBSnapshotsPaginator(c, &rds.DescribeDBSnapshotsInput{DbiResourceId: b.DbiResourceId, SnapshotType: aws.String("automated")})) {
		if err != nil {
			return time.Time{}, err
		}
		for _, s := range page.DBSnapshots {
			if at := aws.ToTime(s.SnapshotCreateTime); at.After(last) {
				last = at
			}
		}
	}
	if last.IsZero() || b.BackupRetentionPeriod == nil {
		return time.Time{}, nil
	}
	return last.AddDate(0, 0, int(*b.BackupRetentionPeriod)), nil
}

// Restorable says, behind a noun, to which times a backup can be restored.
func Restorable(b rdstypes.DBInstanceAutomatedBackup) string {
	if b.RestoreWindow == nil {
		return ""
	}
	const minute = "2006-01-02 15:04Z"
	return fmt.Sprintf(", which can be restored as it was at any time from %s to %s",
		aws.ToTime(b.RestoreWindow.EarliestTime).UTC().Format(minute), aws.ToTime(b.RestoreWindow.LatestTime).UTC().Format(minute))
}

// vaults are those whose key is one of the deployment's, with their recovery
// points: of what AWS Backup does not manage fully, such as databases, these
// are encrypted under the key of what they were made of.
// https://docs.aws.amazon.com/aws-backup/latest/devguide/encryption.html
func (r *reading) vaults(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, backup.NewListBackupVaultsPaginator(r.aws.Backup, &backup.ListBackupVaultsInput{})) {
		if err != nil {
			return err
		}
		for _, v := range page.BackupVaultList {
			key := aws.ToString(v.EncryptionKeyArn)
			id := aws.ToString(v.BackupVaultName)
			held := r.has("AWS::Backup::BackupVault", id)
			if !r.hasKey(key) && !held {
				continue
			}
			origin := ByKey
			if !held {
				ours, err := r.vaultTagged(ctx, aws.ToString(v.BackupVaultArn))
				if awsapi.IsNotFound(err) {
					continue
				}
				if err != nil {
					return err
				}
				if ours {
					origin = ByTag
				}
			}
			r.add(Item{
				Type: "AWS::Backup::BackupVault", ID: id, ARN: aws.ToString(v.BackupVaultArn), Origin: origin,
				Why: "a vault with " + count(int(v.NumberOfRecoveryPoints), "recovery point"), Key: key, Data: true,
			})
			if err := r.points(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ListTags.html
func (r *reading) vaultTagged(ctx context.Context, arn string) (bool, error) {
	for page, err := range awsapi.Pages(ctx, backup.NewListTagsPaginator(r.aws.Backup, &backup.ListTagsInput{ResourceArn: &arn})) {
		if err != nil {
			return false, err
		}
		if page.Tags[Tag] == r.arch.Name() {
			return true, nil
		}
	}
	return false, nil
}

func (r *reading) points(ctx context.Context, vault string) error {
	for page, err := range awsapi.Pages(ctx, backup.NewListRecoveryPointsByBackupVaultPaginator(r.aws.Backup, &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: &vault})) {
		if awsapi.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range page.RecoveryPoints {
			i := Item{
				Type: "AWS::Backup::RecoveryPoint", ID: aws.ToString(p.RecoveryPointArn), ARN: aws.ToString(p.RecoveryPointArn), Origin: ByName,
				Why: "of " + aws.ToString(p.ResourceArn) + ", in vault " + vault, Key: aws.ToString(p.EncryptionKeyArn), Part: true, Data: true,
			}
			if p.CalculatedLifecycle != nil {
				i.Until = aws.ToTime(p.CalculatedLifecycle.DeleteAt)
			}
			r.add(i)
		}
	}
	return nil
}

// buckets are those of the deployment's names.
func (r *reading) buckets(ctx context.Context) error {
	id, err := r.aws.Identity(ctx)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, b := range r.arch.Buckets {
		ours[strings.NewReplacer("${AWS::AccountId}", id.Account, "${AWS::Region}", r.aws.Region).Replace(b.Name)] = true
	}
	for page, err := range awsapi.Pages(ctx, s3.NewListBucketsPaginator(r.aws.S3, &s3.ListBucketsInput{})) {
		if err != nil {
			return err
		}
		for _, b := range page.Buckets {
			name := aws.ToString(b.Name)
			if !ours[name] {
				continue
			}
			i := Item{Type: "AWS::S3::Bucket", ID: name, ARN: "arn:" + id.Partition + ":s3:::" + name, Origin: ByName, Data: true}
			enc, err := r.aws.S3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &name})
			switch {
			case awsapi.Code(err) == "NoSuchBucket":
				continue
			case awsapi.Code(err) == "ServerSideEncryptionConfigurationNotFoundError":
			case err != nil:
				return err
			default:
				for _, rule := range enc.ServerSideEncryptionConfiguration.Rules {
					if by := rule.ApplyServerSideEncryptionByDefault; by != nil {
						i.Key = aws.ToString(by.KMSMasterKeyID)
					}
				}
			}
			if !r.has(i.Type, name) {
				tags, err := r.bucketTags(ctx, name)
				if err != nil {
					return err
				}
				if tags[Tag] == r.arch.Name() {
					i.Origin = ByTag
					r.made(&i, tags)
				}
			}
			r.add(i)
		}
	}
	return nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketTagging.html
func (r *reading) bucketTags(ctx context.Context, name string) (map[string]string, error) {
	out, err := r.aws.S3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &name})
	switch {
	case awsapi.Code(err) == "NoSuchTagSet" || awsapi.Code(err) == "NoSuchBucket":
		return nil, nil
	case err != nil:
		return nil, err
	}
	return texts(out.TagSet, func(t s3types.Tag) (k, v *string) { return t.Key, t.Value }), nil
}

// repositories are those whose names the deployment's begins.
func (r *reading) repositories(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, ecr.NewDescribeRepositoriesPaginator(r.aws.ECR, &ecr.DescribeRepositoriesInput{})) {
		if err != nil {
			return err
		}
		for _, p := range page.Repositories {
			name := aws.ToString(p.RepositoryName)
			if !strings.HasPrefix(name, r.arch.RepositoryName("")) {
				continue
			}
			i := Item{Type: "AWS::ECR::Repository", ID: name, ARN: aws.ToString(p.RepositoryArn), Origin: ByName, Data: true}
			if p.EncryptionConfiguration != nil {
				i.Key = aws.ToString(p.EncryptionConfiguration.KmsKey)
			}
			if !r.has(i.Type, name) {
				tags, err := r.aws.ECR.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: &i.ARN})
				if awsapi.IsNotFound(err) {
					continue
				}
				if err != nil {
					return err
				}
				if all := texts(tags.Tags, func(t ecrtypes.Tag) (k, v *string) { return t.Key, t.Value }); all[Tag] == r.arch.Name() {
					i.Origin = ByTag
					r.made(&i, all)
				}
			}
			r.add(i)
		}
	}
	return nil
}

// clusters is the cluster of the deployment's name, if a stack of it made that or its
// tag is on it.
func (r *reading) clusters(ctx context.Context) error {
	name := r.arch.ClusterName()
	out, err := r.aws.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if awsapi.IsNotFound(err) {
		return nil
	}
	if err != nil {
		r.foreign = true
		return err
	}
	r.foreign = !r.arch.Made(architecture.Cluster, out.Cluster.Tags)
	if !r.foreign || out.Cluster.Tags[Tag] == r.arch.Name() {
		r.add(Item{Type: "AWS::EKS::Cluster", ID: name, ARN: aws.ToString(out.Cluster.Arn), Origin: ByTag, State: string(out.Cluster.Status)})
	}
	return nil
}
