package cloudformation

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// plan is what a deployment would change, as far as it is known beforehand.
type plan struct {
	changes []change
	faults  []planFault
	// outputs, tags and rest tell that these differ.
	outputs, tags, rest bool
}

// planFault is what the checks before deployment found.
type planFault struct {
	id, typ, kind, path, message string
}

// The checks before deployment that stop it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
const (
	propertyCheck  = "PROPERTY_VALIDATION"
	existenceCheck = "NAME_CONFLICT_VALIDATION"
)

type change struct {
	action, id, physical, typ string
	replacement, policyAction string
	scope                     []string
	details                   []detail
	before, after             map[string]any
}

type detail struct {
	attribute, name, path     string
	recreation                string
	source, cause, evaluation string
	before, after             any
	changeType                string
}

// fate is what a plan means for a resource.
type fate int

const (
	same       fate = iota
	retagged        // only what has no bearing on attributes
	modified        // attributes may differ
	maybeOther      // replaced under conditions
	other           // new or replaced
)

// plan compares a deployment with the stack as it is.
func (e *engine) plan(d *deployment) (*plan, error) {
	p := &plan{}
	fates := map[string]fate{}
	s := *d.scope
	s.Resource = func(id string) any {
		if r := e.st.resources[id]; r != nil && r.physical != "" && fates[id] <= modified {
			return r.physical
		}
		return facts.Unknown{}
	}
	s.Attribute = func(id, name string) (any, error) {
		r := e.st.resources[id]
		if r == nil || r.physical == "" || fates[id] > retagged {
			return facts.Unknown{}, nil
		}
		if v, err := attribute(e.tx, r, name); err == nil {
			return v, nil
		}
		return facts.Unknown{}, nil
	}
	s.Import = func(name string) (string, bool) { return export(e.tx, name) }

	var retyped []string
	for _, id := range topological(d.needs) {
		def := d.template.Resources[id]
		r := e.st.resources[id]
		if r != nil && r.physical != "" && r.def.Type.Name != def.Type.Name {
			retyped = append(retyped, id)
			continue
		}
		raw, err := s.Properties(def)
		if err != nil {
			return nil, err
		}
		props, faults := def.Type.Normalise(raw)
		for _, f := range faults {
			p.faults = append(p.faults, planFault{id, def.Type.Name, propertyCheck, "/Resources/" + id + "/Properties" + strings.TrimPrefix(f.Path, "#"), f.Early})
		}
		if r == nil || r.physical == "" || r.status == "CREATE_FAILED" {
			fates[id] = other
			if r == nil || r.physical == "" {
				e.conflict(p, def, props)
			}
			p.changes = append(p.changes, change{action: "Add", id: id, typ: def.Type.Name, after: context(def, props)})
			continue
		}
		if c, f := e.compare(&s, d, r, def, props, fates); f != same {
			fates[id] = f
			p.changes = append(p.changes, c)
		} else if def.UpdateReplacePolicy != r.def.UpdateReplacePolicy || !slices.Equal(def.DependsOn, r.def.DependsOn) {
			p.rest = true
		}
	}
	if len(retyped) > 0 {
		return nil, account.Errorf("ValidationError", "Update of resource type is not permitted. The new template modifies resource type of the following resources: [%s]", strings.Join(retyped, ", "))
	}
	for id, r := range e.st.resources {
		if _, stays := d.needs[id]; !stays && r.physical != "" && !strings.HasPrefix(r.status, "DELETE_") {
			c := change{action: "Remove", id: id, physical: r.physical, typ: r.def.Type.Name, before: context(r.def, r.props)}
			c.policyAction = policyAction(r.def.DeletionPolicy)
			p.changes = append(p.changes, c)
		}
	}
	slices.SortFunc(p.changes, func(a, b change) int { return strings.Compare(a.id, b.id) })
	slices.SortStableFunc(p.faults, func(a, b planFault) int { return strings.Compare(a.id, b.id) })
	return p, e.planRest(p, &s, d)
}

// planRest compares what isn't a resource.
func (e *engine) planRest(p *plan, s *template.Scope, d *deployment) error {
	outputs, err := s.Outputs()
	if err != nil {
		return err
	}
	before := map[string]template.Output{}
	for _, o := range e.st.outputs {
		before[o.Key] = o
	}
	for _, o := range outputs {
		// What is unknown yet depends on a change that is listed already.
		if b, ok := before[o.Key]; !ok || o.Value != "" && b.Value != o.Value || b.Description != o.Description || b.Export != o.Export {
			p.outputs = true
		}
		delete(before, o.Key)
	}
	p.outputs = p.outputs || len(before) > 0
	if c := e.st.current; c != nil {
		p.tags = !maps.Equal(c.tags, d.tags)
		p.rest = p.rest || c.role != d.role || !slices.Equal(c.notifications, d.notifications)
	}
	return nil
}

// empty tells that there is nothing to do.
func (p *plan) empty() bool {
	return len(p.changes) == 0 && len(p.faults) == 0 && !p.outputs && !p.tags && !p.rest
}

// refusal is the reason that the checks before deployment give, or "".
func (p *plan) refusal() string {
	var checks []string
	for _, f := range p.faults {
		name := "AWS::EarlyValidation::PropertyValidation"
		if f.kind == existenceCheck {
			name = "AWS::EarlyValidation::ResourceExistenceCheck"
		}
		if !slices.Contains(checks, name) {
			checks = append(checks, name)
		}
	}
	if len(checks) == 0 {
		return ""
	}
	slices.Sort(checks)
	return "The following hook(s)/validation failed: [" + strings.Join(checks, ", ") + "]. To troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."
}

// conflict finds a resource that already has the name of one to be made.
func (e *engine) conflict(p *plan, def *template.Resource, props map[string]any) {
	if def.Type.Name == "AWS::Route53::RecordSet" {
		// Its name isn't its identity.
		return
	}
	name := customName(def.Type, props)
	if name != "" && e.tx.Get(def.Type.Name, name) != nil {
		p.faults = append(p.faults, planFault{def.LogicalID, def.Type.Name, existenceCheck, "/Resources/" + def.LogicalID,
			"Resource of type '" + def.Type.Name + "' with identifier '" + name + "' already exists."})
	}
}

// compare lists how an existing resource would change.
func (e *engine) compare(s *template.Scope, d *deployment, r *resource, def *template.Resource, props map[string]any, fates map[string]fate) (change, fate) {
	c := change{action: "Modify", id: r.id, physical: r.physical, typ: def.Type.Name, replacement: "False", before: context(r.def, r.props), after: context(def, props)}
	result := same
	tagProperty := def.Type.Tagging().Property
	for _, name := range changed(r.props, props) {
		ds := e.details(s, d, r, def, props, name, fates)
		if name == tagProperty && tagProperty != "" {
			for i := range ds {
				ds[i].attribute, ds[i].name = "Tags", ""
			}
			c.scope = appendOnce(c.scope, "Tags")
			result = max(result, retagged)
		} else {
			c.scope = appendOnce(c.scope, "Properties")
			result = max(result, modified)
		}
		for _, x := range ds {
			switch {
			case x.recreation == "Always" && x.evaluation == "Static":
				result = other
			case x.recreation != "Never":
				result = max(result, maybeOther)
			}
		}
		c.details = append(c.details, ds...)
	}
	attribute := func(name string, before, after any) {
		c.scope = append(c.scope, name)
		c.details = append(c.details, detail{attribute: name, path: "/" + name, recreation: "Never", source: "DirectModification", evaluation: "Static", before: before, after: after, changeType: changeType(before, after)})
		result = max(result, retagged)
	}
	if tagsDiffer(r, d) && !slices.Contains(c.scope, "Tags") {
		attribute("Tags", tagList(r.stackTags), tagList(d.tags))
	}
	if !template.Equal(some(r.def.Metadata), some(def.Metadata)) {
		attribute("Metadata", r.def.Metadata, def.Metadata)
	}
	if !template.Equal(some(r.def.UpdatePolicy), some(def.UpdatePolicy)) {
		attribute("UpdatePolicy", r.def.UpdatePolicy, def.UpdatePolicy)
	}
	if r.def.DeletionPolicy != def.DeletionPolicy {
		attribute("DeletionPolicy", r.def.DeletionPolicy, def.DeletionPolicy)
	}
	switch result {
	case other:
		c.replacement = "True"
		c.policyAction = "ReplaceAnd" + policyAction(def.UpdateReplacePolicy)
	case maybeOther:
		c.replacement = "Conditional"
	}
	return c, result
}

// some makes nothing comparable.
func some(v any) any {
	if v == nil {
		return ""
	}
	return v
}

func appendOnce(l []string, s string) []string {
	if slices.Contains(l, s) {
		return l
	}
	return append(l, s)
}

// details are the causes of a property's change.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChangeDetail.html
func (e *engine) details(s *template.Scope, d *deployment, r *resource, def *template.Resource, props map[string]any, name string, fates map[string]fate) []detail {
	base := detail{attribute: "Properties", name: name, path: "/Properties/" + name, recreation: "Never", before: r.props[name], after: props[name]}
	base.changeType = changeType(base.before, base.after)
	switch def.Type.Replace(name) {
	case "yes":
		base.recreation = "Always"
	case "maybe":
		base.recreation = "Conditionally"
	}
	var out []detail
	add := func(source, cause, evaluation string) {
		x := base
		x.source, x.cause, x.evaluation = source, cause, evaluation
		out = append(out, x)
	}
	byParameter := false
	for _, ref := range s.Refs(def, name) {
		switch {
		case d.template.Parameters[ref.Name] != nil:
			if was, ok := e.st.current.scope.Parameters[ref.Name]; ok && !template.Equal(was, s.Parameters[ref.Name]) {
				add("ParameterReference", ref.Name, "Static")
				byParameter = true
			}
		case ref.Attr != "" && fates[ref.Name] > retagged:
			add("ResourceAttribute", ref.Name+"."+ref.Attr, "Dynamic")
		case ref.Attr == "" && fates[ref.Name] > modified:
			add("ResourceReference", ref.Name, "Dynamic")
		}
	}
	switch {
	case !template.Equal(some(r.def.Source[name]), some(def.Source[name])):
		add("DirectModification", "", "Static")
	case byParameter:
		// CloudFormation can't rule out that the template changed as well.
		add("DirectModification", "", "Dynamic")
	case len(out) == 0:
		add("DirectModification", "", "Static")
	}
	return out
}

func changeType(before, after any) string {
	switch {
	case before == nil:
		return "Add"
	case after == nil:
		return "Remove"
	}
	return "Modify"
}

func policyAction(policy string) string {
	switch policy {
	case "RetainExceptOnCreate":
		return "Retain"
	}
	return policy
}

// context is a resource as change sets show it.
func context(def *template.Resource, props map[string]any) map[string]any {
	m := map[string]any{"Properties": props}
	if def.Metadata != nil {
		m["Metadata"] = def.Metadata
	}
	if def.DeletionPolicy != "Delete" {
		m["DeletionPolicy"] = def.DeletionPolicy
	}
	if def.UpdateReplacePolicy != "Delete" {
		m["UpdateReplacePolicy"] = def.UpdateReplacePolicy
	}
	return m
}

func pairs(tags map[string]string) []any {
	var out []any
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, map[string]any{"Key": k, "Value": tags[k]})
	}
	return out
}

// topological orders resources so that each comes after those it needs.
func topological(needs map[string][]string) []string {
	out := make([]string, 0, len(needs))
	seen := make(map[string]bool, len(needs))
	var visit func(id string)
	visit = func(id string) {
		if seen[id] {
			return
		}
		seen[id] = true
		for _, n := range needs[id] {
			visit(n)
		}
		out = append(out, id)
	}
	for _, id := range slices.Sorted(maps.Keys(needs)) {
		visit(id)
	}
	return out
}
