package templates

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestBackups(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, func(c *config.Config) {
		c.Backups.Schedule, c.Backups.RetentionDays = "cron(30 5 * * ? *)", 90
	}), architecture.Backup)
	vault := d.properties(t, "Vault", "AWS::Backup::BackupVault")
	if text(vault["EncryptionKeyArn"]) != "${KeysBackupKeyArn}" {
		t.Errorf("vault: %s", text(vault))
	}
	// Beside a vault that outlived an earlier stack of the same name.
	if name := text(vault["BackupVaultName"]); name != "poolside-select(4,split(-,select(2,split(/,${AWS::StackId}))))" {
		t.Errorf("vault is named %s", name)
	}
	if r := d.Resources["Vault"]; r.DeletionPolicy != "RetainExceptOnCreate" || r.UpdateReplacePolicy != "Retain" {
		t.Errorf("vault's policies are %s and %s", r.DeletionPolicy, r.UpdateReplacePolicy)
	}
	rule := at(d.properties(t, "Plan", "AWS::Backup::BackupPlan"), "BackupPlan", "BackupPlanRule", 0)
	if at(rule, "ScheduleExpression") != "cron(30 5 * * ? *)" || at(rule, "Lifecycle", "DeleteAfterDays") != 90.0 || text(at(rule, "TargetBackupVault")) != "${Vault}" {
		t.Errorf("plan: %s", text(rule))
	}
	for id, want := range map[string][]string{
		"DatabaseSelection": {"${DatabaseArn}"},
		"BucketsSelection":  {"${StorageModelsBucketArn}", "${StorageCodeDocsBucketArn}", "${StorageAuditBucketArn}", "${StorageTelemetryBucketArn}"},
	} {
		s := at(d.properties(t, id, "AWS::Backup::BackupSelection"), "BackupSelection")
		if diff := cmp.Diff(want, texts(at(s, "Resources"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		if text(at(s, "IamRoleArn")) != "${BackupRole.Arn}" {
			t.Errorf("%s acts as %s", id, text(at(s, "IamRoleArn")))
		}
	}
	want := []string{
		"arn:${AWS::Partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup",
		"arn:${AWS::Partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForRestores",
		"arn:${AWS::Partition}:iam::aws:policy/AWSBackupServiceRolePolicyForS3Backup",
		"arn:${AWS::Partition}:iam::aws:policy/AWSBackupServiceRolePolicyForS3Restore",
	}
	if diff := cmp.Diff(want, texts(d.properties(t, "BackupRole", "AWS::IAM::Role")["ManagedPolicyArns"])); diff != "" {
		t.Errorf("managed policies (-want +got):\n%s", diff)
	}
}
