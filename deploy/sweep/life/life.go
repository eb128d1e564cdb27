// Package life is the frame of the sweeps and of the model test: a deployment's
// life in a sandbox, on virtual time, command by command.
//
// An example of examples/ is created, updated and deleted by processes that can
// be told apart, killed and slowed down. What is drawn depends on the seed and
// on what it is drawn for alone, so a failure can be repeated by its name. It
// judges nothing: what an account should be is for the tests to say.
package life

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// Verb is a command that changes an account.
type Verb string

// The commands, in the order of a life.
const (
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
	// Recover is no part of an undisturbed life.
	Recover Verb = "recover"
)

// Verbs are the commands of a life, in order.
func Verbs() []Verb { return []Verb{Create, Update, Delete} }

// Examples are the names of the examples; the first is the smallest.
func Examples() []string {
	return []string{"evaluation", "production", "self-managed-nat", "enterprise-dns", "gpu-inference", "minimal-egress", "private-cluster", "existing-network"}
}

// Life is an example, and what it is updated to.
type Life struct {
	Name        string
	First, Next *architecture.Architecture
}

// Of is the life of an example in a rehearsal.
func Of(t *testing.T, name string) Life {
	t.Helper()
	file := example(t, name)
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(file, src)
	if err != nil {
		t.Fatal(err)
	}
	l := Life{Name: name}
	if l.First, err = architecture.New(c); err != nil {
		t.Fatal(err)
	}
	if l.Next, _, err = rehearse.Change(file, src, c); err != nil {
		t.Fatal(err)
	}
	return l
}

// example is the file of an example, seen from any package of the module.
func example(t *testing.T, name string) string {
	t.Helper()
	top := ".."
	for {
		if _, err := os.Stat(filepath.Join(top, "go.mod")); err == nil {
			return filepath.Join(top, "examples", name+".yaml")
		}
		if len(top) > 100 {
			t.Fatal("no folder above holds go.mod")
		}
		top = filepath.Join(top, "..")
	}
}

// After is what the deployment is after a command, or was before its deletion.
func (l Life) After(v Verb) *architecture.Architecture {
	if v == Create {
		return l.First
	}
	return l.Next
}

// Given is an account that has what a life presupposes, and its dump.
func (l Life) Given(t *testing.T, o sandbox.Options) (box *sandbox.Sandbox, start []byte) {
	t.Helper()
	o.Region, o.Now, o.Fresh = l.First.Config.Region, time.Now, true
	box = testkit.Sandbox(t, o)
	for _, a := range []*architecture.Architecture{l.First, l.Next} {
		if _, err := rehearse.Given(box, a); err != nil {
			t.Fatal(err)
		}
	}
	return box, testkit.Dump(box.Account())
}

// Left is what an account holds that it did not hold at its start, or the other
// way round, without what except names by type and id. Keys that wait for their
// end are AWS's, with a date, records of deleted stacks its memory, and
// service-linked roles the account's own.
func Left(start []byte, box *sandbox.Sandbox, except map[string]bool) string {
	all := map[string]bool{}
	for name := range except {
		all[name] = true
	}
	for _, r := range box.Account().Resources() {
		if r.Type == "AWS::KMS::Key" && r.Status == "PendingDeletion" {
			all[r.Type+" "+r.ID] = true
		}
	}
	return testkit.DiffDumps(testkit.Lasting(start, nil), testkit.Lasting(testkit.Dump(box.Account()), all))
}

// Bubble runs f on a clock of its own that stands at a moment, and returns where
// it stood at the end. The zero time is the beginning of all bubbles.
func Bubble(t *testing.T, at time.Time, f func(t *testing.T)) (end time.Time) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if !at.IsZero() {
			time.Sleep(time.Until(at))
		}
		f(t)
		end = time.Now()
	})
	return end
}
