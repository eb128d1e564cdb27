package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
)

// MaxPolicy is how many characters a managed policy may have, white space
// apart, and MaxPolicies how many of them a role may have attached unless its
// quota was raised.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	MaxPolicy   = 6144
	MaxPolicies = 10
)

// Grant is a line of a policy: an action on a resource, and why it is there.
type Grant struct {
	// Source is the surest of those that ask for it.
	Source   Source `json:"source"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
	// Conditions are equalities, by condition key.
	Conditions map[string][]string `json:"conditions,omitempty"`
	// Causes are what asked for it.
	Causes []string `json:"causes"`
}

// Options say how to write policies.
type Options struct {
	// Name is the deployment's: three or more resources of an action whose names
	// begin with it, before a hyphen or a slash, become one pattern. Empty
	// leaves all as they are.
	Name string
	// Tags are conditions to put where AWS supports it: permissions on
	// resources that had them whenever they were asked for are limited to
	// resources that have them.
	Tags map[string]string
}

// Grants are what a principal needs, for any deployment of the same names: ids
// that only AWS knows are asterisks. They are sorted.
func Grants(permissions []Permission, principal string, o Options) []Grant {
	facts, err := access.Load()
	if err != nil {
		// The facts are embedded, and a test decodes them.
		return nil
	}
	type line struct{ action, resource string }
	found := map[line]*Grant{}
	account := policy.AccountOf(principal)
	names := patterns(permissions, principal, o.Name)
	for _, p := range permissions {
		if p.Principal != principal {
			continue
		}
		k := line{p.Action, General(p.Resource, account)}
		if pattern, ok := names[k.action][k.resource]; ok {
			k.resource = pattern
		}
		conditions := conditionsOf(facts, p, k.resource, o)
		g := found[k]
		if g == nil {
			g = &Grant{Source: p.Source, Action: k.action, Resource: k.resource, Conditions: conditions}
			found[k] = g
		} else {
			g.Conditions = common(g.Conditions, conditions)
		}
		if rank(p.Source) < rank(g.Source) {
			g.Source = p.Source
		}
		if !slices.Contains(g.Causes, p.Cause) {
			g.Causes = append(g.Causes, p.Cause)
		}
	}
	out := make([]Grant, 0, len(found))
	for _, g := range found {
		slices.Sort(g.Causes)
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(rank(a.Source), rank(b.Source)), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource, b.Resource))
	})
	return out
}

// patterns are what stands for resources, by action.
func patterns(permissions []Permission, principal, name string) map[string]map[string]string {
	const enough = 3
	out := map[string]map[string]string{}
	if name == "" {
		return out
	}
	named := regexp.MustCompile(`^(.*[:/]` + regexp.QuoteMeta(name) + `[-/])[^:]+$`)
	account := policy.AccountOf(principal)
	alike := map[string]map[string][]string{}
	for _, p := range permissions {
		if p.Principal != principal {
			continue
		}
		resource := General(p.Resource, account)
		m := named.FindStringSubmatch(resource)
		if m == nil {
			continue
		}
		if alike[p.Action] == nil {
			alike[p.Action] = map[string][]string{}
		}
		if l := alike[p.Action][m[1]]; !slices.Contains(l, resource) {
			alike[p.Action][m[1]] = append(l, resource)
		}
	}
	for action, heads := range alike {
		out[action] = map[string]string{}
		for head, resources := range heads {
			for _, r := range resources {
				if len(resources) >= enough {
					out[action][r] = head + "*"
				}
			}
		}
	}
	return out
}

func rank(s Source) int { return slices.Index([]Source{Recorded, Published, Assumed}, s) }

// conditionsOf are the conditions that a permission's line can have.
func conditionsOf(facts *access.Facts, p Permission, resource string, o Options) map[string][]string {
	out := map[string][]string{}
	if s, ok := p.Always["iam:PassedToService"]; ok {
		out["iam:PassedToService"] = []string{s}
	}
	if !strings.Contains(resource, "*") {
		return out
	}
	for k, v := range o.Tags {
		key := "aws:ResourceTag/" + k
		if p.Always[key] == v && facts.Tests(p.Action, key) {
			out[key] = []string{v}
		}
	}
	return out
}

// common are the conditions that hold for both: values of the same key join.
func common(a, b map[string][]string) map[string][]string {
	out := map[string][]string{}
	for k, v := range a {
		if w, ok := b[k]; ok {
			l := slices.Concat(v, w)
			slices.Sort(l)
			out[k] = slices.Compact(l)
		}
	}
	return out
}

// generated are ids that only AWS knows, in ARNs.
var generated = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "*"},
	{regexp.MustCompile(`(/|\|)(acl|ami|cr|eipalloc|eni|fl|i|igw|lt|nat|pl|rtb|sg|sgr|subnet|tgw|tgw-attach|vgw|vol|vpc|vpce)-[0-9a-f]{8,17}\b`), "$1*"},
	{regexp.MustCompile(`:(snapshot|auto-backup|recovery-point):[^*]*[0-9a-f]{16,}.*$`), ":$1:*"},
	{regexp.MustCompile(`:secret:rds!db-.*$`), ":secret:rds!db-*"},
	{regexp.MustCompile(`(:secret:.*)-[0-9A-Za-z]{6}$`), "$1-??????"},
	{regexp.MustCompile(`/[0-9a-f]{16}\b`), "/*"},
	{regexp.MustCompile(`/id/[0-9A-F]{32}`), "/id/*"},
	{regexp.MustCompile(`:(hostedzone|change)/[0-9A-Z]{10,}`), ":$1/*"},
	{regexp.MustCompile(`:session/.*$`), ":session/*"},
	{regexp.MustCompile(`:log-stream:$`), ":*"},
	{regexp.MustCompile(`(:s3:::[^/]+)/.*$`), "$1/*"},
	{regexp.MustCompile(`\*+`), "*"},
}

// General is a resource's ARN with asterisks for what another deployment of the
// same names would have otherwise: ids that AWS gives, and keys of objects. The
// id of the account is part of names, and looks like one that AWS gave.
func General(resource, account string) string {
	if !strings.HasPrefix(resource, "arn:") {
		return resource
	}
	for _, g := range generated {
		resource = g.form.ReplaceAllString(resource, g.with)
	}
	return suffix.ReplaceAllStringFunc(resource, func(s string) string {
		if s == "-"+account {
			return s
		}
		return "-*"
	})
}

// suffix are the characters by which CloudFormation, and names made of a
// stack's id, differ from others.
var suffix = regexp.MustCompile(`-([0-9A-F]{12}|[0-9a-f]{12})\b`)

// Statement is a statement of a policy.
type Statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// Document is a policy.
type Document struct {
	Version   string
	Statement []Statement
}

// JSON is the policy as AWS takes it.
func (d Document) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return b.Bytes(), nil
}

// Size is how many characters of it count.
func (d Document) Size() int {
	body, err := d.JSON()
	if err != nil {
		return 0
	}
	return len(bytes.Join(bytes.Fields(body), nil))
}

// Policies are documents that allow the grants and nothing else, each within
// AWS's limit. The Sid of a statement says how its lines are known.
func Policies(grants []Grant) []Document {
	statements := statementsOf(grants)
	// Sids get a number once it is known what comes together.
	const number = len("99")
	var out []Document
	current := Document{Version: "2012-10-17"}
	for _, s := range statements {
		for _, part := range split(s) {
			next := Document{Version: current.Version, Statement: append(slices.Clone(current.Statement), part)}
			if next.Size()+number*len(next.Statement) > MaxPolicy && len(current.Statement) > 0 {
				out = append(out, current)
				next = Document{Version: current.Version, Statement: []Statement{part}}
			}
			current = next
		}
	}
	if len(current.Statement) > 0 {
		out = append(out, current)
	}
	for i := range out {
		count := map[string]int{}
		for k := range out[i].Statement {
			s := &out[i].Statement[k]
			count[s.Sid]++
			s.Sid = fmt.Sprintf("%s%d", s.Sid, count[s.Sid])
		}
	}
	return out
}

// statementsOf joins grants that are alike: first the resources of an action,
// then the actions on the same resources.
func statementsOf(grants []Grant) []Statement {
	type part struct{ sid, action, condition string }
	resources := map[part][]string{}
	conditions := map[string]map[string]map[string][]string{}
	var order []part
	for _, g := range grants {
		c := condition(g.Conditions)
		text := ""
		if c != nil {
			body, err := json.Marshal(c)
			if err != nil {
				// Maps of strings always marshal.
				continue
			}
			text = string(body)
		}
		conditions[text] = c
		p := part{title(g.Source), g.Action, text}
		if resources[p] == nil {
			order = append(order, p)
		}
		resources[p] = append(resources[p], g.Resource)
	}
	type alike struct{ sid, condition, resources string }
	joined := map[alike]*Statement{}
	var out []*Statement
	for _, p := range order {
		l := covered(resources[p])
		k := alike{p.sid, p.condition, strings.Join(l, " ")}
		s := joined[k]
		if s == nil {
			s = &Statement{Sid: p.sid, Effect: "Allow", Resource: l, Condition: conditions[p.condition]}
			joined[k] = s
			out = append(out, s)
		}
		s.Action = append(s.Action, p.action)
	}
	statements := make([]Statement, 0, len(out))
	for _, s := range out {
		statements = append(statements, *s)
	}
	return statements
}

func title(s Source) string { return strings.ToUpper(string(s[:1])) + string(s[1:]) }

func condition(equal map[string][]string) map[string]map[string][]string {
	if len(equal) == 0 {
		return nil
	}
	return map[string]map[string][]string{"StringEquals": maps.Clone(equal)}
}

// covered leaves out what another pattern of the list matches already.
func covered(resources []string) []string {
	slices.Sort(resources)
	resources = slices.Compact(resources)
	return slices.DeleteFunc(slices.Clone(resources), func(r string) bool {
		return slices.ContainsFunc(resources, func(p string) bool { return p != r && strings.Contains(p, "*") && policy.Like(p, r) })
	})
}

// split cuts a statement that is too long for a policy of its own.
func split(s Statement) []Statement {
	d := Document{Version: "2012-10-17", Statement: []Statement{s}}
	// Sids get a number.
	const room = 8
	if d.Size()+room <= MaxPolicy {
		return []Statement{s}
	}
	a, b := s, s
	if len(s.Resource) > len(s.Action) {
		a.Resource, b.Resource = s.Resource[:len(s.Resource)/2], s.Resource[len(s.Resource)/2:]
	} else {
		a.Action, b.Action = s.Action[:len(s.Action)/2], s.Action[len(s.Action)/2:]
	}
	if len(a.Resource) == 0 || len(a.Action) == 0 {
		return []Statement{s}
	}
	return append(split(a), split(b)...)
}
