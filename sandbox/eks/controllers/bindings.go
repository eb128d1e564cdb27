package controllers

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Bindings, and the finalizer that the load balancer controller puts on them.
// https://github.com/kubernetes-sigs/aws-load-balancer-controller/blob/main/apis/elbv2/v1beta1/targetgroupbinding_types.go
const (
	bindingBase      = "/apis/elbv2.k8s.aws/v1beta1"
	bindingPlural    = "targetgroupbindings"
	bindingFinalizer = "elbv2.k8s.aws/resources"
)

// binding is a TargetGroupBinding.
type binding struct {
	head
	Spec struct {
		TargetGroupARN, TargetGroupName string
		TargetType                      string
		ServiceRef                      struct {
			Name string
			Port any
		}
		NodeSelector any
	} `json:"spec"`
	Status struct{ ObservedGeneration int64 } `json:"status"`
}

// loadBalancers are what the load balancer controller does, as a service account.
func (o Options) loadBalancers(ctx context.Context, as identity) error {
	return errors.Join(o.balance(ctx, ingresses), o.bind(ctx, as))
}

// bind keeps the targets of the groups that objects bind to services.
func (o Options) bind(ctx context.Context, as identity) error {
	if o.Call == nil {
		return nil
	}
	list, err := listOf[binding](ctx, o, bindingBase+"/"+bindingPlural)
	if err != nil {
		return err
	}
	var errs []error
	for i := range list {
		if err := o.bindOne(ctx, as, &list[i]); err != nil {
			m := list[i].Metadata
			errs = append(errs, fmt.Errorf("the binding %s/%s: %w", m.Namespace, m.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (o Options) bindOne(ctx context.Context, as identity, b *binding) error {
	m := b.Metadata
	path := bindingBase + "/namespaces/" + m.Namespace + "/" + bindingPlural + "/" + m.Name
	switch {
	case b.going() && !b.has(bindingFinalizer):
		return nil
	case b.going():
		// A group that is gone has no targets.
		if group, err := o.group(b); err != nil {
			return err
		} else if group != nil {
			if err := o.target(ctx, as, group, nil); err != nil {
				return err
			}
		}
		return o.patch(ctx, path, &b.head, map[string]any{"metadata": map[string]any{"finalizers": b.without(bindingFinalizer)}})
	case !b.has(bindingFinalizer):
		// First the finalizer, so that no target stays that nobody removes.
		return o.patch(ctx, path, &b.head, map[string]any{"metadata": map[string]any{"finalizers": b.with(bindingFinalizer)}})
	}
	group, err := o.group(b)
	switch {
	case err != nil:
		return err
	case group == nil:
		return fmt.Errorf("there is no target group %s%s", b.Spec.TargetGroupARN, b.Spec.TargetGroupName)
	case b.Spec.TargetType != "" && b.Spec.TargetType != group.kind:
		return fmt.Errorf("is of targets by %s, and its group of targets by %s", b.Spec.TargetType, group.kind)
	case group.kind != "ip" || b.Spec.NodeSelector != nil:
		return account.NotModelled("targets that are nodes are not modelled by the sandbox")
	}
	want, err := o.endpoints(ctx, m.Namespace, b.Spec.ServiceRef.Name, b.Spec.ServiceRef.Port)
	if err != nil {
		return err
	}
	if err := o.target(ctx, as, group, want); err != nil {
		return err
	}
	if b.Status.ObservedGeneration == m.Generation {
		return nil
	}
	return o.patch(ctx, path+"/status", &b.head, map[string]any{"status": map[string]any{"observedGeneration": m.Generation}})
}

// targetGroup is one of the account's. Targets are its addresses with ports.
type targetGroup struct {
	arn, kind string
	targets   []string
}

// group is the target group of a binding; nil if there is none.
func (o Options) group(b *binding) (found *targetGroup, err error) {
	err = o.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		r := tx.Get(elbv2.TypeTargetGroup, b.Spec.TargetGroupARN)
		if name := b.Spec.TargetGroupName; b.Spec.TargetGroupARN == "" && name != "" {
			r = tx.Find(elbv2.TypeTargetGroup, func(g *account.Resource) bool { return elbv2.GroupName(g.ID) == name })
		}
		if r == nil {
			return nil
		}
		found = &targetGroup{arn: r.ID, kind: "instance"}
		if kind := props.Str(r.Props, "TargetType"); kind != "" {
			found.kind = kind
		}
		for _, t := range elbv2.Look(tx).Groups[r.ID].Targets {
			found.targets = append(found.targets, t.Key())
		}
		return nil
	})
	return found, err
}

// target has a group have some targets and no others. A group is bound as a whole, as
// the controller has it. AWS is asked, and then as the account's role, only where there
// is something to change.
func (o Options) target(ctx context.Context, as identity, g *targetGroup, want []string) error {
	if slices.Equal(slices.Sorted(slices.Values(g.targets)), want) {
		return nil
	}
	by, err := o.as(ctx, as)
	if err != nil {
		return err
	}
	have, err := o.registered(ctx, by, g.arn)
	if err != nil {
		return err
	}
	var errs []error
	for _, change := range []struct {
		operation string
		keys      []string
	}{
		{"DeregisterTargets", slices.DeleteFunc(slices.Clone(have), func(k string) bool { return slices.Contains(want, k) })},
		{"RegisterTargets", slices.DeleteFunc(slices.Clone(want), func(k string) bool { return slices.Contains(have, k) })},
	} {
		if len(change.keys) == 0 {
			continue
		}
		var list []any
		for _, k := range change.keys {
			at := strings.LastIndexByte(k, ':')
			list = append(list, map[string]any{"Id": k[:at], "Port": k[at+1:]})
		}
		_, err := o.aws(ctx, by, "elasticloadbalancing", change.operation, map[string]any{"TargetGroupArn": g.arn, "Targets": list})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// registered are the targets of a group as AWS tells them, without those that are about
// to go.
func (o Options) registered(ctx context.Context, by wire.Credential, arn string) (keys []string, err error) {
	text, err := o.aws(ctx, by, "elasticloadbalancing", "DescribeTargetHealth", map[string]any{"TargetGroupArn": arn})
	if err != nil {
		return nil, err
	}
	var out struct {
		List []struct {
			Target struct{ Id, Port string }
			State  string `xml:"TargetHealth>State"`
		} `xml:"DescribeTargetHealthResult>TargetHealthDescriptions>member"`
	}
	if err := xml.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("read the health of targets: %w", err)
	}
	for _, d := range out.List {
		if d.State != "draining" {
			keys = append(keys, d.Target.Id+":"+d.Target.Port)
		}
	}
	return keys, nil
}

// service and slice are as far as targets come from them.
type service struct {
	Spec struct {
		Ports []struct {
			Name string
			Port int
		}
	} `json:"spec"`
}

type slice struct {
	AddressType string
	Ports       []struct {
		Name string
		Port int
	}
	Endpoints []struct {
		Addresses  []string
		Conditions struct{ Ready *bool }
	}
}

// endpoints are the addresses of the ready pods of a service with the port that one of
// its ports, by number or name, leads to; sorted. A service that isn't there has none.
// https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
func (o Options) endpoints(ctx context.Context, namespace, name string, port any) ([]string, error) {
	var s service
	err := o.ask(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/services/"+name, "", nil, &s)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	which := -1
	for i, p := range s.Spec.Ports {
		number, is := port.(float64)
		if is && float64(p.Port) == number || !is && p.Name == port {
			which = i
		}
	}
	if which < 0 {
		text, err := json.Marshal(port)
		return nil, errors.Join(fmt.Errorf("service %s/%s has no port %s", namespace, name, text), err)
	}
	slicesOf := "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D" + name
	list, err := listOf[slice](ctx, o, slicesOf)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, part := range list {
		for _, p := range part.Ports {
			if p.Name != s.Spec.Ports[which].Name || part.AddressType != "IPv4" {
				continue
			}
			for _, e := range part.Endpoints {
				if ready := e.Conditions.Ready; ready != nil && !*ready {
					continue
				}
				for _, a := range e.Addresses {
					out = append(out, a+":"+strconv.Itoa(p.Port))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
