package upgrade

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/guard"
)

// path is where the file says the Kubernetes version.
const path = "cluster.version"

// Kubernetes plans the file's Kubernetes version. Everything that it is refused for
// is in the plan, at once.
func Kubernetes(f Facts) *Plan {
	to := f.Config.Cluster.Version
	p := &Plan{Deployment: f.Config.Name, From: f.Running, To: to}
	if f.Asked != "" && f.Asked != to {
		p.refuse(f.Config, path, fmt.Sprintf("is %s, and the command says --to %s: the file decides", to, f.Asked), fmt.Sprintf("write %q", f.Asked), "")
	}
	rises := f.Running != to || f.Deployed != to
	if rises {
		p.version(f)
		p.ready(f)
		p.Changes = append(p.Changes, Change{ControlPlane, f.Cluster, "Version", "control plane", f.Running, to, controlPlaneTakes + stackTakes})
	}
	for _, a := range f.Addons {
		if slices.Contains(a.Offered, a.Running) && (a.Pinned == "" || a.Pinned == a.Running) {
			continue
		}
		p.addon(f, a)
	}
	for _, g := range f.Groups {
		if g.Deployed != to || g.Running != to {
			p.Changes = append(p.Changes, Change{Nodes, g.Place, "Version", "node group " + g.Name, g.Running, to, time.Duration(max(g.Nodes, 1))*nodeTakes + stackTakes})
		}
	}
	if f.Unfinished != to && f.Unfinished == f.Running {
		p.refuse(f.Config, path, fmt.Sprintf("is %s, and the upgrade to %s is not over: its control plane has changed, and what follows has not", to, f.Unfinished),
			fmt.Sprintf("write %q, and go on with that one first: poolhouse upgrade kubernetes -f FILE", f.Unfinished), "")
	}
	if len(p.Changes) > 0 && !(f.Baked && f.Unfinished == to && !rises) {
		p.Bake = f.Bake
	}
	p.pending(f)
	p.reckon()
	return p
}

// OnlyAddons plans the file's versions of add-ons, and for those that the file does
// not pin the newest that EKS has for the Kubernetes version that runs.
func OnlyAddons(f Facts) *Plan {
	p := &Plan{Deployment: f.Config.Name, From: f.Running, To: f.Running}
	if v := f.Config.Cluster.Version; v != f.Running {
		p.refuse(f.Config, path, fmt.Sprintf("is %s, and the control plane runs %s: add-ons are for the version that runs", v, f.Running),
			fmt.Sprintf("change the version first, by poolhouse upgrade kubernetes -f FILE, or write %q", f.Running), "")
	}
	for _, a := range f.Addons {
		p.addon(f, a)
	}
	p.pending(f)
	p.reckon()
	return p
}

// addon plans the change of an add-on to what the file pins, or else to the newest
// version, unless it runs that.
func (p *Plan) addon(f Facts, a Addon) {
	best, at := newest(a.Offered), "cluster.addonVersions."+a.Name
	want := a.Pinned
	switch {
	case want != "" && !slices.Contains(a.Offered, want):
		fix := "remove the line"
		if best != "" {
			fix = fmt.Sprintf("write %q", best)
		}
		p.refuse(f.Config, at, fmt.Sprintf("is %s, which EKS does not have for Kubernetes %s", want, p.To), fix, "")
		return
	case want != "" && compare(want, a.Running) < 0:
		p.refuse(f.Config, at, fmt.Sprintf("is %s, and %s runs: an upgrade never goes back", want, a.Running), fmt.Sprintf("write %q", a.Running), "")
		return
	case want == "" && best == "":
		p.refuse(f.Config, path, fmt.Sprintf("is %s, for which EKS has no version of the add-on %s", p.To, a.Name), "stay at the version that runs until there is one", "")
		return
	case want == "" && compare(best, a.Running) < 0 && !slices.Contains(a.Offered, a.Running):
		p.refuse(f.Config, path, fmt.Sprintf("is %s, for which the newest version of the add-on %s is %s, and %s runs: an upgrade never goes back", p.To, a.Name, best, a.Running), "stay at the version that runs until there is a newer one", "")
		return
	case want == "":
		want = best
	}
	if want == a.Running || compare(want, a.Running) < 0 {
		return
	}
	if a.Deployed == want {
		p.refuse(f.Config, at, fmt.Sprintf("was changed outside of CloudFormation: %s runs, and its stack has %s", a.Running, want), "put it back first, by poolhouse update FILE", "")
		return
	}
	p.Changes = append(p.Changes, Change{Addons, a.Place, "AddonVersion", "add-on " + a.Name, a.Running, want, addonTakes + stackTakes})
}

// version judges the step of the control plane.
func (p *Plan) version(f Facts) {
	was, is := guard.Minor(f.Running), guard.Minor(p.To)
	switch {
	case is < was:
		p.refuse(f.Config, path, fmt.Sprintf("is %s, and the control plane runs %s: an upgrade never goes back", p.To, f.Running), fmt.Sprintf("write %q", f.Running), "")
		return
	case is > was+1:
		p.refuse(f.Config, path, fmt.Sprintf("would go from %s to %s: EKS takes one minor version at a time", f.Running, p.To), fmt.Sprintf("write %q, upgrade, and go on from there", guard.Next(f.Running)), "")
	}
	var names []string
	known := false
	for _, v := range f.Offered {
		if v.Name == f.Running && v.Status == "EXTENDED_SUPPORT" {
			p.Notes = append(p.Notes, fmt.Sprintf("Kubernetes %s is in extended support until %s, for which AWS charges more for each hour of the cluster than in standard support", v.Name, v.Extended.Format(time.DateOnly)))
		}
		if v.Status != "UNSUPPORTED" {
			names = append(names, v.Name)
		}
		if v.Name != p.To || v.Status == "UNSUPPORTED" {
			continue
		}
		known = true
		if v.Status == "EXTENDED_SUPPORT" {
			p.Notes = append(p.Notes, fmt.Sprintf("Kubernetes %s is in extended support too, until %s: go on to the next version to pay the standard price", v.Name, v.Extended.Format(time.DateOnly)))
			continue
		}
		p.Notes = append(p.Notes, fmt.Sprintf("Kubernetes %s has standard support until %s", v.Name, v.Standard.Format(time.DateOnly)))
	}
	if !known {
		slices.SortFunc(names, compare)
		p.refuse(f.Config, path, fmt.Sprintf("is %s, which EKS does not offer", p.To), "write one that it does: "+strings.Join(names, ", "), "")
	}
	for _, g := range f.Groups {
		if is-guard.Minor(g.Running) > Skew {
			p.refuse(f.Config, path, fmt.Sprintf("is %s, and the nodes of %s run %s: kubelets may be %d minor versions older than the control plane at most", p.To, g.Name, g.Running, Skew),
				fmt.Sprintf("write %q, upgrade, which brings the nodes there, and go on from there", f.Running), "")
		}
	}
}

// ready judges what EKS knows before the control plane changes.
func (p *Plan) ready(f Facts) {
	for _, i := range f.Insights {
		switch i.Status {
		case "PASSING":
		case "ERROR":
			p.refuse(f.Config, path, fmt.Sprintf("is %s, and EKS has an insight against it: %s: %s", p.To, i.Name, i.Reason), "mend the cause, and look again once EKS has refreshed its insights, which takes up to a day by itself", DespiteInsights)
		default:
			p.Notes = append(p.Notes, fmt.Sprintf("EKS's insight %q is %s: %s", i.Name, i.Status, i.Reason))
		}
	}
	if len(f.Insights) == 0 {
		p.Notes = append(p.Notes, "EKS has no insights about Kubernetes "+p.To)
	}
	for _, what := range f.Ill {
		p.refuse(f.Config, path, fmt.Sprintf("is %s, and an upgrade begins only where all is well: %s", p.To, what), "mend that first; poolhouse verify FILE looks at all of it", "")
	}
}

// pending refuses a file that changes more than versions.
func (p *Plan) pending(f Facts) {
	if len(f.Pending) == 0 {
		return
	}
	what := f.Pending
	const few = 5
	if len(what) > few {
		what = append(slices.Clone(what[:few]), fmt.Sprintf("and %d more", len(f.Pending)-few))
	}
	p.refuse(f.Config, path, "shares an operation with nothing else, and the file changes "+strings.Join(what, ", "), fmt.Sprintf("write %q, update, and upgrade then", f.Running), "")
}
