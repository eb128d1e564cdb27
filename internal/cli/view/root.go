package view

import (
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/diagnosis"
)

// Root are the lines that say why something failed, wherever that is shown. File
// is the configuration's name, or "" if it is not known.
func Root(r diagnosis.Root, file string) []string {
	var lines []string
	if r.Resource != "" {
		what := fmt.Sprintf("resource: %s (%s)", r.Resource, r.Type)
		if r.PhysicalID != "" {
			what += " " + r.PhysicalID
		}
		lines = append(lines, what)
	}
	if r.Reason != "" {
		lines = append(lines, "reason: "+r.Reason)
	}
	lines = append(lines, "likely cause: "+r.Cause, "next: "+WithFile(r.Next, file))
	if r.Document != "" {
		lines = append(lines, "see "+r.Document)
	}
	return lines
}

// WithFile puts the configuration's name where a next step says FILE.
func WithFile(text, file string) string {
	if file == "" {
		return text
	}
	return strings.ReplaceAll(text, "FILE", file)
}
