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
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// identityFacts are what the IAM roles are.
type identityFacts struct {
	allRolesFact  account.Fact[[]iamtypes.Role]
	ourRolesFact  account.Fact[[]*account.IAMRole]
	podTrustsFact account.Fact[[]podTrust]
}

// allRoles are the roles of the account, without tags and boundaries, which
// IAM leaves out of listings.
func allRoles(l *account.Look) ([]iamtypes.Role, error) {
	return account.Facts[identityFacts](l).allRolesFact.Get(func() ([]iamtypes.Role, error) {
		var found []iamtypes.Role
		pages := iam.NewListRolesPaginator(l.AWS.IAM, &iam.ListRolesInput{MaxItems: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list roles: %w", err)
			}
			found = append(found, page.Roles...)
		}
		return found, nil
	})
}

// deploymentRoles are the roles of the deployment that are there, by name: those
// that it should have, and others that are called like its own and carry its
// tag.
func deploymentRoles(l *account.Look) ([]*account.IAMRole, error) {
	return account.Facts[identityFacts](l).ourRolesFact.Get(func() ([]*account.IAMRole, error) {
		all, err := allRoles(l)
		if err != nil {
			return nil, err
		}
		expected := map[string]bool{}
		for _, e := range expectedRoles(l) {
			expected[l.Arch.RoleName(e.part)] = true
		}
		var found []*account.IAMRole
		for _, r := range all {
			name := aws.ToString(r.RoleName)
			alike := strings.HasPrefix(name, l.Arch.ResourceName("")) && strings.HasSuffix(name, "-"+l.Arch.Config.Region)
			if !expected[name] && !alike {
				continue
			}
			role, err := l.IAMRole(name)
			if err != nil {
				return nil, err
			}
			if role != nil && (expected[name] || role.Tags[architecture.DeploymentTag] == l.Arch.Name()) {
				found = append(found, role)
			}
		}
		return found, nil
	})
}

// expectedRole is a role that the deployment should have.
type expectedRole struct {
	part string
	// service is the AWS service that assumes it; account, which is set
	// instead, the service account.
	service string
	account *architecture.ServiceAccount
	// bound says that the trust is bound to this account, for services that
	// act for others' resources too.
	bound bool
	// attached are the policies of AWS's that it has, as in attachedNames.
	attached []string
	// inline says that it has policies of its own.
	inline bool
}

// nodePolicies are what nodes may do.
// https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html
func nodePolicies() []string {
	return []string{"AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy", "AmazonSSMManagedInstanceCore"}
}

// expectedRoles are the roles that the configuration asks for.
func expectedRoles(l *account.Look) []expectedRole {
	c := l.Arch.Config
	out := []expectedRole{{part: "cluster", service: "eks.amazonaws.com", attached: []string{"AmazonEKSClusterPolicy"}, inline: true}}
	for _, role := range l.PlannedRoles() {
		out = append(out, expectedRole{part: string(role) + "-nodes", service: "ec2.amazonaws.com", attached: nodePolicies()})
	}
	if c.Network.FlowLogs.Enabled {
		out = append(out, expectedRole{part: "flow-logs", service: "vpc-flow-logs.amazonaws.com", bound: true, inline: true})
	}
	if m := c.Network.NAT.Mode; m == config.NATInstancePerZone || m == config.NATSingleInstance {
		out = append(out, expectedRole{part: "nat", service: "ec2.amazonaws.com", attached: []string{"AmazonSSMManagedInstanceCore"}})
	}
	if c.Cluster.API.SessionHost {
		out = append(out, expectedRole{part: "session-host", service: "ec2.amazonaws.com", attached: []string{"AmazonSSMManagedInstanceCore"}})
	}
	if c.Database.MonitoringSeconds > 0 {
		out = append(out, expectedRole{part: "database-monitoring", service: "monitoring.rds.amazonaws.com", bound: true, attached: []string{"service-role/AmazonRDSEnhancedMonitoringRole"}})
	}
	if c.Backups.Enabled {
		out = append(out, expectedRole{part: "backup", service: "backup.amazonaws.com", attached: []string{
			"AWSBackupServiceRolePolicyForS3Backup", "AWSBackupServiceRolePolicyForS3Restore",
			"service-role/AWSBackupServiceRolePolicyForBackup", "service-role/AWSBackupServiceRolePolicyForRestores",
		}})
	}
	for i, s := range l.Arch.ServiceAccounts {
		out = append(out, expectedRole{part: s.Role, account: &l.Arch.ServiceAccounts[i], inline: true})
	}
	return out
}

// eachRole calls f for the expected roles that are there.
func eachRole(f func(l *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		for _, e := range expectedRoles(l) {
			role, err := l.IAMRole(l.Arch.RoleName(e.part))
			if err != nil {
				return err
			}
			if role == nil {
				continue // see roles-there
			}
			if err := f(l, r, e, role); err != nil {
				return err
			}
		}
		return nil
	}
}

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
		{ID: "secrets-one-reader", Proves: "Only external-secrets reads secrets, each by its ARN.", Level: check.Required, Rows: []string{"B42", "S6"}, Run: secretsOneReader},
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

// trustText says whom a trust policy lets in.
func trustText(p policy.Document) string {
	var out []string
	for _, w := range p.Allowed() {
		out = append(out, w.String())
	}
	return "assumed by " + check.OrNobody(out)
}

func rolesTrust(l *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
	if e.account != nil {
		return nil // see irsa-trust-pinned
	}
	saw := trustText(role.Trust)
	ok := slices.Equal(role.Trust.Allowed(), []policy.Principal{{Kind: "Service", ID: e.service}})
	want := "assumed by " + e.service
	if e.bound {
		want += " for account " + l.ID.Account
		for _, s := range role.Trust {
			bound := slices.Equal(s.Wants("aws:SourceAccount", "StringEquals"), []string{l.ID.Account})
			if s.Allow && !bound {
				ok = false
				saw += " for any account"
			}
		}
	}
	r.Saw(ok, role.ARN, saw, "iam:GetRole", want, check.FixUpdate)
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
	for _, prefix := range []string{"ec2:describe", "elasticloadbalancing:describe"} {
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

// podTrust is a statement by which a role trusts service accounts of the
// cluster.
type podTrust struct {
	role, arn string
	statement policy.Statement
	// subjects are the service accounts that it names, exactly or by patterns.
	subjects []string
	// pinned tells that it names one exactly, and the audience.
	pinned bool
}

// podTrusts are those of all roles of the account.
func podTrusts(l *account.Look, c *types.Cluster) ([]podTrust, error) {
	return account.Facts[identityFacts](l).podTrustsFact.Get(func() ([]podTrust, error) {
		all, err := allRoles(l)
		if err != nil {
			return nil, err
		}
		provider, issuer := l.ProviderARN(c), account.ClusterIssuer(c)
		var found []podTrust
		for _, role := range all {
			document, err := policy.Read(aws.ToString(role.AssumeRolePolicyDocument))
			if err != nil {
				return nil, fmt.Errorf("trust of role %s: %w", aws.ToString(role.RoleName), err)
			}
			for _, s := range document {
				if !s.Allow || !slices.Contains(s.Principals, policy.Principal{Kind: "Federated", ID: provider}) {
					continue
				}
				t := podTrust{role: aws.ToString(role.RoleName), arn: aws.ToString(role.Arn), statement: s}
				exact := s.Wants(issuer+":sub", "StringEquals")
				t.subjects = append(slices.Clone(exact), s.Wants(issuer+":sub", "StringLike", "StringEqualsIgnoreCase", "ForAnyValue:StringEquals", "ForAnyValue:StringLike", "StringEqualsIfExists", "StringLikeIfExists")...)
				t.pinned = len(exact) == 1 && len(t.subjects) == 1 && slices.Equal(s.Wants(issuer+":aud", "StringEquals"), []string{"sts.amazonaws.com"})
				found = append(found, t)
			}
		}
		return found, nil
	})
}

// text is the trust for people.
func (t podTrust) text(issuer string) string {
	return fmt.Sprintf("subject %s, audience %s", orAny(t.subjects), orAny(t.statement.Wants(issuer+":aud", "StringEquals")))
}

func orAny(list []string) string {
	if len(list) == 0 {
		return "any"
	}
	return strings.Join(list, ", ")
}

// subjectOf is how tokens name a service account.
func subjectOf(s architecture.ServiceAccount) string {
	return "system:serviceaccount:" + s.Namespace + ":" + s.Name
}

func irsaTrustPinned(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	trusts, err := podTrusts(l, c)
	if err != nil {
		return err
	}
	issuer := account.ClusterIssuer(c)
	return eachRole(func(l *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
		if e.account == nil {
			return nil
		}
		want := "subject " + subjectOf(*e.account) + ", audience sts.amazonaws.com"
		const api = "iam:GetRole"
		n := 0
		for _, t := range trusts {
			if t.role != role.Name {
				continue
			}
			n++
			s := t.statement
			ok := t.pinned && t.subjects[0] == subjectOf(*e.account) && len(s.Conditions) == 2 && len(s.Principals) == 1 &&
				slices.Equal(s.Actions, []string{"sts:assumerolewithwebidentity"})
			r.Saw(ok, role.ARN, t.text(issuer), api, want, check.FixUpdate)
		}
		if n == 0 || n != len(role.Trust) {
			r.Saw(false, role.ARN, fmt.Sprintf("%s, %d of %d statements for this cluster's service accounts", trustText(role.Trust), n, len(role.Trust)), api, "one statement: "+want, check.FixUpdate)
		}
		return nil
	})(l, r)
}

func irsaNoStrangers(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	trusts, err := podTrusts(l, c)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, e := range expectedRoles(l) {
		ours[l.Arch.RoleName(e.part)] = true
	}
	n := 0
	for _, t := range trusts {
		if ours[t.role] {
			continue // see irsa-trust-pinned
		}
		n++
		r.Saw(t.pinned, t.arn, t.text(account.ClusterIssuer(c)), "iam:ListRoles", "one subject and the audience sts.amazonaws.com, by StringEquals",
			"pin the trust to one service account: https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html")
	}
	if n == 0 {
		r.Saw(true, l.ProviderARN(c), "no other role trusts it", "iam:ListRoles", "", "")
	}
	return nil
}

func rolesPerServiceAccount(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	trusts, err := podTrusts(l, c)
	if err != nil {
		return err
	}
	roles, accounts := map[string][]string{}, map[string][]string{}
	for _, t := range trusts {
		for _, s := range t.subjects {
			if !slices.Contains(roles[s], t.role) {
				roles[s] = append(roles[s], t.role)
			}
			if !slices.Contains(accounts[t.role], s) {
				accounts[t.role] = append(accounts[t.role], s)
			}
		}
	}
	const api = "iam:ListRoles"
	for _, s := range l.Arch.ServiceAccounts {
		subject := subjectOf(s)
		if has := roles[subject]; len(has) > 0 {
			r.Saw(len(has) == 1, subject, "roles "+strings.Join(has, ", "), api, l.Arch.RoleName(s.Role), "delete the other role, or let it trust another service account")
		}
	}
	for _, role := range account.SortedKeys(accounts) {
		if has := accounts[role]; len(has) > 1 {
			r.Saw(false, role, "for "+strings.Join(has, ", "), api, "one service account", "make a role for each service account")
		}
	}
	return nil
}

// dataKeyARN is the ARN of a KMS key of the deployment, "" if it is not there.
func dataKeyARN(l *account.Look, keys map[architecture.KeyPurpose]string, p architecture.KeyPurpose) string {
	if keys[p] == "" {
		return ""
	}
	return l.OwnARN("kms", "key/"+keys[p])
}

// within tells whether a resource is one of those, or below one of them.
func within(resource string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return root != "" && (resource == root || strings.HasPrefix(resource, root+"/"))
	})
}

// scoped judges that the policies of a service account's role name nothing but
// resources below roots.
func scoped(l *account.Look, r *check.Recorder, part string, roots []string) error {
	role, err := l.IAMRole(l.Arch.RoleName(part))
	if err != nil || role == nil {
		return err // see roles-there
	}
	var faults []string
	role.EachAllow(func(name string, s policy.Statement) {
		resources := s.Resources
		if s.NotResources != nil || len(resources) == 0 {
			resources = []string{"*"}
		}
		for _, x := range resources {
			if x == "*" && s.NotActions == nil && !slices.ContainsFunc(s.Actions, func(a string) bool { return !unbound(a) }) {
				continue
			}
			if !within(x, roots) {
				faults = append(faults, fmt.Sprintf("%s allows %s on %s", name, strings.Join(append(s.Actions, s.NotActions...), ", "), x))
			}
		}
	})
	judged(r, role, faults, "nothing but the deployment's own", "resources of the deployment", "remove the policy and run poolhouse update")
	return nil
}

func coreAPIScoped(l *account.Look, r *check.Recorder) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	return scoped(l, r, architecture.RoleCoreAPI, []string{
		l.BucketARN(l.Arch.Bucket(architecture.BucketModels)), l.BucketARN(l.Arch.Bucket(architecture.BucketCodeDocs)), l.BucketARN(l.Arch.Bucket(architecture.BucketAudit)), l.BucketARN(l.Arch.Bucket(architecture.BucketTelemetry)),
		dataKeyARN(l, keys, architecture.KeyStorage), dataKeyARN(l, keys, architecture.KeyApplication),
		l.OwnARN("ssm", "parameter"+l.Arch.ParameterPath()),
	})
}

func inferenceScoped(l *account.Look, r *check.Recorder) error {
	if _, ok := l.Arch.Account(architecture.RoleInference); !ok {
		r.NA("the configuration has no GPU nodes, so no model servers")
		return nil
	}
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	if err := scoped(l, r, architecture.RoleInference, []string{l.BucketARN(l.Arch.Bucket(architecture.BucketModels)), dataKeyARN(l, keys, architecture.KeyStorage)}); err != nil {
		return err
	}
	role, err := l.IAMRole(l.Arch.RoleName(architecture.RoleInference))
	if err != nil || role == nil {
		return err
	}
	var faults []string
	role.EachAllow(func(name string, s policy.Statement) {
		for _, a := range []string{"s3:PutObject", "s3:DeleteObject", "kms:Encrypt", "kms:GenerateDataKey"} {
			if s.Covers(a) {
				faults = append(faults, name+" allows "+a)
			}
		}
	})
	judged(r, role, faults, "nothing that writes", "reading only", "remove the policy and run poolhouse update")
	return nil
}

func auditRecordsKept(l *account.Look, r *check.Recorder) error {
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	bucket := l.BucketARN(l.Arch.Bucket(architecture.BucketAudit))
	object := bucket + "/any"
	for _, role := range roles {
		var faults []string
		role.EachAllow(func(name string, s policy.Statement) {
			for _, a := range []string{"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutObjectRetention", "s3:PutObjectLegalHold"} {
				if s.Covers(a) && s.On(object) {
					faults = append(faults, name+" allows "+a)
				}
			}
			for _, a := range []string{"s3:DeleteBucket", "s3:PutLifecycleConfiguration", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"} {
				if s.Covers(a) && s.On(bucket) {
					faults = append(faults, name+" allows "+a)
				}
			}
		})
		judged(r, role, faults, "no deletion in "+account.ResourceOf(bucket), "no deletion in "+account.ResourceOf(bucket), "remove the policy and run poolhouse update")
	}
	return nil
}

func secretsOneReader(l *account.Look, r *check.Recorder) error {
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	reader := l.Arch.RoleName(architecture.RoleExternalSecrets)
	for _, role := range roles {
		var faults []string
		n := 0
		role.EachAllow(func(name string, s policy.Statement) {
			if !s.Covers("secretsmanager:GetSecretValue") {
				return
			}
			for _, x := range s.Resources {
				if !strings.Contains(x, ":secretsmanager:") && !strings.Contains(x, "*") {
					continue // of another action
				}
				n++
				if role.Name != reader || strings.ContainsAny(x, "*?") {
					faults = append(faults, name+" allows to read "+x)
				}
			}
			if s.NotResources != nil {
				faults = append(faults, name+" allows to read all secrets but some")
			}
		})
		if role.Name == reader {
			judged(r, role, faults, fmt.Sprintf("reads %d secrets by ARN", n), "secrets by ARN", "remove the policy and run poolhouse update")
			continue
		}
		judged(r, role, faults, "reads no secrets", "no secrets", "remove the policy and run poolhouse update; pods get secrets from external-secrets")
	}
	return nil
}

// bindsTo are the keys that bind what a controller changes to the deployment.
func bindsTo(s policy.Statement) bool {
	return slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool {
		return strings.HasPrefix(c.Key, "aws:resourcetag/") || strings.HasPrefix(c.Key, "aws:requesttag/") || c.Key == "ec2:vpc" || c.Key == "kms:viaservice"
	})
}

// reads tells whether an action changes nothing.
func reads(action string) bool {
	_, verb, _ := strings.Cut(action, ":")
	return slices.ContainsFunc([]string{"describe", "get", "list"}, func(p string) bool { return strings.HasPrefix(verb, p) })
}

func controllersScoped(_ *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
	switch e.part {
	case architecture.RoleLoadBalancerController, architecture.RoleEBSCSI, architecture.RoleVPCCNI:
	default:
		return nil
	}
	var faults []string
	role.EachAllow(func(name string, s policy.Statement) {
		if bindsTo(s) || !slices.ContainsFunc(s.Resources, func(x string) bool { return strings.Contains(x, "*") }) {
			return
		}
		for _, a := range s.Actions {
			// The one change of rules that AWS binds to no tag.
			if !reads(a) && a != "elasticloadbalancing:setrulepriorities" {
				faults = append(faults, fmt.Sprintf("%s allows %s on %s", name, a, strings.Join(s.Resources, ", ")))
			}
		}
	})
	judged(r, role, faults, "changes bound by tags", "a condition on a tag of the deployment or cluster", "remove the policy and run poolhouse update")
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
