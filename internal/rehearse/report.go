package rehearse

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/verify"
)

// Report is what a rehearsal has shown.
type Report struct {
	Deployment string         `json:"deployment"`
	Region     string         `json:"region"`
	Account    string         `json:"account"`
	Profile    config.Profile `json:"profile"`
	Speed      float64        `json:"speed"`
	Seed       uint64         `json:"seed"`
	// Failure is why the rehearsal failed; empty if it did not.
	Failure string       `json:"failure,omitempty"`
	Given   []Item       `json:"given"`
	Steps   []StepReport `json:"steps"`
	// Stacks is what stood there when the creation was complete.
	Stacks []StackReport `json:"stacks"`
	// Creation and Deletion are how long these took beside their longest chains
	// of operations; nil if they did not come to their end, or under faults. The
	// creation is that of both runs, without the wait between them.
	Creation *chain.Pace `json:"creation,omitempty"`
	Deletion *chain.Pace `json:"deletion,omitempty"`
	// Kubernetes is how its API was reached, after all that was tried.
	Kubernetes deploy.KubernetesStatus `json:"kubernetes"`
	// Edits are what the update changed in the file, Update its plan.
	Edits  []Edit       `json:"edits"`
	Update *deploy.Plan `json:"update"`
	// Stateful is how many resources with data the update left in place.
	Stateful int `json:"stateful"`
	// Verifications are the looks at the account, Survives the single failures
	// that the last of them foretold, and Outage what the loss of a zone left.
	Verifications []Verification    `json:"verifications"`
	Survives      []verify.Survival `json:"survives"`
	Outage        *Outage           `json:"outage,omitempty"`
	// Data is what was shown of objects, rows and signing in; nil if nobody asked for it.
	Data *Data `json:"data,omitempty"`
	// Pods is what ran in a real Kubernetes; nil if that was left out.
	Pods *Pods `json:"pods,omitempty"`
	// Kept is what the deletion left, LinkedRoles what AWS keeps for its
	// services, and Skipped how long it took until the rest was gone.
	Kept        []deploy.Kept `json:"kept"`
	LinkedRoles []string      `json:"linkedRoles"`
	Skipped     time.Duration `json:"skippedNanoseconds"`
	// Calls counts API calls by service and operation.
	Calls map[string]int `json:"calls"`
	Rows  []RowReport    `json:"rows"`
	// Permissions are what it took; nil unless it was recorded.
	Permissions *Permissions `json:"permissions,omitempty"`
	// Faults are how often each fault has happened, and Runs the commands that
	// were run under them, with what the user did about each failure.
	Faults []fault.Tally `json:"faults,omitempty"`
	Runs   []RunReport   `json:"runs,omitempty"`
	// NotModelled is what no rehearsal shows.
	NotModelled []string `json:"notModelled"`

	// seen are the resources that the run has made, by stack.
	seen map[architecture.StackName]map[string]bool
}

// StepReport is how a step went.
type StepReport struct {
	Step    Step   `json:"step"`
	Title   string `json:"title"`
	Outcome string `json:"outcome"`
	Failure string `json:"failure,omitempty"`
	// Calls is how many API calls the product made.
	Calls     int           `json:"calls"`
	Simulated time.Duration `json:"simulatedNanoseconds"`
	Wall      time.Duration `json:"wallNanoseconds"`
}

// StackReport is a stack and its creation, in time since the first stack's
// start.
type StackReport struct {
	Stack architecture.StackName `json:"stack"`
	Name  string                 `json:"name"`
	Start time.Duration          `json:"startNanoseconds"`
	End   time.Duration          `json:"endNanoseconds"`
	// Critical tells that the stack is on the path that decided how long the
	// creation took.
	Critical bool `json:"critical"`
	// Types counts the resources by type.
	Types map[string]int `json:"types"`
}

// Shown is how much of a row of the reference architecture a run has shown.
type Shown string

// The degrees.
const (
	Fully     Shown = "shown"
	Partly    Shown = "in part"
	NotAtAll  Shown = "not shown"
	ByProgram Shown = "by the program"
)

// RowReport is a row of the reference architecture.
type RowReport struct {
	ID    string `json:"id"`
	Asks  string `json:"asks"`
	Shown Shown  `json:"shown"`
	// Missing are the resources, as stack/logical id, that this deployment
	// doesn't have.
	Missing []string `json:"missing,omitempty"`
	Note    string   `json:"note,omitempty"`
}

func newReport(a *architecture.Architecture, o Options, accountID string) *Report {
	return &Report{
		Deployment: a.Config.Name, Region: a.Config.Region, Profile: a.Config.Profile, Account: accountID, Speed: o.Speed, Seed: o.Seed,
		Given: []Item{}, Edits: []Edit{}, Verifications: []Verification{}, Survives: []verify.Survival{}, Kept: []deploy.Kept{}, LinkedRoles: []string{}, Calls: map[string]int{},
		seen: map[architecture.StackName]map[string]bool{},
	}
}

// Simulated and Wall are how long the product took, over all steps.
func (r *Report) Simulated() time.Duration {
	return r.sum(func(s StepReport) time.Duration { return s.Simulated })
}

// Wall is how long the rehearsal took on the wall.
func (r *Report) Wall() time.Duration {
	return r.sum(func(s StepReport) time.Duration { return s.Wall })
}

func (r *Report) sum(f func(StepReport) time.Duration) time.Duration {
	var total time.Duration
	for _, s := range r.Steps {
		total += f(s)
	}
	return total
}

// Resources is how many resources the creation made.
func (r *Report) Resources() int {
	n := 0
	for _, s := range r.Stacks {
		for _, c := range s.Types {
			n += c
		}
	}
	return n
}

// APICalls is how many API calls the account has answered.
func (r *Report) APICalls() int {
	n := 0
	for _, c := range r.Calls {
		n += c
	}
	return n
}

// MarshalJSON adds the totals.
func (r *Report) MarshalJSON() ([]byte, error) {
	type plain Report
	return json.Marshal(struct {
		*plain
		Resources int           `json:"resources"`
		APICalls  int           `json:"apiCalls"`
		Simulated time.Duration `json:"simulatedNanoseconds"`
		Wall      time.Duration `json:"wallNanoseconds"`
	}{(*plain)(r), r.Resources(), r.APICalls(), r.Simulated(), r.Wall()})
}

// see takes note of what a run makes.
func (r *Report) see(_ Step, e deploy.Event) {
	ev, ok := e.(deploy.ResourceEvent)
	if !ok || ev.IsStack() || (ev.Status != "CREATE_COMPLETE" && ev.Status != "UPDATE_COMPLETE") {
		return
	}
	r.note(ev.Stack, ev.LogicalID)
}

func (r *Report) note(name architecture.StackName, logicalID string) {
	if r.seen[name] == nil {
		r.seen[name] = map[string]bool{}
	}
	r.seen[name][logicalID] = true
}

// measure reads from the account what the creation has made and when.
func (r *Report) measure(p *process, a *architecture.Architecture) error {
	driver := &stack.Driver{CFN: p.clients.CloudFormation, Clock: p.clients.Clock}
	type span struct{ start, end time.Time }
	spans := map[architecture.StackName]span{}
	var first time.Time
	for _, s := range a.Stacks {
		name := a.StackName(s.Name)
		held, err := driver.Resources(p.ctx, name)
		if err != nil {
			return err
		}
		st := StackReport{Stack: s.Name, Name: name, Types: map[string]int{}}
		for _, res := range held {
			st.Types[res.Type]++
			r.note(s.Name, res.LogicalID)
		}
		var sp span
		pages := cloudformation.NewDescribeStackEventsPaginator(p.clients.CloudFormation, &cloudformation.DescribeStackEventsInput{StackName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(p.ctx)
			if err != nil {
				return fmt.Errorf("read events of stack %s: %w", name, err)
			}
			for _, e := range page.StackEvents {
				if aws.ToString(e.PhysicalResourceId) != aws.ToString(e.StackId) {
					continue
				}
				switch e.ResourceStatus {
				case "CREATE_IN_PROGRESS":
					sp.start = aws.ToTime(e.Timestamp)
				case "CREATE_COMPLETE":
					sp.end = aws.ToTime(e.Timestamp)
				}
			}
		}
		if first.IsZero() || sp.start.Before(first) {
			first = sp.start
		}
		spans[s.Name] = sp
		r.Stacks = append(r.Stacks, st)
	}
	for i := range r.Stacks {
		s := &r.Stacks[i]
		s.Start, s.End = spans[s.Stack].start.Sub(first), spans[s.Stack].end.Sub(first)
	}
	r.criticalPath(a)
	return nil
}

// criticalPath marks the stacks that decided how long the creation took: the
// last one to end, then always the last to end of those it waited for.
func (r *Report) criticalPath(a *architecture.Architecture) {
	last := func(among func(architecture.StackName) bool) *StackReport {
		var found *StackReport
		for i := range r.Stacks {
			if s := &r.Stacks[i]; among(s.Stack) && (found == nil || s.End > found.End) {
				found = s
			}
		}
		return found
	}
	for s := last(func(architecture.StackName) bool { return true }); s != nil; {
		s.Critical = true
		entry, _ := a.Stack(s.Stack)
		s = last(func(n architecture.StackName) bool { return slices.Contains(entry.After, n) })
	}
}

// finish computes what follows from the run as a whole.
func (r *Report) finish() {
	r.NotModelled = sandbox.NotModelled()
	if r.Pods != nil {
		for i, n := range r.NotModelled {
			if n == sandbox.WithoutKubernetes {
				r.NotModelled[i] = "inside the cluster: pods are processes of this machine, where limits of their resources are not enforced, and neither are network policies; GPUs are numbers that nodes offer while a pod of NVIDIA's device plugin is there, and no pod gets a device"
			}
		}
	}
	for _, row := range architecture.Reference() {
		rr := RowReport{ID: row.ID, Asks: row.Asks, Note: row.Note, Shown: Fully}
		for _, m := range row.By {
			if !r.fits(m) {
				rr.Missing = append(rr.Missing, string(m.Stack)+"/"+m.Pattern)
			}
		}
		switch len(rr.Missing) {
		case 0:
			if len(row.By) == 0 {
				rr.Shown = ByProgram
			}
		case len(row.By):
			rr.Shown = NotAtAll
		default:
			rr.Shown = Partly
		}
		r.Rows = append(r.Rows, rr)
	}
}

// fits tells that the run has made a resource that a match means.
func (r *Report) fits(m architecture.Match) bool {
	for id := range r.seen[m.Stack] {
		if m.Fits(m.Stack, id) {
			return true
		}
	}
	return false
}

// Path is the critical path in words.
func (r *Report) Path() []architecture.StackName {
	critical := slices.DeleteFunc(slices.Clone(r.Stacks), func(s StackReport) bool { return !s.Critical })
	slices.SortFunc(critical, func(a, b StackReport) int { return int(a.Start - b.Start) })
	var path []architecture.StackName
	for _, s := range critical {
		path = append(path, s.Stack)
	}
	return path
}

// CallsByService sums the calls up.
func (r *Report) CallsByService() map[string]int {
	by := map[string]int{}
	for _, op := range slices.Sorted(maps.Keys(r.Calls)) {
		service, _, _ := strings.Cut(op, ".")
		by[service] += r.Calls[op]
	}
	return by
}
