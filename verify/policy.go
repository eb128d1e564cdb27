package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// policy is a policy document in one form, whichever of the equal ways of
// writing it its author or AWS chose: percent-encoded or not, one value or a
// list, names of actions and condition keys in any case.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type policy []statement

// statement is a statement of a policy. Lists that the document leaves out are
// nil.
type statement struct {
	sid   string
	allow bool
	// principals are those the statement speaks of; notPrincipals those that
	// it does not, in place of them. Identity policies have neither.
	principals, notPrincipals []principal
	// actions are in lower case.
	actions, notActions     []string
	resources, notResources []string
	// conditions all have to hold.
	conditions []condition
}

// principal is who a statement speaks of. Everybody is of kind "AWS" with the
// id "*", also where the document has just "*".
type principal struct {
	kind string // "AWS", "Service", "Federated" or "CanonicalUser"
	id   string
}

// condition is one test of a statement. The key is in lower case, the operator
// as written: "StringEquals", "ForAnyValue:StringLike".
type condition struct {
	operator, key string
	values        []string
}

// readPolicy reads a document as a service answers it.
func readPolicy(text string) (policy, error) {
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
	p := policy{}
	for _, s := range doc.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, fmt.Errorf("read a policy document: statement %q has the effect %q", s.Sid, s.Effect)
		}
		out := statement{
			sid: s.Sid, allow: s.Effect == "Allow",
			principals: s.Principal, notPrincipals: s.NotPrincipal,
			actions: lower(s.Action), notActions: lower(s.NotAction),
			resources: s.Resource, notResources: s.NotResource,
		}
		for _, op := range sortedKeys(s.Condition) {
			for _, key := range sortedKeys(s.Condition[op]) {
				c := condition{operator: op, key: strings.ToLower(key)}
				for _, v := range s.Condition[op][key] {
					c.values = append(c.values, string(v))
				}
				out.conditions = append(out.conditions, c)
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
type principals []principal

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
	for _, kind := range sortedKeys(kinds) {
		for _, id := range kinds[kind] {
			*p = append(*p, principal{kind, id})
		}
	}
	return nil
}

// String is a principal for people.
func (p principal) String() string {
	if p.everybody() {
		return "everybody"
	}
	return p.id
}

// everybody tells whether it stands for anybody at all.
func (p principal) everybody() bool { return p.kind == "AWS" && p.id == "*" }

// account is the number of the account that a principal of kind "AWS" belongs
// to. It is empty for others, for everybody, and for the unique id that AWS
// shows in place of a user or role that is gone.
func (p principal) account() string {
	if p.kind != "AWS" {
		return ""
	}
	id := p.id
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

// root tells whether it is an account itself, that is everybody whom that
// account's own policies let, written as an ARN or as its number.
func (p principal) root() bool {
	return p.account() != "" && (!strings.HasPrefix(p.id, "arn:") || strings.HasSuffix(p.id, ":root"))
}

// everybody tells whether a statement speaks of anybody at all, be it with
// exceptions.
func (s statement) everybody() bool {
	return s.notPrincipals != nil || slices.ContainsFunc(s.principals, principal.everybody)
}

// covers tells whether a statement speaks of an action such as "s3:GetObject".
func (s statement) covers(action string) bool {
	action = strings.ToLower(action)
	like := func(pattern string) bool { return wild(pattern, action) }
	if s.notActions != nil {
		return !slices.ContainsFunc(s.notActions, like)
	}
	return slices.ContainsFunc(s.actions, like)
}

// on tells whether a statement speaks of a resource, which it does also where
// it names none, as trust policies do.
func (s statement) on(resource string) bool {
	like := func(pattern string) bool { return wild(pattern, resource) }
	switch {
	case s.notResources != nil:
		return !slices.ContainsFunc(s.notResources, like)
	case s.resources != nil:
		return slices.ContainsFunc(s.resources, like)
	}
	return true
}

// wants are the values that a condition of one of the operators asks for at a
// key, or nil. A "...IfExists" operator is another one: it asks for nothing
// where the key is missing.
func (s statement) wants(key string, operators ...string) []string {
	for _, c := range s.conditions {
		if c.key == strings.ToLower(key) && slices.Contains(operators, c.operator) {
			return c.values
		}
	}
	return nil
}

// public tells whether a statement lets anybody at all do something: it allows
// everybody and has no condition that binds it to an account, a network or
// known resources.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
func (s statement) public() bool {
	return s.allow && s.everybody() && !slices.ContainsFunc(s.conditions, condition.binds)
}

// binding are the keys of requests that say where a request comes from and that
// nobody chooses freely.
var binding = []string{
	"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:sourceaccount", "aws:sourcearn",
	"aws:sourceip", "aws:sourceorgid", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce", "aws:userid",
	"kms:calleraccount", "kms:viaservice", "s3:dataaccesspointaccount", "s3:dataaccesspointarn",
}

func (c condition) binds() bool {
	return slices.Contains(binding, c.key) &&
		!strings.Contains(c.operator, "Not") && !strings.HasSuffix(c.operator, "IfExists") && c.operator != "Null" &&
		!slices.ContainsFunc(c.values, func(v string) bool {
			return strings.Trim(v, "*:") == "" || strings.HasSuffix(v, "/0")
		})
}

// allowed are all whom a policy allows anything, each once.
func (p policy) allowed() []principal {
	var out []principal
	for _, s := range p {
		if !s.allow {
			continue
		}
		who := s.principals
		if s.notPrincipals != nil {
			who = []principal{{"AWS", "*"}}
		}
		for _, one := range who {
			if !slices.Contains(out, one) {
				out = append(out, one)
			}
		}
	}
	return out
}

// wild tells whether text is like a pattern, in which "*" is any text and "?"
// any one byte. It takes time in proportion to the lengths of both.
func wild(pattern, text string) bool {
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

// refusesAll tells whether a statement denies an action on a resource to
// everybody without exception, in whatever conditions it has.
func (s statement) refusesAll(action, resource string) bool {
	return !s.allow && s.everybody() && s.notPrincipals == nil && s.covers(action) && s.on(resource)
}

// names tells whether a condition binds requests to an account: all its values
// are the account's number or ARNs in it.
func (c condition) names(account string) bool {
	return c.binds() && len(c.values) > 0 && !slices.ContainsFunc(c.values, func(v string) bool {
		return v != account && !strings.Contains(v, ":"+account+":")
	})
}

// strangers are those whom a policy allows something, for people, and who are
// neither this account, one of its principals, nor one of the services. A service
// counts as known only where a condition binds it to this account.
func (l *look) strangers(p policy, services ...string) []string {
	var out []string
	for _, s := range p {
		if !s.allow {
			continue
		}
		bound := slices.ContainsFunc(s.conditions, func(c condition) bool { return c.names(l.id.Account) })
		who := s.principals
		if s.notPrincipals != nil {
			who = []principal{{"AWS", "*"}}
		}
		for _, one := range who {
			var name string
			switch {
			case one.kind == "Service" && !slices.Contains(services, one.id):
				name = one.id
			case one.kind == "Service" && !bound:
				name = one.id + " for any account"
			case one.kind == "Service", one.account() == l.id.Account, one.everybody() && bound:
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
