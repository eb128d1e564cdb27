package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/stack"
)

// Deviations prints what differs from the reference architecture.
func Deviations(w io.Writer, list []architecture.Deviation) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, "Deviations from the reference architecture:")
	for _, d := range list {
		reason := "no reason given"
		if d.Reason != "" {
			reason = "reason: " + d.Reason
		}
		paragraph(w, "  "+d.ID+": ", "    ", "%s (%s)", d.What, reason)
	}
}

// Plan prints what would change. New stacks are summed up by type unless all
// is wanted.
func Plan(w io.Writer, p *deploy.Plan, all bool) {
	where := "in " + p.Region
	if p.Offline {
		where += ", as if nothing were there"
	}
	fmt.Fprintf(w, "%s %s\n", p.Deployment, where)
	if len(p.Deviations) > 0 {
		fmt.Fprintln(w)
		Deviations(w, p.Deviations)
	}
	if len(p.Advice) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(w, "Advice on the network:")
		for _, f := range p.Advice {
			paragraph(w, "  "+f.Path+": ", "    ", "%s (%s)", f.Reason, f.Fix)
		}
	}
	egress(w, p.Egress)
	fmt.Fprintln(w)
	if notOurs(w, p.NotOurs); len(p.NotOurs) > 0 {
		fmt.Fprintln(w)
	}
	origin(w, p)
	if len(p.Refusals) > 0 {
		fmt.Fprintf(w, "Refused for %s; create and update change nothing:\n", Count(len(p.Refusals), "reason"))
		Refusals(w, p.Refusals)
		if len(p.Stacks) == 0 {
			return
		}
		fmt.Fprintln(w)
	}
	defer func() {
		if slices.ContainsFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Drift != nil }) {
			fmt.Fprintln(w, "What has drifted, who did it and what stays: poolhouse drift.")
		}
		if p.DriftUnknown != "" {
			paragraph(w, "Drift is not known of everything: ", "  ", "%s", p.DriftUnknown)
		}
	}()
	if len(p.Unprotected) > 0 {
		fmt.Fprintln(w, "Not protected against deletion, though the file asks for it; create and update put it back:")
		for _, u := range p.Unprotected {
			what := protection(u)
			if u.Of == "resource" {
				what = fmt.Sprintf("%s (%s) of stack %s, whose deletion protection somebody switched off", safe(u.ID), u.Type, u.Stack)
			}
			paragraph(w, "  ", "    ", "%s", what)
		}
	}
	if p.Empty() {
		fmt.Fprintf(w, "No changes: %s as the file says.\n", Count(len(p.Stacks), "stack"))
		return
	}
	total := map[stack.Action]int{}
	var unchanged []architecture.StackName
	for _, s := range p.Stacks {
		if s.Action == deploy.NoChange {
			unchanged = append(unchanged, s.Stack)
			continue
		}
		for _, c := range s.Changes {
			total[c.Action]++
		}
		stackPlan(w, s, all)
	}
	if len(unchanged) > 0 {
		paragraph(w, "unchanged: ", "  ", "%s", Join(unchanged))
		fmt.Fprintln(w)
	}
	perhaps := ""
	if n := total[stack.MayReplace]; n > 0 {
		perhaps = fmt.Sprintf(" (%d of them perhaps by replacement)", n)
	}
	fmt.Fprintf(w, "Plan: %d to create, %d to change%s, %d to replace, %d to delete.\n",
		total[stack.Add], total[stack.Modify]+total[stack.MayReplace], perhaps, total[stack.Replace], total[stack.Remove])
	var path []string
	for _, s := range p.Path {
		path = append(path, fmt.Sprintf("%s %s", s.Stack, Span(s.Takes)))
	}
	if len(path) > 0 {
		paragraph(w, "Time: ", "  ", "about %s, decided by %s.", Span(p.Expected), strings.Join(path, " > "))
	}
	session(w, p.Session)
	Kubernetes(w, p.Kubernetes)
	if !all && slices.ContainsFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Action == deploy.CreateStack }) {
		fmt.Fprintln(w, "With --verbose, every resource is listed.")
	}
}

// session prints what is to be known of the credentials before a long run.
func session(w io.Writer, s *deploy.Session) {
	switch {
	case s == nil:
	case s.Short:
		paragraph(w, "Credentials: ", "  ", "they end %s, and the run about %s. It pauses then, and AWS goes on; sign in anew before, or repeat the command after it.", moment(s.Until), moment(s.Done))
	case s.Temporary:
		paragraph(w, "Credentials: ", "  ", "temporary, and nobody says for how long. If they end before %s, the run pauses, and AWS goes on; repeat the command then.", moment(s.Done))
	}
}

// egress prints how the public addresses of the private subnets change, and who
// must know.
func egress(w io.Writer, e *deploy.Egress) {
	if e == nil {
		return
	}
	fmt.Fprintln(w)
	if e.Announced {
		fmt.Fprintln(w, "Public addresses of the way out, announced and not in use yet:")
	} else {
		fmt.Fprintln(w, "Public addresses of the way out change:")
	}
	paragraph(w, "  now:  ", "    ", "%s", addresses(e.Before, 0))
	paragraph(w, "  then: ", "    ", "%s", addresses(e.After, e.Pending))
	if added := e.Added(); len(added) > 0 || e.Pending > 0 {
		what := addresses(added, e.Pending)
		when := "before this update"
		if e.Announced {
			when = "before network.nat.mode changes"
		}
		paragraph(w, "  let in: ", "    ", "%s, in the allow-lists of others that know this deployment by its addresses, %s", what, when)
	}
	if dropped := e.Dropped(); len(dropped) > 0 {
		paragraph(w, "  drop: ", "    ", "%s, after it; they are released last", addresses(dropped, 0))
	}
	for _, l := range e.Listed {
		paragraph(w, "  in this file: ", "    ", "%s is %s, which lets in %s", l.Path, l.Entry, l.Address)
	}
	if e.Pending > 0 && !e.Announced {
		paragraph(w, "  to know them before anything else changes: ", "    ", "leave network.nat.mode as it was, put the new one into network.nat.announce and update")
	}
}

// addresses lists those that are known and counts those that are not yet.
func addresses(known []string, pending int) string {
	switch {
	case pending > 0 && len(known) > 0:
		return fmt.Sprintf("%s and %d that the update allocates first", strings.Join(known, ", "), pending)
	case pending > 0:
		return fmt.Sprintf("%d that the update allocates first", pending)
	case len(known) == 0:
		return "none"
	}
	return strings.Join(known, ", ")
}

// origin tells what a creation goes on from, and where the database has its
// data from.
func origin(w io.Writer, p *deploy.Plan) {
	var data, others []architecture.StackName
	for _, a := range p.Adopted {
		if a.HoldsData {
			data = append(data, a.Stack)
		} else {
			others = append(others, a.Stack)
		}
	}
	if len(data) > 0 {
		paragraph(w, "Stands, with its data, and is gone on from: ", "  ", "%s", Join(data))
	}
	if len(others) > 0 {
		paragraph(w, "Stands and is gone on from: ", "  ", "%s", Join(others))
	}
	switch d := p.Database; {
	case d == nil:
	case d.Snapshot != "":
		paragraph(w, "Database: ", "  ", "restored from snapshot %s, of %s.", d.Snapshot, d.Taken.UTC().Format("2006-01-02 15:04Z"))
	case len(d.Finals) > 0:
		paragraph(w, "Database: ", "  ", "begins empty, although there is a snapshot of it: %s.", strings.Join(d.Finals, ", "))
	}
	if len(p.Adopted) > 0 || p.Database != nil && (p.Database.Snapshot != "" || len(p.Database.Finals) > 0) {
		fmt.Fprintln(w)
	}
}

func stackPlan(w io.Writer, s deploy.StackPlan, all bool) {
	about := ""
	if s.Expected > 0 {
		about = ", about " + Span(s.Expected)
	}
	fmt.Fprintf(w, "%s stack %s, %s%s\n", s.Action, s.Name, Count(len(s.Changes), "resource"), about)
	if s.Status != "" {
		fmt.Fprintf(w, "  it is %s now, which is dealt with first\n", s.Status)
	}
	if len(s.KnownAfter) > 0 && (all || s.Action == deploy.UpdateStack) {
		fmt.Fprintf(w, "  some values are known after: %s\n", Join(s.KnownAfter))
	}
	for _, b := range s.Before {
		paragraph(w, "  first, by itself: ", "    ", "%s", b)
	}
	if s.Action == deploy.CreateStack && !all {
		paragraph(w, "  + ", "    ", "%s", byType(s.Changes))
	} else {
		for _, c := range s.Changes {
			change(w, c)
		}
	}
	for _, b := range s.Besides {
		paragraph(w, "  besides: ", "    ", "%s", b)
	}
	fmt.Fprintln(w)
}

// Refusals prints why a plan is not carried out, and what to do about it.
func Refusals(w io.Writer, all []guard.Refusal) {
	for _, r := range all {
		paragraph(w, "  ", "    ", "%s", r.String())
		paragraph(w, "    next: ", "      ", "%s", r.Next())
	}
}

// byType sums resources up: 3 EC2::Subnet, 1 EC2::VPC.
func byType(changes []stack.Change) string {
	n := map[string]int{}
	for _, c := range changes {
		n[strings.TrimPrefix(c.Type, "AWS::")]++
	}
	var parts []string
	for _, t := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[t], t))
	}
	return strings.Join(parts, ", ")
}

func sign(a stack.Action) string {
	switch a {
	case stack.Add:
		return "+"
	case stack.Modify:
		return "~"
	case stack.Remove:
		return "-"
	}
	return "±"
}

func change(w io.Writer, c stack.Change) {
	what := ""
	switch c.Action {
	case stack.Replace:
		what = ", replaced"
	case stack.MayReplace:
		what = ", may be replaced"
	}
	all := !slices.ContainsFunc(c.Properties, func(p stack.Property) bool { return !p.Drift })
	switch {
	case c.Drift && c.Action == stack.Add:
		what += ", drift: it was deleted"
	case c.Drift && all:
		what += ", drift"
	}
	fmt.Fprintf(w, "  %s %s (%s)%s\n", sign(c.Action), c.LogicalID, c.Type, what)
	if c.Action == stack.Add || c.Action == stack.Remove {
		return
	}
	for _, p := range c.Properties {
		before, after := excerpt(p.Before, p.After)
		line := fmt.Sprintf("      %s: %s -> %s", p.Path, before, after)
		if p.Drift && !all {
			line += " (drift)"
		}
		switch {
		case before == "" && after == "":
			line = "      " + p.Path
		case len([]rune(line)) > Width:
			line = fmt.Sprintf("      %s:\n        %s\n        -> %s", p.Path, before, after)
		}
		fmt.Fprintln(w, line)
	}
}

// room is how much of a long value, such as a policy, is shown.
const room = 80

// knownAfter is what CloudFormation writes for values it can't tell yet.
const knownAfter = "{{changeSet:KNOWN_AFTER_APPLY}}"

// excerpt cuts two values to a line each, around the place where they begin to
// differ. Both are empty if nothing is known of them.
func excerpt(before, after string) (string, string) {
	a, b := []rune(strings.Join(strings.Fields(before), " ")), []rune(strings.Join(strings.Fields(after), " "))
	switch {
	case len(a) == 0 && len(b) == 0:
		return "", ""
	case after == knownAfter:
		return clip(a), "(known after)"
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	start := 0
	if max(len(a), len(b)) > room {
		start = max(same-room/3, 0)
	}
	cut := func(s []rune) string {
		switch {
		case len(s) == 0:
			return "(none)"
		case start >= len(s):
			return "... (ends)"
		}
		text := clip(s[start:])
		if start > 0 {
			text = "..." + text
		}
		return text
	}
	return cut(a), cut(b)
}

// clip cuts a value to the room for it.
func clip(s []rune) string {
	if len(s) > room {
		return string(s[:room-3]) + "..."
	}
	return string(s)
}
