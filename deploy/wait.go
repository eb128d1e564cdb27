package deploy

import (
	"context"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
)

const (
	// slow is the time between two looks at what takes minutes.
	slow = 15 * time.Second
	// soon is the time before a read that failed is made again, at first.
	soon = 5 * time.Second
)

// easing is a pace for what takes seconds or minutes: it slows down the longer it takes.
func easing(waited time.Duration) time.Duration { return min(max(waited/4, soon/2), slow) }

// look is one look at what is waited for, see [poll.Poller.Until].
type look func(ctx context.Context, waited time.Duration) (over bool, seen string, err error)

// brisk is [easing] for what controllers in a cluster may have done within a second.
func brisk(waited time.Duration) time.Duration { return min(max(waited/4, soon/10), slow) }

func (r *run) poller() poll.Poller { return poll.Poller{Clock: r.AWS.Clock} }

// until waits for something of a stack, slowly unless the wait has a pace of its
// own, and tells how it goes on.
func (r *run) until(ctx context.Context, name architecture.StackName, w poll.Wait, f look) error {
	if w.Pace == nil {
		w.Pace = poll.Every(slow)
	}
	w.Tell = func(text string) { r.tell(name, text) }
	return r.poller().Until(ctx, w, f)
}

// tell says how a wait goes on, which by itself moves nothing.
func (r *run) tell(name architecture.StackName, text string) {
	r.emit(Step{Time: r.AWS.Clock.Now(), Stack: name, Text: text, idle: true})
}

// until is that of a run, but that what a look sees counts as progress if it is
// another thing than before.
func (d *deleting) until(ctx context.Context, name architecture.StackName, w poll.Wait, f look) error {
	return d.run.until(ctx, name, w, func(ctx context.Context, waited time.Duration) (bool, string, error) {
		over, seen, err := f(ctx, waited)
		if err == nil && seen != "" {
			d.sees(w.For, seen)
		}
		return over, seen, err
	})
}

// hidden says once what the caller may not look at, with the permission that it
// takes. It counts neither as there nor as gone: AWS refuses by itself what can't
// be done meanwhile, and a deletion's last inventory names what it could not see.
func (r *run) hidden(name architecture.StackName, what string, denied error) {
	permission := awsapi.Permission(denied)
	if _, said := r.denied.LoadOrStore(permission, true); !said {
		r.tell(name, what+" can't be looked at, which takes the permission "+permission+": "+awsapi.Message(denied))
	}
}

// patience makes reads again that failed for a reason that passes, and says so,
// until one was not answered for [poll.Blindness]: what a run comes to is not for
// a read that failed.
func patience(c *awsapi.Clients, tell func(string)) *awsapi.Clients {
	p := poll.Poller{Clock: c.Clock}
	return c.Patient(func(ctx context.Context, operation string, call func(context.Context) error) (err error) {
		w := poll.Wait{For: "the answer of " + operation, Pace: poll.Every(soon), Tell: tell}
		lost := p.Until(ctx, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
			if err = call(ctx); awsapi.Passes(err) {
				return false, "", err
			}
			return true, "", nil
		})
		if lost != nil {
			return lost
		}
		return err
	})
}
