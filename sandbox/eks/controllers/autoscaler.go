package controllers

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// scalable is an Auto Scaling group of a node group of the cluster.
type scalable struct {
	Name      string `xml:"AutoScalingGroupName"`
	Min       int    `xml:"MinSize"`
	Max       int    `xml:"MaxSize"`
	Desired   int    `xml:"DesiredCapacity"`
	Instances []struct {
		ID string `xml:"InstanceId"`
	} `xml:"Instances>member"`

	template eks.Node
	size     int // that it shall have
}

// autoscale gives groups the nodes that pods wait for, and takes away nodes that have
// had nothing to do for some time.
func (o Options) autoscale(ctx context.Context, as identity) error {
	if o.Call == nil {
		return nil
	}
	nodes, err := listOf[node](ctx, o, "/api/v1/nodes")
	if err != nil {
		return err
	}
	pods, err := listOf[pod](ctx, o, "/api/v1/pods")
	if err != nil {
		return err
	}
	var waiting []*pod
	busy := map[string]bool{}
	for i := range pods {
		switch p := &pods[i]; {
		case p.waits():
			waiting = append(waiting, p)
		case !p.everywhere():
			busy[p.Spec.NodeName] = true
		}
	}
	idle := slices.ContainsFunc(nodes, func(n node) bool { return !busy[n.Metadata.Name] || n.candidate() != "" })
	if len(waiting) == 0 && !idle {
		return nil
	}
	by, err := o.as(ctx, as)
	if err != nil {
		return err
	}
	groups, err := o.scalables(ctx, by)
	if err != nil {
		return err
	}
	if grown, err := o.grow(ctx, by, groups, nodes, pods, waiting, busy); err != nil || grown {
		return err
	}
	after, err := as.unneeded()
	if err != nil {
		return err
	}
	return o.shrink(ctx, by, groups, nodes, busy, after)
}

// scalables are the groups that the tags say are this cluster's to scale, sorted by
// name.
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md#auto-discovery-setup
func (o Options) scalables(ctx context.Context, by wire.Credential) (groups []*scalable, err error) {
	var tags []any
	for _, key := range []string{"enabled", o.Cluster} {
		tags = append(tags, map[string]any{"Name": "tag-key", "Values": []any{"k8s.io/cluster-autoscaler/" + key}})
	}
	text, err := o.aws(ctx, by, "autoscaling", "DescribeAutoScalingGroups", map[string]any{"Filters": tags, "MaxRecords": "100"})
	if err != nil {
		return nil, err
	}
	var out struct {
		Groups []*scalable `xml:"DescribeAutoScalingGroupsResult>AutoScalingGroups>member"`
	}
	if err := xml.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("read Auto Scaling groups: %w", err)
	}
	var templates map[string]eks.Node
	err = o.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		templates = eks.NodeTemplates(tx, o.Cluster)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, g := range out.Groups {
		if template, ok := templates[g.Name]; ok {
			g.template, g.size = template, g.Desired
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b *scalable) int { return strings.Compare(a.Name, b.Name) })
	return groups, nil
}

// grow makes room for pods: first in the nodes that are there or on their way, and then
// by one more node in the smallest group below its maximum whose nodes they fit on, which
// keeps the zones alike. A pod that fits nowhere stays as it is, and nodes that others fit
// on are busy.
func (o Options) grow(ctx context.Context, by wire.Credential, groups []*scalable, nodes []node, pods []pod, waiting []*pod, busy map[string]bool) (grown bool, err error) {
	rooms, err := roomsOf(groups, nodes, pods)
	if err != nil {
		return false, err
	}
	for _, p := range waiting {
		need, err := p.needs()
		if err != nil {
			return false, err
		}
		if i := slices.IndexFunc(rooms, func(r *room) bool { return r.take(p, need) }); i >= 0 {
			busy[rooms[i].node] = true
			continue
		}
		var best *scalable
		var more *room
		for _, g := range groups {
			empty, err := roomOf(&g.template)
			if err != nil {
				return false, err
			}
			if g.size < g.Max && (best == nil || g.size < best.size) && empty.take(p, need) {
				best, more = g, empty
			}
		}
		if best != nil {
			rooms = append(rooms, more)
			best.size++
		}
	}
	var errs []error
	for _, g := range groups {
		if g.size == g.Desired {
			continue
		}
		grown = true
		_, err := o.aws(ctx, by, "autoscaling", "SetDesiredCapacity", map[string]any{"AutoScalingGroupName": g.Name, "DesiredCapacity": strconv.Itoa(g.size)})
		if err != nil {
			err = fmt.Errorf("give %s %d nodes for pods that fit nowhere: %w", g.Name, g.size, err)
		}
		errs = append(errs, err)
	}
	return grown, errors.Join(errs...)
}

// unneeded is how long a node has nothing to do before it goes.
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md#what-are-the-parameters-to-ca
func (as identity) unneeded() (time.Duration, error) {
	const flag, usual = "--scale-down-unneeded-time=", 10 * time.Minute
	for _, a := range as.args {
		if text, ok := strings.CutPrefix(a, flag); ok {
			after, err := time.ParseDuration(text)
			if err != nil {
				err = fmt.Errorf("read the autoscaler's flag %s: %w", a, err)
			}
			return after, err
		}
	}
	return usual, nil
}

// candidacy is the taint that says since when a node has nothing to do, in seconds, as the
// autoscaler's own.
const candidacy = "DeletionCandidateOfClusterAutoscaler"

// shrink terminates nodes that have had no pods but those of daemon sets for long enough,
// down to their group's minimum.
func (o Options) shrink(ctx context.Context, by wire.Credential, groups []*scalable, nodes []node, busy map[string]bool, after time.Duration) error {
	var now time.Time
	if err := o.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		now = tx.Now()
		return nil
	}); err != nil {
		return err
	}
	var errs []error
	for i := range nodes {
		n := &nodes[i]
		id := n.instance()
		at := slices.IndexFunc(groups, func(g *scalable) bool { return g.has(id) })
		may := at >= 0 && groups[at].size > groups[at].Min && n.works() && !busy[n.Metadata.Name]
		since, err := strconv.ParseInt(n.candidate(), 10, 64)
		switch marked := err == nil; {
		case may && !marked:
			errs = append(errs, o.mark(ctx, n, strconv.FormatInt(now.Unix(), 10)))
		case !may && n.candidate() != "":
			errs = append(errs, o.mark(ctx, n, ""))
		case may && now.Sub(time.Unix(since, 0)) >= after:
			groups[at].size--
			_, err := o.aws(ctx, by, "autoscaling", "TerminateInstanceInAutoScalingGroup", map[string]any{"InstanceId": id, "ShouldDecrementDesiredCapacity": "true"})
			if err != nil {
				err = fmt.Errorf("take the node %s away: %w", n.Metadata.Name, err)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *scalable) has(instance string) bool {
	for _, i := range g.Instances {
		if i.ID == instance {
			return true
		}
	}
	return false
}

// mark says of a node since when it has nothing to do; "" takes that back.
func (o Options) mark(ctx context.Context, n *node, since string) error {
	taints := slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(t taint) bool { return t.Key == candidacy })
	if since != "" {
		taints = append(taints, taint{candidacy, since, "PreferNoSchedule"})
	}
	// The list is written whole: taints that others set meanwhile stay.
	version := map[string]any{"resourceVersion": n.Metadata.ResourceVersion}
	return o.patch(ctx, "/api/v1/nodes/"+n.Metadata.Name, &n.head, map[string]any{"metadata": version, "spec": map[string]any{"taints": taints}})
}

// node is one, as far as it is looked at.
type node struct {
	head
	Spec struct {
		ProviderID    string
		Unschedulable bool
		Taints        []taint
	} `json:"spec"`
	Status struct {
		Allocatable map[string]string
		Conditions  []condition
	} `json:"status"`
}

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

func (n *node) instance() string {
	return n.Spec.ProviderID[strings.LastIndex(n.Spec.ProviderID, "/")+1:]
}

func (n *node) candidate() string {
	for _, t := range n.Spec.Taints {
		if t.Key == candidacy {
			return t.Value
		}
	}
	return ""
}

// notReady is the taint of nodes that aren't ready, or were made just now.
// https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-not-ready
const notReady = "node.kubernetes.io/not-ready"

// works tells that pods can be put on a node: it is ready, and tells of its GPUs if it
// is one with some.
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md#special-note-on-gpu-instances
func (n *node) works() bool {
	if slices.ContainsFunc(n.Spec.Taints, func(t taint) bool { return t.Key == notReady }) {
		return false
	}
	if _, gpus := n.Metadata.Labels["k8s.amazonaws.com/accelerator"]; gpus && cmp.Or(n.Status.Allocatable["nvidia.com/gpu"], "0") == "0" {
		return false
	}
	return slices.ContainsFunc(n.Status.Conditions, func(c condition) bool { return c.Type == "Ready" && c.Status == "True" })
}

// room is what pods find on a node, in thousandths.
type room struct {
	node   string // "" if it is to come
	labels map[string]string
	taints []eks.Taint
	free   map[string]int64
}

func roomOf(n *eks.Node) (*room, error) {
	free, err := quantities(n.Allocatable)
	return &room{labels: n.Labels, taints: n.Taints, free: free}, err
}

// roomsOf are what is left of the nodes that are there, and all of those that groups have
// asked for and that don't work yet.
func roomsOf(groups []*scalable, nodes []node, pods []pod) (rooms []*room, err error) {
	working := map[string]bool{} // by instance
	for i := range nodes {
		n := &nodes[i]
		if !n.works() {
			continue
		}
		working[n.instance()] = true
		if n.Spec.Unschedulable {
			continue
		}
		r := &room{node: n.Metadata.Name, labels: n.Metadata.Labels}
		for _, t := range n.Spec.Taints {
			r.taints = append(r.taints, eks.Taint(t))
		}
		if r.free, err = quantities(n.Status.Allocatable); err != nil {
			return nil, err
		}
		for j := range pods {
			if p := &pods[j]; p.Spec.NodeName == n.Metadata.Name && !p.over() {
				need, err := p.needs()
				if err != nil {
					return nil, err
				}
				r.less(need)
			}
		}
		rooms = append(rooms, r)
	}
	for _, g := range groups {
		coming := g.Desired
		for _, i := range g.Instances {
			if working[i.ID] {
				coming--
			}
		}
		for range coming {
			r, err := roomOf(&g.template)
			if err != nil {
				return nil, err
			}
			rooms = append(rooms, r)
		}
	}
	return rooms, nil
}

func (r *room) less(need map[string]int64) {
	for k, v := range need {
		r.free[k] -= v
	}
}

// take puts a pod into a room that it fits in.
func (r *room) take(p *pod, need map[string]int64) bool {
	if !p.tolerates(r.taints) || !p.selects(r.labels) {
		return false
	}
	for k, v := range need {
		if v > r.free[k] {
			return false
		}
	}
	r.less(need)
	return true
}

// quantities are in thousandths.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
func quantities(of map[string]string) (map[string]int64, error) {
	out := map[string]int64{}
	for k, v := range of {
		n, err := quantity(v)
		if err != nil {
			return nil, fmt.Errorf("the quantity %s of %s: %w", v, k, err)
		}
		out[k] = n
	}
	return out, nil
}

func quantity(text string) (int64, error) {
	units := map[string]float64{"m": 1, "": 1e3, "k": 1e6, "M": 1e9, "G": 1e12, "T": 1e15, "Ki": 1e3 * (1 << 10), "Mi": 1e3 * (1 << 20), "Gi": 1e3 * (1 << 30), "Ti": 1e3 * (1 << 40)}
	number := strings.TrimRight(text, "mkMGTKi")
	unit, ok := units[text[len(number):]]
	n, err := strconv.ParseFloat(number, 64)
	if !ok {
		err = errors.New("a unit that is not modelled")
	}
	return int64(n * unit), err
}
