package api_test

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/api"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type in = ec2test.In

// call calls an operation of the API.
func call(l *ec2test.Lab, name string, request in) (out in, err error) {
	l.T.Helper()
	for _, op := range api.Service().Operations {
		if op.Name != name {
			continue
		}
		l.Do(func(tx *account.Tx) {
			var v any
			v, err = op.Do(tx, &wire.Request{Operation: name, In: request, Caller: "test"})
			out, _ = v.(in)
		})
		return out, err
	}
	l.T.Fatalf("no operation %s", name)
	return nil, nil
}

// must is call for what must be accepted.
func must(l *ec2test.Lab, name string, request in) in {
	l.T.Helper()
	out, err := call(l, name, request)
	if err != nil {
		l.T.Fatalf("%s %v: %v", name, request, err)
	}
	return out
}

// items are the elements of an answer's only list, instances without their
// reservations.
func items(out in) []in {
	for k, v := range out {
		list, ok := v.([]any)
		if !ok || k == "serviceNameSet" {
			continue
		}
		found := props.Maps(list)
		if k == "reservationSet" {
			var flat []in
			for _, r := range found {
				flat = append(flat, props.Maps(r, "instancesSet")...)
			}
			return flat
		}
		return found
	}
	return nil
}

func filter(name string, values ...string) in {
	return in{"Filter": []any{in{"Name": name, "Value": props.List(values)}}}
}

// world is an account with something of everything.
func world(t *testing.T) (*ec2test.Lab, ec2test.Network) {
	t.Helper()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	tags := []any{in{"Key": "team", "Value": "a"}}
	eip := l.Make(ec2.TypeEIP, in{"Tags": tags})
	nat := l.Make(ec2.TypeNatGateway, in{"SubnetId": n.A.ID, "AllocationId": eip.Attrs["AllocationId"], "Tags": tags})
	l.Make(ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": nat.ID})
	l.Make(ec2.TypeSubnetRouteTableAssociation, in{"RouteTableId": n.Table.ID, "SubnetId": n.B.ID})
	gateway := l.Make(ec2.TypeTransitGateway, in{"Tags": tags})
	l.Make(ec2.TypeTransitGatewayAttachment, in{"TransitGatewayId": gateway.ID, "VpcId": n.VPC.ID, "SubnetIds": []any{n.A.ID}, "Tags": tags})
	l.Make(ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "10.0.0.0/8", "TransitGatewayId": gateway.ID})
	peering := l.Make(ec2.TypeVPCPeeringConnection, in{"VpcId": n.VPC.ID, "PeerVpcId": "vpc-0aaaaaaaaaaaaaaaa", "Tags": tags})
	l.Make(ec2.TypeRoute, in{"RouteTableId": n.Table.ID, "DestinationCidrBlock": "10.1.0.0/16", "VpcPeeringConnectionId": peering.ID})
	vpn := l.Make(ec2.TypeVPNGateway, in{"Tags": tags})
	l.Make(ec2.TypeVPCGatewayAttachment, in{"VpcId": n.VPC.ID, "VpnGatewayId": vpn.ID})
	acl := l.Make(ec2.TypeNetworkACL, in{"VpcId": n.VPC.ID, "Tags": tags})
	l.Make(ec2.TypeNetworkACLEntry, in{"NetworkAclId": acl.ID, "RuleNumber": 100, "Protocol": 6, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0", "PortRange": in{"From": 443, "To": 443}})
	l.Make(ec2.TypeSecurityGroupIngress, in{"GroupId": n.Group.ID, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/16", "Description": "web"})
	for _, typ := range []string{ec2.TypeSecurityGroupIngress, ec2.TypeSecurityGroupEgress} {
		side := map[string]string{ec2.TypeSecurityGroupIngress: "Source", ec2.TypeSecurityGroupEgress: "Destination"}[typ]
		l.Make(typ, in{"GroupId": n.Group.ID, "IpProtocol": "-1", side + "SecurityGroupId": n.Group.ID})
	}
	l.Make(ec2.TypeVPCEndpoint, in{"VpcId": n.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.s3", "RouteTableIds": []any{n.Table.ID}, "Tags": tags})
	l.Make(ec2.TypeVPCEndpoint, in{"VpcId": n.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.ec2", "VpcEndpointType": "Interface", "PrivateDnsEnabled": true, "SubnetIds": []any{n.A.ID}})
	l.Do(func(tx *account.Tx) {
		tx.Put(&account.Resource{Type: "AWS::S3::Bucket", ID: "flows"})
		tx.Put(&account.Resource{Type: "AWS::Logs::LogGroup", ID: "flows"})
	})
	role := l.Make("AWS::IAM::Role", in{"AssumeRolePolicyDocument": in{"Version": "2012-10-17", "Statement": []any{in{"Effect": "Allow", "Principal": in{"Service": "vpc-flow-logs.amazonaws.com"}, "Action": "sts:AssumeRole"}}}})
	l.Make(ec2.TypeFlowLog, in{"ResourceType": "VPC", "ResourceId": n.VPC.ID, "TrafficType": "ALL", "LogGroupName": "flows", "DeliverLogsPermissionArn": role.Attrs["Arn"], "Tags": tags})
	profile := l.Make("AWS::IAM::InstanceProfile", in{"Roles": []any{role.ID}})
	lt := l.Make(instance.TypeLaunchTemplate, in{"LaunchTemplateName": "nodes", "LaunchTemplateData": in{
		"InstanceType": "t3.small", "ImageId": "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", "IamInstanceProfile": in{"Arn": profile.Attrs["Arn"]},
		"NetworkInterfaces": []any{in{"DeviceIndex": 0, "Groups": []any{n.Group.ID}, "AssociatePublicIpAddress": true}},
	}})
	l.Do(func(tx *account.Tx) {
		if _, err := instance.Reserve(tx, instance.Reservation{InstanceType: "t3.small", Zone: "us-east-1a", Count: 2}); err != nil {
			t.Fatal(err)
		}
		data, version, err := instance.TemplateData(lt, "$Latest")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := instance.Run(tx, instance.Launch{Data: data, Template: lt.ID, Version: version, Subnet: n.A.ID, Owner: "nodes", Tags: map[string]string{"Name": "node"}}); err != nil {
			t.Fatal(err)
		}
		instance.AddVolume(tx, instance.Volume{Zone: "us-east-1a", Kind: "gp3", GB: 10, Tags: map[string]string{"kubernetes.io/created-for/pvc/name": "data"}})
	})
	// An address that goes with an instance.
	own := l.Make(ec2.TypeEIP, in{})
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "Tags": tags})
	l.Make(ec2.TypeEIPAssociation, in{"AllocationId": own.Attrs["AllocationId"], "NetworkInterfaceId": eni.ID})
	l.Do(func(tx *account.Tx) {
		if _, err := ec2.AttachInterface(tx, eni.ID, tx.List(instance.TypeInstance)[0].ID, 1); err != nil {
			t.Fatal(err)
		}
	})
	l.Wait(time.Minute)
	return l, n
}

// TestFilters: every filter that an operation knows leads to a value, and
// those it doesn't know are refused.
func TestFilters(t *testing.T) {
	t.Parallel()
	l, _ := world(t)
	for name, filters := range api.Filters() {
		if name == "DescribeSnapshots" { // the sandbox makes none
			continue
		}
		base := in{}
		if name == "DescribeLaunchTemplateVersions" {
			base["LaunchTemplateName"] = "nodes"
		}
		if len(items(must(l, name, base))) == 0 {
			t.Errorf("%s: nothing there", name)
		}
		for _, f := range filters {
			if f == "tag" {
				continue
			}
			request := filter(f, "*")
			for k, v := range base {
				request[k] = v
			}
			if len(items(must(l, name, request))) == 0 {
				t.Errorf("%s: filter %s finds nothing", name, f)
			}
		}
		request := filter("no-such-filter", "x")
		for k, v := range base {
			request[k] = v
		}
		_, err := call(l, name, request)
		l.Want("InvalidParameterValue: The filter 'no-such-filter' is invalid", err)
	}
}

// TestEncodes: every answer can be written as XML and read as such.
func TestEncodes(t *testing.T) {
	t.Parallel()
	l, _ := world(t)
	for name := range api.Filters() {
		out := must(l, name, in{"LaunchTemplateName": "nodes"})
		var walk func(path string, v any)
		walk = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				for k, x := range v {
					if k == "" || strings.ToUpper(k[:1]) == k[:1] {
						t.Errorf("%s%s.%s: EC2's names begin with a small letter", name, path, k)
					}
					walk(path+"."+k, x)
				}
			case []any:
				for _, x := range v {
					walk(path+"[]", x)
				}
			case nil, string, bool, int, float64, time.Time, []string:
			default:
				if _, err := xml.Marshal(v); err != nil {
					t.Errorf("%s%s: %v", name, path, err)
				}
			}
		}
		walk("", out)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	l, n := world(t)
	one := func(name string, request in) in {
		t.Helper()
		found := items(must(l, name, request))
		if len(found) != 1 {
			t.Fatalf("%s %v: got %d items, want 1", name, request, len(found))
		}
		return found[0]
	}
	for _, c := range []struct {
		name    string
		request in
		path    []string
		want    string
	}{
		{"DescribeVpcs", filter("cidr", "10.0.*"), []string{"vpcId"}, n.VPC.ID},
		{"DescribeSubnets", in{"SubnetId": []any{n.B.ID}}, []string{"availabilityZoneId"}, "use1-az2"},
		{"DescribeSubnets", in{"SubnetId": []any{n.B.ID}}, []string{"availableIpAddressCount"}, "10"},
		{"DescribeAvailabilityZones", filter("zone-id", "use1-az3"), []string{"zoneName"}, "us-east-1c"},
		{"DescribeNatGateways", filter("tag:team", "a"), []string{"state"}, "available"},
		{"DescribeSecurityGroups", filter("group-name", "own"), []string{"vpcId"}, n.VPC.ID},
		{"DescribeSecurityGroupRules", filter("security-group-rule-id", "sgr-*"), nil, ""},
		{"DescribeInstances", filter("tag-key", "Name"), []string{"instanceState", "name"}, "running"},
		{"DescribeInstances", filter("instance-state-name", "pending", "running"), []string{"placement", "availabilityZone"}, "us-east-1a"},
		{"DescribeVolumes", filter("status", "available"), []string{"size"}, "10"},
		{"DescribeCapacityReservations", nil, []string{"availableInstanceCount"}, "1"},
		{"DescribeInstanceTypes", in{"InstanceType": []any{"g5.xlarge"}}, []string{"gpuInfo", "totalGpuMemoryInMiB"}, "22888"},
		{"DescribeNetworkInterfaces", filter("interface-type", "nat_gateway"), []string{"requesterManaged"}, "true"},
		{"DescribeLaunchTemplates", in{"LaunchTemplateName": []any{"nodes"}}, []string{"latestVersionNumber"}, "1"},
		{"DescribeRouteTables", filter("association.main", "true"), []string{"vpcId"}, n.VPC.ID},
	} {
		if c.path == nil {
			if got := len(items(must(l, c.name, c.request))); got != 6 {
				t.Errorf("%s: got %d items, want 6", c.name, got)
			}
			continue
		}
		if got := props.Str(one(c.name, c.request), c.path...); got != c.want {
			t.Errorf("%s %v: %v is %q, want %q", c.name, c.request, c.path, got, c.want)
		}
	}
	var routes []string
	for _, r := range props.Maps(one("DescribeRouteTables", filter("route-table-id", n.Table.ID)), "routeSet") {
		routes = append(routes, fmt.Sprint(props.Str(r, "destinationCidrBlock"), props.Str(r, "destinationPrefixListId"), " ", props.Str(r, "state")))
	}
	if diff := cmp.Diff([]string{"10.0.0.0/16 active", "0.0.0.0/0 active", "10.0.0.0/8 active", "10.1.0.0/16 active", "pl-63a5400a active"}, routes); diff != "" {
		t.Errorf("routes: %s", diff)
	}
	for _, c := range []struct {
		name    string
		request in
		want    string
	}{
		{"DescribeSubnets", in{"SubnetId": []any{"subnet-0123456789abcdef0"}}, "InvalidSubnetID.NotFound: The subnet ID 'subnet-0123456789abcdef0' does not exist"},
		{"DescribeSubnets", in{"SubnetId": []any{"web"}}, "InvalidSubnetID.Malformed"},
		{"DescribeSubnets", in{"SubnetId": []any{n.A.ID}, "MaxResults": "5"}, "InvalidParameterCombination"},
		{"DescribeSubnets", in{"MaxResults": "3"}, "InvalidParameterValue: Value ( 3 ) for parameter maxResults is invalid."},
		{"DescribeSubnets", in{"NextToken": "x"}, "InvalidNextToken"},
		{"DescribeInstanceTypeOfferings", in{"LocationType": "outpost"}, "InvalidParameterValue"},
		{"DescribeVpcAttribute", in{"VpcId": n.VPC.ID, "Attribute": "dns"}, "InvalidParameterValue"},
		{"GetManagedPrefixListEntries", in{"PrefixListId": "pl-1"}, "InvalidPrefixListID.NotFound"},
		{"GetManagedPrefixListEntries", in{"PrefixListId": "pl-63a5400a", "TargetVersion": "1"}, "NotModelled"},
		{"DescribeLaunchTemplateVersions", in{"LaunchTemplateName": "none"}, "InvalidLaunchTemplateName.NotFoundException"},
	} {
		_, err := call(l, c.name, c.request)
		l.Want(c.want, err)
	}
	if got := props.Bool(must(l, "DescribeVpcAttribute", in{"VpcId": n.VPC.ID, "Attribute": "enableDnsHostnames"}), false, "enableDnsHostnames", "value"); !got {
		t.Error("DNS host names are on, but not answered so")
	}
}

// TestPrefixLists: the ranges of AWS's lists are the same by both operations.
func TestPrefixLists(t *testing.T) {
	t.Parallel()
	l, _ := world(t)
	list := items(must(l, "DescribePrefixLists", in{"PrefixListId": []any{"pl-63a5400a"}}))[0]
	var entries []string
	for _, e := range items(must(l, "GetManagedPrefixListEntries", in{"PrefixListId": "pl-63a5400a"})) {
		entries = append(entries, props.Str(e, "cidr"))
	}
	if got := props.Strs(list, "cidrSet"); len(got) == 0 || !slices.Equal(got, entries) {
		t.Errorf("ranges are %v and %v", got, entries)
	}
}

// TestPages: pages hold everything once.
func TestPages(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	var names []string
	token := ""
	for range 100 {
		request := in{"MaxResults": "50"}
		if token != "" {
			request["NextToken"] = token
		}
		out := must(l, "DescribeInstanceTypes", request)
		for _, i := range items(out) {
			names = append(names, props.Str(i, "instanceType"))
		}
		if token = props.Str(out, "nextToken"); token == "" {
			break
		}
	}
	if got := len(slices.Compact(slices.Sorted(slices.Values(names)))); got != len(instance.AllTypes(nil)) || got != len(names) {
		t.Errorf("got %d instance types, %d different, want %d", len(names), got, len(instance.AllTypes(nil)))
	}
}

// TestChanges: what the API makes it can change and delete, at once.
func TestChanges(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	before := len(l.Account.Resources())
	spec := func(kind string) []any {
		return []any{in{"ResourceType": kind, "Tag": []any{in{"Key": "team", "Value": "a"}}}}
	}
	vpc := props.Str(must(l, "CreateVpc", in{"CidrBlock": "10.0.0.0/16", "TagSpecification": spec("vpc")}), "vpc", "vpcId")
	subnet := props.Str(must(l, "CreateSubnet", in{"VpcId": vpc, "CidrBlock": "10.0.0.0/24"}), "subnet", "subnetId")
	group := props.Str(must(l, "CreateSecurityGroup", in{"VpcId": vpc, "GroupName": "web", "GroupDescription": "web"}), "groupId")
	eni := props.Str(must(l, "CreateNetworkInterface", in{"SubnetId": subnet, "SecurityGroupId": []any{group}}), "networkInterface", "networkInterfaceId")
	if got := len(items(must(l, "DescribeVpcs", filter("tag:team", "a")))); got != 1 {
		t.Errorf("got %d tagged VPCs, want 1", got)
	}
	for _, c := range []struct {
		name    string
		request in
		want    string
	}{
		{"CreateVpc", in{"CidrBlock": "10.0.0.0/16", "TagSpecification": spec("subnet")}, "InvalidParameterValue: 'subnet' is not a valid taggable resource type"},
		{"CreateSecurityGroup", in{"VpcId": vpc, "GroupName": "x"}, "MissingParameter: The request must contain the parameter GroupDescription"},
		{"DeleteVpc", in{"VpcId": vpc}, "DependencyViolation: The vpc"},
		{"DeleteVpc", in{}, "MissingParameter"},
		{"DeleteSubnet", in{"SubnetId": subnet}, "DependencyViolation: The subnet"},
		{"DeleteSecurityGroup", in{"GroupId": group}, "DependencyViolation: resource"},
		{"ReleaseAddress", in{"AllocationId": "eipalloc-0"}, "InvalidAllocationID.NotFound"},
		{"CreateTags", in{"ResourceId": []any{vpc, "vpc-0"}, "Tag": []any{in{"Key": "k"}}}, "InvalidID: The ID 'vpc-0' is not valid"},
		{"CreateTags", in{"ResourceId": []any{vpc}, "Tag": []any{in{"Key": "AWS:x"}}}, "InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use"},
		{"DeleteVolume", in{"VolumeId": "vol-0"}, "InvalidVolume.NotFound"},
		{"CreateCapacityReservation", in{"InstanceType": "t3.small", "AvailabilityZone": "us-east-1a", "InstanceCount": "0"}, "InvalidParameterValue"},
	} {
		_, err := call(l, c.name, c.request)
		l.Want(c.want, err)
	}
	must(l, "CreateTags", in{"ResourceId": []any{vpc, group}, "Tag": []any{in{"Key": "a", "Value": "1"}, in{"Key": "b", "Value": "2"}}})
	must(l, "DeleteTags", in{"ResourceId": []any{vpc}, "Tag": []any{in{"Key": "a", "Value": "other"}, in{"Key": "b"}, in{"Key": "team"}}})
	var tags []string
	for _, tag := range items(must(l, "DescribeTags", filter("resource-id", vpc, group))) {
		tags = append(tags, props.Str(tag, "resourceType")+" "+props.Str(tag, "key"))
	}
	if diff := cmp.Diff([]string{"vpc a", "security-group a", "security-group b"}, tags); diff != "" {
		t.Errorf("tags: %s", diff)
	}
	must(l, "DeleteNetworkInterface", in{"NetworkInterfaceId": eni})
	must(l, "DeleteSecurityGroup", in{"GroupId": group})
	must(l, "DeleteSubnet", in{"SubnetId": subnet})
	must(l, "DeleteVpc", in{"VpcId": vpc})
	reservation := props.Str(must(l, "CreateCapacityReservation", in{"InstanceType": "t3.small", "AvailabilityZone": "us-east-1a", "InstanceCount": "1"}), "capacityReservation", "capacityReservationId")
	must(l, "CancelCapacityReservation", in{"CapacityReservationId": reservation})
	if after := len(l.Account.Resources()); after != before {
		t.Errorf("got %d resources in the end, want %d", after, before)
	}
}

// TestMetadataOptions: an instance answers what it was launched with until that
// is changed, option by option.
func TestMetadataOptions(t *testing.T) {
	t.Parallel()
	l, _ := world(t)
	instance := func() in { return items(must(l, "DescribeInstances", nil))[0] }
	id := props.Str(instance(), "instanceId")
	for _, c := range []struct {
		request in
		want    string
	}{
		{in{"InstanceId": "i-0"}, "InvalidInstanceID.NotFound"},
		{in{"InstanceId": id, "HttpTokens": "never"}, "InvalidParameterValue: Value (never) for parameter HttpTokens"},
		{in{"InstanceId": id, "HttpPutResponseHopLimit": "65"}, "InvalidParameterValue: Value (65) for parameter HttpPutResponseHopLimit"},
		{in{"InstanceId": id, "HttpProtocolIpv6": "enabled"}, "NotModelled"},
	} {
		_, err := call(l, "ModifyInstanceMetadataOptions", c.request)
		l.Want(c.want, err)
	}
	state := props.Str(must(l, "ModifyInstanceMetadataOptions", in{"InstanceId": id, "HttpTokens": "required"}), "instanceMetadataOptions", "state")
	must(l, "ModifyInstanceMetadataOptions", in{"InstanceId": id, "HttpPutResponseHopLimit": "2"})
	got := props.Map(instance(), "metadataOptions")
	if props.Str(got, "httpTokens") != "required" || props.Int(got, 0, "httpPutResponseHopLimit") != 2 || props.Str(got, "httpEndpoint") != "enabled" || state != "pending" {
		t.Errorf("got %v, first %s", got, state)
	}
}

// TestRules: rules are added all or not at all, and revoked by what they say or
// by id; the default group can be emptied so.
func TestRules(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	group := props.Str(n.VPC.Attrs, "DefaultSecurityGroup")
	count := func() int { return len(items(must(l, "DescribeSecurityGroupRules", filter("group-id", group)))) }
	tcp := func(port string, cidrs ...string) []any {
		var ranges []any
		for _, c := range cidrs {
			ranges = append(ranges, in{"CidrIp": c})
		}
		return []any{in{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}}
	}
	must(l, "AuthorizeSecurityGroupIngress", in{"GroupId": group, "IpPermissions": tcp("443", "10.0.0.0/8", "172.16.0.0/12")})
	_, err := call(l, "AuthorizeSecurityGroupIngress", in{"GroupId": group, "IpPermissions": tcp("443", "192.168.0.0/16", "10.0.0.0/8")})
	l.Want("InvalidPermission.Duplicate", err)
	_, err = call(l, "AuthorizeSecurityGroupIngress", in{"GroupId": group})
	l.Want("MissingParameter", err)
	if got := count(); got != 4 {
		t.Errorf("got %d rules, want the default two and two more", got)
	}
	_, err = call(l, "RevokeSecurityGroupIngress", in{"GroupId": group, "IpPermissions": tcp("80", "10.0.0.0/8")})
	l.Want("InvalidPermission.NotFound", err)
	must(l, "RevokeSecurityGroupIngress", in{"GroupId": group, "IpProtocol": "tcp", "FromPort": "443", "ToPort": "443", "CidrIp": "10.0.0.0/8"})
	for _, r := range items(must(l, "DescribeSecurityGroupRules", filter("group-id", group))) {
		name := "RevokeSecurityGroupIngress"
		if props.Bool(r, false, "isEgress") {
			name = "RevokeSecurityGroupEgress"
		}
		must(l, name, in{"GroupId": group, "SecurityGroupRuleId": []any{r["securityGroupRuleId"]}})
	}
	if got := count(); got != 0 {
		t.Errorf("got %d rules, want none", got)
	}
	_, err = call(l, "RevokeSecurityGroupEgress", in{"GroupId": group, "SecurityGroupRuleId": []any{"sgr-0"}})
	l.Want("InvalidSecurityGroupRuleId.NotFound", err)
}

// TestDeleteEndpoints takes its time and tells what it couldn't delete.
func TestDeleteEndpoints(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	e := l.Make(ec2.TypeVPCEndpoint, in{"VpcId": n.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.guardduty-data", "VpcEndpointType": "Interface", "SubnetIds": []any{n.A.ID}})
	out := must(l, "DeleteVpcEndpoints", in{"VpcEndpointId": []any{e.ID, "vpce-0"}})
	if u := props.Maps(out, "unsuccessful"); len(u) != 1 || props.Str(u[0], "error", "code") != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("got %v", out)
	}
	l.Held("DependencyViolation", n.A)
	l.Wait(10 * time.Minute)
	l.Gone(n.A)
}
