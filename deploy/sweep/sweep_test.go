package sweep_test

import (
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// part is which part of the points is swept when it is not all of them.
var part = flag.Float64("part", share, "which part of the crash points is swept")

// share is the ordinary part, and wholeLives which part of those points goes on to
// the end of a life although the account is what it would have been. There are no
// less than least points in all.
const (
	share      = 0.01
	wholeLives = 0.1
	least      = 2000
)

// spread is the longest that a call takes, day the time that a run has, and
// idle by how much less often the run after a crash looks at what AWS does:
// most of a sweep's time would be such looks.
const (
	idle   = 12
	spread = 200 * time.Millisecond
	day    = 24 * time.Hour
)

// kind is where a run is killed, seen from a writing call.
type kind string

const (
	before  kind = "before"  // as the call is made: it never leaves
	after   kind = "after"   // when it was carried out, and the answer is lost
	between kind = "between" // on the way from it to the next: while it reads or waits
)

// crash is an account as a killed run has left it.
type crash struct {
	point
	call call
	at   time.Time
	box  *sandbox.Sandbox
}

// point is where a run can be killed, and what is tried after it.
type point struct {
	name   string // evaluation/create/12/before
	again  bool   // the same command
	others []life.Verb
}

// point is a point by its name, and whether anything is tried after it.
func (s *sweep) point(c call, k kind) (p point, wanted bool) {
	p.name = fmt.Sprintf("%s/%s/%d/%s", s.life, s.name, c.writing, k)
	p.again = life.Wanted(p.name, *part)
	p.others = s.others(p.name)
	return p, p.again || len(p.others) > 0
}

func (c crash) String() string {
	return fmt.Sprintf("seed %d, %s: %s", life.Seed(), c.name, c.call)
}

// tally counts what a sweep has come to.
type tally struct{ points, survived, failed, lives, orders, refused atomic.Int64 }

// TestL11CrashSweep kills create, update and delete of every example before and
// after each call that changes something, and once between each two; of the
// first example also deletions that keep the data or a snapshot of it, and the
// creations that adopt or restore it (L06). The next run of the same command makes
// the account what the undisturbed run makes it, and a delete leaves it as it was
// found. A run that is killed while it creates is survived when both create and
// delete get over it (L05). Other commands than the same come after crashes too:
// see [otherwise].
func TestL11CrashSweep(t *testing.T) {
	var total tally
	start, spent := time.Now(), cpu(t)
	t.Run("of", func(t *testing.T) {
		for i, name := range life.Examples() {
			if !life.Holds(name) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				sweepLife(t, life.Of(t, name), i == 0, &total)
			})
		}
	})
	survived, orders := total.survived.Load(), total.orders.Load()
	t.Logf("seed %d: %d crash points survived in %s (%.0f CPU-seconds), %d not, of %d that there are; %d lives went on to their end", life.Seed(), survived, time.Since(start).Round(time.Second), (cpu(t) - spent).Seconds(), total.failed.Load(), total.points.Load(), total.lives.Load())
	t.Logf("seed %d: %d times another command came after a crash, and was refused %d times", life.Seed(), orders, total.refused.Load())
	if survived+orders == 0 || life.Full() && life.Only() == "" && survived < least {
		t.Errorf("%d crash points were survived", survived)
	}
}

// sweepLife sweeps the commands of one life, one after the other, and then, if
// it is asked for, what becomes of the data when a deletion leaves it.
func sweepLife(t *testing.T, l life.Life, data bool, total *tally) {
	s := sweep{life: l.Name, total: total}
	s.at = life.Bubble(t, time.Time{}, func(t *testing.T) { s.from, s.start = l.Given(t, sandbox.Options{}) })
	var updated sweep
	for _, v := range life.Verbs() {
		if s.command = doing(l, v); v == life.Delete {
			updated = s
		}
		if !s.sweep(t) {
			return
		}
	}
	if !data {
		return
	}
	for _, left := range []deploy.Data{deploy.KeepData, deploy.SnapshotData} {
		s := updated
		s.command = command{name: "delete-" + string(left), verb: life.Delete, data: left, a: l.Next}
		if !s.sweep(t) {
			return
		}
		life.Bubble(t, s.at, func(t *testing.T) {
			s.command = command{name: "create-" + string(left), verb: life.Create, a: adopting(t, l.Next, s.from)}
		})
		if !s.sweep(t) {
			return
		}
	}
}

// adopting is a deployment that takes up what a deletion has left: its database
// is restored from the snapshot, if there is one.
func adopting(t *testing.T, a *architecture.Architecture, box *sandbox.Sandbox) *architecture.Architecture {
	t.Helper()
	c := *a.Config
	for _, r := range box.Account().Resources() {
		if r.Type == "rds:snapshot" && r.Data["kind"] == "manual" {
			c.Database.Snapshot = r.ID
		}
	}
	restored, err := architecture.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	return restored
}

// sweep is one command of a life.
type sweep struct {
	command
	life  string
	start []byte              // the account as it was found
	from  *sandbox.Sandbox    // as it is when the command begins
	at    time.Time           // when that is
	until time.Time           // when accounts are compared
	want  []string            // what the account is then
	holds []*account.Resource // what holds data when the command begins
	total *tally
}

// sweep sweeps the command and moves on to the account after it, if there is one.
func (s *sweep) sweep(t *testing.T) (ok bool) {
	end, ok := s.reference(t)
	if !ok {
		return false
	}
	s.crashes(t)
	s.from, s.at = end, s.until
	return true
}

// reference runs the command undisturbed and returns the account after it, and
// whether there is one.
func (s *sweep) reference(t *testing.T) (box *sandbox.Sandbox, ok bool) {
	t.Helper()
	s.until = s.at.Add(day)
	life.Bubble(t, s.at, func(t *testing.T) {
		box = testkit.Clone(t, s.from, time.Now)
		s.holds = s.stateful(box)
		_, err := s.run(t.Context(), killed, &line{box: box, seed: life.Seed(), spread: spread})
		if err == nil {
			err = settle(s.until)
		}
		if err != nil {
			t.Errorf("%s undisturbed: %v", s.name, err)
			return
		}
		s.want, ok = canonical(box), true
	})
	return box, ok
}

// crashes runs the command again and has what follows tried in a copy of the
// account, wherever the run could have been killed.
func (s *sweep) crashes(t *testing.T) {
	t.Helper()
	found, swept := make(chan crash), make(chan struct{})
	go func() {
		defer close(swept)
		for c := range found {
			t.Run(strings.TrimPrefix(c.name, s.life+"/"), func(t *testing.T) { s.survives(t, c) })
		}
	}()
	life.Bubble(t, s.at, func(t *testing.T) {
		box := testkit.Clone(t, s.from, time.Now)
		l := &line{box: box, seed: life.Seed(), spread: spread}
		offer := func(p point, c call, box *sandbox.Sandbox, at time.Time) {
			found <- crash{point: p, call: c, at: at, box: box}
		}
		// The last writing call, and the account after it if that is wanted.
		var last call
		var then *sandbox.Sandbox
		var done time.Time
		gap := func() {
			if then != nil {
				p, _ := s.point(last, between)
				offer(p, last, then, done.Add(time.Duration(life.Draw(life.Seed(), p.name, "moment")*float64(time.Since(done)))))
				then = nil
			}
		}
		l.before = func(c call) {
			if c.writing == 0 {
				return
			}
			gap()
			if p, ok := s.point(c, before); ok {
				offer(p, c, box.Clone(time.Now), time.Now())
			}
		}
		l.after = func(c call) {
			if c.writing == 0 {
				return
			}
			if p, ok := s.point(c, after); ok {
				offer(p, c, box.Clone(time.Now), time.Now())
			}
			last, done = c, time.Now()
			if _, ok := s.point(c, between); ok {
				then = box.Clone(time.Now)
			}
		}
		_, err := s.run(t.Context(), killed, l)
		gap()
		s.total.points.Add(int64(len([]kind{before, after, between}) * l.call.writing))
		if err != nil {
			t.Errorf("undisturbed: %v", err)
			return
		}
		if err := settle(s.until); err != nil {
			t.Error(err)
		}
		if diff := differing(s.want, canonical(box)); diff != "" {
			t.Errorf("%s/%s: two undisturbed runs differ:\n%s", s.life, s.name, indent(diff))
		}
	})
	close(found)
	<-swept
}

// survives has the next runs get over a crash.
func (s *sweep) survives(t *testing.T, c crash) {
	defer func() {
		if t.Failed() {
			s.total.failed.Add(1)
			t.Logf("%s\n%s", c, life.Repeat(t, "deploy/sweep", c.name))
			return
		}
		if c.again {
			s.total.survived.Add(1)
		}
	}()
	as := here
	if life.Draw(life.Seed(), c.name, "machine") < 0.5 {
		as = there
	}
	for _, v := range c.others {
		s.goesOtherwise(t, c, v, as)
	}
	if !c.again {
		return
	}
	life.Bubble(t, c.at, func(t *testing.T) {
		box := testkit.Clone(t, c.box, time.Now)
		again := s.command
		again.there = true
		if err := s.again(t, again, as, box); err != nil {
			t.Errorf("killed and run again: %v", err)
			return
		}
		if ends(s.command) {
			return
		}
		if err := settle(s.until); err != nil {
			t.Error(err)
			return
		}
		if open := openChangeSets(t, box); open != nil {
			t.Errorf("after %s was killed and run again, change sets could still be executed: %v", s.name, open)
		}
		if diff := differing(s.want, canonical(box)); diff != "" {
			t.Errorf("after %s was killed and run again, the account is not what the undisturbed run makes it:\n%s", s.name, indent(diff))
		}
		if life.Draw(life.Seed(), c.name, "life") < wholeLives {
			s.total.lives.Add(1)
			s.goesOn(t, as, box)
		}
	})
	if s.verb != life.Create {
		return
	}
	life.Bubble(t, c.at, func(t *testing.T) {
		if err := s.again(t, s.end(), as, testkit.Clone(t, c.box, time.Now)); err != nil {
			t.Errorf("killed and deleted: %v", err)
		}
	})
}

// ends tells that a command ends a life: it leaves the account as it was found.
func ends(c command) bool { return c.verb == life.Delete && c.data == "" }

// end is the command that ends the life.
func (s *sweep) end() command { return command{name: "delete", verb: life.Delete, a: s.a} }

// goesOn takes a life to its end: what was deleted but for its data is made
// again, and everything deleted.
func (s *sweep) goesOn(t *testing.T, as lease.Holder, box *sandbox.Sandbox) {
	rest := []command{s.end()}
	if s.verb == life.Delete {
		rest = []command{{name: "create", verb: life.Create, a: adopting(t, s.a, box)}, s.end()}
	}
	for _, c := range rest {
		if err := s.again(t, c, as, box); err != nil {
			t.Errorf("%s at last: %v", c.name, err)
			return
		}
	}
}

// again runs a command after a crash, and looks whether one that ends the life
// left nothing.
func (s *sweep) again(t *testing.T, c command, as lease.Holder, box *sandbox.Sandbox) error {
	l := &line{box: box, seed: life.Seed() + 1, spread: spread, idle: idle}
	kept, err := c.persist(t.Context(), as, l)
	if err != nil || !ends(c) {
		return err
	}
	return asFound(s.start, box, kept)
}
