// Package identity has the checks of IAM roles: their trust, policies and reach.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: policies are read, not simulated.
package identity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// Checks are the checks of roles, in the order of reports.
func Checks() []check.Check {
	return []check.Check{
		{ID: "roles-there", Proves: "Every service account and every service has the IAM role that is made for it.", Level: check.Required, Rows: []string{"C4", "B38", "B39"}, Run: rolesThere},
		{ID: "roles-trust", Proves: "Roles for services are assumed by exactly that service, on behalf of this account where the service acts for others too.", Level: check.Required, Rows: []string{"S6"}, Run: eachRole(rolesTrust)},
		{ID: "roles-attached", Proves: "Roles have exactly those of AWS's policies that their work needs.", Level: check.Required, Rows: []string{"S6"}, Run: eachRole(rolesAttached)},
		{ID: "node-roles-minimal", Proves: "Roles of nodes may join the cluster, pull images and be reached by Session Manager, and nothing else: what pods may do hangs on their service accounts.", Level: check.Required, Rows: []string{"B39", "S6"}, Run: eachRole(nodeRolesMinimal)},
		{ID: "role-boundary", Proves: "Every role of the deployment has the configured permission boundary.", Level: check.Required, Rows: []string{"B41"}, Run: roleBoundary},
		{ID: "roles-no-admin", Proves: "No role of the deployment has one of AWS's policies for administrators.", Level: check.Required, Rows: []string{"S6"}, Run: rolesNoAdmin},
		{ID: "roles-no-wildcards", Proves: "Roles' policies allow no whole services, and all resources only to actions that AWS can't bind to some.", Level: check.Required, Rows: []string{"S6"}, Run: rolesNoWildcards},
		{ID: "roles-no-escalation", Proves: "No role's policies let it give itself more: change IAM, assume or pass roles, or change the policies of keys and buckets.", Level: check.Required, Rows: []string{"S6"}, Run: rolesNoEscalation},
		{ID: "irsa-trust-pinned", Proves: "Each service account's role is assumed by exactly that service account of this cluster.", Level: check.Required, Rows: []string{"C4", "B38", "S6"}, Run: check.OnCluster(irsaTrustPinned)},
		{ID: "irsa-no-strangers", Proves: "Other roles that trust the cluster's service accounts are pinned to one of them, for the audience of STS.", Level: check.Required, Rows: []string{"B38", "S6"}, Run: check.OnCluster(irsaNoStrangers)},
		{ID: "roles-per-service-account", Proves: "No role is for two service accounts, and none of the deployment's service accounts has two roles.", Level: check.Required, Rows: []string{"B38"}, Run: check.OnCluster(rolesPerServiceAccount)},
		{ID: "core-api-scoped", Proves: "core-api reaches data, keys and parameters of this deployment only.", Level: check.Required, Rows: []string{"S6", "C13", "C15"}, Run: coreAPIScoped},
		{ID: "inference-scoped", Proves: "Model servers read model checkpoints of this deployment and nothing else.", Level: check.Required, Rows: []string{"S6", "C13"}, Run: inferenceScoped},
		{ID: "audit-records-kept", Proves: "No role of the deployment may delete audit records or shorten how long they are kept.", Level: check.Required, Rows: []string{"S6", "C13"}, Run: auditRecordsKept},
		{ID: "secrets-one-reader", Proves: "Only external-secrets, and what sets the application's account in the database, read secrets, each by its ARN.", Level: check.Required, Rows: []string{"B42", "S6"}, Run: secretsOneReader},
		{ID: "controllers-scoped", Proves: "Controllers change only what carries the deployment's tag or their cluster's.", Level: check.Required, Rows: []string{"S6"}, Run: eachRole(controllersScoped)},
		{ID: "roles-service-linked", Proves: "Auto Scaling's service-linked role is there, by which nodes get volumes with the volumes key.", Level: check.Required, Rows: []string{"B8"}, Run: rolesServiceLinked},
	}
}

func rolesThere(l *account.Look, r *check.Recorder) error {
	for _, e := range expectedRoles(l) {
		name := l.Arch.RoleName(e.part)
		role, err := l.IAMRole(name)
		if err != nil {
			return err
		}
		if role == nil {
			r.Missing(l.RoleARN(e.part), "iam:GetRole", check.FixUpdate)
			continue
		}
		whom := e.service
		if e.account != nil {
			whom = "service account " + e.account.Namespace + "/" + e.account.Name
		}
		r.Saw(true, role.ARN, "there, for "+whom, "iam:GetRole", "", "")
	}
	return nil
}

func rolesAttached(_ *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
	if slices.Equal(e.attached, nodePolicies()) {
		return nil // see node-roles-minimal
	}
	has := role.AttachedNames()
	r.Saw(slices.Equal(has, e.attached), role.ARN, check.OrNothing(has), "iam:ListAttachedRolePolicies", check.OrNothing(e.attached), check.FixUpdate)
	return nil
}

func nodeRolesMinimal(_ *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
	if !slices.Equal(e.attached, nodePolicies()) {
		return nil
	}
	has := role.AttachedNames()
	for _, name := range account.SortedKeys(role.Policies) {
		if !slices.Contains(has, name) {
			has = append(has, "inline "+name)
		}
	}
	r.Saw(slices.Equal(has, e.attached), role.ARN, check.OrNothing(has), "iam:ListAttachedRolePolicies", check.OrNothing(e.attached), "detach the other policies and run poolhouse update; what a pod needs belongs to a role of its service account")
	return nil
}

func roleBoundary(l *account.Look, r *check.Recorder) error {
	want := l.Arch.Config.PermissionBoundary
	if want == "" {
		r.NA("the configuration has no permission boundary")
		return nil
	}
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	for _, role := range roles {
		r.Saw(role.Boundary == want, role.ARN, "boundary "+check.OrNothing(slices.DeleteFunc([]string{role.Boundary}, func(s string) bool { return s == "" })), "iam:GetRole", want, check.FixUpdate)
	}
	return nil
}

// broad are policies of AWS's that let a role do nearly everything.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_job-functions.html
func broad(name string) bool {
	name = name[strings.LastIndex(name, "/")+1:]
	return slices.Contains([]string{"AdministratorAccess", "PowerUserAccess", "SystemAdministrator", "AdministratorAccess-Amplify", "AdministratorAccess-AWSElasticBeanstalk"}, name) ||
		strings.HasSuffix(name, "FullAccess")
}

func rolesNoAdmin(l *account.Look, r *check.Recorder) error {
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	for _, role := range roles {
		var bad []string
		for _, n := range role.AttachedNames() {
			if broad(n) {
				bad = append(bad, n)
			}
		}
		saw := "none of them"
		if len(bad) > 0 {
			saw = strings.Join(bad, ", ")
		}
		r.Saw(len(bad) == 0, role.ARN, saw, "iam:ListAttachedRolePolicies", "no policy for administrators", "detach it: aws iam detach-role-policy --role-name "+role.Name)
	}
	return nil
}

// judged turns the faults that a check finds in the policies of roles into
// evidence, or says that there are none.
func judged(r *check.Recorder, role *account.IAMRole, faults []string, none, want, fix string) {
	const api = "iam:GetRolePolicy"
	for _, f := range faults {
		r.Saw(false, role.ARN, f, api, want, fix)
	}
	if len(faults) == 0 {
		r.Saw(true, role.ARN, fmt.Sprintf("%s in %d policies", none, len(role.Policies)), api, "", "")
	}
}

// unbound are actions that AWS can't bind to resources, and that change
// nothing but a meter.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
func unbound(action string) bool {
	for _, prefix := range []string{"autoscaling:describe", "ec2:describe", "elasticloadbalancing:describe"} {
		if strings.HasPrefix(action, prefix) && !strings.ContainsAny(strings.TrimPrefix(action, prefix), "*?") {
			return true
		}
	}
	return action == "acm:listcertificates" || action == "aws-marketplace:meterusage"
}

func rolesNoWildcards(l *account.Look, r *check.Recorder) error {
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	for _, role := range roles {
		var faults []string
		role.EachAllow(func(name string, s policy.Statement) {
			at := name
			if s.SID != "" {
				at += "/" + s.SID
			}
			if s.NotActions != nil || s.NotResources != nil {
				faults = append(faults, at+" allows all but something")
				return
			}
			for _, a := range s.Actions {
				if a == "*" || strings.HasSuffix(a, ":*") {
					faults = append(faults, at+" allows "+a)
				} else if slices.Contains(s.Resources, "*") && !unbound(a) {
					faults = append(faults, at+" allows "+a+" on everything")
				}
			}
		})
		judged(r, role, faults, "no wildcard", "actions and resources by name", "remove the policy and run poolhouse update")
	}
	return nil
}

// escalations are actions by which a role could give itself more. Nothing of
// the deployment needs them.
func escalations() []string {
	return []string{
		"iam:AttachRolePolicy", "iam:CreateAccessKey", "iam:CreatePolicyVersion", "iam:PassRole", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy",
		"sts:AssumeRole", "kms:PutKeyPolicy", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "secretsmanager:PutResourcePolicy",
		"ecr:SetRepositoryPolicy", "eks:CreateAccessEntry", "eks:AssociateAccessPolicy", "ssm:SendCommand", "ssm:StartSession",
		"ec2:ModifyInstanceMetadataOptions", "cloudformation:CreateStack", "lambda:CreateFunction",
	}
}

func rolesNoEscalation(l *account.Look, r *check.Recorder) error {
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	for _, role := range roles {
		var faults []string
		role.EachAllow(func(name string, s policy.Statement) {
			for _, a := range escalations() {
				if s.Covers(a) {
					faults = append(faults, name+" allows "+a)
				}
			}
		})
		judged(r, role, faults, "none of these actions", "none of these actions", "remove the policy and run poolhouse update")
	}
	return nil
}

func rolesServiceLinked(l *account.Look, r *check.Recorder) error {
	const name = "AWSServiceRoleForAutoScaling"
	role, err := account.OrNone(l.AWS.IAM.GetRole(l.Ctx, &iam.GetRoleInput{RoleName: aws.String(name)}))
	if err != nil {
		return fmt.Errorf("look up role %s: %w", name, err)
	}
	if role == nil {
		r.Missing(name, "iam:GetRole", "aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com")
		return nil
	}
	r.Saw(true, aws.ToString(role.Role.Arn), "there", "iam:GetRole", "", "")
	return nil
}
