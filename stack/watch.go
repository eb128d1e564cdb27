package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
)

// Time between two looks at a stack in motion: a twentieth of what it has
// taken so far, so that a wait is never much longer than it must be, and
// pollSoon when none of its resources is in motion any more, since CloudFormation
// then only has to conclude.
const (
	pollSoon   = 2 * time.Second
	pollEvery  = 5 * time.Second
	pollAtMost = 10 * time.Second
)

// CloudFormation's answers lag behind its acts. An operation that shows no sign
// of itself for patience is taken to be over.
const patience = 2 * time.Minute

// Rest waits until no operation is under way on the stack and returns it; nil
// if there is none. Events are emitted from now on, none from before.
func (d *Driver) Rest(ctx context.Context, name string) (*State, error) {
	st, err := d.Describe(ctx, name)
	if err != nil || st == nil || ConditionOf(st.Status) != Moving {
		return st, err
	}
	w := newWatch(st.ID, "")
	if _, err := d.events(ctx, w); err != nil {
		return nil, err
	}
	return d.follow(ctx, w)
}

// watch is a look at a stack over time.
type watch struct {
	id string
	// token marks the operation whose events count; "" is any.
	token string
	seen  map[string]bool // events by id
	last  string          // what the stack's own last event says
	// moving are the resources in motion, by logical id, and moved tells that
	// there were some.
	moving map[string]bool
	moved  bool
}

func newWatch(id, token string) *watch {
	return &watch{id: id, token: token, seen: map[string]bool{}, moving: map[string]bool{}}
}

// follow polls a stack, emits its new events and returns it once the operation
// is over; nil if the stack is gone. A look that fails decides nothing: it is
// repeated, unless the caller may not look any more.
func (d *Driver) follow(ctx context.Context, w *watch) (*State, error) {
	var last *State
	pace := func(waited time.Duration) time.Duration {
		if w.concluding() {
			return pollSoon
		}
		return easing(waited)
	}
	wait := poll.Wait{For: "stack " + w.id, Pace: pace, Next: "repeat the command: it goes on from what the stack is by then"}
	err := d.poller().Until(ctx, wait, func(ctx context.Context, waited time.Duration) (bool, string, error) {
		st, err := d.Describe(ctx, w.id)
		if err == nil {
			err = d.catchUp(ctx, w, st)
		}
		if err != nil {
			return false, "", err
		}
		last = st
		return w.over(st, waited), string(st.statusOr("gone")), nil
	})
	if err != nil {
		return nil, err
	}
	return last, nil
}

// tells are what a wait that has to do with a stack tells.
func (d *Driver) tells(stack string) func(string) {
	if d.Tell == nil {
		return nil
	}
	return func(text string) { d.Tell(stack, text) }
}

// slow is how long a wait is not worth a word.
const slow = 20 * time.Second

// once tells of a wait that is slow, at most once.
func (d *Driver) once(stack, text string) func(waited time.Duration) {
	told := d.Tell == nil
	return func(waited time.Duration) {
		if !told && waited >= slow {
			told = true
			d.Tell(stack, text)
		}
	}
}

func (d *Driver) poller() poll.Poller { return poll.Poller{Clock: d.Clock, Seed: d.Seed} }

// easing is a pace that slows down the longer something takes.
func easing(waited time.Duration) time.Duration { return min(max(waited/20, pollEvery), pollAtMost) }

// concluding tells that resources were in motion and none is any more, as far as
// events were read.
func (w *watch) concluding() bool { return w.moved && len(w.moving) == 0 }

// over tells that the stack is at rest because the operation has ended, and not
// because it has yet to begin: status and events must agree.
func (w *watch) over(st *State, waited time.Duration) bool {
	switch {
	case st == nil:
		return waited > patience
	case ConditionOf(st.Status) == Moving:
		return false
	case st.Status == types.StackStatusDeleteComplete:
		return true
	}
	return w.last == string(st.Status) || waited > patience
}

// catchUp emits what is new. When nobody listens, events are read only to see
// whether they agree with a stack that looks at rest: they are by far the
// largest of the answers.
func (d *Driver) catchUp(ctx context.Context, w *watch, st *State) error {
	if d.Emit == nil {
		if st == nil || ConditionOf(st.Status) == Moving || st.Status == types.StackStatusDeleteComplete {
			return nil
		}
		return d.lastWord(ctx, w)
	}
	fresh, err := d.events(ctx, w)
	if err != nil {
		return err
	}
	for _, e := range fresh {
		d.Emit(e)
	}
	return nil
}

// lastWord finds what the stack's own last event says, of the operation that
// is watched. CloudFormation answers newest first.
func (d *Driver) lastWord(ctx context.Context, w *watch) error {
	pages := cloudformation.NewDescribeStackEventsPaginator(d.CFN, &cloudformation.DescribeStackEventsInput{StackName: &w.id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awsapi.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events of stack %s: %w", w.id, err)
		}
		earlier := false
		for _, e := range page.StackEvents {
			if w.token != "" && aws.ToString(e.ClientRequestToken) != w.token {
				earlier = true
				continue
			}
			if aws.ToString(e.ResourceType) == stackType {
				w.last = string(e.ResourceStatus)
				return nil
			}
		}
		if earlier {
			return nil
		}
	}
	return nil
}

// events returns the stack's events that the watch has not seen, oldest first.
// Without a token it reads back to what it knows, at first one page.
func (d *Driver) events(ctx context.Context, w *watch) ([]Event, error) {
	var fresh []Event
	first := len(w.seen) == 0
	// CloudFormation answers newest first, give or take what arrives late: a
	// page is always read to its end.
	pages := cloudformation.NewDescribeStackEventsPaginator(d.CFN, &cloudformation.DescribeStackEventsInput{StackName: &w.id})
	for known := false; !known && pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if awsapi.IsNotFound(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read events of stack %s: %w", w.id, err)
		}
		known = w.token == "" && first
		for _, e := range page.StackEvents {
			if w.seen[aws.ToString(e.EventId)] || w.token != "" && aws.ToString(e.ClientRequestToken) != w.token {
				known = true
				continue
			}
			w.seen[aws.ToString(e.EventId)] = true
			fresh = append(fresh, event(e))
		}
	}
	slices.Reverse(fresh)
	for _, e := range fresh {
		switch {
		case e.IsStack():
			w.last = string(e.Status)
		case strings.HasSuffix(string(e.Status), "_IN_PROGRESS"):
			w.moving[e.LogicalID], w.moved = true, true
		default:
			delete(w.moving, e.LogicalID)
		}
	}
	return fresh, nil
}

func event(e types.StackEvent) Event {
	return Event{
		Time: aws.ToTime(e.Timestamp), Stack: aws.ToString(e.StackName), LogicalID: aws.ToString(e.LogicalResourceId),
		PhysicalID: aws.ToString(e.PhysicalResourceId), Type: aws.ToString(e.ResourceType), Status: e.ResourceStatus, Reason: aws.ToString(e.ResourceStatusReason),
	}
}
