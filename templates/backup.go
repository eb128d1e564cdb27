package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/backup"
)

// backups is AWS Backup of the database and the data buckets.
func backups(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Backup)
	c := a.Config.Backups
	// A vault that still holds recovery points outlives its stack. The stack's
	// id in the name lets the next one be made beside it.
	id := cfn.Select(4, cfn.Split("-", cfn.Select(2, cfn.Split("/", cfn.StackID()))))
	vault := t.Add("Vault", backup.BackupVault{
		BackupVaultName:  cfn.Join("-", cfn.V(a.Name()), id),
		EncryptionKeyArn: keyARN(t, architecture.KeyBackup),
	}, cfn.DeletionPolicy(cfn.RetainExceptOnCreate), cfn.UpdateReplacePolicy(cfn.Retain))

	// The buckets' lifecycle rules remove what expires, and AWS Backup charges
	// for cold storage of neither kind, so recovery points stay warm.
	plan := t.Add("Plan", backup.BackupPlan{BackupPlan: &backup.BackupPlanResourceType{
		BackupPlanName: cfn.V(a.Name()),
		BackupPlanRule: []backup.BackupRuleResourceType{{
			RuleName:           cfn.V("scheduled"),
			TargetBackupVault:  vault.Ref(),
			ScheduleExpression: cfn.V(c.Schedule),
			Lifecycle:          &backup.LifecycleResourceType{DeleteAfterDays: cfn.V(float64(c.RetentionDays))},
		}},
	}})

	r := role(a, "backup", "Lets AWS Backup save and restore the database and buckets of "+a.Name(),
		trust("backup.amazonaws.com", nil))
	r.ManagedPolicyArns = managedPolicies(
		"service-role/AWSBackupServiceRolePolicyForBackup",
		"service-role/AWSBackupServiceRolePolicyForRestores",
		"AWSBackupServiceRolePolicyForS3Backup",
		"AWSBackupServiceRolePolicyForS3Restore",
	)
	backupRole := t.Add("BackupRole", r)

	selection := func(id cfn.LogicalID, name string, resources ...cfn.Value[string]) {
		t.Add(id, backup.BackupSelection{
			BackupPlanId: plan.Ref(),
			BackupSelection: &backup.BackupSelectionResourceType{
				SelectionName: cfn.V(name),
				IamRoleArn:    backupRole.Att("Arn"),
				Resources:     cfn.ListOf(resources...),
			},
		})
	}
	selection("DatabaseSelection", "database", t.Input(string(architecture.Database), "Arn"))
	var data []cfn.Value[string]
	for _, p := range dataBuckets() {
		data = append(data, bucketARN(t, p))
	}
	selection("BucketsSelection", "buckets", data...)

	t.Output("VaultName", vault.Ref())
	t.Output("VaultArn", vault.Att("BackupVaultArn"))
	t.Output("PlanId", plan.Ref())
	t.Output("BackupRoleArn", backupRole.Att("Arn"))
	return t
}

// dataBuckets are the buckets that hold what users and the vendor bring; logs
// are not among them.
func dataBuckets() []architecture.BucketPurpose {
	return []architecture.BucketPurpose{
		architecture.BucketModels, architecture.BucketCodeDocs, architecture.BucketAudit, architecture.BucketTelemetry,
	}
}
