package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// keyWindow is the shortest time, in days, that KMS keeps a key whose deletion
// was scheduled. See
// https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
const keyWindow = 7

// slow is the time between two looks at what takes minutes.
const slow = 15 * time.Second

// release removes, by API and before its stack goes, a resource that
// CloudFormation would leave behind or could not delete. While the stack is
// there it is the list of what is left to do, so a run that was cut off can go
// on. Releasing what is gone does nothing.
func (d *deleting) release(ctx context.Context, name architecture.StackName, res stack.Resource) error {
	switch res.Type {
	case "AWS::S3::Bucket":
		return d.deleteBucket(ctx, name, res.PhysicalID)
	case "AWS::S3::BucketPolicy": // it goes with its bucket
		return nil
	case "AWS::ECR::Repository":
		return d.deleteRepository(ctx, name, res.PhysicalID)
	case "AWS::RDS::DBInstance":
		return d.deleteDatabase(ctx, name, res.PhysicalID)
	case "AWS::KMS::Key":
		return d.scheduleKey(ctx, res)
	case "AWS::Backup::BackupVault":
		return d.deleteVault(ctx, name, res.PhysicalID)
	case "AWS::Logs::LogGroup":
		return d.deleteLogGroup(ctx, res.PhysicalID)
	case "AWS::Route53::HostedZone":
		return d.emptyZone(ctx, res.PhysicalID)
	case "AWS::CertificateManager::Certificate":
		return d.forgetValidation(ctx, res.PhysicalID)
	}
	return fmt.Errorf("the template retains it, and there is no way known to remove a %s", res.Type)
}

// deleteBucket removes every version, marker and unfinished upload, then the
// bucket. Objects may arrive meanwhile, so it looks again until none is left.
// Objects under a lock stay, with the bucket.
func (d *deleting) deleteBucket(ctx context.Context, name architecture.StackName, bucket string) error {
	var removed int
	for {
		n, locked, err := d.emptyBucket(ctx, bucket)
		removed += n
		if awsapi.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if locked > 0 {
			d.keep("AWS::S3::Bucket", bucket, fmt.Sprintf("object lock keeps %d object versions in it; delete it when their retention has ended", locked), time.Time{})
			return nil
		}
		_, err = d.AWS.S3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
		if awsapi.Code(err) == "BucketNotEmpty" {
			continue
		}
		if err == nil || awsapi.IsNotFound(err) {
			d.step(name, "deleted bucket %s with %d object versions", bucket, removed)
			return nil
		}
		return err
	}
}

// emptyBucket deletes page by page what the bucket holds now. It counts what
// it deleted and what object lock refused to give up.
func (d *deleting) emptyBucket(ctx context.Context, bucket string) (deleted, locked int, err error) {
	uploads := s3.NewListMultipartUploadsPaginator(d.AWS.S3, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	for uploads.HasMorePages() {
		page, err := uploads.NextPage(ctx)
		if err != nil {
			return deleted, locked, err
		}
		for _, u := range page.Uploads {
			if _, err := d.AWS.S3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: u.Key, UploadId: u.UploadId}); err != nil && !awsapi.IsNotFound(err) {
				return deleted, locked, err
			}
		}
	}
	versions := s3.NewListObjectVersionsPaginator(d.AWS.S3, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for versions.HasMorePages() {
		page, err := versions.NextPage(ctx)
		if err != nil {
			return deleted, locked, err
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
		out, err := d.AWS.S3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &s3types.Delete{Objects: ids, Quiet: aws.Bool(true)}})
		if err != nil {
			return deleted, locked, err
		}
		deleted += len(ids) - len(out.Errors)
		for _, e := range out.Errors {
			if c := aws.ToString(e.Code); c != "AccessDenied" {
				return deleted, locked, fmt.Errorf("delete object %s: %s: %s", aws.ToString(e.Key), c, aws.ToString(e.Message))
			}
			locked++
		}
	}
	return deleted, locked, nil
}

func (d *deleting) deleteRepository(ctx context.Context, name architecture.StackName, repository string) error {
	_, err := d.AWS.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &repository, Force: true})
	if err == nil {
		d.step(name, "deleted repository %s with its images", repository)
	}
	return absent(err)
}

func (d *deleting) deleteDatabase(ctx context.Context, name architecture.StackName, id string) error {
	in := &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(true)}
	if d.opts.Data == SnapshotData {
		snapshot := fmt.Sprintf("%s-final-%s", id, d.AWS.Clock.Now().UTC().Format("20060102-150405"))
		in.SkipFinalSnapshot, in.FinalDBSnapshotIdentifier = aws.Bool(false), &snapshot
	}
	out, err := d.AWS.RDS.DeleteDBInstance(ctx, in)
	switch {
	case awsapi.IsNotFound(err):
		return nil
	case err == nil && in.FinalDBSnapshotIdentifier != nil:
		d.keep("AWS::RDS::DBSnapshot", *in.FinalDBSnapshotIdentifier, "the database as it was; set database.snapshot to it to start from it again", time.Time{})
		d.step(name, "deleting database %s; its data goes into snapshot %s", id, *in.FinalDBSnapshotIdentifier)
	case err == nil:
		d.step(name, "deleting database %s with its backups", aws.ToString(out.DBInstance.DBInstanceIdentifier))
	case strings.Contains(awsapi.Message(err), "already being deleted"):
	default:
		return err
	}
	for {
		_, err := d.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
		if awsapi.IsNotFound(err) {
			return nil
		}
		if err != nil && (ctx.Err() != nil || awsapi.IsCredentials(err) || awsapi.IsDenied(err)) {
			return err
		}
		if err := d.AWS.Clock.Sleep(ctx, slow); err != nil {
			return err
		}
	}
}

func (d *deleting) scheduleKey(ctx context.Context, res stack.Resource) error {
	_, err := d.AWS.KMS.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &res.PhysicalID, PendingWindowInDays: aws.Int32(keyWindow)})
	if err != nil && awsapi.Code(err) != "KMSInvalidStateException" { // it is scheduled already
		return absent(err)
	}
	return d.noteKey(ctx, res)
}

// noteKey lists a key whose deletion is scheduled among what stays.
func (d *deleting) noteKey(ctx context.Context, res stack.Resource) error {
	got, err := d.AWS.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &res.PhysicalID})
	if err != nil {
		return absent(err)
	}
	d.keep(res.Type, res.PhysicalID, fmt.Sprintf("KMS keeps a key (%s) for some days after its deletion was asked for; it costs nothing meanwhile", res.LogicalID), aws.ToTime(got.KeyMetadata.DeletionDate))
	return nil
}

// deleteVault removes the vault's recovery points, then the vault. Points that
// a vault lock keeps stay, with the vault.
func (d *deleting) deleteVault(ctx context.Context, name architecture.StackName, vault string) error {
	var removed int
	for {
		out, err := d.AWS.Backup.ListRecoveryPointsByBackupVault(ctx, &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: &vault})
		if err != nil {
			return absent(err)
		}
		if len(out.RecoveryPoints) == 0 {
			break
		}
		for _, p := range out.RecoveryPoints {
			_, err := d.AWS.Backup.DeleteRecoveryPoint(ctx, &backup.DeleteRecoveryPointInput{BackupVaultName: &vault, RecoveryPointArn: p.RecoveryPointArn})
			if awsapi.Code(err) == "InvalidRequestException" && p.CalculatedLifecycle != nil {
				d.keep("AWS::Backup::BackupVault", vault, "a recovery point can't be deleted yet: "+awsapi.Message(err), aws.ToTime(p.CalculatedLifecycle.DeleteAt))
				return nil
			}
			if err := absent(err); err != nil {
				return err
			}
			removed++
		}
		// Deleting a recovery point takes AWS a while.
		if err := d.AWS.Clock.Sleep(ctx, slow); err != nil {
			return err
		}
	}
	_, err := d.AWS.Backup.DeleteBackupVault(ctx, &backup.DeleteBackupVaultInput{BackupVaultName: &vault})
	if err == nil {
		d.step(name, "deleted backup vault %s with %d recovery points", vault, removed)
	}
	return absent(err)
}

// deleteFormerVaults removes the vaults that outlived a backup stack because
// they held recovery points, such as when backups were switched off. They are
// known by their key, which is the deployment's own.
func (d *deleting) deleteFormerVaults(ctx context.Context) error {
	keys := d.owned[architecture.Keys]
	if keys == nil || keys.Outputs["BackupKeyArn"] == "" {
		return nil
	}
	var current string
	if st := d.owned[architecture.Backup]; st != nil {
		current = st.Outputs["VaultName"]
	}
	pages := backup.NewListBackupVaultsPaginator(d.AWS.Backup, &backup.ListBackupVaultsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list backup vaults: %w", err)
		}
		for _, v := range page.BackupVaultList {
			name := aws.ToString(v.BackupVaultName)
			if aws.ToString(v.EncryptionKeyArn) != keys.Outputs["BackupKeyArn"] || name == current {
				continue
			}
			if err := d.deleteVault(ctx, architecture.Backup, name); err != nil {
				return fmt.Errorf("delete backup vault %s: %w", name, err)
			}
		}
	}
	return nil
}

// deleteFormerCertificates removes certificates that others took the place of
// while the listeners still had them.
func (d *deleting) deleteFormerCertificates(ctx context.Context) error {
	pages := acm.NewListCertificatesPaginator(d.AWS.ACM, &acm.ListCertificatesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list certificates: %w", err)
		}
		for _, c := range page.CertificateSummaryList {
			if aws.ToBool(c.InUse) || c.Type != acmtypes.CertificateTypeAmazonIssued {
				continue
			}
			arn := aws.ToString(c.CertificateArn)
			tags, err := d.AWS.ACM.ListTagsForCertificate(ctx, &acm.ListTagsForCertificateInput{CertificateArn: &arn})
			if err := absent(err); err != nil {
				return fmt.Errorf("read the tags of certificate %s: %w", arn, err)
			}
			if tags != nil && slices.ContainsFunc(tags.Tags, func(t acmtypes.Tag) bool {
				return aws.ToString(t.Key) == Tag && aws.ToString(t.Value) == d.Architecture.Config.Name
			}) {
				if err := d.deleteCertificate(ctx, arn); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// retireCertificate removes the certificate that an update replaced, which no
// listener has any more. ELB may take a while to let go of it; then the next
// delete finds it.
func (r *run) retireCertificate(ctx context.Context, arn string) error {
	err := r.deleteCertificate(ctx, arn)
	if awsapi.Code(err) == "ResourceInUseException" {
		r.step(architecture.Certificate, "certificate %s is still in use; it goes with the deployment", arn)
		return nil
	}
	return err
}

// deleteCertificate removes a certificate and its validation records.
func (r *run) deleteCertificate(ctx context.Context, arn string) error {
	if err := r.forgetValidation(ctx, arn); err != nil {
		return fmt.Errorf("remove the validation records of certificate %s: %w", arn, err)
	}
	_, err := r.AWS.ACM.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: &arn})
	if err == nil {
		r.step(architecture.Certificate, "deleted certificate %s, which another one took the place of", arn)
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

// emptyZone removes from a zone of ours the records that ACM made to validate
// certificates and left behind; nothing else writes there but our stacks.
func (d *deleting) emptyZone(ctx context.Context, zone string) error {
	sets, err := d.recordSets(ctx, zone)
	if err != nil {
		return absent(err)
	}
	sets = slices.DeleteFunc(sets, func(s r53types.ResourceRecordSet) bool {
		return s.Type != r53types.RRTypeCname || len(s.ResourceRecords) != 1 || !strings.HasSuffix(strings.TrimSuffix(aws.ToString(s.ResourceRecords[0].Value), "."), ".acm-validations.aws")
	})
	return d.deleteRecords(ctx, zone, sets)
}

func (r *run) recordSets(ctx context.Context, zone string) ([]r53types.ResourceRecordSet, error) {
	var all []r53types.ResourceRecordSet
	pages := route53.NewListResourceRecordSetsPaginator(r.AWS.Route53, &route53.ListResourceRecordSetsInput{HostedZoneId: &zone})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.ResourceRecordSets...)
	}
	return all, nil
}

func (r *run) deleteRecords(ctx context.Context, zone string, sets []r53types.ResourceRecordSet) error {
	if len(sets) == 0 {
		return nil
	}
	batch := &r53types.ChangeBatch{}
	for i := range sets {
		batch.Changes = append(batch.Changes, r53types.Change{Action: r53types.ChangeActionDelete, ResourceRecordSet: &sets[i]})
	}
	_, err := r.AWS.Route53.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: batch})
	return err
}

// forgetValidation removes the validation records of our certificate from the
// customer's zone, exactly those, unless another certificate of the account
// needs them too: ACM gives the same record to every certificate for a domain.
func (r *run) forgetValidation(ctx context.Context, certificate string) error {
	zone := r.Architecture.Config.DNS.ZoneID
	if zone == "" {
		return nil
	}
	ours, err := r.validationRecords(ctx, certificate)
	if err != nil {
		return absent(err)
	}
	pages := acm.NewListCertificatesPaginator(r.AWS.ACM, &acm.ListCertificatesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, c := range page.CertificateSummaryList {
			if arn := aws.ToString(c.CertificateArn); arn != certificate {
				theirs, err := r.validationRecords(ctx, arn)
				if err = absent(err); err != nil {
					return err
				}
				for name := range theirs {
					delete(ours, name)
				}
			}
		}
	}
	sets, err := r.recordSets(ctx, zone)
	if err != nil {
		return absent(err)
	}
	return r.deleteRecords(ctx, zone, slices.DeleteFunc(sets, func(s r53types.ResourceRecordSet) bool {
		value, ok := ours[strings.TrimSuffix(aws.ToString(s.Name), ".")]
		return !ok || s.Type != r53types.RRTypeCname || len(s.ResourceRecords) != 1 || strings.TrimSuffix(aws.ToString(s.ResourceRecords[0].Value), ".") != value
	}))
}

// validationRecords are a certificate's validation records, value by name.
func (r *run) validationRecords(ctx context.Context, certificate string) (map[string]string, error) {
	out, err := r.AWS.ACM.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: &certificate})
	if err != nil {
		return nil, err
	}
	records := map[string]string{}
	for _, v := range out.Certificate.DomainValidationOptions {
		if r := v.ResourceRecord; r != nil {
			records[strings.TrimSuffix(aws.ToString(r.Name), ".")] = strings.TrimSuffix(aws.ToString(r.Value), ".")
		}
	}
	return records, nil
}

// monitoringLogGroup is where RDS puts the enhanced monitoring of all the
// databases of an account.
const monitoringLogGroup = "RDSOSMetrics"

// leftovers removes what AWS services wrote again after their stack had gone,
// and lists what they share with other deployments.
func (d *deleting) leftovers(ctx context.Context) error {
	var errs []error
	for _, g := range []string{d.Architecture.ClusterLogGroup(), d.Architecture.DatabaseLogGroup("postgresql"), d.Architecture.DatabaseLogGroup("upgrade")} {
		errs = append(errs, d.deleteLogGroup(ctx, g))
	}
	out, err := d.AWS.Logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String(monitoringLogGroup)})
	errs = append(errs, err)
	if err == nil && len(out.LogGroups) > 0 {
		d.keep("AWS::Logs::LogGroup", monitoringLogGroup, "RDS shares it between all databases of the account; delete it when there is none", time.Time{})
	}
	return errors.Join(errs...)
}
