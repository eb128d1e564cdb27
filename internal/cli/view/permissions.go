package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox/recording"
)

// Permissions lists what a deployment's life takes, a line for each action and
// resource, with how it is known.
func Permissions(w io.Writer, p *rehearse.Permissions) {
	needed(w, "The operator, who runs poolhouse", &p.Operator)
	if p.ServiceRole != nil {
		needed(w, "The role that CloudFormation assumes, "+p.ServiceRole.Principal, p.ServiceRole)
	}
	if len(p.Passed) > 0 {
		fmt.Fprintln(w, "\nRoles that services are handed; what they do in them, the roles' own policies allow")
		for _, r := range p.Passed {
			fmt.Fprintf(w, "  %s\n", safe(r))
		}
	}
	fmt.Fprintln(w)
	paragraph(w, "recorded:  ", "           ", "a call that poolhouse made in the rehearsal")
	paragraph(w, "published: ", "           ", "what AWS publishes that CloudFormation needs for the resource type")
	paragraph(w, "assumed:   ", "           ", "what neither shows: of types that AWS publishes nothing of, what services ask of the caller by themselves, and what deleting data takes")
}

func needed(w io.Writer, title string, n *rehearse.Needed) {
	fmt.Fprintf(w, "\n%s: %s in %s\n", safe(title), Count(len(n.Grants), "permission"), countPolicies(len(n.Policies)))
	table(w, func(row func(string, ...any)) {
		row("  KNOWN\tACTION\tRESOURCE\tIF")
		for _, g := range n.Grants {
			row("  %s\t%s\t%s\t%s", g.Source, g.Action, g.Resource, conditions(g))
		}
	})
	if len(n.Policies) > recording.MaxPolicies {
		paragraph(w, "  ", "  ", "A role may have %d managed policies attached unless its quota is raised.", recording.MaxPolicies)
	}
}

func countPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}

func conditions(g recording.Grant) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(g.Conditions)) {
		out = append(out, k+"="+strings.Join(g.Conditions[k], ","))
	}
	return strings.Join(out, " ")
}
