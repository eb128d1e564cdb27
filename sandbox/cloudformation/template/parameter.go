package template

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// maxParameterValue is the longest parameter value in bytes.
const maxParameterValue = 4096

// Parameter is one entry of Parameters.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
type Parameter struct {
	Name, Type, Description string
	Default                 string
	HasDefault, NoEcho      bool
	AllowedValues           []string

	pattern                *regexp.Regexp
	patternText            string
	constraint             string
	minLength, maxLength   *int
	minValue, maxValue     *float64
	element                string // what a value, or each value of a list, must be
	list, store, storeName bool
}

// awsTypes are the parameter types that name something in the account.
var awsTypes = []string{
	"AWS::EC2::AvailabilityZone::Name", "AWS::EC2::Image::Id", "AWS::EC2::Instance::Id", "AWS::EC2::KeyPair::KeyName",
	"AWS::EC2::SecurityGroup::GroupName", "AWS::EC2::SecurityGroup::Id", "AWS::EC2::Subnet::Id", "AWS::EC2::Volume::Id",
	"AWS::EC2::VPC::Id", "AWS::Route53::HostedZone::Id",
}

func (t *Template) readParameters(root map[string]any) error {
	m, keys, err := section(root, "Parameters", "Parameter", maxParameters)
	if err != nil {
		return err
	}
	t.Parameters = make(map[string]*Parameter, len(keys))
	for _, name := range keys {
		def, ok := m[name].(map[string]any)
		if !ok {
			return invalid("Template format error: Every Parameters object must be an object [%s].", name)
		}
		p := &Parameter{Name: name}
		if p.Type, ok = def["Type"].(string); !ok {
			return invalid("Template format error: Every Parameters object must contain a Type member.")
		}
		if err := p.readType(); err != nil {
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(def)) {
			if err := p.read(k, def[k]); err != nil {
				return err
			}
		}
		t.Parameters[name] = p
	}
	return nil
}

// javaOnly tells an error about what Java's regular expressions have and Go's
// have not, or not as large: looking ahead and behind, possessive quantifiers,
// references to groups, classes in classes, many repetitions.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
func javaOnly(err error) bool {
	e, ok := errors.AsType[*syntax.Error](err)
	return ok && slices.Contains([]syntax.ErrorCode{
		syntax.ErrInvalidPerlOp, syntax.ErrInvalidNamedCapture, syntax.ErrInvalidEscape, syntax.ErrInvalidRepeatOp, syntax.ErrInvalidRepeatSize, syntax.ErrInvalidCharRange, syntax.ErrNestingDepth, syntax.ErrLarge,
	}, e.Code)
}

func (p *Parameter) readType() error {
	p.element = p.Type
	if inner, ok := within(p.element, "AWS::SSM::Parameter::Value<"); ok {
		p.store, p.element = true, inner
	}
	switch {
	case p.element == "CommaDelimitedList":
		p.list, p.element = true, "String"
	case p.element == "AWS::SSM::Parameter::Name" && !p.store:
		p.storeName = true
		return nil
	default:
		if inner, ok := within(p.element, "List<"); ok {
			p.list, p.element = true, inner
			if inner == "String" && !p.store {
				return p.unrecognised()
			}
		}
	}
	if p.element != "String" && (p.element != "Number" || p.store) && !slices.Contains(awsTypes, p.element) {
		return p.unrecognised()
	}
	return nil
}

func (p *Parameter) unrecognised() error {
	return invalid("Template format error: Unrecognized parameter type: %s", p.Type)
}

func within(s, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, ">")
}

func (p *Parameter) read(key string, v any) error {
	text, isScalar := expression.Scalar(v)
	bad := func() error {
		return invalid("Template format error: Parameter %s: %s has an invalid value", p.Name, key)
	}
	switch key {
	case "Type":
	case "Default":
		if !isScalar {
			return invalid("Template format error: Every Default member must be a string.")
		}
		p.Default, p.HasDefault = text, true
	case "Description":
		if !isScalar {
			return bad()
		}
		p.Description = text
	case "ConstraintDescription":
		if !isScalar {
			return bad()
		}
		p.constraint = text
	case "NoEcho":
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return bad()
		}
		p.NoEcho = b
	case "AllowedValues":
		l, ok := v.([]any)
		if !ok {
			return invalid("Template format error: AllowedValues must be a list [%s]", p.Name)
		}
		for _, x := range l {
			s, ok := expression.Scalar(x)
			if !ok {
				return bad()
			}
			p.AllowedValues = append(p.AllowedValues, s)
		}
	case "AllowedPattern":
		re, err := regexp.Compile("^(?:" + text + ")$")
		switch {
		case !isScalar:
			return bad()
		case javaOnly(err):
			return account.NotModelled("Template format error: AllowedPattern %s of parameter %s is not modelled by the sandbox: %v", text, p.Name, err)
		case err != nil:
			return invalid("Template format error: Parameter %s: AllowedPattern %s is not a regular expression", p.Name, text)
		}
		p.pattern, p.patternText = re, text
	case "MinLength", "MaxLength":
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return bad()
		}
		if key == "MinLength" {
			p.minLength = &n
		} else {
			p.maxLength = &n
		}
	case "MinValue", "MaxValue":
		n, ok := facts.Number(text)
		if !ok {
			return bad()
		}
		if key == "MinValue" {
			p.minValue = &n
		} else {
			p.maxValue = &n
		}
	default:
		return invalid("Invalid template parameter property '%s'", key)
	}
	return nil
}

// Input is a parameter of a request.
type Input struct {
	Key, Value  string
	UsePrevious bool
}

// Value is a parameter in force.
type Value struct {
	Key string
	// Given is the value as given; Resolved is what a Parameter Store name
	// stands for.
	Given, Resolved string
	NoEcho          bool
	// Ref is what Ref gives.
	Ref any
}

// Account is what parameters are checked against.
type Account struct {
	// Parameter reads a parameter from the Parameter Store: whether it is
	// there, and an error if that can't be told.
	Parameter func(name string) (string, bool, error)
	// Exists tells whether something that an AWS-specific parameter type,
	// "AWS::EC2::VPC::Id", names is there.
	Exists func(kind, value string) bool
}

// Values decides the parameters of a deployment from a request and the values
// of the deployment before, and checks them.
func (t *Template) Values(in []Input, previous []Value, acct Account) ([]Value, error) {
	before := make(map[string]string, len(previous))
	for _, v := range previous {
		before[v.Key] = v.Given
	}
	given := map[string]string{}
	var unknown []string
	for _, i := range in {
		if _, twice := given[i.Key]; twice {
			return nil, invalid("Duplicate parameter key: %s", i.Key)
		}
		if t.Parameters[i.Key] == nil {
			unknown = append(unknown, i.Key)
			continue
		}
		if i.UsePrevious {
			if i.Value != "" {
				return nil, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true and specify a value", i.Key)
			}
			v, ok := before[i.Key]
			if !ok {
				return nil, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", i.Key)
			}
			i.Value = v
		}
		given[i.Key] = i.Value
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, invalid("Parameters: [%s] do not exist in the template", strings.Join(unknown, ", "))
	}
	var missing []string
	var out []Value
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		p := t.Parameters[name]
		v, ok := given[name]
		if !ok {
			if !p.HasDefault {
				missing = append(missing, name)
				continue
			}
			v = p.Default
		}
		out = append(out, Value{Key: name, Given: v, NoEcho: p.NoEcho})
	}
	if len(missing) > 0 {
		return nil, invalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	for i := range out {
		if err := t.Parameters[out[i].Key].resolve(&out[i], acct); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// resolve checks a value and decides what Ref gives.
func (p *Parameter) resolve(v *Value, acct Account) error {
	if len(v.Given) > maxParameterValue {
		return invalid("Parameter '%s' must contain at most %d characters", p.Name, maxParameterValue)
	}
	text := v.Given
	if p.store || p.storeName {
		s, ok := "", false
		if acct.Parameter != nil {
			var err error
			if s, ok, err = acct.Parameter(text); err != nil {
				return err
			}
		}
		if !ok {
			return invalid("Unable to fetch parameters [%s] from parameter store for this account.", text)
		}
		if p.storeName {
			v.Ref = text
			return nil
		}
		text, v.Resolved = s, s
	}
	parts := []string{text}
	if p.list {
		parts = nil
		if text != "" {
			parts = strings.Split(text, ",")
		}
		refs := make([]any, len(parts))
		for i, s := range parts {
			parts[i] = strings.TrimSpace(s)
			refs[i] = parts[i]
		}
		v.Ref = refs
	} else {
		v.Ref = text
	}
	// The constraints are on the value given, which for the Parameter Store is
	// the name.
	checked := parts
	if p.store {
		checked = []string{v.Given}
	}
	for _, s := range checked {
		if err := p.check(s); err != nil {
			return err
		}
	}
	for _, s := range parts {
		if p.element == "Number" {
			if _, ok := facts.Number(s); !ok {
				return p.violated("must be a number")
			}
		}
		if slices.Contains(awsTypes, p.element) && acct.Exists != nil && !acct.Exists(p.element, s) {
			return invalid("Parameter validation failed: parameter value %s for parameter name %s does not exist", s, p.Name)
		}
	}
	return nil
}

func (p *Parameter) violated(format string, args ...any) error {
	if p.constraint != "" {
		return invalid("Parameter %s failed to satisfy constraint: %s", p.Name, p.constraint)
	}
	return invalid("Parameter '%s' %s", p.Name, fmt.Sprintf(format, args...))
}

func (p *Parameter) check(s string) error {
	n := utf8.RuneCountInString(s)
	switch {
	case p.AllowedValues != nil && !slices.Contains(p.AllowedValues, s):
		return p.violated("must be one of AllowedValues")
	case p.minLength != nil && n < *p.minLength:
		return p.violated("must contain at least %d characters", *p.minLength)
	case p.maxLength != nil && n > *p.maxLength:
		return p.violated("must contain at most %d characters", *p.maxLength)
	case p.pattern != nil && !p.pattern.MatchString(s):
		return p.violated("must match pattern %s", p.patternText)
	}
	if p.minValue == nil && p.maxValue == nil {
		return nil
	}
	f, ok := facts.Number(s)
	switch {
	case !ok:
		return p.violated("must be a number")
	case p.minValue != nil && f < *p.minValue:
		return p.violated("must be a number not less than %s", facts.Text(*p.minValue))
	case p.maxValue != nil && f > *p.maxValue:
		return p.violated("must be a number not greater than %s", facts.Text(*p.maxValue))
	}
	return nil
}
