package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/transfer"
)

// moves is a transfer that takes half an hour, and then ends with an error or
// without one.
func moves(w *world, err error, begun *int) deploy.Transfer {
	return deploy.Transfer{
		Name: "images", After: []architecture.StackName{architecture.Storage}, Resume: "poolhouse images push",
		Move: func(ctx context.Context, _ *awsapi.Clients, outputs map[architecture.StackName]map[string]string, m *transfer.Meter) error {
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
			return is && strings.HasSuffix(s.Text, "the transfer of images has not begun: this run ended before it came to what it needs, none")
		}) {
			t.Error("it is not said that nothing was moved")
		}
	})
}

// TestTransferEndsWithTheLease takes the lease from a run that has stacks to wait for
// and bytes to move. As soon as it knows, the transfer ends with that as its reason,
// and what it still tries to write by the clients that it was given is not sent.
func TestTransferEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		target := w.target(a)
		var taken, ended time.Time
		var gate, put error
		one := deploy.Transfer{
			Name: "images", After: []architecture.StackName{architecture.Storage},
			Move: func(ctx context.Context, c *awsapi.Clients, _ map[architecture.StackName]map[string]string, _ *transfer.Meter) error {
				if err := c.Gate()(ctx); err != nil {
					t.Errorf("with the lease: %v", err)
				}
				value, err := json.Marshal(map[string]any{"owner": "arn:aws:iam::123456789012:user/bob", "host": "runner", "pid": 8, "run": "another", "ttlSeconds": lease.TTL.Seconds()})
				if err != nil {
					return err
				}
				if _, err := target.AWS.SSM.PutParameter(ctx, &ssm.PutParameterInput{Name: new(a.LeasePath() + "/2"), Type: types.ParameterTypeString, Value: new(string(value))}); err != nil {
					return err
				}
				taken = time.Now()
				err = (clock.Real{}).Sleep(ctx, 24*time.Hour)
				ended = time.Now()
				free := context.WithoutCancel(ctx)
				gate = c.Gate()(free)
				_, put = c.SSM.PutParameter(free, &ssm.PutParameterInput{Name: new("/late"), Type: types.ParameterTypeString, Value: new("x")})
				if err == nil {
					return errors.New("it went on for a day")
				}
				return context.Cause(ctx)
			},
		}
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target, Transfers: []deploy.Transfer{one}})
		failed, ok := errors.AsType[*deploy.TransferError](err)
		if !ok {
			t.Fatalf("the error is %v", err)
		}
		for what, err := range map[string]error{"the transfer": failed, "the gate": gate, "a call": put} {
			if lost, ok := errors.AsType[*lease.LostError](err); !ok || lost.To.Host != "runner" {
				t.Errorf("%s says %v", what, err)
			}
		}
		if took := ended.Sub(taken); took > lease.TTL {
			t.Errorf("it went on for %v", took)
		}
	})
}
