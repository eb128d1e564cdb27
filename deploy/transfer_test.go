package deploy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/transfer"
)

// moves is a transfer that takes half an hour, and then ends with an error or
// without one.
func moves(w *world, err error, begun *int) deploy.Transfer {
	return deploy.Transfer{
		Name: "images", After: []architecture.StackName{architecture.Storage}, Resume: "poolhouse images push",
		Move: func(ctx context.Context, outputs map[architecture.StackName]map[string]string, m *transfer.Meter) error {
			*begun++
			if outputs[architecture.Storage]["RegistryUri"] == "" {
				w.t.Errorf("it begins with the outputs %v", outputs)
			}
			i := m.Start("core-api", 1800)
			for range 1800 {
				if err := (clock.Real{}).Sleep(ctx, time.Second); err != nil {
					i.End(err)
					return err
				}
				i.Move(1)
			}
			i.End(err)
			return err
		},
	}
}

// order are the moments of a run that matter to transfers.
func order(events []deploy.Event) (out []string) {
	for _, e := range events {
		switch e := e.(type) {
		case deploy.StackFinished:
			out = append(out, string(e.Stack))
		case deploy.TransferStarted:
			out = append(out, "begins "+e.Transfer)
		case deploy.TransferItem:
			out = append(out, e.Item+" "+string(e.Status))
		case deploy.TransferProgress:
			if s := "goes on"; out[len(out)-1] != s {
				out = append(out, s)
			}
		case deploy.TransferFinished:
			out = append(out, "ends "+e.Transfer+" "+e.Error+e.Resume)
		}
	}
	return out
}

// TestTransferBesideTheStacks has bytes moved while stacks are made: from when the
// stack is complete that they go to, beside the others, and to the end before the
// run ends. A failure of it leaves the stacks alone, and another run moves again.
func TestTransferBesideTheStacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		begun := 0
		full := errors.New("the disk is full")
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a), Transfers: []deploy.Transfer{moves(w, full, &begun)}})
		var failed *deploy.TransferError
		if !errors.As(err, &failed) || !errors.Is(err, full) || failed.Name != "images" || failed.Resume != "poolhouse images push" {
			t.Errorf("the error is %v", err)
		}
		got := order(w.events)
		at := func(what string) int { return slices.Index(got, what) }
		storage, begins, ends := at("storage"), at("begins images"), at("ends images the disk is fullpoolhouse images push")
		if storage < 0 || begins < storage || at("cluster") < begins || ends < at("core-api failed") || at("core-api failed") < 0 || !slices.Contains(got, "goes on") {
			t.Errorf("it came in the order %q", got)
		}
		w.emptyPlan(a)
		w.events = nil
		res, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a), Transfers: []deploy.Transfer{moves(w, nil, &begun)}})
		if err != nil || !res.Complete || begun != 2 {
			t.Errorf("the next run: %v, complete %v, begun %d times", err, res.Complete, begun)
		}
		if got := order(w.events); len(got) == 0 || !slices.Contains(got, "core-api done") || got[len(got)-1] != "ends images " {
			t.Errorf("it came in the order %q", got)
		}
	})
}

// TestTransferEndsWithItsRun interrupts a run, which moves nothing after that, and
// has a stack fail that bytes would go to: they are not moved, and it is said.
func TestTransferEndsWithItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		interrupt := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		w.seen = func(e deploy.Event) {
			if p, is := e.(deploy.TransferProgress); is && p.Moved > 60 {
				cancel(interrupt)
			}
		}
		begun := 0
		_, err := deploy.Create(ctx, deploy.CreateOptions{Target: w.target(a), Transfers: []deploy.Transfer{moves(w, nil, &begun)}})
		if !errors.Is(err, interrupt) {
			t.Errorf("the error is %v", err)
		}
		var end deploy.TransferFinished
		for _, e := range w.events {
			if f, is := e.(deploy.TransferFinished); is {
				end = f
			}
		}
		if end.Took == 0 || end.Moved > 70 || !strings.Contains(end.Error, "interrupted") {
			t.Errorf("it ended with %+v", end)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		begun := 0
		never := moves(w, nil, &begun)
		never.After = append(never.After, "none")
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a), Transfers: []deploy.Transfer{never}}); err != nil || begun != 0 {
			t.Errorf("error %v, begun %d times", err, begun)
		}
		if !slices.ContainsFunc(w.events, func(e deploy.Event) bool {
			s, is := e.(deploy.Step)
			return is && strings.Contains(s.Text, "the transfer of images has not begun")
		}) {
			t.Error("it is not said that nothing was moved")
		}
	})
}
