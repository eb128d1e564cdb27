// Package network has the checks of the VPC, and of who can open a connection to
// whom in it.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: paths are computed from routes, ACLs and groups; nothing is sent.
package network

import (
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// theirs is why what a given network has is not judged.
const theirs = "network.existing names the network: %s"

// fixNetwork is the fix of what the network has: one that is given is for its
// owner to change.
func fixNetwork(l *account.Look) string {
	if l.Given() {
		return "ask the owner of the network to change it: the deployment leaves it as it is"
	}
	return check.FixUpdate
}

// What evidence on paths rests on.
const reachAPI = "ec2:DescribeNetworkInterfaces, DescribeRouteTables, DescribeNetworkAcls, DescribeSecurityGroupRules"

// Checks are the checks of the VPC and of what passes in it.
func Checks() []check.Check {
	return slices.Concat([]check.Check{
		{ID: "vpc-there", Proves: "There is one VPC of the deployment, its own or the given one, with the planned range.", Level: check.Required, Rows: []string{"C8"}, Run: vpcThere},
		{ID: "vpc-dns", Proves: "Names resolve in the VPC, and its hosts have names, without which private endpoints are not found.", Level: check.Required, Rows: []string{"C2", "S3"}, Run: vpcDNS},
		{ID: "subnets-tiers", Proves: "Every planned subnet of the three tiers is there.", Level: check.Required, Rows: []string{"C1", "C2", "C3", "C8"}, Run: subnetsTiers},
		{ID: "subnets-zones", Proves: "Each tier is spread over the zones that it should be in.", Level: check.Required, Rows: []string{"C7", "S8"}, Run: subnetsZones},
		{ID: "subnets-no-public-ip", Proves: "No subnet gives out public addresses.", Level: check.Required, Rows: []string{"B30", "S1"}, Run: subnetsNoPublicIP},
		{ID: "subnet-free-addresses", Proves: "Subnets have room: for EKS's interfaces, and for another node.", Level: check.Advised, Rows: []string{"C2", "C3"}, Run: subnetFreeAddresses},
		{ID: "acl-per-tier", Proves: "Each tier has a network ACL of its own, not the default one.", Level: check.Required, Rows: []string{"C8", "B33"}, Run: aclPerTier},
		{ID: "acl-no-open-ports", Proves: "Network ACLs let in from the internet only what their tier needs.", Level: check.Required, Rows: []string{"B33", "S3"}, Run: aclNoOpenPorts},
		{ID: "no-black-holes", Proves: "No route leads to something that is gone.", Level: check.Required, Rows: []string{"C8", "C9"}, Run: noBlackHoles},
		{ID: "igw-only-ours", Proves: "The VPC has one internet gateway, and no route leads to other networks unless clients come from there.", Level: check.Required, Rows: []string{"S3"}, Run: onlyGateway},
		{ID: "public-routes-to-internet", Proves: "Public subnets lead to the internet.", Level: check.Required, Rows: []string{"C1"}, Run: publicRoutes},
		{ID: "private-egress", Proves: "Private subnets reach the internet by NAT, by the way out that the network brings, or not at all if there is none.", Level: check.Required, Rows: []string{"C9", "N2"}, Run: privateEgress},
		{ID: "nat-per-zone", Proves: "Each private subnet leaves by a NAT in its own zone.", Level: check.Required, Rows: []string{"C9", "S8"}, Run: natPerZone},
		{ID: "nat-gateway-healthy", Proves: "NAT gateways are available and have public addresses.", Level: check.Required, Rows: []string{"C1", "C9", "N2"}, Run: natGatewayHealthy},
		{ID: "nat-instance-safe", Proves: "Self-managed NAT forwards, and lets in only the private subnets; its instances take IMDSv2 only.", Level: check.Required, Rows: []string{"N2", "B36"}, Run: natInstanceSafe},
		{ID: "nat-proved", Proves: "Where something in a private subnet can be asked, it was heard by way of NAT.", Level: check.Required, Rows: []string{"C9", "N2"}, Run: natProved},
		{ID: "private-no-way-in", Proves: "Nothing on the internet can open a connection to anything in private subnets.", Level: check.Required, Rows: []string{"C3", "S1", "B29"}, Run: noWayIn(architecture.Private)},
		{ID: "control-plane-no-way-in", Proves: "Nothing on the internet can open a connection to anything in control-plane subnets.", Level: check.Required, Rows: []string{"C2"}, Run: noWayIn(architecture.ControlPlane)},
		{ID: "nodes-not-reachable-from-internet", Proves: "Nothing on the internet can open a connection to a node.", Level: check.Required, Rows: []string{"S1", "B29"}, Run: nodesUnreachable},
		{ID: "database-not-reachable-from-internet", Proves: "Nothing on the internet can open a connection to PostgreSQL.", Level: check.Required, Rows: []string{"C12", "S3", "B29"}, Run: check.WithDatabase(databaseUnreachable)},
		{ID: "database-reached-only-by-core-nodes", Proves: "Of all that is in the VPC or connected to it, core nodes alone can open a connection to PostgreSQL.", Level: check.Required, Rows: []string{"C12", "S6"}, Run: check.WithDatabase(databaseReachedByCore)},
		{ID: "web-nodes-cannot-reach-database", Proves: "Nodes of web assistant and interface can't open a connection to PostgreSQL.", Level: check.Required, Rows: []string{"C11", "S9"}, Run: check.WithDatabase(webNodesApart)},
		{ID: "nodes-reach-database", Proves: "Every core node can connect to PostgreSQL, and answers come back.", Level: check.Required, Rows: []string{"C12", "S10"}, Run: check.WithDatabase(nodesReachDatabase)},
		{ID: "load-balancer-reaches-pods", Proves: "Each load balancer can connect to the nodes that it serves.", Level: check.Required, Rows: []string{"C1", "C5"}, Run: loadBalancersReachPods},
		{ID: "default-group-empty", Proves: "The VPC's default security group has no rules.", Level: check.Required, Rows: []string{"B32", "S6"}, Run: defaultGroupEmpty},
		{ID: "groups-name-groups", Proves: "Groups inside the VPC let in groups, not addresses.", Level: check.Required, Rows: []string{"B31", "S6"}, Run: groupsNameGroups},
		{ID: "groups-closed-egress", Proves: "Groups that need no way out have none.", Level: check.Required, Rows: []string{"B32", "S6"}, Run: groupsClosed},
		{ID: "no-open-ssh-rdp", Proves: "No security group lets SSH or RDP in from anywhere.", Level: check.Required, Rows: []string{"B37", "S3"}, Run: noOpenSSH},
		{ID: "endpoint-s3-gateway", Proves: "Private subnets reach S3 by a gateway endpoint; in a given network the way out does too.", Level: check.Required, Rows: []string{"C13", "S3"}, Run: endpointS3},
		{ID: "endpoints-present", Proves: "The interface endpoints are available in every zone, under the services' own names.", Level: check.Required, Rows: []string{"S3"}, Run: endpointsPresent},
		{ID: "endpoint-policies", Proves: "Endpoints have policies of their own.", Level: check.Required, Rows: []string{"B35"}, Run: endpointPolicies},
		{ID: "flow-logs", Proves: "All traffic of the VPC is logged, encrypted.", Level: check.Required, Rows: []string{"B34", "B11"}, Run: flowLogsOn},
	}, connectedChecks())
}
