package rule_test

import (
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
)

type in = map[string]any

// TestKey: rules that EC2 takes for the same have equal keys, others not.
func TestKey(t *testing.T) {
	t.Parallel()
	web := in{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/8"}
	for _, c := range []struct {
		name string
		a, b in
		same bool
	}{
		{"itself", web, web, true},
		{"description", web, in{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/8", "Description": "x"}, true},
		{"written otherwise", web, in{"IpProtocol": "6", "FromPort": "443", "ToPort": 443.0, "CidrIp": "10.1.2.3/8"}, true},
		{"ports of all protocols", in{"IpProtocol": "-1", "FromPort": 1, "ToPort": 2, "CidrIp": "10.0.0.0/8"}, in{"IpProtocol": "all", "CidrIp": "10.0.0.0/8"}, true},
		{"port", web, in{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 444, "CidrIp": "10.0.0.0/8"}, false},
		{"network", web, in{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/9"}, false},
		{"peer", in{"IpProtocol": "-1", "SourceSecurityGroupId": "sg-1"}, in{"IpProtocol": "-1", "SourcePrefixListId": "sg-1"}, false},
	} {
		if got := rule.Key(c.a) == rule.Key(c.b); got != c.same {
			t.Errorf("%s: %q and %q", c.name, rule.Key(c.a), rule.Key(c.b))
		}
	}
}

func TestProtocol(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"TCP": "tcp", "6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "-1": "-1", "all": "-1", "50": "50", "256": "", "http": "", "": ""} {
		if got := rule.Protocol(s); got != want {
			t.Errorf("protocol %q is %q, want %q", s, got, want)
		}
	}
}
