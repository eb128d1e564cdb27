package preflight_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/preflight"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The ids of the example, with public subnets besides.
const (
	vpc      = "vpc-0123456789abcdef0"
	control1 = "subnet-0123456789abcdef1"
	control2 = "subnet-0123456789abcdef2"
	control3 = "subnet-0123456789abcdef3"
	private1 = "subnet-0123456789abcdef4"
	private2 = "subnet-0123456789abcdef5"
	public1  = "subnet-0123456789abcdef7"
	public2  = "subnet-0123456789abcdef8"
	public3  = "subnet-0123456789abcdef9"
)

func read(t *testing.T, name string) string {
	t.Helper()
	src, err := os.ReadFile("../examples/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// existing is the example with an internet-facing load balancer and an endpoint
// of the deployment's own.
func existing(t *testing.T) string {
	t.Helper()
	return strings.NewReplacer(
		"scheme: internal, allowCidrs: [10.0.0.0/8]", "scheme: internet-facing, allowCidrs: [203.0.113.0/24]",
		"    vpcId: "+vpc+"\n", "    vpcId: "+vpc+"\n    publicSubnetIds: ["+public1+", "+public2+", "+public3+"]\n",
		"  existing:\n", "  endpoints: [sts]\n  existing:\n",
	).Replace(read(t, "existing-network"))
}

func parse(t *testing.T, src string) *architecture.Architecture {
	t.Helper()
	c, err := config.Parse("deployment.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// given is a sandbox with what a file presupposes.
func given(t *testing.T, a *architecture.Architecture) *sandbox.Sandbox {
	t.Helper()
	box := testkit.Sandbox(t, sandbox.Options{Region: a.Config.Region, Now: time.Now, Fresh: true})
	if _, err := rehearse.Given(box, a); err != nil {
		t.Fatal(err)
	}
	return box
}

func clients(t *testing.T, box *sandbox.Sandbox) *awsapi.Clients {
	t.Helper()
	p := box.Principals()[0]
	c, err := awsapi.New(t.Context(), awsapi.Options{
		Region: box.Region(), Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box),
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hand changes an account behind everybody's back.
type hand struct {
	t  *testing.T
	tx *account.Tx
}

func work(t *testing.T, box *sandbox.Sandbox, f func(hand)) {
	t.Helper()
	err := box.Account().Do(func(tx *account.Tx) error {
		f(hand{t, tx})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (h hand) make(typ string, p map[string]any) *account.Resource {
	h.t.Helper()
	r, _, err := h.tx.Create(typ, p, "somebody", false)
	if err == nil {
		err = h.tx.Settle(r, "create")
	}
	if err != nil {
		h.t.Fatalf("make %s: %v", typ, err)
	}
	return r
}

// table gives a subnet a route table of its own, with S3's endpoint, and the
// default route to a target that is not looked at.
func (h hand) table(subnet, key, target string, s3 bool) {
	h.t.Helper()
	id := h.make(ec2.TypeRouteTable, map[string]any{"VpcId": vpc}).ID
	h.make(ec2.TypeSubnetRouteTableAssociation, map[string]any{"RouteTableId": id, "SubnetId": subnet})
	if key != "" {
		h.tx.Put(&account.Resource{
			Type: ec2.TypeRoute, ID: id + "|0.0.0.0/0", Status: "active",
			Props: map[string]any{"RouteTableId": id, "DestinationCidrBlock": "0.0.0.0/0", key: target},
			Attrs: map[string]any{"CidrBlock": "0.0.0.0/0", "VpcId": vpc},
		})
	}
	if s3 {
		h.make(ec2.TypeVPCEndpoint, map[string]any{"VpcId": vpc, "ServiceName": "com.amazonaws.us-east-1.s3", "VpcEndpointType": "Gateway", "RouteTableIds": []any{id}})
	}
}

func (h hand) subnet(id string) *account.Resource { return h.tx.Get(ec2.TypeSubnet, id) }

// secondary moves a subnet to a secondary range of the VPC, 10.41.0.0/16.
func (h hand) secondary(subnet string) {
	h.t.Helper()
	h.make(ec2.TypeVPCCidrBlock, map[string]any{"VpcId": vpc, "CidrBlock": "10.41.0.0/16"})
	s := h.subnet(subnet)
	s.Props["CidrBlock"], s.Attrs["CidrBlock"] = "10.41.16.0/20", "10.41.16.0/20"
}

func (h hand) zone(subnet, zone string) { h.subnet(subnet).Attrs["AvailabilityZoneId"] = zone }

func (h hand) zoneOf(subnet string) string { return ec2.ZoneOf(h.subnet(subnet)).ID }

// fill leaves a subnet a few addresses.
func (h hand) fill(subnet string, free int) {
	h.t.Helper()
	h.make(ec2.TypeNetworkInterface, map[string]any{"SubnetId": subnet, "SecondaryPrivateIpAddressCount": ec2.AvailableAddresses(h.tx, h.subnet(subnet)) - free - 1})
}

// inspect leads the public subnets to a firewall. The table that leads to the
// internet gateway is left, as the firewall's.
func (h hand) inspect() {
	h.t.Helper()
	for _, s := range []string{public1, public2, public3} {
		for _, a := range h.tx.List(ec2.TypeSubnetRouteTableAssociation) {
			if props.Str(a.Props, "SubnetId") == s {
				h.tx.Drop(a.Type, a.ID)
			}
		}
		r, err := endpoint.Firewall(h.tx, control1)
		if err != nil {
			h.t.Fatal(err)
		}
		h.table(s, "VpcEndpointId", r.ID, true)
	}
}

func (h hand) endpoint(service string) {
	h.t.Helper()
	h.make(ec2.TypeVPCEndpoint, map[string]any{
		"VpcId": vpc, "ServiceName": "com.amazonaws.us-east-1." + service, "VpcEndpointType": "Interface", "PrivateDnsEnabled": true, "SubnetIds": []any{private1},
	})
}

// required makes the endpoints that aren't there.
func (h hand) required(but ...string) {
	for _, s := range architecture.RequiredServices() {
		if !slices.Contains(append(but, "sts", "ecr.api", "ecr.dkr"), s) {
			h.endpoint(s)
		}
	}
}

func (h hand) acl(subnet string) {
	id := h.make(ec2.TypeNetworkACL, map[string]any{"VpcId": vpc}).ID
	h.make(ec2.TypeSubnetNetworkACLAssociation, map[string]any{"SubnetId": subnet, "NetworkAclId": id})
}

// allow gives a subnet a network ACL that lets everything pass to and from a
// range.
func (h hand) allow(subnet, cidr string) {
	h.t.Helper()
	id := h.make(ec2.TypeNetworkACL, map[string]any{"VpcId": vpc}).ID
	for _, egress := range []bool{false, true} {
		h.make(ec2.TypeNetworkACLEntry, map[string]any{"NetworkAclId": id, "RuleNumber": 10, "Protocol": -1, "Egress": egress, "RuleAction": "allow", "CidrBlock": cidr})
	}
	h.make(ec2.TypeSubnetNetworkACLAssociation, map[string]any{"SubnetId": subnet, "NetworkAclId": id})
}

func publicTable(h hand) string {
	return ec2.RouteTableOf(h.tx, h.subnet(public1)).ID
}

// faultsOf wants an error to be faults.
func faultsOf(t *testing.T, err error) config.Faults {
	t.Helper()
	var fs config.Faults
	if err != nil && !errors.As(err, &fs) {
		t.Fatalf("got %v, want faults", err)
	}
	return fs
}

type mutation struct {
	name     string
	old, new string // what is replaced in the file
	change   func(hand)
	path     string
	reason   string // what it contains
	fix      string
}

func mutations() []mutation {
	const at = "network.existing."
	const proxy = "proxy: {url: http://10.1.2.3:3128}\naccess:"
	reachable := "    adminGroup:"
	return []mutation{
		{"no VPC", "", "", func(h hand) { h.tx.Drop(ec2.TypeVPC, vpc) }, at + "vpcId", vpc + " does not exist in us-east-1", "this account and region"},
		{"another range", "10.40.0.0/16", "10.41.0.0/16", nil, "network.cidr", "is 10.41.0.0/16, and the primary range of " + vpc + " is 10.40.0.0/16", "write 10.40.0.0/16"},
		{"no DNS", "", "", func(h hand) {
			p := h.tx.Get(ec2.TypeVPC, vpc).Props
			p["EnableDnsSupport"], p["EnableDnsHostnames"] = false, false
		}, at + "vpcId", "has no DNS support", "--enable-dns-support"},
		{"no host names", "", "", func(h hand) { h.tx.Get(ec2.TypeVPC, vpc).Props["EnableDnsHostnames"] = false }, at + "vpcId", "has no DNS host names", "--enable-dns-hostnames"},
		{"endpoints in another account's VPC", "", "", func(h hand) { h.tx.Get(ec2.TypeVPC, vpc).Data["owner"] = "210987654321" }, "network.endpoints", "belongs to account 210987654321, which alone can make endpoints", "its owner"},
		{"flow logs in another account's VPC", "  endpoints: [sts]\n", "  flowLogs: {enabled: true}\n", func(h hand) { h.tx.Get(ec2.TypeVPC, vpc).Data["owner"] = "210987654321" }, "network.flowLogs.enabled", "belongs to account 210987654321", "false"},

		{"no subnet", "", "", func(h hand) { h.tx.Drop(ec2.TypeSubnet, private2) }, at + "privateSubnetIds[1]", private2 + " does not exist in us-east-1", "a subnet of " + vpc},
		{"a subnet elsewhere", "", "", func(h hand) {
			h.subnet(control2).Props["VpcId"], h.subnet(control2).Attrs["VpcId"] = "vpc-0aaaaaaaaaaaaaaaa", "vpc-0aaaaaaaaaaaaaaaa"
		}, at + "controlPlaneSubnetIds[1]", control2 + " belongs to vpc-0aaaaaaaaaaaaaaaa", "a subnet of " + vpc},
		{"two private subnets in a zone", "", "", func(h hand) { h.zone(private2, h.zoneOf(private1)) }, at + "privateSubnetIds[1]", "as " + at + "privateSubnetIds[0] is", "another zone"},
		{"two control-plane subnets in a zone", "", "", func(h hand) { h.zone(control3, h.zoneOf(control1)) }, at + "controlPlaneSubnetIds[2]", "as " + at + "controlPlaneSubnetIds[0] is", "another zone"},
		{"a zone without EKS", "", "", func(h hand) { h.zone(control3, "use1-az3") }, at + "controlPlaneSubnetIds[2]", "is in use1-az3, where EKS places no control plane", "another zone"},
		{"control plane in another zone", "", "", func(h hand) { h.zone(control3, "use1-az6") }, at + "controlPlaneSubnetIds", "has no subnet in use1-az4, where there are private ones", "each zone"},
		{"public subnet in another zone", "", "", func(h hand) { h.zone(public3, "use1-az6") }, at + "publicSubnetIds", "has no subnet in use1-az4", "each zone"},
		{"another order", "", "", func(h hand) {
			first, second := h.zoneOf(control1), h.zoneOf(control2)
			h.zone(control1, second)
			h.zone(control2, first)
		}, at + "controlPlaneSubnetIds", "is in the order use1-az2, use1-az1, use1-az4, and the private subnets in use1-az1, use1-az2, use1-az4", "list them as " + control2 + ", " + control1 + ", " + control3},
		{"control plane full", "", "", func(h hand) { h.fill(control1, 15) }, at + "controlPlaneSubnetIds[0]", control1 + " has 15 free addresses, and EKS wants 16", "larger"},
		{"private subnet full", "", "", func(h hand) { h.fill(private2, 100) }, at + "privateSubnetIds[1]", private2 + " has 100 free addresses, and its nodes", "lower max"},
		{"public subnet full", "", "", func(h hand) { h.fill(public2, 7) }, at + "publicSubnetIds[1]", public2 + " has 7 free addresses, and its load balancers may need 8", "larger"},
		{"reservation elsewhere", "access:", "compute:\n  - {role: gpu, reservation: {id: cr-0123456789abcdef0, zoneId: use1-az6}}\naccess:", nil, "compute[gpu].reservation.zoneId", "use1-az6 has no private subnet", "in that zone"},

		{"public subnet without gateway", "", "", func(h hand) { h.table(public2, "", "", true) }, at + "publicSubnetIds[1]", public2 + " has no default route to an internet gateway", "a public subnet"},
		{"public subnet behind NAT", "", "", func(h hand) { h.table(public2, "NatGatewayId", "nat-0aaaaaaaaaaaaaaaa", true) }, at + "publicSubnetIds[1]", "has no default route to an internet gateway", "a public subnet"},
		{"firewall gone", "", "", func(h hand) { h.table(public2, "VpcEndpointId", "vpce-0aaaaaaaaaaaaaaaa", true) }, at + "publicSubnetIds[1]", "leads to vpce-0aaaaaaaaaaaaaaaa, which is gone", "correct the route"},
		{"internet gateway gone", "", "", func(h hand) { h.table(public2, "GatewayId", "igw-0aaaaaaaaaaaaaaaa", true) }, at + "publicSubnetIds[1]", "leads to igw-0aaaaaaaaaaaaaaaa, which is gone", "attach"},
		{"private subnet that is public", "", "", func(h hand) {
			h.make(ec2.TypeSubnetRouteTableAssociation, map[string]any{"RouteTableId": publicTable(h), "SubnetId": private2})
		}, at + "privateSubnetIds[1]", private2 + " is public", "can't reach"},
		{"control plane that is public", "", "", func(h hand) {
			h.make(ec2.TypeSubnetRouteTableAssociation, map[string]any{"RouteTableId": publicTable(h), "SubnetId": control2})
		}, at + "controlPlaneSubnetIds[1]", control2 + " is public", "can't reach"},
		{"NAT gone", "", "", func(h hand) { h.table(private2, "NatGatewayId", "nat-0aaaaaaaaaaaaaaaa", true) }, at + "privateSubnetIds[1]", "leads to nat-0aaaaaaaaaaaaaaaa, which is gone", "correct"},
		{"no way and no endpoints", reachable, "    reachableInternally: true\n" + reachable, func(h hand) { h.table(private2, "", "", true) }, at + "privateSubnetIds", "no default route in " + private2 + ", and no endpoint with private names for autoscaling, ec2, eks", "network.endpoints"},
		{"no way to the provider", "", "", func(h hand) {
			h.table(private2, "", "", true)
			h.required()
		}, "access.sso.reachableInternally", "an internal load balancer has no default route to the identity provider in " + private2, "set it to true"},
		{"no way to S3", reachable, "    reachableInternally: true\n" + reachable, func(h hand) {
			h.table(private2, "", "", false)
			h.required()
		}, at + "privateSubnetIds[1]", private2 + " has no way to S3", "gateway endpoint for S3"},

		{"secondary range and a proxy", "access:", proxy, func(h hand) { h.secondary(private2) }, at + "privateSubnetIds[1]", private2 + " has 10.41.16.0/20, outside of network.cidr and proxy.noProxy", "write the range into proxy.noProxy: 10.41.0.0/16"},
		{"endpoint that is there", "", "", func(h hand) { h.endpoint("sts") }, "network.endpoints[0]", "is an endpoint for sts already", "remove it"},
		{"network ACL without entries", "", "", func(h hand) { h.acl(private2) }, at + "privateSubnetIds[1]", "of " + private2 + " lets no HTTPS out (TCP 443)", "443 and 1024"},
		{"network ACL for another network", "", "", func(h hand) {
			h.secondary(private2)
			h.allow(private2, "10.42.0.0/16")
		}, at + "privateSubnetIds[1]", "of " + private2 + " lets no HTTPS out (TCP 443)", "443 and 1024"},
		{"network ACL of the control plane", "", "", func(h hand) { h.acl(control1) }, at + "controlPlaneSubnetIds[0]", "of " + control1 + " lets no HTTPS in", "443 and 1024"},
	}
}

// TestEachFaultAlone makes one thing wrong at a time, and wants that fault and
// no other.
func TestEachFaultAlone(t *testing.T) {
	t.Parallel()
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			src := existing(t)
			box := given(t, parse(t, src))
			if m.change != nil {
				work(t, box, m.change)
			}
			if m.old != "" {
				if !strings.Contains(src, m.old) {
					t.Fatalf("%q is not in the file", m.old)
				}
				src = strings.Replace(src, m.old, m.new, 1)
			}
			_, err := preflight.Network(t.Context(), clients(t, box), parse(t, src), preflight.Options{})
			fs := faultsOf(t, err)
			if len(fs) != 1 {
				t.Fatalf("got %d faults, want 1: %v", len(fs), err)
			}
			if f := fs[0]; f.Path != m.path || !strings.Contains(f.Reason, m.reason) || !strings.Contains(f.Fix, m.fix) || f.Line == 0 {
				t.Errorf("got %v\n  fix: %s\nwant %s: %s\n  fix: %s", f, f.Fix, m.path, m.reason, m.fix)
			}
		})
	}
}

// TestFirewallThatLeadsNowhere: it makes no subnet public.
func TestFirewallThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"no gateway": "", "a gateway that is detached": "GatewayId"} {
		a := parse(t, existing(t))
		box := given(t, a)
		work(t, box, func(h hand) {
			table := publicTable(h)
			h.inspect()
			for _, r := range ec2.Routes(h.tx, table) {
				if key == "" {
					h.tx.Drop(r.Type, r.ID)
				} else {
					r.Props[key] = "igw-0aaaaaaaaaaaaaaaa"
				}
			}
		})
		_, err := preflight.Network(t.Context(), clients(t, box), a, preflight.Options{})
		if fs := faultsOf(t, err); len(fs) != 3 || !strings.Contains(err.Error(), "has no default route to an internet gateway") {
			t.Errorf("%s: got %v, want a fault of each public subnet", name, err)
		}
	}
}

// TestS3AroundTheProxy: S3 is never asked for through the proxy, so it needs a way
// of its own, in a shared VPC too.
func TestS3AroundTheProxy(t *testing.T) {
	t.Parallel()
	const proxy = "proxy: {url: http://10.1.2.3:3128}\n"
	for _, tc := range []struct {
		name   string
		more   string
		shared bool
		s3     bool
		reason string
	}{
		{"own VPC", proxy, false, false, private2 + " has no way to S3, around the proxy: "},
		{"own VPC, gateway endpoint", proxy, false, true, ""},
		{"own VPC, no proxy", "", false, false, private2 + " has no way to S3: "},
		{"shared VPC", proxy, true, false, private2 + " has no way to S3, around the proxy: "},
		{"shared VPC, gateway endpoint", proxy, true, true, ""},
		{"shared VPC, no proxy", "", true, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			src := strings.NewReplacer("    adminGroup:", "    reachableInternally: true\n    adminGroup:", "  endpoints: [sts]\n", "").Replace(existing(t)) + tc.more
			a := parse(t, src)
			box := given(t, a)
			work(t, box, func(h hand) {
				h.table(private2, "", "", tc.s3)
				h.required()
				h.endpoint("sts")
				if tc.shared {
					h.tx.Get(ec2.TypeVPC, vpc).Data["owner"] = "210987654321"
				}
			})
			_, err := preflight.Network(t.Context(), clients(t, box), a, preflight.Options{})
			fs := faultsOf(t, err)
			if tc.reason == "" && len(fs) == 0 {
				return
			}
			if len(fs) != 1 || tc.reason == "" || fs[0].Path != "network.existing.privateSubnetIds[1]" || !strings.Contains(fs[0].Reason, tc.reason) {
				t.Errorf("got %v, want %q", err, tc.reason)
			}
		})
	}
}

// TestSecondaryRange: without a proxy, or with the range in noProxy, whole or in
// parts, it will do.
func TestSecondaryRange(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{
		"", "proxy: {url: http://10.1.2.3:3128, noProxy: [10.41.0.0/16]}\n", "proxy: {url: http://10.1.2.3:3128, noProxy: [10.41.16.0/21, .example.com, 10.41.24.0/21]}\n",
	} {
		a := parse(t, existing(t)+proxy)
		box := given(t, a)
		work(t, box, func(h hand) { h.secondary(private2) })
		if _, err := preflight.Network(t.Context(), clients(t, box), a, preflight.Options{}); err != nil {
			t.Errorf("%q: %v", proxy, err)
		}
	}
}

// TestSessionHost: it uses what the network has, be it endpoints or a way out.
func TestSessionHost(t *testing.T) {
	t.Parallel()
	src := strings.NewReplacer(
		"  administrators:", "  api: {sessionHost: true}\n  administrators:", "    adminGroup:", "    reachableInternally: true\n    adminGroup:",
	).Replace(existing(t))
	for name, tc := range map[string]struct {
		change func(hand)
		reason string
	}{
		"a way out": {func(hand) {}, ""},
		"a way out, and endpoints": {func(h hand) {
			h.endpoint("ssm")
			h.endpoint("ssmmessages")
		}, ""},
		"endpoints": {func(h hand) {
			h.table(private2, "", "", true)
			h.required()
		}, ""},
		"one endpoint": {func(h hand) {
			h.table(private2, "", "", true)
			h.required("ssmmessages")
		}, "the session host has no way to Systems Manager: no default route in " + private2 + ", and no endpoint with private names for ssmmessages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := parse(t, src)
			box := given(t, a)
			work(t, box, tc.change)
			_, err := preflight.Network(t.Context(), clients(t, box), a, preflight.Options{})
			fs := faultsOf(t, err)
			if tc.reason == "" && len(fs) == 0 {
				return
			}
			if len(fs) != 1 || tc.reason == "" || fs[0].Path != "cluster.api.sessionHost" || fs[0].Line == 0 || !strings.Contains(fs[0].Reason, tc.reason) {
				t.Errorf("got %v, want %q", err, tc.reason)
			}
		})
	}
}

// TestFaultsAllAtOnce makes several things wrong that have nothing to do with
// each other.
func TestFaultsAllAtOnce(t *testing.T) {
	t.Parallel()
	a := parse(t, existing(t))
	box := given(t, a)
	want := map[string]bool{}
	all := mutations()
	for _, name := range []string{"control plane full", "private subnet full", "public subnet without gateway", "endpoint that is there", "control plane that is public", "no DNS"} {
		m := all[slices.IndexFunc(all, func(m mutation) bool { return m.name == name })]
		work(t, box, m.change)
		want[m.path] = true
	}
	_, err := preflight.Network(t.Context(), clients(t, box), a, preflight.Options{})
	got := map[string]bool{}
	for _, f := range faultsOf(t, err) {
		got[f.Path] = true
	}
	if len(want) != 6 || len(got) != len(want) {
		t.Errorf("got %d faults, want %d:\n%v", len(got), len(want), err)
	}
	// Taken addresses may be the deployment's own once it has begun.
	_, err = preflight.Network(t.Context(), clients(t, box), a, preflight.Options{Begun: true})
	if fs := faultsOf(t, err); len(fs) != 4 {
		t.Errorf("got %d faults of a deployment that has begun, want 4:\n%v", len(fs), err)
	}
}

// TestNetworkThatWillDo looks at networks that have nothing wrong with them.
func TestNetworkThatWillDo(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(hand){
		"as it is": func(hand) {},
		"firewall": func(h hand) {
			r, err := endpoint.Firewall(h.tx, control1)
			if err != nil {
				h.t.Fatal(err)
			}
			h.table(private1, "VpcEndpointId", r.ID, true)
		},
		"a firewall before the internet gateway": func(h hand) {
			h.inspect()
		},
		"two halves of everything": func(h hand) {
			table := ec2.RouteTableOf(h.tx, h.subnet(private1)).ID
			for _, r := range ec2.Routes(h.tx, table) {
				h.tx.Drop(r.Type, r.ID)
				for _, half := range []string{"0.0.0.0/1", "128.0.0.0/1"} {
					h.make(ec2.TypeRoute, map[string]any{"RouteTableId": table, "DestinationCidrBlock": half, "TransitGatewayId": r.Props["TransitGatewayId"]})
				}
			}
		},
		"an endpoint without private names": func(h hand) {
			h.make(ec2.TypeVPCEndpoint, map[string]any{"VpcId": vpc, "ServiceName": "com.amazonaws.us-east-1.sts", "VpcEndpointType": "Interface", "SubnetIds": []any{private1}})
		},
		"a network ACL for a secondary range": func(h hand) {
			h.secondary(private2)
			h.allow(private2, "10.41.0.0/16")
		},
		"a network ACL that denies others": func(h hand) {
			id := h.make(ec2.TypeNetworkACL, map[string]any{"VpcId": vpc}).ID
			for _, egress := range []bool{false, true} {
				h.make(ec2.TypeNetworkACLEntry, map[string]any{"NetworkAclId": id, "RuleNumber": 10, "Protocol": -1, "Egress": egress, "RuleAction": "deny", "CidrBlock": "198.51.100.0/24"})
				h.make(ec2.TypeNetworkACLEntry, map[string]any{"NetworkAclId": id, "RuleNumber": 20, "Protocol": 6, "Egress": egress, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0", "PortRange": map[string]any{"From": 443, "To": 65535}})
			}
			h.make(ec2.TypeSubnetNetworkACLAssociation, map[string]any{"SubnetId": private2, "NetworkAclId": id})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := parse(t, existing(t))
			box := given(t, a)
			work(t, box, change)
			before := testkit.Dump(box.Account())
			r, err := preflight.Network(t.Context(), clients(t, box), a, preflight.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Zones) != 3 || r.Zones[2] != (preflight.Zone{ID: "use1-az4", Name: "us-east-1d"}) {
				t.Errorf("zones are %+v", r.Zones)
			}
			if len(r.Advice) != 0 {
				t.Errorf("advice: %v", r.Advice)
			}
			if diff := testkit.DiffDumps(before, testkit.Dump(box.Account())); diff != "" {
				t.Errorf("the look changed the account:\n%s", diff)
			}
		})
	}
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	a := parse(t, existing(t))
	box := given(t, a)
	work(t, box, func(h hand) {
		h.subnet(private1).Tags = nil
		h.subnet(public2).Tags = nil
		h.subnet(control1).Props["MapPublicIpOnLaunch"] = true
		for _, e := range h.tx.List(ec2.TypeVPCEndpoint) {
			if props.Str(e.Props, "VpcEndpointType") == "Gateway" {
				h.tx.Drop(e.Type, e.ID)
			}
		}
	})
	r, err := preflight.Network(t.Context(), clients(t, box), a, preflight.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Advice {
		got = append(got, strings.TrimPrefix(f.Path, "network.existing.")+" "+strings.Join(strings.Fields(f.Reason)[1:4], " "))
	}
	slices.Sort(got)
	want := []string{
		"controlPlaneSubnetIds[0] gives public addresses",
		"privateSubnetIds[0] has no tag", "privateSubnetIds[0] reaches S3 through", "privateSubnetIds[1] reaches S3 through", "privateSubnetIds[2] reaches S3 through",
		"publicSubnetIds[1] has no tag",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTargets looks at what the routes of a network of the deployment's own
// lead to.
func TestTargets(t *testing.T) {
	t.Parallel()
	const (
		gateway = "tgw-0123456789abcdef0"
		options = "  transitGateway: {id: " + gateway + ", cidrs: [10.0.0.0/8]}\n"
	)
	hub := func(more map[string]any) func(hand, string) string {
		return func(h hand, _ string) string {
			p := map[string]any{"Description": "hub"}
			for k, v := range more {
				p[k] = v
			}
			return h.make(ec2.TypeTransitGateway, p).ID
		}
	}
	peering := func(h hand, vpc string) string {
		return h.make(ec2.TypeVPCPeeringConnection, map[string]any{"VpcId": vpc, "PeerVpcId": "vpc-0aaaaaaaaaaaaaaaa"}).ID
	}
	elsewhere := func(h hand) string { return h.make(ec2.TypeVPC, map[string]any{"CidrBlock": "10.9.0.0/16"}).ID }
	subnet := func(h hand, vpc, cidr string) string {
		return h.make(ec2.TypeSubnet, map[string]any{"VpcId": vpc, "CidrBlock": cidr}).ID
	}
	for _, tc := range []struct {
		name string
		// make makes what the file names, of the deployment's own VPC or beside
		// it, and returns its id.
		make   func(h hand, own string) string
		route  bool // the file names it as the target of a route
		fresh  bool // the deployment is not there yet
		path   string
		reason string
	}{
		{"transit gateway", hub(nil), false, true, "", ""},
		{"no transit gateway", func(hand, string) string { return gateway }, false, true, "network.transitGateway.id", "does not exist in us-east-1"},
		{"transit gateway that is made", func(h hand, own string) string {
			id := hub(nil)(h, own)
			h.tx.Get(ec2.TypeTransitGateway, id).Status = "pending"
			return id
		}, false, true, "network.transitGateway.id", "is pending"},
		{"another account's transit gateway", hub(map[string]any{"OwnerId": "210987654321"}), false, true, "network.transitGateway.id", "accepts no attachment by itself"},
		{"another account's open transit gateway", hub(map[string]any{"OwnerId": "210987654321", "AutoAcceptSharedAttachments": "enable"}), false, true, "", ""},
		{"another account's transit gateway that accepted", func(h hand, own string) string {
			id := hub(map[string]any{"OwnerId": "210987654321"})(h, own)
			a := h.make(ec2.TypeTransitGatewayAttachment, map[string]any{"TransitGatewayId": id, "VpcId": own, "SubnetIds": []any{subnet(h, own, "10.80.1.0/24")}})
			a.Status = "available"
			return id
		}, false, false, "", ""},

		{"peering", peering, true, false, "", ""},
		{"peering before there is a VPC", peering, true, true, "network.routes[0].target", "can't be connected with the VPC, which is not there yet"},
		{"no peering", func(hand, string) string { return "pcx-0aaaaaaaaaaaaaaaa" }, true, false, "network.routes[0].target", "does not exist"},
		{"peering that waits", func(h hand, own string) string {
			id := peering(h, own)
			h.tx.Get(ec2.TypeVPCPeeringConnection, id).Status = "pending-acceptance"
			return id
		}, true, false, "network.routes[0].target", "is not active"},
		{"peering of others", func(h hand, _ string) string { return peering(h, elsewhere(h)) }, true, false, "network.routes[0].target", "is not connected with the VPC"},
		{"transit gateway of a route", func(h hand, own string) string {
			id := hub(nil)(h, own)
			h.make(ec2.TypeTransitGatewayAttachment, map[string]any{"TransitGatewayId": id, "VpcId": own, "SubnetIds": []any{subnet(h, own, "10.80.1.0/24")}})
			return id
		}, true, false, "", ""},
		{"transit gateway without attachment", hub(nil), true, false, "network.routes[0].target", "is not connected with the VPC"},
		{"virtual private gateway", func(h hand, own string) string {
			id := h.make(ec2.TypeVPNGateway, map[string]any{}).ID
			h.make(ec2.TypeVPCGatewayAttachment, map[string]any{"VpcId": own, "VpnGatewayId": id})
			return id
		}, true, false, "", ""},
		{"virtual private gateway without attachment", func(h hand, _ string) string { return h.make(ec2.TypeVPNGateway, map[string]any{}).ID }, true, false, "network.routes[0].target", "is not connected with the VPC"},
		{"interface", func(h hand, own string) string {
			return h.make(ec2.TypeNetworkInterface, map[string]any{"SubnetId": subnet(h, own, "10.80.1.0/24")}).ID
		}, true, false, "", ""},
		{"interface elsewhere", func(h hand, _ string) string {
			return h.make(ec2.TypeNetworkInterface, map[string]any{"SubnetId": subnet(h, elsewhere(h), "10.9.1.0/24")}).ID
		}, true, false, "network.routes[0].target", "is not in the VPC"},
		{"firewall", func(h hand, own string) string {
			r, err := endpoint.Firewall(h.tx, subnet(h, own, "10.80.1.0/24"))
			if err != nil {
				h.t.Fatal(err)
			}
			return r.ID
		}, true, false, "", ""},
		{"AWS's endpoint", func(h hand, own string) string {
			return h.make(ec2.TypeVPCEndpoint, map[string]any{"VpcId": own, "ServiceName": "com.amazonaws.us-east-1.ec2", "VpcEndpointType": "Interface", "SubnetIds": []any{subnet(h, own, "10.80.1.0/24")}}).ID
		}, true, false, "network.routes[0].target", "is no endpoint of a firewall"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			box := testkit.Sandbox(t, sandbox.Options{Region: "us-east-1", Now: time.Now, Fresh: true})
			var id, own string
			work(t, box, func(h hand) {
				own = h.make(ec2.TypeVPC, map[string]any{"CidrBlock": "10.80.0.0/16", "EnableDnsHostnames": true}).ID
				id = tc.make(h, own)
			})
			lines := strings.ReplaceAll(options, gateway, id)
			if tc.route {
				lines = "  routes: [{cidr: 192.168.0.0/16, target: " + id + "}]\n"
			}
			a := parse(t, strings.Replace(read(t, "production"), "  cidr: 10.80.0.0/16\n", "  cidr: 10.80.0.0/16\n"+lines, 1))
			o := preflight.Options{VPC: own}
			if tc.fresh {
				o.VPC = ""
			}
			_, err := preflight.Network(t.Context(), clients(t, box), a, o)
			fs := faultsOf(t, err)
			switch {
			case tc.path == "" && err != nil:
				t.Errorf("got %v, want no fault", err)
			case tc.path != "" && (len(fs) != 1 || fs[0].Path != tc.path || !strings.Contains(fs[0].Reason, tc.reason)):
				t.Errorf("got %v, want %s: %s", err, tc.path, tc.reason)
			}
		})
	}
}

// TestNoLookWithoutNeed: a network that names nothing costs no call.
func TestNoLookWithoutNeed(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{Region: "us-east-1", Now: time.Now, OnCall: func(c sandbox.Call) { t.Errorf("%s.%s was called", c.Service, c.Operation) }})
	if _, err := preflight.Network(t.Context(), clients(t, box), parse(t, read(t, "production")), preflight.Options{}); err != nil {
		t.Error(err)
	}
}
