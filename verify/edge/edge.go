// Package edge has the checks of the ways in: load balancers, listeners, single sign-on,
// certificates, the web application firewall and DNS.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: no request is sent. Names are read in Route 53, not
// resolved.
package edge

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	waftypes "github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// edgeFacts are what the ways in are.
type edgeFacts struct {
	edgeAttributesFacts account.Keyed[map[string]string]
	edgePolicyFacts     account.Keyed[*elbtypes.SslPolicy]
	edgeCertFacts       account.Keyed[*types.CertificateDetail]
	edgeWAFLogFacts     account.Keyed[*waftypes.LoggingConfiguration]
	edgeRecordFacts     account.Keyed[[]r53types.ResourceRecordSet]
}

// edgeEndpoint is what the configuration says of a load balancer.
func edgeEndpoint(l *account.Look, part string) config.Endpoint {
	if part == account.AdminPart {
		return l.Arch.Config.Access.Admin
	}
	return l.Arch.Config.Access.Web
}

// edgeAttributes are a load balancer's attributes by key.
func edgeAttributes(l *account.Look, arn string) (map[string]string, error) {
	return account.Facts[edgeFacts](l).edgeAttributesFacts.Get(arn, func() (map[string]string, error) {
		got, err := l.AWS.ELB.DescribeLoadBalancerAttributes(l.Ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: &arn})
		if err != nil {
			return nil, fmt.Errorf("read the attributes of %s: %w", arn, err)
		}
		out := map[string]string{}
		for _, a := range got.Attributes {
			out[aws.ToString(a.Key)] = aws.ToString(a.Value)
		}
		return out, nil
	})
}

// edgeSecurityGroups are the security groups of a load balancer.
func edgeSecurityGroups(l *account.Look, b account.Balancer) ([]ec2types.SecurityGroup, error) {
	all, err := l.SecurityGroups()
	if err != nil {
		return nil, err
	}
	var its []ec2types.SecurityGroup
	for _, g := range all {
		if slices.Contains(b.SecurityGroups, aws.ToString(g.GroupId)) {
			its = append(its, g)
		}
	}
	return its, nil
}

// edgeSubnets are the subnets of a load balancer.
func edgeSubnets(l *account.Look, b account.Balancer) ([]ec2types.Subnet, error) {
	all, err := l.SubnetsByID()
	if err != nil {
		return nil, err
	}
	var its []ec2types.Subnet
	for _, z := range b.AvailabilityZones {
		if s, ok := all[aws.ToString(z.SubnetId)]; ok {
			its = append(its, s)
		}
	}
	return its, nil
}

// Checks are the checks of the ways in, in the order of reports.
func Checks() []check.Check {
	return slices.Concat(balancerChecks(), listenerChecks(), certificateChecks(), wafChecks(), dnsChecks())
}

func balancerChecks() []check.Check {
	return []check.Check{
		{
			ID: "lb-there", Proves: "There are two application load balancers, one for web users and API clients and one for administrators, and both are active.",
			Level: check.Required, Rows: []string{"C1", "C5", "B22"}, Run: lbThere,
		},
		{
			ID: "lb-separate", Proves: "The load balancers of web users and administrators share no security group.",
			Level: check.Required, Rows: []string{"C5", "S3", "B22"}, Run: lbSeparate,
		},
		{
			ID: "lb-scheme", Proves: "Each load balancer is internet-facing or internal as configured.",
			Level: check.Required, Rows: []string{"C1", "C5"}, Run: lbScheme,
		},
		{
			ID: "lb-subnets", Proves: "Each load balancer has one subnet in each zone, of the tier that belongs to its scheme.",
			Level: check.Required, Rows: []string{"C1", "C7", "S8"}, Run: lbSubnets,
		},
		{
			ID: "lb-allow-list", Proves: "Security groups let exactly the configured ranges reach each load balancer, and nothing else.",
			Level: check.Required, Rows: []string{"C5", "S3", "B23"}, Run: lbAllowList,
		},
		{
			ID: "lb-ports", Proves: "Security groups open the ports 80 and 443 of each load balancer, and no other.",
			Level: check.Required, Rows: []string{"S3", "S6"}, Run: lbPorts,
		},
		{
			ID: "lb-no-classic", Proves: "No Service in the cluster has a Classic Load Balancer, by which people would come in beside the two load balancers.",
			Level: check.Advised, Rows: []string{"C5"}, Run: lbNoClassic,
		},
		{
			ID: "lb-invalid-headers", Proves: "Load balancers drop headers that are not valid.",
			Level: check.Required, Rows: []string{"B25"},
			Run: attributeCheck("routing.http.drop_invalid_header_fields.enabled", "true", equals("true")),
		},
		{
			ID: "lb-desync", Proves: "Load balancers mitigate request smuggling.",
			Level: check.Required, Rows: []string{"S3"},
			Run: attributeCheck("routing.http.desync_mitigation_mode", "defensive or strictest", equals("defensive", "strictest")),
		},
		{
			ID: "lb-idle-timeout", Proves: "Load balancers wait long enough for answers that stream.",
			Level: check.Advised, Rows: []string{"C5"},
			Run: attributeCheck("idle_timeout.timeout_seconds", "600 or more", func(v string) bool {
				n, err := strconv.Atoi(v)
				return err == nil && n >= 600
			}),
		},
		{
			ID: "lb-waf-fail-closed", Proves: "A load balancer that can't reach its firewall refuses requests.",
			Level: check.Required, Rows: []string{"B27"},
			Run: func(l *account.Look, r *check.Recorder) error {
				if !l.Arch.Config.WAF.Enabled {
					r.NA("waf.enabled is false")
					return nil
				}
				return attributeCheck("waf.fail_open.enabled", "false", equals("false", ""))(l, r)
			},
		},
		{
			ID: "lb-logs", Proves: "Access logs of both load balancers go to the log bucket, each under its own prefix.",
			Level: check.Required, Rows: []string{"B26", "B45"}, Run: lbLogs,
		},
		{
			ID: "lb-deletion-protection", Proves: "Load balancers refuse to be deleted, if the configuration protects the deployment.",
			Level: check.Required, Rows: []string{"B48"}, Run: lbProtected,
		},
	}
}

func lbThere(l *account.Look, r *check.Recorder) error {
	list, err := l.Balancers()
	if err != nil {
		return err
	}
	const api = "elasticloadbalancing:DescribeLoadBalancers"
	for _, part := range []string{account.WebPart, account.AdminPart} {
		var found []account.Balancer
		for _, b := range list {
			if b.Part == part {
				found = append(found, b)
			}
		}
		name := "load balancer " + l.Arch.LoadBalancerName(part)
		if len(found) == 0 {
			r.Missing(name, api, "if it is there, give it back its tags "+architecture.DeploymentTag+" and Name; if not, "+check.FixUpdate)
		}
		for _, b := range found {
			state := "unknown"
			if b.State != nil {
				state = string(b.State.Code)
			}
			kind := string(b.Type)
			r.Saw(len(found) == 1 && state == "active" && kind == "application", b.ARN(), fmt.Sprintf("%s, %s, one of %d", kind, state, len(found)), api,
				"one active application load balancer", "find out in CloudTrail who changed it, and "+check.FixUpdate)
		}
	}
	return nil
}

func lbSeparate(l *account.Look, r *check.Recorder) error {
	groups := map[string][]string{}
	err := l.EachBalancer(func(b account.Balancer) error {
		for _, g := range b.SecurityGroups {
			groups[g] = append(groups[g], b.Part)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range account.SortedKeys(groups) {
		slices.Sort(groups[g])
		parts := slices.Compact(groups[g])
		r.Saw(len(parts) == 1, g, "of the load balancer of "+strings.Join(parts, " and "), "elasticloadbalancing:DescribeLoadBalancers",
			"of one load balancer", check.FixUpdate)
	}
	return nil
}

func lbScheme(l *account.Look, r *check.Recorder) error {
	return l.EachBalancer(func(b account.Balancer) error {
		want := edgeEndpoint(l, b.Part).Scheme
		r.Saw(string(b.Scheme) == want, b.ARN(), string(b.Scheme), "elasticloadbalancing:DescribeLoadBalancers", want,
			"run poolhouse update with the deployment's file: it makes a load balancer of the other scheme and deletes this one")
		return nil
	})
}

func lbSubnets(l *account.Look, r *check.Recorder) error {
	return l.EachBalancer(func(b account.Balancer) error {
		subnets, err := edgeSubnets(l, b)
		if err != nil {
			return err
		}
		const api = "ec2:DescribeSubnets"
		tier := architecture.LoadBalancerTier(string(b.Scheme))
		zones := map[string]bool{}
		for _, s := range subnets {
			zones[aws.ToString(s.AvailabilityZoneId)] = true
			planned, want := l.PlannedIn(tier, s)
			r.Saw(planned, aws.ToString(s.SubnetId), aws.ToString(s.CidrBlock)+" with "+b.ARN(), api, "a subnet of the "+string(tier)+" tier: "+want,
				"Move the load balancer back: aws elbv2 set-subnets with the subnets of the "+string(tier)+" tier.")
		}
		least := max(2, len(l.Arch.Tier(tier)))
		names := strings.Join(account.SortedKeys(zones), ", ")
		r.Saw(len(zones) >= least, b.ARN(), "in the zones "+names, api, fmt.Sprintf("in %d zones", least),
			"Add a subnet in each missing zone: aws elbv2 set-subnets with all subnets of the "+string(tier)+" tier.")
		return nil
	})
}

// sources are where rules of a security group let connections come from.
func sources(p ec2types.IpPermission) []string {
	var out []string
	for _, x := range p.IpRanges {
		out = append(out, aws.ToString(x.CidrIp))
	}
	for _, x := range p.Ipv6Ranges {
		out = append(out, aws.ToString(x.CidrIpv6))
	}
	for _, x := range p.PrefixListIds {
		out = append(out, aws.ToString(x.PrefixListId))
	}
	for _, x := range p.UserIdGroupPairs {
		out = append(out, aws.ToString(x.GroupId))
	}
	return out
}

func lbAllowList(l *account.Look, r *check.Recorder) error {
	return l.EachBalancer(func(b account.Balancer) error {
		groups, err := edgeSecurityGroups(l, b)
		if err != nil {
			return err
		}
		const api = "ec2:DescribeSecurityGroups"
		var want []string
		for _, c := range edgeEndpoint(l, b.Part).AllowCIDRs {
			if c != "" {
				want = append(want, masked(c))
			}
		}
		if len(want) == 0 {
			r.NA("the configuration names no ranges for an internal load balancer in a network that it did not plan")
			return nil
		}
		have := map[string]string{}
		for _, g := range groups {
			for _, p := range g.IpPermissions {
				for _, s := range sources(p) {
					have[s] = aws.ToString(g.GroupId)
				}
			}
		}
		for _, s := range account.SortedKeys(have) {
			r.Saw(slices.Contains(want, s), have[s], s+" may connect to "+b.Part, api, "only "+strings.Join(want, ", "),
				"Revoke the rule: aws ec2 revoke-security-group-ingress. If the range is meant, add it to access."+b.Part+".allowCidrs and run poolhouse update.")
		}
		for _, w := range want {
			if have[w] == "" {
				r.Saw(false, strings.Join(b.SecurityGroups, ", "), w+" may not connect to "+b.Part, api, w+" may connect",
					"Allow it again: aws ec2 authorize-security-group-ingress for the ports 80 and 443.")
			}
		}
		return nil
	})
}

// masked is a range as EC2 writes it, without bits of the host.
func masked(cidr string) string {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return cidr
	}
	return p.Masked().String()
}

func lbPorts(l *account.Look, r *check.Recorder) error {
	return l.EachBalancer(func(b account.Balancer) error {
		groups, err := edgeSecurityGroups(l, b)
		if err != nil {
			return err
		}
		for _, g := range groups {
			for _, p := range g.IpPermissions {
				from, to := aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort)
				ok := aws.ToString(p.IpProtocol) == "tcp" && from == to && (from == 80 || from == 443)
				r.Saw(ok, aws.ToString(g.GroupId), ports(p)+" open to "+strings.Join(sources(p), ", "), "ec2:DescribeSecurityGroups", "tcp 80 and 443 only",
					"Revoke the rule: aws ec2 revoke-security-group-ingress. No listener needs it.")
			}
		}
		return nil
	})
}

// ports names the protocol and ports of a rule.
func ports(p ec2types.IpPermission) string {
	protocol := aws.ToString(p.IpProtocol)
	switch from, to := aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort); {
	case protocol == "-1":
		return "everything"
	case from == to:
		return fmt.Sprintf("%s %d", protocol, from)
	default:
		return fmt.Sprintf("%s %d-%d", protocol, from, to)
	}
}

func equals(values ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(values, v) }
}

// attributeCheck looks at one attribute of both load balancers.
func attributeCheck(key, want string, ok func(string) bool) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		return l.EachBalancer(func(b account.Balancer) error {
			all, err := edgeAttributes(l, b.ARN())
			if err != nil {
				return err
			}
			seen := all[key]
			r.Saw(ok(seen), b.ARN(), key+" is "+check.OrUnset(seen), "elasticloadbalancing:DescribeLoadBalancerAttributes", want,
				check.FixUpdate)
			return nil
		})
	}
}

func lbLogs(l *account.Look, r *check.Recorder) error {
	bucket := l.BucketName(l.Arch.Bucket(architecture.BucketLogs))
	prefixes := map[string]string{}
	return l.EachBalancer(func(b account.Balancer) error {
		all, err := edgeAttributes(l, b.ARN())
		if err != nil {
			return err
		}
		to, prefix := all["access_logs.s3.bucket"], all["access_logs.s3.prefix"]
		saw := "no access logs"
		if all["access_logs.s3.enabled"] == "true" {
			saw = "access logs to " + to + "/" + prefix
		}
		ok := all["access_logs.s3.enabled"] == "true" && to == bucket
		if other := prefixes[prefix]; ok && other != "" {
			ok, saw = false, saw+", as those of "+other
		}
		prefixes[prefix] = b.Part
		r.Saw(ok, b.ARN(), saw, "elasticloadbalancing:DescribeLoadBalancerAttributes", "access logs to "+bucket+", under a prefix of its own",
			check.FixUpdate)
		return nil
	})
}

func lbProtected(l *account.Look, r *check.Recorder) error {
	if !l.Arch.Config.Database.DeletionProtection {
		r.NA("database.deletionProtection is off, so nothing of the deployment is protected")
		return nil
	}
	return attributeCheck("deletion_protection.enabled", "true", equals("true"))(l, r)
}
