package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/lease"
)

// Hold carries out work on a deployment while this run holds its lease; see [Target.Holder].
// The work gets a target whose clients write only as long as it does, and a context that
// ends when the lease is lost. Errors are a [*lease.HeldError] if another run works on the
// deployment, and the work's.
func Hold(ctx context.Context, t Target, work func(context.Context, Target) error) error {
	_, err := hold(ctx, t, func(ctx context.Context, t Target) (struct{}, error) {
		ctx, end := t.while(ctx)
		defer end()
		return struct{}{}, work(ctx, t)
	})
	return err
}

// releaseTime is the longest that a run which is over gives its lease back.
const releaseTime = 20 * time.Second

// hold carries out an operation that changes a deployment, while this run holds
// the deployment's lease: the operation gets a target whose clients write only
// as long as it does. It returns a [*lease.HeldError] if another run works on
// the deployment, a [*lease.LostError] if one has taken over meanwhile, and a
// [*PausedError] if the credentials have ended.
//
// The lease is given back in the end, also after an error or an interrupt: what
// AWS goes on with needs none.
func hold[T any](ctx context.Context, t Target, do func(context.Context, Target) (T, error)) (T, error) {
	var none T
	name := t.Architecture.Config.Name
	emit := func(Event) {}
	if to := t.Emit; to != nil {
		var one sync.Mutex
		emit = func(e Event) {
			one.Lock()
			defer one.Unlock()
			to(e)
		}
		t.Emit = emit
	}
	say := func(format string, args ...any) {
		emit(Step{Time: t.AWS.Clock.Now(), Text: fmt.Sprintf(format, args...)})
	}
	tell := func(text string) { say("%s", text) }
	patient := patience(t.AWS, tell)
	if t.Holder.Owner == "" {
		id, err := patient.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return none, paused(name, fmt.Errorf("ask who the caller is: %w", err))
		}
		t.Holder.Owner = aws.ToString(id.Arn)
	}
	held, err := acquire(ctx, t, tell)
	if err != nil {
		return none, paused(name, fmt.Errorf("work on %s: %w", name, err))
	}
	if from := held.From(); from != nil {
		say("taking over from a run that is over: %s", from.Holder)
	}
	if t.Expected > 0 {
		s, err := sessionOf(ctx, t.AWS, t.Expected)
		if err != nil {
			return none, paused(name, errors.Join(err, release(ctx, held)))
		}
		if s.Short {
			emit(SessionShort{t.AWS.Clock.Now(), *s})
		}
	}
	fenced := t
	fenced.while = held.While
	fenced.AWS = patient.Gated(func(ctx context.Context) error {
		if ctx.Err() != nil { // no work is begun after an interrupt
			return context.Cause(ctx)
		}
		if awsapi.Deletes(ctx) {
			return held.CheckDeletion(ctx)
		}
		return held.Check(ctx)
	})
	res, err := do(ctx, fenced)
	if failed := release(ctx, held); failed != nil {
		ends := lease.TTL
		if held.Deletes() {
			ends += lease.Flight
		}
		say("the lease could not be given back and ends by itself, within %v: %v", ends, failed)
	}
	return res, paused(name, err)
}

// acquire takes the deployment's lease, looking again when Parameter Store can't be
// reached for now. What an attempt wrote whose answer was lost is the next one's.
func acquire(ctx context.Context, t Target, tell func(string)) (held *lease.Lease, err error) {
	o := lease.Options{Store: t.AWS.SSM, Clock: t.AWS.Clock, Path: t.Architecture.LeasePath(), Tags: t.Architecture.Tags, Holder: t.Holder}
	if o.Holder.Run == "" {
		o.Holder.Run = rand.Text()
	}
	w := poll.Wait{For: "the lease " + o.Path, Pace: poll.Every(soon), Tell: tell, Next: "nothing was changed; repeat the command"}
	lost := poll.Poller{Clock: t.AWS.Clock}.Until(ctx, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		if held, err = lease.Acquire(ctx, o); awsapi.Passes(err) {
			return false, "", err
		}
		return true, "", nil
	})
	if lost != nil {
		return nil, lost
	}
	return held, err
}

// release gives a lease back, also after an interrupt.
func release(ctx context.Context, l *lease.Lease) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	return l.Release(ctx)
}
