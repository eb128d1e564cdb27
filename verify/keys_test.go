package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	simulated "github.com/poolhouse/poolhouse/sandbox/backup"
	"github.com/poolhouse/poolhouse/verify"
)

// keyID is a name by which the colleague can call a key: KMS takes aliases for
// reading only.
func (w *wrecker) keyID(p architecture.KeyPurpose) (*string, error) {
	out, err := w.aws.KMS.DescribeKey(w.ctx, &kms.DescribeKeyInput{KeyId: aws.String(w.arch.KeyAlias(p))})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata.KeyId, nil
}

// onKey does something to a key.
func onKey[I, O any](p architecture.KeyPurpose, do func(*kms.Client, context.Context, *I, ...func(*kms.Options)) (*O, error), in func(id *string) *I) func(*wrecker) error {
	return func(w *wrecker) error {
		id, err := w.keyID(p)
		if err != nil {
			return err
		}
		_, err = do(w.aws.KMS, w.ctx, in(id))
		return err
	}
}

// keyPolicy edits the policy of a key.
func keyPolicy(p architecture.KeyPurpose, without string, more ...obj) func(*wrecker) error {
	return func(w *wrecker) error {
		id, err := w.keyID(p)
		if err != nil {
			return err
		}
		out, err := w.aws.KMS.GetKeyPolicy(w.ctx, &kms.GetKeyPolicyInput{KeyId: id})
		if err != nil {
			return err
		}
		text, err := edited(*out.Policy, without, more...)
		if err != nil {
			return err
		}
		_, err = w.aws.KMS.PutKeyPolicy(w.ctx, &kms.PutKeyPolicyInput{KeyId: id, Policy: &text, BypassPolicyLockoutSafetyCheck: true})
		return err
	}
}

// topicARN is the topic of the database's alarms.
func (w *wrecker) topicARN() *string {
	out, err := w.aws.SNS.ListTopics(w.ctx, &sns.ListTopicsInput{})
	if err != nil || len(out.Topics) == 0 {
		return aws.String("none")
	}
	return out.Topics[0].TopicArn
}

func topicAttribute(name string, value func(w *wrecker, topic, policy string) (string, error)) func(*wrecker) error {
	return func(w *wrecker) error {
		arn := w.topicARN()
		now, err := w.aws.SNS.GetTopicAttributes(w.ctx, &sns.GetTopicAttributesInput{TopicArn: arn})
		if err != nil {
			return err
		}
		v, err := value(w, *arn, now.Attributes["Policy"])
		if err != nil {
			return err
		}
		_, err = w.aws.SNS.SetTopicAttributes(w.ctx, &sns.SetTopicAttributesInput{TopicArn: arn, AttributeName: &name, AttributeValue: &v})
		return err
	}
}

func topicPolicy(without string, more func(topic string) []obj) func(*wrecker) error {
	return topicAttribute("Policy", func(_ *wrecker, topic, policy string) (string, error) {
		return edited(policy, without, more(topic)...)
	})
}

// plan is the deployment's backup plan.
func (w *wrecker) plan() (*backup.GetBackupPlanOutput, error) {
	list, err := w.aws.Backup.ListBackupPlans(w.ctx, &backup.ListBackupPlansInput{})
	if err != nil || len(list.BackupPlansList) == 0 {
		return nil, fmt.Errorf("no plan: %w", err)
	}
	return w.aws.Backup.GetBackupPlan(w.ctx, &backup.GetBackupPlanInput{BackupPlanId: list.BackupPlansList[0].BackupPlanId})
}

// replan changes the backup plan.
func replan(change func(*backuptypes.BackupRuleInput)) func(*wrecker) error {
	return func(w *wrecker) error {
		p, err := w.plan()
		if err != nil {
			return err
		}
		in := &backuptypes.BackupPlanInput{BackupPlanName: p.BackupPlan.BackupPlanName}
		for _, r := range p.BackupPlan.Rules {
			rule := backuptypes.BackupRuleInput{RuleName: r.RuleName, TargetBackupVaultName: r.TargetBackupVaultName, ScheduleExpression: r.ScheduleExpression, Lifecycle: r.Lifecycle}
			change(&rule)
			in.Rules = append(in.Rules, rule)
		}
		_, err = w.aws.Backup.UpdateBackupPlan(w.ctx, &backup.UpdateBackupPlanInput{BackupPlanId: p.BackupPlanId, BackupPlan: in})
		return err
	}
}

func (w *wrecker) vault() (*string, error) {
	p, err := w.plan()
	if err != nil {
		return nil, err
	}
	return p.BackupPlan.Rules[0].TargetBackupVaultName, nil
}

// aged makes the backup plan ten days old.
func (w *wrecker) aged() error {
	return w.change(simulated.TypePlan, logical("Plan"), func(_ *account.Tx, r *account.Resource) { r.Created = r.Created.AddDate(0, 0, -10) })
}

func keyWrecks() []wreck {
	const application, volumes, database, logsKey = architecture.KeyApplication, architecture.KeyVolumes, architecture.KeyDatabase, architecture.KeyLogs
	group := func(w *wrecker) *string { return aws.String(w.arch.DatabaseLogGroup("postgresql")) }
	return []wreck{
		{check: "key-there", also: []string{"core-api-scoped"}, by: func(w *wrecker) error {
			_, err := w.aws.KMS.DeleteAlias(w.ctx, &kms.DeleteAliasInput{AliasName: aws.String(w.arch.KeyAlias(application))})
			return err
		}},
		{check: "key-apart", also: []string{"core-api-scoped", "parameters-true"}, by: func(w *wrecker) error {
			id, err := w.keyID(architecture.KeyKubernetes)
			if err != nil {
				return err
			}
			_, err = w.aws.KMS.UpdateAlias(w.ctx, &kms.UpdateAliasInput{AliasName: aws.String(w.arch.KeyAlias(application)), TargetKeyId: id})
			return err
		}},
		{check: "key-enabled", by: onKey(application, (*kms.Client).DisableKey, func(id *string) *kms.DisableKeyInput { return &kms.DisableKeyInput{KeyId: id} })},
		{check: "key-stays", by: onKey(application, (*kms.Client).ScheduleKeyDeletion, func(id *string) *kms.ScheduleKeyDeletionInput { return &kms.ScheduleKeyDeletionInput{KeyId: id} })},
		{check: "key-rotation", name: "off", by: onKey(database, (*kms.Client).DisableKeyRotation, func(id *string) *kms.DisableKeyRotationInput { return &kms.DisableKeyRotationInput{KeyId: id} })},
		{check: "key-rotation", name: "seldom", by: onKey(database, (*kms.Client).EnableKeyRotation, func(id *string) *kms.EnableKeyRotationInput {
			return &kms.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: aws.Int32(2560)}
		})},
		{check: "key-policy-root", by: keyPolicy(application, "Account", obj{
			// Enough to look at the key, and to change it back.
			"Effect": "Allow", "Principal": obj{"AWS": "arn:aws:iam::123456789012:root"}, "Action": []string{"kms:Decrypt", "kms:Describe*", "kms:Get*", "kms:List*", "kms:PutKeyPolicy"}, "Resource": "*",
		})},
		{check: "key-policy-principals", name: "account", by: keyPolicy(architecture.KeyStorage, "", obj{"Effect": "Allow", "Principal": obj{"AWS": "999999999999"}, "Action": "kms:Decrypt", "Resource": "*"})},
		{check: "key-policy-principals", name: "everybody", by: keyPolicy(architecture.KeyStorage, "", obj{"Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"})},
		{check: "key-policy-principals", name: "service", by: keyPolicy(architecture.KeySecrets, "", obj{
			"Effect": "Allow", "Principal": obj{"Service": "cloudwatch.amazonaws.com"}, "Action": "kms:Decrypt", "Resource": "*", "Condition": obj{"StringEquals": obj{"aws:SourceAccount": "123456789012"}},
		})},
		{check: "key-policy-services", name: "alarms", by: keyPolicy(logsKey, "Alarms")},
		{check: "key-policy-services", name: "scaling", by: keyPolicy(volumes, "AutoScalingGrant")},
		{check: "key-policy-services-bound", by: keyPolicy(logsKey, "Alarms", obj{
			"Effect": "Allow", "Principal": obj{"Service": "cloudwatch.amazonaws.com"}, "Action": []string{"kms:Decrypt", "kms:GenerateDataKey*"}, "Resource": "*",
		})},
		{check: "key-grants", name: "volumes", by: keyPolicy(volumes, "GrantsForServicesOnly")},
		{check: "key-grants", name: "database", by: keyPolicy(database, "GrantsForServicesOnly")},

		{check: "log-group-there", by: func(w *wrecker) error {
			_, err := w.aws.Logs.DeleteLogGroup(w.ctx, &logs.DeleteLogGroupInput{LogGroupName: group(w)})
			return err
		}},
		{check: "log-group-encrypted", name: "planned", by: func(w *wrecker) error {
			_, err := w.aws.Logs.DisassociateKmsKey(w.ctx, &logs.DisassociateKmsKeyInput{LogGroupName: group(w)})
			return err
		}},
		{check: "log-group-encrypted", name: "another group", also: []string{"log-group-retention"}, by: func(w *wrecker) error {
			// RDS makes the group of a log that somebody switched on.
			_, err := w.aws.Logs.CreateLogGroup(w.ctx, &logs.CreateLogGroupInput{LogGroupName: aws.String(w.arch.DatabaseLogGroup("iam-db-auth-error")), Tags: w.arch.Tags})
			return err
		}},
		{check: "log-group-retention", name: "shorter", by: func(w *wrecker) error {
			_, err := w.aws.Logs.PutRetentionPolicy(w.ctx, &logs.PutRetentionPolicyInput{LogGroupName: group(w), RetentionInDays: aws.Int32(1)})
			return err
		}},
		{check: "log-group-retention", name: "for ever", by: func(w *wrecker) error {
			_, err := w.aws.Logs.DeleteRetentionPolicy(w.ctx, &logs.DeleteRetentionPolicyInput{LogGroupName: group(w)})
			return err
		}},
		{check: "topic-there", by: func(w *wrecker) error { return w.drop("AWS::SNS::Topic", logical("AlarmTopic")) }},
		{check: "topic-encrypted", name: "not", by: topicAttribute("KmsMasterKeyId", func(*wrecker, string, string) (string, error) { return "", nil })},
		{check: "topic-encrypted", name: "AWS's key", by: topicAttribute("KmsMasterKeyId", func(*wrecker, string, string) (string, error) { return "alias/aws/sns", nil })},
		{check: "topic-tls", by: topicPolicy("TLSOnly", func(string) []obj { return nil })},
		{check: "topic-publishers", name: "everybody", by: topicPolicy("", func(topic string) []obj {
			return []obj{{"Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": topic}}
		})},
		{check: "topic-publishers", name: "for any account", by: topicPolicy("Alarms", func(topic string) []obj {
			return []obj{{"Effect": "Allow", "Principal": obj{"Service": "cloudwatch.amazonaws.com"}, "Action": "sns:Publish", "Resource": topic}}
		})},

		{check: "backup-plan", name: "seldom", by: replan(func(r *backuptypes.BackupRuleInput) { r.ScheduleExpression = aws.String("cron(0 4 1 1 ? *)") })},
		{check: "backup-plan", name: "shorter", by: replan(func(r *backuptypes.BackupRuleInput) {
			r.Lifecycle = &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(1)}
		})},
		{check: "backup-plan", name: "gone", by: func(w *wrecker) error { return w.drop(simulated.TypePlan, logical("Plan")) }},
		{check: "backup-selection", by: func(w *wrecker) error {
			p, err := w.plan()
			if err != nil {
				return err
			}
			list, err := w.aws.Backup.ListBackupSelections(w.ctx, &backup.ListBackupSelectionsInput{BackupPlanId: p.BackupPlanId})
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list.BackupSelectionsList, func(s backuptypes.BackupSelectionsListMember) bool { return *s.SelectionName == "database" })
			if i < 0 {
				return errors.New("no selection of the database")
			}
			_, err = w.aws.Backup.DeleteBackupSelection(w.ctx, &backup.DeleteBackupSelectionInput{BackupPlanId: p.BackupPlanId, SelectionId: list.BackupSelectionsList[i].SelectionId})
			return err
		}},
		{check: "backup-vault-encrypted", by: func(w *wrecker) error {
			return w.change(simulated.TypeVault, logical("Vault"), func(tx *account.Tx, r *account.Resource) {
				r.Props["EncryptionKeyArn"] = tx.Find("AWS::KMS::Key", logical("StorageKey")).Attrs["Arn"]
			})
		}},
		{check: "backup-vault-private", by: func(w *wrecker) error {
			vault, err := w.vault()
			if err != nil {
				return err
			}
			_, err = w.aws.Backup.PutBackupVaultAccessPolicy(w.ctx, &backup.PutBackupVaultAccessPolicyInput{
				BackupVaultName: vault, Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":"backup:CopyFromBackupVault","Resource":"*"}]}`),
			})
			return err
		}},
		{check: "backup-recent", by: (*wrecker).aged},
	}
}

// TestBackedUp passes once all that is backed up has a recovery point.
func TestBackedUp(t *testing.T) {
	t.Parallel()
	w := &wrecker{standing(t, "production"), t.Context(), nil}
	w.aws = clients(t, w.box, 1, stopped{at: w.now})
	vault, err := w.vault()
	if err := errors.Join(err, w.aged()); err != nil {
		t.Fatal(err)
	}
	var arns []string
	rep := w.verify(t, verify.Options{Only: []string{"backup-recent"}})
	for _, e := range rep.Results[0].Evidence {
		if e.OK {
			t.Errorf("%s is said to be backed up: %s", e.Resource, e.Saw)
		}
		arns = append(arns, e.Resource)
	}
	if len(arns) != 5 || !strings.Contains(arns[0], ":db:") {
		t.Fatalf("backed up are %v", arns)
	}
	for i, arn := range arns {
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			simulated.AddPoint(tx, *vault, arn, time.Time{})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		got := w.verify(t, verify.Options{Only: []string{"backup-recent"}}).Results[0]
		good := 0
		for _, e := range got.Evidence {
			if e.OK {
				good++
			}
		}
		if all := i == len(arns)-1; good != i+1 || (got.Status == verify.Pass) != all {
			t.Errorf("with %d recovery points: %s, %v", i+1, got.Status, got.Evidence)
		}
	}
}

// TestGone leaves nothing to look at: one check of each kind says so, and the
// others neither pass nor fail.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		typ, checks string
		want        []string
	}{
		{"AWS::RDS::DBInstance", "database-*", []string{"database-there"}},
		{"AWS::S3::Bucket", "bucket-*", []string{"bucket-there"}},
		{"AWS::S3::Bucket", "log-bucket-*", []string{}},
		{"AWS::S3::Bucket", "audit-*", []string{}},
		{"AWS::ECR::Repository", "repository-*", []string{"repository-there"}},
		{"AWS::KMS::Alias", "key-*", []string{"key-there"}},
		{"AWS::KMS::Alias", "bucket-*", []string{}},
		{"AWS::KMS::Alias", "database-*", []string{}},
		{"AWS::KMS::Alias", "repository-*", []string{}},
		{"AWS::SNS::Topic", "topic-*", []string{"topic-there"}},
		{"AWS::Backup::BackupPlan", "backup-*", []string{"backup-plan"}},
		{"AWS::Backup::BackupVault", "backup-vault-*", []string{"backup-vault-encrypted"}},
		{"AWS::SecretsManager::Secret", "database-master-*", []string{"database-master-rotation"}},
	} {
		t.Run(tt.typ+" "+tt.checks, func(t *testing.T) {
			t.Parallel()
			w := standing(t, "production")
			err := w.box.Account().Do(func(tx *account.Tx) error {
				for _, r := range tx.List(tt.typ) {
					tx.Drop(tt.typ, r.ID)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			rep := w.verify(t, verify.Options{Only: []string{tt.checks}})
			if diff := cmp.Diff(tt.want, ids(rep.Failed(""))); diff != "" {
				t.Errorf("failed (-want +got):\n%s", diff)
			}
			if unseen := rep.Unseen(""); len(unseen) > 0 {
				t.Errorf("could not look: %v", ids(unseen))
			}
			say(t, rep)
			for _, r := range rep.Results {
				if r.Status == verify.NotApplicable && r.Reason == "" {
					t.Errorf("%s does not say why it is not applicable", r.ID)
				}
			}
		})
	}
}
