package policy

import (
	"slices"
	"strconv"
	"strings"
)

// Request is what is asked of a policy.
type Request struct {
	// Type is the principal's kind: "AWS", "Service" or "Federated".
	Type string
	// Principal is its ARN or the service's name.
	Principal string
	Action    string
	// Exact asks for a statement that names the principal: an account's root,
	// which leaves the decision to identity policies, does not stand for it.
	Exact bool
	// Resource is an ARN; empty fits any.
	Resource string
	// Context are the values of condition keys, whose names are compared
	// without regard to case. A key that isn't there fits no condition but
	// the negative ones and those "IfExists".
	Context map[string]string
}

// Allows tells whether the document by itself allows the request: some
// statement allows it and none denies it.
func (d *Document) Allows(r Request) bool {
	allowed := false
	for _, s := range d.Statements {
		if !s.fits(r) {
			continue
		}
		if !s.Allow {
			return false
		}
		allowed = true
	}
	return allowed
}

// Grants tells whether some statement allows the action to somebody whom match
// accepts, whatever its conditions.
func (d *Document) Grants(action string, match func(kind, principal string) bool) bool {
	return slices.ContainsFunc(d.Statements, func(s Statement) bool {
		if !s.Allow || !s.action(action) {
			return false
		}
		for kind, list := range s.Principals {
			if slices.ContainsFunc(list, func(p string) bool { return match(kind, p) }) {
				return true
			}
		}
		return false
	})
}

func (s *Statement) fits(r Request) bool {
	switch {
	case s.Principals != nil && !principalFits(s.Principals, r):
		return false
	case s.NotPrincipals != nil && principalFits(s.NotPrincipals, r):
		return false
	case !s.action(r.Action):
		return false
	case r.Resource != "" && s.Resources != nil && !anyLike(s.Resources, r.Resource):
		return false
	case r.Resource != "" && s.NotResources != nil && anyLike(s.NotResources, r.Resource):
		return false
	}
	return !slices.ContainsFunc(s.Conditions, func(c Condition) bool { return !c.holds(r.Context) })
}

func (s *Statement) action(action string) bool {
	like := func(p string) bool { return Like(strings.ToLower(p), strings.ToLower(action)) }
	if s.NotActions != nil {
		return !slices.ContainsFunc(s.NotActions, like)
	}
	return slices.ContainsFunc(s.Actions, like)
}

// principalFits: an account, by its number or root ARN, stands for everyone in
// it.
func principalFits(principals map[string][]string, r Request) bool {
	for kind, list := range principals {
		for _, p := range list {
			switch {
			case p == "*" && (kind == "*" || kind == "AWS"):
				return true
			case kind != r.Type:
			case p == r.Principal:
				return true
			case kind == "AWS" && !r.Exact && accountOf(p) != "" && accountOf(p) == arnAccount(r.Principal):
				return true
			}
		}
	}
	return false
}

// accountOf is the account that a principal stands for as a whole, or "".
func accountOf(p string) string {
	if len(p) == 12 && strings.Trim(p, "0123456789") == "" {
		return p
	}
	if strings.HasSuffix(p, ":root") {
		return arnAccount(p)
	}
	return ""
}

func arnAccount(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

func anyLike(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Like(p, s) })
}

// Like matches a pattern with * and ? in time linear in both lengths' product.
func Like(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// holds compares; dates and addresses are compared as text.
func (c Condition) holds(context map[string]string) bool {
	op := strings.TrimPrefix(strings.TrimPrefix(c.Operator, "ForAnyValue:"), "ForAllValues:")
	op, ifExists := strings.CutSuffix(op, "IfExists")
	value, ok := "", false
	for k, v := range context {
		if strings.EqualFold(k, c.Key) {
			value, ok = v, true
		}
	}
	if op == "Null" {
		return slices.Contains(c.Values, "true") == !ok
	}
	negative := strings.Contains(op, "Not")
	if !ok {
		return negative || ifExists
	}
	fits := slices.ContainsFunc(c.Values, func(want string) bool {
		switch {
		case strings.HasPrefix(op, "Numeric"):
			return numeric(op, value, want)
		case strings.HasPrefix(op, "Arn"), strings.HasSuffix(op, "Like"):
			return Like(want, value)
		case strings.HasSuffix(op, "IgnoreCase"), op == "Bool":
			return strings.EqualFold(want, value)
		}
		return want == value
	})
	return fits != negative
}

// numeric compares two numbers; what isn't one never fits.
func numeric(op, value, want string) bool {
	a, err := strconv.ParseFloat(value, 64)
	b, err2 := strconv.ParseFloat(want, 64)
	if err != nil || err2 != nil {
		return false
	}
	switch strings.TrimPrefix(op, "Numeric") {
	case "LessThan":
		return a < b
	case "LessThanEquals":
		return a <= b
	case "GreaterThan":
		return a > b
	case "GreaterThanEquals":
		return a >= b
	}
	return a == b
}
