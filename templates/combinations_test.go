package templates

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// TestEveryCombination builds all templates of choices that no example makes
// together.
func TestEveryCombination(t *testing.T) {
	t.Parallel()
	base := *planned(t).Config
	authority := bundle(t)
	rapid.Check(t, func(t *rapid.T) {
		c := base
		yes := func(what string) bool { return rapid.Bool().Draw(t, what) }
		c.Region = rapid.SampledFrom([]string{"us-east-1", "us-west-1", "us-gov-west-1", "ap-northeast-1"}).Draw(t, "region")
		c.Profile = rapid.SampledFrom([]config.Profile{config.Evaluation, config.Production}).Draw(t, "profile")
		c.Network.Zones = rapid.IntRange(2, architecture.RegionZones(c.Region)).Draw(t, "zones")
		c.Network.NAT.Mode = rapid.SampledFrom([]config.NATMode{
			config.NATGatewayPerZone, config.NATSingleGateway, config.NATInstancePerZone, config.NATSingleInstance, config.NATNone,
		}).Draw(t, "nat")
		c.Network.FlowLogs.Enabled = yes("flow logs")
		c.Access.Web.Scheme = rapid.SampledFrom([]string{config.SchemeInternal, config.SchemeInternetFacing}).Draw(t, "web")
		c.Access.Admin.Scheme = rapid.SampledFrom([]string{config.SchemeInternal, config.SchemeInternetFacing}).Draw(t, "admin")
		c.Access.SSO.Enabled = yes("sso")
		c.Backups.Enabled = yes("backups")
		c.WAF.Enabled = yes("waf")
		c.Database.MultiAZ = yes("multi-az")
		c.Database.MonitoringSeconds = rapid.SampledFrom([]int{0, 60}).Draw(t, "monitoring")
		if yes("restore") {
			c.Database.Snapshot = "poolside-before"
		}
		if yes("boundary") {
			c.PermissionBoundary = "arn:aws:iam::123456789012:policy/boundary"
		}
		switch rapid.IntRange(0, 2).Draw(t, "dns") {
		case 0:
			c.DNS = config.DNS{Mode: config.DNSExistingZone, ZoneID: "Z0123456789ABCDEFGHIJ"}
		case 1:
			c.DNS = config.DNS{Mode: config.DNSNone}
			c.Certificate.ARN = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
		}
		c.Cluster.API.SessionHost = yes("session host")
		if yes("connected") {
			c.Cluster.API.AllowCIDRs = []string{"10.20.0.0/16"}
		}
		if yes("proxy") {
			c.Proxy.URL = rapid.SampledFrom([]string{"http://proxy.example.com:3128", "https://10.1.2.3:443"}).Draw(t, "url")
		}
		if yes("authority") {
			c.Trust.CABundle = authority
		}
		c.Compute = append([]config.NodeGroup{}, base.Compute...)
		if yes("merged") {
			c.Compute = c.Compute[:2]
			c.Compute[1].Also = []config.Role{config.Interface}
		}
		switch rapid.IntRange(0, 3).Draw(t, "gpu") {
		case 0:
			c.Compute = append(c.Compute, config.NodeGroup{Role: config.GPU, InstanceTypes: []string{"p5e.48xlarge"}, DiskGiB: 500, Max: 4})
		case 1, 2:
			c.Compute = append(c.Compute, config.NodeGroup{
				Role: config.GPU, InstanceTypes: []string{"p5e.48xlarge"}, DiskGiB: 500, Max: 1,
				Reservation: config.Reservation{ID: "cr-0123456789abcdef0", ZoneID: "use1-az4", CapacityBlock: yes("block")},
			})
		}
		switch rapid.IntRange(0, 2).Draw(t, "network") {
		case 0:
			ids := func(n, first int) []string {
				var out []string
				for i := range n {
					out = append(out, fmt.Sprintf("subnet-0123456789abcde%02d", first+i))
				}
				return out
			}
			c.Network = config.Network{
				CIDR: "10.40.0.0/22", Zones: c.Network.Zones, FlowLogs: c.Network.FlowLogs,
				Existing: config.Existing{
					VPCID: "vpc-0123456789abcdef0", PublicSubnetIDs: ids(c.Network.Zones, 10), PrivateSubnetIDs: ids(c.Network.Zones, 20),
					ControlPlaneSubnetIDs: ids(rapid.IntRange(c.Network.Zones, 3).Draw(t, "control plane"), 30),
				},
			}
			if yes("endpoints") {
				c.Network.Endpoints = []string{"ecr.api", "sts"}
			}
		case 1:
			if yes("pods") {
				c.Network.PodCIDR = "100.64.0.0/16"
			}
			if yes("transit") {
				c.Network.TransitGateway = config.TransitGateway{ID: "tgw-0123456789abcdef0", CIDRs: []string{"10.0.0.0/8"}}
				if c.Network.NAT.Mode == config.NATNone {
					c.Network.TransitGateway.CIDRs = append(c.Network.TransitGateway.CIDRs, "0.0.0.0/0")
				}
			}
			for i, kind := range []string{"pcx", "vgw", "tgw", "eni", "vpce"} {
				if yes(kind) {
					c.Network.Routes = append(c.Network.Routes, config.Route{CIDR: fmt.Sprintf("192.168.%d.0/24", i), Target: kind + "-0123456789abcdef0"})
				}
			}
		}
		c.Deviations = map[string]string{}
		for _, id := range architecture.DeviationIDs() {
			c.Deviations[id] = "because we chose so"
		}
		a, err := architecture.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		stacks, err := All(a)
		if err != nil {
			t.Fatal(err)
		}
		if len(stacks) != len(a.Stacks) {
			t.Errorf("%d templates for %d stacks", len(stacks), len(a.Stacks))
		}
	})
}
