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
	"github.com/poolhouse/poolhouse/lease"
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
			switch {
			case st.Root != nil:
				fmt.Fprintln(w, safe(st.Name+" failed:"))
				for _, line := range Root(*st.Root, file) {
					paragraph(w, "  ", "    ", "%s", line)
				}
			case st.Reason != "":
				paragraph(w, st.Name+": ", "  ", "%s", st.Reason)
			}
		}
	}
	for _, what := range s.Going {
		paragraph(w, "being deleted at the moment: ", "  ", "%s", what)
	}
	if s.GoingUnknown != "" {
		paragraph(w, "whether something is being deleted is not known: ", "  ", "%s", s.GoingUnknown)
	}
	notOurs(w, s.NotOurs)
	protectionStatus(w, s)
	outside(w, s)
	if s.Upgrade != nil {
		paragraph(w, "under way: ", "  ", "%s", s.Upgrade)
	}
	if s.UpgradeUnknown != "" {
		paragraph(w, "whether an upgrade is under way is not known: ", "  ", "%s", s.UpgradeUnknown)
	}
	kubernetesStatus(w, s.Kubernetes)
	if s.KubernetesUnknown != "" {
		paragraph(w, "Kubernetes API: ", "  ", "not known: %s", s.KubernetesUnknown)
	}
	for _, x := range s.Exits {
		paragraph(w, "way out of ", "  ", "%s", x)
	}
	if s.ExitsUnknown != "" {
		paragraph(w, "ways out are not known: ", "  ", "%s", s.ExitsUnknown)
	}
	for _, r := range s.Validation {
		paragraph(w, "certificate waits for: ", "  ", "%s", r)
	}
	if s.ValidationUnknown != "" {
		paragraph(w, "certificate: ", "  ", "what it waits for is not known: %s", s.ValidationUnknown)
	}
	atWork(w, s.Lease, s.LeaseFree, file)
	if s.LeaseUnknown != "" {
		paragraph(w, "at work: ", "  ", "not known: %s", s.LeaseUnknown)
	}
	if len(s.Deleted) > 0 {
		var names []string
		for _, n := range s.Deleted {
			names = append(names, string(n))
		}
		paragraph(w, "deleted: ", "  ", "%s; to go on with the deletion: poolhouse delete %s; to make them again: poolhouse create %[2]s", strings.Join(names, ", "), file)
	}
	if s.DeletedUnknown != "" {
		paragraph(w, "whether a deletion was begun is not known: ", "  ", "%s", s.DeletedUnknown)
	}
	if s.Next != "" {
		when := "next"
		if s.Lease != nil && s.Lease.Ended && s.Next != "delete" {
			when = "next, after " + moment(s.LeaseFree)
		}
		fmt.Fprintf(w, "%s: poolhouse %s %s\n", when, s.Next, file)
	}
}

// atWork says who works on a deployment, or whose calls are waited for until when,
// and what can be done meanwhile.
func atWork(w io.Writer, l *lease.Held, free time.Time, file string) {
	switch {
	case l == nil:
	case !l.Ended:
		paragraph(w, "at work: ", "  ", "%s; its lease ends %s unless it is renewed", l.Holder, moment(l.Expires))
	default:
		elsewhere := ""
		if l.Machine != "" {
			elsewhere = fmt.Sprintf(", but on %s, where that process is known to be dead", l.Host)
		}
		paragraph(w, "was at work: ", "  ", "%s; it is over and did not give its lease back, and what it sent to delete may arrive until %s; what changes something is refused until then%s; poolhouse delete %s does not wait", l.Holder, moment(free), elsewhere, file)
	}
}

// notOurs names stacks that look like a deployment's and are none of its own.
func notOurs(w io.Writer, names []string) {
	for _, n := range names {
		paragraph(w, "not ours: ", "  ", "stack %s has this deployment's tag and is none of its stacks; it is left alone", n)
	}
}

// outside prints what belongs to a deployment and no stack holds.
func outside(w io.Writer, s *deploy.Status) {
	if s.Resources > 0 {
		fmt.Fprintf(w, "%s in stacks, %d outside of them\n", Count(s.Resources, "resource"), len(s.Outside))
	} else if len(s.Outside) > 0 {
		fmt.Fprintln(w, "No stack holds what is left of it:")
	}
	for _, i := range s.Outside {
		until := ""
		if !i.Until.IsZero() {
			until = ", gone after " + moment(i.Until)
		}
		why := i.Why
		if why == "" {
			why = "known by its " + string(i.Origin)
		}
		paragraph(w, "  ", "    ", "%s (%s): %s%s", i.ID, i.Type, why, until)
	}
	for _, u := range s.Unknown {
		paragraph(w, "  not known: ", "    ", "%s: %s", u.What, u.Reason)
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

// Records are the DNS records to make where the deployment makes none itself.
// The stack edge puts them out as "host CNAME target".
func Records(outputs map[architecture.StackName]map[string]string) []deploy.Record {
	list := []deploy.Record{}
	edge := outputs[architecture.Edge]
	for _, k := range slices.Sorted(maps.Keys(edge)) {
		if f := strings.Fields(edge[k]); strings.HasSuffix(k, "Record") && len(f) == 3 {
			list = append(list, deploy.Record{Name: f[0], Type: f[1], Value: f[2]})
		}
	}
	return list
}

// records prints the DNS records to make.
func records(w io.Writer, list []deploy.Record) {
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

// Protections prints what is protected against deletion.
func Protections(w io.Writer, all []deploy.Protection) {
	fmt.Fprintln(w, "Protected against deletion:")
	for _, p := range all {
		paragraph(w, "  ", "    ", "%s", protection(p))
	}
}

func protection(p deploy.Protection) string {
	switch p.Of {
	case "stack":
		return fmt.Sprintf("stack %s, by termination protection", p.Stack)
	case "resource":
		if p.Stack == "" {
			return fmt.Sprintf("%s (%s), which a controller in the cluster made, by deletion protection", safe(p.ID), p.Type)
		}
		return fmt.Sprintf("%s (%s) of stack %s, by deletion protection that somebody switched on by hand", safe(p.ID), p.Type, p.Stack)
	}
	return fmt.Sprintf("what stack %s holds, by deletion protection", p.Stack)
}

// protectionStatus says what of a deployment is protected otherwise than its file
// says.
func protectionStatus(w io.Writer, s *deploy.Status) {
	if len(s.Unprotected) > 0 {
		fmt.Fprintln(w, "not protected against deletion, though the file asks for it; create switches it on:")
		for _, p := range s.Unprotected {
			paragraph(w, "  ", "    ", "%s", protection(p))
		}
	}
	if len(s.Besides) > 0 {
		fmt.Fprintln(w, "protected against deletion, though the file doesn't ask for it; delete asks before it lifts it:")
		for _, p := range s.Besides {
			paragraph(w, "  ", "    ", "%s", protection(p))
		}
	}
}

// Deleted prints what a deletion came to. File is the configuration's name.
func Deleted(w io.Writer, deployment, file string, d *deploy.Deleted) {
	if d.Outcome == deploy.Blocked {
		fmt.Fprintf(w, "%s is not wholly deleted, after %s; what is left to do:\n", deployment, Span(d.Took))
		for _, b := range d.Blockers {
			paragraph(w, "  ", "    ", "%s", safe(b.String()))
			paragraph(w, "    next: ", "      ", "%s", safe(WithFile(b.Next, file)))
		}
		if len(d.Kept) == 0 {
			return
		}
	} else if d.Outcome == deploy.Retained {
		fmt.Fprintf(w, "%s is deleted but for what stays, in %s\n", deployment, Span(d.Took))
	} else {
		fmt.Fprintf(w, "%s is deleted, in %s\n", deployment, Span(d.Took))
	}
	Kept(w, file, d.Kept)
	altogether(w, d.Costs)
}

// altogether prints what all that stays costs.
func altogether(w io.Writer, c deploy.Costs) {
	switch n := len(c.Unknown); {
	case n == 0 && c.USD == 0:
	case n == 0:
		fmt.Fprintf(w, "Altogether it costs USD %.2f a month.\n", c.USD)
	default:
		fmt.Fprintf(w, "Altogether it costs USD %.2f a month, and what is not known here of %s.\n", c.USD, Count(n, "thing"))
	}
}

// Kept prints what a deletion left in the account.
func Kept(w io.Writer, file string, list []deploy.Kept) {
	if len(list) == 0 {
		fmt.Fprintln(w, "Nothing of it is left in the account.")
		return
	}
	fmt.Fprintln(w, "What stays in the account, and why:")
	kept(w, file, list)
}

// kept lists things; those that stay for one reason share it.
func kept(w io.Writer, file string, list []deploy.Kept) {
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
			holds(w, k.Holds)
		}
		first := things[r][0]
		until := ""
		if !r.until.IsZero() {
			until = "; gone after " + moment(first.Until)
		}
		if !first.After.IsZero() {
			until += "; can be removed after " + moment(first.After)
		}
		paragraph(w, "    ", "    ", "%s%s", safe(WithFile(r.why, file)), until)
		if !first.Passing {
			paragraph(w, "    costs: ", "      ", "%s", cost(things[r]))
			commands(w, file, things[r])
		}
	}
}

// holds prints what a kept stack holds that costs something, by its type.
func holds(w io.Writer, all []deploy.Held) {
	for len(all) > 0 {
		typ, n, sum := all[0].Type, 0, 0.0
		for ; n < len(all) && all[n].Type == typ; n++ {
			if p := all[n].Monthly; p != nil {
				sum += p.Amount
			}
		}
		price := fmt.Sprintf("USD %.2f a month", sum)
		if all[0].Monthly == nil {
			price = "billed by " + all[0].By
		}
		paragraph(w, "    holds ", "      ", "%d %s: %s", n, typ, price)
		all = all[n:]
	}
}

// cost is what things cost together in a month; a stack costs what it holds.
func cost(things []deploy.Kept) string {
	var all []deploy.Held
	for _, k := range things {
		if k.Type == "AWS::CloudFormation::Stack" {
			all = append(all, k.Holds...)
		} else {
			all = append(all, deploy.Held{Monthly: k.Monthly})
		}
	}
	sum, unknown := 0.0, 0
	var sources []string
	for _, h := range all {
		if h.Monthly == nil {
			unknown++
			continue
		}
		sum += h.Monthly.Amount
		if s := fmt.Sprintf("%s, %s", h.Monthly.Source, h.Monthly.Date.Format(time.DateOnly)); !slices.Contains(sources, s) {
			sources = append(sources, s)
		}
	}
	known := fmt.Sprintf("USD %.2f a month", sum)
	if len(sources) > 0 {
		known += " (" + strings.Join(sources, "; ") + ")"
	}
	switch {
	case len(all) == 0:
		return "nothing by itself"
	case unknown == len(all):
		return "not known here: it depends on how much they hold"
	case unknown > 0:
		return fmt.Sprintf("%s, and what is not known here of %s", known, Count(unknown, "thing"))
	}
	return known
}

// most is how many commands are listed for people; programs get all.
const most = 12

// commands lists how things are restored and removed.
func commands(w io.Writer, file string, things []deploy.Kept) {
	list := func(what string, of func(deploy.Kept) []string) {
		var all []string
		for _, k := range things {
			for _, c := range of(k) {
				if !slices.Contains(all, c) {
					all = append(all, c)
				}
			}
		}
		for i, c := range all {
			if i == most {
				fmt.Fprintf(w, "      and %d more, in the manifest\n", len(all)-most)
				return
			}
			fmt.Fprintf(w, "    %s: %s\n", what, safe(WithFile(c, file)))
		}
	}
	list("restore", func(k deploy.Kept) []string { return k.Restore })
	list("remove", func(k deploy.Kept) []string { return k.Remove })
}
