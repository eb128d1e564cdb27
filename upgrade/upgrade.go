// Package upgrade plans another Kubernetes version of a deployment, or other
// versions of its EKS add-ons, as data: which single property of which resource
// changes in which stage, what keeps it from being done, and what to know before.
//
// It is pure: what the account and the file say goes in. The plan is made of what is
// left to do, so that it is the same for a first run and for one that goes on, and
// shorter each time.
//
// Invariants: the control plane goes first and alone, add-ons come after it and nodes
// last; a version never goes back; what the file pins is taken from the file.
//
// Limits: whether removed APIs are in use is known by EKS's insights alone, and what
// charts need of a version by nobody here.
package upgrade

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/guard"
)

// Stage is a part of an upgrade; all of one is over before the next begins.
type Stage string

// The stages, in order.
const (
	ControlPlane Stage = "control plane"
	// Bake is a time for which the new control plane is watched.
	Bake   Stage = "bake"
	Addons Stage = "add-ons"
	Nodes  Stage = "nodes"
	// Templates has stacks' templates be the file's again, which change no version.
	Templates Stage = "templates"
)

// Stages are all of them, in order.
var Stages = []Stage{ControlPlane, Bake, Addons, Nodes, Templates}

// Order is the stacks that an upgrade changes, as it takes them.
var Order = []architecture.StackName{architecture.Cluster, architecture.Addons, architecture.Nodes, architecture.GPU, architecture.Parameters}

// DespiteInsights lets an upgrade begin although EKS's insights have errors.
const DespiteInsights guard.Flag = "despite-insights"

// Skew is by how many minor versions a kubelet may be older than the API server.
// https://kubernetes.io/releases/version-skew-policy/#kubelet
const Skew = 3

// Facts are what the account and the file say.
type Facts struct {
	Config *config.Config
	// Asked is the version that the command line names; "" is none.
	Asked string
	// Running is the version of the control plane, Deployed that of its stack's
	// template, and Cluster the place of both.
	Running, Deployed string
	Cluster           Place
	// Offered are the versions that EKS has.
	Offered []Version
	// Insights are those about an upgrade to the file's version.
	Insights []Insight
	Addons   []Addon
	Groups   []Group
	// Ill is what is not as it should be before an upgrade begins, in words.
	Ill []string
	// Pending are the resources that the file changes besides versions.
	Pending []string
	// Unfinished is the version that an upgrade which is not over goes to; "" is none.
	// Baked tells that the control plane was watched for long enough for that one.
	Unfinished string
	Baked      bool
	// Bake is how long it is watched.
	Bake time.Duration
}

// Place is where a resource stands.
type Place struct {
	Stack     architecture.StackName `json:"stack"`
	LogicalID string                 `json:"logicalId"`
}

// Version is a Kubernetes version at EKS.
type Version struct {
	Name string
	// Status is STANDARD_SUPPORT, EXTENDED_SUPPORT or UNSUPPORTED.
	Status             string
	Standard, Extended time.Time // when its support ends
}

// Insight is a finding of EKS about an upgrade.
type Insight struct{ Name, Status, Reason string }

// Addon is an EKS add-on of the deployment.
type Addon struct {
	Place
	Name string
	// Running is its version, Deployed that of its stack's template, and Pinned that
	// of the file; each may be "".
	Running, Deployed, Pinned string
	// Offered are its versions for the file's Kubernetes version.
	Offered []string
}

// Group is a node group.
type Group struct {
	Place
	Name string
	// Running is the version of its nodes, Deployed that of its stack's template.
	Running, Deployed string
	Nodes             int
}

// Change is one property of one resource, or, at the stage [Templates], a stack's
// template, without a resource, a property and a version that it comes from.
type Change struct {
	Stage Stage `json:"stage"`
	Place
	Property string `json:"property"`
	// Name is what people call the resource.
	Name     string        `json:"name"`
	From     string        `json:"from"`
	To       string        `json:"to"`
	Expected time.Duration `json:"expectedNanoseconds"`
}

// String is the change in words.
func (c Change) String() string {
	if c.From == "" {
		return c.Name + " to " + c.To
	}
	return c.Name + " from " + c.From + " to " + c.To
}

// Plan is what is left to do.
type Plan struct {
	Deployment string `json:"deployment"`
	// From and To are Kubernetes versions, the same where only add-ons change.
	From    string   `json:"from"`
	To      string   `json:"to"`
	Changes []Change `json:"changes"`
	// Bake is how long the control plane is watched after it has changed; 0 if it
	// isn't.
	Bake     time.Duration `json:"bakeNanoseconds"`
	Expected time.Duration `json:"expectedNanoseconds"`
	// Budgets are those with no allowed disruption: nodes wait for them.
	Budgets []string `json:"budgets,omitempty"`
	// Notes are what to know before, in words.
	Notes []string `json:"notes,omitempty"`
	// Refusals are why it is not carried out.
	Refusals []guard.Refusal `json:"refusals,omitempty"`
}

// Empty tells that nothing is left to do.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 && p.Bake == 0 }

// Of are the changes of one stage.
func (p *Plan) Of(s Stage) []Change {
	return slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool { return c.Stage != s })
}

// Restore adds that the templates of stacks become the file's again.
func (p *Plan) Restore(stacks []architecture.StackName) {
	for _, s := range stacks {
		p.Changes = append(p.Changes, Change{Stage: Templates, Place: Place{Stack: s}, Name: "template of stack " + string(s), To: "the file's", Expected: stackTakes})
	}
	p.reckon()
}

// Stage is the first that is left; "" if none is.
func (p *Plan) Stage() Stage {
	switch {
	case len(p.Of(ControlPlane)) > 0:
		return ControlPlane
	case p.Bake > 0:
		return Bake
	case len(p.Changes) > 0:
		return p.Changes[0].Stage
	}
	return ""
}

// Differs names what a plan would do that another did not say; nil if nothing.
func (p *Plan) Differs(shown *Plan) (words []string) {
	for _, c := range p.Changes {
		if !slices.ContainsFunc(shown.Changes, func(s Change) bool { return s.Place == c.Place && s.To == c.To }) {
			words = append(words, c.String())
		}
	}
	return words
}

// What changes typically take, but for CloudFormation's own time.
const (
	controlPlaneTakes = 560 * time.Second
	addonTakes        = 15 * time.Second
	nodeTakes         = 220 * time.Second
	stackTakes        = 20 * time.Second
)

// reckon adds up how long it takes.
func (p *Plan) reckon() {
	p.Expected = p.Bake
	for _, c := range p.Changes {
		p.Expected += c.Expected
	}
}

// refuse adds a refusal at a place of the file.
func (p *Plan) refuse(c *config.Config, path, reason, fix string, flag guard.Flag) {
	p.Refusals = append(p.Refusals, guard.Refusal{Fault: c.Fault(path, reason, fix), Flag: flag})
}

// newest is the latest of versions of an add-on; "" of none.
func newest(versions []string) string {
	if len(versions) == 0 {
		return ""
	}
	return slices.MaxFunc(versions, compare)
}

// compare orders versions such as v1.13.2-eksbuild.3 by their numbers.
func compare(a, b string) int {
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), cmp.Compare(a, b))
}

func numbers(version string) (all []int) {
	for _, part := range strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(part)
		if err != nil { // more than a number holds
			return all
		}
		all = append(all, n)
	}
	return all
}
