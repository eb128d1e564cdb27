package controllers

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/eks"
)

// pod is one, as far as its place is chosen.
type pod struct {
	head
	Spec struct {
		NodeName     string
		NodeSelector map[string]string
		Affinity     struct {
			NodeAffinity struct {
				Required struct{ NodeSelectorTerms []term } `json:"requiredDuringSchedulingIgnoredDuringExecution"`
			}
		}
		Tolerations                []toleration
		Containers, InitContainers []container
	} `json:"spec"`
	Status struct {
		Phase      string
		Conditions []condition
	} `json:"status"`
}

type container struct {
	Resources struct{ Requests map[string]string }
}

type toleration struct{ Key, Operator, Value, Effect string }

// term is what labels of a node have to be, all of it.
type term struct {
	MatchExpressions []struct {
		Key, Operator string
		Values        []string
	}
	MatchFields []any
}

// over tells that a pod needs nothing any more.
func (p *pod) over() bool { return p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" }

// everywhere tells that a pod keeps no node: there is one like it on each, or it is over.
func (p *pod) everywhere() bool {
	return p.over() || slices.ContainsFunc(p.Metadata.OwnerReferences, func(o owner) bool { return o.Kind == "DaemonSet" || o.Kind == "Node" })
}

// waits tells that the scheduler has found no node for a pod.
func (p *pod) waits() bool {
	return p.Spec.NodeName == "" && !p.going() && !p.everywhere() && slices.ContainsFunc(p.Status.Conditions, func(c condition) bool {
		return c.Type == "PodScheduled" && c.Status == "False" && c.Reason == "Unschedulable"
	})
}

// needs are what a pod asks for: the most of what its containers do together and each of
// those before them alone, and a place.
// https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
func (p *pod) needs() (map[string]int64, error) {
	need := map[string]int64{}
	for _, c := range p.Spec.Containers {
		each, err := quantities(c.Resources.Requests)
		if err != nil {
			return nil, err
		}
		for k, v := range each {
			need[k] += v
		}
	}
	for _, c := range p.Spec.InitContainers {
		each, err := quantities(c.Resources.Requests)
		if err != nil {
			return nil, err
		}
		for k, v := range each {
			need[k] = max(need[k], v)
		}
	}
	need["pods"] = 1000
	return need, nil
}

// tolerates tells that no taint of a node keeps a pod from it.
// https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
func (p *pod) tolerates(taints []eks.Taint) bool {
	return !slices.ContainsFunc(taints, func(t eks.Taint) bool {
		return t.Effect != "PreferNoSchedule" && !slices.ContainsFunc(p.Spec.Tolerations, func(o toleration) bool {
			return (o.Effect == "" || o.Effect == t.Effect) && (o.Key == t.Key || o.Key == "" && o.Operator == "Exists") && (o.Operator == "Exists" || o.Value == t.Value)
		})
	})
}

// selects tells that a node's labels are those that a pod asks for.
// https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
func (p *pod) selects(labels map[string]string) bool {
	for k, v := range p.Spec.NodeSelector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	terms := p.Spec.Affinity.NodeAffinity.Required.NodeSelectorTerms
	return len(terms) == 0 || slices.ContainsFunc(terms, func(t term) bool { return t.fits(labels) })
}

// fits is false where the term has what isn't looked at.
func (t *term) fits(labels map[string]string) bool {
	for _, e := range t.MatchExpressions {
		have, ok := labels[e.Key]
		in := ok && slices.Contains(e.Values, have)
		switch e.Operator {
		case "In":
			ok = in
		case "NotIn":
			ok = !in
		case "Exists":
		case "DoesNotExist":
			ok = !ok
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return len(t.MatchExpressions) > 0 && len(t.MatchFields) == 0
}
