// Package template is the language of CloudFormation templates: it reads JSON
// and YAML, checks what CloudFormation checks before it starts, and evaluates
// parameters, conditions and intrinsic functions.
//
// A [Template] never changes once it is parsed and may be shared. Errors are
// *account.Error values in CloudFormation's words. Not modelled, and refused
// with a message that says so: transforms and macros, hooks, nested stacks,
// custom resources, modules, and creation policies but of Auto Scaling groups.
package template

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

func invalid(format string, args ...any) error {
	return account.Errorf("ValidationError", format, args...)
}

// Limits of templates.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const (
	maxResources   = 500
	maxParameters  = 200
	maxOutputs     = 200
	maxMappings    = 200
	maxAttributes  = 200 // of a mapping
	maxDescription = 1024
	maxLogicalID   = 255
)

// Template is a parsed and checked template.
type Template struct {
	Body, Description string
	Metadata          any
	Parameters        map[string]*Parameter
	Resources         map[string]*Resource

	outputs    map[string]*output
	conditions map[string]expression.Condition
	mappings   map[string]map[string]map[string]any
	rules      []rule
}

// Resource is one entry of Resources.
type Resource struct {
	LogicalID string
	Type      *facts.Type
	// Properties are the compiled top-level properties, and Source the same as
	// they were written.
	Properties map[string]expression.Expr
	Source     map[string]any
	DependsOn  []string
	Condition  string
	Metadata   any
	// UpdatePolicy is as written.
	UpdatePolicy any
	// DeletionPolicy and UpdateReplacePolicy have their defaults filled in.
	DeletionPolicy, UpdateReplacePolicy string

	update, creation expression.Expr // the policies compiled, or nil
	written          map[string]any  // all of it
}

type output struct {
	value, export          expression.Expr
	description, condition string
}

// Parse reads a template and checks it.
func Parse(body string, types facts.Set) (*Template, error) {
	root, err := tree(body)
	if err != nil {
		return nil, err
	}
	if err := checkSections(root); err != nil {
		return nil, err
	}
	t := &Template{Body: body, Metadata: root["Metadata"]}
	if d, ok := root["Description"]; ok {
		if t.Description, ok = d.(string); !ok {
			return nil, invalid("Template format error: Description must be a string.")
		}
		if len(t.Description) > maxDescription {
			return nil, invalid("Template format error: 'Description' length is greater than %d.", maxDescription)
		}
	}
	for _, read := range []func(map[string]any) error{t.readParameters, t.readMappings, t.readConditions, t.readRules} {
		if err := read(root); err != nil {
			return nil, err
		}
	}
	if err := t.readResources(root, types); err != nil {
		return nil, err
	}
	if err := t.readOutputs(root); err != nil {
		return nil, err
	}
	return t, t.checkReferences()
}

func checkSections(root map[string]any) error {
	var unknown []string
	for _, k := range slices.Sorted(maps.Keys(root)) {
		switch k {
		case "AWSTemplateFormatVersion":
			if v, ok := root[k].(string); !ok || v != "2010-09-09" {
				return invalid("Template format error: unsupported value for AWSTemplateFormatVersion.")
			}
		case "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Rules", "Resources", "Outputs":
		case "Transform", "Hooks":
			return account.NotModelled("Template section %s is not modelled by the sandbox", k)
		default:
			unknown = append(unknown, k)
		}
	}
	if len(unknown) > 0 {
		return invalid("Invalid template property or properties [%s]", strings.Join(unknown, ", "))
	}
	return nil
}

var alphanumeric = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// section returns a section's members in order of name, checked for form.
func section(root map[string]any, name, member string, limit int) (map[string]any, []string, error) {
	v, ok := root[name]
	if !ok {
		return nil, nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, nil, invalid("Template format error: %s must be an object.", name)
	}
	if len(m) > limit {
		return nil, nil, invalid("Template format error: Number of %s, %d, is greater than maximum allowed, %d", strings.ToLower(name), len(m), limit)
	}
	keys := slices.Sorted(maps.Keys(m))
	for _, k := range keys {
		if strings.HasPrefix(k, "Fn::") {
			return nil, nil, account.NotModelled("Template error: function %s needs a transform, and transforms are not modelled by the sandbox", k)
		}
		if !alphanumeric.MatchString(k) {
			return nil, nil, invalid("Template format error: %s name %s is non alphanumeric.", member, k)
		}
		if len(k) > maxLogicalID {
			return nil, nil, invalid("Template format error: %s name %s is longer than %d.", member, k, maxLogicalID)
		}
	}
	return m, keys, nil
}

func (t *Template) readMappings(root map[string]any) error {
	m, keys, err := section(root, "Mappings", "Mapping", maxMappings)
	if err != nil {
		return err
	}
	t.mappings = make(map[string]map[string]map[string]any, len(keys))
	for _, name := range keys {
		top, ok := m[name].(map[string]any)
		if !ok {
			return invalid("Template format error: Every Mappings member %s must be a map", name)
		}
		if len(top) > maxAttributes {
			return invalid("Template format error: Number of attributes of mapping %s, %d, is greater than maximum allowed, %d", name, len(top), maxAttributes)
		}
		t.mappings[name] = map[string]map[string]any{}
		for k, v := range top {
			second, ok := v.(map[string]any)
			if !ok {
				return invalid("Template format error: Every Mappings attribute must be a map [%s::%s]", name, k)
			}
			for attr, x := range second {
				if l, isList := x.([]any); isList {
					for _, y := range l {
						if _, ok := expression.Scalar(y); !ok {
							return invalid("Template format error: Every Mappings attribute must be a String or a List.")
						}
					}
				} else if _, ok := expression.Scalar(x); !ok {
					return invalid("Template format error: Every Mappings attribute must be a String or a List. [%s::%s::%s]", name, k, attr)
				}
			}
			t.mappings[name][k] = second
		}
	}
	return nil
}

func (t *Template) readConditions(root map[string]any) error {
	m, keys, err := section(root, "Conditions", "Condition", math.MaxInt)
	if err != nil {
		return err
	}
	t.conditions = make(map[string]expression.Condition, len(keys))
	for _, name := range keys {
		c, err := expression.CompileCondition(m[name], "/Conditions/"+name)
		if err != nil {
			return err
		}
		t.conditions[name] = c
	}
	return nil
}

func (t *Template) readResources(root map[string]any, types facts.Set) error {
	m, keys, err := section(root, "Resources", "Resource", maxResources)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return invalid("Template format error: At least one Resources member must be defined.")
	}
	var unknown, twice []string
	t.Resources = make(map[string]*Resource, len(keys))
	for _, id := range keys {
		place := "/Resources/" + id
		def, ok := m[id].(map[string]any)
		if !ok {
			return invalid("Template format error: [%s] Every Resources object must be an object.", place)
		}
		typ, ok := def["Type"].(string)
		if !ok {
			return invalid("Template format error: [%s] Every Resources object must contain a Type member.", place)
		}
		switch {
		case typ == "AWS::CloudFormation::Stack":
			return account.NotModelled("Template error: nested stacks are not modelled by the sandbox [%s]", id)
		case typ == "AWS::CloudFormation::CustomResource" || strings.HasPrefix(typ, "Custom::"):
			return account.NotModelled("Template error: custom resources are not modelled by the sandbox [%s]", id)
		case strings.HasPrefix(typ, "AWS::CloudFormation::") && types[typ] == nil:
			return account.NotModelled("Template error: resources of type %s are not modelled by the sandbox [%s]", typ, id)
		case strings.HasSuffix(typ, "::MODULE"):
			return account.NotModelled("Template error: modules are not modelled by the sandbox [%s]", id)
		}
		if t.Parameters[id] != nil {
			twice = append(twice, id)
		}
		r := &Resource{LogicalID: id, Type: types[typ], written: def}
		if r.Type == nil {
			if !slices.Contains(unknown, typ) {
				unknown = append(unknown, typ)
			}
			continue
		}
		if err := r.read(def, place); err != nil {
			return err
		}
		t.Resources[id] = r
	}
	if len(unknown) > 0 {
		return invalid("Template format error: Unrecognized resource types: [%s]", strings.Join(unknown, ", "))
	}
	if len(twice) > 0 {
		return invalid("Template format error: Names must be unique among Parameters and Resources: [%s]", strings.Join(twice, ", "))
	}
	return nil
}

func (r *Resource) read(def map[string]any, place string) error {
	for _, k := range slices.Sorted(maps.Keys(def)) {
		v := def[k]
		switch k {
		case "Type":
		case "Properties":
			props, ok := v.(map[string]any)
			if !ok {
				return invalid("Template format error: [%s] Properties must be an object.", place)
			}
			r.Source = props
			r.Properties = make(map[string]expression.Expr, len(props))
			for name, x := range props {
				if name == "Fn::Transform" {
					return account.NotModelled("Template error: function %s is not modelled by the sandbox", name)
				}
				if strings.HasPrefix(name, "Fn::") {
					return invalid("Template error: function %s can't stand for all Properties [%s]", name, place)
				}
				e, err := expression.Compile(x, place+"/Properties/"+name)
				if err != nil {
					return err
				}
				r.Properties[name] = e
			}
		case "DependsOn":
			list, isList := v.([]any)
			if !isList {
				list = []any{v}
			}
			for _, x := range list {
				s, ok := x.(string)
				if !ok {
					return invalid("Template format error: DependsOn must be a string or list of strings.")
				}
				r.DependsOn = append(r.DependsOn, s)
			}
		case "Condition":
			var ok bool
			if r.Condition, ok = v.(string); !ok {
				return invalid("Template format error: Every Condition member must be a string.")
			}
		case "Metadata":
			r.Metadata = v
		case "UpdatePolicy":
			r.UpdatePolicy = v
			var err error
			if r.update, err = expression.Compile(v, place+"/UpdatePolicy"); err != nil {
				return err
			}
		case "CreationPolicy":
			if r.Type == nil || r.Type.Name != autoScalingGroup {
				return account.NotModelled("Template error: CreationPolicy is not modelled by the sandbox [%s]", place)
			}
			var err error
			if r.creation, err = expression.Compile(v, place+"/CreationPolicy"); err != nil {
				return err
			}
		case "DeletionPolicy":
			s, ok := v.(string)
			if !ok || !slices.Contains([]string{"Delete", "Retain", "Snapshot", "RetainExceptOnCreate"}, s) {
				return invalid("Template error: Unrecognized DeletionPolicy %s for resource %s", fmt.Sprint(v), r.LogicalID)
			}
			r.DeletionPolicy = s
		case "UpdateReplacePolicy":
			s, ok := v.(string)
			if !ok || !slices.Contains([]string{"Delete", "Retain", "Snapshot"}, s) {
				return invalid("Template error: Unrecognized UpdateReplacePolicy %s for resource %s", fmt.Sprint(v), r.LogicalID)
			}
			r.UpdateReplacePolicy = s
		default:
			return invalid("Invalid template resource property '%s'", k)
		}
	}
	return r.checkPolicies()
}

// expressions are all of a resource's, in order.
func (r *Resource) expressions() []expression.Expr {
	var out []expression.Expr
	for _, name := range slices.Sorted(maps.Keys(r.Properties)) {
		out = append(out, r.Properties[name])
	}
	for _, policy := range []expression.Expr{r.creation, r.update} {
		if policy != nil {
			out = append(out, policy)
		}
	}
	return out
}

// checkPolicies fills in the policies' defaults and refuses snapshots of what
// has none.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
func (r *Resource) checkPolicies() error {
	snapshots := false
	standard := "Delete"
	switch r.Type.Name {
	case "AWS::RDS::DBCluster":
		snapshots, standard = true, "Snapshot"
	case "AWS::RDS::DBInstance":
		snapshots = true
		if _, member := r.Source["DBClusterIdentifier"]; !member {
			standard = "Snapshot"
		}
	case "AWS::EC2::Volume", "AWS::ElastiCache::CacheCluster", "AWS::ElastiCache::ReplicationGroup", "AWS::Neptune::DBCluster", "AWS::Redshift::Cluster", "AWS::DocDB::DBCluster":
		snapshots = true
	}
	if !snapshots && (r.DeletionPolicy == "Snapshot" || r.UpdateReplacePolicy == "Snapshot") {
		return invalid("Template error: resource type %s does not support deletion policy Snapshot", r.Type.Name)
	}
	if r.DeletionPolicy == "" {
		r.DeletionPolicy = standard
	}
	if r.UpdateReplacePolicy == "" {
		r.UpdateReplacePolicy = standard
	}
	return nil
}

func (t *Template) readOutputs(root map[string]any) error {
	m, keys, err := section(root, "Outputs", "Output", maxOutputs)
	if err != nil {
		return err
	}
	t.outputs = make(map[string]*output, len(keys))
	for _, key := range keys {
		def, ok := m[key].(map[string]any)
		if !ok {
			return invalid("Template format error: [/Outputs/%s] Every Outputs member must be an object.", key)
		}
		o := &output{}
		for _, k := range slices.Sorted(maps.Keys(def)) {
			v := def[k]
			switch k {
			case "Value":
				if o.value, err = expression.Compile(v, "/Outputs/"+key+"/Value"); err != nil {
					return err
				}
			case "Description":
				if o.description, ok = v.(string); !ok {
					return invalid("Template format error: Output %s is malformed. The Description must be a string.", key)
				}
			case "Condition":
				if o.condition, ok = v.(string); !ok {
					return invalid("Template format error: Every Condition member must be a string.")
				}
			case "Export":
				x, ok := v.(map[string]any)
				if !ok || len(x) != 1 || x["Name"] == nil {
					return invalid("Template format error: Output %s is malformed. The Name field of every Export member must be specified and consist of a string.", key)
				}
				if o.export, err = expression.Compile(x["Name"], "/Outputs/"+key+"/Export"); err != nil {
					return err
				}
			default:
				return invalid("Template format error: Output %s is malformed. Unexpected member %s.", key, k)
			}
		}
		if o.value == nil {
			return invalid("Template format error: [/Outputs/%s] Every Outputs member must contain a Value object.", key)
		}
		t.outputs[key] = o
	}
	return nil
}

// checkReferences refuses references to what the template doesn't have.
func (t *Template) checkReferences() error {
	for _, name := range slices.Sorted(maps.Keys(t.conditions)) {
		var dangling []string
		t.conditions[name].Walk(func(r expression.Ref) {
			if t.Parameters[r.Name] == nil && !expression.IsPseudo(r.Name) {
				dangling = append(dangling, r.Name)
			}
		})
		if len(dangling) > 0 {
			return invalid("Template format error: Unresolved dependencies [%s]. Cannot reference resources in the Conditions block of the template", strings.Join(dangling, ", "))
		}
	}
	var dangling []string
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		r := t.Resources[id]
		if r.Condition != "" && t.conditions[r.Condition] == nil {
			return invalid("Template format error: Unresolved condition dependency %s in the Resources block of the template", r.Condition)
		}
		for _, d := range r.DependsOn {
			if t.Resources[d] == nil {
				dangling = append(dangling, d)
			}
		}
		for _, e := range r.expressions() {
			d, err := t.dangling(e)
			if err != nil {
				return err
			}
			dangling = append(dangling, d...)
		}
	}
	if err := unresolved(dangling, "Resources"); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(t.outputs)) {
		o := t.outputs[key]
		if o.condition != "" && t.conditions[o.condition] == nil {
			return invalid("Template format error: Unresolved condition dependency %s in the Outputs block of the template", o.condition)
		}
		d, err := t.dangling(o.value)
		if err != nil {
			return err
		}
		dangling = append(dangling, d...)
		if o.export != nil {
			o.export.Walk(nil, func(r expression.Ref) {
				if t.Resources[r.Name] != nil && err == nil {
					err = invalid("Template format error: Output %s is malformed. The Name field of every Export member must not depend on any resources, imported values, or Fn::GetAZs.", key)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	return unresolved(dangling, "Outputs")
}

func unresolved(names []string, block string) error {
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return invalid("Template format error: Unresolved resource dependencies [%s] in the %s block of the template", strings.Join(slices.Compact(names), ", "), block)
}

// dangling are the names that an expression refers to in vain.
func (t *Template) dangling(e expression.Expr) ([]string, error) {
	var names []string
	var err error
	e.Walk(nil, func(r expression.Ref) {
		res := t.Resources[r.Name]
		switch {
		case r.Attr == "" && (t.Parameters[r.Name] != nil || expression.IsPseudo(r.Name) || res != nil):
		case r.Attr == "":
			names = append(names, r.Name)
		case res == nil:
			if err == nil {
				err = invalid("Template error: instance of Fn::GetAtt references undefined resource %s", r.Name)
			}
		case r.Attr != "?" && !res.Type.Attribute(r.Attr):
			if err == nil {
				err = invalid("Template error: resource %s does not support attribute type %s in Fn::GetAtt", r.Name, r.Attr)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	expression.Branches(e, func(condition string) {
		if t.conditions[condition] == nil && err == nil {
			err = invalid("Template error: unresolved condition dependency %s in Fn::If", condition)
		}
	})
	return names, err
}

// Types are the resource types in use, in order.
func (t *Template) Types() []string {
	seen := map[string]bool{}
	for _, r := range t.Resources {
		seen[r.Type.Name] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Capability is the capability that the template needs, or "", and the types
// that need it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-iam-template.html
func (t *Template) Capability() (string, []string) {
	capability := ""
	var types []string
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		r := t.Resources[id]
		name := ""
		switch r.Type.Name {
		case "AWS::IAM::AccessKey", "AWS::IAM::Policy", "AWS::IAM::UserToGroupAddition":
		case "AWS::IAM::Group":
			name = "GroupName"
		case "AWS::IAM::InstanceProfile":
			name = "InstanceProfileName"
		case "AWS::IAM::ManagedPolicy":
			name = "ManagedPolicyName"
		case "AWS::IAM::Role":
			name = "RoleName"
		case "AWS::IAM::User":
			name = "UserName"
		default:
			continue
		}
		if _, ok := r.Source[name]; ok {
			capability = "CAPABILITY_NAMED_IAM"
		} else if capability == "" {
			capability = "CAPABILITY_IAM"
		}
		if !slices.Contains(types, r.Type.Name) {
			types = append(types, r.Type.Name)
		}
	}
	return capability, types
}
