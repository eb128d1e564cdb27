package iam

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// noteDeletion is the outcome of a service-linked role's deletion, in the
// account's journal.
const noteDeletion = "iam:linked-role-deletion"

// users are the resource types for which a service needs its linked role.
func users(service string) []string {
	return map[string][]string{
		"autoscaling.amazonaws.com":          {"AWS::AutoScaling::AutoScalingGroup"},
		"backup.amazonaws.com":               {"AWS::Backup::BackupVault", "AWS::Backup::BackupPlan"},
		"eks.amazonaws.com":                  {"AWS::EKS::Cluster"},
		"eks-nodegroup.amazonaws.com":        {"AWS::EKS::Nodegroup"},
		"elasticloadbalancing.amazonaws.com": {"AWS::ElasticLoadBalancingV2::LoadBalancer"},
		"rds.amazonaws.com":                  {"AWS::RDS::DBInstance"},
	}[service]
}

// deleteServiceLinkedRole submits a deletion, which fails later if the service
// still uses the role.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteServiceLinkedRole.html
func deleteServiceLinkedRole(tx *account.Tx, r *wire.Request, role *account.Resource) (any, error) {
	rest, ok := strings.CutPrefix(pathOf(role), "/aws-service-role/")
	service := strings.TrimSuffix(rest, "/")
	if !ok {
		return nil, errorf("NoSuchEntity", "Role %s is not a service-linked role", role.ID)
	}
	if service == "support.amazonaws.com" || service == "trustedadvisor.amazonaws.com" {
		return nil, errorf("UnmodifiableEntity", "The role %s can't be deleted", role.ID)
	}
	note := map[string]any{"id": "task" + pathOf(role) + role.ID + "/" + tx.UUID(), "status": "SUCCEEDED"}
	var used []any
	for _, t := range users(service) {
		for _, x := range tx.List(t) {
			own := props.Str(x.Data, "role")
			if t == "AWS::AutoScaling::AutoScalingGroup" && own != "" && own != props.Str(role.Attrs, "Arn") {
				continue // with a role of its own suffix
			}
			used = append(used, access.ARN(tx, x))
		}
	}
	if len(used) > 0 {
		note["status"], note["used"] = "FAILED", used
		note["reason"] = "The role " + role.ID + " can't be deleted: resources of " + service + " still use it"
	} else {
		tx.Drop(TypeRole, role.ID)
	}
	tx.Note(noteDeletion, note)
	return map[string]any{"DeletionTaskId": note["id"]}, nil
}

// linkedRoleDeletion tells how a deletion went.
func linkedRoleDeletion(tx *account.Tx, r *wire.Request) (any, error) {
	for _, e := range tx.Noted(noteDeletion) {
		if e.Data["id"] != r.String("DeletionTaskId") {
			continue
		}
		out := map[string]any{"Status": e.Data["status"]}
		if reason := props.Str(e.Data, "reason"); reason != "" {
			out["Reason"] = map[string]any{
				"Reason": reason, "RoleUsageList": []any{map[string]any{"Region": tx.Region(), "Resources": props.List(e.Data, "used")}},
			}
		}
		return out, nil
	}
	return nil, errorf("NoSuchEntity", "The deletion task %s cannot be found.", r.String("DeletionTaskId"))
}

func updateThumbprints(tx *account.Tx, r *wire.Request, p *account.Resource) (any, error) {
	return nil, change(tx, p, func(next map[string]any) { next["ThumbprintList"] = props.List(r.Strings("ThumbprintList")) })
}
