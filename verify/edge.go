package verify

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
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// edgeFacts are what the ways in are.
type edgeFacts struct {
	edgeBalancersFact   fact[[]edgeBalancer]
	edgeAttributesFacts keyed[map[string]string]
	edgeListenersFacts  keyed[[]edgeListener]
	edgeGroupsFacts     keyed[[]elbtypes.TargetGroup]
	edgePolicyFacts     keyed[*elbtypes.SslPolicy]
	edgeCertFacts       keyed[*types.CertificateDetail]
	edgeWebACLFacts     keyed[*waftypes.WebACL]
	edgeWAFLogFacts     keyed[*waftypes.LoggingConfiguration]
	edgeZoneFact        fact[string]
	edgeRecordFacts     keyed[[]r53types.ResourceRecordSet]
}

// The two load balancers, as their tag Name ends.
const (
	webPart   = "web"
	adminPart = "admin"
)

// edgeBalancer is a load balancer of the deployment.
type edgeBalancer struct {
	elbtypes.LoadBalancer
	// Part is web or admin, or empty for one that the deployment has no use
	// for.
	Part string
	Tags map[string]string
}

func (b edgeBalancer) arn() string { return aws.ToString(b.LoadBalancerArn) }

// edgeListener is a listener with its rules, the default one last.
type edgeListener struct {
	elbtypes.Listener
	Rules []elbtypes.Rule
}

func (l edgeListener) arn() string { return aws.ToString(l.ListenerArn) }
func (l edgeListener) port() int   { return int(aws.ToInt32(l.Port)) }

// edgeBalancers are the load balancers that carry the deployment's tag. They
// have no fixed names: a change of the scheme makes another one.
func (l *look) edgeBalancers() ([]edgeBalancer, error) {
	return l.edgeBalancersFact.get(func() ([]edgeBalancer, error) {
		byARN := map[string]elbtypes.LoadBalancer{}
		var arns []string
		pages := elb.NewDescribeLoadBalancersPaginator(l.aws.ELB, &elb.DescribeLoadBalancersInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list load balancers: %w", err)
			}
			for _, b := range page.LoadBalancers {
				arns = append(arns, aws.ToString(b.LoadBalancerArn))
				byARN[aws.ToString(b.LoadBalancerArn)] = b
			}
		}
		tags, err := l.elbTags(arns)
		if err != nil {
			return nil, err
		}
		var out []edgeBalancer
		for _, arn := range arns {
			if tags[arn][architecture.DeploymentTag] != l.arch.Name() {
				continue
			}
			b := edgeBalancer{LoadBalancer: byARN[arn], Tags: tags[arn]}
			for _, part := range []string{webPart, adminPart} {
				if b.Tags["Name"] == l.arch.LoadBalancerName(part) {
					b.Part = part
				}
			}
			out = append(out, b)
		}
		return out, nil
	})
}

// elbTags are the tags of load balancers, listeners, rules or target groups. A
// call takes 20.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
func (l *look) elbTags(arns []string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	batches := slices.Collect(slices.Chunk(arns, 20))
	for len(batches) > 0 {
		batch := batches[0]
		batches = batches[1:]
		got, err := l.aws.ELB.DescribeTags(l.ctx, &elb.DescribeTagsInput{ResourceArns: batch})
		if err != nil {
			// One of them, anybody's, may be gone since it was listed: then each
			// is asked by itself.
			gone := strings.HasSuffix(awsapi.Code(err), "NotFound")
			if gone && len(batch) > 1 {
				batches = append(batches, slices.Collect(slices.Chunk(batch, 1))...)
			}
			if gone {
				continue
			}
			return nil, fmt.Errorf("read the tags of load balancers: %w", err)
		}
		for _, d := range got.TagDescriptions {
			tags := map[string]string{}
			for _, t := range d.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			out[aws.ToString(d.ResourceArn)] = tags
		}
	}
	return out, nil
}

// edgeEndpoint is what the configuration says of a load balancer.
func (l *look) edgeEndpoint(part string) config.Endpoint {
	if part == adminPart {
		return l.arch.Config.Access.Admin
	}
	return l.arch.Config.Access.Web
}

// eachBalancer looks at the web and the admin load balancer. One that isn't
// there is the failure of lb-there alone, but a check that saw nothing at all
// could not look.
func (l *look) eachBalancer(do func(b edgeBalancer) error) error {
	list, err := l.edgeBalancers()
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.Part == "" {
			continue
		}
		if err := do(b); err != nil {
			return err
		}
	}
	return nil
}

// edgeAttributes are a load balancer's attributes by key.
func (l *look) edgeAttributes(arn string) (map[string]string, error) {
	return l.edgeAttributesFacts.get(arn, func() (map[string]string, error) {
		got, err := l.aws.ELB.DescribeLoadBalancerAttributes(l.ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: &arn})
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
func (l *look) edgeSecurityGroups(b edgeBalancer) ([]ec2types.SecurityGroup, error) {
	all, err := l.securityGroups()
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
func (l *look) edgeSubnets(b edgeBalancer) ([]ec2types.Subnet, error) {
	all, err := l.subnetsByID()
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

func edgeChecks() []Check {
	return slices.Concat(balancerChecks(), listenerChecks(), certificateChecks(), wafChecks(), dnsChecks())
}

func balancerChecks() []Check {
	return []Check{
		{
			ID: "lb-there", Proves: "There are two application load balancers, one for web users and API clients and one for administrators, and both are active.",
			Level: Required, Rows: []string{"C1", "C5", "B22"}, run: lbThere,
		},
		{
			ID: "lb-separate", Proves: "The load balancers of web users and administrators share no security group.",
			Level: Required, Rows: []string{"C5", "S3", "B22"}, run: lbSeparate,
		},
		{
			ID: "lb-scheme", Proves: "Each load balancer is internet-facing or internal as configured.",
			Level: Required, Rows: []string{"C1", "C5"}, run: lbScheme,
		},
		{
			ID: "lb-subnets", Proves: "Each load balancer has one subnet in each zone, of the tier that belongs to its scheme.",
			Level: Required, Rows: []string{"C1", "C7", "S8"}, run: lbSubnets,
		},
		{
			ID: "lb-allow-list", Proves: "Security groups let exactly the configured ranges reach each load balancer, and nothing else.",
			Level: Required, Rows: []string{"C5", "S3", "B23"}, run: lbAllowList,
		},
		{
			ID: "lb-ports", Proves: "Security groups open the ports 80 and 443 of each load balancer, and no other.",
			Level: Required, Rows: []string{"S3", "S6"}, run: lbPorts,
		},
		{
			ID: "lb-invalid-headers", Proves: "Load balancers drop headers that are not valid.",
			Level: Required, Rows: []string{"B25"},
			run: attributeCheck("routing.http.drop_invalid_header_fields.enabled", "true", equals("true")),
		},
		{
			ID: "lb-desync", Proves: "Load balancers mitigate request smuggling.",
			Level: Required, Rows: []string{"S3"},
			run: attributeCheck("routing.http.desync_mitigation_mode", "defensive or strictest", equals("defensive", "strictest")),
		},
		{
			ID: "lb-idle-timeout", Proves: "Load balancers wait long enough for answers that stream.",
			Level: Advised, Rows: []string{"C5"},
			run: attributeCheck("idle_timeout.timeout_seconds", "600 or more", func(v string) bool {
				n, err := strconv.Atoi(v)
				return err == nil && n >= 600
			}),
		},
		{
			ID: "lb-waf-fail-closed", Proves: "A load balancer that can't reach its firewall refuses requests.",
			Level: Required, Rows: []string{"B27"},
			run: func(l *look, r *result) error {
				if !l.arch.Config.WAF.Enabled {
					r.na("waf.enabled is false")
					return nil
				}
				return attributeCheck("waf.fail_open.enabled", "false", equals("false", ""))(l, r)
			},
		},
		{
			ID: "lb-logs", Proves: "Access logs of both load balancers go to the log bucket, each under its own prefix.",
			Level: Required, Rows: []string{"B26", "B45"}, run: lbLogs,
		},
		{
			ID: "lb-deletion-protection", Proves: "Load balancers refuse to be deleted, if the configuration protects the deployment.",
			Level: Required, Rows: []string{"B48"}, run: lbProtected,
		},
	}
}

func lbThere(l *look, r *result) error {
	list, err := l.edgeBalancers()
	if err != nil {
		return err
	}
	const api = "elasticloadbalancing:DescribeLoadBalancers"
	for _, part := range []string{webPart, adminPart} {
		var found []edgeBalancer
		for _, b := range list {
			if b.Part == part {
				found = append(found, b)
			}
		}
		name := "load balancer " + l.arch.LoadBalancerName(part)
		if len(found) == 0 {
			r.missing(name, api, "if it is there, give it back its tags "+architecture.DeploymentTag+" and Name; if not, "+fixUpdate)
		}
		for _, b := range found {
			state := "unknown"
			if b.State != nil {
				state = string(b.State.Code)
			}
			kind := string(b.Type)
			r.saw(len(found) == 1 && state == "active" && kind == "application", b.arn(), fmt.Sprintf("%s, %s, one of %d", kind, state, len(found)), api,
				"one active application load balancer", "find out in CloudTrail who changed it, and "+fixUpdate)
		}
	}
	return nil
}

func lbSeparate(l *look, r *result) error {
	groups := map[string][]string{}
	err := l.eachBalancer(func(b edgeBalancer) error {
		for _, g := range b.SecurityGroups {
			groups[g] = append(groups[g], b.Part)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range sortedKeys(groups) {
		slices.Sort(groups[g])
		parts := slices.Compact(groups[g])
		r.saw(len(parts) == 1, g, "of the load balancer of "+strings.Join(parts, " and "), "elasticloadbalancing:DescribeLoadBalancers",
			"of one load balancer", fixUpdate)
	}
	return nil
}

func lbScheme(l *look, r *result) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		want := l.edgeEndpoint(b.Part).Scheme
		r.saw(string(b.Scheme) == want, b.arn(), string(b.Scheme), "elasticloadbalancing:DescribeLoadBalancers", want,
			"run poolhouse update with the deployment's file: it makes a load balancer of the other scheme and deletes this one")
		return nil
	})
}

func lbSubnets(l *look, r *result) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		subnets, err := l.edgeSubnets(b)
		if err != nil {
			return err
		}
		const api = "ec2:DescribeSubnets"
		tier := architecture.LoadBalancerTier(string(b.Scheme))
		zones := map[string]bool{}
		for _, s := range subnets {
			zones[aws.ToString(s.AvailabilityZoneId)] = true
			planned, want := l.plannedIn(tier, s)
			r.saw(planned, aws.ToString(s.SubnetId), aws.ToString(s.CidrBlock)+" with "+b.arn(), api, "a subnet of the "+string(tier)+" tier: "+want,
				"Move the load balancer back: aws elbv2 set-subnets with the subnets of the "+string(tier)+" tier.")
		}
		least := max(2, len(l.arch.Tier(tier)))
		names := strings.Join(sortedKeys(zones), ", ")
		r.saw(len(zones) >= least, b.arn(), "in the zones "+names, api, fmt.Sprintf("in %d zones", least),
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

func lbAllowList(l *look, r *result) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		groups, err := l.edgeSecurityGroups(b)
		if err != nil {
			return err
		}
		const api = "ec2:DescribeSecurityGroups"
		var want []string
		for _, c := range l.edgeEndpoint(b.Part).AllowCIDRs {
			if c != "" {
				want = append(want, masked(c))
			}
		}
		if len(want) == 0 {
			r.na("the configuration names no ranges for an internal load balancer in a network that it did not plan")
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
		for _, s := range sortedKeys(have) {
			r.saw(slices.Contains(want, s), have[s], s+" may connect to "+b.Part, api, "only "+strings.Join(want, ", "),
				"Revoke the rule: aws ec2 revoke-security-group-ingress. If the range is meant, add it to access."+b.Part+".allowCidrs and run poolhouse update.")
		}
		for _, w := range want {
			if have[w] == "" {
				r.saw(false, strings.Join(b.SecurityGroups, ", "), w+" may not connect to "+b.Part, api, w+" may connect",
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

func lbPorts(l *look, r *result) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		groups, err := l.edgeSecurityGroups(b)
		if err != nil {
			return err
		}
		for _, g := range groups {
			for _, p := range g.IpPermissions {
				from, to := aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort)
				ok := aws.ToString(p.IpProtocol) == "tcp" && from == to && (from == 80 || from == 443)
				r.saw(ok, aws.ToString(g.GroupId), ports(p)+" open to "+strings.Join(sources(p), ", "), "ec2:DescribeSecurityGroups", "tcp 80 and 443 only",
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
func attributeCheck(key, want string, ok func(string) bool) func(*look, *result) error {
	return func(l *look, r *result) error {
		return l.eachBalancer(func(b edgeBalancer) error {
			all, err := l.edgeAttributes(b.arn())
			if err != nil {
				return err
			}
			seen := all[key]
			r.saw(ok(seen), b.arn(), key+" is "+orUnset(seen), "elasticloadbalancing:DescribeLoadBalancerAttributes", want,
				fixUpdate)
			return nil
		})
	}
}

func orUnset(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

func lbLogs(l *look, r *result) error {
	bucket := l.bucketName(l.arch.Bucket(architecture.BucketLogs))
	prefixes := map[string]string{}
	return l.eachBalancer(func(b edgeBalancer) error {
		all, err := l.edgeAttributes(b.arn())
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
		r.saw(ok, b.arn(), saw, "elasticloadbalancing:DescribeLoadBalancerAttributes", "access logs to "+bucket+", under a prefix of its own",
			fixUpdate)
		return nil
	})
}

func lbProtected(l *look, r *result) error {
	if !l.arch.Config.Database.DeletionProtection {
		r.na("database.deletionProtection is off, so nothing of the deployment is protected")
		return nil
	}
	return attributeCheck("deletion_protection.enabled", "true", equals("true"))(l, r)
}
