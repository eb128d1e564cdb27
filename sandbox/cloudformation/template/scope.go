package template

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// Scope is a template with what it is evaluated in.
type Scope struct {
	expression.Scope

	t *Template
}

// Bind evaluates the conditions in a scope and makes it one of t.
func (t *Template) Bind(s expression.Scope) (*Scope, error) {
	s.Mappings, s.Conditions = t.mappings, t.conditions
	if err := s.Evaluate(); err != nil {
		return nil, err
	}
	return &Scope{Scope: s, t: t}, nil
}

// Live tells whether a resource exists under the conditions.
func (s *Scope) Live(r *Resource) bool { return s.True(r.Condition) }

// Properties evaluates a resource's properties.
func (s *Scope) Properties(r *Resource) (map[string]any, error) {
	out := make(map[string]any, len(r.Properties))
	for k, e := range r.Properties {
		v, err := e.Eval(&s.Scope)
		if err != nil {
			return nil, err
		}
		if v != (expression.NoValue{}) {
			out[k] = v
		}
	}
	return out, nil
}

// autoScalingGroup is the one type whose policies wait for signals here.
const autoScalingGroup = "AWS::AutoScaling::AutoScalingGroup"

// CreationPolicy evaluates a resource's creation policy, nil if it has none, and
// refuses those that aren't modelled.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-creationpolicy.html
func (s *Scope) CreationPolicy(r *Resource) (map[string]any, error) {
	if r.creation == nil {
		return nil, nil
	}
	v, err := r.creation.Eval(&s.Scope)
	if err != nil || v == (expression.NoValue{}) {
		return nil, err
	}
	policy, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Template format error: CreationPolicy of %s must be an object.", r.LogicalID)
	}
	for _, k := range slices.Sorted(maps.Keys(policy)) {
		if k != "ResourceSignal" {
			return nil, account.NotModelled("Template error: CreationPolicy %s is not modelled by the sandbox [%s]", k, r.LogicalID)
		}
	}
	return policy, nil
}

// UpdatePolicy evaluates a resource's update policy, nil if it has none, and
// refuses those that aren't modelled.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func (s *Scope) UpdatePolicy(r *Resource) (map[string]any, error) {
	if r.update == nil {
		return nil, nil
	}
	v, err := r.update.Eval(&s.Scope)
	if err != nil || v == (expression.NoValue{}) {
		return nil, err
	}
	policy, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Template format error: UpdatePolicy of %s must be an object.", r.LogicalID)
	}
	for _, k := range slices.Sorted(maps.Keys(policy)) {
		if k != "AutoScalingRollingUpdate" {
			return nil, account.NotModelled("Template error: UpdatePolicy %s is not modelled by the sandbox [%s]", k, r.LogicalID)
		}
	}
	rolling, _ := policy["AutoScalingRollingUpdate"].(map[string]any)
	if facts.Text(rolling["WaitOnResourceSignals"]) == "true" && r.Type.Name != autoScalingGroup {
		return nil, account.NotModelled("Template error: WaitOnResourceSignals of UpdatePolicy is not modelled by the sandbox [%s]", r.LogicalID)
	}
	return policy, nil
}

// Refs are the references in a resource's property, in the branches taken.
func (s *Scope) Refs(r *Resource, property string) []expression.Ref {
	var out []expression.Ref
	if e := r.Properties[property]; e != nil {
		e.Walk(&s.Scope, func(x expression.Ref) {
			if !slices.Contains(out, x) {
				out = append(out, x)
			}
		})
	}
	return out
}

// Output is an evaluated output.
type Output struct {
	Key, Value, Description, Export string
}

// Outputs evaluates the outputs that exist under the conditions, by key.
func (s *Scope) Outputs() ([]Output, error) {
	var out []Output
	for _, key := range slices.Sorted(maps.Keys(s.t.outputs)) {
		o := s.t.outputs[key]
		if !s.True(o.condition) {
			continue
		}
		v, err := o.value.Eval(&s.Scope)
		if err != nil {
			return nil, err
		}
		x := Output{Key: key, Description: o.description}
		if expression.Unknown(v) {
			v = ""
		}
		text, ok := expression.Scalar(v)
		if !ok {
			return nil, invalid("Template format error: The Value field of every Outputs member must evaluate to a String.")
		}
		x.Value = text
		if o.export != nil {
			n, err := o.export.Eval(&s.Scope)
			if err != nil {
				return nil, err
			}
			if x.Export, ok = n.(string); !ok || x.Export == "" {
				return nil, invalid("Template format error: Output %s is malformed. The Name field of every Export member must be specified and consist of a string.", key)
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// Imports are the names of the exports that the live resources and the outputs
// import.
func (s *Scope) Imports() []string {
	var names []string
	seen := *s
	seen.Import = func(name string) (string, bool) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		return "", true
	}
	// Only names matter here; what can't be evaluated fails where it is used.
	for _, r := range s.t.Resources {
		if s.Live(r) {
			_, _ = seen.Properties(r)
		}
	}
	_, _ = seen.Outputs()
	slices.Sort(names)
	return names
}
