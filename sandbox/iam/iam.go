// Package iam is AWS Identity and Access Management: users and their access
// keys, roles, instance profiles, customer managed policies, OpenID Connect
// providers and service-linked roles, and what they are for: [Permit] and
// [Authorize] decide what a caller may do.
//
// Invariants: names are unique without regard to case; every policy that is
// attached exists; every policy document fits IAM's grammar and quotas; what a
// trust policy names in this account exists. A change by API is seen everywhere
// only after a while.
//
// Other services use [RoleByARN], [RoleExists], [Trusts], [PrincipalExists],
// [EnsureServiceLinkedRole] and the policy language in package policy below
// this one.
//
// Limits: groups, console passwords, MFA devices and SAML are not modelled; of
// most of AWS's managed policies only the name is known, and what they would
// decide is refused as not modelled; there is no organization, so that no
// service or resource control policy applies; identity policies of other
// accounts' principals are taken to allow everything.
package iam

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package.
const (
	TypeRole            = "AWS::IAM::Role"
	TypeInstanceProfile = "AWS::IAM::InstanceProfile"
	TypeManagedPolicy   = "AWS::IAM::ManagedPolicy"
	TypeOIDCProvider    = "AWS::IAM::OIDCProvider"
	TypeInlinePolicy    = "AWS::IAM::Policy"
	TypeUser            = "AWS::IAM::User"
	// TypeAccessKey is a user's key pair, by the key's id.
	TypeAccessKey = "iam:access-key"
)

// Quotas that IAM enforces.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	maxTrustPolicy      = 2048
	maxInlinePolicies   = 10240
	maxManagedPolicy    = 6144
	maxAttachedPolicies = 10
	maxUsers            = 5000
	maxInlineOfUser     = 2048
	maxVersions         = 5
	maxAccessKeys       = 2
	maxTags             = 50
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{roleType(), userType(), instanceProfileType(), managedPolicyType(), inlinePolicyType(), oidcProviderType()}
}

// Seed puts into an account the service-linked roles it has: all those that a
// used account collects, or only the two that AWS makes with the account.
func Seed(tx *account.Tx) {
	services := []string{"support.amazonaws.com", "trustedadvisor.amazonaws.com"}
	if !tx.Fresh() {
		services = append(services, "autoscaling.amazonaws.com", "backup.amazonaws.com", "eks.amazonaws.com", "eks-nodegroup.amazonaws.com", "elasticloadbalancing.amazonaws.com", "rds.amazonaws.com")
	}
	for _, s := range services {
		if r := EnsureServiceLinkedRole(tx, s); r != nil {
			// They were there long before the account is looked at.
			r.Created = r.Created.AddDate(-1, 0, 0)
		}
	}
}

// Rights are what a seeded principal may do.
type Rights struct {
	// Managed are the ARNs of managed policies that are attached, and Inline the
	// text of a policy that it has beside them. With neither it may do
	// everything, by AdministratorAccess.
	Managed []string
	Inline  string
	// Boundary is the ARN of its permissions boundary, or "".
	Boundary string
}

// SeedPrincipal makes the user, or the role that a session is of, with its
// rights, unless it is there. The account and principals of other accounts need
// nothing.
func SeedPrincipal(tx *account.Tx, arn string, rights Rights) error {
	if policy.AccountOf(arn) != tx.AccountID() {
		return nil
	}
	typ, p := TypeRole, map[string]any{"ManagedPolicyArns": props.List(rights.Managed)}
	if len(rights.Managed) == 0 && rights.Inline == "" {
		p["ManagedPolicyArns"] = []any{"arn:" + tx.Partition() + ":iam::aws:policy/AdministratorAccess"}
	}
	if rights.Inline != "" {
		p["Policies"] = []any{map[string]any{"PolicyName": "inline", "PolicyDocument": rights.Inline}}
	}
	if rights.Boundary != "" {
		p["PermissionsBoundary"] = rights.Boundary
	}
	name := sessionRole(arn)
	if _, rest, ok := strings.Cut(arn, ":user/"); ok {
		cut := strings.LastIndexByte(rest, '/') + 1
		typ, name = TypeUser, rest[cut:]
		p["UserName"], p["Path"] = name, "/"+rest[:cut]
	} else {
		p["RoleName"] = name
		p["AssumeRolePolicyDocument"] = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + tx.GlobalARN("iam", "root") + `"},"Action":"sts:AssumeRole"}]}`
	}
	if name == "" || tx.Get(typ, name) != nil {
		return nil
	}
	r, _, err := tx.Create(typ, p, "iam.amazonaws.com", false)
	if err != nil {
		return fmt.Errorf("make principal %s: %w", arn, err)
	}
	return tx.Settle(r, "create")
}

// SeedUser makes a user with an ARN of this account, for policies and access
// entries to name. It may do nothing.
func SeedUser(tx *account.Tx, arn string) *account.Resource {
	name := arn[strings.LastIndex(arn, "/")+1:]
	r := &account.Resource{
		Type: TypeUser, ID: name, Owner: "iam.amazonaws.com", Tags: map[string]string{}, Data: map[string]any{},
		Props: map[string]any{"UserName": name},
		Attrs: map[string]any{"Arn": arn, "UserId": UniqueID(tx, "AIDA")},
	}
	tx.Put(r)
	return r
}

// sessionRole is the role name of an assumed-role session's ARN, or "".
func sessionRole(arn string) string {
	_, rest, ok := strings.Cut(arn, ":assumed-role/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// RoleByARN returns the role with an ARN, or nil.
func RoleByARN(tx *account.Tx, arn string) *account.Resource {
	if r := tx.Get(TypeRole, arn[strings.LastIndex(arn, "/")+1:]); r != nil && props.Str(r.Attrs, "Arn") == arn {
		return r
	}
	return nil
}

// RoleExists tells whether there is a role with the ARN.
func RoleExists(tx *account.Tx, arn string) bool { return RoleByARN(tx, arn) != nil }

// Trusts tells whether a role's trust policy lets an AWS service assume it, on
// behalf of what has the source ARN, if that is given. A role that IAM has not
// yet made known everywhere can't be assumed.
func Trusts(tx *account.Tx, r *account.Resource, service, source string) bool {
	if r == nil {
		return false
	}
	doc, err := policy.Parse(props.Get(seen(tx, r), "AssumeRolePolicyDocument"), policy.Trust)
	if err != nil {
		return false
	}
	keys := policy.Single{"aws:SourceAccount": tx.AccountID(), "aws:PrincipalIsAWSService": "true"}
	if source != "" {
		keys["aws:SourceArn"] = source
	}
	return doc.Allows(policy.Request{Type: "Service", Principal: service, Action: "sts:AssumeRole", Context: keys})
}

// Policies are the resource-based policies of what an ARN of IAM's names: a
// role's trust policy.
func Policies(tx *account.Tx, arn string) []*policy.Document {
	r := RoleByARN(tx, arn)
	if r == nil {
		return nil
	}
	doc, err := policy.Parse(props.Get(seen(tx, r), "AssumeRolePolicyDocument"), policy.Trust)
	if err != nil {
		return nil
	}
	return []*policy.Document{doc}
}

// AttachedPolicies are the ARNs of the managed policies attached to a role or
// user, by its own properties or by the policies'.
func AttachedPolicies(tx *account.Tx, r *account.Resource) []string {
	return attachedTo(tx, r, r.Props)
}

// attachedTo is [AttachedPolicies] for other properties of the role or user.
func attachedTo(tx *account.Tx, r *account.Resource, p map[string]any) []string {
	arns := props.Strs(p, "ManagedPolicyArns")
	list := "Roles"
	if r.Type == TypeUser {
		list = "Users"
	}
	for _, p := range tx.List(TypeManagedPolicy) {
		if contains(props.Strs(seen(tx, p), list), r.ID) && !contains(arns, p.ID) {
			arns = append(arns, p.ID)
		}
	}
	return arns
}

// PrincipalExists tells whether a policy in this account may name an AWS
// principal ("AWS": an account, a role, a user, a session): those of other
// accounts can't be looked up and are taken.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func PrincipalExists(tx *account.Tx, principal string) bool {
	if principal == "*" || accountNumber.MatchString(principal) {
		return true
	}
	m := principalARN.FindStringSubmatch(principal)
	if m == nil || m[1] != tx.Partition() {
		return false
	}
	if m[3] != tx.AccountID() {
		return true
	}
	switch kind, name, _ := strings.Cut(m[4], "/"); {
	case m[2] == "sts" && kind == "assumed-role":
		return tx.Get(TypeRole, sessionRole(principal)) != nil
	case m[2] == "sts":
		return kind == "federated-user" && name != ""
	case kind == "root":
		return true
	case kind == "role":
		r := RoleByARN(tx, principal)
		return r != nil && seen(tx, r) != nil
	case kind == "user":
		r := tx.Get(TypeUser, principal[strings.LastIndex(principal, "/")+1:])
		return principal == tx.Caller || r != nil && props.Str(r.Attrs, "Arn") == principal && seen(tx, r) != nil
	}
	return false
}

var (
	accountNumber = regexp.MustCompile(`^\d{12}$`)
	principalARN  = regexp.MustCompile(`^arn:(aws[a-z-]*):(iam|sts)::(\d{12}):(.+)$`)
)

// UniqueID is a new unique id: a prefix that tells the kind of entity, then 17
// characters.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
func UniqueID(tx *account.Tx, prefix string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	random := tx.HexID(34)
	id := prefix
	for i := 0; i < len(random); i += 2 {
		n := strings.IndexByte("0123456789abcdef", random[i])<<4 | strings.IndexByte("0123456789abcdef", random[i+1])
		id += string(alphabet[n%len(alphabet)])
	}
	return id
}

// errorf is a refusal with IAM's HTTP status for its code.
func errorf(code, format string, args ...any) error {
	e := account.Errorf(code, format, args...)
	switch code {
	case "NoSuchEntity":
		e.Status = http.StatusNotFound
	case "EntityAlreadyExists", "DeleteConflict", "LimitExceeded":
		e.Status = http.StatusConflict
	}
	return e
}

// checkDocument checks a policy's grammar.
func checkDocument(doc any, kind policy.Kind) (*policy.Document, error) {
	d, err := policy.Parse(doc, kind)
	if err != nil {
		return nil, errorf("MalformedPolicyDocument", "%v", err)
	}
	return d, nil
}

var (
	namePattern = regexp.MustCompile(`^[\w+=,.@-]+$`)
	pathPattern = regexp.MustCompile(`^/$|^/[\x21-\x7e]+/$`)
)

// checkName checks an entity's name and path.
func checkName(kind, name, path string, limit int) error {
	switch {
	case len(name) > limit:
		return errorf("ValidationError", "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", name, kind, limit)
	case !namePattern.MatchString(name):
		return errorf("ValidationError", "The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", kind)
	case path != "" && (!pathPattern.MatchString(path) || len(path) > 512):
		return errorf("ValidationError", "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return nil
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return errorf("LimitExceeded", "The number of tags has reached the maximum limit.")
	}
	for k, v := range tags {
		if k == "" || len([]rune(k)) > 128 || len([]rune(v)) > 256 || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return errorf("InvalidInput", "Tag keys and values must match the pattern and length constraints; keys can't begin with aws: (key %q)", k)
		}
	}
	return nil
}

// userTags are the tags that users set; CloudFormation's own begin with aws:.
func userTags(tags map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range tags {
		if !strings.HasPrefix(k, "aws:cloudformation:") {
			out[k] = v
		}
	}
	return out
}

func pathOf(r *account.Resource) string {
	if p := props.Str(r.Props, "Path"); p != "" {
		return p
	}
	return "/"
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
