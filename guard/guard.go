// Package guard judges what an update would do, before anything is written:
// what it refuses, where in the file that comes from, why, what to do instead,
// and which flag allows it where one may.
//
// It is pure: templates as they are deployed and as they shall be go in,
// refusals come out, all at once. The same templates get the same judgement, so
// a run that was cut off and is repeated is judged by what is left to do.
//
// Limits: a property whose value is known only to CloudFormation counts as what
// the template says. What CloudFormation itself would replace is judged again
// from its change sets, by [Lost].
package guard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/stack"
)

// Flag is a command-line flag that allows what is refused without it.
type Flag string

// The flags.
const (
	// Replace lets what holds data be replaced, removed or made again, empty.
	Replace Flag = "allow-replace"
	// Lower lets protection be lowered.
	Lower Flag = "allow-lower"
	// Mixed lets a version change share an update with other changes; it is
	// still an operation of its own.
	Mixed Flag = "allow-mixed"
	// Empty lets the database begin empty although a snapshot of it was kept.
	Empty Flag = "start-empty"
)

// Flags are all flags, with what each allows.
func Flags() map[Flag]string {
	return map[Flag]string{
		Replace: "let resources that hold data be replaced, removed or, if somebody deleted them, made again",
		Lower:   "let protection be lowered: fewer backups, no standby, sooner expiry, no deletion protection",
		Mixed:   "let a version change share an update with other changes; it is still made on its own",
		Empty:   "let the database begin empty although a snapshot of it was kept",
	}
}

// Refusal is one thing for which a plan is refused.
type Refusal struct {
	// Fault is its place in the file, the reason and the next step.
	config.Fault
	// Stack is the stack's name in the account, and Resource the logical id of
	// what would change; "" if it is about the deployment as a whole.
	Stack    string `json:"stack,omitempty"`
	Resource string `json:"resource,omitempty"`
	// Flag allows it; "" if nothing does.
	Flag Flag `json:"flag,omitempty"`
	// Change is the change that would lose data, if that is why.
	Change *stack.Change `json:"-"`
}

// String is one line, without the next step.
func (r Refusal) String() string {
	var b strings.Builder
	if r.File != "" && r.Line > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", r.File, r.Line, r.Column)
	}
	if r.Stack != "" {
		b.WriteString("stack " + r.Stack + ": ")
	}
	b.WriteString(r.words())
	return b.String()
}

// words are path and reason.
func (r Refusal) words() string {
	if r.Path == "" {
		return r.Reason
	}
	return r.Path + " " + r.Reason
}

// Next is the next step: the fix, or the flag where one allows it.
func (r Refusal) Next() string {
	if r.Flag == "" {
		return r.Fix
	}
	return r.Fix + "; if it is meant, repeat with --" + string(r.Flag)
}

// Allowed are the flags that were given.
type Allowed map[Flag]bool

// Left are the refusals that no given flag allows, in the order of the file,
// one for each place and reason, and one for each place that has to be undone.
func (a Allowed) Left(all []Refusal) []Refusal {
	left := slices.DeleteFunc(slices.Clone(all), func(r Refusal) bool { return r.Flag != "" && a[r.Flag] })
	slices.SortStableFunc(left, func(x, y Refusal) int {
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column), cmp.Compare(x.Path, y.Path))
	})
	var out []Refusal
	for _, r := range left {
		if !slices.ContainsFunc(out, func(o Refusal) bool {
			return o.Path == r.Path && o.Stack == r.Stack && (o.Reason == r.Reason || r.Path != "" && o.Flag == "" && r.Flag == "")
		}) {
			out = append(out, r)
		}
	}
	return out
}

// Stack is a stack as it is deployed, or as it shall be.
type Stack struct {
	// Name is the stack's name in the account.
	Name string
	// Body is its template in JSON.
	Body []byte
	// Parameters are their values, as far as the judgement needs them.
	Parameters map[string]string
}

// Case is what is judged.
type Case struct {
	Config *config.Config
	// Before are the stacks that stand, and After those that shall.
	Before, After map[architecture.StackName]Stack
	// Running is the version that the control plane runs; "" if it is not
	// known or there is none.
	Running string
	// StorageGiB is what the database has, which may have grown by itself; 0 if
	// it is not known or there is none.
	StorageGiB int
	// Caller is the principal who runs the update.
	Caller string
}

// Judge returns everything that the case is refused for.
func Judge(c Case) []Refusal {
	d := compare(c)
	var all []Refusal
	for _, guard := range []func(Case, []difference) []Refusal{lost, fixed, lowered, versions, together, administrators} {
		for _, r := range guard(c, d) {
			// One key of the file may be why many resources change.
			if r.Change != nil || !slices.ContainsFunc(all, func(o Refusal) bool { return o.Change == nil && o.Path == r.Path && o.Flag == r.Flag }) {
				all = append(all, r)
			}
		}
	}
	return all
}
