package lease

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

const path = "/poolhouse/acme/lease"

// account is a sandbox, and the parameters that are there.
type account struct {
	t   *testing.T
	box *sandbox.Sandbox
}

func newAccount(t *testing.T) *account {
	t.Helper()
	return &account{t, testkit.Sandbox(t, sandbox.Options{})}
}

func (a *account) options(host string, pid int) Options {
	return Options{
		Store: ssm.NewFromConfig(testkit.Config(a.box)), Clock: clock.Real{}, Path: path,
		Tags:   map[string]string{"poolhouse:deployment": "acme"},
		Holder: Holder{Owner: "arn:aws:iam::123456789012:user/" + host, Host: host, Machine: "of " + host, PID: pid, Command: "poolhouse create acme.yaml"},
	}
}

func (a *account) acquire(ctx context.Context, o Options) *Lease {
	a.t.Helper()
	l, err := Acquire(ctx, o)
	if err != nil {
		a.t.Fatal(err)
	}
	return l
}

// names are the parameters that are there, with their tags.
func (a *account) names() []string {
	a.t.Helper()
	names := []string{}
	for _, r := range a.box.Account().Resources() {
		if r.Type == "AWS::SSM::Parameter" && strings.HasPrefix(r.ID, path) {
			names = append(names, r.ID+" of "+r.Tags["poolhouse:deployment"])
		}
	}
	return names
}

func (a *account) has(want ...string) {
	a.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), a.names()); diff != "" {
		a.t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

// TestL25SecondRunIsRefused holds a lease for hours: whoever comes meanwhile is
// told who has it, and gets it once it is given back.
func TestL25SecondRunIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		first := a.acquire(t.Context(), a.options("alice", 7))
		for range 5 {
			a.has(path + "/1 of acme")
			_, err := Acquire(t.Context(), a.options("bob", 8))
			var held *HeldError
			if !errors.As(err, &held) {
				t.Fatalf("the second run: %v, want a refusal", err)
			}
			if held.Owner != "arn:aws:iam::123456789012:user/alice" || held.Host != "alice" || held.PID != 7 || held.Command != "poolhouse create acme.yaml" {
				t.Errorf("refused because of %+v", held.Holder)
			}
			if left := time.Until(held.Expires); left < TTL*2/3-time.Minute/2 || left > TTL+time.Second {
				t.Errorf("the lease ends in %v", left)
			}
			if got, err := Look(t.Context(), a.options("", 0).Store, path); err != nil || got == nil || got.Host != "alice" || got.Epoch != 1 {
				t.Errorf("a look: %+v, %v", got, err)
			}
			time.Sleep(31 * time.Minute)
			if err := first.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.has()
		var lost *LostError
		if err := first.Check(t.Context()); !errors.As(err, &lost) {
			t.Errorf("after it was given back: %v, want a refusal", err)
		}
		if got, err := Look(t.Context(), a.options("", 0).Store, path); err != nil || got != nil {
			t.Errorf("a look at nothing: %+v, %v", got, err)
		}
		second := a.acquire(t.Context(), a.options("bob", 8))
		if from := second.From(); from != nil {
			t.Errorf("taken from %+v, want nobody", from)
		}
		if err := second.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestL25DeadRunIsTakenOver kills a run: its lease is taken when it ends, or at
// once by a run of its machine, which sees that it is dead.
func TestL25DeadRunIsTakenOver(t *testing.T) {
	for _, tt := range []struct {
		name, host string
		alive      func(int) bool
		machine    string
		waits      bool
	}{
		{name: "elsewhere", host: "bob", machine: "of bob", alive: func(int) bool { return false }, waits: true},
		{name: "same machine", host: "alice", machine: "of alice", alive: func(int) bool { return false }},
		{name: "same machine, which has another name by now", host: "renamed", machine: "of alice", alive: func(int) bool { return false }},
		{name: "same name, another machine", host: "alice", machine: "another", alive: func(int) bool { return false }, waits: true},
		{name: "same name, a machine that nobody knows", host: "alice", alive: func(int) bool { return false }, waits: true},
		{name: "same machine, but it lives", host: "alice", machine: "of alice", alive: func(pid int) bool { return pid == 7 }, waits: true},
		{name: "same machine, nobody knows", host: "alice", machine: "of alice", waits: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				ctx, kill := context.WithCancel(t.Context())
				dead := a.acquire(ctx, a.options("alice", 7))
				time.Sleep(time.Hour)
				kill()
				synctest.Wait()
				o := a.options(tt.host, 8)
				o.Holder.Alive, o.Holder.Machine = tt.alive, tt.machine
				start := time.Now()
				var l *Lease
				for {
					var err error
					if l, err = Acquire(t.Context(), o); err == nil {
						break
					}
					var held *HeldError
					if !errors.As(err, &held) || time.Since(start) > TTL {
						t.Fatalf("after %v: %v", time.Since(start), err)
					}
					time.Sleep(time.Second)
				}
				if waited := time.Since(start) > 0; waited != tt.waits {
					t.Errorf("taken after %v", time.Since(start))
				}
				if from := l.From(); from == nil || from.PID != 7 || l.Epoch() != 2 {
					t.Errorf("epoch %d, taken from %+v", l.Epoch(), from)
				}
				a.has(path + "/2 of acme")
				// The dead one wakes up and sees that it has lost.
				var lost *LostError
				time.Sleep(2 * TTL)
				if err := dead.Check(t.Context()); !errors.As(err, &lost) || lost.To.PID != 8 {
					t.Errorf("the first run: %v, want that it lost the lease", err)
				}
				if err := errors.Join(dead.Release(t.Context()), l.Release(t.Context())); err != nil {
					t.Fatal(err)
				}
				a.has()
			})
		})
	}
}

// TestL25LapsedLeaseIsTakenAgain has a machine sleep for a night. Its run goes
// on if nobody else has worked meanwhile.
func TestL25LapsedLeaseIsTakenAgain(t *testing.T) {
	for _, other := range []string{"", "came and went", "is there"} {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			ctx, asleep := context.WithCancel(t.Context())
			l := a.acquire(ctx, a.options("alice", 7))
			asleep()
			synctest.Wait()
			time.Sleep(time.Hour)
			if other != "" {
				// Who comes starts again with the first number, and is seen.
				o := a.acquire(t.Context(), a.options("bob", 8))
				if err := o.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if other == "is there" {
				defer func(o *Lease) {
					if err := o.Release(t.Context()); err != nil {
						t.Error(err)
					}
				}(a.acquire(t.Context(), a.options("carol", 9)))
			}
			time.Sleep(7 * time.Hour)
			err := l.Check(t.Context())
			var lost *LostError
			switch {
			case other == "" && (err != nil || l.Epoch() != 2):
				t.Errorf("alone: epoch %d, %v", l.Epoch(), err)
			case other == "came and went" && (!errors.As(err, &lost) || lost.To.Epoch != 0 || !strings.Contains(err.Error(), "over by now")):
				t.Errorf("after another run: %v", err)
			case other == "is there" && (!errors.As(err, &lost) || lost.To.Host != "carol"):
				t.Errorf("with another run: %v", err)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// wrong is a clock that is off.
type wrong struct {
	clock.Real
	by time.Duration
}

func (w wrong) Now() time.Time { return time.Now().Add(w.by) }

// TestL25ServiceTellsTheTime has machines whose clocks are hours off: a lease
// ends when the service says so.
func TestL25ServiceTellsTheTime(t *testing.T) {
	for _, by := range []time.Duration{-5 * time.Hour, 5 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			o := a.options("alice", 7)
			o.Clock = wrong{by: by}
			ctx, kill := context.WithCancel(t.Context())
			l := a.acquire(ctx, o)
			time.Sleep(time.Hour)
			if err := l.Check(t.Context()); err != nil {
				t.Error(err)
			}
			other := a.options("bob", 8)
			other.Clock = wrong{by: -by}
			var held *HeldError
			if _, err := Acquire(t.Context(), other); !errors.As(err, &held) {
				t.Errorf("clocks %v off: %v, want a refusal", by, err)
			}
			kill()
			synctest.Wait()
			time.Sleep(TTL)
			l = a.acquire(t.Context(), other)
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// tardy is a Parameter Store that carries a call out late, also when its caller
// has hung up by then.
type tardy struct {
	Store
	late *atomic.Int64 // nanoseconds
}

func (s tardy) PutParameter(ctx context.Context, in *ssm.PutParameterInput, o ...func(*ssm.Options)) (*ssm.PutParameterOutput, error) {
	type answer struct {
		out *ssm.PutParameterOutput
		err error
	}
	got := make(chan answer, 1)
	go func() {
		time.Sleep(time.Duration(s.late.Load()))
		out, err := s.Store.PutParameter(context.WithoutCancel(ctx), in, o...)
		got <- answer{out, err}
	}()
	select {
	case a := <-got:
		return a.out, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// TestL25ReleaseWaitsForARenewal gives a lease back while it is being renewed: a
// write that was cut off would be carried out after the parameter was deleted,
// and keep others out for a time to live.
func TestL25ReleaseWaitsForARenewal(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			o := a.options("alice", 7)
			var late atomic.Int64
			late.Store(int64(5 * time.Second))
			o.Store = tardy{o.Store, &late}
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			l := a.acquire(ctx, o)
			renewals := func() int {
				l.mu.Lock()
				defer l.mu.Unlock()
				return l.renewals
			}
			for renewals() == 0 {
				time.Sleep(time.Second)
			}
			if interrupted {
				interrupt()
			}
			if err := l.Release(context.WithoutCancel(ctx)); err != nil {
				t.Fatal(err)
			}
			a.has()
			time.Sleep(time.Minute)
			a.has()
		})
	}
}

// TestL25LateRenewalRevivesNothing has a renewal arrive when another run has had
// the lease and is over: what it wrote is no lease, and goes.
func TestL25LateRenewalRevivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		o := a.options("alice", 7)
		var late atomic.Int64
		o.Store = tardy{o.Store, &late}
		l := a.acquire(t.Context(), o)
		late.Store(int64(14 * time.Minute))
		time.Sleep(2 * TTL)
		other := a.acquire(t.Context(), a.options("bob", 8))
		if err := other.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.has()
		time.Sleep(14 * time.Minute)
		late.Store(0)
		var lost *LostError
		if err := l.Check(t.Context()); !errors.As(err, &lost) {
			t.Errorf("after another run: %v, want that the lease is lost", err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.has()
	})
}

// drowsy learns late of what was there when it looked.
type drowsy struct {
	Store
	late *atomic.Int64
}

func (d drowsy) GetParametersByPath(ctx context.Context, in *ssm.GetParametersByPathInput, fns ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error) {
	out, err := d.Store.GetParametersByPath(ctx, in, fns...)
	time.Sleep(time.Duration(d.late.Swap(0)))
	return out, err
}

// TestL25LateLookTakesNothingAgain has a renewal learn that its lease is there when
// another run has had it since, and is over.
func TestL25LateLookTakesNothingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		o := a.options("alice", 7)
		var late atomic.Int64
		o.Store = drowsy{o.Store, &late}
		l := a.acquire(t.Context(), o)
		late.Store(int64(time.Hour))
		time.Sleep(2 * TTL)
		other := a.acquire(t.Context(), a.options("bob", 8))
		if err := other.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		var lost *LostError
		if err := l.Check(t.Context()); !errors.As(err, &lost) || lost.To.Epoch != 0 {
			t.Errorf("after another run: %v, want that the lease is lost", err)
		}
		a.has()
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestL25WhatADeletionSentIsWaitedFor: a run that deletes has died elsewhere. Who
// makes things gets its lease once no call of it is accepted any more, who deletes
// too as soon as it ends, and who knows that it is dead at once. A run that makes
// things is waited for as long once it has deleted something.
func TestL25WhatADeletionSentIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		const never, always, later = "never", "always", "later"
		dies := func(deletes string) {
			t.Helper()
			o := a.options("alice", 7)
			o.Holder.Deletes = deletes == always
			ctx, kill := context.WithCancel(t.Context())
			l := a.acquire(ctx, o)
			if deletes == later {
				for range 2 {
					if err := l.CheckDeletion(ctx); err != nil {
						t.Fatal(err)
					}
				}
			}
			kill()
			synctest.Wait()
		}
		shows := func(what string, want bool) {
			t.Helper()
			if held, err := Look(t.Context(), a.options("", 0).Store, path); err != nil || (held != nil) != want || want && !held.Ended {
				t.Errorf("a look %s: %+v, %v", what, held, err)
			}
		}
		give := func(l *Lease) {
			t.Helper()
			if err := l.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.has()
		}
		for _, deletes := range []string{always, later} {
			dies(deletes)
			began := time.Now()
			time.Sleep(TTL + 2*time.Second)
			for _, more := range []time.Duration{0, Flight - 4*time.Second} {
				time.Sleep(more)
				_, err := Acquire(t.Context(), a.options("bob", 8))
				var held *HeldError
				if !errors.As(err, &held) || !held.Ended || held.Host != "alice" {
					t.Fatalf("%s: after %s: %v, want a refusal", deletes, time.Since(began), err)
				}
				if left := held.Until.Sub(began); left < TTL+Flight-time.Second || left > TTL+Flight+time.Second {
					t.Errorf("%s: it is free after %s", deletes, left)
				}
				shows("at what may arrive", true)
			}
			time.Sleep(4 * time.Second)
			shows("when nothing may arrive", false)
			give(a.acquire(t.Context(), a.options("bob", 8)))
		}

		dies(always)
		time.Sleep(TTL + 2*time.Second)
		deletes := a.options("bob", 8)
		deletes.Holder.Deletes = true
		give(a.acquire(t.Context(), deletes))

		dies(always)
		knows := a.options("alice", 8)
		knows.Holder.Alive = func(int) bool { return false }
		give(a.acquire(t.Context(), knows))

		dies(never)
		time.Sleep(TTL + 2*time.Second)
		shows("at what is over", false)
		give(a.acquire(t.Context(), a.options("bob", 8)))
	})
}

// TestL25ADeletionIsToldFirst has the lease that says that its run deletes not be
// written at first: nothing is deleted before it is, nor once it can't be.
func TestL25ADeletionIsToldFirst(t *testing.T) {
	for name, out := range map[string]time.Duration{"for a while": time.Minute, "for long": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				o := a.options("alice", 7)
				start := time.Now().Add(time.Second)
				o.Store = refusing{o.Store, start, start.Add(out)}
				l := a.acquire(t.Context(), o)
				time.Sleep(time.Until(start))
				err := l.CheckDeletion(t.Context())
				var lost *LostError
				if took := time.Since(start); out < TTL {
					if err != nil || took < out || took > TTL {
						t.Errorf("after %v: %v", took, err)
					}
					if held, err := Look(t.Context(), o.Store, path); err != nil || held == nil || !held.Deletes {
						t.Errorf("the lease is %+v, %v", held, err)
					}
				} else if !errors.As(err, &lost) || took < TTL-time.Second || took > 2*TTL {
					t.Errorf("after %v: %v", took, err)
				}
				time.Sleep(out)
				if err := l.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				a.has()
			})
		})
	}
}

// refusing is a store that writes nothing between two times.
type refusing struct {
	Store
	from, until time.Time
}

func (s refusing) PutParameter(ctx context.Context, in *ssm.PutParameterInput, with ...func(*ssm.Options)) (*ssm.PutParameterOutput, error) {
	if now := time.Now(); !now.Before(s.from) && now.Before(s.until) {
		return nil, errors.New("refused for now")
	}
	return s.Store.PutParameter(ctx, in, with...)
}
