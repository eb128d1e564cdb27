package template

import (
	"fmt"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/graph"
)

// writtenResource is a resource as its template has it.
type writtenResource struct {
	ID      string
	Written map[string]any
}

// boundScope is a scope as it was before it was bound.
type boundScope struct {
	Template   *Template
	Pseudo     expression.Pseudo
	Parameters map[string]any
	Zones      []string
}

// Kinds are the forms in which templates are kept: as they were written.
func Kinds() []graph.Kind {
	return []graph.Kind{
		graph.Packed("template", func(t *Template) string { return t.Body }, func(body string) (*Template, error) {
			types, err := facts.Load()
			if err != nil {
				return nil, err
			}
			return Parse(body, types)
		}),
		graph.Packed("template-resource", func(r *Resource) writtenResource { return writtenResource{r.LogicalID, r.written} }, func(w writtenResource) (*Resource, error) {
			types, err := facts.Load()
			if err != nil {
				return nil, err
			}
			name, _ := w.Written["Type"].(string)
			r := &Resource{LogicalID: w.ID, Type: types[name], written: w.Written}
			if r.Type == nil {
				return nil, fmt.Errorf("resource type %q is unknown: %w", name, graph.ErrOther)
			}
			return r, r.read(w.Written, "/Resources/"+w.ID)
		}),
		graph.Packed("template-scope", func(s *Scope) boundScope {
			return boundScope{s.t, s.Pseudo, s.Parameters, s.Zones}
		}, func(b boundScope) (*Scope, error) {
			return b.Template.Bind(expression.Scope{Pseudo: b.Pseudo, Parameters: b.Parameters, Zones: b.Zones})
		}),
		graph.Packed("resource-type", func(t *facts.Type) string { return t.Name }, func(name string) (*facts.Type, error) {
			types, err := facts.Load()
			if err == nil && types[name] == nil {
				err = fmt.Errorf("resource type %q is unknown: %w", name, graph.ErrOther)
			}
			return types[name], err
		}),
		graph.Type[facts.Unknown]("unknown"),
		graph.Type[expression.NoValue]("no-value"),
	}
}
