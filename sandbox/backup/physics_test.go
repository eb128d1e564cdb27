package backup_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/backup"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// call calls an operation of the API.
func call(t *testing.T, w *world, name string, in obj) (obj, error) {
	t.Helper()
	for _, o := range backup.Service().Operations {
		if o.Name != name {
			continue
		}
		var out any
		err := w.Do(func(tx *account.Tx) error {
			var err error
			out, err = o.Do(tx, &wire.Request{In: in})
			return err
		})
		m, _ := out.(map[string]any)
		return m, err
	}
	t.Fatalf("no operation %s", name)
	return nil, nil
}

const bucketARN, databaseARN = "arn:aws:s3:::data", "arn:aws:rds:us-east-1:123456789012:db:db"

// stocked is a world with a versioned bucket, a database and a role that may
// save both.
func stocked(t *testing.T) (*world, string) {
	t.Helper()
	w := newWorld(t)
	check(t, w.Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::S3::Bucket", ID: "data", Attrs: obj{"Arn": bucketARN}, Props: obj{"VersioningConfiguration": obj{"Status": "Enabled"}}, Tags: map[string]string{"backup": "yes"}})
		tx.Put(&account.Resource{Type: "AWS::RDS::DBInstance", ID: "db", Status: "available", Attrs: obj{"DBInstanceArn": databaseARN}, Props: obj{}})
		return nil
	}), "")
	r := w.must(t, iam.TypeRole, obj{
		"RoleName": "saver", "AssumeRolePolicyDocument": obj{"Version": "2012-10-17", "Statement": []any{obj{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": obj{"Service": "backup.amazonaws.com"}}}},
		"ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup", "arn:aws:iam::aws:policy/AWSBackupServiceRolePolicyForS3Backup"},
	})
	return w, props.Str(r.Attrs, "Arn")
}

// selection makes a plan with a rule and a selection.
func selection(t *testing.T, w *world, rule, spec obj) *account.Resource {
	t.Helper()
	p := w.must(t, backup.TypePlan, plan(rule))
	all := obj{"SelectionName": "s"}
	for k, v := range spec {
		all[k] = v
	}
	w.must(t, backup.TypeSelection, obj{"BackupPlanId": p.ID, "BackupSelection": all})
	return p
}

// saved are the ARNs of what the vault has recovery points of.
func saved(t *testing.T, w *world) []string {
	t.Helper()
	out := []string{}
	check(t, w.Do(func(tx *account.Tx) error {
		for _, p := range backup.Points(tx, "vault") {
			out = append(out, props.Str(p.Props, "ResourceArn"))
		}
		return nil
	}), "")
	slices.Sort(out)
	return out
}

// When the cron expression of a plan's rule is due, a recovery point is made of
// each resource that the plan's selections name.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/creating-a-backup-plan.html
// https://docs.aws.amazon.com/aws-backup/latest/devguide/assigning-resources.html
func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec obj
		want []string
	}{
		"by ARN":     {obj{"Resources": []any{databaseARN}}, []string{databaseARN}},
		"all":        {obj{"Resources": []any{"*"}}, []string{databaseARN, bucketARN}},
		"all but":    {obj{"Resources": []any{"*"}, "NotResources": []any{"arn:aws:s3:::*"}}, []string{databaseARN}},
		"by tag":     {obj{"ListOfTags": []any{obj{"ConditionType": "STRINGEQUALS", "ConditionKey": "backup", "ConditionValue": "yes"}}}, []string{bucketARN}},
		"what isn't": {obj{"Resources": []any{"arn:aws:s3:::none"}}, []string{}},
	} {
		w, role := stocked(t)
		c.spec["IamRoleArn"] = role
		selection(t, w, obj{"ScheduleExpression": "cron(0 5 ? * TUE *)"}, c.spec) // it is Monday, eight o'clock
		w.now = w.now.Add(20 * time.Hour)
		if got := saved(t, w); len(got) != 0 {
			t.Errorf("%s, before: %v", name, got)
		}
		w.now = w.now.Add(2 * time.Hour)
		if d := cmp.Diff(c.want, saved(t, w)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		w.now = w.now.AddDate(0, 0, 7)
		if got := saved(t, w); len(got) != 2*len(c.want) {
			t.Errorf("%s, a week later: %v", name, got)
		}
	}
}

// A schedule is a cron expression of six fields, in UTC, with a question mark
// for one of the two days.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupRule.html
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html
func TestSchedules(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		want  string
		first time.Time // after Monday, 2 November 2026, eight o'clock
	}{
		"cron(0 5 * * ? *)":        {"", time.Date(2026, 11, 3, 5, 0, 0, 0, time.UTC)},
		"cron(30 8 ? * MON-FRI *)": {"", time.Date(2026, 11, 2, 8, 30, 0, 0, time.UTC)},
		"cron(0 0/6 * * ? *)":      {"", time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)},
		"cron(15 10 L * ? *)":      {"", time.Date(2026, 11, 30, 10, 15, 0, 0, time.UTC)},
		"cron(0 0 1 JAN,JUL ? *)":  {"", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		"cron(0 5 * * * *)":        {"InvalidParameterValueException: Invalid schedule expression", time.Time{}},
		"cron(0 5 ? * ? *)":        {"InvalidParameterValueException: Invalid schedule expression", time.Time{}},
		"cron(61 5 * * ? *)":       {"InvalidParameterValueException: Invalid schedule expression", time.Time{}},
		"cron(0 5 * * ?)":          {"InvalidParameterValueException: Invalid schedule expression", time.Time{}},
		"rate(1 day)":              {"InvalidParameterValueException: Invalid schedule expression", time.Time{}},
		"cron(0 5 ? * 2#1 *)":      {"NotModelled: schedule expression", time.Time{}},
	} {
		w, role := stocked(t)
		p, err := w.create(backup.TypePlan, plan(obj{"ScheduleExpression": text}))
		check(t, err, c.want)
		if err != nil {
			continue
		}
		w.must(t, backup.TypeSelection, obj{"BackupPlanId": p.ID, "BackupSelection": obj{"SelectionName": "s", "IamRoleArn": role, "Resources": []any{databaseARN}}})
		w.now = c.first.Add(-time.Second)
		if got := saved(t, w); len(got) != 0 {
			t.Errorf("%s: too early: %v", text, got)
		}
		w.now = c.first.Add(time.Hour)
		if got := saved(t, w); len(got) != 1 {
			t.Errorf("%s: in time: %v", text, got)
		}
	}
}

// A recovery point is deleted when the time is over that its rule keeps it for.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
func TestRetention(t *testing.T) {
	t.Parallel()
	w, role := stocked(t)
	selection(t, w, obj{"ScheduleExpression": "cron(0 5 * * ? *)", "Lifecycle": obj{"DeleteAfterDays": 3}}, obj{"IamRoleArn": role, "Resources": []any{databaseARN}})
	var got []int
	for range 6 {
		w.now = w.now.AddDate(0, 0, 1)
		got = append(got, len(saved(t, w)))
	}
	if d := cmp.Diff([]int{1, 2, 3, 3, 3, 3}, got); d != "" {
		t.Error(d)
	}
}

// A vault with recovery points can't be deleted.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupVault.html
func TestVaultWithPointsStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var point *account.Resource
	check(t, w.Do(func(tx *account.Tx) error {
		point = backup.AddPoint(tx, "vault", databaseARN, time.Time{})
		return nil
	}), "")
	_, err := call(t, w, "DeleteBackupVault", obj{"backupVaultName": "vault"})
	check(t, err, "InvalidRequestException: Backup vault cannot be deleted because it contains recovery points.")
	_, err = call(t, w, "DeleteRecoveryPoint", obj{"backupVaultName": "vault", "recoveryPointArn": point.ID})
	check(t, err, "")
	_, err = call(t, w, "DeleteBackupVault", obj{"backupVaultName": "vault"})
	check(t, err, "")
}

// A plan with selections can't be deleted.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupPlan.html
func TestPlanWithSelectionsStays(t *testing.T) {
	t.Parallel()
	w, role := stocked(t)
	p := selection(t, w, nil, obj{"IamRoleArn": role})
	check(t, w.remove(p), "InvalidRequestException: Related backup plan selections must be deleted prior to backup plan deletion")
}

// A backup of a bucket without versioning, or by a role without the policy for
// the service, fails.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/s3-backups.html
// https://docs.aws.amazon.com/aws-backup/latest/devguide/iam-service-roles.html
func TestBackupsThatFail(t *testing.T) {
	t.Parallel()
	w, role := stocked(t)
	other := props.Str(w.must(t, iam.TypeRole, obj{
		"RoleName": "other", "AssumeRolePolicyDocument": obj{"Version": "2012-10-17", "Statement": []any{obj{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": obj{"Service": "backup.amazonaws.com"}}}},
		"ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"},
	}).Attrs, "Arn")
	own := func(name string, actions ...any) string {
		return props.Str(w.must(t, iam.TypeRole, obj{
			"RoleName": name, "AssumeRolePolicyDocument": obj{"Version": "2012-10-17", "Statement": []any{obj{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": obj{"Service": "backup.amazonaws.com"}}}},
			"Policies": []any{obj{"PolicyName": "save", "PolicyDocument": obj{"Version": "2012-10-17", "Statement": []any{obj{"Effect": "Allow", "Action": actions, "Resource": bucketARN}}}}},
		}).Attrs, "Arn")
	}
	for name, c := range map[string]struct {
		role    string
		prepare func(tx *account.Tx)
		state   string
	}{
		"own policy":      {own("enough", "s3:GetBucket*", "s3:*InventoryConfiguration", "s3:PutBucketNotification", "s3:ListBucketVersions"), func(*account.Tx) {}, "COMPLETED"},
		"own, too little": {own("little", "s3:GetBucket*"), func(*account.Tx) {}, "FAILED"},
		"fine":            {role, func(*account.Tx) {}, "COMPLETED"},
		"no versioning":   {role, func(tx *account.Tx) { delete(tx.Get("AWS::S3::Bucket", "data").Props, "VersioningConfiguration") }, "FAILED"},
		"other policy":    {other, func(*account.Tx) {}, "FAILED"},
		"no policy":       {w.role, func(*account.Tx) {}, "FAILED"},
		"no vault by now": {role, func(tx *account.Tx) { tx.Drop(backup.TypeVault, "vault") }, "FAILED"},
	} {
		f := *w
		f.Account = w.Clone(func() time.Time { return f.now })
		started, err := call(t, &f, "StartBackupJob", obj{"BackupVaultName": "vault", "ResourceArn": bucketARN, "IamRoleArn": c.role})
		check(t, err, "")
		check(t, f.Do(func(tx *account.Tx) error { c.prepare(tx); return nil }), "")
		f.now = f.now.Add(time.Hour)
		out, err := call(t, &f, "DescribeBackupJob", obj{"backupJobId": started["BackupJobId"]})
		check(t, err, "")
		if out["State"] != c.state || (out["StatusMessage"] == nil) != (c.state == "COMPLETED") {
			t.Errorf("%s: %v", name, out)
		}
	}
}

// TestVaultLock: locks are not modelled, and say so.
func TestVaultLock(t *testing.T) {
	t.Parallel()
	_, err := newWorld(t).create(backup.TypeVault, obj{"BackupVaultName": "locked", "LockConfiguration": obj{"MinRetentionDays": 7}})
	check(t, err, "NotModelled: LockConfiguration of AWS::Backup::BackupVault is not modelled")
}

// TestMadeByAPI makes a vault, a plan and a selection by AWS Backup's own API,
// and takes the plan away again.
func TestMadeByAPI(t *testing.T) {
	t.Parallel()
	w, role := stocked(t)
	_, err := call(t, w, "CreateBackupVault", obj{"backupVaultName": "second", "BackupVaultTags": obj{"a": "b"}})
	check(t, err, "")
	p, err := call(t, w, "CreateBackupPlan", obj{"BackupPlan": obj{"BackupPlanName": "p", "Rules": []any{obj{"RuleName": "r", "TargetBackupVaultName": "second", "ScheduleExpression": "cron(0 12 * * ? *)"}}}})
	check(t, err, "")
	s, err := call(t, w, "CreateBackupSelection", obj{"backupPlanId": p["BackupPlanId"], "BackupSelection": obj{"SelectionName": "s", "IamRoleArn": role, "Resources": []any{databaseARN}}})
	check(t, err, "")
	w.now = w.now.Add(5 * time.Hour)
	out, err := call(t, w, "ListRecoveryPointsByBackupVault", obj{"backupVaultName": "second"})
	if check(t, err, ""); len(props.List(out, "RecoveryPoints")) != 1 {
		t.Errorf("got %v", out)
	}
	gone := obj{"backupPlanId": p["BackupPlanId"]}
	_, err = call(t, w, "DeleteBackupPlan", gone)
	check(t, err, "InvalidRequestException: Related backup plan selections must be deleted prior to backup plan deletion")
	_, err = call(t, w, "DeleteBackupSelection", obj{"backupPlanId": p["BackupPlanId"], "selectionId": s["SelectionId"]})
	check(t, err, "")
	_, err = call(t, w, "DeleteBackupPlan", gone)
	check(t, err, "")
}
