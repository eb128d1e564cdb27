package endpoint_test

import (
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

type in = ec2test.In

const prefix = "com.amazonaws.us-east-1."

func TestEndpoints(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	sameZone := l.Make(ec2.TypeSubnet, in{"VpcId": n.VPC.ID, "CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1a"})
	deaf := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.1.0.0/16"})
	deafSubnet := l.Make(ec2.TypeSubnet, in{"VpcId": deaf.ID, "CidrBlock": "10.1.0.0/24"})
	deafTable := l.Make(ec2.TypeRouteTable, in{"VpcId": deaf.ID})
	foreign := l.Make(ec2.TypeSecurityGroup, in{"VpcId": deaf.ID, "GroupDescription": "x"})
	gateway := func(more in) in {
		p := in{"VpcId": n.VPC.ID, "ServiceName": prefix + "s3", "VpcEndpointType": "Gateway", "RouteTableIds": []any{n.Table.ID}}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	face := func(more in) in {
		p := in{"VpcId": n.VPC.ID, "ServiceName": prefix + "ec2", "VpcEndpointType": "Interface", "PrivateDnsEnabled": true, "SubnetIds": []any{n.A.ID, n.B.ID}, "SecurityGroupIds": []any{n.Group.ID}}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	before := len(l.Account.Resources())
	s3 := l.Make(ec2.TypeVPCEndpoint, gateway(nil))
	l.Make(ec2.TypeVPCEndpoint, face(in{"ServiceName": prefix + "sts"}))
	l.Check([]ec2test.Case{
		{"unknown service", ec2.TypeVPCEndpoint, face(in{"ServiceName": prefix + "nothing"}), "InvalidServiceName: The Vpc Endpoint Service 'com.amazonaws.us-east-1.nothing' does not exist"},
		{"service of another region", ec2.TypeVPCEndpoint, face(in{"ServiceName": "com.amazonaws.eu-west-1.ec2"}), "InvalidServiceName"},
		{"gateway for what has none", ec2.TypeVPCEndpoint, gateway(in{"ServiceName": prefix + "ec2"}), "InvalidParameter: Endpoint type (Gateway) does not match available service types ([Interface])."},
		{"gateway without tables", ec2.TypeVPCEndpoint, gateway(in{"ServiceName": prefix + "dynamodb", "RouteTableIds": nil}), "MissingParameter"},
		{"gateway with subnets", ec2.TypeVPCEndpoint, gateway(in{"ServiceName": prefix + "dynamodb", "SubnetIds": []any{n.A.ID}}), "InvalidParameter"},
		{"gateway with foreign table", ec2.TypeVPCEndpoint, gateway(in{"ServiceName": prefix + "dynamodb", "RouteTableIds": []any{deafTable.ID}}), "InvalidParameter"},
		{"gateway again", ec2.TypeVPCEndpoint, gateway(nil), "RouteAlreadyExists: route table " + n.Table.ID + " already has a route with destination-prefix-list-id pl-63a5400a"},
		{"interface without subnets", ec2.TypeVPCEndpoint, face(in{"SubnetIds": []any{}}), "MissingParameter"},
		{"two subnets in a zone", ec2.TypeVPCEndpoint, face(in{"SubnetIds": []any{n.A.ID, sameZone.ID}}), "DuplicateSubnetsInSameZone"},
		{"foreign subnet", ec2.TypeVPCEndpoint, face(in{"SubnetIds": []any{deafSubnet.ID}}), "InvalidParameter: Subnet"},
		{"foreign group", ec2.TypeVPCEndpoint, face(in{"SecurityGroupIds": []any{foreign.ID}}), "InvalidParameter: Security group"},
		{"names without host names", ec2.TypeVPCEndpoint, face(in{"VpcId": deaf.ID, "SubnetIds": []any{deafSubnet.ID}, "SecurityGroupIds": nil}), "InvalidParameter: Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for " + deaf.ID},
		{"names taken", ec2.TypeVPCEndpoint, face(in{"ServiceName": prefix + "sts"}), "InvalidParameter: private-dns-enabled cannot be set because there is already a conflicting DNS domain for sts.us-east-1.amazonaws.com in the VPC " + n.VPC.ID},
		{"same service without names", ec2.TypeVPCEndpoint, face(in{"ServiceName": prefix + "sts", "PrivateDnsEnabled": false}), ""},
		{"policy", ec2.TypeVPCEndpoint, face(in{"PolicyDocument": "{"}), "InvalidPolicyDocument"},
	})
	l.Gone(s3)
	for _, e := range list(l, ec2.TypeVPCEndpoint) {
		l.Gone(e)
	}
	if after := len(l.Account.Resources()); after != before {
		t.Errorf("got %d resources after deletion, want %d", after, before)
	}
}

// TestVPCHeld: a gateway endpoint alone keeps its VPC.
func TestVPCHeld(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	vpc := l.Make(ec2.TypeVPC, in{"CidrBlock": "10.0.0.0/16"})
	var main string
	l.Do(func(tx *account.Tx) { main = ec2.InVPC(tx, ec2.TypeRouteTable, vpc.ID)[0].ID })
	e := l.Make(ec2.TypeVPCEndpoint, in{"VpcId": vpc.ID, "ServiceName": prefix + "s3", "RouteTableIds": []any{main}})
	l.Held("DependencyViolation: The vpc", vpc)
	l.Gone(e, vpc)
}

func list(l *ec2test.Lab, typ string) (out []*account.Resource) {
	l.Do(func(tx *account.Tx) { out = tx.List(typ) })
	return out
}

// TestInterfaces: one for each subnet, kept where the subnet stays, with names
// that tell the zones.
func TestInterfaces(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	p := in{"VpcId": n.VPC.ID, "ServiceName": prefix + "ecr.api", "VpcEndpointType": "Interface", "PrivateDnsEnabled": true, "SubnetIds": []any{n.A.ID, n.B.ID}}
	e := l.Make(ec2.TypeVPCEndpoint, p)
	entries := props.Strs(e.Attrs, "DnsEntries")
	if len(entries) != 4 || !strings.HasSuffix(entries[1], "-us-east-1a.api.ecr.us-east-1.vpce.amazonaws.com") || !strings.HasSuffix(entries[3], ":api.ecr.us-east-1.amazonaws.com") {
		t.Errorf("got DNS entries %q", entries)
	}
	first := props.Strs(e.Attrs, "NetworkInterfaceIds")
	if len(first) != 2 {
		t.Fatalf("got interfaces %q, want two", first)
	}
	l.Held("DependencyViolation: The subnet", n.B)
	next := in{"VpcId": n.VPC.ID, "ServiceName": prefix + "ecr.api", "VpcEndpointType": "Interface", "SubnetIds": []any{n.A.ID}, "SecurityGroupIds": []any{n.Group.ID}}
	l.Want("", l.Update(e, next))
	if got := props.Strs(e.Attrs, "NetworkInterfaceIds"); len(got) != 1 || got[0] != first[0] {
		t.Errorf("got interfaces %q after the update, want %q", got, first[:1])
	}
	if got := len(props.Strs(e.Attrs, "DnsEntries")); got != 2 {
		t.Errorf("got %d DNS entries without private ones, want 2", got)
	}
	l.Gone(n.B)
	l.Held("DependencyViolation: resource", n.Group)
}

func TestServices(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	l.Do(func(tx *account.Tx) {
		// Minimal egress needs these.
		for _, name := range []string{"s3", "ec2", "ecr.api", "ecr.dkr", "sts", "eks", "eks-auth", "elasticloadbalancing", "autoscaling", "logs", "secretsmanager", "kms", "ssm", "ssmmessages", "ec2messages", "monitoring"} {
			s, err := endpoint.FindService(tx, prefix+name)
			if err != nil || len(s.PrivateDNS) == 0 {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
		}
		all := endpoint.Services(tx)
		for i := 1; i < len(all); i++ {
			if all[i-1].Name >= all[i].Name {
				t.Errorf("services are not in order: %s, %s", all[i-1].Name, all[i].Name)
			}
		}
	})
}
