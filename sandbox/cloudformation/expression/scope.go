package expression

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
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
	// Parameters are the values that Ref gives.
	Parameters map[string]any
	// Zones are what Fn::GetAZs gives.
	Zones []string
	// Resource gives the Ref of a resource, and Attribute an attribute; either
	// may answer [facts.Unknown]. Nil means that all is unknown.
	Resource  func(logicalID string) any
	Attribute func(logicalID, name string) (any, error)
	// Import finds an export. Nil means that all are unknown.
	Import func(name string) (string, bool)

	// Mappings and Conditions are the template's.
	Mappings   map[string]map[string]map[string]any
	Conditions map[string]Condition

	// Spent counts, if it is set, the bytes that functions and references make;
	// too many are refused.
	Spent *int

	truth   map[string]bool
	pending map[string]bool
}

// Evaluate decides the conditions. It comes before everything else.
func (s *Scope) Evaluate() error {
	s.truth, s.pending = make(map[string]bool, len(s.Conditions)), map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.Conditions)) {
		if _, err := s.condition(name); err != nil {
			return err
		}
	}
	return nil
}

// True tells whether a condition is true; the empty one always is.
func (s *Scope) True(condition string) bool { return condition == "" || s.truth[condition] }

// spend counts bytes that were made.
func (s *Scope) spend(bytes int) error {
	if s.Spent == nil {
		return nil
	}
	if *s.Spent += bytes; *s.Spent > maxTotal {
		return account.NotModelled("Template error: templates whose functions and references make more than %d bytes are not modelled by the sandbox", maxTotal)
	}
	return nil
}

func (s *Scope) condition(name string) (bool, error) {
	if b, ok := s.truth[name]; ok {
		return b, nil
	}
	c := s.Conditions[name]
	if c == nil {
		return false, invalid("Template format error: Unresolved condition dependency %s in the Conditions block of the template", name)
	}
	if s.pending[name] {
		return false, invalid("Template format error: Found circular condition dependency with condition %s", name)
	}
	s.pending[name] = true
	b, err := c.Holds(s)
	if err == nil {
		s.truth[name] = b
	}
	return b, err
}

func (s *Scope) ref(name string) (any, error) {
	if v, ok := s.Parameters[name]; ok {
		return v, nil
	}
	switch name {
	case "AWS::NoValue":
		return NoValue{}, nil
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
