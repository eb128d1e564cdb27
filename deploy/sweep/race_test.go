package sweep_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
)

// seeds is how many seeds races have: all, or an ordinary part of them.
func seeds() int {
	if life.Full() {
		return 200
	}
	return 3
}

// era is an account at a moment of a life, and what commands make of it.
type era struct {
	box *sandbox.Sandbox
	at  time.Time
}

// eras are the moments that races begin at: nothing is there, a run was killed
// while it created, all is there.
type eras struct {
	life.Life
	start                []byte
	empty, half, whole   era
	created, updated     []string // canonical, at the end of a day
	createdAt, updatedAt time.Time
}

func newEras(t *testing.T, l life.Life) *eras {
	t.Helper()
	e := &eras{Life: l}
	e.empty.at = life.Bubble(t, time.Time{}, func(t *testing.T) { e.empty.box, e.start = l.Given(t, sandbox.Options{}) })
	e.createdAt = e.empty.at.Add(day)
	e.updatedAt = e.createdAt.Add(day)
	e.half.at = e.empty.at.Add(11 * time.Minute)
	life.Bubble(t, e.empty.at, func(t *testing.T) {
		e.whole.box = testkit.Clone(t, e.empty.box, time.Now)
		timer := time.AfterFunc(time.Until(e.half.at), func() { e.half.box = e.whole.box.Clone(time.Now) })
		defer timer.Stop()
		if _, err := doing(l, life.Create).run(t.Context(), killed, &line{box: e.whole.box, seed: life.Seed(), spread: spread}); err != nil {
			t.Fatal(err)
		}
		if err := settle(e.createdAt); err != nil {
			t.Fatal(err)
		}
		e.created = canonical(e.whole.box)
	})
	e.whole.at = e.createdAt
	life.Bubble(t, e.createdAt, func(t *testing.T) {
		box := testkit.Clone(t, e.whole.box, time.Now)
		if _, err := doing(l, life.Update).run(t.Context(), killed, &line{box: box, seed: life.Seed(), spread: spread}); err != nil {
			t.Fatal(err)
		}
		if err := settle(e.updatedAt); err != nil {
			t.Fatal(err)
		}
		e.updated = canonical(box)
	})
	return e
}

// holds looks whether the account is what the command makes it.
func (e *eras) holds(v life.Verb, box *sandbox.Sandbox, kept []deploy.Kept) error {
	if v == life.Delete {
		return asFound(e.start, box, kept)
	}
	until, want := e.createdAt, e.created
	if v == life.Update {
		until, want = e.updatedAt, e.updated
	}
	for until.Before(time.Now()) {
		until = until.Add(day)
	}
	if err := settle(until); err != nil {
		return err
	}
	// A deletion before it has left keys that wait for their end.
	got := slices.DeleteFunc(canonical(box), func(r string) bool { return strings.Contains(r, "\n  status PendingDeletion\n") })
	if diff := differing(want, got); diff != "" {
		return fmt.Errorf("the account is not what an undisturbed %s makes it:\n%s", v, indent(diff))
	}
	return nil
}

// TestL25Races starts two commands together, with calls that take whatever time
// the seed says. One does its work, the other is refused because of it, and
// nothing is damaged: the account is what the winner makes it, the winner's
// command has nothing to do any more, and a delete leaves the account as it was
// found.
func TestL25Races(t *testing.T) {
	e := newEras(t, life.Of(t, life.Examples()[0]))
	races := map[string]struct {
		from func(seed uint64) era
		a, b life.Verb
	}{
		"two creates":       {func(seed uint64) era { return pick(seed, e.empty, e.half) }, life.Create, life.Create},
		"create and delete": {func(seed uint64) era { return pick(seed, e.half, e.whole) }, life.Create, life.Delete},
		"update and delete": {func(uint64) era { return e.whole }, life.Update, life.Delete},
	}
	var held, won atomic.Int64
	start := time.Now()
	t.Run("of", func(t *testing.T) {
		for name, r := range races {
			for n := range seeds() {
				t.Run(fmt.Sprintf("%s/%d", name, life.Seed()+uint64(n)), func(t *testing.T) {
					t.Parallel()
					seed := life.Seed() + uint64(n)
					from := r.from(seed)
					life.Bubble(t, from.at, func(t *testing.T) {
						if first := e.race(t, seed, from, r.a, r.b); first {
							won.Add(1)
						}
						held.Add(1)
					})
				})
			}
		}
	})
	// Of a few races the same of the two may well win all.
	if n := won.Load(); life.Full() && (n == 0 || n == held.Load()) {
		t.Errorf("the same of the two won all races")
	}
	t.Logf("%d races held in %s, in %d of them the first of the two won", held.Load(), time.Since(start).Round(time.Second), won.Load())
}

// persists runs a command as one does who is refused because of a run elsewhere.
func (e *eras) persists(t *testing.T, v life.Verb, box *sandbox.Sandbox, seed uint64) ([]deploy.Kept, error) {
	for range 20 {
		kept, err := doing(e.Life, v).run(t.Context(), there, &line{box: box, seed: seed + 1, spread: spread})
		var refused *lease.HeldError
		if !errors.As(err, &refused) {
			return kept, err
		}
		wait := refused.Until.Sub(refused.Now)
		if refused.Run != here.Run || wait <= 0 || wait > lease.TTL+lease.Flight+time.Second {
			return nil, fmt.Errorf("refused for %s: %w", wait, err)
		}
		time.Sleep(wait + time.Second)
	}
	return nil, errors.New("refused again and again")
}

func pick(seed uint64, of ...era) era { return of[int(life.Draw(seed, "era")*float64(len(of)))] }

// race runs two commands and tells whether the first won.
func (e *eras) race(t *testing.T, seed uint64, from era, a, b life.Verb) (first bool) {
	box := testkit.Clone(t, from.box, time.Now)
	type result struct {
		kept []deploy.Kept
		err  error
	}
	var results [2]result
	runners := [2]lease.Holder{here, there}
	verbs := [2]life.Verb{a, b}
	var both sync.WaitGroup
	for i := range results {
		both.Go(func() {
			time.Sleep(time.Duration(life.Draw(seed, "begin", i) * float64(2*time.Second)))
			l := &line{box: box, seed: seed*2 + uint64(i), spread: 2 * time.Second}
			results[i].kept, results[i].err = doing(e.Life, verbs[i]).run(t.Context(), runners[i], l)
		})
	}
	both.Wait()
	winner := 0
	if results[0].err != nil {
		winner = 1
	}
	loser := 1 - winner
	var refused *lease.HeldError
	if results[winner].err != nil || !errors.As(results[loser].err, &refused) || refused.Run != runners[winner].Run && refused.Run != killed.Run {
		t.Errorf("seed %d: want one to win and the other to be refused because of it:\n%s: %v\n%s: %v", seed, a, results[0].err, b, results[1].err)
		return false
	}
	if err := e.holds(verbs[winner], box, results[winner].kept); err != nil {
		t.Errorf("seed %d, %s won: %v", seed, verbs[winner], err)
	}
	e.after(t, seed, verbs[winner], box)
	return winner == 0
}

// after has a command of before run again and the deployment deleted.
func (e *eras) after(t *testing.T, seed uint64, v life.Verb, box *sandbox.Sandbox) {
	for _, again := range []life.Verb{v, life.Delete} {
		kept, err := doing(e.Life, again).run(t.Context(), there, &line{box: box, seed: seed, spread: spread, idle: idle})
		if err == nil && again == life.Delete {
			err = asFound(e.start, box, kept)
		}
		if err != nil {
			t.Errorf("seed %d, %s afterwards: %v", seed, again, err)
		}
	}
}

// TestL25ProcessesThatStandStill has a process stand still, as on a laptop that
// sleeps, until its lease is over and another run has taken it, at any of its
// calls. The other run does its work; the first does no harm when it goes on: the
// account stays what the other makes it. Only a creation in the middle of a
// deletion may be refused, since it would make again, empty, what held data; a
// delete gets over that too. And a change set that a creation sent before it stood
// still may arrive when a deletion is over: the stack that it is for holds nothing,
// and the next delete takes it away.
func TestL25ProcessesThatStandStill(t *testing.T) {
	e := newEras(t, life.Of(t, life.Examples()[0]))
	pairs := map[string]struct {
		from era
		a, b life.Verb
	}{
		"create, then create": {e.empty, life.Create, life.Create},
		"create, then delete": {e.empty, life.Create, life.Delete},
		"update, then delete": {e.whole, life.Update, life.Delete},
		"delete, then create": {e.whole, life.Delete, life.Create},
		"delete, then delete": {e.whole, life.Delete, life.Delete},
	}
	var lost, stood atomic.Int64
	start := time.Now()
	t.Run("of", func(t *testing.T) {
		for name, p := range pairs {
			for n := range seeds() {
				t.Run(fmt.Sprintf("%s/%d", name, life.Seed()+uint64(n)), func(t *testing.T) {
					t.Parallel()
					life.Bubble(t, p.from.at, func(t *testing.T) {
						if e.standsStill(t, life.Seed()+uint64(n), p.from, p.a, p.b) {
							lost.Add(1)
						}
						stood.Add(1)
					})
				})
			}
		}
	})
	if lost.Load() == 0 {
		t.Error("none lost its lease")
	}
	t.Logf("%d processes stood still in %s, %d of them lost their lease", stood.Load(), time.Since(start).Round(time.Second), lost.Load())
}

// standsStill runs a command that stands still, and another that takes over,
// and tells whether the first lost its lease.
func (e *eras) standsStill(t *testing.T, seed uint64, from era, a, b life.Verb) bool {
	box := testkit.Clone(t, from.box, time.Now)
	l := &line{box: box, seed: seed, spread: spread, pauseAt: 4 + int(life.Draw(seed, a, b, "pause")*300)}
	l.pause = lease.TTL + time.Duration((0.05+life.Draw(seed, a, b, "for"))*float64(40*time.Minute))
	stands, ended := make(chan struct{}), make(chan error, 1)
	l.stands = func() { close(stands) }
	go func() {
		_, err := doing(e.Life, a).run(t.Context(), here, l)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("seed %d: %s ended before its call %d: %v", seed, a, l.pauseAt, err)
	case <-stands:
	}
	time.Sleep(lease.TTL + 2*time.Second)
	kept, second := e.persists(t, b, box, seed)
	first := <-ended
	story := fmt.Sprintf("seed %d: %s stood still at its call %d for %s and ended with %v; %s meanwhile", seed, a, l.pauseAt, l.pause, first, b)
	var refused *deploy.RefusedError
	switch {
	case second == nil:
		if b == life.Delete && slices.Contains(l.late, "cloudformation:CreateChangeSet") {
			more, err := doing(e.Life, b).run(t.Context(), there, &line{box: box, seed: seed + 1, spread: spread})
			if err != nil {
				t.Errorf("%s, and again: %v", story, err)
			}
			kept = append(kept, more...)
		}
		if err := e.holds(b, box, kept); err != nil {
			t.Errorf("%s: %v", story, err)
		}
		e.after(t, seed, b, box)
	case a == life.Delete && b == life.Create && errors.As(second, &refused):
		e.after(t, seed, life.Delete, box)
	default:
		t.Errorf("%s: %v", story, second)
	}
	var lost *lease.LostError
	return errors.As(first, &lost)
}
