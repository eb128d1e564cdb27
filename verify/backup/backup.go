// Package backup has the checks of recovery points: plans, vaults and how recent the
// newest point is.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: what a recovery point holds is not looked into, and nothing is restored.
package backup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// backupFacts are what AWS Backup does for the deployment.
type backupFacts struct {
	plansFact  account.Fact[[]backupPlan]
	vaultsFact account.Keyed[*backup.DescribeBackupVaultOutput]
}

// backupPlan is a plan of AWS Backup with what it selects.
type backupPlan struct {
	id      string
	created time.Time
	rules   []types.BackupRule
	// resources are ARNs and patterns; a selection by tags has none.
	resources []string
}

// backupPlans are the plans of the deployment's name. AWS allows more than one.
func backupPlans(l *account.Look) ([]backupPlan, error) {
	return account.Facts[backupFacts](l).plansFact.Get(func() ([]backupPlan, error) {
		var found []backupPlan
		pages := backup.NewListBackupPlansPaginator(l.AWS.Backup, &backup.ListBackupPlansInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list backup plans: %w", err)
			}
			for _, p := range page.BackupPlansList {
				if aws.ToString(p.BackupPlanName) != l.Arch.Name() {
					continue
				}
				plan, err := readPlan(l, aws.ToString(p.BackupPlanId))
				if err != nil {
					return nil, err
				}
				found = append(found, plan)
			}
		}
		return found, nil
	})
}

func readPlan(l *account.Look, id string) (backupPlan, error) {
	out, err := l.AWS.Backup.GetBackupPlan(l.Ctx, &backup.GetBackupPlanInput{BackupPlanId: &id})
	if err != nil {
		return backupPlan{}, fmt.Errorf("read backup plan %s: %w", id, err)
	}
	plan := backupPlan{id: id, created: aws.ToTime(out.CreationDate)}
	if out.BackupPlan != nil {
		plan.rules = out.BackupPlan.Rules
	}
	pages := backup.NewListBackupSelectionsPaginator(l.AWS.Backup, &backup.ListBackupSelectionsInput{BackupPlanId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.Ctx)
		if err != nil {
			return backupPlan{}, fmt.Errorf("list the selections of backup plan %s: %w", id, err)
		}
		for _, s := range page.BackupSelectionsList {
			one, err := l.AWS.Backup.GetBackupSelection(l.Ctx, &backup.GetBackupSelectionInput{BackupPlanId: &id, SelectionId: s.SelectionId})
			if err != nil {
				return backupPlan{}, fmt.Errorf("read selection %s of backup plan %s: %w", aws.ToString(s.SelectionId), id, err)
			}
			if one.BackupSelection != nil {
				plan.resources = append(plan.resources, one.BackupSelection.Resources...)
			}
		}
	}
	return plan, nil
}

// backupVault is a vault, or nil.
func backupVault(l *account.Look, name string) (*backup.DescribeBackupVaultOutput, error) {
	return account.Facts[backupFacts](l).vaultsFact.Get(name, func() (*backup.DescribeBackupVaultOutput, error) {
		out, err := account.OrNone(l.AWS.Backup.DescribeBackupVault(l.Ctx, &backup.DescribeBackupVaultInput{BackupVaultName: &name}))
		if err != nil {
			return nil, fmt.Errorf("look up backup vault %s: %w", name, err)
		}
		return out, nil
	})
}

// backedUp are the ARNs that have to be backed up: the database and the buckets
// that hold what users and the vendor bring.
func backedUp(l *account.Look) []string {
	list := []string{fmt.Sprintf("arn:%s:rds:%s:%s:db:%s", l.ID.Partition, l.AWS.Region, l.ID.Account, l.Arch.DatabaseName())}
	for _, b := range l.Arch.Buckets {
		if b.Purpose != architecture.BucketLogs {
			list = append(list, l.BucketARN(b))
		}
	}
	return list
}

const seePlan = "backup:GetBackupPlan"

// onBackups looks at the plans, if backups are on and there is one.
func onBackups(f func(*account.Look, *check.Recorder, []backupPlan) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		if !l.Arch.Config.Backups.Enabled {
			r.NA("backups.enabled is off")
			return nil
		}
		plans, err := backupPlans(l)
		if err != nil {
			return err
		}
		if len(plans) == 0 {
			r.NA("there is no backup plan, as backup-plan says")
			return nil
		}
		return f(l, r, plans)
	}
}

// eachVault looks at the vaults that plans write to.
func eachVault(f func(*account.Look, *check.Recorder, string) error) func(*account.Look, *check.Recorder) error {
	return onBackups(func(l *account.Look, r *check.Recorder, plans []backupPlan) error {
		var names []string
		for _, p := range plans {
			for _, rule := range p.rules {
				names = append(names, aws.ToString(rule.TargetBackupVaultName))
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if err := f(l, r, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Checks are the checks of backups, in the order of reports.
func Checks() []check.Check {
	return []check.Check{
		{
			ID: "backup-plan", Level: check.Required, Rows: []string{"C12"},
			Proves: "A plan of AWS Backup makes recovery points when configured and keeps them as long as configured.",
			Run:    backupPlanned,
		},
		{
			ID: "backup-selection", Level: check.Required, Rows: []string{"C12"},
			Proves: "The plan backs up the database and the data buckets.",
			Run: onBackups(func(l *account.Look, r *check.Recorder, plans []backupPlan) error {
				for _, arn := range backedUp(l) {
					in := ""
					for _, p := range plans {
						if slices.ContainsFunc(p.resources, func(pattern string) bool { return policy.Wild(pattern, arn) }) {
							in = p.id
						}
					}
					saw := "in no selection"
					if in != "" {
						saw = "selected by plan " + in
					}
					r.Saw(in != "", arn, saw, "backup:GetBackupSelection", "selected by the plan "+l.Arch.Name(), "aws backup create-backup-selection --backup-plan-id "+plans[0].id+", with the resource "+arn)
				}
				return nil
			}),
		},
		{
			ID: "backup-vault-encrypted", Level: check.Required, Rows: []string{"S4", "B13"},
			Proves: "Recovery points are encrypted with the backup key.",
			Run: eachVault(func(l *account.Look, r *check.Recorder, name string) error {
				vault, err := backupVault(l, name)
				if err != nil {
					return err
				}
				if vault == nil {
					r.Missing(name, "backup:DescribeBackupVault", "make the vault again with the backup key, or let the plan write to another one")
					return nil
				}
				return check.SawKey(l, r, aws.ToString(vault.BackupVaultArn), aws.ToString(vault.EncryptionKeyArn), "backup:DescribeBackupVault", architecture.KeyBackup,
					"a vault's key can't change: make another vault with the key, and let the plan write there")
			}),
		},
		{
			ID: "backup-vault-private", Level: check.Required, Rows: []string{"S6"},
			Proves: "No other account may do anything with the vault.",
			Run: eachVault(func(l *account.Look, r *check.Recorder, name string) error {
				const api = "backup:GetBackupVaultAccessPolicy"
				out, err := account.OrNone(l.AWS.Backup.GetBackupVaultAccessPolicy(l.Ctx, &backup.GetBackupVaultAccessPolicyInput{BackupVaultName: &name}))
				if err != nil {
					return fmt.Errorf("read the policy of backup vault %s: %w", name, err)
				}
				if out == nil || aws.ToString(out.Policy) == "" {
					r.Saw(true, name, "no policy", api, "", "")
					return nil
				}
				p, err := policy.Read(*out.Policy)
				if err != nil {
					return fmt.Errorf("backup vault %s: %w", name, err)
				}
				strangers := p.Strangers(l.ID.Account)
				for _, who := range strangers {
					r.Saw(false, name, "lets in "+who, api, "this account only", "aws backup put-backup-vault-access-policy without it; if copies come from there on purpose, skip this check with the reason")
				}
				if len(strangers) == 0 {
					r.Saw(true, name, "a policy for this account only", api, "", "")
				}
				return nil
			}),
		},
		{
			ID: "backup-recent", Level: check.Required, Rows: []string{"C12"},
			Proves: "Everything that is backed up has a recovery point from the last run of the plan.",
			Run:    onBackups(backupRecent),
		},
	}
}

func backupPlanned(l *account.Look, r *check.Recorder) error {
	c := l.Arch.Config.Backups
	if !c.Enabled {
		r.NA("backups.enabled is off")
		return nil
	}
	plans, err := backupPlans(l)
	if err != nil {
		return err
	}
	if len(plans) == 0 {
		r.Missing("backup plan "+l.Arch.Name(), "backup:ListBackupPlans", "aws backup create-backup-plan of that name, at "+c.Schedule+fmt.Sprintf(", kept for %d days, and select the database and data buckets", c.RetentionDays))
		return nil
	}
	want := fmt.Sprintf("%s, kept for %d days", c.Schedule, c.RetentionDays)
	for _, p := range plans {
		ok := false
		var saw []string
		for _, rule := range p.rules {
			keep := "for ever"
			days := int64(0)
			if rule.Lifecycle != nil && rule.Lifecycle.DeleteAfterDays != nil {
				days = *rule.Lifecycle.DeleteAfterDays
				keep = fmt.Sprintf("for %d days", days)
			}
			at := aws.ToString(rule.ScheduleExpression)
			saw = append(saw, at+", kept "+keep)
			ok = ok || at == c.Schedule && (days == 0 || days >= int64(c.RetentionDays))
		}
		r.Saw(ok, "backup plan "+p.id, strings.Join(saw, "; "), seePlan, want, "aws backup update-backup-plan --backup-plan-id "+p.id+", with a rule at "+want)
	}
	return nil
}

// between is how long after a run of a schedule the recovery points of the next
// one must be there: the schedule's own time, eight hours in which AWS Backup
// begins, and a day or more for what is large. Zero means that it isn't known.
// https://docs.aws.amazon.com/aws-backup/latest/devguide/creating-a-backup-plan.html
func between(schedule string) time.Duration {
	const day = 24 * time.Hour
	rest, ok := strings.CutPrefix(schedule, "cron(")
	fields := strings.Fields(strings.TrimSuffix(rest, ")"))
	if !ok || len(fields) != 6 || fields[3] != "*" || fields[5] != "*" {
		return 0
	}
	free := func(f string) bool { return f == "*" || f == "?" }
	switch {
	case free(fields[2]) && free(fields[4]):
		return 3 * day
	case free(fields[2]):
		return 9 * day
	}
	return 33 * day
}

func backupRecent(l *account.Look, r *check.Recorder, plans []backupPlan) error {
	wait := between(l.Arch.Config.Backups.Schedule)
	if wait == 0 {
		r.NA("when backups.schedule runs next can't be told")
		return nil
	}
	now := l.AWS.Clock.Now()
	for _, p := range plans {
		if now.Sub(p.created) < wait {
			continue
		}
		for _, arn := range backedUp(l) {
			newest, err := newestPoint(l, p, arn)
			if err != nil {
				return err
			}
			saw := "no recovery point"
			if !newest.IsZero() {
				saw = "a recovery point of " + newest.UTC().Format(time.RFC3339)
			}
			r.Saw(now.Sub(newest) < wait, arn, saw, "backup:ListRecoveryPointsByBackupVault", fmt.Sprintf("one of the last %d days", int(wait.Hours()/24)),
				"look why its jobs fail: aws backup list-backup-jobs --by-resource-arn "+arn+"; S3 needs versions on, and the role "+l.Arch.RoleName("backup")+" its policies")
		}
	}
	if r.Empty() {
		r.NA("the plan is so new that its first run may not be complete")
	}
	return nil
}

// newestPoint is when the newest complete recovery point of a resource was made,
// in the vaults that a plan writes to; zero where there is none.
func newestPoint(l *account.Look, p backupPlan, arn string) (time.Time, error) {
	var newest time.Time
	for _, rule := range p.rules {
		pages := backup.NewListRecoveryPointsByBackupVaultPaginator(l.AWS.Backup, &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: rule.TargetBackupVaultName, ByResourceArn: &arn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return time.Time{}, fmt.Errorf("list the recovery points of %s: %w", arn, err)
			}
			for _, point := range page.RecoveryPoints {
				complete := point.Status == types.RecoveryPointStatusCompleted || point.Status == types.RecoveryPointStatusAvailable
				if at := aws.ToTime(point.CreationDate); complete && at.After(newest) {
					newest = at
				}
			}
		}
	}
	return newest, nil
}
