package iam

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Simulation asks what policies would decide, for each action on each resource.
type Simulation struct {
	// Source is the ARN of the user or role whose policies count; "" takes none
	// but those given.
	Source string
	// Policies count beside the source's, and Boundaries in place of its
	// permissions boundary, if there are any: JSON text.
	Policies, Boundaries []string
	// Resource is the text of a policy of the resources, which makes Caller, or
	// else Source, the principal that it is asked for.
	Resource, Caller   string
	Actions, Resources []string
	Context            map[string][]string
}

// Result is the decision for one action on one resource.
type Result struct {
	Action, Resource string
	// Decision is allowed, implicitDeny or explicitDeny.
	Decision string
	// Matched are the statements that decided, and Missing the condition keys
	// that statements ask for and that were not given.
	Matched []Matched
	Missing []string
	// Bounded tells whether the boundary allows it; nil without a boundary.
	Bounded *bool
}

// Matched is a statement that fits a simulated request.
type Matched struct {
	ID, Source string
	Start, End policy.Position
}

// sourced is a policy with its text, for positions.
type sourced struct {
	attached
	text string
}

// Simulate decides as [Permit] does, with the condition keys that are given and
// no others. Errors are IAM's.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
func Simulate(tx *account.Tx, s Simulation) ([]Result, error) {
	p := principal{kind: user, arn: s.Caller}
	var policies []sourced
	var limit *sourced
	if s.Source != "" {
		e := RoleByARN(tx, s.Source)
		if e == nil {
			if u := tx.Get(TypeUser, s.Source[strings.LastIndexByte(s.Source, '/')+1:]); u != nil && props.Str(u.Attrs, "Arn") == s.Source {
				e = u
			}
		}
		if e == nil {
			return nil, errorf("NoSuchEntity", "The entity with name %s cannot be found.", s.Source[strings.LastIndexByte(s.Source, '/')+1:])
		}
		if p.arn == "" {
			p = identify(tx, s.Source)
		}
		for _, a := range identityPolicies(tx, e) {
			policies = append(policies, withText(tx, e, a))
		}
		if b := boundary(tx, e); b != nil {
			x := withText(tx, e, *b)
			limit = &x
		}
	}
	if p.arn != "" {
		p = identify(tx, p.arn)
	}
	custom, err := inputs(s.Policies, "PolicyInputList", policy.Identity)
	if err != nil {
		return nil, err
	}
	policies = append(policies, custom...)
	bounds, err := inputs(s.Boundaries, "PermissionsBoundaryPolicyInputList", policy.Identity)
	if err != nil {
		return nil, err
	}
	if len(bounds) > 1 {
		return nil, errorf("InvalidInput", "Only one permissions boundary policy can be given.")
	} else if len(bounds) == 1 {
		limit = &bounds[0]
	}
	var resource []sourced
	if s.Resource != "" {
		if p.arn == "" {
			return nil, errorf("InvalidInput", "CallerArn is required when you specify a ResourcePolicy.")
		}
		if resource, err = inputs([]string{s.Resource}, "ResourcePolicy", policy.Resource); err != nil {
			return nil, err
		}
	}
	resources := s.Resources
	if len(resources) == 0 {
		resources = everything
	}
	keys := policy.Keys{}
	for k, v := range s.Context {
		keys[strings.ToLower(k)] = v
	}
	var out []Result
	for _, action := range s.Actions {
		if vendor, name, ok := strings.Cut(action, ":"); !ok || vendor == "" || name == "" || strings.ContainsAny(action, "*?") {
			return nil, errorf("InvalidInput", "Invalid Action Name: %s", action)
		}
		for _, on := range resources {
			r := policy.Request{Type: "AWS", Principal: p.arn, Role: p.role, Action: action, Resource: on, Context: keys}
			one, err := simulate(&r, p.kind, policies, limit, resource)
			if err != nil {
				return nil, err
			}
			out = append(out, one)
		}
	}
	return out, nil
}

func simulate(r *policy.Request, k kind, policies []sourced, limit *sourced, resource []sourced) (Result, error) {
	var a applying
	for _, p := range policies {
		a.identity = append(a.identity, p.attached)
	}
	if limit != nil {
		a.boundary = &limit.attached
	}
	for _, p := range resource {
		a.resource = append(a.resource, p.doc)
	}
	v := decide(r, k, &a)
	if v.unknown != "" {
		return Result{}, account.NotModelled("the text of the policy %s is not modelled by the sandbox", v.unknown)
	}
	out := Result{Action: r.Action, Resource: r.Resource, Decision: "implicitDeny"}
	switch {
	case v.allowed:
		out.Decision = "allowed"
	case v.explicit:
		out.Decision = "explicitDeny"
	}
	all := slices.Concat(policies, resource)
	if limit != nil {
		d := limit.doc.Evaluate(r)
		bounded := d.Allowed()
		out.Bounded = &bounded
		all = append(all, *limit)
	}
	for _, p := range all {
		if p.doc == nil {
			continue
		}
		for _, key := range p.doc.Missing(r) {
			if !slices.Contains(out.Missing, key) {
				out.Missing = append(out.Missing, key)
			}
		}
		// Statements that allow decide nothing where one denies, and those of a
		// boundary never decide to allow.
		spans := policy.Spans(p.text)
		for _, i := range p.doc.Matching(r) {
			if st := p.doc.Statements[i]; st.Allow == v.explicit || st.Allow && !v.allowed || limit != nil && p.doc == limit.doc && st.Allow {
				continue
			}
			m := Matched{ID: p.id, Source: p.source}
			if i < len(spans) {
				m.Start, m.End = spans[i][0], spans[i][1]
			}
			out.Matched = append(out.Matched, m)
		}
	}
	return out, nil
}

// withText finds the text of a policy of a role or user.
func withText(tx *account.Tx, e *account.Resource, a attached) sourced {
	out := sourced{attached: a}
	for _, arn := range append(AttachedPolicies(tx, e), props.Str(e.Props, "PermissionsBoundary")) {
		if arn == "" || arn[strings.LastIndexByte(arn, '/')+1:] != a.id {
			continue
		}
		if rest, ok := strings.CutPrefix(arn, "arn:"+tx.Partition()+":iam::aws:policy/"); ok {
			out.text = awsText(rest)
		} else if p := tx.Get(TypeManagedPolicy, arn); p != nil {
			// What is kept was text or a value that came from it.
			out.text, _ = policy.Text(seen(tx, p)["PolicyDocument"])
		}
		return out
	}
	for _, x := range InlinePolicies(tx, e, seen(tx, e)) {
		if strings.HasSuffix(a.id, "_"+e.ID+"_"+props.Str(x, "PolicyName")) {
			out.text, _ = policy.Text(x["PolicyDocument"])
		}
	}
	return out
}

func inputs(texts []string, name string, kind policy.Kind) ([]sourced, error) {
	var out []sourced
	for i, text := range texts {
		doc, err := policy.Parse(text, kind)
		if err != nil {
			return nil, errorf("InvalidInput", "%s: %v", name, err)
		}
		id, source := name, "resource"
		if name != "ResourcePolicy" {
			id, source = fmt.Sprintf("%s.%d", name, i+1), "none"
		}
		out = append(out, sourced{attached{id: id, source: source, doc: doc}, text})
	}
	return out, nil
}

func simulatePrincipal(tx *account.Tx, r *wire.Request) (any, error) {
	s, err := simulation(r)
	if err != nil {
		return nil, err
	}
	if s.Source = r.String("PolicySourceArn"); s.Source == "" {
		return nil, errorf("ValidationError", "1 validation error detected: Value null at 'policySourceArn' failed to satisfy constraint: Member must not be null")
	}
	return simulated(tx, r, s)
}

func simulateCustom(tx *account.Tx, r *wire.Request) (any, error) {
	s, err := simulation(r)
	if err != nil {
		return nil, err
	}
	if len(s.Policies) == 0 {
		return nil, errorf("ValidationError", "1 validation error detected: Value null at 'policyInputList' failed to satisfy constraint: Member must not be null")
	}
	return simulated(tx, r, s)
}

func simulation(r *wire.Request) (Simulation, error) {
	for _, k := range []string{"ResourceHandlingOption", "PolicyExclusionList"} {
		if r.Has(k) {
			return Simulation{}, account.NotModelled("%s of %s is not modelled by the sandbox", k, r.Operation)
		}
	}
	s := Simulation{
		Policies: r.Strings("PolicyInputList"), Boundaries: r.Strings("PermissionsBoundaryPolicyInputList"), Resource: r.String("ResourcePolicy"),
		Caller: r.String("CallerArn"), Actions: r.Strings("ActionNames"), Resources: r.Strings("ResourceArns"), Context: map[string][]string{},
	}
	if len(s.Actions) == 0 {
		return s, errorf("ValidationError", "1 validation error detected: Value null at 'actionNames' failed to satisfy constraint: Member must not be null")
	}
	for _, e := range props.Maps(r.In, "ContextEntries") {
		s.Context[props.Str(e, "ContextKeyName")] = props.Strs(e, "ContextKeyValues")
	}
	return s, nil
}

func simulated(tx *account.Tx, r *wire.Request, s Simulation) (any, error) {
	results, err := Simulate(tx, s)
	if err != nil {
		return nil, err
	}
	var items []any
	for _, one := range results {
		matched, missing := []any{}, []any{}
		for _, m := range one.Matched {
			matched = append(matched, map[string]any{
				"SourcePolicyId": m.ID, "SourcePolicyType": m.Source,
				"StartPosition": map[string]any{"Line": m.Start.Line, "Column": m.Start.Column}, "EndPosition": map[string]any{"Line": m.End.Line, "Column": m.End.Column},
			})
		}
		for _, k := range one.Missing {
			missing = append(missing, k)
		}
		item := map[string]any{
			"EvalActionName": one.Action, "EvalResourceName": one.Resource, "EvalDecision": one.Decision,
			"MatchedStatements": matched, "MissingContextValues": missing,
		}
		if one.Bounded != nil {
			item["PermissionsBoundaryDecisionDetail"] = map[string]any{"AllowedByPermissionsBoundary": *one.Bounded}
		}
		items = append(items, item)
	}
	return paged(r, "EvaluationResults", items)
}
