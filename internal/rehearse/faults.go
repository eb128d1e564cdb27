package rehearse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/templates"
)

// DefaultAttempts is how often a command is run under faults before it is given
// up.
const DefaultAttempts = 4

// pause is how long people wait before they repeat a command that has failed.
const pause = 10 * time.Minute

// Faults is a file of faults.
type Faults struct {
	// Name of the file, for mistakes, and what stands in it.
	Name   string
	Source []byte
}

// ParseFaults reads files of faults, and holds them to what the deployments
// will have, if there are some. The error is [fault.Mistakes], of all files.
func ParseFaults(files []Faults, region string, deployments ...*architecture.Architecture) (fault.Plan, error) {
	known, err := sandbox.Known(region)
	if err != nil {
		return fault.Plan{}, err
	}
	for _, a := range deployments {
		stacks, err := templates.All(a)
		if err != nil {
			return fault.Plan{}, err
		}
		for _, s := range stacks {
			for _, r := range s.Template.Resources() {
				known.Resources = append(known.Resources, fault.Resource{Stack: s.StackName, LogicalID: string(r.ID), Type: r.Type})
			}
		}
	}
	var plan fault.Plan
	var mistakes fault.Mistakes
	for _, f := range files {
		p, err := fault.Parse(f.Name, f.Source, known)
		var some fault.Mistakes
		switch {
		case errors.As(err, &some):
			mistakes = append(mistakes, some...)
		case err != nil:
			return fault.Plan{}, err
		}
		for _, x := range p.Faults {
			if slices.ContainsFunc(plan.Faults, func(y fault.Fault) bool { return y.ID == x.ID }) {
				mistakes = append(mistakes, fault.Mistake{File: f.Name, Path: "faults", Reason: x.ID + " is the name of a fault of another file too", Fix: "give each its own"})
			}
			plan.Faults = append(plan.Faults, x)
		}
	}
	if mistakes != nil {
		return fault.Plan{}, mistakes
	}
	return plan, nil
}

// RunReport is one run of a command under faults.
type RunReport struct {
	Command string `json:"command"`
	// Error is why it failed; empty if it did not.
	Error string `json:"error,omitempty"`
	// Then is what the user did about it.
	Then string `json:"then,omitempty"`
}

// trial is a life of the deployment under faults: each command is repeated, as
// people do, until it succeeds and nothing is left to do, or for the last time.
func (r *run) trial(ctx context.Context) error {
	if err := r.prepare(); err != nil {
		return err
	}
	plan, err := ParseFaults(r.opts.Faults, r.arch.Config.Region, r.arch, r.next)
	if err != nil {
		return err
	}
	if r.opts.Attempts == 0 {
		r.opts.Attempts = DefaultAttempts
	}
	r.faults = fault.New(plan, fault.Options{Seed: r.opts.Seed, Sleep: r.clock.SleepHeld, Fired: func(f fault.Firing) { r.emit(FaultFired{f}) }})
	r.box.Break(r.faults)
	defer func() { r.report.Faults = r.faults.Tallies() }()
	if err := r.reach(ctx, "create", r.arch); err != nil {
		return err
	}
	if err := r.reach(ctx, "update", r.next); err != nil {
		return err
	}
	if r.opts.Keep {
		return r.keep(ctx)
	}
	return r.leave(ctx)
}

// reach runs a command until the deployment is what it should be: the plan is
// empty, and verify finds that it conforms.
func (r *run) reach(ctx context.Context, command string, a *architecture.Architecture) error {
	var err error
	for try := 1; try <= r.opts.Attempts; try++ {
		step := StepUpdate
		if command == "create" {
			step = StepCreate
		}
		err = r.step(step, again(command, try), nil, func() (string, error) { return r.converge(ctx, step, a) })
		if err == nil {
			if err = r.conforms(ctx, a); err == nil {
				r.note(command, nil, "")
				return nil
			}
			// What others did meanwhile is put right by an update.
			r.note(command, nil, "ran update, since: "+err.Error())
			command = "update"
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if try == r.opts.Attempts {
			r.note(command, err, "gave up")
			break
		}
		then, slept := r.respond(ctx, err)
		if slept != nil {
			return slept
		}
		r.note(command, err, then)
	}
	return fmt.Errorf("%s did not converge in %s: %w", command, count(r.opts.Attempts, "run"), err)
}

// converge is one run of create or update.
func (r *run) converge(ctx context.Context, step Step, a *architecture.Architecture) (string, error) {
	p, err := r.process(ctx)
	if err != nil {
		return "", err
	}
	defer p.end()
	o := deploy.CreateOptions{Target: r.target(p, a, step, nil)}
	f := deploy.Update
	if step == StepCreate {
		f = deploy.Create
	}
	res, err := f(p.ctx, o)
	if err != nil {
		return "", err
	}
	if k := res.Kubernetes; k != nil {
		r.report.Kubernetes = deploy.KubernetesStatus{Endpoint: k.Endpoint, Way: k.Way, Via: k.Via, Version: k.Version, Attempts: k.Attempts}
	}
	if len(r.report.Stacks) == 0 {
		// A fault may keep the report from being complete, and no more.
		_ = r.report.measure(p, a)
	}
	return count(res.Changes, "resource") + " changed", nil
}

// conforms tells that nothing is left to do, and that what stands conforms.
func (r *run) conforms(ctx context.Context, a *architecture.Architecture) error {
	if err := r.unchanged(ctx, StepCheck, a); err != nil {
		return err
	}
	return r.verify(ctx, StepVerify, "verify: does it conform?", a)
}

// leave deletes the deployment and compares the account with its start.
func (r *run) leave(ctx context.Context) error {
	var err error
	for try := 1; try <= r.opts.Attempts; try++ {
		if err = r.delete(ctx); err == nil {
			r.note("delete", nil, "")
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if try == r.opts.Attempts {
			r.note("delete", err, "gave up")
			break
		}
		then, slept := r.respond(ctx, err)
		if slept != nil {
			return slept
		}
		r.note("delete", err, then)
	}
	return fmt.Errorf("delete did not converge in %s: %w", count(r.opts.Attempts, "run"), err)
}

// respond is what people do about a command that has failed.
func (r *run) respond(ctx context.Context, err error) (string, error) {
	var unreachable *cluster.UnreachableError
	switch {
	case errors.As(err, &unreachable) && !r.inside:
		r.inside = true
		return "repeated it from inside the VPC", nil
	case awsapi.IsExpired(err) || awsapi.IsCredentials(err):
		r.faults.SignIn()
		return "signed in again and repeated it", nil
	}
	return fmt.Sprintf("repeated it after %d minutes", int(pause.Minutes())), r.clock.Sleep(ctx, pause)
}

func again(command string, try int) string {
	if try == 1 {
		return command + ", under faults"
	}
	return fmt.Sprintf("%s, run %d", command, try)
}

func (r *run) note(command string, err error, then string) {
	rep := RunReport{Command: command, Then: then}
	if err != nil {
		rep.Error = err.Error()
	}
	r.report.Runs = append(r.report.Runs, rep)
	r.emit(Ran{rep})
}
