package nodes

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

// privateChecks are the checks of what private clusters have: ways to the
// Kubernetes API, a proxy, private authorities.
func privateChecks() []check.Check {
	return []check.Check{
		{ID: "cluster-api-sources", Proves: "Of addresses inside, nodes reach the Kubernetes API, and besides them only the configured session host and ranges.", Level: check.Required, Rows: []string{"B49", "S3", "S6"}, Run: check.OnCluster(clusterAPISources)},
		{ID: "session-host-safe", Proves: "The session host runs in a private subnet, lets nothing in, opens connections to the Kubernetes API and AWS's endpoints only, takes IMDSv2 only, and its volume is encrypted.", Level: check.Required, Rows: []string{"B51", "S1", "S6"}, Run: sessionHostSafe},
		{ID: "proxy-ports-private", Proves: "Nodes reach the proxy's port, in private ranges only.", Level: check.Required, Rows: []string{"B50", "S3"}, Run: proxyPortsPrivate},
		{ID: "nodes-trust-and-proxy", Proves: "New nodes come with the configured proxy and believe the configured authorities.", Level: check.Required, Rows: []string{"S5"}, Run: nodesTrustAndProxy},
		{ID: "trust-not-expired", Proves: "No certificate of the configured authorities has expired.", Level: check.Required, Rows: []string{"S5"}, Run: trustNotExpired},
		{ID: "trust-expires-later", Proves: "No certificate of the configured authorities expires within 30 days.", Level: check.Advised, Rows: []string{"S5"}, Run: trustExpiresLater},
	}
}

// coversPort tells whether a rule is for a TCP port among others.
func coversPort(rule ec2types.SecurityGroupRule, port int) bool {
	t := vpc.TrafficOf(rule)
	return t.Protocol == -1 || t.Protocol == 6 && (t.From == -1 || t.From <= port && port <= t.To)
}

const seeRules = "ec2:DescribeSecurityGroupRules"

func clusterAPISources(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	api := l.Arch.Config.Cluster.API
	groups := append([]string{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}, c.ResourcesVpcConfig.SecurityGroupIds...)
	want := map[string]string{} // peers by id or range, to their names
	for _, id := range groups {
		want[id] = "the control plane and its nodes"
	}
	for name, g := range ours {
		if name == "nodes" || strings.HasPrefix(name, "nodes-") || name == "session-host" && api.SessionHost {
			want[aws.ToString(g.GroupId)] = name
		}
	}
	for _, cidr := range api.AllowCIDRs {
		want[cidr] = "operators"
	}
	needed := map[string]string{}
	for _, cidr := range api.AllowCIDRs {
		needed[cidr] = cidr
	}
	if api.SessionHost {
		needed[aws.ToString(ours["session-host"].GroupId)] = "the session host"
	}
	for _, rule := range rules {
		group := aws.ToString(rule.GroupId)
		if aws.ToBool(rule.IsEgress) || !slices.Contains(groups, group) || !coversPort(rule, 443) {
			continue
		}
		peer := vpc.PeerOf(rule)
		name, ok := want[peer]
		saw := fmt.Sprintf("%s lets in %s from %s", group, vpc.PortsOf(rule), peer)
		if ok && name != peer {
			saw += " (" + name + ")"
		}
		delete(needed, peer)
		r.Saw(ok, aws.ToString(rule.SecurityGroupRuleId), saw, seeRules, "nodes, and what cluster.api has",
			"aws ec2 revoke-security-group-ingress --group-id "+group+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId)+"; or add the range to cluster.api.allowCidrs")
	}
	for _, peer := range account.SortedKeys(needed) {
		r.Saw(false, aws.ToString(c.Arn), "nothing lets in "+needed[peer], seeRules, "443 open to it, as cluster.api says", check.FixUpdate)
	}
	return nil
}

func sessionHostSafe(l *account.Look, r *check.Recorder) error {
	instances, err := l.VPCInstances()
	if err != nil {
		return err
	}
	var hosts []ec2types.Instance
	for _, i := range instances {
		if account.Tag(i.Tags, architecture.DeploymentTag) == l.Arch.Name() && account.Tag(i.Tags, "Name") == l.Arch.SessionHostName() {
			hosts = append(hosts, i)
		}
	}
	wanted := l.Arch.Config.Cluster.API.SessionHost
	switch {
	case !wanted && len(hosts) == 0:
		r.NA("cluster.api.sessionHost is false: there is no session host")
		return nil
	case !wanted:
		r.Saw(false, aws.ToString(hosts[0].InstanceId), "a session host", "ec2:DescribeInstances", "none, since cluster.api.sessionHost is false", check.FixUpdate)
	case !slices.ContainsFunc(hosts, func(i ec2types.Instance) bool {
		return i.State != nil && i.State.Name == ec2types.InstanceStateNameRunning
	}):
		r.Saw(false, l.Arch.SessionHostName(), "not running", "ec2:DescribeInstances", "a running instance", "see the Auto Scaling group's activities for why none is launched")
	}
	groups := map[string]bool{}
	for _, i := range hosts {
		for _, g := range i.SecurityGroups {
			groups[aws.ToString(g.GroupId)] = true
		}
		if err := sessionHost(l, r, i); err != nil {
			return err
		}
	}
	return sessionGroups(l, r, groups)
}

// sessionHost judges the instance itself.
func sessionHost(l *account.Look, r *check.Recorder, i ec2types.Instance) error {
	id := aws.ToString(i.InstanceId)
	fix := "aws ec2 terminate-instances --instance-ids " + id + ": its group makes another from the launch template"
	const api = "ec2:DescribeInstances"
	tokens, hops := ec2types.HttpTokensState("unknown"), int32(0)
	if i.MetadataOptions != nil {
		tokens, hops = i.MetadataOptions.HttpTokens, aws.ToInt32(i.MetadataOptions.HttpPutResponseHopLimit)
	}
	r.Saw(tokens == ec2types.HttpTokensStateRequired && hops == 1, id, fmt.Sprintf("tokens %s, hop limit %d", tokens, hops), api, "tokens required, hop limit 1", fix)
	saw := "no public address"
	public := aws.ToString(i.PublicIpAddress)
	for _, f := range i.NetworkInterfaces {
		if f.Association != nil && public == "" {
			public = aws.ToString(f.Association.PublicIp)
		}
	}
	if public != "" {
		saw = "public address " + public
	}
	r.Saw(public == "", id, saw, api, "no public address", "take the address away: aws ec2 disassociate-address")
	if key := aws.ToString(i.KeyName); key != "" {
		r.Saw(false, id, "key pair "+key, api, "no key pair", fix)
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	subnet, known := p.Of(aws.ToString(i.SubnetId))
	saw = "in " + aws.ToString(i.SubnetId)
	if known {
		saw += ", " + string(subnet.Tier)
	}
	r.Saw(known && subnet.Tier == architecture.Private, id, saw, api, "in a private subnet", fix)
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	volumes := 0
	err = account.Pages(l, "volumes of the session host", ec2.NewDescribeVolumesPaginator(l.AWS.EC2, &ec2.DescribeVolumesInput{Filters: []ec2types.Filter{account.Filter("attachment.instance-id", id)}}),
		func(o *ec2.DescribeVolumesOutput) {
			for _, v := range o.Volumes {
				volumes++
				saw := "not encrypted"
				if aws.ToBool(v.Encrypted) {
					saw = "encrypted with " + aws.ToString(v.KmsKeyId)
				}
				ok := aws.ToBool(v.Encrypted) && account.KeyIDOf(aws.ToString(v.KmsKeyId)) == keys[architecture.KeyVolumes]
				r.Saw(ok, aws.ToString(v.VolumeId), saw, "ec2:DescribeVolumes", "encrypted with "+l.Arch.KeyAlias(architecture.KeyVolumes), fix)
			}
		})
	if err == nil && volumes == 0 {
		r.Saw(false, id, "no volume", "ec2:DescribeVolumes", "an encrypted volume", fix)
	}
	return err
}

// sessionGroups judges the security groups of the session host.
func sessionGroups(l *account.Look, r *check.Recorder, groups map[string]bool) error {
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	open := map[string]bool{}
	for _, name := range []string{"control-plane", "endpoints"} {
		open[aws.ToString(ours[name].GroupId)] = true
	}
	for _, rule := range rules {
		id, group := aws.ToString(rule.SecurityGroupRuleId), aws.ToString(rule.GroupId)
		if !groups[group] {
			continue
		}
		if !aws.ToBool(rule.IsEgress) {
			r.Saw(false, id, fmt.Sprintf("%s lets in %s from %s", group, vpc.PortsOf(rule), vpc.PeerOf(rule)), seeRules, "nothing let in",
				"aws ec2 revoke-security-group-ingress --group-id "+group+" --security-group-rule-ids "+id)
			continue
		}
		ok := (open[vpc.PeerOf(rule)] || l.Arch.SessionHostGoesOut() && vpc.PeerOf(rule) == "0.0.0.0/0") && vpc.PortsOf(rule) == "tcp 443"
		r.Saw(ok, id, fmt.Sprintf("%s lets out %s to %s", group, vpc.PortsOf(rule), vpc.PeerOf(rule)), seeRules, "443 to the control plane and to endpoints only, or to where the endpoints of a given network are",
			"aws ec2 revoke-security-group-egress --group-id "+group+" --security-group-rule-ids "+id)
	}
	return nil
}

func proxyPortsPrivate(l *account.Look, r *check.Recorder) error {
	port := l.Arch.ProxyPort()
	switch port {
	case 0:
		r.NA("proxy.url is empty: there is no proxy")
		return nil
	case 443:
		r.NA("the proxy's port is 443, on which nodes reach AWS's APIs too")
		return nil
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	ranges := l.Arch.ProxyRanges()
	private := append(slices.Clone(ranges),
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"))
	lacking := map[string]bool{}
	for _, p := range ranges {
		lacking[p.String()] = true
	}
	for _, name := range account.SortedKeys(ours) {
		if name != "nodes" && !strings.HasPrefix(name, "nodes-") {
			continue
		}
		group := aws.ToString(ours[name].GroupId)
		for _, rule := range rules {
			// A rule for another group names hosts of the VPC.
			if aws.ToString(rule.GroupId) != group || !aws.ToBool(rule.IsEgress) || rule.ReferencedGroupInfo != nil || !coversPort(rule, port) {
				continue
			}
			peer := vpc.PeerOf(rule)
			p, err := netip.ParsePrefix(peer)
			ok := err == nil && slices.ContainsFunc(private, func(in netip.Prefix) bool { return in.Bits() <= p.Bits() && in.Contains(p.Addr()) })
			delete(lacking, peer)
			id := aws.ToString(rule.SecurityGroupRuleId)
			r.Saw(ok, id, fmt.Sprintf("%s (%s) lets out %s to %s", group, name, vpc.PortsOf(rule), peer), seeRules, fmt.Sprintf("port %d in private ranges only", port),
				"aws ec2 revoke-security-group-egress --group-id "+group+" --security-group-rule-ids "+id)
		}
	}
	for _, cidr := range account.SortedKeys(lacking) {
		r.Saw(false, l.Arch.ResourceName("nodes"), fmt.Sprintf("no way out to %s on %d", cidr, port), seeRules, "open, since the proxy may be there", check.FixUpdate)
	}
	return nil
}

// fingerprint is a certificate for people: its subject and the beginning of its
// SHA-256.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return c.Subject.String() + " (SHA-256 " + hex.EncodeToString(sum[:8]) + "…)"
}

func nodesTrustAndProxy(l *account.Look, r *check.Recorder) error {
	url, authorities := l.Arch.Config.Proxy.URL, l.Arch.Config.Trust.Certificates()
	if url == "" && len(authorities) == 0 {
		r.NA("neither proxy.url nor trust.caBundle is there")
		return nil
	}
	return onceTemplate(func(l *account.Look, r *check.Recorder, _ account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
		const api = "ec2:DescribeLaunchTemplateVersions"
		data, err := base64.StdEncoding.DecodeString(aws.ToString(t.UserData))
		if err != nil {
			return fmt.Errorf("read the user data of %s: %w", id, err)
		}
		if url != "" {
			direct := strings.Join(l.Arch.NoProxy(), ",")
			lines := strings.Split(string(data), "\n")
			for _, v := range []struct{ line, what string }{
				{"proxy='" + url + "'", "the proxy " + url},
				{"no='" + direct + "'", "what is reached without it, " + direct},
			} {
				ok := slices.Contains(lines, v.line)
				saw := "user data without " + v.what
				if ok {
					saw = "user data with " + v.what
				}
				r.Saw(ok, id, saw, api, v.what, newNodes)
			}
		}
		has := map[string]bool{}
		for rest := data; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			has[string(block.Bytes)] = true
		}
		for _, c := range authorities {
			saw := "user data with " + fingerprint(c)
			if !has[string(c.Raw)] {
				saw = "user data without " + fingerprint(c)
			}
			r.Saw(has[string(c.Raw)], id, saw, api, "the certificate of trust.caBundle", newNodes)
		}
		return nil
	})(l, r)
}

const renewTrust = "put the authority's new certificate into trust.caBundle beside the old one and run poolhouse update, which replaces the nodes one by one"

func trustNotExpired(l *account.Look, r *check.Recorder) error {
	now := l.AWS.Clock.Now()
	return eachAuthority(l, r, func(c *x509.Certificate) {
		saw := "valid until " + c.NotAfter.UTC().Format(time.DateOnly)
		if now.After(c.NotAfter) {
			saw = "expired on " + c.NotAfter.UTC().Format(time.DateOnly)
		}
		r.Saw(!now.After(c.NotAfter), fingerprint(c), saw, inConfiguration, "a certificate that is valid", renewTrust)
	})
}

func trustExpiresLater(l *account.Look, r *check.Recorder) error {
	now := l.AWS.Clock.Now()
	return eachAuthority(l, r, func(c *x509.Certificate) {
		if now.After(c.NotAfter) {
			r.Saw(true, fingerprint(c), "expired, as trust-not-expired says", inConfiguration, "", "")
			return
		}
		left := c.NotAfter.Sub(now)
		r.Saw(left >= 30*24*time.Hour, fingerprint(c), fmt.Sprintf("expires on %s, in %d days", c.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24)), inConfiguration, "30 days or more", renewTrust)
	})
}

// inConfiguration is where certificates are seen; that nodes have them is for
// nodes-trust-and-proxy.
const inConfiguration = "trust.caBundle"

func eachAuthority(l *account.Look, r *check.Recorder, f func(*x509.Certificate)) error {
	list := l.Arch.Config.Trust.Certificates()
	if len(list) == 0 {
		r.NA("trust.caBundle is empty: there are no private authorities")
	}
	for _, c := range list {
		f(c)
	}
	return nil
}
