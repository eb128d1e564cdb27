package cfn

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// LogicalID names a resource within its template.
type LogicalID string

// Resource is a generated resource struct, by value.
type Resource interface {
	Facts() Facts
}

// Facts are what a resource type says about itself beyond its fields.
type Facts struct {
	// Type is the CloudFormation type name.
	Type string
	// Ref is the property or attribute that Ref returns; several joined by "|".
	Ref string
	// Attributes are the names for Fn::GetAtt, separated by spaces; lists end
	// in "[]", objects in "{}".
	Attributes string
}

// Template collects the parts of one template. It is not safe for concurrent
// use. Mistakes are kept and told by [Template.Build].
type Template struct {
	description string
	parameters  map[string]*parameter
	conditions  map[string]Cond
	resources   map[LogicalID]*resource
	outputs     map[string]*output
	faults      []*Fault
}

type parameter struct {
	Parameter
	input *Input
}

type resource struct {
	Resource
	options
}

type output struct {
	value any
	options
}

type options struct {
	dependsOn           []Handle
	deletionPolicy      RemovalPolicy
	updateReplacePolicy RemovalPolicy
	condition           *Cond
	metadata            map[string]any
	updatePolicy        map[string]any
	creationPolicy      map[string]any
	description         string
}

// New begins a template.
func New(description string) *Template {
	return &Template{
		description: description,
		parameters:  map[string]*parameter{},
		conditions:  map[string]Cond{},
		resources:   map[LogicalID]*resource{},
		outputs:     map[string]*output{},
	}
}

func (t *Template) fault(path, format string, args ...any) {
	t.faults = append(t.faults, &Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Option is an attribute of a resource or an output.
type Option func(*options)

// RemovalPolicy says what happens to the thing behind a resource.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
type RemovalPolicy string

// The removal policies. RetainExceptOnCreate is for deletion only, Snapshot
// for types that can make one.
const (
	Delete               RemovalPolicy = "Delete"
	Retain               RemovalPolicy = "Retain"
	RetainExceptOnCreate RemovalPolicy = "RetainExceptOnCreate"
	Snapshot             RemovalPolicy = "Snapshot"
)

// DependsOn orders a resource after others. Build leaves out what a reference
// already implies.
func DependsOn(on ...Handle) Option {
	return func(o *options) { o.dependsOn = append(o.dependsOn, on...) }
}

// DeletionPolicy says what becomes of the resource when it is removed.
func DeletionPolicy(p RemovalPolicy) Option { return func(o *options) { o.deletionPolicy = p } }

// UpdateReplacePolicy says what becomes of the old resource when it is replaced.
func UpdateReplacePolicy(p RemovalPolicy) Option {
	return func(o *options) { o.updateReplacePolicy = p }
}

// Condition makes a resource or an output depend on a named condition.
func Condition(c Cond) Option { return func(o *options) { o.condition = &c } }

// Metadata is attached to a resource.
func Metadata(m map[string]any) Option { return func(o *options) { o.metadata = m } }

// UpdatePolicy says how an AWS::AutoScaling::AutoScalingGroup replaces instances.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func UpdatePolicy(m map[string]any) Option { return func(o *options) { o.updatePolicy = m } }

// CreationPolicy says what an AWS::AutoScaling::AutoScalingGroup waits for before
// it counts as made.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-creationpolicy.html
func CreationPolicy(m map[string]any) Option { return func(o *options) { o.creationPolicy = m } }

// Description describes an output.
func Description(text string) Option { return func(o *options) { o.description = text } }

// Handle stands for a resource of a template.
type Handle struct {
	t  *Template
	id LogicalID
}

// ID is the logical id.
func (h Handle) ID() LogicalID { return h.id }

// Ref is the resource's Ref value.
func (h Handle) Ref() Value[string] { return Value[string]{ref{t: h.t, id: string(h.id)}} }

// Att is an attribute that is no list.
func (h Handle) Att(name string) Value[string] {
	return Value[string]{att{t: h.t, id: string(h.id), name: name}}
}

// AttList is an attribute that is a list of strings.
func (h Handle) AttList(name string) List[string] {
	return List[string]{att{t: h.t, id: string(h.id), name: name, list: true}}
}

// Add puts a resource into the template. A nil resource, a second one with the
// same id and options that fit no resource are faults.
func (t *Template) Add(id LogicalID, res Resource, opts ...Option) Handle {
	r := &resource{Resource: res}
	for _, opt := range opts {
		opt(&r.options)
	}
	path := "Resources." + string(id)
	switch {
	case res == nil:
		t.fault(path, "resource is nil")
		return Handle{t, id}
	case t.resources[id] != nil:
		t.fault(path, "logical id is declared twice")
		return Handle{t, id}
	case r.description != "":
		t.fault(path, "a resource has no description")
	}
	t.resources[id] = r
	return Handle{t, id}
}

// Resource is a handle for a resource that may be added later.
func (t *Template) Resource(id LogicalID) Handle { return Handle{t, id} }

// Resources are the logical ids so far, sorted, with their types.
func (t *Template) Resources() []ResourceType {
	out := make([]ResourceType, 0, len(t.resources))
	for id, r := range t.resources {
		out = append(out, ResourceType{id, r.Facts().Type})
	}
	slices.SortFunc(out, func(a, b ResourceType) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// ResourceType is a resource's logical id and CloudFormation type.
type ResourceType struct {
	ID   LogicalID
	Type string
}

// Parameter describes a template parameter. An empty Type means String; an
// absent Default makes the parameter mandatory.
type Parameter struct {
	Type           string
	Default        Value[string]
	AllowedValues  []string
	AllowedPattern string
	NoEcho         bool
	Description    string
}

// IsList reports whether the parameter takes values joined by commas.
func (p Parameter) IsList() bool {
	return p.Type == "CommaDelimitedList" || strings.Contains(p.Type, "List<")
}

// Param stands for a parameter of a template.
type Param struct {
	t    *Template
	name string
}

// Name is the parameter's name.
func (p Param) Name() string { return p.name }

// Ref is the value of a parameter that is no list.
func (p Param) Ref() Value[string] { return Value[string]{ref{t: p.t, id: p.name, param: true}} }

// List is the value of a list parameter.
func (p Param) List() List[string] {
	return List[string]{ref{t: p.t, id: p.name, param: true, list: true}}
}

// Parameter declares a parameter.
func (t *Template) Parameter(name string, p Parameter) Param {
	if p.Type == "" {
		p.Type = "String"
	}
	if t.parameters[name] != nil {
		t.fault("Parameters."+name, "parameter is declared twice")
	} else {
		t.parameters[name] = &parameter{Parameter: p}
	}
	return Param{t, name}
}

// Input is a parameter that takes another stack's output.
type Input struct {
	Parameter string
	Stack     string
	Output    string
}

// Input is the value of another stack's output, through a parameter named
// after both (network, VpcId: NetworkVpcId) that is declared on first use.
func (t *Template) Input(stack, output string) Value[string] {
	return t.input(stack, output, "String").Ref()
}

// InputList is [Template.Input] for an output made by OutputList.
func (t *Template) InputList(stack, output string) List[string] {
	return t.input(stack, output, "CommaDelimitedList").List()
}

func (t *Template) input(stack, output, typ string) Param {
	name := camel(stack) + camel(output)
	in := Input{Parameter: name, Stack: stack, Output: output}
	p := t.parameters[name]
	switch {
	case p == nil:
		t.parameters[name] = &parameter{Parameter: Parameter{Type: typ}, input: &in}
	case p.input == nil || *p.input != in:
		t.fault("Parameters."+name, "parameter is declared twice")
	case p.Type != typ:
		t.fault("Parameters."+name, "input is used as String and as CommaDelimitedList")
	}
	return Param{t, name}
}

// Inputs are the parameters that take other stacks' outputs, sorted by name.
func (t *Template) Inputs() []Input {
	var out []Input
	for _, p := range t.parameters {
		if p.input != nil {
			out = append(out, *p.input)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Parameter < out[j].Parameter })
	return out
}

// Parameters are the names of the parameters that are no inputs, sorted, with
// their declarations.
func (t *Template) Parameters() []NamedParameter {
	var out []NamedParameter
	for name, p := range t.parameters {
		if p.input == nil {
			out = append(out, NamedParameter{name, p.Parameter})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// NamedParameter is a parameter's name and declaration.
type NamedParameter struct {
	Name string
	Parameter
}

// camel joins the words of a name, each with a capital: self-managed becomes
// SelfManaged.
func camel(s string) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return !alphanumeric(r) }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// Condition names a condition.
func (t *Template) Condition(name string, c Cond) Cond {
	if _, ok := t.conditions[name]; ok {
		t.fault("Conditions."+name, "condition is declared twice")
	} else {
		t.conditions[name] = c
	}
	return Cond{t: t, name: name}
}

// Output declares an output.
func (t *Template) Output(name string, v Value[string], opts ...Option) {
	o := &output{value: v.v}
	for _, opt := range opts {
		opt(&o.options)
	}
	path := "Outputs." + name
	switch {
	case t.outputs[name] != nil:
		t.fault(path, "output is declared twice")
		return
	case len(o.dependsOn) > 0 || o.deletionPolicy != "" || o.updateReplacePolicy != "" || o.metadata != nil || o.updatePolicy != nil:
		t.fault(path, "an output takes Description and Condition only")
	}
	t.outputs[name] = o
}

// OutputList declares an output that [Template.InputList] of another template
// can take: the elements joined by commas, since an output is a string.
func (t *Template) OutputList(name string, l List[string], opts ...Option) {
	t.Output(name, t.joined(l), opts...)
}

// joined is a list's elements joined by commas: with Fn::Sub, which takes fewer bytes
// of a template than Fn::Join, if all are references to what this one has.
func (t *Template) joined(l List[string]) Value[string] {
	items, written := l.v.([]any)
	var parts []string
	for _, item := range items {
		switch x := item.(type) {
		case ref:
			if x.t == t && !x.list {
				parts = append(parts, "${"+x.id+"}")
			}
		case att:
			if x.t == t && !x.list {
				parts = append(parts, "${"+x.id+"."+x.name+"}")
			}
		}
	}
	if !written || len(items) == 0 || len(parts) < len(items) {
		return JoinList(",", l)
	}
	return Sub(strings.Join(parts, ","))
}

// Outputs are the names of the outputs so far, sorted.
func (t *Template) Outputs() []string {
	out := make([]string, 0, len(t.outputs))
	for name := range t.outputs {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
