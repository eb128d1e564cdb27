package cloudformation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func getTemplate(tx *account.Tx, r *wire.Request) (any, error) {
	var d *stack.Deployment
	if name := r.String("ChangeSetName"); name != "" {
		c, err := findChangeSet(tx, name, r.String("StackName"))
		if err != nil {
			return nil, err
		}
		d = c.target
	} else {
		e, err := named(tx, r, missingWithID)
		if err != nil {
			return nil, err
		}
		d = e.Stack.Current
	}
	out := map[string]any{"StagesAvailable": []string{"Original", "Processed"}}
	if d != nil {
		out["TemplateBody"] = d.Template.Body
	}
	return out, nil
}

// requested is the template that a request gives or whose stack it names.
func requested(tx *account.Tx, r *wire.Request) (*template.Template, error) {
	if err := unmodelled(r); err != nil {
		return nil, err
	}
	if r.String("StackSetName") != "" {
		return nil, account.NotModelled("stack sets are not modelled by the sandbox")
	}
	body, err := templateBody(tx, r)
	if err != nil {
		return nil, err
	}
	if r.String("StackName") != "" {
		if body != "" {
			return nil, invalid("You cannot specify both StackName and TemplateBody.")
		}
		e, err := named(tx, r, missingWithID)
		if err != nil {
			return nil, err
		}
		if e.Stack.Current == nil {
			return nil, invalid("Stack %s has no template yet", e.Stack.ID)
		}
		return e.Stack.Current.Template, nil
	}
	if body == "" {
		return nil, invalid("Either Template URL or Template Body must be specified.")
	}
	return parse(tx, body)
}

func capabilities(t *template.Template, out map[string]any) {
	if need, types := t.Capability(); need != "" {
		out["Capabilities"] = []string{need}
		out["CapabilitiesReason"] = fmt.Sprintf("The following resource(s) require capabilities: [%s]", strings.Join(types, ", "))
	}
}

func declared(t *template.Template) []*template.Parameter {
	var out []*template.Parameter
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		out = append(out, t.Parameters[name])
	}
	return out
}

func validateTemplate(tx *account.Tx, r *wire.Request) (any, error) {
	t, err := requested(tx, r)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"Description": optional(t.Description), "Parameters": list(declared(t), func(p *template.Parameter) map[string]any {
		m := map[string]any{"ParameterKey": p.Name, "NoEcho": p.NoEcho, "Description": optional(p.Description)}
		if p.HasDefault {
			m["DefaultValue"] = p.Default
		}
		return m
	})}
	capabilities(t, out)
	return out, nil
}

func getTemplateSummary(tx *account.Tx, r *wire.Request) (any, error) {
	t, err := requested(tx, r)
	if err != nil {
		return nil, err
	}
	byType := map[string][]string{}
	for id, res := range t.Resources {
		byType[res.Type.Name] = append(byType[res.Type.Name], id)
	}
	out := map[string]any{
		"Description": optional(t.Description), "Version": "2010-09-09", "ResourceTypes": t.Types(),
		"Parameters": list(declared(t), func(p *template.Parameter) map[string]any {
			m := map[string]any{
				"ParameterKey": p.Name, "ParameterType": p.Type, "NoEcho": p.NoEcho, "Description": optional(p.Description),
				"ParameterConstraints": map[string]any{"AllowedValues": texts2any(p.AllowedValues)},
			}
			if p.HasDefault {
				m["DefaultValue"] = p.Default
			}
			return m
		}),
		"ResourceIdentifierSummaries": list(t.Types(), func(name string) map[string]any {
			ids := byType[name]
			slices.Sort(ids)
			return map[string]any{"ResourceType": name, "LogicalResourceIds": ids, "ResourceIdentifiers": texts2any(t.Resources[ids[0]].Type.ID)}
		}),
	}
	if t.Metadata != nil {
		out["Metadata"] = expression.JSON(t.Metadata)
	}
	capabilities(t, out)
	return out, nil
}
