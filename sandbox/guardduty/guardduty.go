// Package guardduty is what Amazon GuardDuty's Runtime Monitoring puts into an
// account by itself: where its agent is managed automatically, an endpoint for
// the agent's findings and a security group for it, in every VPC that instances
// or the control plane of a cluster run in.
//
// Invariants: nothing appears unless [account.World] says that it is on; what
// is there already, whoever made it, isn't made again; both stay until somebody
// deletes them, and hold their subnets and VPC till then.
//
// Limits: GuardDuty's own API, its findings and its agents are not modelled, nor
// the link-local address by which agents can do without an endpoint.
// https://docs.aws.amazon.com/guardduty/latest/ug/runtime-monitoring-agent-connectivity.html
package guardduty

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

const service = "guardduty.amazonaws.com"

// Events are what GuardDuty does by itself.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){ec2.Occupied: func(tx *account.Tx, e account.Event) { protect(tx, e.ID) }}
}

// protect puts the endpoint and its group into a VPC where something runs.
// https://docs.aws.amazon.com/guardduty/latest/ug/how-does-runtime-monitoring-work.html
func protect(tx *account.Tx, vpc string) {
	v, name := tx.Get(ec2.TypeVPC, vpc), "com.amazonaws."+tx.Region()+".guardduty-data"
	subnets := choose(tx, vpc)
	if v == nil || len(subnets) == 0 {
		return
	}
	for _, e := range ec2.InVPC(tx, ec2.TypeVPCEndpoint, vpc) {
		if props.Str(e.Props, "ServiceName") == name {
			return
		}
	}
	if support, hostnames := ec2.VPCDNS(v); !support || !hostnames {
		return
	}
	tags := []any{map[string]any{"Key": "GuardDutyManaged", "Value": "true"}}
	group := tx.Find(ec2.TypeSecurityGroup, func(g *account.Resource) bool { return ec2.GroupName(g) == groupName(vpc) })
	if group == nil {
		in := []any{}
		for _, cidr := range ec2.Ranges(tx, v) {
			in = append(in, map[string]any{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": cidr.String()})
		}
		// What a quota refuses isn't made; GuardDuty tells nobody.
		var err error
		if group, _, err = tx.Create(ec2.TypeSecurityGroup, map[string]any{
			"VpcId": vpc, "GroupName": groupName(vpc), "GroupDescription": "Associated with VPC-" + vpc + " and tagged as GuardDutyManaged",
			"SecurityGroupIngress": in, "Tags": tags,
		}, service, true); err != nil {
			return
		}
	}
	_, _, _ = tx.Create(ec2.TypeVPCEndpoint, map[string]any{
		"VpcId": vpc, "ServiceName": name, "VpcEndpointType": "Interface", "PrivateDnsEnabled": true,
		"SubnetIds": props.List(subnets), "SecurityGroupIds": []any{group.ID}, "Tags": tags,
	}, service, true)
}

func groupName(vpc string) string { return "GuardDutyManagedSecurityGroup-" + vpc }

// choose takes, in each zone where something runs, the subnet with most free
// addresses.
func choose(tx *account.Tx, vpc string) []string {
	zones := map[string]bool{}
	for _, eni := range ec2.InVPC(tx, ec2.TypeNetworkInterface, vpc) {
		if s := tx.Get(ec2.TypeSubnet, props.Str(eni.Props, "SubnetId")); s != nil && ec2.Occupies(eni) {
			zones[ec2.ZoneOf(s).Name] = true
		}
	}
	best := map[string]*account.Resource{}
	for _, s := range ec2.InVPC(tx, ec2.TypeSubnet, vpc) {
		zone := ec2.ZoneOf(s).Name
		if zones[zone] && (best[zone] == nil || ec2.AvailableAddresses(tx, s) > ec2.AvailableAddresses(tx, best[zone])) {
			best[zone] = s
		}
	}
	var ids []string
	for _, s := range best {
		if ec2.AvailableAddresses(tx, s) > 0 {
			ids = append(ids, s.ID)
		}
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}
