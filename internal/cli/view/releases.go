package view

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/poolhouse/poolhouse/cluster"
)

// ReleaseEvent prints what happens to a release, or to the run if none is named, as a
// line for people or for machines.
func ReleaseEvent(w io.Writer, machines bool, release, text string) {
	if !machines {
		fmt.Fprintln(w, strings.TrimSpace(release+" "+text))
		return
	}
	type data struct {
		Release string `json:"release,omitempty"`
		Text    string `json:"text"`
	}
	NewJSONLines(w).Line("Release", data{release, text})
}

// Manifests prints what releases consist of, as YAML.
func Manifests(w io.Writer, list []cluster.Rendered) {
	for _, r := range list {
		fmt.Fprintf(w, "---\n# release %s in %s\n%s\n", r.Name, r.Namespace, r.Manifest)
	}
}

// Applied prints what was done to releases.
func Applied(w io.Writer, list []cluster.Applied) {
	if len(list) == 0 {
		fmt.Fprintln(w, "there was nothing to do")
	}
	for _, r := range list {
		fmt.Fprintf(w, "%s %s in %s, revision %d\n", r.Action, r.Name, r.Namespace, r.Revision)
	}
}

// Releases prints the releases of a cluster, and why pods are not ready.
func Releases(w io.Writer, name string, list []cluster.Revision) {
	if len(list) == 0 {
		fmt.Fprintf(w, "there is no release in %s\n", name)
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RELEASE\tNAMESPACE\tREVISION\tSTATUS\tPODS\tCHART")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d/%d\t%s\n", r.Name, r.Namespace, r.Revision, r.Status, r.Ready, r.Pods, r.Chart)
	}
	// The stream below it has the error, if there is one.
	_ = t.Flush()
	for _, r := range list {
		if r.Status != "deployed" {
			paragraph(w, r.Name+": ", "  ", "%s", r.Description)
		}
		for _, why := range r.Waits {
			paragraph(w, r.Name+": ", "  ", "%s", why)
		}
	}
}

// Revisions prints the history of a release.
func Revisions(w io.Writer, list []cluster.Revision) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REVISION\tUPDATED\tSTATUS\tCHART\tNAMESPACE\tDESCRIPTION")
	for _, r := range list {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Revision, r.Updated.Format("2006-01-02 15:04:05Z"), r.Status, r.Chart, r.Namespace, r.Description)
	}
	_ = t.Flush() // as above
}
