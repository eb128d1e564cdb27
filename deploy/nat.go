package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// A change of NAT mode goes in steps, each an update of the stack network, so
// that the new addresses are known before anything turns to them and the old
// ways out stand until the new ones are proved:
//
//  1. allocate: the template as it is, with the new addresses;
//  2. switch: the new template, with the old ways out kept beside;
//  3. release: the new template.
//
// Which one comes next is read from the stack's template, so a run that was
// killed between or during them is continued by the next. A default route has
// one logical id in all modes: CloudFormation replaces its target in place.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceRoute.html

const (
	typeAddress = "AWS::EC2::EIP"
	typeRoute   = "AWS::EC2::Route"
	// natPrefix begins the logical id of all that makes up a way out, and of
	// nothing else.
	natPrefix = "Nat"
	// defaultRoute begins the logical ids of the private subnets' way out.
	defaultRoute = "PrivateDefaultRoute"
	// inlineTemplate is the most bytes of a template that a request holds.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
	inlineTemplate = 51_200
)

// natDocument is a template of the stack network.
type natDocument struct {
	Parameters map[string]any            `json:"Parameters,omitempty"`
	Resources  map[string]map[string]any `json:"Resources"`
	Outputs    map[string]any            `json:"Outputs,omitempty"`
	rest       map[string]json.RawMessage
}

func (d *natDocument) UnmarshalJSON(b []byte) error {
	type plain natDocument
	if err := json.Unmarshal(b, &d.rest); err != nil {
		return err
	}
	return json.Unmarshal(b, (*plain)(d))
}

func (d natDocument) MarshalJSON() ([]byte, error) {
	all := map[string]any{}
	for k, v := range d.rest {
		all[k] = v
	}
	all["Resources"] = d.Resources
	if len(d.Parameters) > 0 {
		all["Parameters"] = d.Parameters
	}
	if len(d.Outputs) > 0 {
		all["Outputs"] = d.Outputs
	}
	return json.Marshal(all)
}

// addresses are the logical ids of the addresses that an output lists, sorted.
func (d natDocument) addresses(output string) []string {
	refs := map[string]bool{}
	references(d.Outputs[output], refs)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(refs)), func(id string) bool { return d.Resources[id]["Type"] != typeAddress })
}

// natChange is a change of NAT mode as two templates have it.
type natChange struct {
	old, next natDocument
	// coming are new addresses, leaving is what makes up ways out that go.
	coming, leaving []string
}

// changeOfNAT compares two templates of the stack network; nil if the ways out
// stay what they are.
func changeOfNAT(current, body []byte) (*natChange, error) {
	var c natChange
	if err := errors.Join(json.Unmarshal(current, &c.old), json.Unmarshal(body, &c.next)); err != nil {
		return nil, err
	}
	for _, id := range c.next.addresses(templates.AddressesOutput) {
		if c.old.Resources[id] == nil {
			c.coming = append(c.coming, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.old.Resources)) {
		if strings.HasPrefix(id, natPrefix) && c.next.Resources[id] == nil {
			c.leaving = append(c.leaving, id)
		}
	}
	// What was announced and is not wanted any more was never a way out.
	unused := !slices.ContainsFunc(c.leaving, func(id string) bool { return c.old.Resources[id]["Type"] != typeAddress })
	if unused {
		c.leaving = nil
	}
	if len(c.coming) == 0 && len(c.leaving) == 0 {
		return nil, nil
	}
	return &c, nil
}

// allocate is the template as it is, with the new addresses. The second result
// is false if they are there.
func (c *natChange) allocate(spec stack.Spec, live *stack.State) (stack.Spec, bool, error) {
	if len(c.coming) == 0 {
		return stack.Spec{}, false, nil
	}
	doc := c.old
	doc.Resources, doc.Outputs = maps.Clone(doc.Resources), maps.Clone(doc.Outputs)
	for _, id := range c.coming {
		doc.Resources[id] = c.next.Resources[id]
	}
	if doc.Outputs == nil {
		doc.Outputs = map[string]any{}
	}
	doc.Outputs[templates.AnnouncedOutput] = c.next.Outputs[templates.AddressesOutput]
	body, err := json.Marshal(doc)
	if err != nil {
		return stack.Spec{}, false, err
	}
	return stack.Spec{Name: spec.Name, Template: body, Parameters: live.Parameters, Tags: live.Tags, RoleARN: spec.RoleARN}, len(body) <= inlineTemplate, nil
}

// switchOver is the new template with the old ways out kept. The second result
// is false if the routes have turned already, if there is nothing to turn to,
// or if one template can't hold both: then the old ways go once the routes have
// turned, in the same update.
func (c *natChange) switchOver(spec stack.Spec, live *stack.State) (stack.Spec, bool, error) {
	if len(c.leaving) == 0 || !c.turns() {
		return stack.Spec{}, false, nil
	}
	doc := c.next
	doc.Resources, doc.Parameters = maps.Clone(doc.Resources), maps.Clone(doc.Parameters)
	if doc.Parameters == nil {
		doc.Parameters = map[string]any{}
	}
	spec.Parameters = maps.Clone(spec.Parameters)
	for todo := slices.Clone(c.leaving); len(todo) > 0; todo = todo[1:] {
		id := todo[0]
		if p, ok := c.old.Parameters[id]; ok && doc.Parameters[id] == nil {
			doc.Parameters[id], spec.Parameters[id] = p, live.Parameters[id]
		}
		r := c.old.Resources[id]
		if r == nil || doc.Resources[id] != nil {
			continue
		}
		doc.Resources[id] = r
		refs := map[string]bool{}
		references(r, refs)
		switch on := r["DependsOn"].(type) {
		case string:
			refs[on] = true
		case []any:
			for _, x := range on {
				if s, ok := x.(string); ok {
					refs[s] = true
				}
			}
		}
		todo = append(todo, slices.Sorted(maps.Keys(refs))...)
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return stack.Spec{}, false, err
	}
	spec.Template = body
	return spec, len(body) <= inlineTemplate, nil
}

// turns tells that a default route gets another target.
func (c *natChange) turns() bool {
	for id, r := range c.next.Resources {
		if strings.HasPrefix(id, defaultRoute) && r["Type"] == typeRoute && !reflect.DeepEqual(c.old.Resources[id]["Properties"], r["Properties"]) {
			return true
		}
	}
	return false
}

// announce allocates the addresses that a change of NAT mode leads to, and
// tells them, before the run changes anything else. It leaves alone a network
// that is being made or stands in a failure, which its turn deals with.
func (a *applying) announce(ctx context.Context) error {
	st := a.state(architecture.Network)
	if !st.Exists() || a.Architecture.Config.Network.Exists() {
		return nil
	}
	current, err := a.driver.Template(ctx, st.ID)
	if err != nil {
		return err
	}
	change, err := changeOfNAT(current, a.stacks[architecture.Network].Body)
	if err != nil || change == nil {
		return err
	}
	if stack.ConditionOf(st.Status) == stack.Moving && strings.HasPrefix(string(st.Status), "UPDATE_") {
		// The last run's update: what it leaves decides.
		if st, err = a.driver.Rest(ctx, st.Name); err != nil {
			return err
		}
		a.mu.Lock()
		a.states[architecture.Network] = st
		a.mu.Unlock()
	}
	if !st.Exists() || stack.ConditionOf(st.Status) != stack.Whole {
		return nil
	}
	spec := stack.Spec{Name: st.Name, RoleARN: a.Architecture.Config.ServiceRole}
	if spec, need, err := change.allocate(spec, st); err != nil {
		return err
	} else if need {
		a.step(architecture.Network, "allocating the new public addresses, before anything turns to them")
		out, err := a.driver.Apply(ctx, spec, a.approve(spec.Name))
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.states[architecture.Network] = out.State
		a.changes += len(out.Changes)
		a.mu.Unlock()
	}
	e, err := a.planEgress(ctx)
	if err != nil || e == nil {
		return err
	}
	a.step(architecture.Network, "the private subnets leave by other addresses: %s; allow-lists of others must have the new ones before the routes turn, and can drop the old ones afterwards", e)
	return nil
}

// natParts are the updates that come before the network's own when its NAT mode
// changes, and whether that gives up ways out.
func natParts(current []byte, spec stack.Spec, live *stack.State) (parts []part, releases bool, err error) {
	change, err := changeOfNAT(current, spec.Template)
	if err != nil || change == nil {
		return nil, false, err
	}
	if s, need, err := change.allocate(spec, live); err != nil {
		return nil, false, err
	} else if need {
		parts = append(parts, part{"addresses", "allocating the new public addresses, before anything turns to them", s})
	}
	if s, need, err := change.switchOver(spec, live); err != nil {
		return nil, false, err
	} else if need {
		parts = append(parts, part{"routes", "turning the routes to the new way out; the old one stays until that is proved", s})
	}
	return parts, len(change.leaving) > 0 && len(change.next.addresses(templates.AddressesOutput)) > 0, nil
}
