package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/transfer"
)

// Transfer is a moving of bytes that belongs to a run, such as that of images. It
// begins as soon as the stacks that it needs are complete, goes on beside the
// others, and ends before the run does. It touches no stack: if it fails, the run
// goes on, and says so at its end by a [TransferError].
type Transfer struct {
	// Name is what is moved, such as images.
	Name string
	// After are the stacks that it needs, as wholes: before one is complete CloudFormation
	// gives no outputs, and may roll back what holds something already.
	After []architecture.StackName
	// Move moves, and counts on the meter. The clients are the run's, which write only
	// as long as it holds its lease; the outputs are those of the stacks in After. It
	// can be repeated, and ends with the context: when the run is interrupted, and when
	// its lease is lost.
	Move func(ctx context.Context, c *awsapi.Clients, outputs map[architecture.StackName]map[string]string, m *transfer.Meter) error
	// Resume is the command that goes on with it alone.
	Resume string
}

// TransferError says that bytes were not all moved; the stacks have nothing to do
// with it.
type TransferError struct {
	Name, Resume string
	Err          error
}

func (e *TransferError) Error() string { return fmt.Sprintf("the transfer of %s: %v", e.Name, e.Err) }

// Unwrap gives the reason.
func (e *TransferError) Unwrap() error { return e.Err }

// TransferStarted says that a transfer's turn has come.
type TransferStarted struct {
	Time     time.Time `json:"time"`
	Transfer string    `json:"transfer"`
}

// TransferItem says that one item of a transfer began, or how it ended.
type TransferItem struct {
	Transfer string `json:"transfer"`
	transfer.Progress
}

// TransferProgress says how far a transfer is.
type TransferProgress struct {
	Transfer string `json:"transfer"`
	transfer.State
}

// TransferFinished says that a transfer is over.
type TransferFinished struct {
	Time     time.Time `json:"time"`
	Transfer string    `json:"transfer"`
	transfer.State
	Took time.Duration `json:"tookNanoseconds"`
	Err  error         `json:"-"`
	// Error is Err in words, and Resume the command that goes on.
	Error  string `json:"error,omitempty"`
	Resume string `json:"resume,omitempty"`
}

func (TransferStarted) event()  {}
func (TransferItem) event()     {}
func (TransferProgress) event() {}
func (TransferFinished) event() {}

// transferPace is how often it is said how far a transfer is.
const transferPace = 2 * time.Second

// transfers are those of a run.
type transfers struct {
	run *run

	mu      sync.Mutex
	waiting []Transfer
	outputs map[architecture.StackName]map[string]string // of complete stacks
	errs    []error
	moving  sync.WaitGroup
}

// complete takes down that a stack is complete, and begins what waited for it.
func (t *transfers) complete(ctx context.Context, name architecture.StackName, outputs map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outputs[name] = outputs
	var waiting []Transfer
	for _, one := range t.waiting {
		if !t.ready(one) {
			waiting = append(waiting, one)
			continue
		}
		given := map[architecture.StackName]map[string]string{}
		for _, s := range one.After {
			given[s] = t.outputs[s]
		}
		t.moving.Go(func() { t.move(ctx, one, given) })
	}
	t.waiting = waiting
}

// ready tells that all stacks are complete that a transfer needs. The caller holds
// mu.
func (t *transfers) ready(one Transfer) bool {
	for _, s := range one.After {
		if _, is := t.outputs[s]; !is {
			return false
		}
	}
	return true
}

func (t *transfers) move(ctx context.Context, one Transfer, outputs map[architecture.StackName]map[string]string) {
	start := t.run.AWS.Clock.Now()
	t.run.emit(TransferStarted{Time: start, Transfer: one.Name})
	meter := transfer.NewMeter(t.run.AWS.Clock, func(p transfer.Progress) { t.run.emit(TransferItem{one.Name, p}) })
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		meter.Watch(watching, transferPace, func(s transfer.State) { t.run.emit(TransferProgress{one.Name, s}) })
	})
	err := t.run.within(ctx, func(ctx context.Context) error { return one.Move(ctx, t.run.AWS, outputs, meter) })
	stop()
	watch.Wait()
	end := TransferFinished{Time: t.run.AWS.Clock.Now(), Transfer: one.Name, State: meter.State(), Err: err}
	end.Took = end.Time.Sub(start)
	if err != nil {
		end.Error, end.Resume = err.Error(), one.Resume
		t.mu.Lock()
		t.errs = append(t.errs, &TransferError{one.Name, one.Resume, err})
		t.mu.Unlock()
	}
	t.run.emit(end)
}

// within does what ends when the run's lease is lost.
func (t Target) within(ctx context.Context, do func(context.Context) error) error {
	if t.while == nil {
		return do(ctx)
	}
	ctx, done := t.while(ctx)
	defer done()
	return do(ctx)
}

// wait returns when nothing moves any more: no stack becomes complete after it.
// The error is that of all transfers.
func (t *transfers) wait() error {
	t.moving.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.waiting {
		var missing []string
		for _, s := range one.After {
			if _, is := t.outputs[s]; !is {
				missing = append(missing, string(s))
			}
		}
		t.run.step("", "the transfer of %s has not begun: this run ended before it came to what it needs, %s", one.Name, strings.Join(missing, ", "))
	}
	return errors.Join(t.errs...)
}
