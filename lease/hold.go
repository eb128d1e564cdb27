package lease

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// Lease is a lease that a run has taken. Safe for concurrent use.
type Lease struct {
	o    Options
	turn chan struct{} // holds whoever writes the lease
	stop context.CancelFunc
	// writing is the context of renewals, which no interrupt ends: what was sent may
	// be carried out after its caller has hung up and the parameters were deleted.
	// Cutting them off is the last resort.
	writing context.Context
	cut     context.CancelFunc
	// holding ends when the lease is lost, with the error as its cause.
	holding context.Context
	end     context.CancelCauseFunc

	mu       sync.Mutex
	epoch    int
	renewals int
	old      []int // epochs that are to be deleted
	// since is when the last renewal that succeeded began, by our clock: what it
	// saw and wrote is no older.
	since time.Time
	lost  *LostError
	from  *Held // whom it was taken from
	// deletes is that the lease is to say that the run deletes, and said that it
	// does.
	deletes, said bool
}

// Epoch is the number of the lease; it grows when a lapsed one is taken again.
func (l *Lease) Epoch() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// From is the run that had the lease before and did not give it back; nil if
// there was none.
func (l *Lease) From() *Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from
}

// Check returns nil if the run may write, and a [*LostError] otherwise. A lease
// that has lapsed is taken again first, unless somebody else has done so.
func (l *Lease) Check(ctx context.Context) error { return l.check(ctx, l.held) }

// CheckDeletion is [Lease.Check] for a call that deletes: from the first of them on
// the lease says that its run deletes, as others have to wait for what it sends; see
// [Held.Free].
func (l *Lease) CheckDeletion(ctx context.Context) error {
	l.mu.Lock()
	l.deletes = true
	l.mu.Unlock()
	return l.check(ctx, func() (bool, error) {
		held, err := l.held()
		l.mu.Lock()
		defer l.mu.Unlock()
		return held && l.said, err
	})
}

// Deletes tells that the lease says, or may say, that its run deletes.
func (l *Lease) Deletes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.o.Holder.Deletes || l.deletes
}

// check renews the lease if it isn't as it should be. One that is in force is tried
// again until it ends.
func (l *Lease) check(ctx context.Context, right func() (bool, error)) error {
	for {
		if ok, err := right(); ok || err != nil {
			return err
		}
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if ok, err := right(); ok || err != nil {
			<-l.turn
			return err
		}
		renewed := make(chan error, 1)
		go func() {
			defer func() { <-l.turn }()
			renewed <- l.renew(l.writing)
		}()
		var err error
		select {
		case err = <-renewed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var lost *LostError
		if err == nil || errors.As(err, &lost) {
			return err
		}
		if held, _ := l.held(); !held {
			return &LostError{Err: err}
		}
		if err := l.o.Clock.Sleep(ctx, every(l.o.TTL)/4); err != nil {
			return err
		}
	}
}

// While is a context that ends with ctx, and once it is known that the lease is lost:
// its cause is the [*LostError] then. It is for work that takes long after it was
// allowed. The function gives back what the context holds.
func (l *Lease) While(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.holding, func() { end(context.Cause(l.holding)) })
	return ctx, func() {
		stop()
		end(context.Canceled)
	}
}

// held tells whether the lease is in force, or that it never will be again.
func (l *Lease) held() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return false, l.lost
	}
	return !l.lapsed(l.since), nil
}

// lapsed tells that what was written at a time may have ended by now. A clock
// that goes on while the machine is asleep counts as well as one that doesn't.
func (l *Lease) lapsed(since time.Time) bool {
	now := l.o.Clock.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0))) >= l.o.TTL
}

// keep renews the lease until the context ends or it is lost.
func (l *Lease) keep(ctx context.Context) {
	wait := every(l.o.TTL)
	for {
		if clock.Linger(ctx, l.o.Clock, wait-l.early(wait/5)) != nil {
			return
		}
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := l.renew(l.writing)
		<-l.turn
		var lost *LostError
		if errors.As(err, &lost) {
			return
		}
		if wait = every(l.o.TTL); err != nil {
			wait /= 4
		}
	}
}

// early is how much sooner than others a renewal comes, so that runs that began
// together part. It is another one each time, and the same for the same run.
func (l *Lease) early(most time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := fnv.New64a()
	fmt.Fprintln(h, l.o.Holder.Run, l.epoch, l.renewals)
	return time.Duration(h.Sum64() % uint64(most))
}

// renew writes the lease again; a lapsed one as a new epoch. The caller has the
// turn.
func (l *Lease) renew(ctx context.Context) error {
	began := l.o.Clock.Now()
	seen, err := look(ctx, l.o.Store, l.o.Path)
	if err != nil {
		return err
	}
	mine, other := false, Held{}
	for _, h := range seen.epochs {
		switch {
		case h.Run == l.o.Holder.Run:
			mine = true
			l.adopt(h.Epoch)
		case other.Epoch == 0:
			other = h
		}
	}
	epoch, since := l.Epoch(), l.written()
	if other.Epoch > 0 && other.Epoch >= epoch {
		return l.lose(other)
	}
	if l.lapsed(since) {
		if !mine {
			// Only who takes over deletes it: somebody did, and is done.
			return l.lose(Held{})
		}
		return l.take(ctx)
	}
	l.mu.Lock()
	l.renewals++
	n := l.renewals
	l.mu.Unlock()
	made := false
	if !mine {
		if _, err = l.put(ctx, epoch, n, false); awsapi.IsExists(err) {
			mine = true // it is there; only the look lags
		}
	}
	if mine {
		made, err = l.put(ctx, epoch, n, true)
	}
	if err != nil {
		return err
	}
	if made && l.lapsed(since) {
		// It arrived so late that somebody had taken over and deleted it.
		if err := l.o.drop(ctx, []int{epoch}); err != nil {
			return err
		}
		return l.lose(Held{})
	}
	if l.lapsed(since) {
		// It took so long that somebody may have come first.
		return l.confirm(ctx, epoch, began)
	}
	l.got(ctx, seen, epoch, began)
	return nil
}

// take writes a new epoch. The caller has the turn, or is the only one there is.
func (l *Lease) take(ctx context.Context) error {
	for {
		began := l.o.Clock.Now()
		seen, err := look(ctx, l.o.Store, l.o.Path)
		if err != nil {
			return err
		}
		top, had := seen.top(), l.Epoch()
		switch {
		case had > 0 && top.Run != l.o.Holder.Run:
			// Somebody has it, or has had it: only who takes over deletes what was ours.
			return l.lose(top)
		case top.Epoch == 0 || top.Run == l.o.Holder.Run:
		case seen.now.Before(top.Free(l.o.Holder)) && !l.o.Holder.dead(top.Holder):
			return l.o.refused(top, seen)
		}
		l.mu.Lock()
		if l.from = nil; top.Epoch > 0 && top.Run != l.o.Holder.Run {
			l.from = &top
		}
		l.mu.Unlock()
		epoch := max(top.Epoch, had) + 1
		_, err = l.put(ctx, epoch, 0, false)
		if err == nil {
			return l.confirm(ctx, epoch, began)
		}
		if !awsapi.IsExists(err) {
			return err
		}
		// Somebody was faster, or a repeated call made it before: a look will
		// tell, as soon as it shows the epoch at all.
		if err := l.o.Clock.Sleep(ctx, time.Second); err != nil {
			return err
		}
		if seen, err = look(ctx, l.o.Store, l.o.Path); err != nil {
			return err
		}
		for _, h := range seen.epochs {
			if h.Epoch == epoch && h.Run == l.o.Holder.Run {
				return l.confirm(ctx, epoch, began)
			}
		}
	}
}

// put writes an epoch, and in it whether the run deletes.
func (l *Lease) put(ctx context.Context, epoch, renewals int, again bool) (made bool, err error) {
	o := l.o
	o.Holder.Deletes = l.Deletes()
	if made, err = o.put(ctx, epoch, renewals, again); err == nil {
		l.mu.Lock()
		l.said = o.Holder.Deletes
		l.mu.Unlock()
	}
	return made, err
}

// confirm looks whether an epoch that was just written is the highest.
func (l *Lease) confirm(ctx context.Context, epoch int, began time.Time) error {
	seen, err := look(ctx, l.o.Store, l.o.Path)
	if err != nil {
		return err
	}
	if top := seen.top(); top.Epoch > epoch && top.Run != l.o.Holder.Run {
		had := l.Epoch()
		if err := l.o.drop(ctx, []int{epoch}); err != nil {
			return err
		}
		if had > 0 {
			return l.lose(top)
		}
		return l.o.refused(top, seen)
	}
	l.got(ctx, seen, epoch, began)
	return nil
}

// refused is the error for a lease that somebody else has.
func (o *Options) refused(by Held, seen *sight) error {
	return &HeldError{Held: by, Path: o.Path, Now: seen.now, Until: by.Free(o.Holder)}
}

// got notes that an epoch was written, and deletes those below it. What can't be
// deleted now is tried again at the next renewal: the lease is held all the
// same.
func (l *Lease) got(ctx context.Context, seen *sight, epoch int, began time.Time) {
	l.mu.Lock()
	l.epoch, l.since = epoch, began
	for _, h := range seen.epochs {
		if h.Epoch < epoch && !slices.Contains(l.old, h.Epoch) {
			l.old = append(l.old, h.Epoch)
		}
	}
	old := slices.Clone(l.old)
	l.mu.Unlock()
	if len(old) == 0 || l.o.drop(ctx, old) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.old = slices.DeleteFunc(l.old, func(e int) bool { return slices.Contains(old, e) })
}

func (l *Lease) lose(to Held) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = &LostError{To: to}
	l.end(l.lost)
	return l.lost
}

// adopt takes a higher epoch of this run for its own: its writing succeeded,
// although the answer did not come.
func (l *Lease) adopt(epoch int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = max(l.epoch, epoch)
}

func (l *Lease) written() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since
}

// Release ends the lease and returns when its parameters are gone. The run may
// write no more. What can't be deleted expires.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	defer l.cut()
	defer l.end(errReleased)
	select {
	case l.turn <- struct{}{}: // nothing is being written, and nothing will be
	case <-ctx.Done():
		l.cut()
		l.turn <- struct{}{}
	}
	l.mu.Lock()
	epoch, old, lost := l.epoch, slices.Clone(l.old), l.lost != nil
	l.lost = &LostError{Err: errReleased}
	l.mu.Unlock()
	if lost {
		return nil // the one who took it deletes what is below
	}
	mine := append(old, epoch)
	seen, err := look(ctx, l.o.Store, l.o.Path)
	if err != nil {
		return errors.Join(err, l.o.drop(ctx, mine))
	}
	for _, h := range seen.epochs {
		if h.Run == l.o.Holder.Run && !slices.Contains(mine, h.Epoch) {
			mine = append(mine, h.Epoch)
		}
	}
	return l.o.drop(ctx, mine)
}

// errReleased is why a run that is over may write no more.
var errReleased = errors.New("it was released")
