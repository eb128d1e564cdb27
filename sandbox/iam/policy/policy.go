// Package policy reads IAM's policy language and answers whether a document
// allows a request.
//
// A [Document] is immutable once parsed, and may be shared. Messages of parse
// errors are IAM's; the service that was handed the document adds its own error
// code. [Document.Evaluate] decides by one document alone; which documents apply
// to a request and how their decisions join is the affair of package iam.
//
// Limits: actions and condition keys are not checked against the services'
// lists.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// Kind is what a policy is attached to, which decides its grammar.
type Kind int

// The kinds of policies.
const (
	Identity Kind = iota // of a role or user: no principal
	Trust                // of a role: who may assume it; no resource
	Resource             // of a bucket, key, topic: principal and resource
)

// Document is a policy.
type Document struct {
	Version, ID string
	Statements  []Statement
}

// Statement is one statement. Principals are by type ("AWS", "Service",
// "Federated", "CanonicalUser"); "*" alone is type "*".
type Statement struct {
	Sid                     string
	Allow                   bool
	Principals              map[string][]string
	NotPrincipals           map[string][]string
	Actions, NotActions     []string
	Resources, NotResources []string
	Conditions              []Condition

	compiled compiled
}

// compiled is a statement made ready to be compared.
type compiled struct {
	actions    []string
	resources  []pattern
	conditions []comparison
}

// ready compiles the statement's patterns.
func (s *Statement) ready(version string) {
	variables := version == "2012-10-17"
	for _, a := range slices.Concat(s.Actions, s.NotActions) {
		s.compiled.actions = append(s.compiled.actions, wildcards.Replace(a))
	}
	for _, r := range slices.Concat(s.Resources, s.NotResources) {
		s.compiled.resources = append(s.compiled.resources, compile(r, variables, true))
	}
	for _, c := range s.Conditions {
		s.compiled.conditions = append(s.compiled.conditions, compileCondition(c, variables))
	}
}

// Condition is one comparison of a statement: "StringEquals", a key and the
// values of which one must fit.
type Condition struct {
	Operator, Key string
	Values        []string
}

// Malformed is why a document isn't a policy, in IAM's words.
type Malformed string

func (m Malformed) Error() string { return string(m) }

func malformed(format string, args ...any) error { return Malformed(fmt.Sprintf(format, args...)) }

// Text is a document, given as JSON text or as a value, as JSON text.
func Text(doc any) (string, error) {
	if s, ok := doc.(string); ok {
		return s, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return "", fmt.Errorf("encode policy: %w", err)
	}
	return strings.TrimSpace(b.String()), nil
}

// Size is the number of characters that count against IAM's quotas: all but
// white space.
func Size(doc any) int {
	s, err := Text(doc)
	if err != nil {
		return 0
	}
	n := 0
	for _, c := range s {
		if !unicode.IsSpace(c) {
			n++
		}
	}
	return n
}

var sidPattern = regexp.MustCompile(`^[0-9A-Za-z]*$`)

// parsed keeps the documents that were read, since an account's are read again
// and again: by their text, and where they are values by the values.
var parsed struct {
	sync.Mutex
	texts  map[source]*Document
	values map[source]value
}

type source struct {
	kind  Kind
	text  string
	value uintptr
}

// value holds what a document was read from, so that nothing else gets its
// address.
type value struct {
	from map[string]any
	read *Document
}

// The bounds of what is kept: documents, and the length of one.
const (
	maxParsed = 2000
	maxKept   = 32 << 10
)

// Parse reads a document, given as JSON text or as a value, which must not be
// changed afterwards. What doesn't fit the grammar is [Malformed].
func Parse(doc any, kind Kind) (*Document, error) {
	from, _ := doc.(map[string]any)
	id := source{kind: kind, value: reflect.ValueOf(from).Pointer()}
	if from != nil {
		parsed.Lock()
		v := parsed.values[id]
		parsed.Unlock()
		if v.read != nil {
			return v.read, nil
		}
	}
	text, err := Text(doc)
	if err != nil {
		return nil, err
	}
	key := source{kind: kind, text: text}
	parsed.Lock()
	d := parsed.texts[key]
	parsed.Unlock()
	if d == nil {
		if d, err = parse(text, kind); err != nil || len(text) > maxKept {
			return d, err
		}
	}
	parsed.Lock()
	defer parsed.Unlock()
	if parsed.texts == nil || len(parsed.texts)+len(parsed.values) >= maxParsed {
		parsed.texts, parsed.values = map[source]*Document{}, map[source]value{}
	}
	parsed.texts[key] = d
	if from != nil {
		parsed.values[id] = value{from, d}
	}
	return d, nil
}

func parse(text string, kind Kind) (*Document, error) {
	var top map[string]any
	if err := json.Unmarshal([]byte(text), &top); err != nil {
		return nil, malformed("This policy contains invalid Json")
	}
	d := &Document{}
	for _, k := range slices.Sorted(maps.Keys(top)) {
		v := top[k]
		switch k {
		case "Version":
			d.Version, _ = v.(string)
			if d.Version != "2012-10-17" && d.Version != "2008-10-17" {
				return nil, malformed("Syntax errors in policy.")
			}
		case "Id":
			id, ok := v.(string)
			if !ok {
				return nil, malformed("Syntax errors in policy.")
			}
			d.ID = id
		case "Statement":
		default:
			return nil, malformed("Unknown field %s", k)
		}
	}
	if kind == Identity && d.Version != "2012-10-17" {
		return nil, malformed("Policy document must be version 2012-10-17 or greater.")
	}
	var statements []any
	switch s := top["Statement"].(type) {
	case []any:
		statements = s
	case map[string]any:
		statements = []any{s}
	}
	if len(statements) == 0 {
		return nil, malformed("Missing required field Statement")
	}
	sids := map[string]bool{}
	for _, s := range statements {
		m, ok := s.(map[string]any)
		if !ok {
			return nil, malformed("Syntax errors in policy.")
		}
		st, err := statement(m, kind)
		if err != nil {
			return nil, err
		}
		if st.Sid != "" && sids[st.Sid] {
			return nil, malformed("Statement IDs (SID) in a single policy must be unique.")
		}
		sids[st.Sid] = true
		st.ready(d.Version)
		d.Statements = append(d.Statements, st)
	}
	return d, nil
}

func statement(m map[string]any, kind Kind) (Statement, error) {
	var s Statement
	var err error
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := m[k]
		switch k {
		case "Sid":
			s.Sid, _ = v.(string)
			// Resource policies may have spaces in a Sid.
			if _, ok := v.(string); !ok || kind != Resource && !sidPattern.MatchString(s.Sid) {
				return s, malformed("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
			}
		case "Effect":
			if v != "Allow" && v != "Deny" {
				return s, malformed("Invalid effect: %v", v)
			}
			s.Allow = v == "Allow"
		case "Principal":
			s.Principals, err = principals(v)
		case "NotPrincipal":
			s.NotPrincipals, err = principals(v)
		case "Action":
			s.Actions, err = texts(v)
		case "NotAction":
			s.NotActions, err = texts(v)
		case "Resource":
			s.Resources, err = texts(v)
		case "NotResource":
			s.NotResources, err = texts(v)
		case "Condition":
			s.Conditions, err = conditions(v)
		default:
			return s, malformed("Unknown field %s", k)
		}
		if err != nil {
			return s, err
		}
	}
	if m["Effect"] == nil {
		return s, malformed("Missing required field Effect")
	}
	if len(s.Actions) == 0 && len(s.NotActions) == 0 {
		return s, malformed("Policy statement must contain actions.")
	}
	if len(s.Actions) > 0 && len(s.NotActions) > 0 || len(s.Resources) > 0 && len(s.NotResources) > 0 || s.Principals != nil && s.NotPrincipals != nil {
		return s, malformed("Syntax errors in policy.")
	}
	for _, a := range slices.Concat(s.Actions, s.NotActions) {
		if vendor, name, ok := strings.Cut(a, ":"); a != "*" && (!ok || vendor == "" || name == "") {
			return s, malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
		}
	}
	principal := s.Principals != nil || s.NotPrincipals != nil
	resources := slices.Concat(s.Resources, s.NotResources)
	switch {
	case kind == Identity && principal:
		return s, malformed("Policy document should not specify a principal.")
	case kind != Identity && !principal:
		return s, malformed("Missing required field Principal")
	case kind == Trust && len(resources) > 0:
		return s, malformed("Has prohibited field Resource")
	case kind != Trust && len(resources) == 0:
		return s, malformed("Policy statement must contain resources.")
	}
	for _, r := range resources {
		if r != "*" && !strings.HasPrefix(r, "arn:") {
			return s, malformed("Resource %s must be in ARN format or \"*\".", r)
		}
	}
	return s, nil
}

// texts reads what may be one text or a list of texts.
func texts(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		var out []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, malformed("Syntax errors in policy.")
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, malformed("Syntax errors in policy.")
}

func principals(v any) (map[string][]string, error) {
	switch v := v.(type) {
	case string:
		if v == "*" {
			return map[string][]string{"*": {"*"}}, nil
		}
	case map[string]any:
		out := map[string][]string{}
		for k, x := range v {
			if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, k) {
				return nil, malformed("Invalid principal in policy: %q:%q", strings.ToUpper(k), fmt.Sprint(x))
			}
			list, err := texts(x)
			if err != nil {
				return nil, err
			}
			out[k] = list
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, malformed("Invalid principal in policy.")
}

// operators are the condition operators.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
var operators = regexp.MustCompile(`^(ForAnyValue:|ForAllValues:)?(String(Equals|NotEquals|EqualsIgnoreCase|NotEqualsIgnoreCase|Like|NotLike)|Numeric(Equals|NotEquals|LessThan|LessThanEquals|GreaterThan|GreaterThanEquals)|Date(Equals|NotEquals|LessThan|LessThanEquals|GreaterThan|GreaterThanEquals)|Bool|BinaryEquals|(Not)?IpAddress|Arn(Equals|Like|NotEquals|NotLike)|Null)(IfExists)?$`)

func conditions(v any) ([]Condition, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, malformed("Syntax errors in policy.")
	}
	var out []Condition
	for _, op := range slices.Sorted(maps.Keys(m)) {
		if !operators.MatchString(op) {
			return nil, malformed("Invalid Condition type : %s.", op)
		}
		keys, ok := m[op].(map[string]any)
		if !ok {
			return nil, malformed("Syntax errors in policy.")
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if !strings.Contains(k, ":") {
				return nil, malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
			}
			var values []string
			list, ok := keys[k].([]any)
			if !ok {
				list = []any{keys[k]}
			}
			for _, x := range list {
				switch x := x.(type) {
				case string, bool:
					values = append(values, fmt.Sprint(x))
				case float64:
					values = append(values, strconv.FormatFloat(x, 'f', -1, 64))
				default:
					return nil, malformed("Syntax errors in policy.")
				}
			}
			out = append(out, Condition{Operator: op, Key: k, Values: values})
		}
	}
	return out, nil
}
