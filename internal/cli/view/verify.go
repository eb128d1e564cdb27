package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/poolhouse/poolhouse/verify"
)

// Checks prints what checks there are.
func Checks(w io.Writer, list []verify.Check) {
	for _, c := range list {
		fmt.Fprintf(w, "%s (%s; %s)\n", c.ID, c.Level, strings.Join(c.Rows, ", "))
		paragraph(w, "  ", "  ", "%s", c.Proves)
	}
	fmt.Fprintf(w, "%s\n", Count(len(list), "check"))
}

// tally counts results by status.
func tally(results []verify.Result) map[verify.Status]int {
	n := map[verify.Status]int{}
	for _, r := range results {
		n[r.Status]++
	}
	return n
}

// headline sums a report up.
func headline(rep *verify.Report) string {
	n := tally(rep.Results)
	parts := []string{fmt.Sprintf("%d passed", n[verify.Pass])}
	for _, s := range []verify.Status{verify.Fail, verify.CouldNotLook, verify.NotApplicable, verify.Skipped} {
		if n[s] == 0 {
			continue
		}
		what := string(s)
		if s == verify.Fail {
			what = "failed"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n[s], what))
	}
	return fmt.Sprintf("of %s, %s", Count(len(rep.Results), "check"), strings.Join(parts, ", "))
}

// conformity is what a report shows of a deployment.
func conformity(rep *verify.Report) string {
	switch passed := tally(rep.Results)[verify.Pass]; {
	case !rep.Conforms():
		return "does not conform"
	case rep.LeftOut == 0:
		return "conforms"
	case passed == 0:
		return "nothing was proved"
	default:
		return fmt.Sprintf("conforms as far as was looked, with %s left out", Count(rep.LeftOut, "check"))
	}
}

// Verified prints what the checks found: what is wrong first, the rest as
// numbers unless everything is asked for.
func Verified(w io.Writer, rep *verify.Report, everything bool) {
	paragraph(w, "", "  ", "%s in %s, account %s, %s: %s", rep.Deployment, rep.Region, rep.Account, conformity(rep), headline(rep))
	for _, r := range rep.Results {
		switch {
		case r.Status == verify.Fail:
			fmt.Fprintln(w)
			paragraph(w, "FAIL ", "  ", "%s (%s): %s", r.ID, r.Level, r.Proves)
			evidence(w, r, everything)
		case r.Status == verify.CouldNotLook:
			fmt.Fprintln(w)
			paragraph(w, "COULD NOT LOOK ", "  ", "%s (%s): %s", r.ID, r.Level, r.Reason)
			evidence(w, r, everything)
		case everything:
			fmt.Fprintln(w)
			paragraph(w, strings.ToUpper(string(r.Status))+" ", "  ", "%s: %s", r.ID, r.Proves)
			if r.Reason != "" {
				paragraph(w, "  ", "    ", "%s", r.Reason)
			}
			evidence(w, r, true)
		}
	}
	if left := leftOut(rep); len(left) > 0 && !everything {
		fmt.Fprintln(w, "\nNot looked at:")
		for _, r := range left {
			paragraph(w, "  "+r.ID+": ", "    ", "%s", r.Reason)
		}
	}
	survives(w, rep.Survives, everything)
	covered(w, rep.Rows)
}

// leftOut are the results that are neither good nor bad.
func leftOut(rep *verify.Report) []verify.Result {
	var list []verify.Result
	for _, r := range rep.Results {
		if r.Status == verify.NotApplicable || r.Status == verify.Skipped {
			list = append(list, r)
		}
	}
	return list
}

// evidence prints what a check saw: what is wrong, or everything.
func evidence(w io.Writer, r verify.Result, everything bool) {
	const most = 5
	fixes := map[string]bool{}
	n := 0
	for _, e := range r.Evidence {
		switch {
		case !e.OK:
			if n++; n > most && !everything {
				continue
			}
			paragraph(w, "  ", "    ", "%s: %s, not %s (%s)", e.Resource, e.Saw, e.Want, e.API)
			if everything && len(e.Trail) > 0 {
				paragraph(w, "    way: ", "      ", "%s", strings.Join(e.Trail, ", "))
			}
			if !fixes[e.Fix] {
				paragraph(w, "    fix: ", "      ", "%s", e.Fix)
				fixes[e.Fix] = true
			}
		case everything:
			paragraph(w, "  ", "    ", "%s: %s (%s)", e.Resource, e.Saw, e.API)
		}
	}
	if n > most && !everything {
		fmt.Fprintf(w, "  and %d more; --verbose shows all\n", n-most)
	}
}

// survives prints which single failures a deployment survives: what it does not
// with what is lost, the rest by name unless everything is asked for.
func survives(w io.Writer, list []verify.Survival, everything bool) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, "\nSingle failures:")
	var survived []string
	for _, s := range list {
		if s.Failure == "none" && s.Survives && !everything {
			continue
		}
		outcome := "survived"
		switch {
		case s.Reason != "":
			outcome = "could not tell: " + s.Reason
		case !s.Survives:
			outcome = "not survived"
		case !everything:
			survived = append(survived, s.Failure)
			continue
		}
		paragraph(w, "  "+s.Failure+": ", "    ", "%s", strings.Join(append([]string{outcome}, s.Loss...), "; "))
	}
	if len(survived) > 0 {
		paragraph(w, "  survived: ", "    ", "%s", strings.Join(survived, ", "))
	}
}

// covered prints how the rows of the reference and the promises of the
// baseline came out.
func covered(w io.Writer, rows []verify.Row) {
	by := map[verify.Status][]string{}
	var unseen []verify.Row
	for _, r := range rows {
		if r.Note != "" {
			unseen = append(unseen, r)
			continue
		}
		by[r.Status] = append(by[r.Status], r.ID)
	}
	fmt.Fprintln(w, "\nRows of the reference (C, N, S) and promises of the baseline (B):")
	for _, s := range []verify.Status{verify.Pass, verify.Fail, verify.CouldNotLook, verify.Skipped, verify.NotApplicable, verify.NotLookedAt} {
		if len(by[s]) > 0 {
			paragraph(w, "  "+string(s)+": ", "    ", "%s", strings.Join(by[s], ", "))
		}
	}
	for _, r := range unseen {
		paragraph(w, "  can't be seen from outside: ", "    ", "%s: %s", r.ID, r.Note)
	}
}
