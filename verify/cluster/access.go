package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// accessFacts are who may use the Kubernetes API.
type accessFacts struct {
	principalFacts account.Keyed[bool]
}

// gone tells whether a principal of this account is a role that is no longer
// there. An access entry outlives its role, and gives access to nobody then.
func gone(l *account.Look, principal string) (bool, error) {
	parts := strings.SplitN(principal, ":", 6)
	if len(parts) != 6 || parts[4] != l.ID.Account || !strings.HasPrefix(parts[5], "role/") {
		return false, nil
	}
	return account.Facts[accessFacts](l).principalFacts.Get(principal, func() (bool, error) {
		name := principal[strings.LastIndex(principal, "/")+1:]
		out, err := account.OrNone(l.AWS.IAM.GetRole(l.Ctx, &iam.GetRoleInput{RoleName: &name}))
		if err != nil {
			return false, fmt.Errorf("look up role %s: %w", name, err)
		}
		return out == nil || aws.ToString(out.Role.Arn) != principal, nil
	})
}

func accessChecks() []check.Check {
	return []check.Check{
		{ID: "cluster-access-mode", Proves: "The cluster takes access entries only: nothing inside it can name further principals.", Level: check.Required, Rows: []string{"B40", "S7"}, Run: check.OnCluster(clusterAccessMode)},
		{ID: "cluster-administrators", Proves: "Every configured administrator, and whoever created the deployment if none is configured, administers the cluster by an access entry.", Level: check.Required, Rows: []string{"B40", "C5", "S7"}, Run: check.OnCluster(clusterAdministrators)},
		{ID: "cluster-two-administrators", Proves: "Two principals at least can administer the cluster, so that the loss of one locks nobody out.", Level: check.Required, Rows: []string{"B40"}, Run: check.OnCluster(clusterTwoAdministrators)},
		{ID: "cluster-no-strangers", Proves: "Nobody else administers the cluster or a part of it by an access entry.", Level: check.Required, Rows: []string{"B40", "C5", "S6"}, Run: check.OnCluster(clusterNoStrangers)},
		{ID: "cluster-no-identity-provider", Proves: "The cluster takes tokens of no identity provider but IAM.", Level: check.Required, Rows: []string{"B40", "S7"}, Run: check.OnCluster(clusterNoIdentityProvider)},
		{ID: "cluster-oidc-provider", Proves: "IAM knows the cluster's issuer of service account tokens, for the audience of STS.", Level: check.Required, Rows: []string{"C4", "B38"}, Run: check.OnCluster(clusterOIDCProvider)},
	}
}

func clusterAccessMode(_ *account.Look, r *check.Recorder, c *types.Cluster) error {
	saw := "not set"
	if c.AccessConfig != nil {
		saw = string(c.AccessConfig.AuthenticationMode)
	}
	r.Saw(saw == string(types.AuthenticationModeApi), aws.ToString(c.Arn), "authentication mode "+saw, "eks:DescribeCluster", "API",
		"give each principal of the config map aws-auth an access entry, then run aws eks update-cluster-config --name "+aws.ToString(c.Name)+" --access-config authenticationMode=API")
	return nil
}

// madeEntry tells whether the deployment made the entry: it carries its tag.
func madeEntry(l *account.Look, e account.AccessEntry) bool {
	return e.Tags[architecture.DeploymentTag] == l.Arch.Name()
}

func clusterAdministrators(l *account.Look, r *check.Recorder, _ *types.Cluster) error {
	entries, err := l.AccessEntries()
	if err != nil {
		return err
	}
	const api = "eks:ListAssociatedAccessPolicies"
	listed := l.Arch.Config.Cluster.Administrators
	for _, principal := range listed {
		i := slices.IndexFunc(entries, func(e account.AccessEntry) bool { return e.Principal() == principal })
		if i < 0 {
			r.Missing(principal, "eks:ListAccessEntries", check.FixUpdate)
			continue
		}
		gone, err := gone(l, principal)
		switch ok := entries[i].Administers(); {
		case err != nil:
			return err
		case gone:
			r.Saw(false, principal, "its entry is there, the role is not", "iam:GetRole", "a role", "make the role, delete the entry, which knows the old one, and run poolhouse update; or remove it from cluster.administrators")
		case ok:
			r.Saw(true, principal, account.ClusterAdminPolicy+" in the whole cluster", api, "", "")
		default:
			r.Saw(false, principal, "policies "+account.AccessPolicies(entries[i]), api, account.ClusterAdminPolicy+" in the whole cluster", check.FixUpdate)
		}
	}
	if len(listed) > 0 {
		return nil
	}
	var creators []string
	for _, e := range entries {
		if madeEntry(l, e) && e.Administers() {
			creators = append(creators, e.Principal())
		}
	}
	r.Saw(len(creators) > 0, l.Arch.ClusterName(), fmt.Sprintf("administrators by entries of the deployment: %s", check.OrNobody(creators)), api, "its creator", check.FixUpdate)
	return nil
}

func clusterTwoAdministrators(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	if l.Arch.Config.Profile != config.Production {
		r.NA("only production needs two administrators")
		return nil
	}
	entries, err := l.AccessEntries()
	if err != nil {
		return err
	}
	var found []string
	for _, e := range entries {
		if !e.Administers() || e.ServiceLinked() {
			continue
		}
		gone, err := gone(l, e.Principal())
		if err != nil {
			return err
		}
		if !gone {
			found = append(found, e.Principal())
		}
	}
	r.Saw(len(found) >= 2, aws.ToString(c.Arn), check.OrNobody(found), "eks:ListAssociatedAccessPolicies", "two administrators", "list two under cluster.administrators and run poolhouse update")
	return nil
}

// clusterNoStrangers knows the configured administrators, and the creator by
// the deployment's tag on its entry: there is one creator.
func clusterNoStrangers(l *account.Look, r *check.Recorder, _ *types.Cluster) error {
	entries, err := l.AccessEntries()
	if err != nil {
		return err
	}
	const api = "eks:ListAssociatedAccessPolicies"
	creators := 0
	for _, e := range entries {
		powers := e.Powers()
		if len(powers) == 0 || e.ServiceLinked() {
			continue
		}
		who, ok := "a stranger", false
		switch {
		case slices.Contains(l.Arch.Config.Cluster.Administrators, e.Principal()):
			who, ok = "configured", true
		case madeEntry(l, e):
			creators++
			who, ok = "the deployment's creator", creators == 1
			if !ok {
				who = "a second creator"
			}
		}
		r.Saw(ok, e.Principal(), who+" with "+strings.Join(powers, ", "), api, "an administrator of the configuration",
			"list the principal under cluster.administrators, or take its access away: aws eks delete-access-entry --cluster-name "+l.Arch.ClusterName()+" --principal-arn "+e.Principal())
	}
	return nil
}

func clusterNoIdentityProvider(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	list, err := clusterIssuers(l)
	if err != nil {
		return err
	}
	const api = "eks:ListIdentityProviderConfigs"
	if len(list) == 0 {
		r.Saw(true, aws.ToString(c.Arn), "no identity provider", api, "", "")
	}
	for _, p := range list {
		r.Saw(false, aws.ToString(c.Arn), fmt.Sprintf("identity provider %s (%s)", aws.ToString(p.Name), aws.ToString(p.Type)), api, "no identity provider",
			"remove it: aws eks disassociate-identity-provider-config --cluster-name "+aws.ToString(c.Name)+" --identity-provider-config type=oidc,name="+aws.ToString(p.Name))
	}
	return nil
}

func clusterOIDCProvider(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	arn := l.ProviderARN(c)
	const api, audience = "iam:GetOpenIDConnectProvider", "sts.amazonaws.com"
	out, err := account.OrNone(l.AWS.IAM.GetOpenIDConnectProvider(l.Ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: &arn}))
	if err != nil {
		return fmt.Errorf("look up the OIDC provider of %s: %w", aws.ToString(c.Name), err)
	}
	if out == nil {
		r.Missing(arn, api, check.FixUpdate)
		return nil
	}
	r.Saw(slices.Contains(out.ClientIDList, audience), arn, "audiences "+check.OrNobody(out.ClientIDList), api, audience, check.FixUpdate)
	return nil
}
