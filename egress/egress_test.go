package egress_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/egress"
)

// account answers with what it holds, whatever the filters.
type account struct {
	routes     []ec2types.Route
	main       bool
	gateways   []ec2types.NatGateway
	interfaces []ec2types.NetworkInterface
	endpoints  []ec2types.VpcEndpoint
	instances  []ec2types.Instance
	agents     []ssmtypes.InstanceInformation
}

func (a account) DescribeRouteTables(context.Context, *ec2.DescribeRouteTablesInput, ...func(*ec2.Options)) (*ec2.DescribeRouteTablesOutput, error) {
	by := ec2types.RouteTableAssociation{SubnetId: aws.String("subnet-1")}
	if a.main {
		by = ec2types.RouteTableAssociation{Main: aws.Bool(true)}
	}
	return &ec2.DescribeRouteTablesOutput{RouteTables: []ec2types.RouteTable{{Routes: a.routes, Associations: []ec2types.RouteTableAssociation{by}}}}, nil
}

func (a account) DescribeNatGateways(context.Context, *ec2.DescribeNatGatewaysInput, ...func(*ec2.Options)) (*ec2.DescribeNatGatewaysOutput, error) {
	return &ec2.DescribeNatGatewaysOutput{NatGateways: a.gateways}, nil
}

func (a account) DescribeNetworkInterfaces(context.Context, *ec2.DescribeNetworkInterfacesInput, ...func(*ec2.Options)) (*ec2.DescribeNetworkInterfacesOutput, error) {
	return &ec2.DescribeNetworkInterfacesOutput{NetworkInterfaces: a.interfaces}, nil
}

func (a account) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: a.instances}}}, nil
}

func (a account) DescribeVpcEndpoints(context.Context, *ec2.DescribeVpcEndpointsInput, ...func(*ec2.Options)) (*ec2.DescribeVpcEndpointsOutput, error) {
	return &ec2.DescribeVpcEndpointsOutput{VpcEndpoints: a.endpoints}, nil
}

func (a account) DescribeInstanceInformation(context.Context, *ssm.DescribeInstanceInformationInput, ...func(*ssm.Options)) (*ssm.DescribeInstanceInformationOutput, error) {
	return &ssm.DescribeInstanceInformationOutput{InstanceInformationList: a.agents}, nil
}

// TestL28ProofsAreTold holds each answer to what it rests on.
func TestL28ProofsAreTold(t *testing.T) {
	t.Parallel()
	all := aws.String("0.0.0.0/0")
	switched := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	gateway := func(state ec2types.NatGatewayState) []ec2types.NatGateway {
		return []ec2types.NatGateway{{NatGatewayId: aws.String("nat-1"), State: state, NatGatewayAddresses: []ec2types.NatGatewayAddress{{PublicIp: aws.String("198.18.0.1")}}}}
	}
	face := func(change func(*ec2types.NetworkInterface)) []ec2types.NetworkInterface {
		i := ec2types.NetworkInterface{
			NetworkInterfaceId: aws.String("eni-1"), SourceDestCheck: aws.Bool(false),
			Association: &ec2types.NetworkInterfaceAssociation{PublicIp: aws.String("198.18.0.2")},
			Attachment:  &ec2types.NetworkInterfaceAttachment{InstanceId: aws.String("i-nat")},
		}
		if change != nil {
			change(&i)
		}
		return []ec2types.NetworkInterface{i}
	}
	agent := func(after time.Duration, status ssmtypes.PingStatus) account {
		return account{
			instances: []ec2types.Instance{{InstanceId: aws.String("i-1"), SubnetId: aws.String("subnet-1")}},
			agents:    []ssmtypes.InstanceInformation{{InstanceId: aws.String("i-1"), PingStatus: status, LastPingDateTime: aws.Time(switched.Add(after))}},
		}
	}
	byGateway := func(a account, state ec2types.NatGatewayState) account {
		a.routes, a.gateways = []ec2types.Route{{DestinationCidrBlock: all, NatGatewayId: aws.String("nat-1")}}, gateway(state)
		return a
	}
	byInstance := func(a account, change func(*ec2types.NetworkInterface)) account {
		a.routes, a.interfaces = []ec2types.Route{{DestinationCidrBlock: all, NetworkInterfaceId: aws.String("eni-1")}}, face(change)
		return a
	}
	inside := byGateway(agent(time.Minute, ssmtypes.PingStatusOnline), ec2types.NatGatewayStateAvailable)
	inside.endpoints = []ec2types.VpcEndpoint{{ServiceName: aws.String("com.amazonaws.eu-central-1.ssm")}}
	main := byGateway(account{}, ec2types.NatGatewayStateAvailable)
	main.main = true
	for name, tt := range map[string]struct {
		account account
		proof   egress.Proof
		text    string
		address string
	}{
		"heard by a gateway":        {byGateway(agent(time.Minute, ssmtypes.PingStatusOnline), ec2types.NatGatewayStateAvailable), egress.Probed, "i-1 was heard by Systems Manager at 12:01:00, by nat-1", "198.18.0.1"},
		"heard by an instance":      {byInstance(agent(time.Minute, ssmtypes.PingStatusOnline), nil), egress.Probed, "by eni-1", "198.18.0.2"},
		"heard before the switch":   {byGateway(agent(-time.Minute, ssmtypes.PingStatusOnline), ec2types.NatGatewayStateAvailable), egress.Silent, "i-1 was last heard", "198.18.0.1"},
		"heard at the switch":       {byGateway(agent(0, ssmtypes.PingStatusOnline), ec2types.NatGatewayStateAvailable), egress.Silent, "i-1 was last heard", "198.18.0.1"},
		"lost":                      {byGateway(agent(time.Minute, ssmtypes.PingStatusConnectionLost), ec2types.NatGatewayStateAvailable), egress.Silent, "ConnectionLost", "198.18.0.1"},
		"agents stay inside":        {inside, egress.Analysed, "not asked, since agents reach Systems Manager by an endpoint", "198.18.0.1"},
		"nobody there":              {byGateway(account{}, ec2types.NatGatewayStateAvailable), egress.Analysed, "not asked, since nothing in the subnet has an agent", "198.18.0.1"},
		"by the main route table":   {main, egress.Analysed, "nat-1 leads out", "198.18.0.1"},
		"gateway failed":            {byGateway(agent(time.Minute, ssmtypes.PingStatusOnline), ec2types.NatGatewayStateFailed), egress.Closed, "nat-1 is failed", "198.18.0.1"},
		"gateway gone":              {account{routes: []ec2types.Route{{DestinationCidrBlock: all, NatGatewayId: aws.String("nat-1")}}}, egress.Closed, "nat-1 is gone", ""},
		"no instance":               {byInstance(account{}, func(i *ec2types.NetworkInterface) { i.Attachment = nil }), egress.Closed, "eni-1 has no instance", "198.18.0.2"},
		"check on":                  {byInstance(account{}, func(i *ec2types.NetworkInterface) { i.SourceDestCheck = aws.Bool(true) }), egress.Closed, "source/destination check is on", "198.18.0.2"},
		"instance without address":  {byInstance(account{}, func(i *ec2types.NetworkInterface) { i.Association = nil }), egress.Closed, "eni-1 has no public address", ""},
		"no default route":          {account{}, egress.Closed, "it has no default route", ""},
		"default route is a subnet": {account{routes: []ec2types.Route{{DestinationCidrBlock: aws.String("10.0.0.0/8"), NatGatewayId: aws.String("nat-1")}}}, egress.Closed, "it has no default route", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := egress.Ask(t.Context(), egress.Options{
				EC2: tt.account, SSM: tt.account, VPC: "vpc-1", Subnets: []egress.Subnet{{ID: "subnet-1", Zone: "eu-central-1a"}}, Since: switched,
			})
			if err != nil || len(got) != 1 {
				t.Fatalf("%v, %v", got, err)
			}
			x := got[0]
			if x.Proof != tt.proof || !strings.Contains(x.Evidence, tt.text) || x.Address != tt.address {
				t.Errorf("got %s, want %s with %q by %q", x, tt.proof, tt.text, tt.address)
			}
			if open := tt.proof == egress.Probed || tt.proof == egress.Analysed; x.Open() != open {
				t.Errorf("open is %v", x.Open())
			}
		})
	}
}
