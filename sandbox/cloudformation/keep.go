package cloudformation

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/policy"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/graph"
)

// Kinds are the types of state that CloudFormation has in the account, and the
// forms in which they are kept.
func Kinds() []graph.Kind {
	return slices.Concat(template.Kinds(), []graph.Kind{
		graph.Type[*stack.Stack]("stack"),
		graph.Type[*changeSet]("change-set"),
		graph.Constant[*stack.Event]("stack-event"),
		graph.Constant[*stack.Deployment]("deployment"),
		graph.Constant[*stack.Drift]("stack-drift"),
		graph.Packed("stack-policy", func(p *policy.Policy) string { return p.Body }, policy.Parse),
	})
}
