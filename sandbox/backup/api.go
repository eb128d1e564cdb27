package backup

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns AWS Backup's API.
func Service() wire.Service {
	return wire.Service{
		Name: "backup", Protocol: wire.RestJSON,
		Operations: []wire.Operation{
			{Name: "ListBackupVaults", Method: "GET", Path: "/backup-vaults/", Do: listVaults},
			{Name: "DescribeBackupVault", Method: "GET", Path: "/backup-vaults/{backupVaultName}", Do: onVault(func(tx *account.Tx, v *account.Resource) (any, error) {
				return vault(tx, v), nil
			})},
			{Name: "DeleteBackupVault", Method: "DELETE", Path: "/backup-vaults/{backupVaultName}", Do: onVault(func(tx *account.Tx, v *account.Resource) (any, error) {
				if _, err := tx.Delete(v, false); err != nil {
					return nil, err
				}
				return nil, tx.Settle(v, "delete")
			})},
			{Name: "CreateBackupVault", Method: "PUT", Path: "/backup-vaults/{backupVaultName}", Do: createVault},
			{Name: "CreateBackupPlan", Method: "PUT", Path: "/backup/plans/", Do: createPlan},
			{Name: "DeleteBackupPlan", Method: "DELETE", Path: "/backup/plans/{backupPlanId}", Do: deletePlan},
			{Name: "CreateBackupSelection", Method: "PUT", Path: "/backup/plans/{backupPlanId}/selections/", Do: createSelection},
			{Name: "StartBackupJob", Method: "PUT", Path: "/backup-jobs", Do: startJob},
			{Name: "ListBackupJobs", Method: "GET", Path: "/backup-jobs/", Do: listJobs},
			{Name: "DescribeBackupJob", Method: "GET", Path: "/backup-jobs/{backupJobId}", Do: describeJob},
			{Name: "ListRecoveryPointsByBackupVault", Method: "GET", Path: "/backup-vaults/{backupVaultName}/recovery-points/", Do: listPoints},
			{Name: "DescribeRecoveryPoint", Method: "GET", Path: "/backup-vaults/{backupVaultName}/recovery-points/{recoveryPointArn}", Do: describePoint},
			{Name: "DeleteRecoveryPoint", Method: "DELETE", Path: "/backup-vaults/{backupVaultName}/recovery-points/{recoveryPointArn}", Do: deletePoint},
			{Name: "ListBackupPlans", Method: "GET", Path: "/backup/plans/", Do: listPlans},
			{Name: "GetBackupPlan", Method: "GET", Path: "/backup/plans/{backupPlanId}/", Do: getPlan},
			{Name: "UpdateBackupPlan", Method: "POST", Path: "/backup/plans/{backupPlanId}", Do: updatePlan},
			{Name: "GetBackupVaultAccessPolicy", Method: "GET", Path: "/backup-vaults/{backupVaultName}/access-policy", Do: onVault(getAccessPolicy)},
			{Name: "PutBackupVaultAccessPolicy", Method: "PUT", Path: "/backup-vaults/{backupVaultName}/access-policy", Do: putAccessPolicy},
			{Name: "GetBackupSelection", Method: "GET", Path: "/backup/plans/{backupPlanId}/selections/{selectionId}", Do: onSelection(getSelection)},
			{Name: "DeleteBackupSelection", Method: "DELETE", Path: "/backup/plans/{backupPlanId}/selections/{selectionId}", Do: onSelection(func(tx *account.Tx, s *account.Resource) (any, error) {
				if _, err := tx.Delete(s, false); err != nil {
					return nil, err
				}
				return nil, tx.Settle(s, "delete")
			})},
			{Name: "ListTags", Method: "GET", Path: "/tags/{resourceArn}/", Do: listTags},
			{Name: "ListBackupSelections", Method: "GET", Path: "/backup/plans/{backupPlanId}/selections/", Do: listSelections},
		},
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func onVault(f func(*account.Tx, *account.Resource) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		v := tx.Get(TypeVault, r.String("backupVaultName"))
		if v == nil {
			return nil, noVault(r)
		}
		return f(tx, v)
	}
}

func noVault(r *wire.Request) error {
	return account.Errorf("ResourceNotFoundException", "Backup vault %s does not exist", r.String("backupVaultName"))
}

// listTags tells the tags of a vault, plan or recovery point.
func listTags(tx *account.Tx, r *wire.Request) (any, error) {
	for attr, typ := range map[string]string{"BackupVaultArn": TypeVault, "BackupPlanArn": TypePlan, "": TypeRecoveryPoint} {
		x := tx.Find(typ, func(x *account.Resource) bool {
			return x.ID == r.String("resourceArn") || attr != "" && props.Str(x.Attrs, attr) == r.String("resourceArn")
		})
		if x != nil {
			return map[string]any{"Tags": x.Tags}, nil
		}
	}
	return nil, account.Errorf("ResourceNotFoundException", "Resource %s does not exist", r.String("resourceArn"))
}

// getAccessPolicy shows the policy that a vault was given; it has none at first.
func getAccessPolicy(_ *account.Tx, v *account.Resource) (any, error) {
	text := props.Str(v.Data, "policy")
	if text == "" {
		return nil, account.Errorf("ResourceNotFoundException", "No policy is attached to backup vault %s", v.ID)
	}
	return map[string]any{"BackupVaultName": v.ID, "BackupVaultArn": v.Attrs["BackupVaultArn"], "Policy": text}, nil
}

// putAccessPolicy gives a vault a policy.
func putAccessPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	v := tx.Get(TypeVault, r.String("backupVaultName"))
	if v == nil {
		return nil, noVault(r)
	}
	text := r.String("Policy")
	if _, err := policy.Parse(text, policy.Resource); err != nil {
		return nil, account.Errorf("InvalidParameterValueException", "%v", err)
	}
	v.Data["policy"] = text
	return nil, nil
}

func vault(tx *account.Tx, v *account.Resource) map[string]any {
	return map[string]any{
		"BackupVaultName": v.ID, "BackupVaultArn": v.Attrs["BackupVaultArn"], "EncryptionKeyArn": props.Str(v.Props, "EncryptionKeyArn"),
		"CreationDate": seconds(v.Created), "NumberOfRecoveryPoints": len(Points(tx, v.ID)), "Locked": false,
	}
}

func listVaults(tx *account.Tx, _ *wire.Request) (any, error) {
	list := []any{}
	for _, v := range tx.List(TypeVault) {
		list = append(list, vault(tx, v))
	}
	return map[string]any{"BackupVaultList": list}, nil
}

func point(v, p *account.Resource) map[string]any {
	out := map[string]any{
		"RecoveryPointArn": p.ID, "BackupVaultName": v.ID, "BackupVaultArn": v.Attrs["BackupVaultArn"], "Status": "COMPLETED", "CreationDate": seconds(p.Created),
		"ResourceArn": props.Str(p.Props, "ResourceArn"), "EncryptionKeyArn": props.Str(v.Props, "EncryptionKeyArn"), "IsEncrypted": true,
	}
	if at, ok := p.Data["deleteAt"].(time.Time); ok {
		out["CalculatedLifecycle"] = map[string]any{"DeleteAt": seconds(at)}
	}
	return out
}

// listPoints lists the recovery points of a vault, of one resource if asked to.
func listPoints(tx *account.Tx, r *wire.Request) (any, error) {
	v := tx.Get(TypeVault, r.String("backupVaultName"))
	if v == nil {
		return nil, noVault(r)
	}
	list := []any{}
	for _, p := range Points(tx, v.ID) {
		if only := r.String("resourceArn"); only == "" || only == props.Str(p.Props, "ResourceArn") {
			list = append(list, point(v, p))
		}
	}
	return map[string]any{"RecoveryPoints": list}, nil
}

// findPoint finds a recovery point of a vault, with the vault.
func findPoint(tx *account.Tx, r *wire.Request) (v, p *account.Resource, err error) {
	v, p = tx.Get(TypeVault, r.String("backupVaultName")), tx.Get(TypeRecoveryPoint, r.String("recoveryPointArn"))
	if v == nil || p == nil || p.Data["vault"] != v.ID {
		return nil, nil, account.Errorf("ResourceNotFoundException", "Cannot find recovery point %s", r.String("recoveryPointArn"))
	}
	return v, p, nil
}

func describePoint(tx *account.Tx, r *wire.Request) (any, error) {
	v, p, err := findPoint(tx, r)
	if err != nil {
		return nil, err
	}
	return point(v, p), nil
}

func deletePoint(tx *account.Tx, r *wire.Request) (any, error) {
	_, p, err := findPoint(tx, r)
	if err != nil {
		return nil, err
	}
	tx.Drop(TypeRecoveryPoint, p.ID)
	return nil, nil
}

func listPlans(tx *account.Tx, _ *wire.Request) (any, error) {
	list := []any{}
	for _, p := range tx.List(TypePlan) {
		list = append(list, map[string]any{
			"BackupPlanId": p.ID, "BackupPlanArn": p.Attrs["BackupPlanArn"], "VersionId": p.Attrs["VersionId"],
			"BackupPlanName": props.Str(p.Props, "BackupPlan", "BackupPlanName"), "CreationDate": seconds(p.Created),
		})
	}
	return map[string]any{"BackupPlansList": list}, nil
}

func plan(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	p := tx.Get(TypePlan, r.String("backupPlanId"))
	if p == nil {
		return nil, account.Errorf("ResourceNotFoundException", "Cannot find Backup plan with ID %s", r.String("backupPlanId"))
	}
	return p, nil
}

func getPlan(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := plan(tx, r)
	if err != nil {
		return nil, err
	}
	var list []any
	for _, rule := range rules(p.Props) {
		out := map[string]any{"RuleName": rule["RuleName"], "TargetBackupVaultName": rule["TargetBackupVault"], "ScheduleExpression": rule["ScheduleExpression"]}
		life := map[string]any{}
		for _, k := range []string{"MoveToColdStorageAfterDays", "DeleteAfterDays"} {
			if n := props.Int(rule, 0, "Lifecycle", k); n > 0 {
				life[k] = n
			}
		}
		if len(life) > 0 {
			out["Lifecycle"] = life
		}
		list = append(list, out)
	}
	return map[string]any{
		"BackupPlanId": p.ID, "BackupPlanArn": p.Attrs["BackupPlanArn"], "VersionId": p.Attrs["VersionId"], "CreationDate": seconds(p.Created),
		"BackupPlan": map[string]any{"BackupPlanName": props.Str(p.Props, "BackupPlan", "BackupPlanName"), "Rules": list},
	}, nil
}

// made makes a resource at once, as the API does.
func made(tx *account.Tx, typ string, p map[string]any) (*account.Resource, error) {
	x, _, err := tx.Create(typ, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	return x, tx.Settle(x, "create")
}

func createVault(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{"BackupVaultName": r.String("backupVaultName"), "BackupVaultTags": r.Map("BackupVaultTags")}
	if key := r.String("EncryptionKeyArn"); key != "" {
		p["EncryptionKeyArn"] = key
	}
	v, err := made(tx, TypeVault, p)
	if err != nil {
		return nil, err
	}
	return map[string]any{"BackupVaultName": v.ID, "BackupVaultArn": v.Attrs["BackupVaultArn"], "CreationDate": seconds(v.Created)}, nil
}

func createPlan(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := made(tx, TypePlan, map[string]any{"BackupPlan": planProps(r), "BackupPlanTags": r.Map("BackupPlanTags")})
	if err != nil {
		return nil, err
	}
	return map[string]any{"BackupPlanId": p.ID, "BackupPlanArn": p.Attrs["BackupPlanArn"], "VersionId": p.Attrs["VersionId"], "CreationDate": seconds(p.Created)}, nil
}

func deletePlan(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := plan(tx, r)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Delete(p, false); err != nil {
		return nil, err
	}
	return map[string]any{"BackupPlanId": p.ID, "BackupPlanArn": p.Attrs["BackupPlanArn"], "VersionId": p.Attrs["VersionId"], "DeletionDate": seconds(tx.Now())}, tx.Settle(p, "delete")
}

func createSelection(tx *account.Tx, r *wire.Request) (any, error) {
	s, err := made(tx, TypeSelection, map[string]any{"BackupPlanId": r.String("backupPlanId"), "BackupSelection": r.Map("BackupSelection")})
	if err != nil {
		return nil, err
	}
	return map[string]any{"SelectionId": s.Attrs["SelectionId"], "BackupPlanId": props.Str(s.Props, "BackupPlanId"), "CreationDate": seconds(s.Created)}, nil
}

// planProps are a request's plan with CloudFormation's names.
func planProps(r *wire.Request) map[string]any {
	to := r.Map("BackupPlan")
	list := []any{}
	for _, rule := range props.Maps(to, "Rules") {
		next := map[string]any{}
		for k, v := range rule {
			if k == "TargetBackupVaultName" {
				k = "TargetBackupVault"
			}
			next[k] = v
		}
		list = append(list, next)
	}
	return map[string]any{"BackupPlanName": props.Str(to, "BackupPlanName"), "BackupPlanRule": list}
}

// updatePlan replaces a plan's name and rules.
func updatePlan(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := plan(tx, r)
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(p.Props).(map[string]any)
	next["BackupPlan"] = planProps(r)
	if _, err := tx.Update(p, next, false); err != nil {
		return nil, err
	}
	return map[string]any{"BackupPlanId": p.ID, "BackupPlanArn": p.Attrs["BackupPlanArn"], "VersionId": p.Attrs["VersionId"], "CreationDate": seconds(p.Created)}, nil
}

func onSelection(f func(*account.Tx, *account.Resource) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		s := tx.Get(TypeSelection, r.String("selectionId")+"_"+r.String("backupPlanId"))
		if s == nil {
			return nil, account.Errorf("ResourceNotFoundException", "Cannot find backup selection with ID %s", r.String("selectionId"))
		}
		return f(tx, s)
	}
}

func getSelection(_ *account.Tx, s *account.Resource) (any, error) {
	return map[string]any{
		"SelectionId": s.Attrs["SelectionId"], "BackupPlanId": props.Str(s.Props, "BackupPlanId"), "CreationDate": seconds(s.Created),
		"BackupSelection": map[string]any{
			"SelectionName": props.Str(s.Props, "BackupSelection", "SelectionName"), "IamRoleArn": props.Str(s.Props, "BackupSelection", "IamRoleArn"),
			"Resources": props.List(s.Props, "BackupSelection", "Resources"),
		},
	}, nil
}

func listSelections(tx *account.Tx, r *wire.Request) (any, error) {
	p, err := plan(tx, r)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, s := range tx.List(TypeSelection) {
		if props.Str(s.Props, "BackupPlanId") == p.ID {
			list = append(list, map[string]any{
				"SelectionId": s.Attrs["SelectionId"], "BackupPlanId": p.ID, "SelectionName": props.Str(s.Props, "BackupSelection", "SelectionName"),
				"IamRoleArn": props.Str(s.Props, "BackupSelection", "IamRoleArn"), "CreationDate": seconds(s.Created),
			})
		}
	}
	return map[string]any{"BackupSelectionsList": list}, nil
}
