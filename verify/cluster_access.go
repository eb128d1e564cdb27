package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// accessFacts are who may use the Kubernetes API.
type accessFacts struct {
	accessEntriesFact fact[[]accessEntry]
	principalFacts    keyed[bool]
}

// accessEntry is an access entry with its policies.
type accessEntry struct {
	*types.AccessEntry
	policies []types.AssociatedAccessPolicy
}

func (e accessEntry) principal() string { return aws.ToString(e.PrincipalArn) }

// has tells whether the entry has an access policy, by the policy's name, in
// the whole cluster.
func (e accessEntry) has(policy string) bool {
	return slices.ContainsFunc(e.policies, func(p types.AssociatedAccessPolicy) bool {
		return accessPolicyName(p) == policy && p.AccessScope != nil && p.AccessScope.Type == types.AccessScopeTypeCluster
	})
}

// administers tells whether the entry's principal may do everything.
func (e accessEntry) administers() bool { return e.has(clusterAdminPolicy) }

// powers are the policies of the entry that let its principal change what it
// likes, in the cluster or a namespace.
func (e accessEntry) powers() []string {
	var out []string
	for _, p := range e.policies {
		if n := accessPolicyName(p); n == clusterAdminPolicy || n == "AmazonEKSAdminPolicy" {
			out = append(out, n)
		}
	}
	return out
}

// serviceLinked tells whether an AWS service made the entry for itself. EKS has
// one in every cluster.
// https://docs.aws.amazon.com/eks/latest/userguide/access-policies.html
func (e accessEntry) serviceLinked() bool {
	return strings.Contains(e.principal(), ":role/aws-service-role/")
}

const clusterAdminPolicy = "AmazonEKSClusterAdminPolicy"

func accessPolicyName(p types.AssociatedAccessPolicy) string {
	arn := aws.ToString(p.PolicyArn)
	return arn[strings.LastIndex(arn, "/")+1:]
}

// accessEntries are the cluster's access entries.
func (l *look) accessEntries() ([]accessEntry, error) {
	return l.accessEntriesFact.get(func() ([]accessEntry, error) {
		name := l.arch.ClusterName()
		var found []accessEntry
		pages := eks.NewListAccessEntriesPaginator(l.aws.EKS, &eks.ListAccessEntriesInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the access entries of %s: %w", name, err)
			}
			for _, principal := range page.AccessEntries {
				e, err := l.accessEntry(name, principal)
				if err != nil {
					return nil, err
				}
				if e.AccessEntry != nil {
					found = append(found, e)
				}
			}
		}
		return found, nil
	})
}

func (l *look) accessEntry(cluster, principal string) (accessEntry, error) {
	out, err := orNone(l.aws.EKS.DescribeAccessEntry(l.ctx, &eks.DescribeAccessEntryInput{ClusterName: &cluster, PrincipalArn: &principal}))
	if err != nil {
		return accessEntry{}, fmt.Errorf("look up the access entry of %s: %w", principal, err)
	}
	if out == nil {
		return accessEntry{}, nil
	}
	e := accessEntry{AccessEntry: out.AccessEntry}
	pages := eks.NewListAssociatedAccessPoliciesPaginator(l.aws.EKS, &eks.ListAssociatedAccessPoliciesInput{ClusterName: &cluster, PrincipalArn: &principal})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.ctx)
		if err != nil {
			return accessEntry{}, fmt.Errorf("list the access policies of %s: %w", principal, err)
		}
		e.policies = append(e.policies, page.AssociatedAccessPolicies...)
	}
	return e, nil
}

// gone tells whether a principal of this account is a role that is no longer
// there. An access entry outlives its role, and gives access to nobody then.
func (l *look) gone(principal string) (bool, error) {
	parts := strings.SplitN(principal, ":", 6)
	if len(parts) != 6 || parts[4] != l.id.Account || !strings.HasPrefix(parts[5], "role/") {
		return false, nil
	}
	return l.principalFacts.get(principal, func() (bool, error) {
		name := principal[strings.LastIndex(principal, "/")+1:]
		out, err := orNone(l.aws.IAM.GetRole(l.ctx, &iam.GetRoleInput{RoleName: &name}))
		if err != nil {
			return false, fmt.Errorf("look up role %s: %w", name, err)
		}
		return out == nil || aws.ToString(out.Role.Arn) != principal, nil
	})
}

func accessChecks() []Check {
	return []Check{
		{ID: "cluster-access-mode", Proves: "The cluster takes access entries only: nothing inside it can name further principals.", Level: Required, Rows: []string{"B40", "S7"}, run: onCluster(clusterAccessMode)},
		{ID: "cluster-administrators", Proves: "Every configured administrator, and whoever created the deployment if none is configured, administers the cluster by an access entry.", Level: Required, Rows: []string{"B40", "C5", "S7"}, run: onCluster(clusterAdministrators)},
		{ID: "cluster-two-administrators", Proves: "Two principals at least can administer the cluster, so that the loss of one locks nobody out.", Level: Required, Rows: []string{"B40"}, run: onCluster(clusterTwoAdministrators)},
		{ID: "cluster-no-strangers", Proves: "Nobody else administers the cluster or a part of it by an access entry.", Level: Required, Rows: []string{"B40", "C5", "S6"}, run: onCluster(clusterNoStrangers)},
		{ID: "cluster-no-identity-provider", Proves: "The cluster takes tokens of no identity provider but IAM.", Level: Required, Rows: []string{"B40", "S7"}, run: onCluster(clusterNoIdentityProvider)},
		{ID: "cluster-oidc-provider", Proves: "IAM knows the cluster's issuer of service account tokens, for the audience of STS.", Level: Required, Rows: []string{"C4", "B38"}, run: onCluster(clusterOIDCProvider)},
	}
}

func clusterAccessMode(_ *look, r *result, c *types.Cluster) error {
	saw := "not set"
	if c.AccessConfig != nil {
		saw = string(c.AccessConfig.AuthenticationMode)
	}
	r.saw(saw == string(types.AuthenticationModeApi), aws.ToString(c.Arn), "authentication mode "+saw, "eks:DescribeCluster", "API",
		"give each principal of the config map aws-auth an access entry, then run aws eks update-cluster-config --name "+aws.ToString(c.Name)+" --access-config authenticationMode=API")
	return nil
}

// madeEntry tells whether the deployment made the entry: it carries its tag.
func (l *look) madeEntry(e accessEntry) bool {
	return e.Tags[architecture.DeploymentTag] == l.arch.Name()
}

func clusterAdministrators(l *look, r *result, _ *types.Cluster) error {
	entries, err := l.accessEntries()
	if err != nil {
		return err
	}
	const api = "eks:ListAssociatedAccessPolicies"
	listed := l.arch.Config.Cluster.Administrators
	for _, principal := range listed {
		i := slices.IndexFunc(entries, func(e accessEntry) bool { return e.principal() == principal })
		if i < 0 {
			r.missing(principal, "eks:ListAccessEntries", fixUpdate)
			continue
		}
		gone, err := l.gone(principal)
		switch ok := entries[i].administers(); {
		case err != nil:
			return err
		case gone:
			r.saw(false, principal, "its entry is there, the role is not", "iam:GetRole", "a role", "make the role, delete the entry, which knows the old one, and run poolhouse update; or remove it from cluster.administrators")
		case ok:
			r.saw(true, principal, clusterAdminPolicy+" in the whole cluster", api, "", "")
		default:
			r.saw(false, principal, "policies "+accessPolicies(entries[i]), api, clusterAdminPolicy+" in the whole cluster", fixUpdate)
		}
	}
	if len(listed) > 0 {
		return nil
	}
	var creators []string
	for _, e := range entries {
		if l.madeEntry(e) && e.administers() {
			creators = append(creators, e.principal())
		}
	}
	r.saw(len(creators) > 0, l.arch.ClusterName(), fmt.Sprintf("administrators by entries of the deployment: %s", orNobody(creators)), api, "its creator", fixUpdate)
	return nil
}

func accessPolicies(e accessEntry) string {
	var out []string
	for _, p := range e.policies {
		scope := "nowhere"
		if p.AccessScope != nil {
			scope = string(p.AccessScope.Type)
			if len(p.AccessScope.Namespaces) > 0 {
				scope = strings.Join(p.AccessScope.Namespaces, ", ")
			}
		}
		out = append(out, accessPolicyName(p)+" ("+scope+")")
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ", ")
}

func orNobody(list []string) string {
	if len(list) == 0 {
		return "nobody"
	}
	return strings.Join(list, ", ")
}

func clusterTwoAdministrators(l *look, r *result, c *types.Cluster) error {
	if l.arch.Config.Profile != config.Production {
		r.na("only production needs two administrators")
		return nil
	}
	entries, err := l.accessEntries()
	if err != nil {
		return err
	}
	var found []string
	for _, e := range entries {
		if !e.administers() || e.serviceLinked() {
			continue
		}
		gone, err := l.gone(e.principal())
		if err != nil {
			return err
		}
		if !gone {
			found = append(found, e.principal())
		}
	}
	r.saw(len(found) >= 2, aws.ToString(c.Arn), orNobody(found), "eks:ListAssociatedAccessPolicies", "two administrators", "list two under cluster.administrators and run poolhouse update")
	return nil
}

// clusterNoStrangers knows the configured administrators, and the creator by
// the deployment's tag on its entry: there is one creator.
func clusterNoStrangers(l *look, r *result, _ *types.Cluster) error {
	entries, err := l.accessEntries()
	if err != nil {
		return err
	}
	const api = "eks:ListAssociatedAccessPolicies"
	creators := 0
	for _, e := range entries {
		powers := e.powers()
		if len(powers) == 0 || e.serviceLinked() {
			continue
		}
		who, ok := "a stranger", false
		switch {
		case slices.Contains(l.arch.Config.Cluster.Administrators, e.principal()):
			who, ok = "configured", true
		case l.madeEntry(e):
			creators++
			who, ok = "the deployment's creator", creators == 1
			if !ok {
				who = "a second creator"
			}
		}
		r.saw(ok, e.principal(), who+" with "+strings.Join(powers, ", "), api, "an administrator of the configuration",
			"list the principal under cluster.administrators, or take its access away: aws eks delete-access-entry --cluster-name "+l.arch.ClusterName()+" --principal-arn "+e.principal())
	}
	return nil
}

func clusterNoIdentityProvider(l *look, r *result, c *types.Cluster) error {
	list, err := l.clusterIssuers()
	if err != nil {
		return err
	}
	const api = "eks:ListIdentityProviderConfigs"
	if len(list) == 0 {
		r.saw(true, aws.ToString(c.Arn), "no identity provider", api, "", "")
	}
	for _, p := range list {
		r.saw(false, aws.ToString(c.Arn), fmt.Sprintf("identity provider %s (%s)", aws.ToString(p.Name), aws.ToString(p.Type)), api, "no identity provider",
			"remove it: aws eks disassociate-identity-provider-config --cluster-name "+aws.ToString(c.Name)+" --identity-provider-config type=oidc,name="+aws.ToString(p.Name))
	}
	return nil
}

// clusterIssuer is the issuer of the cluster's service account tokens, without
// https://, as conditions of policies name it; "" before there is one.
func clusterIssuer(c *types.Cluster) string {
	if c.Identity == nil || c.Identity.Oidc == nil {
		return ""
	}
	return strings.TrimPrefix(aws.ToString(c.Identity.Oidc.Issuer), "https://")
}

// providerARN is the ARN of IAM's provider for the cluster's issuer.
func (l *look) providerARN(c *types.Cluster) string {
	return fmt.Sprintf("arn:%s:iam::%s:oidc-provider/%s", l.id.Partition, l.id.Account, clusterIssuer(c))
}

func clusterOIDCProvider(l *look, r *result, c *types.Cluster) error {
	arn := l.providerARN(c)
	const api, audience = "iam:GetOpenIDConnectProvider", "sts.amazonaws.com"
	out, err := orNone(l.aws.IAM.GetOpenIDConnectProvider(l.ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: &arn}))
	if err != nil {
		return fmt.Errorf("look up the OIDC provider of %s: %w", aws.ToString(c.Name), err)
	}
	if out == nil {
		r.missing(arn, api, fixUpdate)
		return nil
	}
	r.saw(slices.Contains(out.ClientIDList, audience), arn, "audiences "+orNobody(out.ClientIDList), api, audience, fixUpdate)
	return nil
}
