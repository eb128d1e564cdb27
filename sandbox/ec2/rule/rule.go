// Package rule is the language of security group rules: protocols, ports and
// peers, in CloudFormation's property names.
//
// Everything here is pure: a rule is checked by itself. Whether its group and
// its peer exist is for the caller to say. Network ACL entries share the
// protocols and ports.
package rule

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html
var description = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}$`) })

// Check tells what is wrong with a rule by itself: its protocol, ports, peer
// or description.
func Check(p map[string]any) error {
	if err := CheckPorts(p); err != nil {
		return err
	}
	if err := checkPeer(p); err != nil {
		return err
	}
	return CheckText(p)
}

// CheckText checks a rule's description.
func CheckText(p map[string]any) error {
	if !description().MatchString(props.Str(p, "Description")) {
		return account.Errorf("InvalidParameterValue", "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
	}
	return nil
}

// checkPeer wants exactly one of a network, a prefix list or a group.
func checkPeer(p map[string]any) error {
	if props.Str(p, "SourceSecurityGroupName") != "" && PeerGroup(p) == "" {
		return account.Errorf("InvalidParameterValue", "Group names are only supported for EC2-Classic and default VPC.")
	}
	v4, v6 := props.Str(p, "CidrIp"), props.Str(p, "CidrIpv6")
	n := 0
	for _, v := range []string{v4, v6, PrefixList(p), PeerGroup(p)} {
		if v != "" {
			n++
		}
	}
	switch {
	case n == 0:
		return account.Errorf("MissingParameter", "Source group ID missing.")
	case n > 1:
		return account.Errorf("InvalidParameterCombination", "Only one of CidrIp, CidrIpv6, prefix list or security group can be specified")
	case v4+v6 == "":
		return nil
	}
	if c, err := netip.ParsePrefix(v4 + v6); err != nil || c.Addr().Is4() != (v4 != "") {
		return account.Errorf("InvalidParameterValue", "CIDR block %s is malformed", v4+v6)
	}
	return nil
}

// CheckPorts checks IpProtocol, FromPort and ToPort.
func CheckPorts(p map[string]any) error {
	protocol := Protocol(props.Str(p, "IpProtocol"))
	if protocol == "" {
		return account.Errorf("InvalidParameterValue", "Invalid value '%s' for IP protocol. Unknown protocol.", props.Str(p, "IpProtocol"))
	}
	if protocol != "tcp" && protocol != "udp" {
		return nil
	}
	if !props.Has(p, "FromPort") || !props.Has(p, "ToPort") {
		return account.Errorf("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
	}
	from, to := props.Int(p, -1, "FromPort"), props.Int(p, -1, "ToPort")
	for _, port := range []int{from, to} {
		if port < 0 || port > 65535 {
			return account.Errorf("InvalidParameterValue", "TCP/UDP port (%d) out of range", port)
		}
	}
	if from > to {
		return account.Errorf("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", from, to)
	}
	return nil
}

// Protocol is EC2's name for a protocol given by name or number: "tcp" for 6,
// "-1" for all, "" for one that doesn't exist.
func Protocol(s string) string {
	switch s = strings.ToLower(s); s {
	case "tcp", "udp", "icmp", "icmpv6", "-1":
		return s
	case "all":
		return "-1"
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	case "58":
		return "icmpv6"
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 255 {
		return s
	}
	return ""
}

// PeerGroup is the group that a rule names as its source or destination, if any.
func PeerGroup(p map[string]any) string {
	return cmp.Or(props.Str(p, "SourceSecurityGroupId"), props.Str(p, "DestinationSecurityGroupId"))
}

// PrefixList is the prefix list that a rule names, if any.
func PrefixList(p map[string]any) string {
	return cmp.Or(props.Str(p, "SourcePrefixListId"), props.Str(p, "DestinationPrefixListId"))
}

// Key is equal for rules that EC2 takes for the same.
func Key(p map[string]any) string {
	protocol := Protocol(props.Str(p, "IpProtocol"))
	from, to := props.Str(p, "FromPort"), props.Str(p, "ToPort")
	if protocol == "-1" {
		from, to = "", ""
	}
	return strings.Join([]string{protocol, from, to, CIDR(p), PrefixList(p), PeerGroup(p)}, "|")
}

// Words describes a rule as EC2's messages do.
func Words(p map[string]any) string {
	peer := cmp.Or(CIDR(p), PrefixList(p), PeerGroup(p))
	protocol := Protocol(props.Str(p, "IpProtocol"))
	if protocol == "-1" {
		return fmt.Sprintf("peer: %s, ALL", peer)
	}
	return fmt.Sprintf("peer: %s, %s, from port: %s, to port: %s", peer, strings.ToUpper(protocol), props.Str(p, "FromPort"), props.Str(p, "ToPort"))
}

// CIDR is the network that a rule names, in canonical form, if any.
func CIDR(p map[string]any) string {
	cidr := props.Str(p, "CidrIp") + props.Str(p, "CidrIpv6")
	if c, err := netip.ParsePrefix(cidr); err == nil {
		return c.Masked().String()
	}
	return cidr
}
