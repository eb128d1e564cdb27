package account

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/verify/policy"
)

// identityFacts are what the IAM roles are.
type identityFacts struct {
	iamRoleFacts Keyed[*IAMRole]
}

// IAMRole is a role with its policies.
type IAMRole struct {
	Name, ARN string
	Trust     policy.Document
	Boundary  string
	Tags      map[string]string
	// attached are the ARNs of managed policies.
	attached []string
	// Policies are the role's own, inline or customer managed, by name. Those
	// that AWS manages are known by their names.
	Policies map[string]policy.Document
}

// AttachedNames are the attached policies without the beginning of their ARN,
// which differs between partitions and accounts: "service-role/X".
func (r *IAMRole) AttachedNames() []string {
	var out []string
	for _, arn := range r.attached {
		out = append(out, strings.TrimPrefix(ResourceOf(arn), "policy/"))
	}
	slices.Sort(out)
	return out
}

// IAMRole is a role, or nil.
func (l *Look) IAMRole(name string) (*IAMRole, error) {
	return l.iamRoleFacts.Get(name, func() (*IAMRole, error) {
		out, err := OrNone(l.AWS.IAM.GetRole(l.Ctx, &iam.GetRoleInput{RoleName: &name}))
		if err != nil {
			return nil, fmt.Errorf("look up role %s: %w", name, err)
		}
		if out == nil {
			return nil, nil
		}
		r := &IAMRole{Name: name, ARN: aws.ToString(out.Role.Arn), Tags: map[string]string{}, Policies: map[string]policy.Document{}}
		if r.Trust, err = policy.Read(aws.ToString(out.Role.AssumeRolePolicyDocument)); err != nil {
			return nil, fmt.Errorf("trust of role %s: %w", name, err)
		}
		if b := out.Role.PermissionsBoundary; b != nil {
			r.Boundary = aws.ToString(b.PermissionsBoundaryArn)
		}
		for _, t := range out.Role.Tags {
			r.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		if err := l.attachedTo(r); err != nil {
			return nil, err
		}
		return r, l.inlineOf(r)
	})
}

// attachedTo reads a role's managed policies, and what those of the customer
// say.
func (l *Look) attachedTo(r *IAMRole) error {
	pages := iam.NewListAttachedRolePoliciesPaginator(l.AWS.IAM, &iam.ListAttachedRolePoliciesInput{RoleName: &r.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.Ctx)
		if err != nil {
			return fmt.Errorf("list the policies attached to role %s: %w", r.Name, err)
		}
		for _, p := range page.AttachedPolicies {
			arn := aws.ToString(p.PolicyArn)
			r.attached = append(r.attached, arn)
			if strings.Contains(arn, ":iam::aws:policy/") {
				continue
			}
			got, err := l.AWS.IAM.GetPolicy(l.Ctx, &iam.GetPolicyInput{PolicyArn: &arn})
			if err != nil {
				return fmt.Errorf("look up policy %s: %w", arn, err)
			}
			version, err := l.AWS.IAM.GetPolicyVersion(l.Ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: got.Policy.DefaultVersionId})
			if err != nil {
				return fmt.Errorf("look up policy %s: %w", arn, err)
			}
			if r.Policies[aws.ToString(p.PolicyName)], err = policy.Read(aws.ToString(version.PolicyVersion.Document)); err != nil {
				return fmt.Errorf("policy %s: %w", arn, err)
			}
		}
	}
	return nil
}

// inlineOf reads a role's inline policies.
func (l *Look) inlineOf(r *IAMRole) error {
	pages := iam.NewListRolePoliciesPaginator(l.AWS.IAM, &iam.ListRolePoliciesInput{RoleName: &r.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.Ctx)
		if err != nil {
			return fmt.Errorf("list the policies of role %s: %w", r.Name, err)
		}
		for _, name := range page.PolicyNames {
			out, err := l.AWS.IAM.GetRolePolicy(l.Ctx, &iam.GetRolePolicyInput{RoleName: &r.Name, PolicyName: &name})
			if err != nil {
				return fmt.Errorf("look up policy %s of role %s: %w", name, r.Name, err)
			}
			if r.Policies[name], err = policy.Read(aws.ToString(out.PolicyDocument)); err != nil {
				return fmt.Errorf("policy %s of role %s: %w", name, r.Name, err)
			}
		}
	}
	return nil
}

// EachAllow calls f for each statement of the role's own policies that allows
// something.
func (r *IAMRole) EachAllow(f func(policy string, s policy.Statement)) {
	for _, name := range SortedKeys(r.Policies) {
		for _, s := range r.Policies[name] {
			if s.Allow {
				f(name, s)
			}
		}
	}
}
