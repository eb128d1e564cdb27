package policy

import (
	"slices"
	"strings"
)

// Request is what is asked of a policy.
type Request struct {
	// Type is the principal's kind: "AWS", "Service" or "Federated".
	Type string
	// Principal is its ARN or the service's name. Of a role's session it is the
	// session's ARN, or the role's where no session is meant.
	Principal string
	// Role is the ARN of the role that Principal is a session of, or "".
	Role   string
	Action string
	// Resource is an ARN or "*"; empty fits any.
	Resource string
	// Context has the values of condition keys; nil has none.
	Context Context
}

// Context finds the values of a condition key, whose name is in lower case; nil
// if the request doesn't have it.
type Context interface {
	Values(key string) []string
}

// Keys is a [Context] of keys in lower case.
type Keys map[string][]string

// Values is the [Context].
func (k Keys) Values(key string) []string { return k[key] }

// Single is a [Context] of keys with one value each, in any case.
type Single map[string]string

// Values is the [Context].
func (s Single) Values(key string) []string {
	if v, ok := s[key]; ok {
		return []string{v}
	}
	for k, v := range s {
		if strings.EqualFold(k, key) {
			return []string{v}
		}
	}
	return nil
}

// Naming is how a statement comes to stand for a principal, the closest last.
type Naming int

// The ways in which a principal is named.
const (
	// Unnamed: it isn't, or the policy is of an identity.
	Unnamed Naming = iota
	// ByAccount: by its account, which leaves the decision to the account's
	// identity policies.
	ByAccount
	// ByRole: by the ARN of the role that it is a session of, or with everybody.
	ByRole
	// BySelf: by its own ARN or service name.
	BySelf
)

// Decision is what a document says of a request.
type Decision struct {
	// Denies and Allows are the first statement that does so, or nil. One that
	// denies wins.
	Denies, Allows *Statement
	// Naming is how the statements that allow name the principal at closest.
	Naming Naming
}

// Allowed tells whether some statement allows the request and none denies it.
func (d Decision) Allowed() bool { return d.Denies == nil && d.Allows != nil }

// Evaluate decides by the document alone.
func (d *Document) Evaluate(r *Request) Decision {
	var out Decision
	for i := range d.Statements {
		s := &d.Statements[i]
		naming, ok := s.fits(r)
		switch {
		case !ok:
		case !s.Allow:
			out.Denies = s
			return out
		default:
			if out.Allows == nil {
				out.Allows = s
			}
			out.Naming = max(out.Naming, naming)
		}
	}
	return out
}

// Allows tells whether the document by itself allows the request: some
// statement allows it and none denies it.
func (d *Document) Allows(r Request) bool { return d.Evaluate(&r).Allowed() }

// Matching are the indexes of the statements that fit the request.
func (d *Document) Matching(r *Request) []int {
	var out []int
	for i := range d.Statements {
		if _, ok := d.Statements[i].fits(r); ok {
			out = append(out, i)
		}
	}
	return out
}

// Missing are the condition keys, as the document writes them, that the
// statements for the request's action and resource ask for and that the request
// doesn't have.
func (d *Document) Missing(r *Request) []string {
	var out []string
	add := func(name string) {
		if (r.Context == nil || r.Context.Values(strings.ToLower(name)) == nil) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for i := range d.Statements {
		s := &d.Statements[i]
		if !s.action(r.Action) {
			continue
		}
		for _, p := range s.compiled.resources {
			p.variables(add)
		}
		if !s.resource(r) {
			continue
		}
		for i, c := range s.Conditions {
			add(c.Key)
			for _, p := range s.compiled.conditions[i].values {
				p.variables(add)
			}
		}
	}
	return out
}

func (s *Statement) fits(r *Request) (Naming, bool) {
	naming := Unnamed
	switch {
	case s.Principals != nil:
		if naming = s.naming(r); naming == Unnamed {
			return naming, false
		}
	case s.NotPrincipals != nil:
		if s.excepts(r) {
			return naming, false
		}
		naming = ByRole
	}
	if !s.action(r.Action) || !s.resource(r) {
		return naming, false
	}
	for i := range s.compiled.conditions {
		if !s.compiled.conditions[i].holds(r.Context) {
			return naming, false
		}
	}
	return naming, true
}

// action compares without regard to case.
func (s *Statement) action(action string) bool {
	like := func(p string) bool { return p == starOnly || glob(p, action, true) }
	if s.NotActions != nil {
		return !slices.ContainsFunc(s.compiled.actions, like)
	}
	return slices.ContainsFunc(s.compiled.actions, like)
}

func (s *Statement) resource(r *Request) bool {
	if r.Resource == "" || s.Resources == nil && s.NotResources == nil {
		return true
	}
	for i := range s.compiled.resources {
		p := &s.compiled.resources[i]
		if text, ok := p.expand(r.Context); ok && (text == starOnly || glob(text, r.Resource, false)) {
			return s.NotResources == nil
		}
	}
	return s.NotResources != nil
}

// naming is how the statement's principals stand for the request's: an account,
// by its number or root ARN, stands for everyone in it, a role for its sessions.
func (s *Statement) naming(r *Request) Naming {
	best := Unnamed
	for kind, list := range s.Principals {
		for _, p := range list {
			switch {
			case p == "*" && (kind == "*" || kind == "AWS"):
				best = max(best, ByRole)
			case kind != r.Type:
			case p == r.Principal:
				best = BySelf
			case p == r.Role && p != "":
				best = max(best, ByRole)
			case kind == "AWS" && accountNamed(p) != "" && accountNamed(p) == AccountOf(r.Principal):
				// The root user is its account.
				if strings.HasSuffix(r.Principal, ":root") {
					best = BySelf
				}
				best = max(best, ByAccount)
			}
		}
	}
	return best
}

// excepts tells whether NotPrincipal leaves the principal out. A statement that
// denies spares it only if the list has it, its role and its account: whoever is
// not listed is denied, and with the account everyone in it.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
func (s *Statement) excepts(r *Request) bool {
	listed := func(match func(string) bool) bool { return slices.ContainsFunc(s.NotPrincipals[r.Type], match) }
	self := listed(func(p string) bool { return p == r.Principal })
	if r.Type != "AWS" {
		return self
	}
	account := listed(func(p string) bool { return accountNamed(p) != "" && accountNamed(p) == AccountOf(r.Principal) })
	role := listed(func(p string) bool { return p == r.Role && p != "" })
	if strings.HasSuffix(r.Principal, ":root") {
		return account
	}
	if s.Allow {
		return self || account || role
	}
	return self && account && (role || r.Role == "")
}

// accountNamed is the account that a principal stands for as a whole, or "".
func accountNamed(p string) string {
	if len(p) == 12 && strings.Trim(p, "0123456789") == "" {
		return p
	}
	if strings.HasSuffix(p, ":root") {
		return AccountOf(p)
	}
	return ""
}

// AccountOf is the account of an ARN, or "".
func AccountOf(arn string) string {
	for range 4 {
		_, rest, ok := strings.Cut(arn, ":")
		if !ok {
			return ""
		}
		arn = rest
	}
	account, _, ok := strings.Cut(arn, ":")
	if !ok {
		return ""
	}
	return account
}
