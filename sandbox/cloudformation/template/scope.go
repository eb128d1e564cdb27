package template

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// Pseudo are the values of the pseudo parameters.
type Pseudo struct {
	AccountID, Region, Partition, URLSuffix, StackID, StackName string
	NotificationARNs                                            []string
}

// Scope is what a template is evaluated in.
type Scope struct {
	Pseudo Pseudo
	// Parameters are the values that Ref gives, from [Template.Bind].
	Parameters map[string]any
	// Zones are what Fn::GetAZs gives.
	Zones []string
	// Resource gives the Ref of a resource, and Attribute an attribute; either
	// may answer [facts.Unknown]. Nil means that all is unknown.
	Resource  func(logicalID string) any
	Attribute func(logicalID, name string) (any, error)
	// Import finds an export. Nil means that all are unknown.
	Import func(name string) (string, bool)

	t          *Template
	conditions map[string]bool
	pending    map[string]bool
}

// Bind makes the scope one of t and evaluates the conditions.
func (t *Template) Bind(s Scope) (*Scope, error) {
	s.t = t
	s.conditions = make(map[string]bool, len(t.conditions))
	s.pending = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(t.conditions)) {
		if _, err := s.condition(name); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

func (s *Scope) condition(name string) (bool, error) {
	if b, ok := s.conditions[name]; ok {
		return b, nil
	}
	c := s.t.conditions[name]
	if c == nil {
		return false, invalid("Template format error: Unresolved condition dependency %s in the Conditions block of the template", name)
	}
	if s.pending[name] {
		return false, invalid("Template format error: Found circular condition dependency with condition %s", name)
	}
	s.pending[name] = true
	b, err := c.holds(s)
	if err == nil {
		s.conditions[name] = b
	}
	return b, err
}

// Live tells whether a resource exists under the conditions.
func (s *Scope) Live(r *Resource) bool { return r.Condition == "" || s.conditions[r.Condition] }

func (s *Scope) ref(name string) (any, error) {
	if v, ok := s.Parameters[name]; ok {
		return v, nil
	}
	switch name {
	case "AWS::NoValue":
		return noValue{}, nil
	case "AWS::AccountId":
		return s.Pseudo.AccountID, nil
	case "AWS::Region":
		return s.Pseudo.Region, nil
	case "AWS::Partition":
		return s.Pseudo.Partition, nil
	case "AWS::URLSuffix":
		return s.Pseudo.URLSuffix, nil
	case "AWS::StackId":
		return s.Pseudo.StackID, nil
	case "AWS::StackName":
		return s.Pseudo.StackName, nil
	case "AWS::NotificationARNs":
		out := make([]any, len(s.Pseudo.NotificationARNs))
		for i, a := range s.Pseudo.NotificationARNs {
			out[i] = a
		}
		return out, nil
	}
	if s.Resource == nil {
		return facts.Unknown{}, nil
	}
	return s.Resource(name), nil
}

func (s *Scope) attribute(id, name string) (any, error) {
	if s.Attribute == nil {
		return facts.Unknown{}, nil
	}
	return s.Attribute(id, name)
}

// Properties evaluates a resource's properties.
func (s *Scope) Properties(r *Resource) (map[string]any, error) {
	out := make(map[string]any, len(r.Properties))
	for k, e := range r.Properties {
		v, err := e.eval(s)
		if err != nil {
			return nil, err
		}
		if v != (noValue{}) {
			out[k] = v
		}
	}
	return out, nil
}

// Refs are the references in a resource's property, in the branches taken.
func (s *Scope) Refs(r *Resource, property string) []Ref {
	var out []Ref
	if e := r.Properties[property]; e != nil {
		e.walk(s, func(x Ref) {
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
		if o.condition != "" && !s.conditions[o.condition] {
			continue
		}
		v, err := o.value.eval(s)
		if err != nil {
			return nil, err
		}
		x := Output{Key: key, Description: o.description}
		if Unknown(v) {
			v = ""
		}
		text, ok := scalar(v)
		if !ok {
			return nil, invalid("Template format error: The Value field of every Outputs member must evaluate to a String.")
		}
		x.Value = text
		if o.export != nil {
			n, err := o.export.eval(s)
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
