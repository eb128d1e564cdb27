package template

import (
	"math"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
)

// rule is one entry of Rules.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html
type rule struct {
	name       string
	condition  expression.Condition // nil if it always applies
	assertions []assertion
}

type assertion struct {
	holds       expression.Condition
	description string
}

func (t *Template) readRules(root map[string]any) error {
	m, keys, err := section(root, "Rules", "Rule", math.MaxInt)
	if err != nil {
		return err
	}
	for _, name := range keys {
		place := "/Rules/" + name
		def, ok := m[name].(map[string]any)
		if !ok {
			return invalid("Template format error: [%s] Every Rules member must be an object.", place)
		}
		r := rule{name: name}
		for k, v := range def {
			switch k {
			case "RuleCondition":
				if r.condition, err = expression.CompileRule(v, place); err != nil {
					return err
				}
			case "Assertions":
				list, ok := v.([]any)
				if !ok {
					return invalid("Template format error: [%s] Assertions must be a list.", place)
				}
				for _, x := range list {
					a, err := readAssertion(x, place)
					if err != nil {
						return err
					}
					r.assertions = append(r.assertions, a)
				}
			default:
				return invalid("Template format error: [%s] Encountered unsupported property %s", place, k)
			}
		}
		if len(r.assertions) == 0 {
			return invalid("Template format error: [%s] Every Rules member must contain Assertions.", place)
		}
		t.rules = append(t.rules, r)
	}
	return t.checkRules()
}

func readAssertion(v any, place string) (assertion, error) {
	def, _ := v.(map[string]any)
	if def["Assert"] == nil {
		return assertion{}, invalid("Template format error: [%s] Every Assertions member must contain an Assert.", place)
	}
	var a assertion
	for k, v := range def {
		var err error
		ok := true
		switch k {
		case "Assert":
			a.holds, err = expression.CompileRule(v, place)
		case "AssertDescription":
			a.description, ok = v.(string)
		default:
			ok = false
		}
		if err != nil {
			return a, err
		}
		if !ok {
			return a, invalid("Template format error: [%s] Encountered unsupported property %s", place, k)
		}
	}
	return a, nil
}

// checkRules refuses rules that refer to more than parameters.
func (t *Template) checkRules() error {
	var dangling []string
	visit := func(r expression.Ref) {
		if r.Attr != "" || t.Parameters[r.Name] == nil && !expression.IsPseudo(r.Name) {
			dangling = append(dangling, r.Name)
		}
	}
	for _, r := range t.rules {
		if r.condition != nil {
			r.condition.Walk(visit)
		}
		for _, a := range r.assertions {
			a.holds.Walk(visit)
		}
	}
	if len(dangling) > 0 {
		slices.Sort(dangling)
		return invalid("Template format error: Unresolved dependencies [%s]. Cannot reference resources in the Rules block of the template", strings.Join(slices.Compact(dangling), ", "))
	}
	return nil
}

// CheckRules refuses parameters that the template's rules don't accept.
func (s *Scope) CheckRules() error {
	var broken []string
	for _, r := range s.t.rules {
		if r.condition != nil {
			if applies, err := r.condition.Holds(&s.Scope); err != nil {
				return err
			} else if !applies {
				continue
			}
		}
		for _, a := range r.assertions {
			holds, err := a.holds.Holds(&s.Scope)
			if err != nil {
				return err
			}
			if !holds {
				broken = append(broken, strings.TrimSuffix(r.name+": "+a.description, ": "))
			}
		}
	}
	if len(broken) > 0 {
		return invalid("Template validation error: the parameters don't satisfy the rules of the template [%s]", strings.Join(broken, "; "))
	}
	return nil
}
