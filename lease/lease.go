// Package lease says who works on a deployment: one run at a time, by a
// parameter in Parameter Store that the run writes, renews and deletes.
//
// A lease is a parameter named PATH/EPOCH. Who wants it writes the epoch after
// the highest that is there; [PutParameter] without Overwrite makes a name only
// once, so of two that want the same epoch one gets it. The highest epoch is the
// lease; what is below it is history and is deleted. A lease ends when it is
// released, or when its time to live has passed since it was last written: by
// the service's clock, as the answers' dates tell it, never by the reader's.
//
// It is advice. Parameter Store promises no compare-and-swap, and reads may lag
// behind writes. So two runs can both believe that they hold a lease until the
// one with the lower epoch looks again: for as long as reads lag and a third of
// the time to live, or all of it if its calls fail meanwhile. What keeps a stack
// from harm then is CloudFormation, which executes a change set only on the
// stack as it was when the change set was made.
//
// A run that can't renew for a time to live takes its lease for lapsed. It gets
// it again if nobody else has taken it, as after a night in which the machine
// was asleep; otherwise it has lost it for good, also when the other run is
// over: its parameter is gone then. See [Lease.Check]. What no lease holds back is
// a call that was on its way when the machine fell asleep: AWS takes a signature
// for a while, see [Flight]. Such calls that delete undo what others make, so the
// lease of a run that deletes is free for one that makes things only when that is
// over; see [Lease.CheckDeletion] and [Held.Free].
//
// [PutParameter]: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
package lease

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// TTL is how long a lease that is not renewed goes on. A dead run keeps others
// waiting for that long; a connection that is lost for less does no harm.
const TTL = 5 * time.Minute

// Flight is how long AWS accepts a call after it was signed; services that accept
// it for less are the better for it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
const Flight = 15 * time.Minute

// every is the longest time between two renewals.
func every(ttl time.Duration) time.Duration { return ttl / 3 }

// Store is Parameter Store; an [ssm.Client] is one.
type Store interface {
	PutParameter(context.Context, *ssm.PutParameterInput, ...func(*ssm.Options)) (*ssm.PutParameterOutput, error)
	GetParametersByPath(context.Context, *ssm.GetParametersByPathInput, ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error)
	DeleteParameters(context.Context, *ssm.DeleteParametersInput, ...func(*ssm.Options)) (*ssm.DeleteParametersOutput, error)
}

var _ Store = (*ssm.Client)(nil)

// Holder is a run that holds a lease, or wants to.
type Holder struct {
	// Owner is the principal's ARN.
	Owner string `json:"owner"`
	// Host and PID are the process, and Machine, if it is known, is where
	// numbers of processes mean the same: a host's name may be given twice, and
	// may change.
	Host    string `json:"host"`
	Machine string `json:"machine,omitempty"`
	PID     int    `json:"pid"`
	Command string `json:"command"`
	// Run tells runs apart; empty is a random one.
	Run string `json:"run"`
	// Deletes tells that the run deletes: the deployment, or of a lease that is seen,
	// at least something of it.
	Deletes bool `json:"deletes,omitempty"`
	// Alive tells whether a process of this machine lives; nil if nobody knows.
	// The lease of a dead one is taken at once.
	Alive func(pid int) bool `json:"-"`
}

// String is the holder in words.
func (h Holder) String() string {
	s := h.Owner
	if h.Host != "" {
		s += fmt.Sprintf(" on %s (process %d)", h.Host, h.PID)
	}
	if h.Command != "" {
		s += ": " + h.Command
	}
	return s
}

// dead tells that the other holder was a process of this one's machine, and
// that it lives no more.
func (h Holder) dead(other Holder) bool {
	return h.Alive != nil && h.Machine != "" && h.Machine == other.Machine && !h.Alive(other.PID)
}

// Held is a lease as Parameter Store has it.
type Held struct {
	Holder
	Epoch int `json:"epoch"`
	// Renewed is when it was written last, by the service's clock, and Expires
	// when it ends if it isn't written again.
	Renewed time.Time `json:"renewed"`
	Expires time.Time `json:"expires"`
	// Ended tells that it was over when it was seen, by the same clock.
	Ended bool `json:"ended,omitempty"`
}

// Free is when another run, on another machine, may take the lease if it isn't
// renewed: when it ends, but of one that deletes, for a run that doesn't delete the
// deployment, when no call that was sent under it is accepted any more.
func (h Held) Free(by Holder) time.Time {
	if h.Deletes && !by.Deletes {
		return h.Expires.Add(Flight)
	}
	return h.Expires
}

// HeldError says that somebody else works on the deployment, or that what somebody
// sent while he did may still arrive.
type HeldError struct {
	Held
	// Path of the lease, and the service's time at which it was seen.
	Path string
	Now  time.Time
	// Until is when the run that was refused may have it, unless it is renewed.
	Until time.Time
}

func (e *HeldError) Error() string {
	if e.Ended {
		return fmt.Sprintf("somebody else worked on it and did not give the lease back: %s; what it sent to delete may arrive until %s", e.Held.Holder, e.Until.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("somebody else works on it: %s; the lease ends %s unless it is renewed", e.Held.Holder, e.Expires.UTC().Format(time.RFC3339))
}

// LostError says that a run no longer holds its lease, so that it may write no
// more.
type LostError struct {
	// To is who has it now; zero if that isn't known, or if who had it is done.
	To Held
	// Err is why it could not be renewed; nil if somebody took it.
	Err error
}

func (e *LostError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("the lease could not be renewed: %v", e.Err)
	}
	if e.To.Epoch == 0 {
		return "the lease was lost to another run, which is over by now: what this one knows may be out of date; run it again"
	}
	return "the lease was lost to " + e.To.Holder.String()
}

func (e *LostError) Unwrap() error { return e.Err }

// Options say which lease is wanted, and by whom.
type Options struct {
	Store Store
	// Clock paces renewals and measures how long the last one is ago.
	Clock clock.Clock
	// Path is the parameters' path, without a slash at its end.
	Path string
	// Tags that the parameters are made with.
	Tags   map[string]string
	Holder Holder
	// TTL is [TTL] if it is zero.
	TTL time.Duration
}

// Acquire takes the lease and renews it until [Lease.Release], or until the
// context ends. It returns a [*HeldError] if somebody else holds it.
func Acquire(ctx context.Context, o Options) (*Lease, error) {
	if o.TTL == 0 {
		o.TTL = TTL
	}
	if o.Holder.Run == "" {
		var b [8]byte
		// Read never fails; see crypto/rand.
		_, _ = rand.Read(b[:])
		o.Holder.Run = hex.EncodeToString(b[:])
	}
	l := &Lease{o: o, turn: make(chan struct{}, 1)}
	l.holding, l.end = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := l.take(ctx); err != nil {
		l.end(err)
		return nil, err
	}
	renewing, stop := context.WithCancel(ctx)
	l.stop = stop
	l.writing, l.cut = context.WithCancel(context.WithoutCancel(ctx))
	go l.keep(renewing)
	return l, nil
}

// Look tells who holds the lease at a path, or held it and sent what may still
// arrive; nil if every run would get it.
func Look(ctx context.Context, s Store, path string) (*Held, error) {
	seen, err := look(ctx, s, path)
	if err != nil || len(seen.epochs) == 0 {
		return nil, err
	}
	if top := seen.epochs[0]; seen.now.Before(top.Free(Holder{})) {
		return &top, nil
	}
	return nil, nil
}

// errUndated says that it isn't known what time it is.
var errUndated = errors.New("the answer of Parameter Store has no date")
