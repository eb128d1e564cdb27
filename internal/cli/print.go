package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/stack"
)

// print writes a result as JSON, or by text.
func (a *app) print(v any, text func()) error {
	if a.output != "json" {
		text()
		return nil
	}
	enc := json.NewEncoder(a.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// table aligns rows of tab-separated cells.
func table(w io.Writer, f func(row func(format string, args ...any))) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	f(func(format string, args ...any) { fmt.Fprintf(tw, format+"\n", args...) })
	// The writer below reports its own errors.
	_ = tw.Flush()
}

// span is a duration for people: 45s, 12m, 1h05m.
func span(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

var signs = map[stack.Action]string{
	stack.Add: "+", stack.Modify: "~", stack.Replace: "±", stack.MayReplace: "±", stack.Remove: "-",
}

func printPlan(w io.Writer, p *deploy.Plan, verbose bool) {
	where := "in " + p.Region
	if p.Offline {
		where += ", as if nothing were there"
	}
	fmt.Fprintf(w, "%s %s\n", p.Deployment, where)
	if len(p.Deviations) > 0 {
		fmt.Fprintln(w, "\nDeviations from the reference architecture:")
		for _, d := range p.Deviations {
			reason := d.Reason
			if reason == "" {
				reason = "no reason given"
			}
			fmt.Fprintf(w, "  %s: %s (%s)\n", d.ID, d.What, reason)
		}
	}
	total := map[stack.Action]int{}
	var unchanged []string
	for _, s := range p.Stacks {
		if s.Action == deploy.NoChange {
			unchanged = append(unchanged, string(s.Stack))
			continue
		}
		fmt.Fprintf(w, "\n%s stack %s, %s, about %s\n", s.Action, s.Name, count(len(s.Changes), "resource"), span(s.Expected))
		if s.Status != "" {
			fmt.Fprintf(w, "  it is %s now, which is dealt with first\n", s.Status)
		}
		if len(s.KnownAfter) > 0 && (verbose || s.Action == deploy.UpdateStack) {
			fmt.Fprintf(w, "  values known after: %s\n", join(s.KnownAfter))
		}
		for _, c := range s.Changes {
			total[c.Action]++
		}
		if s.Action == deploy.CreateStack && !verbose {
			for _, line := range byType(s.Changes) {
				fmt.Fprintf(w, "  + %s\n", line)
			}
			continue
		}
		for _, c := range s.Changes {
			printChange(w, c)
		}
	}
	fmt.Fprintln(w)
	if p.Empty() {
		fmt.Fprintf(w, "No changes: %s as the file says.\n", count(len(p.Stacks), "stack"))
		return
	}
	if len(unchanged) > 0 {
		fmt.Fprintf(w, "unchanged: %s\n", strings.Join(unchanged, ", "))
	}
	fmt.Fprintf(w, "Plan: %d to create, %d to change, %d to replace, %d to delete.\n", total[stack.Add], total[stack.Modify], total[stack.Replace]+total[stack.MayReplace], total[stack.Remove])
	var path []string
	for _, s := range p.Path {
		path = append(path, fmt.Sprintf("%s %s", s.Stack, span(s.Takes)))
	}
	if len(path) > 0 {
		fmt.Fprintf(w, "Time: about %s, decided by %s.\n", span(p.Expected), strings.Join(path, " > "))
	}
	if p.Offline && !verbose {
		fmt.Fprintln(w, "Every resource is listed with --verbose.")
	}
}

func printChange(w io.Writer, c stack.Change) {
	what := ""
	switch c.Action {
	case stack.Replace:
		what = ", replaced"
	case stack.MayReplace:
		what = ", replaced if a value changes"
	}
	fmt.Fprintf(w, "  %s %s (%s)%s\n", signs[c.Action], c.LogicalID, c.Type, what)
	if c.Action == stack.Add || c.Action == stack.Remove {
		return
	}
	for _, p := range c.Properties {
		fmt.Fprintf(w, "      %s: %s -> %s\n", p.Path, short(p.Before), short(p.After))
	}
}

// short cuts long values, such as policies, to a line.
func short(s string) string {
	if s == "" {
		return "(none)"
	}
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 80 {
		return string(r[:77]) + "..."
	}
	return s
}

func byType(changes []stack.Change) []string {
	n := map[string]int{}
	for _, c := range changes {
		n[c.Type]++
	}
	var lines []string
	for _, t := range slices.Sorted(maps.Keys(n)) {
		lines = append(lines, fmt.Sprintf("%d %s", n[t], t))
	}
	return lines
}

func join[S ~string](names []S) string {
	var s []string
	for _, n := range names {
		s = append(s, string(n))
	}
	return strings.Join(s, ", ")
}

func printStatus(w io.Writer, s *deploy.Status) {
	fmt.Fprintf(w, "%s in %s: %s\n", s.Deployment, s.Region, s.Phase)
	if s.Phase != deploy.Missing {
		table(w, func(row func(string, ...any)) {
			row("STACK\tSTATUS\tUPDATED\tPROTECTED")
			for _, st := range s.Stacks {
				updated := "-"
				if !st.Updated.IsZero() {
					updated = st.Updated.UTC().Format("2006-01-02 15:04:05Z")
				}
				status := st.Status
				if st.Surplus {
					status += " (not in the file)"
				}
				row("%s\t%s\t%s\t%s", st.Name, status, updated, yesNo(st.Protected))
			}
		})
		for _, st := range s.Stacks {
			if st.Reason != "" {
				fmt.Fprintf(w, "%s: %s\n", st.Name, st.Reason)
			}
		}
	}
	if s.Next != "" {
		fmt.Fprintf(w, "next: poolhouse %s\n", s.Next)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func printOutputs(w io.Writer, a *architecture.Architecture, out map[architecture.StackName]map[string]string) {
	table(w, func(row func(string, ...any)) {
		for _, s := range architecture.Catalogue() {
			for _, k := range slices.Sorted(maps.Keys(out[s.Name])) {
				row("%s.%s\t%s", s.Name, k, out[s.Name][k])
			}
		}
	})
	printRecords(w, a, out)
}

func printList(w io.Writer, region string, list []deploy.Listed) {
	if len(list) == 0 {
		fmt.Fprintf(w, "There is no deployment in %s.\n", region)
		return
	}
	table(w, func(row func(string, ...any)) {
		row("DEPLOYMENT\tSTACKS\tIN PROGRESS\tFAILED\tCREATED\tUPDATED")
		for _, l := range list {
			row("%s\t%d\t%d\t%d\t%s\t%s", l.Deployment, l.Stacks, l.InMotion, l.Failed, l.Created.UTC().Format("2006-01-02 15:04Z"), l.Updated.UTC().Format("2006-01-02 15:04Z"))
		}
	})
}

// result is what create and update print for machines.
type result struct {
	Deployment string                                       `json:"deployment"`
	Complete   bool                                         `json:"complete"`
	Changes    int                                          `json:"changes"`
	Seconds    float64                                      `json:"seconds"`
	Outputs    map[architecture.StackName]map[string]string `json:"outputs"`
}

func (a *app) printResult(t deploy.Target, r *deploy.Result) error {
	return a.print(result{t.Architecture.Config.Name, true, r.Changes, r.Took.Seconds(), r.Outputs}, func() {
		fmt.Fprintf(a.Out, "%s is complete: %s changed in %s\n", t.Architecture.Config.Name, count(r.Changes, "resource"), span(r.Took))
		access := t.Architecture.Config.Access
		table(a.Out, func(row func(string, ...any)) {
			row("web\thttps://%s\t%s", access.Web.Host, r.Outputs[architecture.Edge]["WebLoadBalancerDnsName"])
			row("API\thttps://%s\t%s", access.API.Host, r.Outputs[architecture.Edge]["WebLoadBalancerDnsName"])
			row("admin\thttps://%s\t%s", access.Admin.Host, r.Outputs[architecture.Edge]["AdminLoadBalancerDnsName"])
		})
		printRecords(a.Out, t.Architecture, r.Outputs)
	})
}

func (a *app) printDeleted(t deploy.Target, d *deploy.Deleted) error {
	v := struct {
		Deployment string        `json:"deployment"`
		Outcome    string        `json:"outcome"`
		Seconds    float64       `json:"seconds"`
		Kept       []deploy.Kept `json:"kept"`
	}{t.Architecture.Config.Name, "clean", d.Took.Seconds(), d.Kept}
	if len(d.Kept) > 0 {
		v.Outcome = "retained"
	}
	return a.print(v, func() {
		fmt.Fprintf(a.Out, "%s is deleted, in %s\n", v.Deployment, span(d.Took))
		printKept(a.Out, d.Kept)
	})
}

func printKept(w io.Writer, kept []deploy.Kept) {
	if len(kept) == 0 {
		return
	}
	fmt.Fprintln(w, "What stays in the account:")
	for _, k := range kept {
		until := ""
		if !k.Until.IsZero() {
			until = ", until " + k.Until.UTC().Format("2006-01-02 15:04Z")
		}
		fmt.Fprintf(w, "  %s (%s)%s: %s\n", k.ID, k.Type, until, k.Why)
	}
}
