package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/poolhouse/poolhouse/drift"
	"github.com/poolhouse/poolhouse/stack"
)

// Drift prints what was changed behind a deployment's back. File is the
// configuration's name, for the command that leads on.
func Drift(w io.Writer, r *drift.Report, file string) {
	defer func() {
		if r.Unknown != "" {
			paragraph(w, "not looked at: ", "  ", "%s", r.Unknown)
		}
	}()
	if r.Empty() {
		fmt.Fprintf(w, "%s in %s: no drift\n", r.Deployment, r.Region)
		return
	}
	fmt.Fprintf(w, "%s in %s: %s not as deployed\n", r.Deployment, r.Region, Count(len(r.Items), "resource"))
	silent, mended := false, false
	for _, i := range r.Items {
		fmt.Fprintln(w)
		item(w, i)
		silent = silent || len(i.Events) == 0
		mended = mended || i.Verdict != drift.LeavesAlone && i.Verdict != drift.SeeFix
	}
	fmt.Fprintln(w)
	switch {
	case r.EventsUnknown != "":
		paragraph(w, "who it was can't be told: ", "  ", "%s", r.EventsUnknown)
	case silent:
		paragraph(w, "", "  ", "Of some there is no event: CloudTrail has them after about five minutes, and for 90 days.")
	}
	if mended {
		fmt.Fprintf(w, "next: poolhouse update %s\n", file)
	}
}

// verdict is what an update does, in words.
func verdict(v drift.Verdict) string {
	switch v {
	case drift.PutsBack:
		return "puts it back"
	case drift.Recreates:
		return "creates it again"
	case drift.Replaces:
		return "puts it back, if need be by a new one"
	case drift.Refuses:
		return "refuses to make it again without --allow-replace"
	}
	return "leaves it alone"
}

func item(w io.Writer, i drift.Item) {
	what := i.PhysicalID
	if i.LogicalID != "" {
		what = fmt.Sprintf("%s %s (%s) %s", i.StackName, i.LogicalID, i.Type, i.PhysicalID)
	}
	paragraph(w, "", "    ", "%s", what)
	if i.Deleted {
		fmt.Fprintln(w, "  is gone")
	}
	for _, d := range i.Differences {
		difference(w, d)
	}
	for _, f := range i.Findings {
		paragraph(w, "  ", "    ", "%s: %s, and should be %s", f.ID, f.Value, f.Want)
	}
	for _, e := range i.Events {
		from := ""
		if e.From != "" {
			from = " from " + e.From
		}
		paragraph(w, "  ", "    ", "%s %s by %s%s (%s)", moment(e.Time), e.Name, e.User, from, e.Principal)
	}
	why := ""
	if i.Why != "" {
		why = ": " + i.Why
	}
	if i.Verdict != drift.SeeFix {
		paragraph(w, "  update ", "    ", "%s%s", verdict(i.Verdict), why)
	}
	if len(i.Left) > 0 {
		paragraph(w, "  but leaves alone ", "    ", "%s", strings.Join(i.Left, ", "))
	}
	said := map[string]bool{"": true}
	for _, f := range i.Findings {
		if !said[f.Fix] {
			paragraph(w, "  fix: ", "    ", "%s", f.Fix)
		}
		said[f.Fix] = true
	}
}

// difference prints what was deployed and what is there.
func difference(w io.Writer, d stack.Difference) {
	path := strings.ReplaceAll(strings.TrimPrefix(d.Path, "/"), "/", ".")
	expected, actual := d.Expected, d.Actual
	switch d.Kind {
	case "ADD":
		_, actual = excerpt("", actual)
		paragraph(w, "  ", "    ", "%s: added %s", path, actual)
		return
	case "REMOVE":
		expected, _ = excerpt(expected, "")
		paragraph(w, "  ", "    ", "%s: removed %s", path, expected)
		return
	}
	expected, actual = excerpt(expected, actual)
	paragraph(w, "  ", "    ", "%s: %s -> %s", path, expected, actual)
}
