package backup

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

const (
	eventRule = "backup:rule" // a rule of a plan is due
	eventDone = "backup:done" // a job ends
	// noteJob is a job that has ended, in the account's journal.
	noteJob = "backup:job"
)

// protectable is a kind of resource that can be backed up here.
type protectable struct {
	typ, arn, kind string
	// policy is AWS's managed policy that lets a role save it.
	policy string
	// actions are what AWS Backup calls to save it.
	actions []string
}

// protectables are the kinds of resources that are modelled.
//
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSBackupServiceRolePolicyForBackup.html
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSBackupServiceRolePolicyForS3Backup.html
var protectables = []protectable{
	{"AWS::RDS::DBInstance", "DBInstanceArn", "RDS", "AWSBackupServiceRolePolicyForBackup", []string{"rds:DescribeDBInstances", "rds:CreateDBSnapshot"}},
	{"AWS::S3::Bucket", "Arn", "S3", "AWSBackupServiceRolePolicyForS3Backup", []string{"s3:GetBucketVersioning", "s3:GetInventoryConfiguration", "s3:PutInventoryConfiguration", "s3:GetBucketNotification", "s3:PutBucketNotification", "s3:ListBucketVersions"}},
}

// find is the resource with an ARN, and its kind; nil for one that isn't there
// or that isn't backed up here.
func find(tx *account.Tx, arn string) (*account.Resource, protectable) {
	for _, p := range protectables {
		if r := tx.Find(p.typ, func(r *account.Resource) bool { return props.Str(r.Attrs, p.arn) == arn }); r != nil {
			return r, p
		}
	}
	return nil, protectable{}
}

// watch schedules the rules of a plan.
func watch(tx *account.Tx, plan *account.Resource, all []map[string]any) {
	for _, rule := range all {
		s, err := parseSchedule(scheduleOf(rule))
		if err != nil {
			continue // refused before
		}
		if at, ok := s.next(tx.Now()); ok {
			tx.After(at.Sub(tx.Now()), account.Event{Calendar: true, Kind: eventRule, Type: TypePlan, ID: plan.ID, Data: map[string]any{"rule": props.Str(rule, "RuleName"), "version": plan.Attrs["VersionId"]}})
		}
	}
}

func scheduleOf(rule map[string]any) string {
	if s := props.Str(rule, "ScheduleExpression"); s != "" {
		return s
	}
	return everyDay
}

// due begins the jobs of a rule and schedules its next time.
func due(tx *account.Tx, e account.Event) {
	plan := tx.Get(TypePlan, e.ID)
	if plan == nil || plan.Attrs["VersionId"] != e.Data["version"] {
		return // deleted or changed since
	}
	i := slices.IndexFunc(rules(plan.Props), func(r map[string]any) bool { return props.Str(r, "RuleName") == props.Str(e.Data, "rule") })
	if i < 0 {
		return
	}
	rule := rules(plan.Props)[i]
	for _, s := range tx.List(TypeSelection) {
		if props.Str(s.Props, "BackupPlanId") != plan.ID {
			continue
		}
		for _, arn := range selected(tx, s) {
			start(tx, job{resource: arn, vault: props.Str(rule, "TargetBackupVault"), role: props.Str(s.Props, "BackupSelection", "IamRoleArn"), days: props.Int(rule, 0, "Lifecycle", "DeleteAfterDays"), plan: plan.ID})
		}
	}
	watch(tx, plan, []map[string]any{rule})
}

// selected are the ARNs of the resources that a selection names or whose tags
// it lists.
// https://docs.aws.amazon.com/aws-backup/latest/devguide/assigning-resources.html
func selected(tx *account.Tx, s *account.Resource) []string {
	spec := props.Map(s.Props, "BackupSelection")
	like := func(patterns []string, arn string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return policy.Like(p, arn) })
	}
	var out []string
	for _, p := range protectables {
		for _, r := range tx.List(p.typ) {
			arn := props.Str(r.Attrs, p.arn)
			tagged := slices.ContainsFunc(props.Maps(spec, "ListOfTags"), func(t map[string]any) bool {
				v, ok := r.Tags[props.Str(t, "ConditionKey")]
				return ok && v == props.Str(t, "ConditionValue")
			})
			if (like(props.Strs(spec, "Resources"), arn) || tagged) && !like(props.Strs(spec, "NotResources"), arn) {
				out = append(out, arn)
			}
		}
	}
	return out
}

// job is a backup to be made.
type job struct {
	resource, vault, role, plan string
	days                        int // 0 keeps it for ever
}

// start begins a job and returns its id.
func start(tx *account.Tx, j job) string {
	id := strings.ToUpper(tx.UUID())
	tx.After(tx.Latency("rds:snapshot/create", j.resource), account.Event{Kind: eventDone, ID: id, Data: map[string]any{
		"resource": j.resource, "vault": j.vault, "role": j.role, "plan": j.plan, "days": j.days, "created": tx.Now(),
	}})
	return id
}

// done ends a job: with a recovery point, or with the reason why there is none.
func done(tx *account.Tx, e account.Event) {
	resource, vault := props.Str(e.Data, "resource"), props.Str(e.Data, "vault")
	_, kind := find(tx, resource)
	note := map[string]any{
		"BackupJobId": e.ID, "AccountId": tx.AccountID(), "BackupVaultName": vault, "BackupVaultArn": tx.ARN("backup", "backup-vault:"+vault), "ResourceArn": resource,
		"ResourceType": kind.kind, "IamRoleArn": e.Data["role"], "CreationDate": e.Data["created"], "CompletionDate": tx.Now(), "State": "COMPLETED", "PercentDone": "100.0",
	}
	if reason := refused(tx, resource, vault, props.Str(e.Data, "role")); reason != "" {
		note["State"], note["StatusMessage"], note["PercentDone"] = "FAILED", reason, "0.0"
	} else {
		var until time.Time
		if n := props.Int(e.Data, 0, "days"); n > 0 {
			until = tx.Now().AddDate(0, 0, n)
		}
		note["RecoveryPointArn"] = AddPoint(tx, vault, resource, until).ID
	}
	if note["ResourceType"] == "" {
		delete(note, "ResourceType")
	}
	tx.Note(noteJob, note)
}

// refused is why a resource can't be saved, or "".
// https://docs.aws.amazon.com/aws-backup/latest/devguide/s3-backups.html
func refused(tx *account.Tx, resource, vault, role string) string {
	r, kind := find(tx, resource)
	v := tx.Get(TypeVault, vault)
	switch {
	case v == nil:
		return "Backup vault " + vault + " does not exist"
	case r == nil:
		return "The resource " + resource + " was not found"
	}
	if !permitted(tx, role, resource, kind) {
		return "Your backup job failed as AWS Backup does not have permission to describe resource " + resource + ". Please review your IAM policies to ensure AWS Backup can protect your resources."
	}
	if key := props.Str(v.Props, "EncryptionKeyArn"); key != "" {
		if k, err := kms.Lookup(tx, key); err != nil || k.Status != kms.Enabled {
			return "The AWS KMS key of backup vault " + vault + " is not accessible"
		}
	}
	switch kind.kind {
	case "S3":
		if props.Str(r.Props, "VersioningConfiguration", "Status") != "Enabled" {
			return "Unable to perform S3 backup: versioning must be enabled for the bucket " + r.ID
		}
	case "RDS":
		if r.Status != "available" && r.Status != "storage-optimization" {
			return "Instance " + r.ID + " is not in available state."
		}
	}
	return ""
}

// permitted tells whether a role can save a resource: by AWS's own policy for
// its kind, whose text isn't modelled, or by what the role's other policies allow.
func permitted(tx *account.Tx, arn, resource string, kind protectable) bool {
	role := iam.RoleByARN(tx, arn)
	if role == nil || !iam.Trusts(tx, role, "backup.amazonaws.com", "") {
		return false
	}
	if slices.ContainsFunc(iam.AttachedPolicies(tx, role), func(p string) bool {
		return strings.Contains(p, ":iam::aws:") && strings.HasSuffix(p, "/"+kind.policy)
	}) {
		return true
	}
	demands := make([]access.Demand, len(kind.actions))
	for i, action := range kind.actions {
		demands[i] = access.Demand{Action: action, Resources: []string{resource}}
	}
	_, err := iam.PermitAll(tx, arn, demands)
	return err == nil
}

// startJob makes a backup on demand.
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartBackupJob.html
func startJob(tx *account.Tx, r *wire.Request) (any, error) {
	j := job{resource: r.String("ResourceArn"), vault: r.String("BackupVaultName"), role: r.String("IamRoleArn"), days: props.Int(r.In, 0, "Lifecycle", "DeleteAfterDays")}
	if tx.Get(TypeVault, j.vault) == nil {
		return nil, account.Errorf("ResourceNotFoundException", "Backup vault %s does not exist", j.vault)
	}
	if role := iam.RoleByARN(tx, j.role); role == nil || !iam.Trusts(tx, role, "backup.amazonaws.com", "") {
		return nil, account.Errorf("InvalidParameterValueException", "IAM Role %s cannot be assumed by AWS Backup", j.role)
	}
	if found, _ := find(tx, j.resource); found == nil {
		return nil, account.Errorf("InvalidParameterValueException", "Invalid ARN: %s", j.resource)
	}
	return map[string]any{"BackupJobId": start(tx, j), "CreationDate": seconds(tx.Now())}, nil
}

// jobOut is a job as the API shows it.
func jobOut(data map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range data {
		if at, ok := v.(time.Time); ok {
			v = seconds(at)
		}
		out[k] = v
	}
	return out
}

// listJobs lists jobs that have ended, the newest first.
func listJobs(tx *account.Tx, r *wire.Request) (any, error) {
	items := []any{}
	for _, e := range slices.Backward(tx.Noted(noteJob)) {
		fits := true
		for filter, member := range map[string]string{"resourceArn": "ResourceArn", "state": "State", "backupVaultName": "BackupVaultName", "resourceType": "ResourceType"} {
			if want := r.String(filter); want != "" && want != props.Str(e.Data, member) {
				fits = false
			}
		}
		if fits {
			items = append(items, jobOut(e.Data))
		}
	}
	page, next, err := wire.Page(items, r.String("nextToken"), r.Int("maxResults", 1000), "InvalidParameterValueException")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"BackupJobs": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

func describeJob(tx *account.Tx, r *wire.Request) (any, error) {
	for _, e := range tx.Noted(noteJob) {
		if e.Data["BackupJobId"] == r.String("backupJobId") {
			return jobOut(e.Data), nil
		}
	}
	return nil, account.Errorf("ResourceNotFoundException", "Cannot find backup job %s", r.String("backupJobId"))
}
