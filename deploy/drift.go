package deploy

import (
	"bytes"
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
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// everything is all stacks, for [applying.lookForDrift].
func everything(templates.Stack) bool { return true }

// lookForDrift looks at those of the stacks that are at rest, side by side. That some
// can't be looked at, for lack of permission or because CloudFormation is too
// busy, is no error, but noted; nothing of these is reverted. Without
// credentials, or after the context has ended, there is nothing to go on with.
func (a *applying) lookForDrift(ctx context.Context, at func(templates.Stack) bool) error {
	a.drift = map[architecture.StackName]*stack.Drift{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	unknown := map[architecture.StackName]string{}
	for _, n := range slices.Sorted(maps.Keys(a.states)) {
		st := a.states[n]
		if s, wanted := a.stacks[n]; !wanted || !at(s) || !st.CanDrift() {
			continue
		}
		wg.Go(func() {
			found, err := a.driver.DetectDrift(ctx, st.Name)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil && (ctx.Err() != nil || awsapi.IsCredentials(err)):
				errs = append(errs, err)
			case err != nil:
				unknown[n] = fmt.Sprintf("stack %s: %s", st.Name, awsapi.Message(err))
			default:
				if found.Incomplete != "" {
					unknown[n] = fmt.Sprintf("stack %s: %s", st.Name, found.Incomplete)
				}
				a.drift[n] = found
			}
		})
	}
	wg.Wait()
	a.addLost()
	if len(unknown) > 0 {
		a.driftUnknown = unknown[slices.Min(slices.Collect(maps.Keys(unknown)))]
	}
	if len(unknown) > 1 {
		a.driftUnknown += fmt.Sprintf(" (one of %d stacks)", len(unknown))
	}
	return errors.Join(errs...)
}

// grown tells that RDS has enlarged a database's storage or upgraded its engine
// within a major version by itself, neither of which can be undone. See
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_UpgradeDBInstance.Upgrading.html
func grown(r stack.Drifted, d stack.Difference) bool {
	if r.Type != "AWS::RDS::DBInstance" {
		return false
	}
	switch d.Path {
	case "/AllocatedStorage":
		return newer(d.Actual, d.Expected)
	case "/EngineVersion":
		was, _, _ := strings.Cut(d.Expected, ".")
		is, _, _ := strings.Cut(d.Actual, ".")
		return was == is && newer(d.Actual, d.Expected)
	}
	return false
}

// newer tells that a version, numbers between points, is a later one: 17.10 than
// 17.9, and 17.6 than 17. It is false for what is no version.
func newer(is, was string) bool {
	numbers := func(s string) (out []int, ok bool) {
		for part := range strings.SplitSeq(s, ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				return nil, false
			}
			out = append(out, n)
		}
		return out, true
	}
	a, ok := numbers(is)
	b, ok2 := numbers(was)
	return ok && ok2 && slices.Compare(a, b) > 0
}

// Raised tells that somebody, or EKS at the end of a version's support, has
// upgraded a cluster or its nodes, which can't be undone. See
// https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html
func Raised(typ string, d stack.Difference) bool {
	return (typ == "AWS::EKS::Cluster" || typ == "AWS::EKS::Nodegroup") && d.Path == "/Version" && newer(d.Actual, d.Expected)
}

// raised is the newest Kubernetes version that something was upgraded to beyond
// the file's, with what runs it; "" if nothing was.
func (a *applying) raised() (version, what string) {
	version = a.Architecture.Config.Cluster.Version
	for _, n := range slices.Sorted(maps.Keys(a.drift)) {
		if a.drift[n] == nil {
			continue
		}
		for _, r := range a.drift[n].Resources {
			for _, d := range r.Differences {
				if Raised(r.Type, d) && newer(d.Actual, version) {
					version, what = d.Actual, "the cluster"
					if r.Type != "AWS::EKS::Cluster" {
						what = "node group " + r.PhysicalID
					}
				}
			}
		}
	}
	if what == "" {
		return "", ""
	}
	return version, what
}

// refuseDowngrade refuses a file whose Kubernetes version was left behind: EKS
// takes no step back, so a change set that asks for one fails halfway.
func (a *applying) refuseDowngrade() error {
	version, what := a.raised()
	if version == "" {
		return nil
	}
	c := a.Architecture.Config
	return config.Faults{c.Fault("cluster.version",
		fmt.Sprintf("is %s in the file, and %s runs %s; EKS can't go back", c.Cluster.Version, what, version),
		fmt.Sprintf("write %q", version))}
}

// asRaised gives what was upgraded the version that it has, as if the file said
// so already.
func (a *applying) asRaised() {
	for n, s := range a.stacks {
		d := a.drift[n]
		if d.Empty() {
			continue
		}
		var doc map[string]any
		if json.Unmarshal(s.Body, &doc) != nil {
			continue
		}
		resources, _ := doc["Resources"].(map[string]any)
		changed := false
		for _, r := range d.Resources {
			res, _ := resources[r.LogicalID].(map[string]any)
			props, _ := res["Properties"].(map[string]any)
			asked, _ := props["Version"].(string)
			for _, x := range r.Differences {
				if Raised(r.Type, x) && newer(x.Actual, asked) {
					props["Version"], changed = x.Actual, true
				}
			}
		}
		if body, err := json.Marshal(doc); changed && err == nil {
			s.Body = body
			a.stacks[n] = s
		}
	}
}

// scaled tells that a node group was scaled, or given other bounds, by people or
// an autoscaler: that is theirs until the file or something else of the group
// changes.
func scaled(r stack.Drifted, d stack.Difference) bool {
	return r.Type == "AWS::EKS::Nodegroup" && slices.Contains([]string{"/ScalingConfig/DesiredSize", "/ScalingConfig/MinSize", "/ScalingConfig/MaxSize"}, d.Path)
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
	return !without(a.drift[name], others).Empty()
}

// others are differences that are not an update's to put back.
func others(r stack.Drifted, d stack.Difference) bool { return grown(r, d) || scaled(r, d) }

// upToDate tells that a stack at rest is what it shall be. The sizes of node
// groups are not compared: what they are now is handed on with other changes.
func (a *applying) upToDate(st *stack.State, current []byte, spec stack.Spec) bool {
	size := func(p, _ string) bool { _, ok := a.sizes[p]; return ok }
	was, is := maps.Clone(st.Parameters), maps.Clone(spec.Parameters)
	maps.DeleteFunc(was, size)
	maps.DeleteFunc(is, size)
	return !spec.RevertDrift && bytes.Equal(current, spec.Template) && maps.Equal(was, is) && maps.Equal(st.Tags, spec.Tags)
}

// shown is a stack's drift as people are told of it: without what others are
// to change. It is nil if there is none.
func (a *applying) shown(name architecture.StackName) *stack.Drift {
	d := without(a.drift[name], others)
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
