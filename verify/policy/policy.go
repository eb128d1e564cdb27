// Package policy reads policy documents of AWS and answers what they say, to whom
// and on what conditions.
//
// Invariants: equal documents read equal, however they are written. It is pure:
// values in, values out.
//
// Limits: documents are read, not simulated. What several policies come to
// together is not known here.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Document is a policy document in one form, whichever of the equal ways of
// writing it its author or AWS chose: percent-encoded or not, one value or a
// list, names of actions and condition keys in any case.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type Document []Statement

// Statement is a statement of a policy. Lists that the document leaves out are
// nil.
type Statement struct {
	SID   string
	Allow bool
	// Principals are those the statement speaks of; notPrincipals those that
	// it does not, in place of them. Identity policies have neither.
	Principals, NotPrincipals []Principal
	// Actions are in lower case.
	Actions, NotActions     []string
	Resources, NotResources []string
	// Conditions all have to hold.
	Conditions []Condition
}

// Principal is who a statement speaks of. Everybody is of kind "AWS" with the
// id "*", also where the document has just "*".
type Principal struct {
	Kind string // "AWS", "Service", "Federated" or "CanonicalUser"
	ID   string
}

// Condition is one test of a statement. The key is in lower case, the operator
// as written: "StringEquals", "ForAnyValue:StringLike".
type Condition struct {
	Operator, Key string
	Values        []string
}

// Read reads a document as a service answers it.
func Read(text string) (Document, error) {
	if strings.HasPrefix(text, "%") {
		// IAM's answers are encoded as RFC 3986 has it, where "+" is itself.
		plain, err := url.PathUnescape(text)
		if err != nil {
			return nil, fmt.Errorf("read a policy document: %w", err)
		}
		text = plain
	}
	var doc struct {
		Statement oneOrMany[struct {
			Sid, Effect             string
			Principal, NotPrincipal principals
			Action, NotAction       oneOrMany[string]
			Resource, NotResource   oneOrMany[string]
			Condition               map[string]map[string]oneOrMany[scalar]
		}]
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("read a policy document: %w", err)
	}
	p := Document{}
	for _, s := range doc.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, fmt.Errorf("read a policy document: statement %q has the effect %q", s.Sid, s.Effect)
		}
		out := Statement{
			SID: s.Sid, Allow: s.Effect == "Allow",
			Principals: s.Principal, NotPrincipals: s.NotPrincipal,
			Actions: lower(s.Action), NotActions: lower(s.NotAction),
			Resources: s.Resource, NotResources: s.NotResource,
		}
		for _, op := range slices.Sorted(maps.Keys(s.Condition)) {
			for _, key := range slices.Sorted(maps.Keys(s.Condition[op])) {
				c := Condition{Operator: op, Key: strings.ToLower(key)}
				for _, v := range s.Condition[op][key] {
					c.Values = append(c.Values, string(v))
				}
				out.Conditions = append(out.Conditions, c)
			}
		}
		p = append(p, out)
	}
	return p, nil
}

func lower(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, strings.ToLower(s))
	}
	return out
}

// oneOrMany is a list that may be written as its only element.
type oneOrMany[T any] []T

func (l *oneOrMany[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]T)(l))
	}
	var one T
	if err := json.Unmarshal(text, &one); err != nil {
		return err
	}
	*l = []T{one}
	return nil
}

// scalar is a value of a condition, which may be written as a string, a number
// or a truth value.
type scalar string

func (s *scalar) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte(`"`)) {
		return json.Unmarshal(text, (*string)(s))
	}
	if bytes.ContainsAny(text[:1], "{[") {
		return fmt.Errorf("%s is no value of a condition", text)
	}
	*s = scalar(text)
	return nil
}

// principals is "*" or a list for each kind.
type principals []Principal

func (p *principals) UnmarshalJSON(text []byte) error {
	*p = principals{}
	if bytes.HasPrefix(text, []byte(`"`)) {
		var all string
		if err := json.Unmarshal(text, &all); err != nil {
			return err
		}
		if all != "*" {
			return fmt.Errorf("the principal %q is of no kind", all)
		}
		*p = principals{{"AWS", "*"}}
		return nil
	}
	var kinds map[string]oneOrMany[string]
	if err := json.Unmarshal(text, &kinds); err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, id := range kinds[kind] {
			*p = append(*p, Principal{kind, id})
		}
	}
	return nil
}

// String is a principal for people.
func (p Principal) String() string {
	if p.everybody() {
		return "everybody"
	}
	return p.ID
}

// everybody tells whether it stands for anybody at all.
func (p Principal) everybody() bool { return p.Kind == "AWS" && p.ID == "*" }

// Account is the number of the account that a principal of kind "AWS" belongs
// to. It is empty for others, for everybody, and for the unique id that AWS
// shows in place of a user or role that is gone.
func (p Principal) Account() string {
	if p.Kind != "AWS" {
		return ""
	}
	id := p.ID
	if strings.HasPrefix(id, "arn:") {
		parts := strings.SplitN(id, ":", 6)
		if len(parts) < 6 {
			return ""
		}
		id = parts[4]
	}
	if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
		return ""
	}
	return id
}

// Root tells whether it is an account itself, that is everybody whom that
// account's own policies let, written as an ARN or as its number.
func (p Principal) Root() bool {
	return p.Account() != "" && (!strings.HasPrefix(p.ID, "arn:") || strings.HasSuffix(p.ID, ":root"))
}

// Everybody tells whether a statement speaks of anybody at all, be it with
// exceptions.
func (s Statement) Everybody() bool {
	return s.NotPrincipals != nil || slices.ContainsFunc(s.Principals, Principal.everybody)
}

// Covers tells whether a statement speaks of an action such as "s3:GetObject".
func (s Statement) Covers(action string) bool {
	action = strings.ToLower(action)
	like := func(pattern string) bool { return Wild(pattern, action) }
	if s.NotActions != nil {
		return !slices.ContainsFunc(s.NotActions, like)
	}
	return slices.ContainsFunc(s.Actions, like)
}

// On tells whether a statement speaks of a resource, which it does also where
// it names none, as trust policies do.
func (s Statement) On(resource string) bool {
	like := func(pattern string) bool { return Wild(pattern, resource) }
	switch {
	case s.NotResources != nil:
		return !slices.ContainsFunc(s.NotResources, like)
	case s.Resources != nil:
		return slices.ContainsFunc(s.Resources, like)
	}
	return true
}

// Wants are the values that a condition of one of the operators asks for at a
// key, or nil. A "...IfExists" operator is another one: it asks for nothing
// where the key is missing.
func (s Statement) Wants(key string, operators ...string) []string {
	for _, c := range s.Conditions {
		if c.Key == strings.ToLower(key) && slices.Contains(operators, c.Operator) {
			return c.Values
		}
	}
	return nil
}

// Public tells whether a statement lets anybody at all do something: it allows
// everybody and has no condition that binds it to an account, a network or
// known resources.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
func (s Statement) Public() bool {
	return s.Allow && s.Everybody() && !slices.ContainsFunc(s.Conditions, Condition.binds)
}

// binding are the keys of requests that say where a request comes from and that
// nobody chooses freely.
var binding = []string{
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:sourceaccount", "aws:sourcearn",
	"aws:sourceip", "aws:sourceorgid", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce", "aws:userid",
	"kms:calleraccount", "kms:viaservice", "s3:dataaccesspointaccount", "s3:dataaccesspointarn",
}

func (c Condition) binds() bool {
	return slices.Contains(binding, c.Key) &&
		!strings.Contains(c.Operator, "Not") && !strings.HasSuffix(c.Operator, "IfExists") && c.Operator != "Null" &&
		!slices.ContainsFunc(c.Values, func(v string) bool {
			return strings.Trim(v, "*:") == "" || strings.HasSuffix(v, "/0")
		})
}

// Allowed are all whom a policy allows anything, each once.
func (p Document) Allowed() []Principal {
	var out []Principal
	for _, s := range p {
		if !s.Allow {
			continue
		}
		who := s.Principals
		if s.NotPrincipals != nil {
			who = []Principal{{"AWS", "*"}}
		}
		for _, one := range who {
			if !slices.Contains(out, one) {
				out = append(out, one)
			}
		}
	}
	return out
}

// Wild tells whether text is like a pattern, in which "*" is any text and "?"
// any one byte. It takes time in proportion to the lengths of both.
func Wild(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// RefusesAll tells whether a statement denies an action on a resource to
// everybody without exception, in whatever conditions it has.
func (s Statement) RefusesAll(action, resource string) bool {
	return !s.Allow && s.Everybody() && s.NotPrincipals == nil && s.Covers(action) && s.On(resource)
}

// names tells whether a condition binds requests to an account: all its values
// are the account's number or ARNs in it.
func (c Condition) names(account string) bool {
	return c.binds() && len(c.Values) > 0 && !slices.ContainsFunc(c.Values, func(v string) bool {
		return v != account && !strings.Contains(v, ":"+account+":")
	})
}

// Strangers are those whom a policy allows something, for people, and who are
// neither the account, one of its principals, nor one of the services. A service
// counts as known only where a condition binds it to the account.
func (p Document) Strangers(account string, services ...string) []string {
	var out []string
	for _, s := range p {
		if !s.Allow {
			continue
		}
		bound := slices.ContainsFunc(s.Conditions, func(c Condition) bool { return c.names(account) })
		who := s.Principals
		if s.NotPrincipals != nil {
			who = []Principal{{"AWS", "*"}}
		}
		for _, one := range who {
			var name string
			switch {
			case one.Kind == "Service" && !slices.Contains(services, one.ID):
				name = one.ID
			case one.Kind == "Service" && !bound:
				name = one.ID + " for any account"
			case one.Kind == "Service", one.Account() == account, one.everybody() && bound:
				continue
			default:
				name = one.String()
			}
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
