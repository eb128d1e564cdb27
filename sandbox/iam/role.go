package iam

import (
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func roleType() *account.Type {
	return &account.Type{
		Name: TypeRole, Latency: "iam:role",
		Create: createRole,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := modifiable(r); err != nil {
				return err
			}
			// Who is trusted is looked up when the trust policy is set: a principal
			// may be gone since.
			same := props.Same(r.Props["AssumeRolePolicyDocument"], next["AssumeRolePolicyDocument"])
			if err := checkRole(tx, r.ID, next, same); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
		Delete: deleteRole,
	}
}

func createRole(tx *account.Tx, r *account.Resource) error {
	name := props.Str(r.Props, "RoleName")
	if name == "" {
		name = tx.Name(r, 64)
	}
	path := pathOf(r)
	if err := checkName("roleName", name, path, 64); err != nil {
		return err
	}
	if strings.HasPrefix(path, "/aws-service-role/") && !strings.HasSuffix(r.Owner, ".amazonaws.com") {
		return errorf("ValidationError", "The specified value for path is invalid. /aws-service-role/ is reserved.")
	}
	folded := func(r *account.Resource) string { return strings.ToLower(r.ID) }
	if len(tx.Where(TypeRole, "folded", folded, strings.ToLower(name))) > 0 {
		return errorf("EntityAlreadyExists", "Role with name %s already exists.", name)
	}
	if err := checkRole(tx, name, r.Props, false); err != nil {
		return err
	}
	r.ID = name
	r.Attrs["Arn"] = tx.GlobalARN("iam", "role"+path+name)
	r.Attrs["RoleId"] = UniqueID(tx, "AROA")
	r.Tags = props.Tags(r.Props, "Tags")
	return nil
}

// checkRole checks everything of a role that can change, but for a trust policy
// that was checked before.
func checkRole(tx *account.Tx, name string, p map[string]any, trusted bool) error {
	if !trusted {
		if err := checkTrust(tx, p["AssumeRolePolicyDocument"]); err != nil {
			return err
		}
	}
	if n := props.Int(p, 3600, "MaxSessionDuration"); n < 3600 || n > 43200 {
		bound := "greater than or equal to 3600"
		if n > 43200 {
			bound = "less than or equal to 43200"
		}
		return errorf("ValidationError", "1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: Member must have value %s", n, bound)
	}
	if len(props.Str(p, "Description")) > 1000 {
		return errorf("ValidationError", "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1000")
	}
	return checkPolicies(tx, "role", name, p, maxInlinePolicies)
}

// checkPolicies checks the policies of a role or user, its boundary and tags.
func checkPolicies(tx *account.Tx, kind, name string, p map[string]any, maxInline int) error {
	if b := props.Str(p, "PermissionsBoundary"); b != "" && !PolicyExists(tx, b) {
		return errorf("NoSuchEntity", "Scope ARN: %s does not exist or is not attachable.", b)
	}
	arns := props.Strs(p, "ManagedPolicyArns")
	for _, arn := range arns {
		if !PolicyExists(tx, arn) {
			return errorf("NoSuchEntity", "Policy %s does not exist or is not attachable.", arn)
		}
	}
	attached, list := len(arns), strings.ToUpper(kind[:1])+kind[1:]+"s"
	for _, pol := range tx.List(TypeManagedPolicy) {
		if contains(props.Strs(pol.Props, list), name) && !contains(arns, pol.ID) {
			attached++
		}
	}
	if attached > maxAttachedPolicies {
		return errorf("LimitExceeded", "Cannot exceed quota for PoliciesPer%s: %d", list[:len(list)-1], maxAttachedPolicies)
	}
	total, seen := 0, map[string]bool{}
	for _, pol := range props.Maps(p, "Policies") {
		n := props.Str(pol, "PolicyName")
		if err := checkName("policyName", n, "", 128); err != nil {
			return err
		}
		if seen[n] {
			return errorf("ValidationError", "Duplicate policy name %s in %s %s", n, kind, name)
		}
		seen[n] = true
		if _, err := checkDocument(pol["PolicyDocument"], policy.Identity); err != nil {
			return err
		}
		total += policy.Size(pol["PolicyDocument"])
	}
	if total > maxInline {
		return errorf("LimitExceeded", "Maximum policy size of %d bytes exceeded for %s %s", maxInline, kind, name)
	}
	return checkTags(userTags(props.Tags(p, "Tags")))
}

var federatedName = regexp.MustCompile(`^(arn:aws[a-z-]*:iam::\d{12}:(oidc-provider|saml-provider)/.+|[a-z0-9.-]+\.[a-z]+)$`)

// checkTrust checks a trust policy: grammar, size, actions and that its
// principals exist.
func checkTrust(tx *account.Tx, doc any) error {
	d, err := checkDocument(doc, policy.Trust)
	if err != nil {
		return err
	}
	if policy.Size(doc) > maxTrustPolicy {
		return errorf("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	for _, s := range d.Statements {
		for _, a := range slices.Concat(s.Actions, s.NotActions) {
			if !strings.HasPrefix(strings.ToLower(a), "sts:") {
				return errorf("MalformedPolicyDocument", "AssumeRole policy may only specify STS AssumeRole actions.")
			}
		}
		if s.NotPrincipals != nil && s.Allow {
			return errorf("MalformedPolicyDocument", "AssumeRolepolicy contained allow with NotPrincipal.")
		}
		for kind, list := range s.Principals {
			for _, p := range list {
				switch {
				case kind == "AWS" && !PrincipalExists(tx, p):
					return errorf("MalformedPolicyDocument", "Invalid principal in policy: \"AWS\":\"%s\"", p)
				case kind == "Service" && !ServiceExists(p):
					return errorf("MalformedPolicyDocument", "Invalid principal in policy: \"SERVICE\":\"%s\"", p)
				case kind == "Federated" && !federatedName.MatchString(p):
					return errorf("MalformedPolicyDocument", "Federated principals must be valid domain names or SAML metadata ARNs")
				case kind == "CanonicalUser":
					return errorf("MalformedPolicyDocument", "Invalid principal in policy: \"CANONICALUSER\":\"%s\"", p)
				}
			}
		}
	}
	return nil
}

// deleteRole refuses while an instance profile holds the role. Policies that
// are attached or inline go with it, as CloudFormation removes them first; the
// API refuses them before.
func deleteRole(tx *account.Tx, r *account.Resource) error {
	if err := modifiable(r); err != nil {
		return err
	}
	for _, p := range tx.List(TypeInstanceProfile) {
		if contains(props.Strs(p.Props, "Roles"), r.ID) {
			return errorf("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
		}
	}
	return nil
}

// modifiable refuses to touch what only AWS may change.
func modifiable(r *account.Resource) error {
	if strings.HasPrefix(pathOf(r), "/aws-service-role/") {
		return errorf("UnmodifiableEntity", "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", r.ID)
	}
	return nil
}
