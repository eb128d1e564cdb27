package deploy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
)

func (r *run) points(ctx context.Context, vault string) ([]types.RecoveryPointByBackupVault, error) {
	var all []types.RecoveryPointByBackupVault
	pages := backup.NewListRecoveryPointsByBackupVaultPaginator(r.AWS.Backup, &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: &vault})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.RecoveryPoints...)
	}
	return all, nil
}

// dropVault deletes a vault. Unless the data is to be destroyed, one with
// recovery points stays.
func (d *deleting) dropVault(ctx context.Context, name architecture.StackName, vault string) error {
	if d.opts.Data == DestroyData {
		return d.deleteVault(ctx, name, vault)
	}
	points, err := d.releaseVault(ctx, name, vault)
	if len(points) > 0 {
		d.keepVault(vault, points, fmt.Sprintf("it holds %d recovery points, and the data is to be kept; delete --data destroy takes it away", len(points)))
	}
	return err
}

// keepVault notes a vault that stays because of its points, until when the last
// of them is removed by AWS Backup.
func (d *deleting) keepVault(vault string, points []types.RecoveryPointByBackupVault, why string) {
	k := Kept{Type: "AWS::Backup::BackupVault", ID: vault, Why: why, Restore: restorePoints(vault, points)}
	for _, p := range points {
		k.ARN = aws.ToString(p.BackupVaultArn)
		var until time.Time
		if p.CalculatedLifecycle != nil {
			until = aws.ToTime(p.CalculatedLifecycle.DeleteAt)
		}
		if until.After(k.After) {
			k.After = until
		}
		k.Remove = append(k.Remove, fmt.Sprintf("aws backup delete-recovery-point --backup-vault-name %s --recovery-point-arn %s", vault, aws.ToString(p.RecoveryPointArn)))
	}
	k.Remove = append(k.Remove, "aws backup delete-backup-vault --backup-vault-name "+vault)
	d.keep(k)
}

// restorePoints are the commands that restore the newest point of a database and
// one of anything else. A database's is a snapshot, which a creation begins from;
// what else there is AWS Backup restores by itself.
// https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-rds.html
func restorePoints(vault string, points []types.RecoveryPointByBackupVault) []string {
	var newest *types.RecoveryPointByBackupVault
	var other string
	for i, p := range points {
		switch arn := aws.ToString(p.RecoveryPointArn); {
		case !strings.Contains(arn, ":snapshot:awsbackup:"):
			other = arn
		case newest == nil || aws.ToTime(p.CreationDate).After(aws.ToTime(newest.CreationDate)):
			newest = &points[i]
		}
	}
	var all []string
	if newest != nil {
		all = append(all, createFrom(aws.ToString(newest.RecoveryPointArn)))
	}
	if other != "" {
		all = append(all,
			fmt.Sprintf("aws backup get-recovery-point-restore-metadata --query RestoreMetadata --backup-vault-name %s --recovery-point-arn %s > metadata.json", vault, other),
			fmt.Sprintf("aws backup start-restore-job --iam-role-arn ROLE --metadata file://metadata.json --recovery-point-arn %s", other))
	}
	return all
}

// deleteVault removes the vault's recovery points, then the vault. Points that
// can't be deleted yet stay, with the vault.
func (d *deleting) deleteVault(ctx context.Context, name architecture.StackName, vault string) error {
	removed, stays := 0, false
	w := poll.Wait{For: "the deletion of the recovery points in backup vault " + vault, Next: again}
	err := d.until(ctx, name, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		points, err := d.points(ctx, vault)
		if err != nil || len(points) == 0 {
			return true, "", err
		}
		var staying []types.RecoveryPointByBackupVault
		why := ""
		for _, p := range points {
			_, err := d.AWS.Backup.DeleteRecoveryPoint(ctx, &backup.DeleteRecoveryPointInput{BackupVaultName: &vault, RecoveryPointArn: p.RecoveryPointArn})
			if awsapi.Code(err) == "InvalidRequestException" && p.CalculatedLifecycle != nil {
				staying, why = append(staying, p), awsapi.Message(err)
				continue
			}
			if err := absent(err); err != nil {
				return false, "", err
			}
			removed++
		}
		if stays = len(staying) == len(points); stays {
			d.keepVault(vault, staying, fmt.Sprintf("%d recovery points can't be deleted yet: %s", len(staying), why))
		}
		// Deleting a recovery point takes AWS a while.
		return stays, fmt.Sprintf("%d recovery points", len(points)), nil
	})
	if err != nil || stays {
		return absent(err)
	}
	_, err = d.AWS.Backup.DeleteBackupVault(ctx, &backup.DeleteBackupVaultInput{BackupVaultName: &vault})
	if err == nil {
		d.step(name, "deleted backup vault %s with %d recovery points", vault, removed)
	}
	return absent(err)
}
