// Package drift tells what somebody changed behind a deployment's back, who it
// may have been, and what an update would do about it.
//
// It joins three views: CloudFormation's drift of every stack with what the
// next plan makes of it, findings of checks that look at the account by
// themselves, and CloudTrail's events on what differs since its stack was last
// updated. It only reads, but that CloudFormation's drift detection leaves its
// findings with the stacks, and that change sets are made and deleted again.
//
// Limits: CloudFormation compares what a template sets, of the types that it
// can read; the rest is for findings. CloudTrail delivers minutes late, keeps 90
// days, and tells who called, not who was behind a shared credential. Of a
// resource with more than 250 events since its stack was updated, the newest 250
// are searched.
package drift

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// Finding is a check of the account that failed.
type Finding struct {
	ID string `json:"id"`
	// Resource is what was looked at: an id, name or ARN.
	Resource string `json:"resource"`
	Value    string `json:"value"`
	Want     string `json:"want"`
	Fix      string `json:"fix,omitempty"`
}

// Options qualify [Look].
type Options struct {
	deploy.Target
	// Findings are checks that failed, to be told along with drift.
	Findings []Finding
}

// Verdict is what an update does about an item.
type Verdict string

// The verdicts.
const (
	PutsBack  Verdict = "put-back"
	Recreates Verdict = "re-create"
	// Replaces may depend on values that are known only during the update.
	Replaces Verdict = "replace"
	// Refuses: data would be lost, so that it must be allowed.
	Refuses Verdict = "refuse"
	// LeavesAlone: it is for somebody to change back.
	LeavesAlone Verdict = "leave"
	// SeeFix: CloudFormation sees no drift in it, and the findings' fix says what
	// update does.
	SeeFix Verdict = "see-fix"
)

// Item is one resource that is not as it was deployed, or as it should be.
type Item struct {
	// Stack is empty for what no stack holds.
	Stack      architecture.StackName `json:"stack,omitempty"`
	StackName  string                 `json:"stackName,omitempty"`
	LogicalID  string                 `json:"logicalId,omitempty"`
	PhysicalID string                 `json:"physicalId"`
	Type       string                 `json:"type,omitempty"`
	// Deleted: the resource is gone.
	Deleted     bool               `json:"deleted,omitempty"`
	Differences []stack.Difference `json:"differences,omitempty"`
	Findings    []Finding          `json:"findings,omitempty"`
	Verdict     Verdict            `json:"verdict"`
	// Why is the reason of a verdict that needs one.
	Why string `json:"why,omitempty"`
	// Left are the differences, by path, that an update does not put back.
	Left []string `json:"left,omitempty"`
	// Snapshot has the data of a database that is gone, as it was when Taken; "" if
	// there is none.
	Snapshot string    `json:"snapshot,omitempty"`
	Taken    time.Time `json:"taken,omitzero"`
	// Events are the calls that may have done it, the newest first.
	Events []Event `json:"events,omitempty"`
}

// Report is what [Look] found.
type Report struct {
	Deployment string `json:"deployment"`
	Region     string `json:"region"`
	Items      []Item `json:"items"`
	// Unknown is why drift of some stacks is not known, and EventsUnknown why
	// nobody can tell who it was; both empty if they are.
	Unknown       string `json:"unknown,omitempty"`
	EventsUnknown string `json:"eventsUnknown,omitempty"`
}

// Empty tells that everything is as it was deployed.
func (r *Report) Empty() bool { return len(r.Items) == 0 }

// Look looks for drift of a deployment. It returns [deploy.ErrAbsent] if there
// is none. It blocks until CloudFormation has looked at all stacks, side by
// side, which takes about a minute.
func Look(ctx context.Context, o Options) (*Report, error) {
	o.KeepDrift = false
	// The way to the Kubernetes API may be a session, which is no mere look.
	o.Machine = nil
	status, err := deploy.Look(ctx, o.Target)
	if err != nil {
		return nil, err
	}
	name := o.Architecture.Config.Name
	if status.Phase == deploy.Missing {
		return nil, fmt.Errorf("look for drift of %s: %w", name, deploy.ErrAbsent)
	}
	plan, err := deploy.PlanReverts(ctx, o.Target)
	if err != nil {
		return nil, err
	}
	r := &Report{Deployment: name, Region: o.AWS.Region, Items: items(plan), Unknown: plan.DriftUnknown}
	l := &looking{Options: o, report: r, updated: map[string]time.Time{}}
	for _, s := range status.Stacks {
		l.updated[s.Name] = s.Updated
	}
	if err := l.findData(ctx); err != nil {
		return nil, err
	}
	if err := l.join(ctx); err != nil {
		return nil, err
	}
	return r, l.events(ctx)
}

// findData says of a database that is gone which snapshot has its data.
func (l *looking) findData(ctx context.Context) error {
	for n := range l.report.Items {
		i := &l.report.Items[n]
		if !i.Deleted || i.Type != "AWS::RDS::DBInstance" {
			continue
		}
		id, taken, err := deploy.LastSnapshot(ctx, l.Target)
		switch {
		case awsapi.IsDenied(err):
			i.Why += "; whether a snapshot has its data can't be told: " + awsapi.Message(err)
		case err != nil:
			return err
		case id == "":
			i.Why += "; no snapshot of it is there"
		default:
			i.Snapshot, i.Taken = id, taken
			i.Why += fmt.Sprintf("; its newest snapshot is %s, of %s: to go on from that, %s", id, taken.UTC().Format("2006-01-02 15:04Z"), wayBack(l.Target, id))
		}
	}
	return nil
}

// wayBack is how the data of a lost database comes back from a snapshot: by delete
// and create from one that a delete took, otherwise by restoring the database under
// its name, so that its stack has it again.
func wayBack(t deploy.Target, snapshot string) string {
	if deploy.IsLast(t, snapshot) {
		return fmt.Sprintf("poolhouse delete FILE --data snapshot, then write database.snapshot: %s and poolhouse create FILE", snapshot)
	}
	return fmt.Sprintf("restore it under the name %s, with the subnet group, security groups and parameter group of stack %s: aws rds restore-db-instance-from-db-snapshot --db-snapshot-identifier %s", t.Architecture.DatabaseName(), t.Architecture.StackName(architecture.Database), snapshot)
}

// looking is a Look in progress.
type looking struct {
	Options
	report  *Report
	updated map[string]time.Time // stacks' last updates, by name
}

// items are the plan's drift with what the plan does about it.
func items(plan *deploy.Plan) []Item {
	list := []Item{}
	for _, s := range plan.Stacks {
		if s.Drift == nil {
			continue
		}
		for _, d := range s.Drift.Resources {
			i := Item{Stack: s.Stack, StackName: s.Name, LogicalID: d.LogicalID, PhysicalID: d.PhysicalID, Type: d.Type, Deleted: d.Deleted, Differences: d.Differences}
			i.judge(s.Changes)
			list = append(list, i)
		}
	}
	return list
}

// judge says what a plan's changes mean for the item.
func (i *Item) judge(changes []stack.Change) {
	at := slices.IndexFunc(changes, func(c stack.Change) bool { return c.LogicalID == i.LogicalID })
	switch {
	case at < 0 && i.Deleted:
		i.Verdict, i.Why = LeavesAlone, "CloudFormation does not create resources of this type again"
		return
	case at < 0:
		i.Verdict, i.Why = LeavesAlone, i.reason()
		return
	}
	c := changes[at]
	switch {
	case guard.Loses(c, changes):
		i.Verdict, i.Why = Refuses, "what it held is lost by that"
		if c.Action == stack.MayReplace {
			i.Why = "what it held may be lost by that"
		}
		if i.Deleted {
			i.Why = "it would come back empty"
		}
		if i.Deleted && i.Type == "AWS::KMS::Key" {
			i.Why = "it would be another key, and what this one encrypted stays unreadable; if its deletion is still pending, cancel it: aws kms cancel-key-deletion --key-id " + i.PhysicalID + ", then aws kms enable-key"
		}
		return
	case c.Action == stack.Add:
		i.Verdict = Recreates
		return
	case c.Action == stack.Replace || c.Action == stack.MayReplace:
		i.Verdict = Replaces
	default:
		i.Verdict = PutsBack
	}
	var back []string
	for _, p := range c.Properties {
		back = append(back, p.Path)
	}
	for _, d := range i.Differences {
		path := strings.ReplaceAll(strings.TrimPrefix(d.Path, "/"), "/", ".")
		// A change lists a property as a whole, or what differs in it.
		if !slices.ContainsFunc(back, func(p string) bool { return path == p || strings.HasPrefix(path, p+".") }) {
			i.Left = append(i.Left, d.Path)
		}
	}
	if len(i.Left) == len(i.Differences) {
		i.Verdict, i.Why, i.Left = LeavesAlone, i.reason(), nil
	} else if slices.Contains(i.Left, "/Version") {
		i.Why = i.raised()
	}
}

// raised says what to do about Kubernetes that was upgraded; "" if it wasn't.
func (i *Item) raised() string {
	for _, d := range i.Differences {
		if deploy.Raised(i.Type, d) {
			return fmt.Sprintf("EKS can't go back to %s: write cluster.version: %q into the file, without which update refuses", d.Expected, d.Actual)
		}
	}
	return ""
}

// reason is why CloudFormation puts nothing back.
func (i *Item) reason() string {
	if why := i.raised(); why != "" {
		return why
	}
	if !slices.ContainsFunc(i.Differences, func(d stack.Difference) bool { return d.Kind != "ADD" || !strings.Contains(d.Path, "Tags/") }) {
		return "tags that the template does not name are kept"
	}
	return "AWS can't change it in place, or changes it by itself"
}

// join puts the findings to the items that they are about, and makes items of
// the others.
func (l *looking) join(ctx context.Context) error {
	var rest []Finding
	for _, f := range l.Findings {
		at := slices.IndexFunc(l.report.Items, func(i Item) bool { return about(f.Resource, i.PhysicalID) || f.Resource == i.LogicalID })
		if at < 0 {
			rest = append(rest, f)
			continue
		}
		l.report.Items[at].Findings = append(l.report.Items[at].Findings, f)
	}
	if len(rest) == 0 {
		return nil
	}
	held, err := l.held(ctx)
	if err != nil {
		return err
	}
	for _, f := range rest {
		i := Item{PhysicalID: f.Resource, Findings: []Finding{f}, Verdict: LeavesAlone, Why: "no template holds it; update does not touch it"}
		for _, h := range held {
			if about(f.Resource, h.PhysicalID) {
				h.Findings, h.Verdict, h.Why = i.Findings, LeavesAlone, "the template of its stack does not set this"
				i = h
			}
		}
		if strings.Contains(f.Fix, "poolhouse update") {
			i.Verdict, i.Why = SeeFix, ""
		}
		at := slices.IndexFunc(l.report.Items, func(o Item) bool {
			return o.PhysicalID == i.PhysicalID && len(o.Differences) == 0 && !o.Deleted
		})
		if at >= 0 {
			had := &l.report.Items[at]
			had.Findings = append(had.Findings, f)
			if i.Verdict == SeeFix {
				had.Verdict, had.Why = i.Verdict, i.Why
			}
			continue
		}
		l.report.Items = append(l.report.Items, i)
	}
	return nil
}

// about tells that a finding's resource is the one with a physical id: it is
// the id itself, perhaps after its kind, or an ARN that ends in it, or one of EKS.
func about(resource, id string) bool {
	return id != "" && (resource == id || strings.HasSuffix(resource, "/"+id) || strings.HasSuffix(resource, ":"+id) || strings.HasSuffix(resource, " "+id) || aboutEKS(resource, id))
}

// aboutEKS tells that an ARN of EKS is that of a part of a cluster. CloudFormation
// calls a node group CLUSTER/NAME and the others, such as add-ons, CLUSTER|NAME;
// the ARN has KIND/CLUSTER/NAME, and mostly another id behind. See
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html
func aboutEKS(resource, id string) bool {
	arn := strings.SplitN(resource, ":", 6)
	if len(arn) < 6 || arn[0] != "arn" || arn[2] != "eks" {
		return false
	}
	path := strings.Split(arn[5], "/")
	separator := "|"
	if path[0] == "nodegroup" {
		separator = "/"
	}
	names := strings.Split(id, separator)
	return len(names) > 1 && len(path) > len(names) && slices.Equal(path[1:1+len(names)], names)
}

// held are all resources of the deployment's stacks.
func (l *looking) held(ctx context.Context) ([]Item, error) {
	d := &stack.Driver{CFN: l.AWS.CloudFormation, Clock: l.AWS.Clock}
	var all []Item
	for _, s := range l.Architecture.Stacks {
		name := l.Architecture.StackName(s.Name)
		if l.updated[name].IsZero() {
			continue
		}
		resources, err := d.Resources(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, r := range resources {
			all = append(all, Item{Stack: s.Name, StackName: name, LogicalID: r.LogicalID, PhysicalID: r.PhysicalID, Type: r.Type})
		}
	}
	return all, nil
}
