package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
)

// Status prints what a deployment is. File is the configuration's name, for
// the command that leads on.
func Status(w io.Writer, s *deploy.Status, file string) {
	fmt.Fprintf(w, "%s in %s: %s\n", s.Deployment, s.Region, s.Phase)
	if s.Phase != deploy.Missing {
		table(w, func(row func(string, ...any)) {
			row("STACK\tSTATUS\tUPDATED\tPROTECTED")
			for _, st := range s.Stacks {
				updated := "-"
				if !st.Updated.IsZero() {
					updated = moment(st.Updated)
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
				paragraph(w, st.Name+": ", "  ", "%s", st.Reason)
			}
		}
	}
	kubernetesStatus(w, s.Kubernetes)
	if s.Next != "" {
		fmt.Fprintf(w, "next: poolhouse %s %s\n", s.Next, file)
	}
}

// Placeholders prints what still stands for something of the user's own.
func Placeholders(w io.Writer, list []config.Fault) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, "Samples that a real account does not take; put your own in their place:")
	for _, f := range list {
		paragraph(w, fmt.Sprintf("  line %d: ", f.Line), "    ", "%s: %s", f.Path, f.Reason)
	}
}

// Record is a DNS record that somebody has to make.
type Record struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Records are the DNS records to make where the deployment makes none itself.
// The stack edge puts them out as "host CNAME target".
func Records(outputs map[architecture.StackName]map[string]string) []Record {
	list := []Record{}
	edge := outputs[architecture.Edge]
	for _, k := range slices.Sorted(maps.Keys(edge)) {
		if f := strings.Fields(edge[k]); strings.HasSuffix(k, "Record") && len(f) == 3 {
			list = append(list, Record{f[0], f[1], f[2]})
		}
	}
	return list
}

// records prints the DNS records to make.
func records(w io.Writer, list []Record) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, "\nDNS records to make:")
	table(w, func(row func(string, ...any)) {
		for _, r := range list {
			row("  %s\t%s\t%s", r.Name, r.Type, r.Value)
		}
	})
}

// nameServers prints how to delegate a zone of ours.
func nameServers(w io.Writer, a *architecture.Architecture, outputs map[architecture.StackName]map[string]string) {
	if ns := outputs[architecture.DNS]["NameServers"]; ns != "" {
		fmt.Fprintf(w, "\nDelegate %s to these name servers, if it isn't yet:\n  %s\n", a.Config.DNS.Zone, ns)
	}
}

// Outputs prints all outputs, and the DNS records to make.
func Outputs(w io.Writer, outputs map[architecture.StackName]map[string]string) {
	table(w, func(row func(string, ...any)) {
		for _, s := range architecture.Catalogue() {
			for _, k := range slices.Sorted(maps.Keys(outputs[s.Name])) {
				row("%s.%s\t%s", s.Name, k, outputs[s.Name][k])
			}
		}
	})
	records(w, Records(outputs))
}

// List prints the deployments of a region.
func List(w io.Writer, region string, list []deploy.Listed) {
	if len(list) == 0 {
		fmt.Fprintf(w, "There is no deployment in %s.\n", region)
		return
	}
	table(w, func(row func(string, ...any)) {
		row("DEPLOYMENT\tSTACKS\tIN PROGRESS\tFAILED\tCREATED\tUPDATED")
		for _, l := range list {
			row("%s\t%d\t%d\t%d\t%s\t%s", l.Deployment, l.Stacks, l.InMotion, l.Failed, moment(l.Created), moment(l.Updated))
		}
	})
}

// Result prints what create or update came to, and where the deployment is
// found.
func Result(w io.Writer, a *architecture.Architecture, r *deploy.Result) {
	switch {
	case r.Changes == 0:
		fmt.Fprintf(w, "%s is complete; nothing had to be changed\n", a.Config.Name)
	default:
		fmt.Fprintf(w, "%s is complete: %s changed in %s\n", a.Config.Name, Count(r.Changes, "resource"), Span(r.Took))
	}
	access := a.Config.Access
	table(w, func(row func(string, ...any)) {
		row("  web\thttps://%s", access.Web.Host)
		row("  API\thttps://%s", access.API.Host)
		row("  admin\thttps://%s", access.Admin.Host)
		if r.Kubernetes != nil {
			row("  Kubernetes API\t%s, %s", r.Kubernetes.Endpoint, r.Kubernetes)
		}
	})
	records(w, Records(r.Outputs))
	nameServers(w, a, r.Outputs)
}

// Deleted prints what a deletion came to.
func Deleted(w io.Writer, deployment string, d *deploy.Deleted) {
	fmt.Fprintf(w, "%s is deleted, in %s\n", deployment, Span(d.Took))
	Kept(w, d.Kept)
}

// Kept prints what a deletion left in the account.
func Kept(w io.Writer, list []deploy.Kept) {
	if len(list) == 0 {
		fmt.Fprintln(w, "Nothing of it is left in the account.")
		return
	}
	fmt.Fprintln(w, "What stays in the account, and why:")
	kept(w, list)
}

// kept lists things; those that stay for one reason share it.
func kept(w io.Writer, list []deploy.Kept) {
	type reason struct {
		why   string
		until time.Time
	}
	var order []reason
	things := map[reason][]deploy.Kept{}
	for _, k := range list {
		r := reason{k.Why, k.Until.Truncate(time.Hour)}
		if things[r] == nil {
			order = append(order, r)
		}
		things[r] = append(things[r], k)
	}
	for _, r := range order {
		for _, k := range things[r] {
			fmt.Fprintf(w, "  %s (%s)\n", k.ID, k.Type)
		}
		until := ""
		if !r.until.IsZero() {
			until = "; gone after " + moment(things[r][0].Until)
		}
		paragraph(w, "    ", "    ", "%s%s", r.why, until)
	}
}
