// Package verify looks at an account and says whether what stands there
// conforms: to the reference architecture row by row, and to the security
// baseline promise by promise.
//
// Checks are values ([Checks]): an id, what it proves, and the rows and promises
// it answers. [Run] gives each a status with the evidence for it: what was seen,
// at which resource, through which API, and what to do where it is wrong.
// The checks of each area are in a package of their own below.
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
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/backup"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/cluster"
	"github.com/poolhouse/poolhouse/verify/database"
	"github.com/poolhouse/poolhouse/verify/edge"
	"github.com/poolhouse/poolhouse/verify/identity"
	"github.com/poolhouse/poolhouse/verify/keys"
	"github.com/poolhouse/poolhouse/verify/logs"
	"github.com/poolhouse/poolhouse/verify/network"
	"github.com/poolhouse/poolhouse/verify/nodes"
	"github.com/poolhouse/poolhouse/verify/ownership"
	"github.com/poolhouse/poolhouse/verify/registry"
	"github.com/poolhouse/poolhouse/verify/resilience"
	"github.com/poolhouse/poolhouse/verify/storage"
)

// The values of package check, which the checks are made of.
type (
	// Level says what a failure means.
	Level = check.Level
	// Status is the outcome of a check.
	Status = check.Status
	// Check is one thing that must hold.
	Check = check.Check
	// Evidence is one thing that a check saw.
	Evidence = check.Evidence
	// Result is a check and its outcome.
	Result = check.Result
	// Survival is a single failure, and whether the deployment survives it.
	Survival = resilience.Survival
)

// The levels.
const (
	Required = check.Required
	Advised  = check.Advised
)

// The statuses.
const (
	Pass          = check.Pass
	Fail          = check.Fail
	NotApplicable = check.NotApplicable
	CouldNotLook  = check.CouldNotLook
	// Skipped: the caller left the check out and gave a reason.
	Skipped = check.Skipped
	// NotLookedAt is the status of a row none of whose checks was run.
	NotLookedAt Status = "not looked at"
)

// Report is what a run of the checks has found.
type Report struct {
	Deployment string    `json:"deployment"`
	Region     string    `json:"region"`
	Account    string    `json:"account"`
	Time       time.Time `json:"time"`
	Results    []Result  `json:"results"`
	// LeftOut is how many checks the options left out or skipped: a report that
	// lacks some proves only what it has.
	LeftOut int `json:"leftOut"`
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
		network.Checks(),
		cluster.Checks(),
		nodes.Checks(),
		identity.Checks(),
		database.Checks(),
		storage.Checks(),
		registry.Checks(),
		keys.Checks(),
		logs.Checks(),
		backup.Checks(),
		edge.Checks(),
		ownership.Checks(),
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
	l := account.New(ctx, o.Architecture, o.AWS, id)
	if there, err := l.Anything(); err != nil {
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
	wg.Go(func() { rep.Survives = resilience.Survivals(l) })
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	rep.LeftOut = len(Checks()) - len(chosen)
	for _, res := range rep.Results {
		if res.Status == Skipped {
			rep.LeftOut++
		}
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
	for _, id := range slices.Concat(o.Only, account.SortedKeys(o.Skip)) {
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

// do runs one check, or skips it.
func (o Options) do(l *account.Look, c Check) Result {
	for _, p := range account.SortedKeys(o.Skip) {
		if matches(p, c.ID) {
			return Result{Check: c, Status: Skipped, Reason: o.Skip[p], Evidence: []Evidence{}}
		}
	}
	return c.Do(l)
}

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
		if len(statuses) == 0 && row.Note == "" {
			row.Status = NotLookedAt
		}
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
