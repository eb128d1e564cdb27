package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// lookForDrift looks at all stacks that are at rest, side by side. That the
// caller may not look is no error, but noted.
func (a *applying) lookForDrift(ctx context.Context) error {
	a.drift = map[architecture.StackName]*stack.Drift{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for _, n := range slices.Sorted(maps.Keys(a.states)) {
		st := a.states[n]
		if _, wanted := a.stacks[n]; !wanted || !st.CanDrift() {
			continue
		}
		wg.Go(func() {
			found, err := a.driver.DetectDrift(ctx, st.Name)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case awsapi.IsDenied(err):
				a.driftUnknown = awsapi.Message(err)
			case err != nil:
				errs = append(errs, err)
			default:
				if found.Incomplete != "" {
					a.driftUnknown = fmt.Sprintf("stack %s: %s", st.Name, found.Incomplete)
				}
				a.drift[n] = found
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// grown tells that RDS has enlarged a database's storage by itself, which can't
// be undone. See
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
func grown(r stack.Drifted, d stack.Difference) bool {
	if r.Type != "AWS::RDS::DBInstance" || d.Path != "/AllocatedStorage" {
		return false
	}
	was, err := strconv.Atoi(d.Expected)
	is, err2 := strconv.Atoi(d.Actual)
	return err == nil && err2 == nil && is > was
}

// scaled tells that a node group was scaled: its present size is passed on.
func scaled(r stack.Drifted, d stack.Difference) bool {
	return r.Type == "AWS::EKS::Nodegroup" && d.Path == "/ScalingConfig/DesiredSize"
}

// without is drift without the differences that except names.
func without(d *stack.Drift, except func(stack.Drifted, stack.Difference) bool) *stack.Drift {
	if d == nil {
		return nil
	}
	out := *d
	out.Resources = nil
	for _, r := range d.Resources {
		if !r.Deleted {
			r.Differences = slices.DeleteFunc(slices.Clone(r.Differences), func(x stack.Difference) bool { return except(r, x) })
			if len(r.Differences) == 0 {
				continue
			}
		}
		out.Resources = append(out.Resources, r)
	}
	return &out
}

// reverts tells that the stack's next change set shall look at what is there.
func (a *applying) reverts(name architecture.StackName) bool {
	return !without(a.drift[name], grown).Empty()
}

// shown is a stack's drift as people are told of it: without what others are
// to change. It is nil if there is none.
func (a *applying) shown(name architecture.StackName) *stack.Drift {
	d := without(a.drift[name], func(r stack.Drifted, x stack.Difference) bool { return grown(r, x) || scaled(r, x) })
	if d.Empty() {
		return nil
	}
	return d
}

// effective are the changes that do something.
func effective(changes []stack.Change) []stack.Change {
	return slices.DeleteFunc(changes, func(c stack.Change) bool { return c.Action == stack.Sync })
}

// live is a template with a cluster's properties as they are, where they have
// drifted: what an update in several parts starts from.
func live(body []byte, d *stack.Drift) []byte {
	if d.Empty() {
		return body
	}
	var doc map[string]any
	if json.Unmarshal(body, &doc) != nil {
		return body
	}
	resources, _ := doc["Resources"].(map[string]any)
	for _, r := range d.Resources {
		res, _ := resources[r.LogicalID].(map[string]any)
		props, _ := res["Properties"].(map[string]any)
		if r.Type != "AWS::EKS::Cluster" || r.Deleted || props == nil {
			continue
		}
		for _, x := range r.Differences {
			path := strings.Split(strings.TrimPrefix(x.Path, "/"), "/")
			if len(path) > 1 && path[0] == "ResourcesVpcConfig" {
				to, _ := props[path[0]].(map[string]any)
				from, _ := r.Actual[path[0]].(map[string]any)
				if to != nil {
					set(to, path[1], from[path[1]])
				}
				continue
			}
			set(props, path[0], r.Actual[path[0]])
		}
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return body
	}
	return out
}
