package view

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
	"github.com/poolhouse/poolhouse/stack"
)

// Rehearsal shows a rehearsal while it goes on: a live tree for each step on a
// terminal, plain lines elsewhere, or JSON lines.
type Rehearsal struct {
	w       io.Writer
	machine *JSONLines
	tree    bool
	detail  Detail
	live    Live
}

// NewRehearsal returns a view of a rehearsal.
func NewRehearsal(w io.Writer, machine, everything bool) *Rehearsal {
	v := &Rehearsal{w: w, tree: Terminal(w) && !everything}
	if everything {
		v.detail = Everything
	}
	if machine {
		v.machine = NewJSONLines(w)
	}
	return v
}

// Event shows one event.
func (v *Rehearsal) Event(e rehearse.Event) {
	if v.machine != nil {
		v.line(e)
		return
	}
	switch e := e.(type) {
	case rehearse.StepStarted:
		v.start(e)
	case rehearse.Deployed:
		if v.live != nil {
			v.live.Event(e.Event)
		}
	case rehearse.Killed:
		if v.live != nil {
			v.live.Event(deploy.Step{Time: e.Time, Text: fmt.Sprintf("killed after %d API calls, with %s in motion", e.Calls, Join(e.Moving))})
		}
	case rehearse.FaultFired:
		v.fault(e)
	case rehearse.Ran:
		if e.Then != "" {
			paragraph(v.w, "  ", "  ", "the user %s", e.Then)
		}
	case rehearse.Changed:
		edits(v.w, e.Edits)
	case rehearse.Planned:
		if e.Step == rehearse.StepPlanUpdate {
			summary(v.w, e.Plan)
		}
	case rehearse.StepFinished:
		v.Close()
		mark, what := "✓", fmt.Sprintf("%s; %s simulated in %.1fs", e.Outcome, Span(e.Simulated), e.Wall.Seconds())
		if e.Err != nil {
			// What went wrong is said at the end.
			mark, what = "✗", "failed"
		}
		paragraph(v.w, mark+" ", "  ", "%s: %s", e.Title, what)
	}
}

// start opens the live view of a step that changes the account.
func (v *Rehearsal) start(e rehearse.StepStarted) {
	switch e.Step {
	case rehearse.StepCreate, rehearse.StepResume, rehearse.StepInside, rehearse.StepUpdate, rehearse.StepRepair, rehearse.StepCharts, rehearse.StepVacate, rehearse.StepDelete:
	default:
		return
	}
	if v.tree {
		v.live = NewTree(v.w, e.Title, e.Clock, e.Plan)
		return
	}
	fmt.Fprintf(v.w, "%s ...\n", e.Title)
	v.live = NewLines(v.w, v.detail, e.Clock)
}

// fault shows a fault the first time that it happens, and then when it has
// happened ten times as often, unless all is to be shown.
func (v *Rehearsal) fault(e rehearse.FaultFired) {
	n := e.Times
	for n > 1 && n%10 == 0 {
		n /= 10
	}
	if n > 1 && v.detail != Everything {
		return
	}
	text := fmt.Sprintf("fault %s: %s", e.ID, e.What)
	if e.Times > 1 {
		text += fmt.Sprintf(" (%d times so far)", e.Times)
	}
	if v.live != nil {
		v.live.Event(deploy.Step{Time: e.Time, Text: text})
		return
	}
	paragraph(v.w, "", "  ", "%s", text)
}

// line writes an event for machines.
func (v *Rehearsal) line(e rehearse.Event) {
	if d, ok := e.(rehearse.Deployed); ok {
		v.machine.Line(reflect.TypeOf(d.Event).Name(), d)
		return
	}
	v.machine.Line(reflect.TypeOf(e).Name(), e)
}

// Close ends the live view of a step.
func (v *Rehearsal) Close() {
	if v.live != nil {
		v.live.Close()
		v.live = nil
	}
}

func edits(w io.Writer, list []rehearse.Edit) {
	fmt.Fprintln(w, "the update changes in the file:")
	for _, e := range list {
		if e.Before == e.After {
			fmt.Fprintf(w, "  %s: stays %s\n", e.Path, e.After)
			continue
		}
		before, after := excerpt(e.Before, e.After)
		line := fmt.Sprintf("  %s: %s -> %s", e.Path, before, after)
		if len([]rune(line)) > Width {
			line = fmt.Sprintf("  %s:\n    %s\n    -> %s", e.Path, before, after)
		}
		fmt.Fprintln(w, line)
	}
}

// summary is a plan in a line for each stack.
func summary(w io.Writer, p *deploy.Plan) {
	for _, s := range p.Stacks {
		if s.Action == deploy.NoChange {
			continue
		}
		n := map[stack.Action]int{}
		for _, c := range s.Changes {
			n[c.Action]++
		}
		var parts []string
		for _, a := range []stack.Action{stack.Add, stack.Modify, stack.Replace, stack.Remove} {
			if n[a] > 0 {
				parts = append(parts, fmt.Sprintf("%d to %s", n[a], a))
			}
		}
		if n := n[stack.MayReplace]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to update or replace", n))
		}
		fmt.Fprintf(w, "  %s %-11s %s\n", s.Action, s.Stack, strings.Join(parts, ", "))
	}
}

// Serving prints how to use a sandbox that stays.
func Serving(w io.Writer, e rehearse.Endpoint) {
	fmt.Fprintf(w, "\nThe deployment stands in the sandbox: account %s in %s, at %s.\nIn another shell:\n\n", e.Account, e.Region, e.URL)
	Environment(w, e)
	fmt.Fprintln(w, "\nCtrl-C ends it, and all that is in it.")
}

// Environment prints the variables that lead clients to a sandbox.
func Environment(w io.Writer, e rehearse.Endpoint) {
	for _, v := range e.Environment {
		fmt.Fprintf(w, "export %s=%s\n", v.Name, v.Value)
	}
}

// pace prints how the creation and the deletion kept up with what AWS takes.
func pace(w io.Writer, section func(string, ...any), r *rehearse.Report) {
	if r.Creation == nil && r.Deletion == nil {
		return
	}
	section("Pace, beside the longest chain of AWS's operations")
	for _, x := range []struct {
		verb string
		*chain.Pace
	}{{"create", r.Creation}, {"delete", r.Deletion}} {
		if x.Pace == nil {
			continue
		}
		fmt.Fprintf(w, "  %s took %s, the longest chain of operations takes %s: %.2f\n", x.verb, Span(x.Took), Span(x.Longest), x.Ratio())
		var path []string
		for _, l := range x.Stacks() {
			what := string(l.Stack)
			if l.Verb == "update" {
				what = "protection of " + what
			}
			path = append(path, what+" "+Span(l.Takes))
		}
		paragraph(w, "    ", "    ", "%s", strings.Join(path, " > "))
	}
}

// Report prints what a rehearsal has shown.
func Report(w io.Writer, r *rehearse.Report) {
	fmt.Fprintf(w, "\nRehearsal of %s, %s in %s, in a simulated account %s\n", r.Deployment, r.Profile, r.Region, r.Account)
	section := func(format string, args ...any) { fmt.Fprintf(w, "\n"+format+"\n", args...) }

	section("Steps")
	table(w, func(row func(string, ...any)) {
		row("  STEP\tSIMULATED\tWALL\tCALLS\tOUTCOME")
		for _, s := range r.Steps {
			what := s.Outcome
			if s.Failure != "" {
				what = "failed"
			}
			row("  %s\t%s\t%.2fs\t%d\t%s", s.Step, Span(s.Simulated), s.Wall.Seconds(), s.Calls, what)
		}
		row("  all\t%s\t%.2fs\t%d\t", Span(r.Simulated()), r.Wall().Seconds(), r.APICalls())
	})

	if len(r.Stacks) > 0 {
		section("Creation, by stack; what decides how long it takes is drawn with #:")
		paragraph(w, "  ", "  ", "%s", strings.ReplaceAll(Join(r.Path()), ", ", " > "))
		timeline(w, r.Stacks)
		pace(w, section, r)
		section("%s", Count(r.Resources(), "resource"))
		for _, s := range r.Stacks {
			paragraph(w, fmt.Sprintf("  %-11s ", s.Stack), "              ", "%s", counts(s.Types))
		}
	}
	if k := r.Kubernetes; k.Endpoint != "" {
		fmt.Fprintln(w)
		kubernetesStatus(w, &k)
	}
	trials(w, section, r)
	if len(r.Calls) > 0 {
		section("%s", Count(r.APICalls(), "API call"))
		paragraph(w, "  ", "  ", "%s", counts(r.CallsByService()))
	}
	if r.Failure != "" {
		fmt.Fprintln(w)
		return
	}
	if len(r.Given) > 0 {
		section("Given before, since the file names it and does not make it")
		for _, g := range r.Given {
			paragraph(w, "  "+g.Path+": ", "    ", "%s", g.ID)
		}
	}
	if len(r.Kept) > 0 || len(r.LinkedRoles) > 0 {
		section("Kept after the deletion")
		kept(w, "", r.Kept)
		if len(r.LinkedRoles) > 0 {
			paragraph(w, "  ", "    ", "%s: service-linked roles belong to the account's services and cost nothing", strings.Join(r.LinkedRoles, ", "))
		}
		if r.Skipped > 0 {
			fmt.Fprintf(w, "  %.1f days later, what has a date was gone.\n", r.Skipped.Hours()/24)
		}
	}
	if o := r.Outage; o != nil {
		section("What a lost zone left: %s", o.Zone)
		paragraph(w, "  serves: ", "    ", "%s", strings.Join(o.Serves, ", "))
		if len(o.Lost) > 0 {
			paragraph(w, "  lost: ", "    ", "%s", strings.Join(o.Lost, ", "))
		}
	}
	if d := r.Data; d != nil {
		section("Data, in a copy of the account")
		for _, s := range d.Rehearsed {
			paragraph(w, "  ", "    ", "%s", s)
		}
		for _, s := range d.NotRehearsed {
			paragraph(w, "  not rehearsed: ", "    ", "%s", s)
		}
	}
	pods(w, section, r.Pods)
	if len(r.Survives) > 0 {
		survives(w, r.Survives, false)
	}
	rows(w, section, r.Rows)
	section("Not modelled by the sandbox, so not shown")
	for _, n := range r.NotModelled {
		paragraph(w, "  - ", "    ", "%s", n)
	}
	if len(r.Runs) > 0 {
		fmt.Fprintf(w, "\nAll converged: %s in %.1fs.\n", Span(r.Simulated())+" of AWS's time", r.Wall().Seconds())
		return
	}
	fmt.Fprintf(w, "\nThe rehearsal succeeded: %s of AWS's time in %.1fs.\n", Span(r.Simulated()), r.Wall().Seconds())
}

// trials prints which faults happened, and what it took to get past them.
func trials(w io.Writer, section func(string, ...any), r *rehearse.Report) {
	if len(r.Faults) > 0 {
		section("Faults")
		for _, f := range r.Faults {
			if f.Times == 0 {
				paragraph(w, "  ", "    ", "%s (%s) never happened", f.ID, f.Kind)
				continue
			}
			paragraph(w, "  ", "    ", "%s (%s) happened %s, first: %s", f.ID, f.Kind, Count(f.Times, "time"), f.What)
		}
	}
	if len(r.Runs) > 0 {
		section("What it took")
		for _, run := range r.Runs {
			switch {
			case run.Error == "" && run.Then == "":
				paragraph(w, "  ", "    ", "%s: done", run.Command)
			case run.Error == "":
				paragraph(w, "  ", "    ", "%s: done; the user %s", run.Command, run.Then)
			default:
				paragraph(w, "  ", "    ", "%s: failed: %s; the user %s", run.Command, run.Error, run.Then)
			}
		}
	}
}

// counts lists numbers by name, the largest first.
func counts(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	for i, n := range names {
		names[i] = fmt.Sprintf("%d %s", m[n], strings.TrimPrefix(n, "AWS::"))
	}
	return strings.Join(names, ", ")
}

// timeline draws the stacks' creation, one bar each.
func timeline(w io.Writer, stacks []rehearse.StackReport) {
	const columns = 56
	var end time.Duration
	for _, s := range stacks {
		end = max(end, s.End)
	}
	if end <= 0 {
		return
	}
	at := func(d time.Duration) int { return int(int64(columns) * int64(d) / int64(end)) }
	for _, s := range slices.SortedStableFunc(slices.Values(stacks), func(a, b rehearse.StackReport) int { return int(a.Start/time.Second - b.Start/time.Second) }) {
		from, to := at(s.Start), max(at(s.End), at(s.Start)+1)
		bar := "="
		if s.Critical {
			bar = "#"
		}
		n := 0
		for _, c := range s.Types {
			n += c
		}
		fmt.Fprintf(w, "  %-11s |%s%s%s| %6s %4d\n", s.Stack,
			strings.Repeat(" ", from), strings.Repeat(bar, to-from), strings.Repeat(" ", max(columns-to, 0)), Span(s.End-s.Start), n)
	}
	fmt.Fprintf(w, "  %-11s 0%*s %6s %4s\n", "", columns+1, Span(end), "takes", "has")
}

// rows prints which rows of the reference architecture were shown.
func rows(w io.Writer, section func(string, ...any), list []rehearse.RowReport) {
	by := map[rehearse.Shown][]rehearse.RowReport{}
	for _, r := range list {
		by[r.Shown] = append(by[r.Shown], r)
	}
	section("Reference architecture: %d of %d rows shown", len(by[rehearse.Fully])+len(by[rehearse.ByProgram]), len(list))
	var ids []string
	for _, r := range list {
		if r.Shown == rehearse.Fully || r.Shown == rehearse.ByProgram {
			ids = append(ids, r.ID)
		}
	}
	paragraph(w, "  shown: ", "    ", "%s", strings.Join(ids, ", "))
	for _, d := range []rehearse.Shown{rehearse.Partly, rehearse.NotAtAll} {
		for _, r := range by[d] {
			paragraph(w, "  "+string(d)+": ", "    ", "%s %s; not in this deployment: %s", r.ID, r.Asks, strings.Join(r.Missing, ", "))
		}
	}
}

// pods prints what ran in a real Kubernetes, or that it was left out.
func pods(w io.Writer, section func(string, ...any), p *rehearse.Pods) {
	if p == nil {
		section("Kubernetes was left out")
		paragraph(w, "  ", "  ", "no chart was installed and no pod ran; rehearse --kubernetes has them run, by a real API server, scheduler and kubelets")
		return
	}
	ready := len(slices.DeleteFunc(slices.Clone(p.Ran), func(one rehearse.Pod) bool { return !one.Ready }))
	section("Kubernetes, in a copy of the account: %d of %s of %s ready", ready, Count(len(p.Ran), "pod"), p.Bundle)
	for _, r := range p.Releases {
		paragraph(w, "  ", "    ", "release %s in %s: %s, %d of %s ready", r.Name, r.Namespace, r.Status, r.Ready, Count(r.Pods, "pod"))
	}
	for _, not := range p.NotDeployed() {
		paragraph(w, "  not deployed: ", "    ", "release %s", not)
	}
	table(w, func(row func(string, ...any)) {
		row("  POD\tNODE\tFOR\tZONE\tREADY")
		for _, one := range p.Ran {
			row("  %s/%s\t%s\t%s\t%s\t%v", one.Namespace, one.Name, one.Node, one.Kind, one.Zone, one.Ready)
		}
	})
	for _, one := range p.Ran {
		if one.GPUs > 0 {
			paragraph(w, "  ", "    ", "%s/%s asks for %s", one.Namespace, one.Name, Count(int(one.GPUs), "GPU"))
		}
		switch {
		case one.NotRun != "":
			paragraph(w, "  process not run: ", "    ", "%s/%s: %s", one.Namespace, one.Name, one.NotRun)
		case !one.Ready:
			paragraph(w, "  not ready: ", "    ", "%s/%s: %s", one.Namespace, one.Name, one.Waits)
		}
	}
	entries(w, section, p)
	if len(p.Apart) > 0 {
		section("Where the scheduler doesn't let pods go, by its own messages")
		for _, a := range p.Apart {
			paragraph(w, "  ", "    ", "a pod of kind %s to a node for %s: %s", a.Pods, a.Nodes, a.Says)
		}
	}
	if len(p.Refused) > 0 {
		section("What the API server refuses: a pod that")
		for _, r := range p.Refused {
			paragraph(w, "  ", "    ", "%s, in %s: %s", r.What, r.Namespace, r.Says)
		}
	}
}

// entries prints what answered by the deployment's hosts, and what it said.
func entries(w io.Writer, section func(string, ...any), p *rehearse.Pods) {
	if len(p.Entries) == 0 {
		return
	}
	section("Through the load balancers, over TLS")
	for _, e := range p.Entries {
		var said []string
		switch {
		case e.Leads != "":
			said = append(said, fmt.Sprintf("%d, leads to %s", e.Status, e.Leads))
		case e.Status != 0:
			said = append(said, fmt.Sprint(e.Status))
		}
		if e.User != "" {
			said = append(said, fmt.Sprintf("%s signed in by %s", e.User, Count(e.Redirects, "redirect")))
		}
		if e.Pod != "" {
			said = append(said, "pod "+e.Pod+" answered")
		}
		if len(e.Bound) > 0 {
			said = append(said, fmt.Sprintf("%s bound and healthy", Count(len(e.Bound), "pod")))
		}
		if e.LeftOut != "" {
			said = append(said, "left out: "+e.LeftOut)
		}
		paragraph(w, "  ", "    ", "%s: %s", e.Host, strings.Join(said, "; "))
	}
	for _, t := range p.Told {
		section("What pod %s says at %s", t.Pod, t.Host)
		for _, c := range t.Checks {
			switch {
			case c.OK:
				paragraph(w, "  ", "    ", "%s: %s", c.Check, c.Says)
			case c.LeftOut != "":
				paragraph(w, "  ", "    ", "%s: left out, %s", c.Check, c.LeftOut)
			default:
				paragraph(w, "  ", "    ", "%s, which it can do without: %s", c.Check, c.Says)
			}
		}
	}
}
