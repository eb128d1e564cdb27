package backup_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/backup"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

type world struct {
	*account.Account
	now  time.Time
	role string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	model := &account.Model{Types: map[string]*account.Type{}, Events: backup.Events()}
	for _, list := range [][]*account.Type{backup.Types(), iam.Types()} {
		for _, x := range list {
			model.Types[x.Name] = x
		}
	}
	w.Account = account.New(model, account.Options{Now: func() time.Time { return w.now }})
	w.must(t, backup.TypeVault, obj{"BackupVaultName": "vault"})
	w.role = props.Str(w.must(t, iam.TypeRole, obj{"RoleName": "backup", "AssumeRolePolicyDocument": obj{"Version": "2012-10-17", "Statement": []any{
		obj{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": obj{"Service": "backup.amazonaws.com"}},
	}}}).Attrs, "Arn")
	return w
}

func (w *world) create(typ string, p obj) (*account.Resource, error) {
	var r *account.Resource
	err := w.Do(func(tx *account.Tx) error {
		var err error
		r, _, err = tx.Create(typ, p, "", true)
		return err
	})
	return r, err
}

func (w *world) must(t *testing.T, typ string, p obj) *account.Resource {
	t.Helper()
	r, err := w.create(typ, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) remove(r *account.Resource) error {
	return w.Do(func(tx *account.Tx) error {
		real := tx.Get(r.Type, r.ID)
		if _, err := tx.Delete(real, false); err != nil {
			return err
		}
		return tx.Settle(real, "delete")
	})
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	var e *account.Error
	got := ""
	if errors.As(err, &e) {
		got = e.Code + ": " + e.Message
	} else if err != nil {
		got = err.Error()
	}
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func plan(change obj) obj {
	rule := obj{"RuleName": "daily", "TargetBackupVault": "vault", "ScheduleExpression": "cron(0 5 * * ? *)", "Lifecycle": obj{"DeleteAfterDays": "35"}}
	for k, v := range change {
		rule[k] = v
	}
	return obj{"BackupPlan": obj{"BackupPlanName": "plan", "BackupPlanRule": []any{rule}}}
}

// A plan writes into vaults that exist, by a schedule and a lifecycle that AWS
// Backup takes; a selection needs a role that AWS Backup can assume.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupPlan.html
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupSelection.html
func TestAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.must(t, backup.TypePlan, plan(nil))
	selection := func(plan, role string, resources ...any) obj {
		return obj{"BackupPlanId": plan, "BackupSelection": obj{"SelectionName": "s", "IamRoleArn": role, "Resources": resources}}
	}
	for name, c := range map[string]struct {
		typ  string
		p    obj
		want string
	}{
		"vault: name":      {backup.TypeVault, obj{"BackupVaultName": "a b"}, "InvalidParameterValueException: Invalid vault name."},
		"vault: taken":     {backup.TypeVault, obj{"BackupVaultName": "vault"}, "AlreadyExistsException: Backup vault with the same name already exists"},
		"vault: key":       {backup.TypeVault, obj{"BackupVaultName": "other", "EncryptionKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1"}, "InvalidParameterValueException: The specified KMS key"},
		"plan: vault":      {backup.TypePlan, plan(obj{"TargetBackupVault": "none"}), "InvalidParameterValueException: Backup vault none does not exist"},
		"plan: schedule":   {backup.TypePlan, plan(obj{"ScheduleExpression": "cron(0 5 * * *)"}), "InvalidParameterValueException: Invalid schedule expression cron(0 5 * * *)"},
		"plan: cold":       {backup.TypePlan, plan(obj{"Lifecycle": obj{"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 119}}), "InvalidParameterValueException: DeleteAfterDays cannot be less than 90 days apart from MoveToColdStorageAfterDays"},
		"plan: cold, 90":   {backup.TypePlan, plan(obj{"Lifecycle": obj{"MoveToColdStorageAfterDays": 30, "DeleteAfterDays": 120}}), ""},
		"plan: window":     {backup.TypePlan, plan(obj{"StartWindowMinutes": 30}), "InvalidParameterValueException: The start window"},
		"plan: name":       {backup.TypePlan, obj{"BackupPlan": obj{}}, "MissingParameterValueException: Backup plan name is missing"},
		"plan: no rule":    {backup.TypePlan, obj{"BackupPlan": obj{"BackupPlanName": "p"}}, "InvalidParameterValueException: Backup plan must have at least one rule"},
		"selection: plan":  {backup.TypeSelection, selection("none", w.role), "InvalidParameterValueException: Backup plan none does not exist"},
		"selection: role":  {backup.TypeSelection, selection(p.ID, "arn:aws:iam::123456789012:role/none"), "InvalidParameterValueException: IAM Role arn:aws:iam::123456789012:role/none cannot be assumed by AWS Backup"},
		"selection: ARN":   {backup.TypeSelection, selection(p.ID, w.role, "db"), "InvalidParameterValueException: Invalid ARN: db"},
		"selection: every": {backup.TypeSelection, selection(p.ID, w.role, "*"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := (&world{Account: w.Clone(time.Now)}).create(c.typ, c.p)
			check(t, err, c.want)
		})
	}
}

func TestWhatBlocksDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.must(t, backup.TypePlan, plan(nil))
	s := w.must(t, backup.TypeSelection, obj{"BackupPlanId": p.ID, "BackupSelection": obj{"SelectionName": "s", "IamRoleArn": w.role}})
	var first, second, vault *account.Resource
	check(t, w.Do(func(tx *account.Tx) error {
		vault = tx.Get(backup.TypeVault, "vault")
		first = backup.AddPoint(tx, "vault", "arn:aws:rds:us-east-1:123456789012:db:a", w.now.AddDate(0, 0, 35))
		second = backup.AddPoint(tx, "vault", "arn:aws:s3:::b", time.Time{})
		return nil
	}), "")
	check(t, w.remove(p), "InvalidRequestException: Related backup plan selections must be deleted prior to backup plan deletion")
	check(t, w.remove(s), "")
	check(t, w.remove(p), "")
	const full = "InvalidRequestException: Backup vault cannot be deleted because it contains recovery points."
	check(t, w.remove(vault), full)
	w.now = w.now.AddDate(0, 0, 36)
	check(t, w.remove(vault), full)
	call := func(op, point string) (obj, error) {
		var out any
		err := w.Do(func(tx *account.Tx) error {
			for _, o := range backup.Service().Operations {
				if o.Name == op {
					var err error
					out, err = o.Do(tx, &wire.Request{In: obj{"backupVaultName": "vault", "recoveryPointArn": point}})
					return err
				}
			}
			return errors.New("no operation " + op)
		})
		m, _ := out.(map[string]any)
		return m, err
	}
	_, err := call("DescribeRecoveryPoint", first.ID)
	check(t, err, "ResourceNotFoundException: ") // its time was over
	out, err := call("ListRecoveryPointsByBackupVault", "")
	check(t, err, "")
	if list := props.Maps(out, "RecoveryPoints"); len(list) != 1 || list[0]["ResourceArn"] != "arn:aws:s3:::b" {
		t.Error(out)
	}
	_, err = call("DeleteRecoveryPoint", second.ID)
	check(t, err, "")
	check(t, w.remove(vault), "")
	_, err = call("DescribeBackupVault", "")
	check(t, err, "ResourceNotFoundException: Backup vault vault does not exist")
}

// TestChangesByAPI changes a plan, a selection and a vault's policy behind
// their stack's back.
func TestChangesByAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.must(t, backup.TypePlan, plan(nil))
	s := w.must(t, backup.TypeSelection, obj{"BackupPlanId": p.ID, "BackupSelection": obj{"SelectionName": "s", "IamRoleArn": w.role, "Resources": []any{"arn:aws:s3:::b"}}})
	check(t, w.Do(func(tx *account.Tx) error {
		backup.AddPoint(tx, "vault", "arn:aws:s3:::a", time.Time{})
		backup.AddPoint(tx, "vault", "arn:aws:s3:::b", time.Time{})
		return nil
	}), "")
	call := func(op string, in obj) (obj, error) {
		var out any
		err := w.Do(func(tx *account.Tx) error {
			for _, o := range backup.Service().Operations {
				if o.Name == op {
					var err error
					out, err = o.Do(tx, &wire.Request{In: in})
					return err
				}
			}
			return errors.New("no operation " + op)
		})
		m, _ := out.(map[string]any)
		return m, err
	}
	selection := obj{"backupPlanId": p.ID, "selectionId": s.Attrs["SelectionId"]}
	rules := func(schedule string) obj {
		return obj{"backupPlanId": p.ID, "BackupPlan": obj{"BackupPlanName": "plan", "Rules": []any{obj{"RuleName": "r", "TargetBackupVaultName": "vault", "ScheduleExpression": schedule}}}}
	}
	const document = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:DeleteRecoveryPoint","Resource":"*"}]}`
	for _, c := range []struct {
		op         string
		in         obj
		want, says string
	}{
		{"ListRecoveryPointsByBackupVault", obj{"backupVaultName": "vault", "resourceArn": "arn:aws:s3:::b"}, "", "arn:aws:s3:::b"},
		{"ListRecoveryPointsByBackupVault", obj{"backupVaultName": "none"}, "ResourceNotFoundException: Backup vault none does not exist", ""},
		{"GetBackupSelection", selection, "", "arn:aws:s3:::b"},
		{"DeleteBackupSelection", selection, "", ""},
		{"GetBackupSelection", selection, "ResourceNotFoundException: Cannot find backup selection", ""},
		{"UpdateBackupPlan", rules("cron(0 6 * * ? *)"), "", ""},
		{"GetBackupPlan", obj{"backupPlanId": p.ID}, "", "cron(0 6 * * ? *)"},
		{"UpdateBackupPlan", rules("daily"), "InvalidParameterValueException: Invalid schedule expression", ""},
		{"UpdateBackupPlan", obj{"backupPlanId": "none"}, "ResourceNotFoundException: ", ""},
		{"GetBackupVaultAccessPolicy", obj{"backupVaultName": "vault"}, "ResourceNotFoundException: No policy", ""},
		{"PutBackupVaultAccessPolicy", obj{"backupVaultName": "vault", "Policy": "{"}, "InvalidParameterValueException: ", ""},
		{"PutBackupVaultAccessPolicy", obj{"backupVaultName": "vault", "Policy": document}, "", ""},
		{"GetBackupVaultAccessPolicy", obj{"backupVaultName": "vault"}, "", document},
		{"PutBackupVaultAccessPolicy", obj{"backupVaultName": "none"}, "ResourceNotFoundException: ", ""},
	} {
		out, err := call(c.op, c.in)
		check(t, err, c.want)
		if said := fmt.Sprint(out); !strings.Contains(said, c.says) || strings.Contains(said, "arn:aws:s3:::a") {
			t.Errorf("%s: %s does not say %q alone", c.op, said, c.says)
		}
	}
}
