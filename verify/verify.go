// Package verify looks at an account and says whether what stands there
// conforms: to the reference architecture row by row, and to the security
// baseline promise by promise.
//
// Checks are values ([Checks]): an id, what it proves, and the rows and promises
// it answers. [Run] gives each a status with the evidence for it: what was seen,
// at which resource, through which API, and what to do where it is wrong.
//
// Invariants: what should be there follows from the configuration; what is there
// is read from the services themselves, never from CloudFormation, templates or
// plans, so that a mistake in those shows. Nothing is written. A read that fails
// is neither a pass nor a failure: the check could not look. A check that saw
// nothing has not passed.
//
// Limits: what lies inside the cluster is not looked at. Policies are read, not
// simulated. Findings that span the whole account, such as other deployments'
// resources, are left to AWS Security Hub.
package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Level says what a failure means.
type Level string

// The levels.
const (
	// Required: the deployment does not conform; somebody should act.
	Required Level = "required"
	// Advised: the deployment conforms, and could be better.
	Advised Level = "advised"
)

// Status is the outcome of a check.
type Status string

// The statuses.
const (
	Pass          Status = "pass"
	Fail          Status = "fail"
	NotApplicable Status = "not applicable"
	CouldNotLook  Status = "could not look"
	// Skipped: the caller left the check out and gave a reason.
	Skipped Status = "skipped"
)

// Check is one thing that must hold.
type Check struct {
	// ID is stable: "bucket-public-access".
	ID string `json:"id"`
	// Proves says in one sentence what a pass shows.
	Proves string `json:"proves"`
	Level  Level  `json:"level"`
	// Rows are the rows of the reference architecture and the promises of the
	// security baseline that it answers: "C13", "B12".
	Rows []string `json:"rows"`

	// run looks and tells the result what it saw. An error means that it
	// could not look.
	run func(l *look, r *result) error
}

// Evidence is one thing that a check saw.
type Evidence struct {
	// Resource is the ARN or id of what was looked at.
	Resource string `json:"resource"`
	// Saw is the value found there, and API where it came from.
	Saw string `json:"saw"`
	API string `json:"api"`
	OK  bool   `json:"ok"`
	// Want is what should have been found, and Fix what to do; only where it
	// isn't OK.
	Want string `json:"want,omitempty"`
	Fix  string `json:"fix,omitempty"`
	// Trail is how it comes about, step by step, where that is known: the
	// routes, ACL entries and rules that let a connection pass.
	Trail []string `json:"trail,omitempty"`
}

// Result is a check and its outcome.
type Result struct {
	Check
	Status   Status     `json:"status"`
	Evidence []Evidence `json:"evidence"`
	// Reason is why a check is not applicable, was skipped or could not look.
	Reason string `json:"reason,omitempty"`
}

// Report is what a run of the checks has found.
type Report struct {
	Deployment string    `json:"deployment"`
	Region     string    `json:"region"`
	Account    string    `json:"account"`
	Time       time.Time `json:"time"`
	Results    []Result  `json:"results"`
	// Rows are the reference's rows and the baseline's promises, each with its
	// checks.
	Rows []Row `json:"rows"`
	// Survives says which single failures the deployment survives.
	Survives []Survival `json:"survives"`
	// Deviations from the reference architecture, as the configuration has
	// them.
	Deviations []architecture.Deviation `json:"deviations"`
}

// Row is a row of the reference architecture or a promise of the baseline.
type Row struct {
	ID     string   `json:"id"`
	Asks   string   `json:"asks"`
	Status Status   `json:"status"`
	Checks []string `json:"checks"`
	// Note says why nobody can check it from outside.
	Note string `json:"note,omitempty"`
}

// Options say what to check.
type Options struct {
	Architecture *architecture.Architecture
	AWS          *awsapi.Clients
	// Only are the ids to run, or prefixes of ids that end in "*"; none means
	// all.
	Only []string
	// Skip are ids or such prefixes to leave out, each with the reason.
	Skip map[string]string
	// Level leaves out the checks below it; empty means all.
	Level Level
}

// UnknownError names ids that no check has.
type UnknownError struct{ IDs []string }

func (e *UnknownError) Error() string {
	return "there is no check " + strings.Join(e.IDs, ", ")
}

// AbsentError says that nothing of a deployment is in the account.
type AbsentError struct{ Deployment, Region string }

func (e *AbsentError) Error() string {
	return fmt.Sprintf("nothing of %s is in this account and region %s", e.Deployment, e.Region)
}

// Checks are all checks, in the order of reports.
func Checks() []Check {
	return slices.Concat(
		networkChecks(),
		connectedChecks(),
		clusterChecks(),
		nodeChecks(),
		privateChecks(),
		identityChecks(),
		databaseChecks(),
		storageChecks(),
		keyChecks(),
		edgeChecks(),
		ownershipChecks(),
	)
}

// Run checks a deployment. The error is an [UnknownError], an [AbsentError], the
// context's, or that the account can't be asked at all; what single checks run
// into is in their results.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Known(); err != nil {
		return nil, err
	}
	id, err := o.AWS.Identity(ctx)
	if err != nil {
		return nil, err
	}
	l := newLook(ctx, o, id)
	if there, err := l.anything(); err != nil {
		return nil, err
	} else if !there {
		return nil, &AbsentError{o.Architecture.Name(), o.AWS.Region}
	}
	rep := &Report{
		Deployment: o.Architecture.Name(), Region: o.AWS.Region, Account: id.Account,
		Time: o.AWS.Clock.Now(), Deviations: o.Architecture.Deviations,
	}
	chosen := o.Chosen()
	rep.Results = make([]Result, len(chosen))
	var wg sync.WaitGroup
	turns := make(chan struct{}, sideBySide)
	for i, c := range chosen {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			rep.Results[i] = o.do(l, c)
		})
	}
	wg.Go(func() { rep.Survives = survivals(l) })
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	rep.Rows = rows(rep.Results)
	return rep, nil
}

// sideBySide is how many checks look at a time, so that AWS does not throttle
// them.
const sideBySide = 16

// Known tells that every id in the options is one of a check; the error is an
// [UnknownError].
func (o Options) Known() error {
	var bad []string
	all := Checks()
	for _, id := range slices.Concat(o.Only, sortedKeys(o.Skip)) {
		if !slices.ContainsFunc(all, func(c Check) bool { return matches(id, c.ID) }) {
			bad = append(bad, id)
		}
	}
	if len(bad) > 0 {
		return &UnknownError{bad}
	}
	return nil
}

// Chosen are the checks that the options choose, skipped ones included.
func (o Options) Chosen() []Check {
	return slices.DeleteFunc(Checks(), func(c Check) bool {
		return o.Level == Required && c.Level != Required ||
			len(o.Only) > 0 && !slices.ContainsFunc(o.Only, func(p string) bool { return matches(p, c.ID) })
	})
}

// matches tells whether an id is meant by a pattern: itself, or a prefix
// followed by "*".
func matches(pattern, id string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(id, prefix)
	}
	return pattern == id
}

// do runs one check.
func (o Options) do(l *look, c Check) Result {
	for _, p := range sortedKeys(o.Skip) {
		if matches(p, c.ID) {
			return Result{Check: c, Status: Skipped, Reason: o.Skip[p], Evidence: []Evidence{}}
		}
	}
	r := &result{}
	err := c.run(l, r)
	out := Result{Check: c, Evidence: r.seen, Reason: r.reason}
	if out.Evidence == nil {
		out.Evidence = []Evidence{}
	}
	switch {
	case slices.ContainsFunc(r.seen, func(e Evidence) bool { return !e.OK }):
		out.Status = Fail
	case err != nil:
		out.Status, out.Reason = CouldNotLook, err.Error()
	case r.reason != "" && len(r.seen) == 0:
		out.Status = NotApplicable
	case len(r.seen) == 0:
		out.Status, out.Reason = CouldNotLook, "nothing was there to look at"
	default:
		out.Status, out.Reason = Pass, ""
	}
	return out
}

// result collects what a check sees.
type result struct {
	seen   []Evidence
	reason string
}

// saw notes one thing seen. Want and fix are what people read if it isn't ok.
func (r *result) saw(ok bool, resource, saw, api, want, fix string, trail ...string) {
	e := Evidence{Resource: resource, Saw: saw, API: api, OK: ok, Trail: trail}
	if !ok {
		e.Want, e.Fix = want, fix
	}
	r.seen = append(r.seen, e)
}

// missing notes that something is not there at all.
func (r *result) missing(resource, api, fix string) {
	r.saw(false, resource, "not there", api, "there", fix)
}

// na says that a check does not apply to this configuration, and why. What was
// seen besides still counts.
func (r *result) na(format string, args ...any) { r.reason = fmt.Sprintf(format, args...) }

// Conforms tells that no required check failed, and none could not look.
func (r *Report) Conforms() bool {
	return len(r.Failed(Required)) == 0 && len(r.Unseen(Required)) == 0
}

// Failed are the results of a level that failed; an empty level is every one.
func (r *Report) Failed(level Level) []Result {
	return r.with(Fail, level)
}

// Unseen are the results of a level that could not look.
func (r *Report) Unseen(level Level) []Result {
	return r.with(CouldNotLook, level)
}

func (r *Report) with(s Status, level Level) []Result {
	var out []Result
	for _, res := range r.Results {
		if res.Status == s && (level == "" || res.Level == level) {
			out = append(out, res)
		}
	}
	return out
}

// rows joins results to the rows of the reference and the baseline.
func rows(results []Result) []Row {
	list := []Row{}
	for _, row := range architecture.Reference() {
		list = append(list, Row{ID: row.ID, Asks: row.Asks})
	}
	for _, p := range Baseline() {
		list = append(list, Row{ID: p.ID, Asks: p.Says, Note: p.Note})
	}
	for i := range list {
		row := &list[i]
		row.Checks = []string{}
		if n := Unseen(row.ID); n != "" {
			row.Note = n
		}
		var statuses []Status
		for _, res := range results {
			if slices.Contains(res.Rows, row.ID) {
				row.Checks = append(row.Checks, res.ID)
				statuses = append(statuses, res.Status)
			}
		}
		row.Status = joined(statuses)
	}
	return list
}

// Unseen says why nobody can check a row of the reference from outside; "" where
// a check does.
func Unseen(row string) string {
	if row == "N1" {
		return "how a deployment is made, changed and removed can't be seen in what stands there"
	}
	return ""
}

// joined is the worst of the statuses of a row's checks.
func joined(statuses []Status) Status {
	for _, s := range []Status{Fail, CouldNotLook, Pass, Skipped} {
		if slices.Contains(statuses, s) {
			return s
		}
	}
	return NotApplicable
}
