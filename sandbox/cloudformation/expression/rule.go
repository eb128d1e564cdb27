package expression

import "github.com/poolhouse/poolhouse/sandbox/account"

// CompileRule turns plain values into the condition or an assertion of a rule,
// which knows more functions than conditions do. Place is for messages. Those
// that look at the account (Fn::RefAll, Fn::ValueOf, Fn::ValueOfAll) are
// refused as not modelled.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
func CompileRule(v any, place string) (Condition, error) {
	return compileCondition(v, place, func(name string, arg any, place string) (Condition, error) {
		switch name {
		case "Condition":
			return nil, invalid("Template format error: Conditions can not be used in the Rules block [%s]", place)
		case "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll":
			return nil, account.NotModelled("Template error: rule function %s is not modelled by the sandbox", name)
		case "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn":
		default:
			return nil, nil
		}
		args, err := arguments(arg, place, 2, 2, invalid("Template error: every %s object requires two parameters.", name))
		if err != nil {
			return nil, err
		}
		return member{name, args[0], args[1]}, nil
	})
}

// member compares the members of lists.
type member struct {
	function string
	a, b     Expr
}

func (c member) Holds(s *Scope) (bool, error) {
	a, err := c.a.Eval(s)
	if err != nil {
		return false, err
	}
	b, err := c.b.Eval(s)
	if err != nil {
		return false, err
	}
	all, isList := a.([]any)
	if !isList {
		return false, invalid("Template error: the first parameter of %s must be a list of strings.", c.function)
	}
	if c.function == "Fn::Contains" {
		return contains(all, b), nil
	}
	for _, x := range all {
		if c.function == "Fn::EachMemberEquals" && !Equal(x, b) {
			return false, nil
		}
		if c.function == "Fn::EachMemberIn" {
			set, isList := b.([]any)
			if !isList {
				return false, invalid("Template error: the second parameter of %s must be a list of strings.", c.function)
			}
			if !contains(set, x) {
				return false, nil
			}
		}
	}
	return true, nil
}

func contains(list []any, v any) bool {
	for _, x := range list {
		if Equal(x, v) {
			return true
		}
	}
	return false
}

func (c member) Walk(visit func(Ref)) {
	c.a.Walk(nil, visit)
	c.b.Walk(nil, visit)
}
