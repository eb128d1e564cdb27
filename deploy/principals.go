package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/stack"
)

// spreads is how long IAM is given, in all, to be known everywhere: the pauses
// before a stack is tried again that failed for a principal. See
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
func spreads() []time.Duration { return []time.Duration{30 * time.Second, time.Minute} }

// unseenFailures are the known failures that a principal can be behind which is
// too new to be known everywhere.
var unseenFailures = []string{"role-not-assumable", "trust-principal", "key-principal", "action-denied"}

// bringPatiently is bringNamed, but that a stack is tried again, for a bounded
// time, that failed for a principal that this run has made or changed. A principal
// that was there before is wrong, and fails at once.
func (a *applying) bringPatiently(ctx context.Context, name architecture.StackName, spec stack.Spec) (*stack.Outcome, error) {
	for n, pause := range spreads() {
		out, err := a.bringNamed(ctx, name, spec)
		if err == nil || !a.tooNew(err) {
			return out, err
		}
		a.step(name, "failed for a role that this run has made and that AWS may not know everywhere yet; trying again in %s", pause)
		if err := a.poller().Pause(ctx, pause, spec.Name, uint64(n)); err != nil {
			return nil, err
		}
	}
	return a.bringNamed(ctx, name, spec)
}

// tooNew tells that a stack failed for a principal of this run.
func (a *applying) tooNew(err error) bool {
	var failed *stack.Error
	if !errors.As(err, &failed) {
		return false
	}
	root := failed.Root()
	if !slices.Contains(unseenFailures, root.Known) {
		return false
	}
	if root.Known == "key-principal" {
		// KMS does not say which; keys name one that this run may have made.
		return a.madeRole
	}
	return slices.ContainsFunc(failed.Principals, func(name string) bool { return name != "" && strings.Contains(root.Reason, name) })
}
