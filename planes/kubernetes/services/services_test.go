package services_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/poolhouse/poolhouse/planes/kubernetes/network"
	"github.com/poolhouse/poolhouse/planes/kubernetes/services"
)

func service(name string, spec core.ServiceSpec) *core.Service {
	return &core.Service{ObjectMeta: meta.ObjectMeta{Namespace: "default", Name: name}, Spec: spec}
}

func slice(of string, ports []discovery.EndpointPort, endpoints ...discovery.Endpoint) *discovery.EndpointSlice {
	return &discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{Namespace: "default", Name: of + "-x", Labels: map[string]string{discovery.LabelServiceName: of}}, AddressType: discovery.AddressTypeIPv4, Ports: ports, Endpoints: endpoints,
	}
}

func endpoint(address string, c discovery.EndpointConditions) discovery.Endpoint {
	return discovery.Endpoint{Addresses: []string{address}, Conditions: c}
}

// TestOf: services are as the API has them, with the endpoints that take calls.
func TestOf(t *testing.T) {
	t.Parallel()
	udp := core.ProtocolUDP
	named := []discovery.EndpointPort{{Name: new("http"), Port: new(int32(8080))}, {Name: new("dns"), Port: new(int32(5353)), Protocol: &udp}, {Name: new("all")}}
	ready, not := discovery.EndpointConditions{Ready: new(true)}, discovery.EndpointConditions{Ready: new(false), Serving: new(false)}
	ending := discovery.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	hosted := endpoint("10.0.0.2", discovery.EndpointConditions{})
	hosted.Hostname = new("db-0")
	other := slice("web", named, endpoint("2001:db8::1", ready))
	other.AddressType = discovery.AddressTypeIPv6
	got := services.Of(
		[]*core.Service{
			service("kubernetes", core.ServiceSpec{ClusterIP: "172.20.0.1", Ports: []core.ServicePort{{Name: "https", Port: 443}}}),
			service("web", core.ServiceSpec{ClusterIP: "172.20.0.2", SessionAffinity: core.ServiceAffinityClientIP, Ports: []core.ServicePort{{Name: "http", Port: 80, Protocol: core.ProtocolTCP}, {Name: "dns", Port: 53, Protocol: udp}}}),
			service("db", core.ServiceSpec{ClusterIP: core.ClusterIPNone}),
			service("old", core.ServiceSpec{ClusterIP: "172.20.0.3"}),
			service("away", core.ServiceSpec{Type: core.ServiceTypeExternalName, ExternalName: "S3.Amazonaws.com."}),
		},
		[]*discovery.EndpointSlice{
			slice("web", named, endpoint("10.0.0.9", ready), endpoint("10.0.0.1", ready), endpoint("10.0.0.3", not), endpoint("10.0.0.4", ending)),
			slice("db", nil, hosted), slice("old", nil, endpoint("10.0.0.5", not), endpoint("10.0.0.6", ending)), slice("gone", nil, endpoint("10.0.0.7", ready)), other,
		}, "127.0.0.1:6443")
	ip := netip.MustParseAddr
	ports := []network.Port{{Name: "http", Protocol: "tcp", Number: 8080}, {Name: "dns", Protocol: "udp", Number: 5353}}
	want := []network.Service{
		{Namespace: "default", Name: "kubernetes", Address: ip("172.20.0.1"), Ports: []network.Port{{Name: "https", Protocol: "tcp", Number: 443}}, Host: "127.0.0.1:6443"},
		{
			Namespace: "default", Name: "web", Address: ip("172.20.0.2"), Sticky: true, Ports: []network.Port{{Name: "http", Protocol: "tcp", Number: 80}, {Name: "dns", Protocol: "udp", Number: 53}},
			Endpoints: []network.Endpoint{{Address: ip("10.0.0.1"), Ports: ports}, {Address: ip("10.0.0.9"), Ports: ports}},
		},
		{Namespace: "default", Name: "db", Endpoints: []network.Endpoint{{Address: ip("10.0.0.2"), Hostname: "db-0"}}},
		{Namespace: "default", Name: "old", Address: ip("172.20.0.3"), Endpoints: []network.Endpoint{{Address: ip("10.0.0.6")}}},
		{Namespace: "default", Name: "away", External: "s3.amazonaws.com"},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
}
