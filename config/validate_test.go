package config_test

import (
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/config"
)

// fault is one change to an example, and the one fault that it makes.
type fault struct {
	name     string
	old, new string // what is replaced in the example
	path     string
	reason   string // how it begins
	fix      string // what it contains
	at       string // in the line that the fault names
}

func runFaults(t *testing.T, file string, cases []fault) {
	t.Helper()
	base := example(t, file)
	parse(t, base)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(base, c.old) == 0 {
				t.Fatalf("%q is not in %s", c.old, file)
			}
			src := strings.Replace(base, c.old, c.new, 1)
			_, err := config.Parse("deployment.yaml", []byte(src))
			fs := faults(t, err)
			if len(fs) != 1 {
				t.Fatalf("got %d faults, want 1:\n%v", len(fs), err)
			}
			got := fs[0]
			if got.Path != c.path || !strings.HasPrefix(got.Reason, c.reason) || !strings.Contains(got.Fix, c.fix) {
				t.Errorf("got %s\n  fix: %s\nwant %s: %s\n  fix: %s", got, got.Fix, c.path, c.reason, c.fix)
			}
			if got.File != "deployment.yaml" || got.Line < 1 || got.Column < 1 {
				t.Fatalf("no place: %+v", got)
			}
			if line := strings.Split(src, "\n")[got.Line-1]; !strings.Contains(line, c.at) {
				t.Errorf("line %d is %q, want one with %q", got.Line, line, c.at)
			}
		})
	}
}

// add is a change that adds lines before the key dns.
func add(lines string) (old, new string) { return "\ndns:", "\n" + lines + "\ndns:" }

func TestFaultsOfForm(t *testing.T) {
	t.Parallel()
	runFaults(t, "production.yaml", []fault{
		{"unknown key", "region: us-east-1", "region: us-east-1\nrgion: x", "rgion", "is not a known key", "write region", "rgion"},
		{"unknown key by case", "permissionBoundary", "permissionboundary", "permissionboundary", "is not a known key", "write permissionBoundary", "permissionboundary"},
		{"misspelt required key", "name: poolside", "nmae: poolside", "nmae", "is not a known key", "write name", "nmae"},
		{"misspelt parent of required keys", "access:", "acess:", "acess", "is not a known key", "write access", "acess"},
		{"key in the wrong place", "cidr: 10.80.0.0/16", "cidr: 10.80.0.0/16\nzones: 3", "zones", "is not a known key", "move it to network.zones", "zones: 3"},
		{"unknown key without a near one", "cidr: 10.80.0.0/16", "color: red", "network.color", "is not a known key", "the keys in network are cidr, zones, nat", "color"},
		{"number as key", "cidr: 10.80.0.0/16", "7: red", "network.7", "is not a known key", "remove it", "7: red"},
		{"list for keys", "network:\n  cidr: 10.80.0.0/16", "network: [a]", "network", "is a list, not keys and values", "indent its keys", "network"},
		{"text for keys", "dns: {mode: create-zone, zone: poolside.example.com}", "dns: create-zone", "dns", `is the text "create-zone", not keys and values`, "mode, zone, zoneId", "dns"},
		{"text for a list", "publicAccessCidrs: [203.0.113.0/24]", "publicAccessCidrs: 203.0.113.0/24", "cluster.publicAccessCidrs", `is the text "203.0.113.0/24", not a list`, "after - ", "publicAccessCidrs"},
		{"number for text", "cidr: 10.80.0.0/16", "cidr: 10", "network.cidr", "is the number 10, not text", `"10"`, "cidr"},
		{"version as a number", "cluster:", "cluster:\n  version: 1.30", "cluster.version", "is the number 1.30, not text", `"1.30"`, "version"},
		{"truth for text", "name: poolside", "name: true", "name", "is the truth value true, not text", `"true"`, "name"},
		{"keys for text", "name: poolside", "name: {a: b}", "name", "is keys and values, not text", "one value", "name"},
		{"tag that is a number", `"4711"`, "4711", "tags.cost-centre", "is the number 4711, not text", `"4711"`, "cost-centre"},
		{"text for a number", "cidr: 10.80.0.0/16", `zones: "3"`, "network.zones", `is the text "3", not a whole number`, "without quotes", "zones"},
		{"fraction", "cidr: 10.80.0.0/16", "zones: 2.5", "network.zones", "is the number 2.5, not a whole number", "digits", "zones"},
		{"hexadecimal", "cidr: 10.80.0.0/16", "zones: 0x3", "network.zones", "is the number 0x3, not a whole number", "digits", "zones"},
		{"octal", "cidr: 10.80.0.0/16", "zones: 03", "network.zones", "is the number 03, not a whole number", "digits", "zones"},
		{"huge number", "cidr: 10.80.0.0/16", "zones: 99999999999999999999", "network.zones", `is the text "99999999999999999999", not a whole number`, "digits", "zones"},
		{"yes for truth", "cidr: 10.80.0.0/16", "flowLogs: {enabled: yes}", "network.flowLogs.enabled", `is the text "yes", not true or false`, "true or false", "enabled"},
		{"no value", "region: us-east-1", "region:", "region", "has no value", "leave the key out", "region"},
		{"null", "region: us-east-1", "region: null", "region", "has no value", "leave the key out", "region"},
		{"tilde", "region: us-east-1", "region: ~", "region", "has no value", "leave the key out", "region"},
		{"section without keys", "  cidr: 10.80.0.0/16\n", "", "network", "has no value", "leave the key out", "network"},
		{"null in a list", "publicAccessCidrs: [203.0.113.0/24]", "publicAccessCidrs: [null]", "cluster.publicAccessCidrs[0]", "has no value", "leave the key out", "publicAccessCidrs"},
		{"key twice", "region: us-east-1", "region: us-east-1\nregion: us-east-2", "region", "is there twice, first in line 5", "keep one", "us-east-2"},
		{"key twice below", "cidr: 10.80.0.0/16", "cidr: 10.80.0.0/16\n  cidr: 10.81.0.0/16", "network.cidr", "is there twice", "keep one", "10.81"},
		{"key twice by quotes", "region: us-east-1", "region: us-east-1\n\"region\": us-east-2", "region", "is there twice", "keep one", "us-east-2"},
		{"required key", "region: us-east-1\n", "", "region", "is missing", "an AWS region such as us-east-1", ""},
		{"required version of the format", "apiVersion: poolhouse/v1\n", "", "apiVersion", "is missing", "poolhouse/v1", ""},
		{"other version of the format", "poolhouse/v1", "poolhouse/v2", "apiVersion", `"poolhouse/v2" is not allowed`, "write poolhouse/v1", "v2"},
		{"required profile", "profile: production\n", "", "profile", "is missing", "evaluation or production", ""},
		{"unknown profile", "profile: production", "profile: prodution", "profile", `"prodution" is not allowed`, "write production", "prodution"},
	})
}

func TestFaultsOfIdentity(t *testing.T) {
	t.Parallel()
	runFaults(t, "production.yaml", []fault{
		{"short name", "name: poolside", "name: ab", "name", `"ab" is too short`, "3 to 24", "name"},
		{"long name", "name: poolside", "name: a123456789012345678901234", "name", `"a123456789012345678901234" has 25 characters`, "shorten", "name"},
		{"upper case", "name: poolside", "name: Poolside", "name", `"Poolside" is not allowed`, "lower-case", "name"},
		{"double hyphen", "name: poolside", "name: pool--side", "name", `"pool--side" is not allowed`, "single hyphens", "name"},
		{"hyphen at the end", "name: poolside", "name: poolside-", "name", `"poolside-" is not allowed`, "single hyphens", "name"},
		{"digit first", "name: poolside", "name: 1pool", "name", `"1pool" is not allowed`, "begin with a letter", "name"},
		{"reserved for load balancers", "name: poolside", "name: internal-pool", "name", `"internal-pool" begins with internal-`, "another name", "name"},
		{"reserved for aliases", "name: poolside", "name: aws", "name", `"aws" is reserved`, "another name", "name"},
		{"empty name", "name: poolside", `name: ""`, "name", "is empty", "3 to 24", "name"},
		{"misspelt region", "region: us-east-1", "region: us-esat-1", "region", `"us-esat-1" is not allowed`, "us-east-1", "region"},
		{"zone for region", "region: us-east-1", "region: us-east-1a", "region", `"us-east-1a" is not allowed`, "us-east-1", "region"},
		{"reserved tag", "  owner: ", "  aws:owner: ", `tags["aws:owner"]`, "tags that begin with aws: are reserved", "another key", "aws:owner"},
		{"reserved tag in capitals", "  owner: ", "  AWS:owner: ", `tags["AWS:owner"]`, "tags that begin with aws: are reserved", "another key", "AWS:owner"},
		{"our tag", "  owner: ", "  poolhouse:owner: ", `tags["poolhouse:owner"]`, "tags that begin with poolhouse: are reserved", "another key", "poolhouse:owner"},
		{"tag key", "  owner: ", "  own#er: ", `tags["own#er"]`, `the key "own#er" is not allowed`, "letters, digits", "own#er"},
		{"tag value", "platform@example.com", `"<platform>"`, "tags.owner", `"<platform>" is not allowed`, "letters, digits", "owner"},
		{"long tag value", "platform@example.com", strings.Repeat("x", 257), "tags.owner", `"` + strings.Repeat("x", 57) + `..." has 257 characters, more than 256`, "shorten", "owner"},
		{"too many tags", "tags:\n", "tags:\n" + manyTags(40), "tags", "has 42 entries, more than 40", "keep 40", "tags"},
		{"boundary that is a role", "policy/boundary", "role/boundary", "permissionBoundary", `"arn:aws:iam::123456789012:role/boundary" is not allowed`, "policy", "permissionBoundary"},
		{"partition", "arn:aws:iam::123456789012:policy", "arn:aws-cn:iam::123456789012:policy", "permissionBoundary", `is of partition "aws-cn", but region us-east-1 belongs to aws`, "arn:aws:", "permissionBoundary"},
		{"two accounts", "network:", "serviceRole: arn:aws:iam::210987654321:role/cfn\nnetwork:", "permissionBoundary", "is in account 123456789012, but serviceRole is in 210987654321", "one in the account", "permissionBoundary"},
		{"service role that is generated", "network:", "serviceRole: arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef\nnetwork:", "serviceRole", `"arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws..." is a role that IAM Identity Center generates`, "role of your own", "serviceRole"},
		{"service role that is a user", "network:", "serviceRole: arn:aws:iam::123456789012:user/cfn\nnetwork:", "serviceRole", `"arn:aws:iam::123456789012:user/cfn" is not allowed`, "role", "serviceRole"},
	})
}

func manyTags(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("  t" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ": x\n")
	}
	return b.String()
}

func TestFaultsOfNetworkAndCluster(t *testing.T) {
	t.Parallel()
	const cidr, public = "cidr: 10.80.0.0/16", "publicAccessCidrs: [203.0.113.0/24]"
	const admin = "arn:aws:iam::123456789012:role/platform"
	runFaults(t, "production.yaml", []fault{
		{"no range", cidr, "cidr: ten", "network.cidr", `"ten" is not a range`, "10.80.0.0/16", "cidr"},
		{"address for range", cidr, "cidr: 10.80.0.0", "network.cidr", `"10.80.0.0" is not a range`, "10.80.0.0/32", "cidr"},
		{"host bits", cidr, "cidr: 10.80.1.0/16", "network.cidr", `"10.80.1.0/16" has bits set beyond its length`, "write 10.80.0.0/16", "cidr"},
		{"number over 255", cidr, "cidr: 10.800.0.0/16", "network.cidr", `"10.800.0.0/16" is not a range`, "10.80.0.0/16", "cidr"},
		{"IPv6", cidr, "cidr: fd00::/56", "network.cidr", `"fd00::/56" is an IPv6 range`, "IPv4", "cidr"},
		{"large", cidr, "cidr: 10.0.0.0/8", "network.cidr", `"10.0.0.0/8" is not of a size from /16 to /20`, "write 10.0.0.0/16", "cidr"},
		{"small", cidr, "cidr: 10.80.0.0/21", "network.cidr", `"10.80.0.0/21" is not of a size`, "write 10.80.0.0/16", "cidr"},
		{"public", cidr, "cidr: 203.0.0.0/16", "network.cidr", `"203.0.0.0/16" is not private`, "10.0.0.0/8", "cidr"},
		{"overlap with the default", cidr, "cidr: 172.20.0.0/16", "network.cidr", "overlaps with cluster.serviceCidr 172.20.0.0/16", "don't overlap", "cidr"},
		{"overlap", "cluster:", "cluster:\n  serviceCidr: 10.80.4.0/22", "cluster.serviceCidr", "overlaps with network.cidr 10.80.0.0/16", "don't overlap", "serviceCidr"},
		{"large services", "cluster:", "cluster:\n  serviceCidr: 172.0.0.0/11", "cluster.serviceCidr", `"172.0.0.0/11" is not of a size from /12 to /24`, "/16", "serviceCidr"},
		{"shared address space for services", "cluster:", "cluster:\n  serviceCidr: 100.64.0.0/16", "cluster.serviceCidr", `"100.64.0.0/16" is not private`, "10.0.0.0/8", "serviceCidr"},
		{"1 zone", cidr, "zones: 1", "network.zones", "1 is not allowed", "from 2 to 3", "zones"},
		{"4 zones", cidr, "zones: 4", "network.zones", "4 is not allowed", "from 2 to 3", "zones"},
		{"0 zones", cidr, "zones: 0", "network.zones", "0 is not allowed", "from 2 to 3", "zones"},
		{"NAT mode", cidr, "nat: {mode: gateway}", "network.nat.mode", `"gateway" is not allowed`, "gateway-per-zone", "mode"},
		{"announced mode in use", cidr, "nat: {announce: gateway-per-zone}", "network.nat.announce", "is what network.nat.mode is already", "remove it", "announce"},
		{"announced mode without addresses", cidr, "nat: {announce: none}", "network.nat.announce", `"none"`, "gateway-per-zone", "announce"},
		{"NAT type without instances", cidr, "nat: {instanceType: t4g.small}", "network.nat.instanceType", "has no effect with NAT mode gateway-per-zone", "instance-per-zone", "instanceType"},
		{"NAT type of x86_64", cidr, "nat: {mode: single-instance, instanceType: m7i.large}", "network.nat.instanceType", `"m7i.large" is not arm64`, "t4g", "instanceType"},
		{"NAT type", cidr, "nat: {mode: single-instance, instanceType: large}", "network.nat.instanceType", `"large" is not a`, "t4g", "instanceType"},
		{"S3 as interface endpoint", cidr, "endpoints: [ecr.api, s3]", "network.endpoints[1]", "S3 has a gateway endpoint", "remove", "endpoints"},
		{"full name of an endpoint", cidr, "endpoints: [com.amazonaws.us-east-1.ecr.api]", "network.endpoints[0]", `"com.amazonaws.us-east-1.ecr.api" holds the region`, "write ecr.api", "endpoints"},
		{"endpoint twice", cidr, "endpoints: [kms, kms]", "network.endpoints[1]", `"kms" is there twice`, "remove one", "endpoints"},
		{"retention", cidr, "flowLogs: {retentionDays: 100}", "network.flowLogs.retentionDays", "100 is not allowed", "90, 120", "retentionDays"},
		{"public subnet", cidr, "subnets: {public: 28}", "network.subnets.public", "28 is not allowed", "0, or a number from 20 to 27", "public"},
		{"control-plane subnet", cidr, "subnets: {controlPlane: 28}", "network.subnets.controlPlane", "28 is not allowed", "from 24 to 27", "controlPlane"},

		{"everyone", public, "publicAccessCidrs: [0.0.0.0/0]", "cluster.publicAccessCidrs[0]", `"0.0.0.0/0" lets everyone in`, "ranges of those who need access", "publicAccessCidrs"},
		{"everyone by IPv6", public, `publicAccessCidrs: ["::/0"]`, "cluster.publicAccessCidrs[0]", `"::/0" lets everyone in`, "IPv4", "publicAccessCidrs"},
		{"half of everyone", public, "publicAccessCidrs: [128.0.0.0/1]", "cluster.publicAccessCidrs[0]", `"128.0.0.0/1" is larger than /8`, "smaller", "publicAccessCidrs"},
		{"private range over the internet", public, "publicAccessCidrs: [10.0.0.0/8]", "cluster.publicAccessCidrs[0]", `"10.0.0.0/8" is never the source of a request over the internet`, "public addresses", "publicAccessCidrs"},
		{"host bits in an allow-list", public, "publicAccessCidrs: [203.0.113.7/24]", "cluster.publicAccessCidrs[0]", `"203.0.113.7/24" has bits set`, "write 203.0.113.0/24", "publicAccessCidrs"},
		{"address in an allow-list", public, "publicAccessCidrs: [203.0.113.7]", "cluster.publicAccessCidrs[0]", `"203.0.113.7" is not a range`, "203.0.113.7/32", "publicAccessCidrs"},
		{"range twice", public, "publicAccessCidrs: [203.0.113.0/24, 203.0.113.0/24]", "cluster.publicAccessCidrs[1]", `"203.0.113.0/24" is there twice`, "remove one", "publicAccessCidrs"},

		{"Kubernetes version", "cluster:", "cluster:\n  version: \"1.28\"", "cluster.version", `"1.28" is not allowed`, "from 1.29", "version"},
		{"one administrator", "    - arn:aws:iam::123456789012:role/emergency\n", "", "cluster.administrators", "has 1 entries; production needs two", "two IAM roles", "administrators"},
		{"administrator twice", "role/emergency", "role/platform", "cluster.administrators[1]", `"` + admin + `" is there twice`, "remove one", "role/platform"},
		{"session", admin, "arn:aws:sts::123456789012:assumed-role/platform/jane", "cluster.administrators[0]", `"arn:aws:sts::123456789012:assumed-role/platform/jane" is a session`, "arn:aws:iam::123456789012:role/platform", "assumed-role"},
		{"session of Identity Center", admin, "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/jane@example.com", "cluster.administrators[0]", `"arn:aws:sts::`, "role/aws-reserved/sso.amazonaws.com/<region>/AWSReservedSSO_Admin_0123456789abcdef", "assumed-role"},
		{"wildcard", admin, "arn:aws:iam::123456789012:role/*", "cluster.administrators[0]", `"arn:aws:iam::123456789012:role/*" has a wildcard`, "one role or user", "role/*"},
		{"account", admin, "arn:aws:iam::123456789012:root", "cluster.administrators[0]", `"arn:aws:iam::123456789012:root" is the account`, "one role or user", ":root"},
		{"group", admin, "arn:aws:iam::123456789012:group/admins", "cluster.administrators[0]", `"arn:aws:iam::123456789012:group/admins" is not allowed`, "role or user", "group"},
		{"administrator of another partition", admin, "arn:aws-us-gov:iam::123456789012:role/platform", "cluster.administrators[0]", `is of partition "aws-us-gov"`, "arn:aws:", "us-gov"},
		{"log", "cluster:", "cluster:\n  logs: [api, audits]", "cluster.logs[1]", `"audits" is not allowed`, "write audit", "logs"},
		{"add-on", "cluster:", "cluster:\n  addonVersions: {vpccni: v1.20.4-eksbuild.2}", "cluster.addonVersions.vpccni", `the key "vpccni" is not allowed`, "write vpc-cni", "vpccni"},
		{"add-on version", "cluster:", "cluster:\n  addonVersions: {vpc-cni: \"1.20\"}", "cluster.addonVersions.vpc-cni", `"1.20" is not allowed`, "v1.20.4-eksbuild.2", "vpc-cni"},
	})
}

func TestFaultsOfCompute(t *testing.T) {
	t.Parallel()
	compute := func(name, entries, path, reason, fix, at string) fault {
		old, changed := add("compute:\n" + entries)
		return fault{name, old, changed, path, reason, fix, at}
	}
	runFaults(t, "production.yaml", []fault{
		compute("no list", "  role: core", "compute", "is keys and values, not a list", "after - ", "role: core"),
		compute("entry without keys", "- core", "compute[0]", `is the text "core", not keys and values`, "role", "- core"),
		compute("no role", "- min: 3", "compute[0].role", "is missing", "core, web-assistant, interface, gpu", "min: 3"),
		compute("misspelt role", "- role: web-asistant", "compute[0].role", `"web-asistant" is not a role`, "write web-assistant", "web-asistant"),
		compute("wrong type of role", "- role: 3", "compute[0].role", "is the number 3, not text", `"3"`, "role"),
		compute("role twice", "- role: core\n- role: gpu\n- role: core", "compute[2]", "is a second group for core, after the one in line 32", "merge", "role: core"),
		compute("unknown key in a group", "- role: core\n  sizes: 3", "compute[core].sizes", "is not a known key", "the keys in compute[core] are role", "sizes"),
		compute("core merged", "- role: core\n  also: [interface]", "compute[core].also", "only web-assistant may share its nodes", "remove", "also"),
		compute("merged and apart", "- role: web-assistant\n  also: [interface]\n- role: interface", "compute[web-assistant].also", "interface has a group of its own too", "remove one", "also"),
		compute("also a role that can't merge", "- role: web-assistant\n  also: [gpu]", "compute[web-assistant].also[0]", `"gpu" is not allowed`, "interface", "also"),
		compute("min over max", "- {role: core, min: 9, desired: 9}", "compute[core].min", "min 9 is more than max 6", "in this order", "min"),
		compute("max under min", "- {role: interface, max: 2}", "compute[interface].max", "min 3 is more than max 2", "in this order", "max"),
		compute("desired over max", "- {role: core, desired: 9}", "compute[core].desired", "desired 9 is more than max 6", "from 3 to 6", "desired"),
		compute("desired under min", "- {role: core, min: 4}", "compute[core].min", "desired 3 is less than min 4", "from 4 to 6", "min"),
		compute("no nodes", "- {role: core, min: 0}", "compute[core].min", "is 0, and nothing runs without core nodes", "1 or more", "min"),
		compute("negative", "- {role: gpu, min: -1}", "compute[gpu].min", "-1 is not allowed", "from 0", "min"),
		compute("small disk", "- {role: core, diskGiB: 10}", "compute[core].diskGiB", "10 is not allowed", "from 20", "diskGiB"),
		compute("no type", "- {role: core, instanceTypes: []}", "compute[core].instanceTypes", "is empty", "1 or more", "instanceTypes"),
		compute("instance type", "- {role: core, instanceTypes: [m7i]}", "compute[core].instanceTypes[0]", `"m7i" is not allowed`, "m7i.xlarge", "instanceTypes"),
		compute("database class", "- {role: core, instanceTypes: [db.m7g.xlarge]}", "compute[core].instanceTypes[0]", `"db.m7g.xlarge" is not allowed`, "m7i.xlarge", "instanceTypes"),
		compute("GPU for core", "- {role: core, instanceTypes: [g6.xlarge]}", "compute[core].instanceTypes[0]", `"g6.xlarge" has GPUs`, "role gpu", "instanceTypes"),
		compute("no GPU for gpu", "- {role: gpu, instanceTypes: [m7i.xlarge]}", "compute[gpu].instanceTypes[0]", `"m7i.xlarge" has no GPU`, "p5e.48xlarge", "instanceTypes"),
		compute("GPU on arm64", "- {role: gpu, instanceTypes: [g5g.xlarge]}", "compute[gpu].instanceTypes[0]", `"g5g.xlarge" has no GPU that the deployment supports`, "p5e.48xlarge", "instanceTypes"),
		compute("two processors", "- {role: core, instanceTypes: [m7i.xlarge, m7g.xlarge]}", "compute[core].instanceTypes[1]", `"m7g.xlarge" and "m7i.xlarge" have different processors`, "one architecture", "instanceTypes"),
		compute("reserved label", "- role: core\n  labels: {topology.kubernetes.io/zone: a}", `compute[core].labels["topology.kubernetes.io/zone"]`, "labels of kubernetes.io are reserved", "another key", "labels"),
		compute("label", "- role: core\n  labels: {team: a b}", "compute[core].labels.team", `"a b" is not allowed`, "letters", "labels"),
		compute("taint effect", "- role: core\n  taints: [{key: a, effect: NO_SCHEDULE}]", "compute[core].taints[0].effect", `"NO_SCHEDULE" is not allowed`, "NoSchedule", "taints"),
		compute("reserved taint", "- role: core\n  taints: [{key: nvidia.com/gpu, effect: NoSchedule}]", "compute[core].taints[0].key", "taints of nvidia.com are reserved", "another key", "taints"),
		compute("taint without key", "- role: core\n  taints: [{effect: NoSchedule}]", "compute[core].taints[0].key", "is missing", "taint key", "taints"),
		compute("taint twice", "- role: core\n  taints: [{key: a, effect: NoSchedule}, {key: a, value: b, effect: NoSchedule}]", "compute[core].taints[1]", "taint a:NoSchedule is there twice", "remove one", "taints"),
		compute("reservation of core", "- role: core\n  reservation: {id: cr-0123456789abcdef0, zoneId: use1-az1}", "compute[core].reservation", "only gpu nodes", "remove", "reservation"),
		compute("reservation without id", "- role: gpu\n  reservation: {zoneId: use1-az1}", "compute[gpu].reservation.id", "is missing", "cr-0123456789abcdef0", "reservation"),
		compute("capacity block without id", "- role: gpu\n  reservation: {capacityBlock: true, zoneId: use1-az1}", "compute[gpu].reservation.id", "is missing", "cr-0123456789abcdef0", "reservation"),
		compute("reservation without zone", "- role: gpu\n  reservation: {id: cr-0123456789abcdef0}", "compute[gpu].reservation.zoneId", "is missing", "use1-az4", "reservation"),
		compute("reservation of another region", "- role: gpu\n  reservation: {id: cr-0123456789abcdef0, zoneId: usw2-az1}", "compute[gpu].reservation.zoneId", `"usw2-az1" is not in us-east-1`, "use1-az1", "zoneId"),
		compute("zone name for zone id", "- role: gpu\n  reservation: {id: cr-0123456789abcdef0, zoneId: us-east-1a}", "compute[gpu].reservation.zoneId", `"us-east-1a" is not in us-east-1`, "use1-az1", "zoneId"),
		compute("reservation of two types", "- role: gpu\n  instanceTypes: [p5e.48xlarge, p5en.48xlarge]\n  reservation: {id: cr-0123456789abcdef0, zoneId: use1-az1}", "compute[gpu].instanceTypes", "a capacity reservation is for one instance type", "keep", "instanceTypes"),
	})
}

func TestFaultsOfData(t *testing.T) {
	t.Parallel()
	section := func(section string) func(name, value, path, reason, fix string) fault {
		return func(name, value, path, reason, fix string) fault {
			old, changed := add(section + ": {" + value + "}")
			return fault{section + " " + name, old, changed, path, reason, fix, section + ": {"}
		}
	}
	database, storage, registry, backups, waf := section("database"), section("storage"), section("registry"), section("backups"), section("waf")
	runFaults(t, "production.yaml", []fault{
		database("class", "instanceClass: m7g.xlarge", "database.instanceClass", `"m7g.xlarge" is not allowed`, "db.m7g.xlarge"),
		database("no class", `instanceClass: ""`, "database.instanceClass", "is empty", "leave the key out"),
		database("version", `version: "13"`, "database.version", `"13" is not allowed`, "from 14"),
		database("version as a number", "version: 17", "database.version", "is the number 17, not text", `"17"`),
		database("storage", "storageGiB: 10", "database.storageGiB", "10 is not allowed", "from 20"),
		database("storage over its bound", "storageGiB: 2000", "database.storageGiB", "storage of 2000 GiB can't grow to 1000", "2200"),
		database("bound under storage", "maxStorageGiB: 100", "database.maxStorageGiB", "storage of 200 GiB can't grow to 100", "220"),
		database("bound near storage", "maxStorageGiB: 210", "database.maxStorageGiB", "storage of 200 GiB can't grow to 210", "220 or more, or to 200"),
		database("zone", "preferredZone: 4", "database.preferredZone", "is 4 of 3 zones", "from 1 to 3"),
		database("days", "backupDays: 0", "database.backupDays", "0 is not allowed", "from 1 to 35"),
		database("many days", "backupDays: 36", "database.backupDays", "36 is not allowed", "from 1 to 35"),
		database("window", "backupWindow: 1:00-2:00", "database.backupWindow", `"1:00-2:00" is not allowed`, "01:00-02:00"),
		database("hour", "backupWindow: 24:00-24:30", "database.backupWindow", `"24:00-24:30" is not allowed`, "01:00-02:00"),
		database("short window", "backupWindow: 23:45-00:14", "database.backupWindow", `"23:45-00:14" is shorter than 30 minutes`, "30 minutes"),
		database("short maintenance", "maintenanceWindow: sun:07:00-sun:07:15", "database.maintenanceWindow", `"sun:07:00-sun:07:15" is shorter than 30 minutes`, "30 minutes"),
		database("long maintenance", "maintenanceWindow: sun:07:00-mon:07:00", "database.maintenanceWindow", `"sun:07:00-mon:07:00" is not shorter than a day`, "24 hours"),
		database("day", "maintenanceWindow: Sun:07:00-Sun:08:00", "database.maintenanceWindow", `"Sun:07:00-Sun:08:00" is not allowed`, "sun:07:00"),
		database("windows overlap", "backupWindow: 06:30-07:30", "database.backupWindow", "backup window 06:30-07:30 overlaps with maintenance window sun:07:00-sun:08:00", "move one"),
		database("windows overlap over midnight", "backupWindow: 23:30-00:30, maintenanceWindow: sun:00:00-sun:01:00", "database.backupWindow", "backup window 23:30-00:30 overlaps", "move one"),
		database("maintenance covers the backup", "maintenanceWindow: tue:22:00-wed:03:00", "database.maintenanceWindow", "backup window 01:00-02:00 overlaps", "move one"),
		database("monitoring", "monitoringSeconds: 20", "database.monitoringSeconds", "20 is not allowed", "0, 1, 5"),
		database("snapshot elsewhere", "snapshot: \"arn:aws:rds:eu-west-1:123456789012:snapshot:last\"", "database.snapshot", `is in region "eu-west-1", not us-east-1`, "us-east-1"),

		storage("lock of models", "models: {objectLock: {mode: governance}}", "storage.models.objectLock.mode", "only audit may have object lock", "remove"),
		storage("lock off with days", "audit: {objectLock: {mode: \"off\", days: 3}}", "storage.audit.objectLock.days", "has no effect while objectLock.mode is off", "governance"),
		storage("lock without days", "audit: {objectLock: {days: 0}}", "storage.audit.objectLock.days", "is 0, so that nothing is kept", "days"),
		storage("lock mode", "audit: {objectLock: {mode: on}}", "storage.audit.objectLock.mode", `"on" is not allowed`, "write off"),
		storage("expiry under the lock", "audit: {expireDays: 100}", "storage.audit.expireDays", "objects expire after 100 days but are locked for 365", "365 or more"),
		storage("expiry before infrequent access", "telemetry: {expireDays: 60}", "storage.telemetry.expireDays", "objects expire after 60 days, before they move to infrequent access after 90", "higher"),
		storage("infrequent access too soon", "models: {infrequentAccessDays: 7}", "storage.models.infrequentAccessDays", "7 is not allowed", "0, or a number from 30"),
		storage("bucket name", "models: {name: Models}", "storage.models.name", `"Models" is not allowed`, "lower-case"),
		storage("dots in a bucket name", "models: {name: models.example.com}", "storage.models.name", `"models.example.com" is not allowed`, "hyphens"),
		storage("reserved bucket name", "models: {name: models--ol-s3}", "storage.models.name", `"models--ol-s3" ends with --ol-s3`, "another"),
		storage("beginning of a bucket name", "models: {name: sthree-models}", "storage.models.name", `"sthree-models" begins with sthree-`, "another"),
		storage("one name for two buckets", "models: {name: data}, audit: {name: data}", "storage.audit.name", `"data" is the name of storage.models too`, "another"),

		registry("no repository", "repositories: []", "registry.repositories", "is empty", "1 or more"),
		registry("repository", "repositories: [Core]", "registry.repositories[0]", `"Core" is not allowed`, "lower case"),
		registry("repository twice", "repositories: [core, core]", "registry.repositories[1]", `"core" is there twice`, "remove one"),
		backups("five fields", "schedule: cron(0 4 * * *)", "backups.schedule", `"cron(0 4 * * *)" is not allowed`, "six fields"),
		backups("two days", "schedule: cron(0 4 * * * *)", "backups.schedule", `"cron(0 4 * * * *)" must have ?`, "cron(0 4 * * ? *)"),
		backups("days", "retentionDays: 0", "backups.retentionDays", "0 is not allowed", "from 1"),
		waf("limit", "rateLimit: 99", "waf.rateLimit", "99 is not allowed", "0, or a number from 100"),
	})
}

func TestFaultsOfAccess(t *testing.T) {
	t.Parallel()
	const web, admin = "{host: poolside.example.com, allowCidrs: [203.0.113.0/24, 198.51.100.0/24]}", "{host: admin.poolside.example.com}"
	const dns = "dns: {mode: create-zone, zone: poolside.example.com}"
	const issuer = "issuer: https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0"
	const secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:poolside/web-AbCdEf"
	const certificate = "certificate: {arn: \"arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef\"}"
	runFaults(t, "production.yaml", []fault{
		{"host in capitals", "host: poolside.example.com", "host: Poolside.example.com", "access.web.host", `"Poolside.example.com" is not`, "poolside.example.com", "host"},
		{"no host", admin, "{scheme: internal}", "access.admin.host", "is missing", "host name", "admin"},
		{"URL for host", "api.poolside.example.com", "https://api.poolside.example.com", "access.api.host", `"https://api.poolside.example.com" is not allowed`, "host name", "api"},
		{"host twice", "host: api.poolside.example.com", "host: poolside.example.com", "access.api.host", `"poolside.example.com" is access.web.host too`, "of its own", "api"},
		{"host outside the zone", "host: api.poolside.example.com", "host: api.example.org", "access.api.host", `"api.example.org" is not in zone poolside.example.com`, "below", "api"},
		{"host that only ends like the zone", "host: api.poolside.example.com", "host: apipoolside.example.com", "access.api.host", `"apipoolside.example.com" is not in zone`, "below", "api"},
		{"scheme", admin, "{host: admin.poolside.example.com, scheme: public}", "access.admin.scheme", `"public" is not allowed`, "internet-facing or internal", "scheme"},
		{"internet without ranges", web, "{host: poolside.example.com}", "access.web.allowCidrs", "is missing, and the load balancer is internet-facing", "ranges that may connect", "web"},
		{"internet without ranges of administrators", admin, "{host: admin.poolside.example.com, scheme: internet-facing}", "access.admin.allowCidrs", "is missing", "ranges that may connect", "admin"},
		{"everyone", "198.51.100.0/24", "0.0.0.0/0", "access.web.allowCidrs[1]", `"0.0.0.0/0" lets everyone in`, "those who need access", "allowCidrs"},
		{"everyone inside", admin, "{host: admin.poolside.example.com, allowCidrs: [0.0.0.0/0]}", "access.admin.allowCidrs[0]", `"0.0.0.0/0" lets everyone in`, "those who need access", "allowCidrs"},
		{"private range over the internet", "198.51.100.0/24", "10.0.0.0/8", "access.web.allowCidrs[1]", `"10.0.0.0/8" is never the source`, "public addresses", "allowCidrs"},

		{"no issuer", "    " + issuer + "\n", "", "access.sso.issuer", "is missing", "https://", "sso"},
		{"issuer without TLS", issuer, "issuer: http://sso.example.com", "access.sso.issuer", `"http://sso.example.com" is not encrypted`, "https", "issuer"},
		{"issuer with a query", issuer, "issuer: https://sso.example.com?a=b", "access.sso.issuer", `"https://sso.example.com?a=b" is not allowed`, "without query", "issuer"},
		{"issuer without a host", issuer, "issuer: https:///v2.0", "access.sso.issuer", `"https:///v2.0" has no host`, "https", "issuer"},
		{"one client", "clientId: 22222222-2222-2222-2222-222222222222", "clientId: 11111111-1111-1111-1111-111111111111", "access.sso.admin.clientId", "is the client of web too", "of its own", "clientId"},
		{"no client", "      clientId: 11111111-1111-1111-1111-111111111111\n", "", "access.sso.web.clientId", "is missing", "provider", "web"},
		{"no secret", "      secretArn: " + secret + "\n", "", "access.sso.web.secretArn", "is missing", "client_secret", "web"},
		{"secret itself", secret, "hunter2", "access.sso.web.secretArn", `"hunter2" is not allowed`, "full ARN", "secretArn"},
		{"secret without suffix", secret, strings.TrimSuffix(secret, "-AbCdEf"), "access.sso.web.secretArn", `"arn:aws:secretsmanager:`, "full ARN", "secretArn"},
		{"secret elsewhere", secret, strings.Replace(secret, "us-east-1", "us-west-2", 1), "access.sso.web.secretArn", `is in region "us-west-2", not us-east-1`, "us-east-1", "secretArn"},
		{"one secret", "poolside/admin-AbCdEf", "poolside/web-AbCdEf", "access.sso.admin.secretArn", "is the secret of web too", "by itself", "secretArn"},
		{"no group", "    adminGroup: poolside-administrators\n", "", "access.sso.adminGroup", "is missing", "group", "sso"},
		{"no SSO", issuer, "enabled: false", "access.sso.enabled", "is false", "deviations.no-sso", "enabled"},

		{"zone without domain", dns, "dns: {mode: create-zone}", "dns.zone", "is missing", "domain", "dns"},
		{"existing zone without id", dns, "dns: {mode: existing-zone}", "dns.zoneId", "is missing", "Z0123456789ABCDEFGHIJ", "dns"},
		{"zone that has no effect", dns, "dns: {mode: existing-zone, zoneId: Z0123456789ABCDEFGHIJ, zone: example.com}", "dns.zone", "has no effect with dns.mode existing-zone", "remove", "zone"},
		{"no zone, no certificate", dns, "dns: {mode: none}", "certificate.arn", "is missing: without a zone", "existing certificate", ""},
		{"no mode", dns, "dns: {}", "dns.mode", "is missing", "create-zone, existing-zone or none", "dns"},
		{"zone id", dns, "dns: {mode: existing-zone, zoneId: /hostedzone/Z01}", "dns.zoneId", `"/hostedzone/Z01" is not allowed`, "Z0123456789ABCDEFGHIJ", "zoneId"},
		{"host that is too long for a certificate", "host: poolside.example.com", "host: " + strings.Repeat("a", 40) + ".poolside.example.com." + "poolside.example.com", "access.web.host", "has more than 64 characters", "certificate.arn", "host"},
		{"certificate elsewhere", dns, dns + "\n" + strings.Replace(certificate, "us-east-1", "us-west-2", 1), "certificate.arn", `is in region "us-west-2", not us-east-1`, "us-east-1", "certificate"},
		{"certificate of another account", dns, dns + "\n" + strings.Replace(certificate, "123456789012", "210987654321", 1), "certificate.arn", "is in account 210987654321, but permissionBoundary is in 123456789012", "account of the deployment", "certificate"},
		{"certificate of IAM", dns, dns + "\ncertificate: {arn: \"arn:aws:iam::123456789012:server-certificate/web\"}", "certificate.arn", `is in region "", not us-east-1`, "us-east-1", "certificate"},
		{"deviation id", dns, dns + "\ndeviations: {No_SSO: because we can not}", "deviations.No_SSO", `the key "No_SSO" is not allowed`, "no-sso", "deviations"},
		{"deviation reason", dns, dns + "\ndeviations: {no-nat: because}", "deviations.no-nat", `"because" is too short`, "10 characters", "deviations"},
		{"deviation without reason", dns, dns + "\ndeviations: {no-nat: \"\"}", "deviations.no-nat", `"" is too short`, "10 characters", "deviations"},
	})
	runFaults(t, "minimal-egress.yaml", []fault{
		{"no route to the provider", "    reachableInternally: true\n", "", "access.sso.reachableInternally", "an internal load balancer has no route to the identity provider", "set it to true", "sso"},
	})
	runFaults(t, "enterprise-dns.yaml", []fault{
		{"unknown provider", "    tokenEndpoint: https://sso.example.com/realms/staff/protocol/openid-connect/token\n", "", "access.sso.tokenEndpoint", "is missing", "https://sso.example.com/realms/staff/.well-known/openid-configuration", "sso"},
		{"provider on another port", "tokenEndpoint: https://sso.example.com/", "tokenEndpoint: https://sso.example.com:8443/", "access.sso.tokenEndpoint", "names port 8443", "443", "tokenEndpoint"},
		{"zone without DNS", "dns: {mode: none}", "dns: {mode: none, zone: example.com}", "dns.zone", "has no effect with dns.mode none", "remove", "dns"},
	})
}

func TestFaultsOfNetworkOptions(t *testing.T) {
	t.Parallel()
	const cidr = "  cidr: 10.80.0.0/16\n"
	option := func(name, lines, path, reason, fix string) fault {
		return fault{name, cidr, cidr + "  " + lines + "\n", path, reason, fix, ""}
	}
	const gateway = "transitGateway: {id: tgw-0123456789abcdef0, cidrs: "
	runFaults(t, "production.yaml", []fault{
		option("pods in the VPC", "podCidr: 10.80.0.0/16", "network.podCidr", "overlaps with network.cidr 10.80.0.0/16", "don't overlap"),
		option("pods among services", "podCidr: 172.20.0.0/16", "network.podCidr", "overlaps with cluster.serviceCidr 172.20.0.0/16", "don't overlap"),
		option("pods in another private range", "podCidr: 192.168.0.0/16", "network.podCidr", `"192.168.0.0/16" can't be added to a VPC with 10.80.0.0/16`, "100.64.0.0/16"),
		option("pods in a public range", "podCidr: 198.18.0.0/16", "network.podCidr", `"198.18.0.0/16" can't be added`, "100.64.0.0/16"),
		option("few pods", "podCidr: 100.64.0.0/24", "network.podCidr", `"100.64.0.0/24" is not of a size from /16 to /20`, "100.64.0.0/16"),
		option("pods by an address", "podCidr: 100.64.0.1/16", "network.podCidr", `"100.64.0.1/16" has bits set`, "100.64.0.0/16"),

		option("no transit gateway", "transitGateway: {cidrs: [10.0.0.0/8]}", "network.transitGateway.id", "is missing", "tgw-0123456789abcdef0"),
		option("nothing through it", "transitGateway: {id: tgw-0123456789abcdef0}", "network.transitGateway.cidrs", "is empty", "10.0.0.0/8"),
		option("another thing's id", "transitGateway: {id: vgw-0123456789abcdef0, cidrs: [10.0.0.0/8]}", "network.transitGateway.id", `"vgw-0123456789abcdef0" is not allowed`, "tgw-0123456789abcdef0"),
		option("everything twice", gateway+"[0.0.0.0/0]}", "network.transitGateway.cidrs[0]", "leads everything through the transit gateway, and network.nat.mode is gateway-per-zone", "network.nat.mode to none"),
		option("the VPC elsewhere", gateway+"[10.80.128.0/17]}", "network.transitGateway.cidrs[0]", `"10.80.128.0/17" lies in network.cidr 10.80.0.0/16`, "outside"),
		option("pods elsewhere", "podCidr: 100.64.0.0/16\n  "+gateway+"[10.0.0.0/8, 100.64.0.0/16]}", "network.transitGateway.cidrs[1]", `"100.64.0.0/16" lies in network.podCidr`, "outside"),

		option("a range two ways", gateway+"[10.0.0.0/8]}\n  routes: [{cidr: 10.0.0.0/8, target: pcx-0123456789abcdef0}]", "network.routes[0].cidr", `"10.0.0.0/8" is the range of network.transitGateway.cidrs[0] too`, "keep one"),
		option("default route", "routes: [{cidr: 0.0.0.0/0, target: pcx-0123456789abcdef0}]", "network.routes[0].cidr", "is the default route", "network.transitGateway.cidrs"),
		option("route without range", "routes: [{target: pcx-0123456789abcdef0}]", "network.routes[0].cidr", "is missing", "IPv4 range"),
		option("route without target", "routes: [{cidr: 192.168.0.0/16}]", "network.routes[0].target", "is missing", "peering connection"),
		option("route to a NAT gateway", "routes: [{cidr: 192.168.0.0/16, target: nat-0123456789abcdef0}]", "network.routes[0].target", `"nat-0123456789abcdef0" is not allowed`, "peering connection"),
	})
}

func TestFaultsOfExistingNetwork(t *testing.T) {
	t.Parallel()
	const (
		cidr    = "  cidr: 10.40.0.0/16\n"
		vpc     = "    vpcId: vpc-0123456789abcdef0\n"
		control = "    controlPlaneSubnetIds: [subnet-0123456789abcdef1, subnet-0123456789abcdef2, subnet-0123456789abcdef3]\n"
		private = "    privateSubnetIds: [subnet-0123456789abcdef4, subnet-0123456789abcdef5, subnet-0123456789abcdef6]\n"
	)
	given := func(key, lines string) fault {
		return fault{key, cidr, cidr + "  " + lines + "\n", "network." + key, "is for a network of the deployment's own", "remove it", key}
	}
	const at = "network.existing."
	runFaults(t, "existing-network.yaml", []fault{
		given("nat", "nat: {mode: none}"),
		given("subnets", "subnets: {private: 22}"),
		given("podCidr", "podCidr: 100.64.0.0/16"),
		given("transitGateway", "transitGateway: {id: tgw-0123456789abcdef0, cidrs: [10.0.0.0/8]}"),
		given("routes", "routes: [{cidr: 192.168.0.0/16, target: pcx-0123456789abcdef0}]"),
		{"no VPC", vpc, "", at + "vpcId", "is missing", "vpc-0123456789abcdef0", "existing"},
		{"VPC by name", "vpc-0123456789abcdef0", "shared", at + "vpcId", `"shared" is not allowed`, "the id of a VPC", "shared"},
		{"range of no VPC", "10.40.0.0/16", "10.0.0.0/8", "network.cidr", `"10.0.0.0/8" is the range of no VPC`, "primary range", "cidr"},
		{"no private subnets", private, "", at + "privateSubnetIds", "has 0 entries", "two or three", "existing"},
		{"one private subnet", private, "    privateSubnetIds: [subnet-0123456789abcdef4]\n", at + "privateSubnetIds", "has 1 entries", "two or three", "privateSubnetIds"},
		{"four private subnets", "subnet-0123456789abcdef6]", "subnet-0123456789abcdef6, subnet-0123456789abcdef7]", at + "privateSubnetIds", "has 4 entries, more than 3", "keep 3", "privateSubnetIds"},
		{"a subnet twice", "subnet-0123456789abcdef5", "subnet-0123456789abcdef4", at + "privateSubnetIds[1]", `"subnet-0123456789abcdef4" is there twice`, "remove one", "privateSubnetIds"},
		{"a subnet in two tiers", "subnet-0123456789abcdef5", "subnet-0123456789abcdef1", at + "privateSubnetIds[1]", `"subnet-0123456789abcdef1" is in controlPlaneSubnetIds too`, "of its own", "privateSubnetIds"},
		{"subnet by name", "subnet-0123456789abcdef5", "private-b", at + "privateSubnetIds[1]", `"private-b" is not allowed`, "the id of a subnet", "privateSubnetIds"},
		{"no control plane", control, "", at + "controlPlaneSubnetIds", "has 0 entries", "two or three", "existing"},
		{"control plane in fewer zones", "subnet-0123456789abcdef2, subnet-0123456789abcdef3]", "subnet-0123456789abcdef2]", at + "controlPlaneSubnetIds", "has 2 entries, fewer than the 3", "each zone", "controlPlaneSubnetIds"},
		{"zones that don't follow", cidr, cidr + "  zones: 2\n", "network.zones", "is 2, and network.existing.privateSubnetIds has 3", "remove it", "zones"},
		{"internet-facing without public subnets", "scheme: internal, allowCidrs: [10.0.0.0/8]", "scheme: internet-facing, allowCidrs: [203.0.113.0/24]", at + "publicSubnetIds", "is missing, and access.web is internet-facing", "scheme to internal", "existing"},
		{"few public subnets", vpc, vpc + "    publicSubnetIds: [subnet-0123456789abcdef7]\n", at + "publicSubnetIds", "has 1 entries, and privateSubnetIds has 3", "each zone", "publicSubnetIds"},
		{"S3", cidr, cidr + "  endpoints: [s3]\n", "network.endpoints[0]", "S3's gateway endpoint belongs to the route tables", "in the network itself", "endpoints"},
	})
}

// TestExistingTakesNoDefaults: what a profile decides for a network of one's
// own does not hold for one that is there.
func TestExistingTakesNoDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t, example(t, "existing-network.yaml"))
	n := c.Network
	if n.Zones != 3 || n.NAT != (config.NAT{}) || len(n.Endpoints) != 0 || n.FlowLogs.Enabled || n.Isolated() || !n.Exists() {
		t.Errorf("network is %+v", n)
	}
	two := parse(t, strings.Replace(example(t, "existing-network.yaml"), ", subnet-0123456789abcdef6]", "]\n  endpoints: [xray]\n  flowLogs: {enabled: true}", 1))
	if n := two.Network; n.Zones != 2 || len(n.Endpoints) != 1 || !n.FlowLogs.Enabled || n.FlowLogs.RetentionDays != 365 {
		t.Errorf("network is %+v", n)
	}
}
