// Package check has the values that checks are: what one proves, how it looks, and
// the evidence that comes of it.
//
// Invariants: a check writes nothing. One that saw nothing has not passed, and one
// that could not look has neither passed nor failed, unless what it saw before is
// wrong already.
//
// Limits: a check knows the account as package account reads it, and nothing of
// other checks. Which there are is for package verify to say.
package check

import (
	"fmt"
	"slices"

	"github.com/poolhouse/poolhouse/verify/account"
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

	// Run looks and tells the recorder what it saw. An error means that it
	// could not look.
	Run func(l *account.Look, r *Recorder) error `json:"-"`
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

// Do runs the check. What it runs into is in the result.
func (c Check) Do(l *account.Look) Result {
	r := &Recorder{}
	err := c.Run(l, r)
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

// Recorder collects what a check sees. The zero value is ready for use, by one
// check at a time.
type Recorder struct {
	seen   []Evidence
	reason string
}

// Saw notes one thing seen. Want and fix are what people read if it isn't ok.
func (r *Recorder) Saw(ok bool, resource, saw, api, want, fix string, trail ...string) {
	e := Evidence{Resource: resource, Saw: saw, API: api, OK: ok, Trail: trail}
	if !ok {
		e.Want, e.Fix = want, fix
	}
	r.seen = append(r.seen, e)
}

// Missing notes that something is not there at all.
func (r *Recorder) Missing(resource, api, fix string) {
	r.Saw(false, resource, "not there", api, "there", fix)
}

// NA says that a check does not apply to this configuration, and why. What was
// seen besides still counts.
func (r *Recorder) NA(format string, args ...any) { r.reason = fmt.Sprintf(format, args...) }

// Empty tells that nothing was seen yet.
func (r *Recorder) Empty() bool { return len(r.seen) == 0 }

// Excused tells that the check does not apply, and said so by [Recorder.NA].
func (r *Recorder) Excused() bool { return r.reason != "" }
