package view

import (
	"fmt"
	"io"

	"github.com/poolhouse/poolhouse/upgrade"
)

// Upgrade prints what an upgrade has left to do, stage by stage.
func Upgrade(w io.Writer, p *upgrade.Plan) {
	for _, n := range p.Notes {
		paragraph(w, "note: ", "  ", "%s", n)
	}
	if len(p.Budgets) > 0 {
		fmt.Fprintln(w, "Budgets with no allowed disruption, for which nodes wait until their group's update fails:")
		for _, b := range p.Budgets {
			paragraph(w, "  ", "    ", "%s", b)
		}
	}
	if p.Empty() {
		fmt.Fprintf(w, "Nothing to upgrade: %s runs Kubernetes %s.\n", p.Deployment, p.To)
		return
	}
	for _, stage := range upgrade.Stages {
		if stage == upgrade.Bake && p.Bake > 0 {
			fmt.Fprintf(w, "%s: the control plane is watched for %s\n", stage, Span(p.Bake))
		}
		changes := p.Of(stage)
		if len(changes) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s, one after another:\n", stage)
		for _, c := range changes {
			paragraph(w, "  ~ ", "    ", "%s (stack %s, about %s)", c, c.Stack, Span(c.Expected))
		}
	}
	fmt.Fprintf(w, "It takes about %s.\n", Span(p.Expected))
}
