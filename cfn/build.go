package cfn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// CloudFormation's limits.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const (
	maxBody        = 51_200
	maxResources   = 500
	maxParameters  = 200
	maxOutputs     = 200
	maxName        = 255
	maxDescription = 1024
)

// Fault is a mistake in a template and the path it stands at, such as
// Resources.Nat.SubnetId or Outputs.VpcId.
type Fault struct {
	Path    string
	Message string
}

// Error is path and message.
func (f *Fault) Error() string { return f.Path + ": " + f.Message }

// Build is the template as minified JSON, or all its faults joined, each a
// *[Fault]. It changes nothing and can be called again.
func (t *Template) Build() ([]byte, error) {
	b := newBuilder(t)
	doc := b.template()
	if len(b.faults) > 0 {
		return nil, b.err()
	}
	body, err := encode(doc)
	if err != nil {
		return nil, fmt.Errorf("encode template: %w", err)
	}
	if len(body) > maxBody {
		b.at("Template", func() { b.fault("%d bytes are more than the %d that can be sent inline", len(body), maxBody) })
		return nil, b.err()
	}
	return body, nil
}

// encode is minified JSON with sorted keys and <, > and & as they are.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// document fixes the order of the sections; below them keys are sorted.
type document struct {
	AWSTemplateFormatVersion string
	Description              string         `json:",omitempty"`
	Parameters               map[string]any `json:",omitempty"`
	Conditions               map[string]any `json:",omitempty"`
	Resources                map[string]any
	Outputs                  map[string]any `json:",omitempty"`
}

// builder walks one template, keeping where it is and what it has seen.
type builder struct {
	t      *Template
	path   []string
	faults []*Fault
	plans  map[reflect.Type][]field
	params map[string]bool // used
	conds  map[string]bool // used
	// deps are the references of each resource; current is the one being
	// walked, "" outside resources.
	deps        map[LogicalID]map[LogicalID]bool
	current     LogicalID
	inCondition bool
}

func newBuilder(t *Template) *builder {
	return &builder{
		t:      t,
		faults: slices.Clone(t.faults),
		plans:  map[reflect.Type][]field{},
		params: map[string]bool{},
		conds:  map[string]bool{},
		deps:   map[LogicalID]map[LogicalID]bool{},
	}
}

func (b *builder) err() error {
	errs := make([]error, len(b.faults))
	for i, f := range b.faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// at runs f with a name added to the path. A name that begins with "[" is an
// index.
func (b *builder) at(name string, f func()) {
	b.path = append(b.path, name)
	f()
	b.path = b.path[:len(b.path)-1]
}

func index(name string, i int) string { return name + "[" + strconv.Itoa(i) + "]" }

func (b *builder) fault(format string, args ...any) {
	path := strings.ReplaceAll(strings.Join(b.path, "."), ".[", "[")
	b.faults = append(b.faults, &Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (b *builder) template() document {
	t := b.t
	doc := document{
		AWSTemplateFormatVersion: "2010-09-09",
		Description:              t.description,
		Parameters:               map[string]any{},
		Conditions:               map[string]any{},
		Resources:                map[string]any{},
		Outputs:                  map[string]any{},
	}
	b.at("Template", func() {
		b.limit("resources", len(t.resources), maxResources)
		b.limit("parameters", len(t.parameters), maxParameters)
		b.limit("outputs", len(t.outputs), maxOutputs)
		b.limit("bytes of description", len(t.description), maxDescription)
		if len(t.resources) == 0 {
			b.fault("template has no resource")
		}
	})
	section(b, "Conditions", t.conditions, func(name string, c Cond) {
		b.inCondition = true
		doc.Conditions[name] = b.condition(c)
		b.inCondition = false
	})
	section(b, "Resources", t.resources, func(id LogicalID, r *resource) {
		doc.Resources[string(id)] = b.resource(id, r)
	})
	section(b, "Outputs", t.outputs, func(name string, o *output) { doc.Outputs[name] = b.output(o) })
	// Parameters come last: only now it is known which are used.
	section(b, "Parameters", t.parameters, func(name string, p *parameter) {
		doc.Parameters[name] = b.parameter(name, p.Parameter)
	})
	b.at("Conditions", func() {
		for _, name := range slices.Sorted(maps.Keys(t.conditions)) {
			if !b.conds[name] {
				b.at(name, func() { b.fault("condition is not used") })
			}
		}
	})
	b.cycles()
	return doc
}

func section[K ~string, V any](b *builder, name string, m map[K]V, each func(K, V)) {
	b.at(name, func() {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			b.at(string(id), func() {
				if id == "" || len(id) > maxName || strings.ContainsFunc(string(id), func(r rune) bool { return !alphanumeric(r) }) {
					b.fault("name wants 1 to %d letters and digits", maxName)
				}
				each(id, m[id])
			})
		}
	})
}

func (b *builder) limit(what string, n, limit int) {
	if n > limit {
		b.fault("%d %s are more than CloudFormation's %d", n, what, limit)
	}
}

func (b *builder) parameter(name string, p Parameter) any {
	out := map[string]any{"Type": p.Type}
	if !b.params[name] {
		b.fault("parameter is not used")
	}
	if _, ok := b.t.resources[LogicalID(name)]; ok {
		b.fault("a resource has the same name")
	}
	if !p.Default.IsZero() {
		literal, ok := p.Default.Literal()
		if !ok {
			b.fault("default is no literal")
		}
		if len(p.AllowedValues) > 0 && !slices.Contains(p.AllowedValues, literal) {
			b.fault("default %q is none of the allowed values", literal)
		}
		out["Default"] = literal
	}
	if len(p.AllowedValues) > 0 {
		out["AllowedValues"] = p.AllowedValues
	}
	if p.AllowedPattern != "" {
		out["AllowedPattern"] = p.AllowedPattern
	}
	if p.NoEcho {
		out["NoEcho"] = true
	}
	if p.Description != "" {
		out["Description"] = p.Description
	}
	return out
}

func (b *builder) output(o *output) any {
	out := map[string]any{"Value": b.value(o.value, rule{})}
	if o.description != "" {
		b.limit("bytes of description", len(o.description), maxDescription)
		out["Description"] = o.description
	}
	if o.condition != nil {
		out["Condition"] = b.conditionName(*o.condition)
	}
	return out
}

func (b *builder) resource(id LogicalID, r *resource) any {
	b.current = id
	defer func() { b.current = "" }()
	b.deps[id] = map[LogicalID]bool{}
	facts := r.Facts()
	out := map[string]any{"Type": facts.Type}
	if props := b.object(reflect.ValueOf(r.Resource)); len(props) > 0 {
		out["Properties"] = props
	}
	if on := b.dependsOn(id, r.dependsOn); len(on) > 0 {
		out["DependsOn"] = on
	}
	b.removal(out, "DeletionPolicy", r.deletionPolicy, facts.Type)
	b.removal(out, "UpdateReplacePolicy", r.updateReplacePolicy, facts.Type)
	if r.condition != nil {
		out["Condition"] = b.conditionName(*r.condition)
	}
	if r.metadata != nil {
		b.at("Metadata", func() { out["Metadata"] = b.reflect(reflect.ValueOf(r.metadata), rule{}) })
	}
	for name, policy := range map[string]map[string]any{"CreationPolicy": r.creationPolicy, "UpdatePolicy": r.updatePolicy} {
		if policy == nil {
			continue
		}
		b.at(name, func() {
			if facts.Type != "AWS::AutoScaling::AutoScalingGroup" {
				b.fault("%s has none", facts.Type)
			}
			out[name] = b.reflect(reflect.ValueOf(policy), rule{})
		})
	}
	return out
}

// dependsOn records the explicit dependencies and returns those no reference
// implies; CloudFormation's linter calls the others obsolete.
func (b *builder) dependsOn(id LogicalID, handles []Handle) []string {
	var on []string
	b.at("DependsOn", func() {
		for _, h := range handles {
			if !b.declared(h.t, h.id) || b.deps[id][h.id] {
				continue
			}
			b.deps[id][h.id] = true
			on = append(on, string(h.id))
		}
	})
	slices.Sort(on)
	return on
}

func (b *builder) removal(out map[string]any, name string, p RemovalPolicy, typ string) {
	if p == "" {
		return
	}
	b.at(name, func() {
		switch {
		case p == Delete, p == Retain, p == RetainExceptOnCreate && name == "DeletionPolicy", p == Snapshot && snapshots(typ):
			out[name] = string(p)
		default:
			b.fault("%q is not for %s", string(p), typ)
		}
	})
}

// snapshots says whether CloudFormation can snapshot a type on removal.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
func snapshots(typ string) bool {
	switch typ {
	case "AWS::RDS::DBInstance", "AWS::RDS::DBCluster", "AWS::EC2::Volume",
		"AWS::DocDB::DBCluster", "AWS::Neptune::DBCluster", "AWS::Redshift::Cluster",
		"AWS::ElastiCache::CacheCluster", "AWS::ElastiCache::ReplicationGroup":
		return true
	}
	return false
}

// cycles reports each dependency cycle that a depth-first walk in the order of
// names meets.
func (b *builder) cycles() {
	const walking, done = 1, 2
	state := map[LogicalID]int{}
	var trail []LogicalID
	var walk func(id LogicalID)
	walk = func(id LogicalID) {
		state[id] = walking
		trail = append(trail, id)
		for _, next := range slices.Sorted(maps.Keys(b.deps[id])) {
			switch state[next] {
			case walking:
				var names []string
				for _, n := range trail[slices.Index(trail, next):] {
					names = append(names, string(n))
				}
				names = append(names, string(next))
				b.at("Resources", func() {
					b.at(string(next), func() { b.fault("dependency cycle: %s", strings.Join(names, " -> ")) })
				})
			case done:
			default:
				walk(next)
			}
		}
		trail = trail[:len(trail)-1]
		state[id] = done
	}
	for _, id := range slices.Sorted(maps.Keys(b.deps)) {
		if state[id] == 0 {
			walk(id)
		}
	}
}
