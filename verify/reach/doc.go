// Package reach says what can reach what in a VPC: from routes, gateways,
// security groups and network ACLs together, exactly and without sending a
// packet.
//
// A [Network] is a value, what the describe calls of EC2 answer. [Compile]
// checks it, and [Model.Between] partitions every connection that one place
// could open to another (protocol, addresses, ports of both ends) into outcomes:
// open, one way only, blocked, or opaque where the traffic enters something that
// the value does not describe. Each has the trail that led to it: the route, the
// gateway, the ACL entry, the rule of the security group. Sets of addresses and
// ports are computed with, never sampled, so that nothing lies between.
//
// The rules are those that AWS documents:
//
//   - The longest prefix decides a route; then static before prefix list before
//     propagated. A propagated route never takes what the local route covers.
//     https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html
//     https://docs.aws.amazon.com/vpn/latest/s2svpn/vpn-route-priority.html
//   - A network ACL is read by number, the first match decides, and it keeps no
//     state: answers pass it again, to the port the connection came from.
//     https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
//   - Within a subnet there is neither a route nor an ACL.
//     https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html
//   - Security groups are a union of rules that allow, and let answers pass. A
//     reference to a group means the addresses of its members, and only of those
//     that the packet comes from, or goes to, without an appliance between.
//     https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
//   - An internet gateway serves what has a public address. A NAT gateway takes no
//     connection from outside, knows TCP, UDP and ICMP, and uses the ports 1024 to
//     65535 towards the internet.
//     https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html
//   - An appliance (an interface that a route names) forwards only without source
//     and destination check, and answers must come back through it.
//     https://docs.aws.amazon.com/vpc/latest/userguide/gateway-route-tables.html
//
// TCP is open only where its answers come back. What has no handshake reaches its
// target without answers too, which is one way. Whoever connects may choose any
// port to come from, so that an outcome holds for some: see [Region.Clients].
//
// Limits, all of which make the answer larger and never smaller: VPC block public
// access, AWS Network Firewall, listeners of load balancers, the ACL of a transit
// gateway's attachment and what lies behind a gateway are not looked at, and an
// appliance forwards all that it may. DNS and the other services at link-local
// addresses are not covered, nor is NAT64, nor a port forwarded by an instance.
package reach
