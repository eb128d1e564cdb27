package faults_test

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/stack"
)

// shareOfResources is which part of the resources fails when it is not all of
// them, and wholeLives which part of those goes on to the end of a life.
const (
	shareOfResources = 0.1
	wholeLives       = 0.04
)

// tally counts what a sweep has come to.
type tally struct {
	mu                                sync.Mutex
	cases, failed, repeated, absorbed int
	lives                             int
	silent                            map[string]int // operations that no fault reaches
}

func (c *tally) add(f func(*tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// TestL11EveryResourceFailsOnce has each operation on a resource of every example
// fail once, while it is created, updated and deleted. The run says which
// resource of which stack failed and why, the stack comes to rest, and the next
// run gets over it.
func TestL11EveryResourceFailsOnce(t *testing.T) {
	total := &tally{silent: map[string]int{}}
	start := time.Now()
	t.Run("of", func(t *testing.T) {
		for _, name := range livedToo() {
			t.Run(name, func(t *testing.T) {
				s := told(t, name)
				for _, v := range life.Verbs() {
					for _, op := range s.ops[v] {
						name := fmt.Sprintf("%s/%s/%s/%s", name, v, op.stack, op.resource)
						if op.verb != string(v) {
							name += "/" + op.verb
						}
						if life.Wanted(name, shareOfResources) {
							t.Run(strings.TrimPrefix(name, s.Name+"/"), func(t *testing.T) { s.fails(t, name, v, op, total) })
						}
					}
				}
			})
		}
	})
	t.Logf("seed %d: %d operations on resources failed once, in %s: %d runs failed and were repeated, %d times AWS got over it, %d lives went on to their end", life.Seed(), total.cases, time.Since(start).Round(time.Second), total.repeated, total.absorbed, total.lives)
	for _, what := range slices.Sorted(maps.Keys(total.silent)) {
		t.Logf("no fault reaches the %s: %d", what, total.silent[what])
	}
	if total.cases == 0 {
		t.Error("nothing failed")
	}
}

// errorOf draws an error that can happen to an operation.
func errorOf(name string, op operation) fault.Entry {
	var some []fault.Entry
	for _, e := range fault.Catalogue() {
		ok, err := path.Match(e.Types, op.typ)
		if (e.Types == "" || err == nil && ok) && (len(e.On) == 0 || slices.Contains(e.On, op.verb)) {
			some = append(some, e)
		}
	}
	return some[int(life.Draw(life.Seed(), name, "error")*float64(len(some)))]
}

// fails has one operation fail.
func (s *story) fails(t *testing.T, name string, v life.Verb, op operation, total *tally) {
	defer func() {
		total.add(func(c *tally) { c.cases++ })
		if t.Failed() {
			total.add(func(c *tally) { c.failed++ })
			t.Log(life.Repeat(t, "deploy/sweep/faults", name))
		}
	}()
	e := errorOf(name, op)
	late := e.Late || life.Draw(life.Seed(), name, "late") < 0.5
	at := s.stages[key(v, op.stack)]
	life.Bubble(t, at.at, func(t *testing.T) {
		box := testkit.Clone(t, at.box, time.Now)
		a := s.After(v)
		faults := breakIt(t, box, life.Seed(), a.Config.Region, fmt.Sprintf("faults:\n- {id: it, times: 1, fail: {stack: %s, resource: %s, on: [%s], error: %s, late: %v}}\n", a.StackName(op.stack), op.resource, op.verb, e.Name, late))
		whole := life.Draw(life.Seed(), name, "life") < wholeLives
		until := op.stack
		if whole {
			until = ""
		}
		first := &run{Life: s.Life, verb: v, box: box, pid: 10, short: !whole}
		err := first.to(t.Context(), until)
		fired := faults.Tallies()[0].Times > 0
		switch {
		case !fired:
			total.add(func(c *tally) { c.silent[op.verb+" of "+op.typ]++ })
		case err == nil:
			// CloudFormation and the services try some things again themselves.
			total.add(func(c *tally) { c.absorbed++ })
		default:
			total.add(func(c *tally) { c.repeated++ })
			s.explained(t, a, op, e, box, err)
		}
		s.rests(t, box, a, op.stack)
		// People repeat a command at once, or after a while.
		if life.Draw(life.Seed(), name, "pause") < 0.5 {
			time.Sleep(10 * time.Minute)
		}
		again := &run{Life: s.Life, verb: v, box: box, pid: 11, short: !whole}
		next := again.patiently(t, until)
		if next != nil {
			t.Errorf("%s of %s fails of %s (late: %v): %v\nand so does the next run: %v", v, op.resource, e.Name, late, err, next)
			return
		}
		if whole {
			total.add(func(c *tally) { c.lives++ })
			s.goesOn(t, v, box)
		}
	})
}

// patiently runs the command, and again after some hours while S3 has not given the
// name of a bucket back.
// https://repost.aws/knowledge-center/s3-conflicting-conditional-operation
func (r *run) patiently(t *testing.T, until architecture.StackName) error {
	err := r.to(t.Context(), until)
	if err != nil && strings.Contains(err.Error(), "A conflicting conditional operation is currently in progress") {
		time.Sleep(2 * time.Hour)
		r.ended = false
		err = r.to(t.Context(), until)
	}
	return err
}

// explained holds the error of a run to what people need: the stack, the
// resource, and AWS's own words; and to the exit code 1.
func (s *story) explained(t *testing.T, a *architecture.Architecture, op operation, e fault.Entry, box *sandbox.Sandbox, err error) {
	t.Helper()
	text := err.Error()
	physical := ""
	for _, r := range box.Account().Resources() {
		if r.LogicalID == op.resource && strings.Contains(r.Owner, ":stack/"+a.StackName(op.stack)+"/") {
			physical = r.ID
		}
	}
	var failed *stack.Error
	switch named := strings.Contains(text, op.resource) || physical != "" && strings.Contains(text, physical); {
	case !errors.As(err, &failed) && awsapi.Code(err) == "":
		t.Errorf("neither a stack nor a call is to blame: %v", err)
	case !strings.Contains(text, a.StackName(op.stack)) || !named:
		t.Errorf("the error names %s of stack %s not: %v", op.resource, a.StackName(op.stack), err)
	case !strings.Contains(text, e.Message) && !strings.Contains(text, e.Code):
		t.Errorf("the error has not AWS's reason %q: %v", e.Message, err)
	}
	want := 1
	if op.stack == architecture.GPU {
		want = 3
	}
	// A stack's own error, of a run that went no further, is not yet pending.
	if got := cli.ExitCode(err); got != want && (want != 3 || got != 1) {
		t.Errorf("exit code %d, want %d: %v", got, want, err)
	}
}

// rests holds a stack to being at rest when the run is over.
func (s *story) rests(t *testing.T, box *sandbox.Sandbox, a *architecture.Architecture, name architecture.StackName) {
	t.Helper()
	for _, r := range box.Account().Resources() {
		if r.Type == "cloudformation:stack" && r.Status != "DELETE_COMPLETE" && strings.Contains(r.ID, ":stack/"+a.StackName(name)+"/") && strings.HasSuffix(r.Status, "_IN_PROGRESS") && r.Status != "REVIEW_IN_PROGRESS" {
			t.Errorf("the run is over and stack %s is %s", a.StackName(name), r.Status)
		}
	}
}

// goesOn takes a deployment to the end of its life after a command, without any
// more faults, and looks whether the account is as it was found.
func (s *story) goesOn(t *testing.T, v life.Verb, box *sandbox.Sandbox) {
	t.Helper()
	box.Break(noFaults())
	if v != life.Delete {
		s.planned(t, v, box)
		r := &run{Life: life.Life{Name: s.Name, First: s.After(v), Next: s.After(v)}, verb: life.Delete, box: box, pid: 12}
		if err := r.to(t.Context(), ""); err != nil {
			t.Errorf("delete in the end: %v", err)
			return
		}
	}
	if diff := s.left(box); diff != "" {
		t.Errorf("the account is not as it was found:\n%s", diff)
	}
}
