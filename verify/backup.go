package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/poolhouse/poolhouse/architecture"
)

// backupFacts are what AWS Backup does for the deployment.
type backupFacts struct {
	plansFact  fact[[]backupPlan]
	vaultsFact keyed[*backup.DescribeBackupVaultOutput]
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
func (l *look) backupPlans() ([]backupPlan, error) {
	return l.plansFact.get(func() ([]backupPlan, error) {
		var found []backupPlan
		pages := backup.NewListBackupPlansPaginator(l.aws.Backup, &backup.ListBackupPlansInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list backup plans: %w", err)
			}
			for _, p := range page.BackupPlansList {
				if aws.ToString(p.BackupPlanName) != l.arch.Name() {
					continue
				}
				plan, err := l.backupPlan(aws.ToString(p.BackupPlanId))
				if err != nil {
					return nil, err
				}
				found = append(found, plan)
			}
		}
		return found, nil
	})
}

func (l *look) backupPlan(id string) (backupPlan, error) {
	out, err := l.aws.Backup.GetBackupPlan(l.ctx, &backup.GetBackupPlanInput{BackupPlanId: &id})
	if err != nil {
		return backupPlan{}, fmt.Errorf("read backup plan %s: %w", id, err)
	}
	plan := backupPlan{id: id, created: aws.ToTime(out.CreationDate)}
	if out.BackupPlan != nil {
		plan.rules = out.BackupPlan.Rules
	}
	pages := backup.NewListBackupSelectionsPaginator(l.aws.Backup, &backup.ListBackupSelectionsInput{BackupPlanId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.ctx)
		if err != nil {
			return backupPlan{}, fmt.Errorf("list the selections of backup plan %s: %w", id, err)
		}
		for _, s := range page.BackupSelectionsList {
			one, err := l.aws.Backup.GetBackupSelection(l.ctx, &backup.GetBackupSelectionInput{BackupPlanId: &id, SelectionId: s.SelectionId})
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
func (l *look) backupVault(name string) (*backup.DescribeBackupVaultOutput, error) {
	return l.vaultsFact.get(name, func() (*backup.DescribeBackupVaultOutput, error) {
		out, err := orNone(l.aws.Backup.DescribeBackupVault(l.ctx, &backup.DescribeBackupVaultInput{BackupVaultName: &name}))
		if err != nil {
			return nil, fmt.Errorf("look up backup vault %s: %w", name, err)
		}
		return out, nil
	})
}

// backedUp are the ARNs that have to be backed up: the database and the buckets
// that hold what users and the vendor bring.
func (l *look) backedUp() []string {
	list := []string{fmt.Sprintf("arn:%s:rds:%s:%s:db:%s", l.id.Partition, l.aws.Region, l.id.Account, l.arch.DatabaseName())}
	for _, b := range l.arch.Buckets {
		if b.Purpose != architecture.BucketLogs {
			list = append(list, l.bucketARN(b))
		}
	}
	return list
}

const seePlan = "backup:GetBackupPlan"

// onBackups looks at the plans, if backups are on and there is one.
func onBackups(f func(*look, *result, []backupPlan) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		if !l.arch.Config.Backups.Enabled {
			r.na("backups.enabled is off")
			return nil
		}
		plans, err := l.backupPlans()
		if err != nil {
			return err
		}
		if len(plans) == 0 {
			r.na("there is no backup plan, as backup-plan says")
			return nil
		}
		return f(l, r, plans)
	}
}

// eachVault looks at the vaults that plans write to.
func eachVault(f func(*look, *result, string) error) func(*look, *result) error {
	return onBackups(func(l *look, r *result, plans []backupPlan) error {
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

func backupChecks() []Check {
	return []Check{
		{
			ID: "backup-plan", Level: Required, Rows: []string{"C12"},
			Proves: "A plan of AWS Backup makes recovery points when configured and keeps them as long as configured.",
			run:    backupPlanned,
		},
		{
			ID: "backup-selection", Level: Required, Rows: []string{"C12"},
			Proves: "The plan backs up the database and the data buckets.",
			run: onBackups(func(l *look, r *result, plans []backupPlan) error {
				for _, arn := range l.backedUp() {
					in := ""
					for _, p := range plans {
						if slices.ContainsFunc(p.resources, func(pattern string) bool { return wild(pattern, arn) }) {
							in = p.id
						}
					}
					saw := "in no selection"
					if in != "" {
						saw = "selected by plan " + in
					}
					r.saw(in != "", arn, saw, "backup:GetBackupSelection", "selected by the plan "+l.arch.Name(), "aws backup create-backup-selection --backup-plan-id "+plans[0].id+", with the resource "+arn)
				}
				return nil
			}),
		},
		{
			ID: "backup-vault-encrypted", Level: Required, Rows: []string{"S4", "B13"},
			Proves: "Recovery points are encrypted with the backup key.",
			run: eachVault(func(l *look, r *result, name string) error {
				vault, err := l.backupVault(name)
				if err != nil {
					return err
				}
				if vault == nil {
					r.missing(name, "backup:DescribeBackupVault", "make the vault again with the backup key, or let the plan write to another one")
					return nil
				}
				return l.sawKey(r, aws.ToString(vault.BackupVaultArn), aws.ToString(vault.EncryptionKeyArn), "backup:DescribeBackupVault", architecture.KeyBackup,
					"a vault's key can't change: make another vault with the key, and let the plan write there")
			}),
		},
		{
			ID: "backup-vault-private", Level: Required, Rows: []string{"S6"},
			Proves: "No other account may do anything with the vault.",
			run: eachVault(func(l *look, r *result, name string) error {
				const api = "backup:GetBackupVaultAccessPolicy"
				out, err := orNone(l.aws.Backup.GetBackupVaultAccessPolicy(l.ctx, &backup.GetBackupVaultAccessPolicyInput{BackupVaultName: &name}))
				if err != nil {
					return fmt.Errorf("read the policy of backup vault %s: %w", name, err)
				}
				if out == nil || aws.ToString(out.Policy) == "" {
					r.saw(true, name, "no policy", api, "", "")
					return nil
				}
				p, err := readPolicy(*out.Policy)
				if err != nil {
					return fmt.Errorf("backup vault %s: %w", name, err)
				}
				strangers := l.strangers(p)
				for _, who := range strangers {
					r.saw(false, name, "lets in "+who, api, "this account only", "aws backup put-backup-vault-access-policy without it; if copies come from there on purpose, skip this check with the reason")
				}
				if len(strangers) == 0 {
					r.saw(true, name, "a policy for this account only", api, "", "")
				}
				return nil
			}),
		},
		{
			ID: "backup-recent", Level: Required, Rows: []string{"C12"},
			Proves: "Everything that is backed up has a recovery point from the last run of the plan.",
			run:    onBackups(backupRecent),
		},
	}
}

func backupPlanned(l *look, r *result) error {
	c := l.arch.Config.Backups
	if !c.Enabled {
		r.na("backups.enabled is off")
		return nil
	}
	plans, err := l.backupPlans()
	if err != nil {
		return err
	}
	if len(plans) == 0 {
		r.missing("backup plan "+l.arch.Name(), "backup:ListBackupPlans", "aws backup create-backup-plan of that name, at "+c.Schedule+fmt.Sprintf(", kept for %d days, and select the database and data buckets", c.RetentionDays))
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
		r.saw(ok, "backup plan "+p.id, strings.Join(saw, "; "), seePlan, want, "aws backup update-backup-plan --backup-plan-id "+p.id+", with a rule at "+want)
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

func backupRecent(l *look, r *result, plans []backupPlan) error {
	wait := between(l.arch.Config.Backups.Schedule)
	if wait == 0 {
		r.na("when backups.schedule runs next can't be told")
		return nil
	}
	now := l.aws.Clock.Now()
	for _, p := range plans {
		if now.Sub(p.created) < wait {
			continue
		}
		for _, arn := range l.backedUp() {
			newest, err := l.newestPoint(p, arn)
			if err != nil {
				return err
			}
			saw := "no recovery point"
			if !newest.IsZero() {
				saw = "a recovery point of " + newest.UTC().Format(time.RFC3339)
			}
			r.saw(now.Sub(newest) < wait, arn, saw, "backup:ListRecoveryPointsByBackupVault", fmt.Sprintf("one of the last %d days", int(wait.Hours()/24)),
				"look why its jobs fail: aws backup list-backup-jobs --by-resource-arn "+arn+"; S3 needs versions on, and the role "+l.arch.RoleName("backup")+" its policies")
		}
	}
	if len(r.seen) == 0 {
		r.na("the plan is so new that its first run may not be complete")
	}
	return nil
}

// newestPoint is when the newest complete recovery point of a resource was made,
// in the vaults that a plan writes to; zero where there is none.
func (l *look) newestPoint(p backupPlan, arn string) (time.Time, error) {
	var newest time.Time
	for _, rule := range p.rules {
		pages := backup.NewListRecoveryPointsByBackupVaultPaginator(l.aws.Backup, &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: rule.TargetBackupVaultName, ByResourceArn: &arn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
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
