package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// RefusedError says that a plan is not carried out, with everything that it is
// refused for and no given flag allows.
type RefusedError struct {
	Refusals []guard.Refusal
	// Untouched: it was refused before anything was written. Otherwise the
	// stacks that the refusals name are as they were, and others may have
	// changed.
	Untouched bool
}

func (e *RefusedError) Error() string {
	var what []string
	for _, r := range e.Refusals {
		what = append(what, r.String())
	}
	return "refused: " + strings.Join(what, "; ")
}

// As gives the refusals as faults of the file, which they are too.
func (e *RefusedError) As(target any) bool {
	faults, ok := target.(*config.Faults)
	if !ok {
		return false
	}
	*faults = nil
	for _, r := range e.Refusals {
		*faults = append(*faults, r.Fault)
	}
	return true
}

// Changes are those among the refusals that would lose data.
func (e *RefusedError) Changes() []stack.Change {
	var all []stack.Change
	for _, r := range e.Refusals {
		if r.Change != nil {
			all = append(all, *r.Change)
		}
	}
	return all
}

// refusal is the error for what no flag allows; nil if there is nothing.
func (t Target) refusal(all []guard.Refusal, untouched bool) error {
	if left := t.Allow.Left(all); len(left) > 0 {
		return &RefusedError{left, untouched}
	}
	return nil
}

// judge refuses, before anything is written, what the guards refuse. It only
// reads.
func (a *applying) judge(ctx context.Context) error {
	// What the others say of somebody else's is worth nothing.
	if err := a.replaced(ctx, a.states); err != nil {
		return err
	}
	all := a.foreignRefusals()
	if net := a.states[architecture.Network]; net.Exists() {
		for _, f := range stands(net, a.Architecture) {
			all = append(all, guard.Refusal{Fault: f, Stack: net.Name})
		}
	}
	id, err := a.AWS.Identity(ctx)
	if err != nil {
		return err
	}
	a.caller, a.account = id.Principal, id.Account
	origin, refused, err := a.originRefusals(ctx)
	if err != nil {
		return err
	}
	names, err := a.takenNames(ctx)
	if err != nil {
		return err
	}
	all = append(all, names...)
	upgrading, err := a.upgradeRefusals(ctx)
	if err != nil {
		return err
	}
	all = append(all, upgrading...)
	a.origin, all = origin, append(append(all, refused...), a.lostRefusals()...)
	c, err := a.judged(ctx)
	if err != nil {
		return err
	}
	return a.refusal(append(all, guard.Judge(c)...), true)
}

// judged is what the guards look at. A stack that is made again from the start
// counts as not there.
func (a *applying) judged(ctx context.Context) (guard.Case, error) {
	c := guard.Case{Config: a.Architecture.Config, Caller: a.caller, Before: map[architecture.StackName]guard.Stack{}, After: map[architecture.StackName]guard.Stack{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for n, st := range a.states {
		if !st.Exists() || !stack.Lasts(st.Status) {
			continue
		}
		wg.Go(func() {
			body, err := a.driver.Template(ctx, st.ID)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				c.Before[n] = guard.Stack{Name: st.Name, Body: body, Parameters: st.Parameters}
			} else if !awsapi.IsNotFound(err) { // it has gone meanwhile
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return c, err
	}
	for n, s := range a.stacks {
		after := guard.Stack{Name: s.StackName, Body: s.Body, Parameters: map[string]string{templates.CallerParameter: a.caller}}
		if was, ok := c.Before[n].Parameters[templates.CallerParameter]; ok {
			after.Parameters[templates.CallerParameter] = was
		}
		c.After[n] = after
	}
	var err error
	if guard.Upgrades(c) {
		if c.Running, err = a.running(ctx); err != nil {
			return c, err
		}
	}
	if guard.Resizes(c) {
		c.StorageGiB, err = a.storage(ctx)
	}
	return c, err
}

// storage is what the database has, in GiB, which may have grown by itself; 0 if
// there is none.
func (a *applying) storage(ctx context.Context) (int, error) {
	id := a.Architecture.DatabaseName()
	out, err := a.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if awsapi.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at database %s: %w", id, err)
	}
	gib := 0
	for _, db := range out.DBInstances {
		gib = int(aws.ToInt32(db.AllocatedStorage))
	}
	return gib, nil
}

// running is the version that the control plane runs, which somebody, or EKS
// itself, may have raised; "" if there is no cluster.
func (a *applying) running(ctx context.Context) (string, error) {
	name := a.Architecture.ClusterName()
	out, err := a.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if awsapi.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at cluster %s: %w", name, err)
	}
	return aws.ToString(out.Cluster.Version), nil
}

// judgeDrift refuses to make again, empty, what held data and was deleted.
func (a *applying) judgeDrift() error { return a.refusal(a.lostRefusals(), true) }

// approve is the last look before a change set is executed: CloudFormation
// knows best what it replaces.
func (a *applying) approve(name string) func([]stack.Change) error {
	return func(changes []stack.Change) error { return a.refusal(guard.Lost(name, changes), false) }
}
