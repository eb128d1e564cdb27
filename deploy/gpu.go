package deploy

import (
	"context"
	"errors"
	"sync"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/stack"
)

// gpuRun is the GPU nodes' own phase: beside the platform, which neither waits
// for it nor fails with it. GPU capacity is scarce, and AWS takes long to say
// that there is none.
type gpuRun struct {
	sync.WaitGroup
	err error // to be read after Wait
}

// platform are all stacks but that of the GPU nodes.
func (a *applying) platform() []architecture.StackName {
	var names []architecture.StackName
	for _, s := range a.Architecture.Stacks {
		if s.Name != architecture.GPU {
			names = append(names, s.Name)
		}
	}
	return names
}

// apart is apply, but that the GPU nodes' turn begins and is not waited for: no
// stack needs them.
func (a *applying) apart(ctx context.Context, name architecture.StackName) error {
	if name != architecture.GPU {
		return a.apply(ctx, name)
	}
	a.gpu.Go(func() { a.gpu.err = a.apply(ctx, name) })
	return nil
}

// gpuPhase waits for the GPU nodes, if their turn came, and protects them if the
// platform is done. Pending is why they are not there: their stack failed, or they
// would not join. Fatal is an error that is the run's own: its lease or credentials
// are lost, somebody else is at work, the change is refused or can't be asked for.
func (a *applying) gpuPhase(ctx context.Context, done bool) (pending, fatal error) {
	a.gpu.Wait()
	err := a.gpu.err
	if _, wanted := a.stacks[architecture.GPU]; err == nil && done && wanted {
		err = a.protect(ctx, []architecture.StackName{architecture.GPU})
	}
	if err == nil || ctx.Err() != nil || !lacksGPU(err) {
		return nil, err
	}
	return err, nil
}

// lacksGPU tells that an error is about the GPU nodes, and about nothing else
// besides.
func lacksGPU(err error) bool {
	var failed *stack.Error
	var apart *TopologyError
	var lost *lease.LostError
	var changed *stack.ChangedError
	about := errors.As(err, &failed) || errors.As(err, &apart)
	return about && !errors.As(err, &lost) && !errors.As(err, &changed) && !awsapi.IsCredentials(err)
}

// pendingGPU joins what keeps the GPU nodes with how the run ended otherwise.
func pendingGPU(deployment string, err, gpu error) error {
	var pending *PendingError
	switch {
	case gpu == nil:
		return err
	case err == nil:
		return &PendingError{Deployment: deployment, GPU: gpu}
	case errors.As(err, &pending):
		pending.GPU = gpu
		return err
	}
	return errors.Join(err, gpu)
}
