// Package plan says beforehand what a deployment changes in a stack: what
// change sets list, and what the checks before deployment find.
//
// It evaluates the template with the resources as they are. What depends on a
// resource that is replaced, or on an attribute of one that changes, is unknown
// until then and counts as a change, as it does for CloudFormation; carrying
// the deployment out may show that nothing changes there.
package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/drift"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Plan is what a deployment would change, as far as it is known beforehand.
type Plan struct {
	Changes []Change
	// Drift is the stack's drift status, of a plan that reverts drift.
	Drift    string
	faults   []finding
	warnings []finding
	// outputs, tags and rest tell that these differ.
	outputs, tags, rest bool
}

// finding is what the checks before deployment found.
type finding struct {
	id, typ, kind, path, message string
}

// The checks before deployment: the first two stop it, the others warn, and are
// for change sets only. Of those AWS's documents name the first; the names of
// the last two are ours, for want of published ones.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
const (
	propertyCheck   = "PROPERTY_VALIDATION"
	existenceCheck  = "NAME_CONFLICT_VALIDATION"
	bucketCheck     = "BUCKET_EMPTINESS_VALIDATION"
	repositoryCheck = "REPOSITORY_EMPTINESS_VALIDATION"
	quotaCheck      = "SERVICE_QUOTA_VALIDATION"
)

// Change is how one resource changes, in the terms of DescribeChangeSet.
type Change struct {
	Action, LogicalID, PhysicalID, Type string
	Replacement, PolicyAction           string
	Scope                               []string
	Details                             []Detail
	Before, After                       map[string]any
	// Drift is the resource's drift status, and Ignored are the properties
	// whose drift is left to AWS, in a plan that reverts drift.
	Drift   string
	Ignored []string
}

// Detail is one cause of a change.
type Detail struct {
	Attribute, Name, Path     string
	Recreation                string
	Source, Cause, Evaluation string
	Before, After             any
	ChangeType                string
	// Live tells that Before is what the resource has, in a plan that reverts
	// drift, and Drifted that this is not what was deployed, which is Previous.
	Live, Drifted bool
	Previous      any
}

// SyncWithActual is the change of what has become what the template asks for.
const SyncWithActual = "SyncWithActual"

// fate is what a plan means for a resource.
type fate int

const (
	same       fate = iota
	retagged        // only what has no bearing on attributes
	modified        // attributes may differ
	maybeOther      // replaced under conditions
	other           // new or replaced
)

// planner compares one deployment with one stack.
type planner struct {
	tx    *account.Tx
	st    *stack.Stack
	d     *stack.Deployment
	scope template.Scope
	fates map[string]fate
	plan  *Plan
}

// New compares a deployment with the stack as it is.
func New(tx *account.Tx, st *stack.Stack, d *stack.Deployment) (*Plan, error) {
	p := &planner{tx: tx, st: st, d: d, scope: *d.Scope, fates: map[string]fate{}, plan: &Plan{}}
	p.scope.Resource = p.ref
	p.scope.Attribute = p.attribute
	p.scope.Import = func(name string) (string, bool) { return stack.Export(tx, name) }
	if d.Revert {
		p.plan.Drift = stack.InSync
	}
	if err := p.resources(); err != nil {
		return nil, err
	}
	p.warn()
	return p.plan, p.rest()
}

// ref is the id of a resource that keeps it for certain.
func (p *planner) ref(id string) any {
	if r := p.st.Resources[id]; r != nil && r.Physical != "" && p.fates[id] <= modified {
		return r.Physical
	}
	return facts.Unknown{}
}

// attribute is the attribute of a resource that keeps it for certain.
func (p *planner) attribute(id, name string) (any, error) {
	r := p.st.Resources[id]
	if r == nil || r.Physical == "" || p.fates[id] > retagged {
		return facts.Unknown{}, nil
	}
	if v, err := stack.Attribute(p.tx, r, name); err == nil {
		return v, nil
	}
	return facts.Unknown{}, nil
}

func (p *planner) resources() error {
	var retyped []string
	for _, id := range topological(p.d.Needs) {
		def := p.d.Template.Resources[id]
		r := p.st.Resources[id]
		if r != nil && r.Physical != "" && r.Def.Type.Name != def.Type.Name {
			retyped = append(retyped, id)
			continue
		}
		raw, err := p.scope.Properties(def)
		if err != nil {
			return err
		}
		props, faults := def.Type.Normalise(raw)
		for _, f := range faults {
			p.plan.faults = append(p.plan.faults, finding{id, def.Type.Name, propertyCheck, "/Resources/" + id + "/Properties" + strings.TrimPrefix(f.Path, "#"), f.Early})
		}
		if r == nil || r.Physical == "" || r.Status == "CREATE_FAILED" {
			p.fates[id] = other
			if r == nil || r.Physical == "" {
				p.conflict(def, props)
			}
			p.plan.Changes = append(p.plan.Changes, Change{Action: "Add", LogicalID: id, Type: def.Type.Name, After: context(def, props)})
			continue
		}
		live := map[string]any(nil)
		if p.d.Revert && facts.ThreeWay(def.Type.Name) {
			if live = r.Live(p.tx); live == nil {
				p.plan.Drift, p.fates[id] = stack.Drifted, other
				p.plan.Changes = append(p.plan.Changes, Change{Action: "Add", LogicalID: id, Type: def.Type.Name, After: context(def, props), Drift: stack.Gone})
				continue
			}
		}
		if c, f := p.compare(r, def, props, live); f != same {
			p.fates[id] = f
			p.plan.Changes = append(p.plan.Changes, c)
		} else if def.UpdateReplacePolicy != r.Def.UpdateReplacePolicy || !slices.Equal(def.DependsOn, r.Def.DependsOn) {
			p.plan.rest = true
		}
	}
	if len(retyped) > 0 {
		return account.Errorf("ValidationError", "Update of resource type is not permitted. The new template modifies resource type of the following resources: [%s]", strings.Join(retyped, ", "))
	}
	for id, r := range p.st.Resources {
		if _, stays := p.d.Needs[id]; !stays && r.Physical != "" && !strings.HasPrefix(r.Status, "DELETE_") {
			c := Change{Action: "Remove", LogicalID: id, PhysicalID: r.Physical, Type: r.Def.Type.Name, Before: context(r.Def, r.Props)}
			c.PolicyAction = policyAction(r.Def.DeletionPolicy)
			p.plan.Changes = append(p.plan.Changes, c)
		}
	}
	slices.SortFunc(p.plan.Changes, func(a, b Change) int { return strings.Compare(a.LogicalID, b.LogicalID) })
	slices.SortStableFunc(p.plan.faults, func(a, b finding) int { return strings.Compare(a.id, b.id) })
	return nil
}

// rest compares what isn't a resource.
func (p *planner) rest() error {
	outputs, err := p.scope.Outputs()
	if err != nil {
		return err
	}
	before := map[string]template.Output{}
	for _, o := range p.st.Outputs {
		before[o.Key] = o
	}
	for _, o := range outputs {
		// What is unknown yet depends on a change that is listed already.
		if b, ok := before[o.Key]; !ok || o.Value != "" && b.Value != o.Value || b.Description != o.Description || b.Export != o.Export {
			p.plan.outputs = true
		}
		delete(before, o.Key)
	}
	p.plan.outputs = p.plan.outputs || len(before) > 0
	if c := p.st.Current; c != nil {
		p.plan.tags = !maps.Equal(c.Tags, p.d.Tags)
		p.plan.rest = p.plan.rest || c.Role != p.d.Role || !slices.Equal(c.Notifications, p.d.Notifications)
	}
	return nil
}

// Empty tells that there is nothing to do.
func (p *Plan) Empty() bool {
	return len(p.Changes) == 0 && len(p.faults) == 0 && !p.outputs && !p.tags && !p.rest
}

// Refusal is the reason that the checks before deployment give, or "".
func (p *Plan) Refusal() string {
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
func (p *planner) conflict(def *template.Resource, props map[string]any) {
	if def.Type.Name == "AWS::Route53::RecordSet" {
		// Its name isn't its identity.
		return
	}
	name := stack.CustomName(def.Type, props)
	if name != "" && p.tx.Get(def.Type.Name, name) != nil {
		p.plan.faults = append(p.plan.faults, finding{
			def.LogicalID, def.Type.Name, existenceCheck, "/Resources/" + def.LogicalID,
			"Resource of type '" + def.Type.Name + "' with identifier '" + name + "' already exists.",
		})
	}
}

// compare lists how an existing resource would change. Live are the properties
// that it has, for a plan that reverts drift, or nil.
func (p *planner) compare(r *stack.Resource, def *template.Resource, props, live map[string]any) (Change, fate) {
	c := Change{Action: "Modify", LogicalID: r.ID, PhysicalID: r.Physical, Type: def.Type.Name, Replacement: "False", Before: context(r.Def, r.Props), After: context(def, props)}
	result := same
	tagProperty := def.Type.Tagging().Property
	changed := stack.Changed(r.Props, props)
	back := p.back(&c, r, def, props, live)
	names := slices.Concat(changed, slices.Collect(maps.Keys(back)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		ds := back[name]
		if slices.Contains(changed, name) {
			ds = p.details(r, def, props, name)
			if live != nil {
				look(ds, r.Props[name], live[name], back[name])
			}
		}
		if name == tagProperty && tagProperty != "" {
			for i := range ds {
				ds[i].Attribute, ds[i].Name = "Tags", ""
			}
			c.Scope = appendOnce(c.Scope, "Tags")
			result = max(result, retagged)
		} else {
			c.Scope = appendOnce(c.Scope, "Properties")
			result = max(result, modified)
		}
		for _, x := range ds {
			switch {
			case x.ChangeType == SyncWithActual:
			case x.Recreation == "Always" && x.Evaluation == "Static":
				result = other
			case x.Recreation != "Never":
				result = max(result, maybeOther)
			}
		}
		c.Details = append(c.Details, ds...)
	}
	attribute := func(name string, before, after any) {
		c.Scope = append(c.Scope, name)
		c.Details = append(c.Details, Detail{Attribute: name, Path: "/" + name, Recreation: "Never", Source: "DirectModification", Evaluation: "Static", Before: before, After: after, ChangeType: changeType(before, after)})
		result = max(result, retagged)
	}
	if stack.TagsDiffer(r, p.d) && !slices.Contains(c.Scope, "Tags") {
		attribute("Tags", tagList(r.StackTags), tagList(p.d.Tags))
	}
	if !expression.Equal(some(r.Def.Metadata), some(def.Metadata)) {
		attribute("Metadata", r.Def.Metadata, def.Metadata)
	}
	if !expression.Equal(some(r.Def.UpdatePolicy), some(def.UpdatePolicy)) {
		attribute("UpdatePolicy", r.Def.UpdatePolicy, def.UpdatePolicy)
	}
	if r.Def.DeletionPolicy != def.DeletionPolicy {
		attribute("DeletionPolicy", r.Def.DeletionPolicy, def.DeletionPolicy)
	}
	switch result {
	case other:
		c.Replacement = "True"
		c.PolicyAction = "ReplaceAnd" + policyAction(def.UpdateReplacePolicy)
	case maybeOther:
		c.Replacement = "Conditional"
	}
	if len(c.Details) > 0 && !slices.ContainsFunc(c.Details, func(x Detail) bool { return x.ChangeType != SyncWithActual }) {
		c.Action, c.Replacement, result = SyncWithActual, "", retagged
	}
	return c, result
}

// back are the details of drift that is put right, by property. It notes the
// resource's drift in the change.
func (p *planner) back(c *Change, r *stack.Resource, def *template.Resource, props, live map[string]any) map[string][]Detail {
	if !p.d.Revert {
		return nil
	}
	if live == nil {
		c.Drift = "UNSUPPORTED"
		return nil
	}
	c.Drift = stack.InSync
	if len(drift.Compare(def.Type, r.Props, live)) > 0 {
		c.Drift, p.plan.Drift = stack.Modified, stack.Drifted
	}
	put, ignored := stack.Reverted(r, props, live)
	c.Ignored = ignored
	out := map[string][]Detail{}
	for _, d := range put {
		name := d.Property()
		x := Detail{
			Attribute: "Properties", Name: name, Path: "/Properties" + d.Path, Recreation: recreation(def.Type, name), Source: "NoModification", Evaluation: "Static",
			Before: d.Actual, After: d.Expected, ChangeType: changeType(d.Actual, d.Expected), Live: true, Drifted: true, Previous: d.Expected,
		}
		out[name] = append(out[name], x)
	}
	return out
}

// look tells what details of a property that the template changes mean for the
// value that is there: one that is as wanted already is taken over.
func look(ds []Detail, previous, live any, back []Detail) {
	for i := range ds {
		x := &ds[i]
		x.Live, x.Before, x.Previous = true, live, previous
		x.Drifted = !expression.Equal(some(previous), some(live))
		x.ChangeType = changeType(x.Before, x.After)
		if len(back) == 0 && x.After != nil {
			x.ChangeType = SyncWithActual
		}
	}
}

func recreation(t *facts.Type, property string) string {
	switch t.Replace(property) {
	case "yes":
		return "Always"
	case "maybe":
		return "Conditionally"
	}
	return "Never"
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
func (p *planner) details(r *stack.Resource, def *template.Resource, props map[string]any, name string) []Detail {
	base := Detail{Attribute: "Properties", Name: name, Path: "/Properties/" + name, Recreation: recreation(def.Type, name), Before: r.Props[name], After: props[name]}
	base.ChangeType = changeType(base.Before, base.After)
	var out []Detail
	add := func(source, cause, evaluation string) {
		x := base
		x.Source, x.Cause, x.Evaluation = source, cause, evaluation
		out = append(out, x)
	}
	byParameter := false
	for _, ref := range p.scope.Refs(def, name) {
		switch {
		case p.d.Template.Parameters[ref.Name] != nil:
			if was, ok := p.st.Current.Scope.Parameters[ref.Name]; ok && !expression.Equal(was, p.scope.Parameters[ref.Name]) {
				add("ParameterReference", ref.Name, "Static")
				byParameter = true
			}
		case ref.Attr != "" && p.fates[ref.Name] > retagged:
			add("ResourceAttribute", ref.Name+"."+ref.Attr, "Dynamic")
		case ref.Attr == "" && p.fates[ref.Name] > modified:
			add("ResourceReference", ref.Name, "Dynamic")
		}
	}
	switch {
	case !expression.Equal(some(r.Def.Source[name]), some(def.Source[name])):
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

// tagList is tags as a value, or nil if there are none.
func tagList(tags map[string]string) any {
	if len(tags) == 0 {
		return nil
	}
	return props.Pairs(tags)
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

// Events are the findings as events; they belong to no operation yet. With
// warnings, they are those of a change set.
func (p *Plan) Events(tx *account.Tx, warnings bool) []*stack.Event {
	var out []*stack.Event
	add := func(all []finding, mode string) {
		for _, f := range all {
			out = append(out, &stack.Event{ID: tx.UUID(), At: tx.Now(), LogicalID: f.id, Type: f.typ, Reason: f.message, Validation: f.kind, Path: f.path, Mode: mode})
		}
	}
	add(p.faults, "FAIL")
	if warnings {
		add(p.warnings, "WARN")
	}
	return out
}
