package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/poolhouse/poolhouse/internal/calibrate"
)

// Probes prints what a calibration asks, and what it needs for that.
func Probes(w io.Writer, probes []calibrate.Probe, permissions []string) {
	for _, p := range probes {
		note := ""
		if p.Writes {
			note = " (makes change sets, and deletes them)"
		}
		fmt.Fprintf(w, "%s%s\n", p.ID, note)
		paragraph(w, "  ", "  ", "%s", p.Asks)
	}
	fmt.Fprintf(w, "\n%s. The IAM permissions that they need:\n", Count(len(probes), "probe"))
	for _, p := range permissions {
		fmt.Fprintf(w, "  %s\n", p)
	}
}

// Calibration prints where the sandbox differs from an account.
func Calibration(w io.Writer, r *calibrate.Report, everything bool) {
	fmt.Fprintf(w, "The sandbox, compared with account %s in %s\n\n", r.Account, r.Region)
	facts, blind := 0, 0
	for _, x := range r.Results {
		facts += x.Compared
		verdict := fmt.Sprintf("the same, of %s", Count(x.Compared, "fact"))
		switch {
		case len(x.Differences) > 0:
			verdict = fmt.Sprintf("%s of %s", Count(len(x.Differences), "difference"), Count(x.Compared, "fact"))
		case x.Compared == 0:
			blind++
			verdict = "could not look"
		}
		fmt.Fprintf(w, "%s: %s\n", x.ID, verdict)
		for _, d := range x.Differences {
			paragraph(w, "  ", "  ", "%s", safe(d.Name))
			paragraph(w, "    account: ", "      ", "%s", none(d.Account))
			paragraph(w, "    sandbox: ", "      ", "%s", none(d.Sandbox))
		}
		for i, u := range x.Unseen {
			if i == 3 && !everything {
				fmt.Fprintf(w, "  and %d more not seen; --verbose names them\n", len(x.Unseen)-i)
				break
			}
			paragraph(w, "  not seen: ", "    ", "%s", safe(strings.TrimSpace(fmt.Sprintf("%s in the %s, %s", u.Name, u.Side, u.Why))))
		}
	}
	fmt.Fprintf(w, "\n%s in %s", Count(r.Differences(), "difference"), Count(facts, "fact"))
	if blind > 0 {
		fmt.Fprintf(w, "; %s could not look", Count(blind, "probe"))
	}
	fmt.Fprintln(w)
}

// none is a finding, or that there is none.
func none(s string) string {
	if s == "" {
		return "nothing"
	}
	return safe(s)
}
