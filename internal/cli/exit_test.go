package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/lease"
)

// TestExitCode walks the kinds of errors: people see an error with the code that
// the function gives, bare and wrapped.
func TestExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), Failed},
		{silent{Pending}, Pending},
		{errUntouched, Failed},
		{&interruptedError{}, Failed},
		{&deploy.RefusedError{Untouched: true}, Usage},
		{&deploy.RefusedError{}, Failed},
		{config.Faults{{Path: "name"}}, Usage},
		{&usageError{errors.New("no such flag")}, Usage},
		{&accessError{"us-east-1", errors.New("no answer")}, Usage},
		{&deploy.PendingError{Err: errors.New("no route")}, Pending},
		{&deploy.PausedError{Err: errors.New("expired")}, Pending},
		{&deploy.UnrecoverableError{}, Usage},
		{&deploy.UnrecoverableError{Begun: true}, Failed},
		{&deploy.BlockedError{}, Failed},
		{&lease.HeldError{}, Failed},
		{&cluster.ReleasesError{Refused: true}, Usage},
		{&cluster.ReleasesError{}, Failed},
		{deploy.ErrAbsent, Failed},
		{&deploy.TransferError{Name: "images", Err: errors.New("denied")}, Failed},
		{errors.Join(&deploy.PendingError{Err: errors.New("no route")}, &deploy.TransferError{Name: "images", Err: errors.New("denied")}), Failed},
		{&deploy.PausedError{Err: &deploy.TransferError{Name: "images", Err: errors.New("expired")}}, Pending},
	} {
		a := &app{started: true}
		for _, err := range []error{c.err, fmt.Errorf("create: %w", c.err)} {
			if got := ExitCode(err); got != c.want {
				t.Errorf("%T: exit code %d, want %d", c.err, got, c.want)
			}
			if _, ok := c.err.(silent); ok {
				continue
			}
			if got := a.explain(context.Background(), err).Code; got != c.want {
				t.Errorf("%T is explained with exit code %d, want %d", c.err, got, c.want)
			}
		}
	}
	if got := ExitCode(nil); got != Done {
		t.Errorf("no error: exit code %d, want %d", got, Done)
	}
}

// TestL31WhatAWSGoesOnWith: an interrupt names the stacks in motion, and what goes
// before its stack.
func TestL31WhatAWSGoesOnWith(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*interruptedError{
		"interrupted; no stack is in motion":                                             {},
		"interrupted; AWS goes on with what it has begun: database poolside":             {going: []string{"database poolside"}},
		"interrupted; AWS goes on with what it has begun: keys, edge, database poolside": {moving: []architecture.StackName{"keys", "edge"}, going: []string{"database poolside"}},
		"interrupted; AWS may go on with what it has begun: keys":                        {moving: []architecture.StackName{"keys"}, unseen: errors.New("no answer")},
		"interrupted; AWS may go on with what it has begun: cluster poolside":            {going: []string{"cluster poolside"}, unseen: errors.New("no answer")},
		"interrupted; AWS may go on with what it has begun: keys, database poolside":     {moving: []architecture.StackName{"keys"}, going: []string{"database poolside"}, unseen: errors.New("no answer")},
		"interrupted; it is not known what AWS goes on with":                             {unseen: errors.New("no answer")},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
