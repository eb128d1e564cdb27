package account

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// accessFacts are who may use the Kubernetes API.
type accessFacts struct {
	accessEntriesFact Fact[[]AccessEntry]
}

// AccessEntry is an access entry with its policies.
type AccessEntry struct {
	*types.AccessEntry
	Policies []types.AssociatedAccessPolicy
}

// Principal is the ARN of the role or user that the entry is for.
func (e AccessEntry) Principal() string { return aws.ToString(e.PrincipalArn) }

// has tells whether the entry has an access policy, by the policy's name, in
// the whole cluster.
func (e AccessEntry) has(policy string) bool {
	return slices.ContainsFunc(e.Policies, func(p types.AssociatedAccessPolicy) bool {
		return AccessPolicyName(p) == policy && p.AccessScope != nil && p.AccessScope.Type == types.AccessScopeTypeCluster
	})
}

// Administers tells whether the entry's principal may do everything.
func (e AccessEntry) Administers() bool { return e.has(ClusterAdminPolicy) }

// Powers are the policies of the entry that let its principal change what it
// likes, in the cluster or a namespace.
func (e AccessEntry) Powers() []string {
	var out []string
	for _, p := range e.Policies {
		if n := AccessPolicyName(p); n == ClusterAdminPolicy || n == "AmazonEKSAdminPolicy" {
			out = append(out, n)
		}
	}
	return out
}

// ServiceLinked tells whether an AWS service made the entry for itself. EKS has
// one in every cluster.
// https://docs.aws.amazon.com/eks/latest/userguide/access-policies.html
func (e AccessEntry) ServiceLinked() bool {
	return strings.Contains(e.Principal(), ":role/aws-service-role/")
}

// ClusterAdminPolicy is the access policy that makes administrators.
// https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
const ClusterAdminPolicy = "AmazonEKSClusterAdminPolicy"

// AccessPolicyName is the last part of an access policy's ARN.
func AccessPolicyName(p types.AssociatedAccessPolicy) string {
	arn := aws.ToString(p.PolicyArn)
	return arn[strings.LastIndex(arn, "/")+1:]
}

// AccessEntries are the cluster's access entries.
func (l *Look) AccessEntries() ([]AccessEntry, error) {
	return l.accessEntriesFact.Get(func() ([]AccessEntry, error) {
		name := l.Arch.ClusterName()
		var found []AccessEntry
		pages := eks.NewListAccessEntriesPaginator(l.AWS.EKS, &eks.ListAccessEntriesInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
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

func (l *Look) accessEntry(cluster, principal string) (AccessEntry, error) {
	out, err := OrNone(l.AWS.EKS.DescribeAccessEntry(l.Ctx, &eks.DescribeAccessEntryInput{ClusterName: &cluster, PrincipalArn: &principal}))
	if err != nil {
		return AccessEntry{}, fmt.Errorf("look up the access entry of %s: %w", principal, err)
	}
	if out == nil {
		return AccessEntry{}, nil
	}
	e := AccessEntry{AccessEntry: out.AccessEntry}
	pages := eks.NewListAssociatedAccessPoliciesPaginator(l.AWS.EKS, &eks.ListAssociatedAccessPoliciesInput{ClusterName: &cluster, PrincipalArn: &principal})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.Ctx)
		if err != nil {
			return AccessEntry{}, fmt.Errorf("list the access policies of %s: %w", principal, err)
		}
		e.Policies = append(e.Policies, page.AssociatedAccessPolicies...)
	}
	return e, nil
}

// ClusterIssuer is the issuer of the cluster's service account tokens, without
// https://, as conditions of policies name it; "" before there is one.
func ClusterIssuer(c *types.Cluster) string {
	if c.Identity == nil || c.Identity.Oidc == nil {
		return ""
	}
	return strings.TrimPrefix(aws.ToString(c.Identity.Oidc.Issuer), "https://")
}

// ProviderARN is the ARN of IAM's provider for the cluster's issuer.
func (l *Look) ProviderARN(c *types.Cluster) string {
	return fmt.Sprintf("arn:%s:iam::%s:oidc-provider/%s", l.ID.Partition, l.ID.Account, ClusterIssuer(c))
}

// AccessPolicies are the policies of an entry with their scopes, for people.
func AccessPolicies(e AccessEntry) string {
	var out []string
	for _, p := range e.Policies {
		scope := "nowhere"
		if p.AccessScope != nil {
			scope = string(p.AccessScope.Type)
			if len(p.AccessScope.Namespaces) > 0 {
				scope = strings.Join(p.AccessScope.Namespaces, ", ")
			}
		}
		out = append(out, AccessPolicyName(p)+" ("+scope+")")
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ", ")
}
