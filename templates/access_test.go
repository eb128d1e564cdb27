package templates

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// bundle is the sample of the example.
func bundle(t *testing.T) string {
	t.Helper()
	c, err := config.LoadFile("../examples/private-cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c.Trust.Bundle()
}

func through(url string) func(*config.Config) {
	return func(c *config.Config) { c.Proxy.URL = url }
}

// nodeScript is the user data of the nodes, put together as CloudFormation does.
func nodeScript(t *testing.T, d document, id string) string {
	t.Helper()
	value := func(v any) string {
		name := text(at(v, "Ref"))
		s, ok := d.Parameters[name]["Default"].(string)
		if !ok || len(s) > 4096 {
			t.Fatalf("parameter %q has no default that fits: %d characters", name, len(s))
		}
		return s
	}
	data := at(d.Resources[id].Properties, "LaunchTemplateData", "UserData")
	encoded := ""
	if parts, ok := at(data, "Fn::Join", 1).([]any); ok {
		for _, p := range parts {
			encoded += value(p)
		}
	} else {
		encoded = value(data)
	}
	out, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestNodesBehindAProxy(t *testing.T) {
	t.Parallel()
	authority := bundle(t)
	for _, tc := range []struct {
		name    string
		changes []func(*config.Config)
		has     []string
		lacks   []string
	}{
		{"proxy", []func(*config.Config){through("http://proxy.example.com:3128")}, []string{
			"Content-Type: multipart/mixed", "text/x-shellscript", "proxy='http://proxy.example.com:3128'",
			"no='localhost,127.0.0.1,10.80.0.0/16,172.20.0.0/16,169.254.169.254", ".eu-central-1.eks.amazonaws.com",
			"containerd kubelet amazon-ssm-agent", "systemctl daemon-reload",
		}, []string{"ca-trust"}},
		{"authority", []func(*config.Config){func(c *config.Config) { c.Trust.CABundle = authority }}, []string{
			authority, "update-ca-trust\n",
		}, []string{"proxy"}},
		// As much as the configuration lets through.
		{"both, long", []func(*config.Config){through("http://proxy.example.com:3128"), func(c *config.Config) {
			c.Trust.CABundle = strings.Repeat(authority, 6*1024/len(authority))
			c.Proxy.NoProxy = slices.Repeat([]string{strings.Repeat("a", 99)}, 10)
			c.Network.NAT.Mode = config.NATNone
			c.Deviations = map[string]string{architecture.NoNAT: "nothing leaves"}
		}}, []string{"update-ca-trust", "proxy=", "\n--//--\n"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, tc.changes...), architecture.Nodes)
			script := nodeScript(t, d, "CoreLaunchTemplate")
			for _, want := range tc.has {
				if !strings.Contains(script, want) {
					t.Errorf("the script lacks %q:\n%s", want, script)
				}
			}
			for _, no := range tc.lacks {
				if strings.Contains(script, no) {
					t.Errorf("the script has %q:\n%s", no, script)
				}
			}
			// 16 KiB, with room for EKS's own part.
			if len(script) > 12*1024 {
				t.Errorf("user data has %d bytes", len(script))
			}
			if other := nodeScript(t, d, "InterfaceLaunchTemplate"); other != script {
				t.Error("the roles' scripts differ")
			}
			_, body, _ := strings.Cut(script, "#!/bin/bash")
			body, _, _ = strings.Cut("#!/bin/bash"+body, "\n--//--")
			if out, err := exec.Command("bash", "-n", "-c", body).CombinedOutput(); err != nil {
				t.Errorf("bash: %v\n%s", err, out)
			}
		})
	}
	plain := built(t, planned(t), architecture.Nodes)
	if got := at(plain.Resources["CoreLaunchTemplate"].Properties, "LaunchTemplateData", "UserData"); got != nil {
		t.Errorf("nodes that need none have user data: %v", got)
	}
}

func TestGPUNodesBehindAProxy(t *testing.T) {
	t.Parallel()
	a := planned(t, withGPU(config.NodeGroup{Max: 1}), through("http://10.1.2.3:3128"))
	if got := nodeScript(t, built(t, a, architecture.GPU), "GpuLaunchTemplate"); !strings.Contains(got, "proxy='http://10.1.2.3:3128'") {
		t.Errorf("GPU nodes have the script\n%s", got)
	}
}

func TestWayToTheProxy(t *testing.T) {
	t.Parallel()
	const node = "10.80.1.10"
	private := architecture.Private
	for _, tc := range []struct {
		url   string
		rules []string
		peer  string
		port  int
	}{
		{"http://proxy.example.com:3128", []string{
			"out Nodes > 10.0.0.0/8 tcp 3128", "out Nodes > 100.64.0.0/10 tcp 3128",
			"out Nodes > 172.16.0.0/12 tcp 3128", "out Nodes > 192.168.0.0/16 tcp 3128",
		}, "172.17.1.1", 3128},
		{"http://192.168.7.7:80", []string{"out Nodes > 192.168.7.7/32 tcp 80"}, "192.168.7.7", 80},
		{"https://proxy.example.com:443", nil, "172.17.1.1", 443},
	} {
		d := built(t, planned(t, through(tc.url)), architecture.Network)
		var got []string
		before := groupRules(built(t, planned(t), architecture.Network))
		for _, r := range groupRules(d) {
			if !slices.Contains(before, r) {
				got = append(got, r)
			}
		}
		if diff := cmp.Diff(tc.rules, got); diff != "" {
			t.Errorf("%s: rules of security groups, -want +got:\n%s", tc.url, diff)
		}
		for _, p := range []packet{{private, true, tcp, tc.port, tc.peer}, {private, false, tcp, 40000, tc.peer}} {
			if !passes(t, d, p) {
				t.Errorf("%s: the node at %s is stopped at %v", tc.url, node, p)
			}
		}
		if p := (packet{private, true, tcp, tc.port, "198.51.100.9"}); tc.port != 443 && passes(t, d, p) {
			t.Errorf("%s: a public address passes at %v", tc.url, p)
		}
	}
}

// TestRulesOfOtherStacks finds no group that has rules of its own and gets some
// of the same direction from another stack: CloudFormation would take those for
// drift, and an update would remove them.
func TestRulesOfOtherStacks(t *testing.T) {
	t.Parallel()
	a := planned(t, func(c *config.Config) {
		c.Network.NAT = config.NAT{Mode: config.NATInstancePerZone, InstanceType: "t4g.medium"}
		c.Cluster.API.SessionHost = true
		c.Cluster.API.AllowCIDRs = []string{"10.20.0.0/16"}
	})
	groups := built(t, a, architecture.Network)
	others := 0
	for _, s := range a.Stacks {
		if s.Name == architecture.Network {
			continue
		}
		for id, res := range built(t, a, s.Name).Resources {
			direction, ok := strings.CutPrefix(res.Type, "AWS::EC2::SecurityGroup")
			if !ok || direction == "" {
				continue
			}
			// The input is called after the stack and its output.
			group := strings.TrimSuffix(strings.TrimPrefix(strings.Trim(text(res.Properties["GroupId"]), "${}"), "Network"), "Id")
			g, ok := groups.Resources[group]
			if !ok {
				t.Errorf("%s of stack %s is a rule of %s, which stack network does not have", id, s.Name, group)
				continue
			}
			others++
			if g.Properties["SecurityGroup"+direction] != nil {
				t.Errorf("%s has rules of its own, and %s of stack %s adds one", group, id, s.Name)
			}
		}
	}
	if others < 2 {
		t.Errorf("%d rules of other stacks, want those of the session host at least", others)
	}
}

func TestConnectedOperators(t *testing.T) {
	t.Parallel()
	ranges := make([]string, 15)
	for i := range ranges {
		ranges[i] = fmt.Sprintf("10.%d.0.0/16", i+1)
	}
	d := built(t, planned(t, func(c *config.Config) { c.Cluster.API.AllowCIDRs = ranges }), architecture.Network)
	rules := groupRules(d)
	for _, r := range ranges {
		if want := r + " > in ControlPlane tcp 443"; !slices.Contains(rules, want) {
			t.Errorf("there is no rule %s", want)
		}
	}
	control := architecture.ControlPlane
	for _, p := range []packet{{control, false, tcp, 443, "10.15.1.1"}, {control, true, tcp, 50000, "10.15.1.1"}} {
		if !passes(t, d, p) {
			t.Errorf("an operator is stopped at %v", p)
		}
	}
	for _, p := range []packet{{control, false, tcp, 443, "10.16.1.1"}, {control, false, tcp, 22, "10.15.1.1"}} {
		if passes(t, d, p) {
			t.Errorf("%v passes", p)
		}
	}
	entries := map[string]int{}
	for _, id := range d.ofType("AWS::EC2::NetworkAclEntry") {
		e := d.Resources[id].Properties
		entries[text(e["NetworkAclId"])+text(e["Egress"])]++
	}
	if most := slices.Max(slices.Collect(maps.Values(entries))); most > 20 {
		t.Errorf("an ACL has %d entries, and the quota is 20", most)
	}
}

// TestSessionHostInExistingNetwork: it has to get to endpoints or a way out that
// are not ours.
func TestSessionHostInExistingNetwork(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		endpoints []string
		want      int // rules for the way out
		cidr      any // of the last one
	}{
		{nil, 3, "0.0.0.0/0"},
		{[]string{"ssm", "ssmmessages"}, 2, nil},
	} {
		c, err := config.LoadFile("../examples/existing-network.yaml")
		if err != nil {
			t.Fatal(err)
		}
		c.Cluster.API.SessionHost, c.Network.Endpoints = true, tc.endpoints
		a, err := architecture.New(c)
		if err != nil {
			t.Fatal(err)
		}
		rules, _ := at(built(t, a, architecture.SessionHost).properties(t, "SecurityGroup", "AWS::EC2::SecurityGroup"), "SecurityGroupEgress").([]any)
		if len(rules) != tc.want || at(rules, len(rules)-1, "CidrIp") != tc.cidr {
			t.Errorf("endpoints %v: rules %v, want %d, the last one to %v", tc.endpoints, rules, tc.want, tc.cidr)
		}
	}
}

func TestSessionHost(t *testing.T) {
	t.Parallel()
	a := planned(t, func(c *config.Config) { c.Cluster.API.SessionHost = true })
	d := built(t, a, architecture.SessionHost)
	group := d.properties(t, "Group", "AWS::AutoScaling::AutoScalingGroup")
	data := at(d.properties(t, "LaunchTemplate", "AWS::EC2::LaunchTemplate"), "LaunchTemplateData")
	for _, tc := range []struct {
		what string
		got  any
		want string
	}{
		{"smallest size", group["MinSize"], "1"},
		{"largest size", group["MaxSize"], "1"},
		{"subnets", group["VPCZoneIdentifier"], "${NetworkPrivateSubnetIds}"},
		{"tokens", at(data, "MetadataOptions", "HttpTokens"), "required"},
		{"hops", at(data, "MetadataOptions", "HttpPutResponseHopLimit"), "1"},
		{"encryption", at(data, "BlockDeviceMappings", 0, "Ebs", "Encrypted"), "true"},
		{"key", at(data, "BlockDeviceMappings", 0, "Ebs", "KmsKeyId"), "${KeysVolumesKeyArn}"},
		{"key pair", at(data, "KeyName"), ""},
		{"groups", at(data, "SecurityGroupIds"), "${SecurityGroup}"},
		{"role's policies", at(d.properties(t, "Role", "AWS::IAM::Role"), "ManagedPolicyArns"), "arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"},
		{"role's own policies", at(d.properties(t, "Role", "AWS::IAM::Role"), "Policies"), ""},
		{"name", at(group, "Tags", 0, "Value"), a.SessionHostName()},
		{"tags at launch", at(group, "Tags", 0, "PropagateAtLaunch"), "true"},
	} {
		if got := text(tc.got); got != tc.want {
			t.Errorf("%s is %s, want %s", tc.what, got, tc.want)
		}
	}
	want := []string{
		" > in NetworkControlPlaneSecurityGroupId tcp 443", " > in NetworkEndpointsSecurityGroupId tcp 443",
		"out  > NetworkControlPlaneSecurityGroupId tcp 443", "out  > NetworkEndpointsSecurityGroupId tcp 443",
	}
	if diff := cmp.Diff(want, groupRules(d)); diff != "" {
		t.Errorf("rules, -want +got:\n%s", diff)
	}
	// The names by which sessions find their target.
	nodes := built(t, a, architecture.Nodes)
	if got := text(at(nodes.Resources["CoreLaunchTemplate"].Properties, "LaunchTemplateData", "TagSpecifications", 0, "Tags", 0, "Value")); got != a.CoreNodeName() {
		t.Errorf("core nodes are named %s, and sessions look for %s", got, a.CoreNodeName())
	}
}

func TestPublishedProxy(t *testing.T) {
	t.Parallel()
	a := planned(t, through("http://10.1.2.3:3128"), func(c *config.Config) { c.Trust.CABundle = bundle(t) })
	d := built(t, a, architecture.Parameters)
	for id, want := range map[string]string{
		"ProxyUrlEntry":      "http://10.1.2.3:3128",
		"ProxyNoProxyEntry":  strings.Join(a.NoProxy(), ","),
		"TrustCaBundleEntry": a.Config.Trust.Bundle(),
	} {
		if got := text(d.properties(t, id, "AWS::SSM::Parameter")["Value"]); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	if got := text(d.Outputs["CaBundleParameter"]["Value"]); got != "/poolhouse/poolside/trust/ca-bundle" {
		t.Errorf("the output names %q", got)
	}
	plain := built(t, planned(t), architecture.Parameters)
	for id := range plain.Resources {
		if strings.HasPrefix(id, "Proxy") || strings.HasPrefix(id, "Trust") {
			t.Errorf("%s is there without a proxy", id)
		}
	}
}
