package verify

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
)

// identityFacts are what the IAM roles are.
type identityFacts struct {
	iamRoleFacts  keyed[*iamRole]
	allRolesFact  fact[[]iamtypes.Role]
	ourRolesFact  fact[[]*iamRole]
	podTrustsFact fact[[]podTrust]
}

// iamRole is a role with its policies.
type iamRole struct {
	name, arn string
	trust     policy
	boundary  string
	tags      map[string]string
	// attached are the ARNs of managed policies.
	attached []string
	// policies are the role's own, inline or customer managed, by name. Those
	// that AWS manages are known by their names.
	policies map[string]policy
}

// attachedNames are the attached policies without the beginning of their ARN,
// which differs between partitions and accounts: "service-role/X".
func (r *iamRole) attachedNames() []string {
	var out []string
	for _, arn := range r.attached {
		out = append(out, strings.TrimPrefix(resourceOf(arn), "policy/"))
	}
	slices.Sort(out)
	return out
}

// iamRole is a role, or nil.
func (l *look) iamRole(name string) (*iamRole, error) {
	return l.iamRoleFacts.get(name, func() (*iamRole, error) {
		out, err := orNone(l.aws.IAM.GetRole(l.ctx, &iam.GetRoleInput{RoleName: &name}))
		if err != nil {
			return nil, fmt.Errorf("look up role %s: %w", name, err)
		}
		if out == nil {
			return nil, nil
		}
		r := &iamRole{name: name, arn: aws.ToString(out.Role.Arn), tags: map[string]string{}, policies: map[string]policy{}}
		if r.trust, err = readPolicy(aws.ToString(out.Role.AssumeRolePolicyDocument)); err != nil {
			return nil, fmt.Errorf("trust of role %s: %w", name, err)
		}
		if b := out.Role.PermissionsBoundary; b != nil {
			r.boundary = aws.ToString(b.PermissionsBoundaryArn)
		}
		for _, t := range out.Role.Tags {
			r.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		if err := l.attachedTo(r); err != nil {
			return nil, err
		}
		return r, l.inlineOf(r)
	})
}

// attachedTo reads a role's managed policies, and what those of the customer
// say.
func (l *look) attachedTo(r *iamRole) error {
	pages := iam.NewListAttachedRolePoliciesPaginator(l.aws.IAM, &iam.ListAttachedRolePoliciesInput{RoleName: &r.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.ctx)
		if err != nil {
			return fmt.Errorf("list the policies attached to role %s: %w", r.name, err)
		}
		for _, p := range page.AttachedPolicies {
			arn := aws.ToString(p.PolicyArn)
			r.attached = append(r.attached, arn)
			if strings.Contains(arn, ":iam::aws:policy/") {
				continue
			}
			got, err := l.aws.IAM.GetPolicy(l.ctx, &iam.GetPolicyInput{PolicyArn: &arn})
			if err != nil {
				return fmt.Errorf("look up policy %s: %w", arn, err)
			}
			version, err := l.aws.IAM.GetPolicyVersion(l.ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: got.Policy.DefaultVersionId})
			if err != nil {
				return fmt.Errorf("look up policy %s: %w", arn, err)
			}
			if r.policies[aws.ToString(p.PolicyName)], err = readPolicy(aws.ToString(version.PolicyVersion.Document)); err != nil {
				return fmt.Errorf("policy %s: %w", arn, err)
			}
		}
	}
	return nil
}

// inlineOf reads a role's inline policies.
func (l *look) inlineOf(r *iamRole) error {
	pages := iam.NewListRolePoliciesPaginator(l.aws.IAM, &iam.ListRolePoliciesInput{RoleName: &r.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.ctx)
		if err != nil {
			return fmt.Errorf("list the policies of role %s: %w", r.name, err)
		}
		for _, name := range page.PolicyNames {
			out, err := l.aws.IAM.GetRolePolicy(l.ctx, &iam.GetRolePolicyInput{RoleName: &r.name, PolicyName: &name})
			if err != nil {
				return fmt.Errorf("look up policy %s of role %s: %w", name, r.name, err)
			}
			if r.policies[name], err = readPolicy(aws.ToString(out.PolicyDocument)); err != nil {
				return fmt.Errorf("policy %s of role %s: %w", name, r.name, err)
			}
		}
	}
	return nil
}

// allRoles are the roles of the account, without tags and boundaries, which
// IAM leaves out of listings.
func (l *look) allRoles() ([]iamtypes.Role, error) {
	return l.allRolesFact.get(func() ([]iamtypes.Role, error) {
		var found []iamtypes.Role
		pages := iam.NewListRolesPaginator(l.aws.IAM, &iam.ListRolesInput{MaxItems: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
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
func (l *look) deploymentRoles() ([]*iamRole, error) {
	return l.ourRolesFact.get(func() ([]*iamRole, error) {
		all, err := l.allRoles()
		if err != nil {
			return nil, err
		}
		expected := map[string]bool{}
		for _, e := range l.expectedRoles() {
			expected[l.arch.RoleName(e.part)] = true
		}
		var found []*iamRole
		for _, r := range all {
			name := aws.ToString(r.RoleName)
			alike := strings.HasPrefix(name, l.arch.ResourceName("")) && strings.HasSuffix(name, "-"+l.arch.Config.Region)
			if !expected[name] && !alike {
				continue
			}
			role, err := l.iamRole(name)
			if err != nil {
				return nil, err
			}
			if role != nil && (expected[name] || role.tags[architecture.DeploymentTag] == l.arch.Name()) {
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
func (l *look) expectedRoles() []expectedRole {
	c := l.arch.Config
	out := []expectedRole{{part: "cluster", service: "eks.amazonaws.com", attached: []string{"AmazonEKSClusterPolicy"}, inline: true}}
	for _, role := range l.plannedRoles() {
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
	for i, s := range l.arch.ServiceAccounts {
		out = append(out, expectedRole{part: s.Role, account: &l.arch.ServiceAccounts[i], inline: true})
	}
	return out
}

// eachRole calls f for the expected roles that are there.
func eachRole(f func(l *look, r *result, e expectedRole, role *iamRole) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		for _, e := range l.expectedRoles() {
			role, err := l.iamRole(l.arch.RoleName(e.part))
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

func identityChecks() []Check {
	return []Check{
		{ID: "roles-there", Proves: "Every service account and every service has the IAM role that is made for it.", Level: Required, Rows: []string{"C4", "B38", "B39"}, run: rolesThere},
		{ID: "roles-trust", Proves: "Roles for services are assumed by exactly that service, on behalf of this account where the service acts for others too.", Level: Required, Rows: []string{"S6"}, run: eachRole(rolesTrust)},
		{ID: "roles-attached", Proves: "Roles have exactly those of AWS's policies that their work needs.", Level: Required, Rows: []string{"S6"}, run: eachRole(rolesAttached)},
		{ID: "node-roles-minimal", Proves: "Roles of nodes may join the cluster, pull images and be reached by Session Manager, and nothing else: what pods may do hangs on their service accounts.", Level: Required, Rows: []string{"B39", "S6"}, run: eachRole(nodeRolesMinimal)},
		{ID: "role-boundary", Proves: "Every role of the deployment has the configured permission boundary.", Level: Required, Rows: []string{"B41"}, run: roleBoundary},
		{ID: "roles-no-admin", Proves: "No role of the deployment has one of AWS's policies for administrators.", Level: Required, Rows: []string{"S6"}, run: rolesNoAdmin},
		{ID: "roles-no-wildcards", Proves: "Roles' policies allow no whole services, and all resources only to actions that AWS can't bind to some.", Level: Required, Rows: []string{"S6"}, run: rolesNoWildcards},
		{ID: "roles-no-escalation", Proves: "No role's policies let it give itself more: change IAM, assume or pass roles, or change the policies of keys and buckets.", Level: Required, Rows: []string{"S6"}, run: rolesNoEscalation},
		{ID: "irsa-trust-pinned", Proves: "Each service account's role is assumed by exactly that service account of this cluster.", Level: Required, Rows: []string{"C4", "B38", "S6"}, run: onCluster(irsaTrustPinned)},
		{ID: "irsa-no-strangers", Proves: "Other roles that trust the cluster's service accounts are pinned to one of them, for the audience of STS.", Level: Required, Rows: []string{"B38", "S6"}, run: onCluster(irsaNoStrangers)},
		{ID: "roles-per-service-account", Proves: "No role is for two service accounts, and none of the deployment's service accounts has two roles.", Level: Required, Rows: []string{"B38"}, run: onCluster(rolesPerServiceAccount)},
		{ID: "core-api-scoped", Proves: "core-api reaches data, keys and parameters of this deployment only.", Level: Required, Rows: []string{"S6", "C13", "C15"}, run: coreAPIScoped},
		{ID: "inference-scoped", Proves: "Model servers read model checkpoints of this deployment and nothing else.", Level: Required, Rows: []string{"S6", "C13"}, run: inferenceScoped},
		{ID: "audit-records-kept", Proves: "No role of the deployment may delete audit records or shorten how long they are kept.", Level: Required, Rows: []string{"S6", "C13"}, run: auditRecordsKept},
		{ID: "secrets-one-reader", Proves: "Only external-secrets reads secrets, each by its ARN.", Level: Required, Rows: []string{"B42", "S6"}, run: secretsOneReader},
		{ID: "controllers-scoped", Proves: "Controllers change only what carries the deployment's tag or their cluster's.", Level: Required, Rows: []string{"S6"}, run: eachRole(controllersScoped)},
		{ID: "roles-service-linked", Proves: "Auto Scaling's service-linked role is there, by which nodes get volumes with the volumes key.", Level: Required, Rows: []string{"B8"}, run: rolesServiceLinked},
	}
}

func rolesThere(l *look, r *result) error {
	for _, e := range l.expectedRoles() {
		name := l.arch.RoleName(e.part)
		role, err := l.iamRole(name)
		if err != nil {
			return err
		}
		if role == nil {
			r.missing(l.roleARN(e.part), "iam:GetRole", fixUpdate)
			continue
		}
		whom := e.service
		if e.account != nil {
			whom = "service account " + e.account.Namespace + "/" + e.account.Name
		}
		r.saw(true, role.arn, "there, for "+whom, "iam:GetRole", "", "")
	}
	return nil
}

// trustText says whom a trust policy lets in.
func trustText(p policy) string {
	var out []string
	for _, w := range p.allowed() {
		out = append(out, w.String())
	}
	return "assumed by " + orNobody(out)
}

func rolesTrust(l *look, r *result, e expectedRole, role *iamRole) error {
	if e.account != nil {
		return nil // see irsa-trust-pinned
	}
	saw := trustText(role.trust)
	ok := slices.Equal(role.trust.allowed(), []principal{{"Service", e.service}})
	want := "assumed by " + e.service
	if e.bound {
		want += " for account " + l.id.Account
		for _, s := range role.trust {
			bound := slices.Equal(s.wants("aws:SourceAccount", "StringEquals"), []string{l.id.Account})
			if s.allow && !bound {
				ok = false
				saw += " for any account"
			}
		}
	}
	r.saw(ok, role.arn, saw, "iam:GetRole", want, fixUpdate)
	return nil
}

func rolesAttached(_ *look, r *result, e expectedRole, role *iamRole) error {
	if slices.Equal(e.attached, nodePolicies()) {
		return nil // see node-roles-minimal
	}
	has := role.attachedNames()
	r.saw(slices.Equal(has, e.attached), role.arn, orNothing(has), "iam:ListAttachedRolePolicies", orNothing(e.attached), fixUpdate)
	return nil
}

func nodeRolesMinimal(_ *look, r *result, e expectedRole, role *iamRole) error {
	if !slices.Equal(e.attached, nodePolicies()) {
		return nil
	}
	has := role.attachedNames()
	for _, name := range sortedKeys(role.policies) {
		if !slices.Contains(has, name) {
			has = append(has, "inline "+name)
		}
	}
	r.saw(slices.Equal(has, e.attached), role.arn, orNothing(has), "iam:ListAttachedRolePolicies", orNothing(e.attached), "detach the other policies and run poolhouse update; what a pod needs belongs to a role of its service account")
	return nil
}

func roleBoundary(l *look, r *result) error {
	want := l.arch.Config.PermissionBoundary
	if want == "" {
		r.na("the configuration has no permission boundary")
		return nil
	}
	roles, err := l.deploymentRoles()
	if err != nil {
		return err
	}
	for _, role := range roles {
		r.saw(role.boundary == want, role.arn, "boundary "+orNothing(slices.DeleteFunc([]string{role.boundary}, func(s string) bool { return s == "" })), "iam:GetRole", want, fixUpdate)
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

func rolesNoAdmin(l *look, r *result) error {
	roles, err := l.deploymentRoles()
	if err != nil {
		return err
	}
	for _, role := range roles {
		var bad []string
		for _, n := range role.attachedNames() {
			if broad(n) {
				bad = append(bad, n)
			}
		}
		saw := "none of them"
		if len(bad) > 0 {
			saw = strings.Join(bad, ", ")
		}
		r.saw(len(bad) == 0, role.arn, saw, "iam:ListAttachedRolePolicies", "no policy for administrators", "detach it: aws iam detach-role-policy --role-name "+role.name)
	}
	return nil
}

// eachAllow calls f for each statement of the role's own policies that allows
// something.
func (r *iamRole) eachAllow(f func(policy string, s statement)) {
	for _, name := range sortedKeys(r.policies) {
		for _, s := range r.policies[name] {
			if s.allow {
				f(name, s)
			}
		}
	}
}

// judged turns the faults that a check finds in the policies of roles into
// evidence, or says that there are none.
func judged(r *result, role *iamRole, faults []string, none, want, fix string) {
	const api = "iam:GetRolePolicy"
	for _, f := range faults {
		r.saw(false, role.arn, f, api, want, fix)
	}
	if len(faults) == 0 {
		r.saw(true, role.arn, fmt.Sprintf("%s in %d policies", none, len(role.policies)), api, "", "")
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

func rolesNoWildcards(l *look, r *result) error {
	roles, err := l.deploymentRoles()
	if err != nil {
		return err
	}
	for _, role := range roles {
		var faults []string
		role.eachAllow(func(name string, s statement) {
			at := name
			if s.sid != "" {
				at += "/" + s.sid
			}
			if s.notActions != nil || s.notResources != nil {
				faults = append(faults, at+" allows all but something")
				return
			}
			for _, a := range s.actions {
				if a == "*" || strings.HasSuffix(a, ":*") {
					faults = append(faults, at+" allows "+a)
				} else if slices.Contains(s.resources, "*") && !unbound(a) {
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

func rolesNoEscalation(l *look, r *result) error {
	roles, err := l.deploymentRoles()
	if err != nil {
		return err
	}
	for _, role := range roles {
		var faults []string
		role.eachAllow(func(name string, s statement) {
			for _, a := range escalations() {
				if s.covers(a) {
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
	statement statement
	// subjects are the service accounts that it names, exactly or by patterns.
	subjects []string
	// pinned tells that it names one exactly, and the audience.
	pinned bool
}

// podTrusts are those of all roles of the account.
func (l *look) podTrusts(c *types.Cluster) ([]podTrust, error) {
	return l.podTrustsFact.get(func() ([]podTrust, error) {
		all, err := l.allRoles()
		if err != nil {
			return nil, err
		}
		provider, issuer := l.providerARN(c), clusterIssuer(c)
		var found []podTrust
		for _, role := range all {
			document, err := readPolicy(aws.ToString(role.AssumeRolePolicyDocument))
			if err != nil {
				return nil, fmt.Errorf("trust of role %s: %w", aws.ToString(role.RoleName), err)
			}
			for _, s := range document {
				if !s.allow || !slices.Contains(s.principals, principal{"Federated", provider}) {
					continue
				}
				t := podTrust{role: aws.ToString(role.RoleName), arn: aws.ToString(role.Arn), statement: s}
				exact := s.wants(issuer+":sub", "StringEquals")
				t.subjects = append(slices.Clone(exact), s.wants(issuer+":sub", "StringLike", "StringEqualsIgnoreCase", "ForAnyValue:StringEquals", "ForAnyValue:StringLike", "StringEqualsIfExists", "StringLikeIfExists")...)
				t.pinned = len(exact) == 1 && len(t.subjects) == 1 && slices.Equal(s.wants(issuer+":aud", "StringEquals"), []string{"sts.amazonaws.com"})
				found = append(found, t)
			}
		}
		return found, nil
	})
}

// text is the trust for people.
func (t podTrust) text(issuer string) string {
	return fmt.Sprintf("subject %s, audience %s", orAny(t.subjects), orAny(t.statement.wants(issuer+":aud", "StringEquals")))
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

func irsaTrustPinned(l *look, r *result, c *types.Cluster) error {
	trusts, err := l.podTrusts(c)
	if err != nil {
		return err
	}
	issuer := clusterIssuer(c)
	return eachRole(func(l *look, r *result, e expectedRole, role *iamRole) error {
		if e.account == nil {
			return nil
		}
		want := "subject " + subjectOf(*e.account) + ", audience sts.amazonaws.com"
		const api = "iam:GetRole"
		n := 0
		for _, t := range trusts {
			if t.role != role.name {
				continue
			}
			n++
			s := t.statement
			ok := t.pinned && t.subjects[0] == subjectOf(*e.account) && len(s.conditions) == 2 && len(s.principals) == 1 &&
				slices.Equal(s.actions, []string{"sts:assumerolewithwebidentity"})
			r.saw(ok, role.arn, t.text(issuer), api, want, fixUpdate)
		}
		if n == 0 || n != len(role.trust) {
			r.saw(false, role.arn, fmt.Sprintf("%s, %d of %d statements for this cluster's service accounts", trustText(role.trust), n, len(role.trust)), api, "one statement: "+want, fixUpdate)
		}
		return nil
	})(l, r)
}

func irsaNoStrangers(l *look, r *result, c *types.Cluster) error {
	trusts, err := l.podTrusts(c)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, e := range l.expectedRoles() {
		ours[l.arch.RoleName(e.part)] = true
	}
	n := 0
	for _, t := range trusts {
		if ours[t.role] {
			continue // see irsa-trust-pinned
		}
		n++
		r.saw(t.pinned, t.arn, t.text(clusterIssuer(c)), "iam:ListRoles", "one subject and the audience sts.amazonaws.com, by StringEquals",
			"pin the trust to one service account: https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html")
	}
	if n == 0 {
		r.saw(true, l.providerARN(c), "no other role trusts it", "iam:ListRoles", "", "")
	}
	return nil
}

func rolesPerServiceAccount(l *look, r *result, c *types.Cluster) error {
	trusts, err := l.podTrusts(c)
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
	for _, s := range l.arch.ServiceAccounts {
		subject := subjectOf(s)
		if has := roles[subject]; len(has) > 0 {
			r.saw(len(has) == 1, subject, "roles "+strings.Join(has, ", "), api, l.arch.RoleName(s.Role), "delete the other role, or let it trust another service account")
		}
	}
	for _, role := range sortedKeys(accounts) {
		if has := accounts[role]; len(has) > 1 {
			r.saw(false, role, "for "+strings.Join(has, ", "), api, "one service account", "make a role for each service account")
		}
	}
	return nil
}

// dataKeyARN is the ARN of a KMS key of the deployment, "" if it is not there.
func (l *look) dataKeyARN(keys map[architecture.KeyPurpose]string, p architecture.KeyPurpose) string {
	if keys[p] == "" {
		return ""
	}
	return l.ownARN("kms", "key/"+keys[p])
}

// within tells whether a resource is one of those, or below one of them.
func within(resource string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return root != "" && (resource == root || strings.HasPrefix(resource, root+"/"))
	})
}

// scoped judges that the policies of a service account's role name nothing but
// resources below roots.
func scoped(l *look, r *result, part string, roots []string) error {
	role, err := l.iamRole(l.arch.RoleName(part))
	if err != nil || role == nil {
		return err // see roles-there
	}
	var faults []string
	role.eachAllow(func(name string, s statement) {
		resources := s.resources
		if s.notResources != nil || len(resources) == 0 {
			resources = []string{"*"}
		}
		for _, x := range resources {
			if x == "*" && s.notActions == nil && !slices.ContainsFunc(s.actions, func(a string) bool { return !unbound(a) }) {
				continue
			}
			if !within(x, roots) {
				faults = append(faults, fmt.Sprintf("%s allows %s on %s", name, strings.Join(append(s.actions, s.notActions...), ", "), x))
			}
		}
	})
	judged(r, role, faults, "nothing but the deployment's own", "resources of the deployment", "remove the policy and run poolhouse update")
	return nil
}

func coreAPIScoped(l *look, r *result) error {
	keys, err := l.keys()
	if err != nil {
		return err
	}
	return scoped(l, r, architecture.RoleCoreAPI, []string{
		l.bucketARN(l.arch.Bucket(architecture.BucketModels)), l.bucketARN(l.arch.Bucket(architecture.BucketCodeDocs)), l.bucketARN(l.arch.Bucket(architecture.BucketAudit)), l.bucketARN(l.arch.Bucket(architecture.BucketTelemetry)),
		l.dataKeyARN(keys, architecture.KeyStorage), l.dataKeyARN(keys, architecture.KeyApplication),
		l.ownARN("ssm", "parameter"+l.arch.ParameterPath()),
	})
}

func inferenceScoped(l *look, r *result) error {
	if _, ok := l.arch.Account(architecture.RoleInference); !ok {
		r.na("the configuration has no GPU nodes, so no model servers")
		return nil
	}
	keys, err := l.keys()
	if err != nil {
		return err
	}
	if err := scoped(l, r, architecture.RoleInference, []string{l.bucketARN(l.arch.Bucket(architecture.BucketModels)), l.dataKeyARN(keys, architecture.KeyStorage)}); err != nil {
		return err
	}
	role, err := l.iamRole(l.arch.RoleName(architecture.RoleInference))
	if err != nil || role == nil {
		return err
	}
	var faults []string
	role.eachAllow(func(name string, s statement) {
		for _, a := range []string{"s3:PutObject", "s3:DeleteObject", "kms:Encrypt", "kms:GenerateDataKey"} {
			if s.covers(a) {
				faults = append(faults, name+" allows "+a)
			}
		}
	})
	judged(r, role, faults, "nothing that writes", "reading only", "remove the policy and run poolhouse update")
	return nil
}

func auditRecordsKept(l *look, r *result) error {
	roles, err := l.deploymentRoles()
	if err != nil {
		return err
	}
	bucket := l.bucketARN(l.arch.Bucket(architecture.BucketAudit))
	object := bucket + "/any"
	for _, role := range roles {
		var faults []string
		role.eachAllow(func(name string, s statement) {
			for _, a := range []string{"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutObjectRetention", "s3:PutObjectLegalHold"} {
				if s.covers(a) && s.on(object) {
					faults = append(faults, name+" allows "+a)
				}
			}
			for _, a := range []string{"s3:DeleteBucket", "s3:PutLifecycleConfiguration", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"} {
				if s.covers(a) && s.on(bucket) {
					faults = append(faults, name+" allows "+a)
				}
			}
		})
		judged(r, role, faults, "no deletion in "+resourceOf(bucket), "no deletion in "+resourceOf(bucket), "remove the policy and run poolhouse update")
	}
	return nil
}

func secretsOneReader(l *look, r *result) error {
	roles, err := l.deploymentRoles()
	if err != nil {
		return err
	}
	reader := l.arch.RoleName(architecture.RoleExternalSecrets)
	for _, role := range roles {
		var faults []string
		n := 0
		role.eachAllow(func(name string, s statement) {
			if !s.covers("secretsmanager:GetSecretValue") {
				return
			}
			for _, x := range s.resources {
				if !strings.Contains(x, ":secretsmanager:") && !strings.Contains(x, "*") {
					continue // of another action
				}
				n++
				if role.name != reader || strings.ContainsAny(x, "*?") {
					faults = append(faults, name+" allows to read "+x)
				}
			}
			if s.notResources != nil {
				faults = append(faults, name+" allows to read all secrets but some")
			}
		})
		if role.name == reader {
			judged(r, role, faults, fmt.Sprintf("reads %d secrets by ARN", n), "secrets by ARN", "remove the policy and run poolhouse update")
			continue
		}
		judged(r, role, faults, "reads no secrets", "no secrets", "remove the policy and run poolhouse update; pods get secrets from external-secrets")
	}
	return nil
}

// bindsTo are the keys that bind what a controller changes to the deployment.
func bindsTo(s statement) bool {
	return slices.ContainsFunc(s.conditions, func(c condition) bool {
		return strings.HasPrefix(c.key, "aws:resourcetag/") || strings.HasPrefix(c.key, "aws:requesttag/") || c.key == "ec2:vpc" || c.key == "kms:viaservice"
	})
}

// reads tells whether an action changes nothing.
func reads(action string) bool {
	_, verb, _ := strings.Cut(action, ":")
	return slices.ContainsFunc([]string{"describe", "get", "list"}, func(p string) bool { return strings.HasPrefix(verb, p) })
}

func controllersScoped(_ *look, r *result, e expectedRole, role *iamRole) error {
	switch e.part {
	case architecture.RoleLoadBalancerController, architecture.RoleEBSCSI, architecture.RoleVPCCNI:
	default:
		return nil
	}
	var faults []string
	role.eachAllow(func(name string, s statement) {
		if bindsTo(s) || !slices.ContainsFunc(s.resources, func(x string) bool { return strings.Contains(x, "*") }) {
			return
		}
		for _, a := range s.actions {
			// The one change of rules that AWS binds to no tag.
			if !reads(a) && a != "elasticloadbalancing:setrulepriorities" {
				faults = append(faults, fmt.Sprintf("%s allows %s on %s", name, a, strings.Join(s.resources, ", ")))
			}
		}
	})
	judged(r, role, faults, "changes bound by tags", "a condition on a tag of the deployment or cluster", "remove the policy and run poolhouse update")
	return nil
}

func rolesServiceLinked(l *look, r *result) error {
	const name = "AWSServiceRoleForAutoScaling"
	role, err := orNone(l.aws.IAM.GetRole(l.ctx, &iam.GetRoleInput{RoleName: aws.String(name)}))
	if err != nil {
		return fmt.Errorf("look up role %s: %w", name, err)
	}
	if role == nil {
		r.missing(name, "iam:GetRole", "aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com")
		return nil
	}
	r.saw(true, aws.ToString(role.Role.Arn), "there", "iam:GetRole", "", "")
	return nil
}
