package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify"
)

// checks is the page of what verify looks at: every check, and the rows of the
// reference and promises of the baseline with the checks that answer them.
func checks() []byte {
	var b bytes.Buffer
	all := verify.Checks()
	fmt.Fprintf(&b, `# Checks

This page is generated from the code. [verify.md](../guides/verify.md) says how to
use them. There are %d; a required check that fails, or could not look, means that
the deployment does not conform.

| Check | Level | Proves | Answers |
|---|---|---|---|
`, len(all))
	answers := map[string][]string{}
	for _, c := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.ID, c.Level, c.Proves, strings.Join(c.Rows, ", "))
		for _, r := range c.Rows {
			answers[r] = append(answers[r], "`"+c.ID+"`")
		}
	}
	row := func(id, asks, note string) {
		by := strings.Join(answers[id], ", ")
		if by == "" {
			by = "can't be seen from outside: " + note
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", id, asks, by)
	}
	fmt.Fprint(&b, "\n## Rows of the reference architecture\n\n| Row | Asks for | Checked by |\n|---|---|---|\n")
	for _, r := range architecture.Reference() {
		row(r.ID, r.Asks, verify.Unseen(r.ID))
	}
	fmt.Fprint(&b, "\n## Promises of the security baseline\n\n| Promise | Says | Checked by |\n|---|---|---|\n")
	for _, p := range verify.Baseline() {
		row(p.ID, p.Says, p.Note)
	}
	return b.Bytes()
}
