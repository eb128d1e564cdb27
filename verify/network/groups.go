package network

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

func defaultGroupEmpty(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "its default security group may be in use by others")
		return nil
	}
	groups, err := l.SecurityGroups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if aws.ToString(g.GroupName) != "default" {
			continue
		}
		in, out := len(g.IpPermissions), len(g.IpPermissionsEgress)
		r.Saw(in+out == 0, aws.ToString(g.GroupId), fmt.Sprintf("%d rules in, %d out", in, out), "ec2:DescribeSecurityGroups", "no rules", "run poolhouse update, which empties it")
	}
	return nil
}

// Groups that face addresses: those of load balancers, which clients reach, and of
// self-managed NAT, which private subnets do.
var facing = []string{"alb-web", "alb-admin", "nat"}

// closed are groups that open no connections.
var closed = []string{"database", "endpoints", "nodes-gpu"}

func groupsNameGroups(l *account.Look, r *check.Recorder) error {
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	for _, name := range account.SortedKeys(ours) {
		id := aws.ToString(ours[name].GroupId)
		if slices.Contains(facing, name) {
			continue
		}
		n := 0
		for _, rule := range rules {
			if aws.ToString(rule.GroupId) != id || aws.ToBool(rule.IsEgress) {
				continue
			}
			n++
			// Who may reach the Kubernetes API from connected networks is for
			// cluster-api-sources.
			operators := name == "control-plane" && slices.Contains(l.Arch.Config.Cluster.API.AllowCIDRs, vpc.PeerOf(rule)) && vpc.PortsOf(rule) == "tcp 443"
			if rule.ReferencedGroupInfo == nil && !operators {
				r.Saw(false, id, fmt.Sprintf("%s: %s lets in %s from %s", name, aws.ToString(rule.SecurityGroupRuleId), vpc.PortsOf(rule), vpc.PeerOf(rule)), "ec2:DescribeSecurityGroupRules",
					"groups only", "aws ec2 revoke-security-group-ingress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
			}
		}
		r.Saw(true, id, fmt.Sprintf("%s has %d rules in", name, n), "ec2:DescribeSecurityGroupRules", "", "")
	}
	return nil
}

func groupsClosed(l *account.Look, r *check.Recorder) error {
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	for _, name := range closed {
		g, ok := ours[name]
		id := aws.ToString(g.GroupId)
		if !ok {
			r.Missing("security group "+l.Arch.ResourceName(name), "ec2:DescribeSecurityGroups", check.FixUpdate)
			continue
		}
		open := false
		for _, rule := range rules {
			// A rule for loopback, where no packet leaves the host, keeps EC2 from
			// adding one for everything.
			if aws.ToString(rule.GroupId) != id || !aws.ToBool(rule.IsEgress) || vpc.PeerOf(rule) == "127.0.0.1/32" {
				continue
			}
			open = true
			r.Saw(false, id, fmt.Sprintf("%s: %s lets out %s to %s", name, aws.ToString(rule.SecurityGroupRuleId), vpc.PortsOf(rule), vpc.PeerOf(rule)), "ec2:DescribeSecurityGroupRules",
				"no way out", "aws ec2 revoke-security-group-egress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
		}
		if !open {
			r.Saw(true, id, name+" has no way out", "ec2:DescribeSecurityGroupRules", "", "")
		}
	}
	return nil
}

func noOpenSSH(l *account.Look, r *check.Recorder) error {
	groups, err := l.SecurityGroups()
	if err != nil {
		return err
	}
	rules, err := l.GroupRules()
	if err != nil {
		return err
	}
	if l.Given() {
		groups = slices.DeleteFunc(slices.Clone(groups), func(g types.SecurityGroup) bool {
			return account.Tag(g.Tags, architecture.DeploymentTag) != l.Arch.Name() && account.Tag(g.Tags, "aws:eks:cluster-name") != l.Arch.ClusterName()
		})
	}
	for _, g := range groups {
		id := aws.ToString(g.GroupId)
		ok := true
		for _, rule := range rules {
			if aws.ToString(rule.GroupId) != id || aws.ToBool(rule.IsEgress) || !fromAnywhere(rule) {
				continue
			}
			t := vpc.TrafficOf(rule)
			for _, port := range []int{22, 3389} {
				if t.Protocol != -1 && (t.Protocol != 6 || t.From != -1 && (port < t.From || t.To < port)) {
					continue
				}
				ok = false
				r.Saw(false, aws.ToString(rule.SecurityGroupRuleId), fmt.Sprintf("%s lets in %s from %s, with it port %d", id, vpc.PortsOf(rule), vpc.PeerOf(rule), port), "ec2:DescribeSecurityGroupRules",
					"neither 22 nor 3389 from anywhere", "aws ec2 revoke-security-group-ingress --group-id "+id+" --security-group-rule-ids "+aws.ToString(rule.SecurityGroupRuleId))
			}
		}
		if ok {
			r.Saw(true, id, "neither 22 nor 3389 from anywhere", "ec2:DescribeSecurityGroupRules", "", "")
		}
	}
	return nil
}

// fromAnywhere tells whether a rule names every address.
func fromAnywhere(rule types.SecurityGroupRule) bool {
	return aws.ToString(rule.CidrIpv4) == "0.0.0.0/0" || aws.ToString(rule.CidrIpv6) == "::/0"
}
