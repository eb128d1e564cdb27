package cfn

import "reflect"

// Policy is an IAM policy document, version 2012-10-17. It can stand in every
// JSON-typed property.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type Policy struct {
	ID        string
	Statement []Statement
}

// Statement is a statement of a [Policy]. An empty Effect means Allow.
type Statement struct {
	Sid          string
	Effect       Effect
	Principal    Principal
	NotPrincipal Principal
	Action       List[string]
	NotAction    List[string]
	Resource     List[string]
	NotResource  List[string]
	Condition    Conditions
}

// Effect is what a statement does.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Principal is who a statement speaks of. The zero Principal is absent, as in
// identity policies.
type Principal struct {
	Any       bool // "*"
	AWS       List[string]
	Service   List[string]
	Federated List[string]
}

// Conditions are condition operators, keys and values. A value is a literal, a
// slice of literals, a Value or a List.
type Conditions map[string]map[string]any

func (b *builder) policy(p Policy) any {
	out := map[string]any{"Version": "2012-10-17"}
	if p.ID != "" {
		out["Id"] = p.ID
	}
	if len(p.Statement) == 0 {
		b.fault("policy has no statement")
	}
	statements := make([]any, len(p.Statement))
	for i, s := range p.Statement {
		b.at(index("Statement", i), func() { statements[i] = b.statement(s) })
	}
	out["Statement"] = statements
	return out
}

func (b *builder) statement(s Statement) any {
	effect := s.Effect
	switch effect {
	case "":
		effect = Allow
	case Allow, Deny:
	default:
		b.fault("effect %q is neither Allow nor Deny", effect)
	}
	out := map[string]any{"Effect": string(effect)}
	if s.Sid != "" {
		out["Sid"] = s.Sid
	}
	if s.Action.IsZero() == s.NotAction.IsZero() {
		b.fault("statement wants one of Action and NotAction")
	}
	if !s.Resource.IsZero() && !s.NotResource.IsZero() {
		b.fault("statement has both Resource and NotResource")
	}
	for _, l := range []struct {
		name string
		list List[string]
	}{{"Action", s.Action}, {"NotAction", s.NotAction}, {"Resource", s.Resource}, {"NotResource", s.NotResource}} {
		b.oneOrMany(out, l.name, l.list)
	}
	b.principal(out, "Principal", s.Principal)
	b.principal(out, "NotPrincipal", s.NotPrincipal)
	if len(s.Condition) > 0 {
		b.at("Condition", func() { out["Condition"] = b.reflect(reflect.ValueOf(s.Condition), rule{}) })
	}
	return out
}

func (b *builder) principal(out map[string]any, name string, p Principal) {
	named := map[string]any{}
	b.at(name, func() {
		b.oneOrMany(named, "AWS", p.AWS)
		b.oneOrMany(named, "Service", p.Service)
		b.oneOrMany(named, "Federated", p.Federated)
	})
	switch {
	case p.Any && len(named) > 0:
		b.fault("%s names everybody and somebody", name)
	case p.Any:
		out[name] = "*"
	case len(named) > 0:
		out[name] = named
	}
}

// oneOrMany writes a list of one as its element: policies allow both, and the
// shorter one is what IAM itself shows.
func (b *builder) oneOrMany(out map[string]any, name string, l List[string]) {
	if l.IsZero() {
		return
	}
	b.at(name, func() {
		v := b.value(l.v, rule{})
		if items, ok := v.([]any); ok && len(items) == 0 {
			b.fault("list is empty")
		} else if ok && len(items) == 1 {
			v = items[0]
		}
		out[name] = v
	})
}
