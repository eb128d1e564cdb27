// Package services follows the services of a cluster and their endpoints, as
// package network has them.
//
// Limits: services whose proxy is another's, by the label
// service.kubernetes.io/service-proxy-name, are followed all the same.
package services

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/poolhouse/poolhouse/planes/kubernetes/network"
)

// settle is how long changes are waited for that come together.
const settle = 20 * time.Millisecond

// Follow has set told of all services, at first and whenever one of them or an
// endpoint changed, until the context ends. Api is the address of this machine that
// answers for the service kubernetes of the namespace default. What set can't do is
// reported, and tried again with the next change.
func Follow(ctx context.Context, client kubernetes.Interface, api string, set func(context.Context, []network.Service) error, report func(error)) error {
	all := informers.NewSharedInformerFactory(client, 0)
	list, slices := all.Core().V1().Services(), all.Discovery().V1().EndpointSlices()
	changed := make(chan struct{}, 1)
	note := func(any) {
		select {
		case changed <- struct{}{}:
		default: // it is known
		}
	}
	for _, i := range []cache.SharedIndexInformer{list.Informer(), slices.Informer()} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: note, UpdateFunc: func(_, o any) { note(o) }, DeleteFunc: note}); err != nil {
			return fmt.Errorf("follow services: %w", err)
		}
	}
	all.Start(ctx.Done())
	defer all.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), list.Informer().HasSynced, slices.Informer().HasSynced) {
		return nil // the context has ended
	}
	for {
		services, err := list.Lister().List(labels.Everything())
		if err != nil {
			return fmt.Errorf("list services: %w", err)
		}
		endpoints, err := slices.Lister().List(labels.Everything())
		if err != nil {
			return fmt.Errorf("list endpoints: %w", err)
		}
		if err := set(ctx, Of(services, endpoints, api)); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		select {
		case <-ctx.Done():
		case <-time.After(settle):
		}
	}
}

// Of are services with their endpoints.
func Of(list []*core.Service, endpoints []*discovery.EndpointSlice, api string) []network.Service {
	behind := map[string][]*discovery.EndpointSlice{}
	for _, e := range endpoints {
		if e.AddressType == discovery.AddressTypeIPv4 {
			key := e.Namespace + "/" + e.Labels[discovery.LabelServiceName]
			behind[key] = append(behind[key], e)
		}
	}
	var out []network.Service
	for _, s := range list {
		n := network.Service{Namespace: s.Namespace, Name: s.Name, Sticky: s.Spec.SessionAffinity == core.ServiceAffinityClientIP}
		if s.Spec.Type == core.ServiceTypeExternalName {
			n.External = strings.ToLower(strings.TrimSuffix(s.Spec.ExternalName, "."))
			out = append(out, n)
			continue
		}
		if a, err := netip.ParseAddr(s.Spec.ClusterIP); err == nil {
			n.Address = a // a headless service says None
		}
		for _, p := range s.Spec.Ports {
			n.Ports = append(n.Ports, network.Port{Name: p.Name, Protocol: protocol(p.Protocol), Number: uint16(p.Port)})
		}
		if s.Namespace == core.NamespaceDefault && s.Name == "kubernetes" {
			n.Host = api
		}
		n.Endpoints = ready(behind[s.Namespace+"/"+s.Name])
		out = append(out, n)
	}
	return out
}

func protocol(p core.Protocol) string {
	if p == "" {
		p = core.ProtocolTCP
	}
	return strings.ToLower(string(p))
}

// ready are the endpoints that are, or, if none is, those that are about to end and
// serve until then, as kube-proxy has it.
// https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions
func ready(list []*discovery.EndpointSlice) (out []network.Endpoint) {
	var ending []network.Endpoint
	for _, l := range list {
		var ports []network.Port
		for _, p := range l.Ports {
			if p.Port == nil {
				continue
			}
			q := network.Port{Number: uint16(*p.Port), Protocol: protocol("")}
			if p.Name != nil {
				q.Name = *p.Name
			}
			if p.Protocol != nil {
				q.Protocol = protocol(*p.Protocol)
			}
			ports = append(ports, q)
		}
		for _, e := range l.Endpoints {
			is := func(b *bool, unknown bool) bool { return b == nil && unknown || b != nil && *b }
			for _, text := range e.Addresses {
				a, err := netip.ParseAddr(text)
				if err != nil {
					continue // the API has checked it
				}
				n := network.Endpoint{Address: a, Ports: ports}
				if e.Hostname != nil {
					n.Hostname = *e.Hostname
				}
				switch {
				case is(e.Conditions.Ready, true):
					out = append(out, n)
				case is(e.Conditions.Serving, false) && is(e.Conditions.Terminating, false):
					ending = append(ending, n)
				}
			}
		}
	}
	if len(out) == 0 {
		out = ending
	}
	// An order of their own keeps callers at their endpoint.
	slices.SortFunc(out, func(a, b network.Endpoint) int { return a.Address.Compare(b.Address) })
	return out
}
