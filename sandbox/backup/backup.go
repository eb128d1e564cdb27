// Package backup is AWS Backup: vaults, plans and selections.
//
// Invariants: names are unique, a vault's key and a selection's role exist, a
// plan's rules write into vaults that exist and keep what they write for a time
// that AWS takes. A vault with recovery points, or a plan with selections,
// can't be deleted.
//
// Limits: databases and buckets are saved, other resources are not; whether a
// role may is looked at when its job ends. Vault locks, restores, copies, reports
// and frameworks are not modelled.
package backup

import (
	"regexp"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package. A vault's id is its name, a plan's its
// id, a selection's SELECTION_PLAN.
const (
	TypeVault     = "AWS::Backup::BackupVault"
	TypePlan      = "AWS::Backup::BackupPlan"
	TypeSelection = "AWS::Backup::BackupSelection"
	// TypeRecoveryPoint is a backup in a vault; its id is its ARN. Its Data
	// holds "vault" and, optionally, "deleteAt" (a time).
	TypeRecoveryPoint = "backup:recovery-point"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{vaultType(), planType(), selectionType(), {Name: TypeRecoveryPoint}}
}

var vaultName = regexp.MustCompile(`^[a-zA-Z0-9_-]{2,50}$`)

// AddPoint puts a recovery point of a resource into a vault, as a backup job
// does. A zero time means that it is kept for ever.
func AddPoint(tx *account.Tx, vault, resource string, deleteAt time.Time) *account.Resource {
	r := &account.Resource{
		Type: TypeRecoveryPoint, ID: tx.ARN("backup", "recovery-point:"+tx.UUID()), Status: "COMPLETED", Owner: "backup.amazonaws.com",
		Props: map[string]any{"ResourceArn": resource}, Attrs: map[string]any{}, Data: map[string]any{"vault": vault}, Tags: map[string]string{},
	}
	if !deleteAt.IsZero() {
		r.Data["deleteAt"] = deleteAt
		tx.After(deleteAt.Sub(tx.Now()), account.Event{Calendar: true, Kind: expiry, ID: r.ID})
	}
	tx.Put(r)
	return r
}

const expiry = "backup:expiry"

// Events are the handlers of this package's events.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){
		expiry:    func(tx *account.Tx, e account.Event) { tx.Drop(TypeRecoveryPoint, e.ID) },
		eventRule: due,
		eventDone: done,
	}
}

// Points are the recovery points in a vault.
func Points(tx *account.Tx, vault string) []*account.Resource {
	var points []*account.Resource
	for _, p := range tx.List(TypeRecoveryPoint) {
		if p.Data["vault"] == vault {
			points = append(points, p)
		}
	}
	return points
}

func unmodelledOfVaults() []string {
	return []string{"LockConfiguration", "Notifications", "AccessPolicy"}
}

func vaultType() *account.Type {
	return &account.Type{
		Name: TypeVault,
		Create: func(tx *account.Tx, r *account.Resource) error {
			if err := account.Unmodelled(TypeVault, r.Props, unmodelledOfVaults()...); err != nil {
				return err
			}
			name := props.Str(r.Props, "BackupVaultName")
			if !vaultName.MatchString(name) {
				return account.Errorf("InvalidParameterValueException", "Invalid vault name. Vault name must consist of 2 to 50 letters, numbers, hyphens and underscores")
			}
			if tx.Get(TypeVault, name) != nil {
				return account.Errorf("AlreadyExistsException", "Backup vault with the same name already exists")
			}
			if key := props.Str(r.Props, "EncryptionKeyArn"); key != "" {
				if _, err := kms.Lookup(tx, key); err != nil {
					return account.Errorf("InvalidParameterValueException", "The specified KMS key %s does not exist", key)
				}
			}
			r.ID = name
			r.Attrs["BackupVaultName"], r.Attrs["BackupVaultArn"] = name, tx.ARN("backup", "backup-vault:"+name)
			r.Tags = props.Tags(r.Props, "BackupVaultTags")
			return nil
		},
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			if err := account.Unmodelled(TypeVault, next, unmodelledOfVaults()...); err != nil {
				return err
			}
			r.Retag(next, "BackupVaultTags")
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if len(Points(tx, r.ID)) > 0 {
				return account.Errorf("InvalidRequestException", "Backup vault cannot be deleted because it contains recovery points.")
			}
			return nil
		},
	}
}

func rules(p map[string]any) []map[string]any { return props.Maps(p, "BackupPlan", "BackupPlanRule") }

func checkPlan(tx *account.Tx, p map[string]any) error {
	all := rules(p)
	if len(all) == 0 {
		return account.Errorf("InvalidParameterValueException", "Backup plan must have at least one rule")
	}
	names := map[string]bool{}
	for _, rule := range all {
		name := props.Str(rule, "RuleName")
		if name == "" || names[name] {
			return account.Errorf("InvalidParameterValueException", "Rule names must be unique and not empty: %q", name)
		}
		names[name] = true
		if vault := props.Str(rule, "TargetBackupVault"); tx.Get(TypeVault, vault) == nil {
			return account.Errorf("InvalidParameterValueException", "Backup vault %s does not exist", vault)
		}
		if _, err := parseSchedule(scheduleOf(rule)); err != nil {
			return err
		}
		if err := account.Unmodelled(TypePlan, rule, "CopyActions", "IndexActions", "ScanActions", "TargetLogicallyAirGappedBackupVaultArn"); err != nil {
			return err
		}
		if props.Bool(rule, false, "EnableContinuousBackup") {
			return account.NotModelled("EnableContinuousBackup of %s is not modelled by the sandbox", TypePlan)
		}
		if z := props.Str(rule, "ScheduleExpressionTimezone"); z != "" && z != "Etc/UTC" && z != "UTC" {
			return account.NotModelled("ScheduleExpressionTimezone %s is not modelled by the sandbox", z)
		}
		cold, remove := props.Int(rule, 0, "Lifecycle", "MoveToColdStorageAfterDays"), props.Int(rule, 0, "Lifecycle", "DeleteAfterDays")
		// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
		start, complete := props.Int(rule, 480, "StartWindowMinutes"), props.Int(rule, 0, "CompletionWindowMinutes")
		if start < 60 || complete > 0 && complete < start+60 {
			return account.Errorf("InvalidParameterValueException", "The start window must be at least 60 minutes, and the completion window at least 60 minutes longer")
		}
		if cold > 0 && remove > 0 && remove < cold+90 {
			return account.Errorf("InvalidParameterValueException", "DeleteAfterDays cannot be less than 90 days apart from MoveToColdStorageAfterDays")
		}
	}
	return nil
}

func planType() *account.Type {
	return &account.Type{
		Name: TypePlan,
		Create: func(tx *account.Tx, r *account.Resource) error {
			if props.Str(r.Props, "BackupPlan", "BackupPlanName") == "" {
				return account.Errorf("MissingParameterValueException", "Backup plan name is missing")
			}
			r.ID = tx.UUID()
			r.Attrs["BackupPlanId"], r.Attrs["BackupPlanArn"], r.Attrs["VersionId"] = r.ID, tx.ARN("backup", "backup-plan:"+r.ID), tx.HexID(32)
			r.Tags = props.Tags(r.Props, "BackupPlanTags")
			if err := checkPlan(tx, r.Props); err != nil {
				return err
			}
			watch(tx, r, rules(r.Props))
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkPlan(tx, next); err != nil {
				return err
			}
			r.Retag(next, "BackupPlanTags")
			r.Attrs["VersionId"] = tx.HexID(32)
			watch(tx, r, rules(next))
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if tx.Find(TypeSelection, func(s *account.Resource) bool { return props.Str(s.Props, "BackupPlanId") == r.ID }) != nil {
				return account.Errorf("InvalidRequestException", "Related backup plan selections must be deleted prior to backup plan deletion")
			}
			return nil
		},
	}
}

func selectionType() *account.Type {
	return &account.Type{
		Name: TypeSelection,
		Create: func(tx *account.Tx, r *account.Resource) error {
			plan := props.Str(r.Props, "BackupPlanId")
			if tx.Get(TypePlan, plan) == nil {
				return account.Errorf("InvalidParameterValueException", "Backup plan %s does not exist", plan)
			}
			name := props.Str(r.Props, "BackupSelection", "SelectionName")
			if tx.Find(TypeSelection, func(s *account.Resource) bool {
				return props.Str(s.Props, "BackupPlanId") == plan && props.Str(s.Props, "BackupSelection", "SelectionName") == name
			}) != nil {
				return account.Errorf("AlreadyExistsException", "Backup selection %s already exists", name)
			}
			role := props.Str(r.Props, "BackupSelection", "IamRoleArn")
			if found := iam.RoleByARN(tx, role); found == nil || !iam.Trusts(tx, found, "backup.amazonaws.com", "") {
				return account.Errorf("InvalidParameterValueException", "IAM Role %s cannot be assumed by AWS Backup", role)
			}
			if err := account.Unmodelled(TypeSelection, props.Map(r.Props, "BackupSelection"), "Conditions"); err != nil {
				return err
			}
			for _, arn := range props.Strs(r.Props, "BackupSelection", "Resources") {
				if arn != "*" && !strings.HasPrefix(arn, "arn:") {
					return account.Errorf("InvalidParameterValueException", "Invalid ARN: %s", arn)
				}
			}
			id := tx.UUID()
			r.ID = id + "_" + plan
			r.Attrs["Id"], r.Attrs["SelectionId"], r.Attrs["BackupPlanId"] = r.ID, id, plan
			return nil
		},
	}
}

// Policies are the access policy of the vault that an ARN names.
func Policies(tx *account.Tx, arn string) []*policy.Document {
	name, ok := strings.CutPrefix(arn, tx.ARN("backup", "backup-vault:"))
	v := tx.Get(TypeVault, name)
	if !ok || v == nil || props.Str(v.Data, "policy") == "" {
		return nil
	}
	doc, err := policy.Parse(props.Str(v.Data, "policy"), policy.Resource)
	if err != nil {
		return nil
	}
	return []*policy.Document{doc}
}
