package view

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/poolhouse/poolhouse/verify"
)

//go:embed verify.html
var verifyPage string

// ReportFormats are the endings of the files that a report can be written to.
func ReportFormats() []string { return []string{".html", ".md", ".json"} }

// VerifyReport writes a report as a page, as Markdown or as JSON, by a file's ending.
func VerifyReport(w io.Writer, rep *verify.Report, ending string) error {
	switch ending {
	case ".json":
		return JSON(w, rep)
	case ".md":
		_, err := io.WriteString(w, markdown(rep))
		return err
	}
	page, err := template.New("verify").Funcs(template.FuncMap{
		"join":     strings.Join,
		"headline": headline,
		"verdict":  conformity,
		"safe":     safe,
		"class":    func(s verify.Status) string { return strings.ReplaceAll(string(s), " ", "-") },
	}).Parse(verifyPage)
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	return page.Execute(w, rep)
}

// markdown is a report for a wiki or a ticket.
func markdown(rep *verify.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s in %s\n\nAccount %s, %s: %s; %s.\n", cell(rep.Deployment), cell(rep.Region), cell(rep.Account), rep.Time.UTC().Format("2006-01-02 15:04 MST"), conformity(rep), headline(rep))
	fmt.Fprint(&b, "\n## Rows and promises\n\n| Id | Asks | Status | Checks |\n|---|---|---|---|\n")
	for _, r := range rep.Rows {
		status := string(r.Status)
		if r.Note != "" {
			status = "can't be seen from outside: " + r.Note
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r.ID), cell(r.Asks), cell(status), cell(strings.Join(r.Checks, ", ")))
	}
	if len(rep.Survives) > 0 {
		fmt.Fprint(&b, "\n## Single failures\n\n| Failure | Survived | Still serves | Lost |\n|---|---|---|---|\n")
		for _, s := range rep.Survives {
			survived := "no"
			switch {
			case s.Reason != "":
				survived = "could not tell: " + s.Reason
			case s.Survives:
				survived = "yes"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(s.Failure), cell(survived), cell(strings.Join(s.Still, "; ")), cell(strings.Join(s.Loss, "; ")))
		}
	}
	fmt.Fprint(&b, "\n## Checks\n")
	for _, r := range rep.Results {
		fmt.Fprintf(&b, "\n### %s: %s\n\n%s (%s; %s)\n", cell(r.ID), cell(string(r.Status)), cell(r.Proves), r.Level, cell(strings.Join(r.Rows, ", ")))
		if r.Reason != "" {
			fmt.Fprintf(&b, "\n%s\n", cell(r.Reason))
		}
		if len(r.Evidence) == 0 {
			continue
		}
		fmt.Fprint(&b, "\n| Resource | Seen | From | Wanted | Fix |\n|---|---|---|---|---|\n")
		for _, e := range r.Evidence {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(e.Resource), cell(strings.Join(append([]string{e.Saw}, e.Trail...), "; ")), cell(e.API), cell(e.Want), cell(e.Fix))
		}
	}
	if len(rep.Deviations) > 0 {
		fmt.Fprint(&b, "\n## Deviations from the reference\n\n| Id | What differs | Reason |\n|---|---|---|\n")
		for _, d := range rep.Deviations {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(d.ID), cell(d.What), cell(d.Reason))
		}
	}
	return b.String()
}

// cell makes a text fit for a cell of a Markdown table: what an account holds
// is not ours, and must not turn into markup.
func cell(s string) string {
	s = strings.Join(strings.Fields(safe(s)), " ")
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "`", "\\`", "[", `\[`, "]", `\]`, "*", `\*`, "_", `\_`, "#", `\#`, "!", `\!`).Replace(s)
}
