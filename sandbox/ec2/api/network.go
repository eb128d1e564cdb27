package api

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// networkListings are VPCs and what traffic goes through.
func networkListings() []listing {
	return []listing{
		{
			name: "DescribeVpcs", set: "vpcSet", ids: map[string]string{"VpcId": "vpcId"},
			missing: [2]string{"InvalidVpcID.NotFound", "The vpc ID '%s' does not exist"},
			items:   each(ec2.TypeVPC, vpcItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "cidr": "cidrBlock", "cidr-block-association.cidr-block": "cidrBlockAssociationSet.cidrBlock",
				"state": "state", "is-default": "isDefault", "isDefault": "isDefault", "owner-id": "ownerId",
			},
		},
		{
			name: "DescribeSubnets", set: "subnetSet", ids: map[string]string{"SubnetId": "subnetId"},
			missing: [2]string{"InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist"},
			items:   each(ec2.TypeSubnet, subnetItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "subnet-id": "subnetId", "availability-zone": "availabilityZone", "availabilityZone": "availabilityZone",
				"availability-zone-id": "availabilityZoneId", "cidr-block": "cidrBlock", "cidr": "cidrBlock", "state": "state",
				"default-for-az": "defaultForAz", "map-public-ip-on-launch": "mapPublicIpOnLaunch", "owner-id": "ownerId",
				"available-ip-address-count": "availableIpAddressCount", "subnet-arn": "subnetArn",
			},
		},
		{
			name: "DescribeRouteTables", set: "routeTableSet", ids: map[string]string{"RouteTableId": "routeTableId"},
			missing: [2]string{"InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist"},
			items:   each(ec2.TypeRouteTable, routeTableItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "route-table-id": "routeTableId", "owner-id": "ownerId",
				"association.main": "associationSet.main", "association.subnet-id": "associationSet.subnetId",
				"association.route-table-association-id": "associationSet.routeTableAssociationId", "association.route-table-id": "associationSet.routeTableId",
				"route.destination-cidr-block": "routeSet.destinationCidrBlock", "route.gateway-id": "routeSet.gatewayId",
				"route.transit-gateway-id": "routeSet.transitGatewayId", "route.vpc-peering-connection-id": "routeSet.vpcPeeringConnectionId",
				"route.nat-gateway-id": "routeSet.natGatewayId", "route.state": "routeSet.state", "route.destination-prefix-list-id": "routeSet.destinationPrefixListId",
			},
		},
		{
			name: "DescribeInternetGateways", set: "internetGatewaySet", ids: map[string]string{"InternetGatewayId": "internetGatewayId"},
			missing: [2]string{"InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist"},
			items:   each(ec2.TypeInternetGateway, internetGatewayItem),
			filters: map[string]string{
				"tag": "", "internet-gateway-id": "internetGatewayId", "attachment.vpc-id": "attachmentSet.vpcId", "attachment.state": "attachmentSet.state", "owner-id": "ownerId",
			},
		},
		{
			name: "DescribeNatGateways", set: "natGatewaySet", ids: map[string]string{"NatGatewayId": "natGatewayId"},
			missing: [2]string{"NatGatewayNotFound", "NatGateway %s was not found"},
			items:   each(ec2.TypeNatGateway, natGatewayItem),
			filters: map[string]string{"tag": "", "vpc-id": "vpcId", "subnet-id": "subnetId", "state": "state", "nat-gateway-id": "natGatewayId"},
		},
		{
			name: "DescribeAddresses", set: "addressesSet", ids: map[string]string{"AllocationId": "allocationId", "PublicIp": "publicIp"}, unpaged: true,
			missing: [2]string{"InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist"},
			items:   each(ec2.TypeEIP, addressItem),
			filters: map[string]string{
				"tag": "", "allocation-id": "allocationId", "association-id": "associationId", "domain": "domain", "instance-id": "instanceId",
				"network-interface-id": "networkInterfaceId", "public-ip": "publicIp", "private-ip-address": "privateIpAddress",
			},
		},
		{
			name: "DescribeVpcEndpoints", set: "vpcEndpointSet", ids: map[string]string{"VpcEndpointId": "vpcEndpointId"},
			missing: [2]string{"InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist"},
			items:   each(ec2.TypeVPCEndpoint, endpointItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "vpc-endpoint-id": "vpcEndpointId", "service-name": "serviceName",
				"vpc-endpoint-state": "state", "vpc-endpoint-type": "vpcEndpointType",
			},
		},
		{
			name: "DescribeVpcEndpointServices", set: "serviceDetailSet", ids: map[string]string{"ServiceName": "serviceName"},
			missing: [2]string{"InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist"},
			items:   endpointServices,
			filters: map[string]string{"tag": "", "service-name": "serviceName", "service-type": "serviceType.serviceType", "owner": "owner"},
			finish: func(_ *account.Tx, items []object) object {
				return object{"serviceNameSet": props.List(values(anys(items), "serviceName")), "serviceDetailSet": anys(items)}
			},
		},
		{
			name: "DescribeFlowLogs", set: "flowLogSet", ids: map[string]string{"FlowLogId": "flowLogId"},
			missing: [2]string{"InvalidFlowLogId.NotFound", "These flow log ids in the input list are not found: [%s]"},
			items:   each(ec2.TypeFlowLog, flowLogItem),
			filters: map[string]string{
				"tag": "", "flow-log-id": "flowLogId", "resource-id": "resourceId", "traffic-type": "trafficType", "log-group-name": "logGroupName",
				"log-destination-type": "logDestinationType", "deliver-log-status": "deliverLogsStatus",
			},
		},
		{
			name: "DescribeManagedPrefixLists", set: "prefixListSet", ids: map[string]string{"PrefixListId": "prefixListId"},
			missing: [2]string{"InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist"}, items: prefixLists,
			filters: map[string]string{"prefix-list-id": "prefixListId", "prefix-list-name": "prefixListName", "owner-id": "ownerId"},
		},
		{
			name: "DescribePrefixLists", set: "prefixListSet", ids: map[string]string{"PrefixListId": "prefixListId"},
			missing: [2]string{"InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist"}, items: prefixLists,
			filters: map[string]string{"prefix-list-id": "prefixListId", "prefix-list-name": "prefixListName"},
			finish: func(_ *account.Tx, items []object) object {
				var out []any
				for _, i := range items {
					out = append(out, object{"prefixListId": i["prefixListId"], "prefixListName": i["prefixListName"], "cidrSet": props.List(ec2.PrefixListEntries(props.Str(i, "prefixListName")))})
				}
				return object{"prefixListSet": out}
			},
		},
	}
}

func isDefault(r *account.Resource) bool { return r.Data["default"] == true }

func vpcItem(tx *account.Tx, r *account.Resource) object {
	tenancy := props.Str(r.Props, "InstanceTenancy")
	if tenancy == "" {
		tenancy = "default"
	}
	var blocks []any
	for _, a := range ec2.RangeAssociations(tx, r) {
		blocks = append(blocks, object{"associationId": a.ID, "cidrBlock": a.CIDR, "cidrBlockState": object{"state": a.State}})
	}
	return object{
		"vpcId": r.ID, "state": r.Status, "cidrBlock": r.Attrs["CidrBlock"], "cidrBlockAssociationSet": blocks, "dhcpOptionsId": "default",
		"instanceTenancy": tenancy, "isDefault": isDefault(r), "ownerId": ec2.VPCOwner(tx, r), "tagSet": tagSet(r.Tags),
	}
}

func subnetItem(tx *account.Tx, r *account.Resource) object {
	zone := ec2.ZoneOf(r)
	return object{
		"subnetId": r.ID, "subnetArn": arn(tx, "subnet", r.ID), "vpcId": ec2.VPCOf(r), "state": r.Status, "cidrBlock": r.Attrs["CidrBlock"],
		"availabilityZone": zone.Name, "availabilityZoneId": zone.ID, "availableIpAddressCount": ec2.AvailableAddresses(tx, r),
		"mapPublicIpOnLaunch": props.Bool(r.Props, false, "MapPublicIpOnLaunch"), "defaultForAz": isDefault(r), "assignIpv6AddressOnCreation": false,
		"ipv6Native": false, "enableDns64": false, "ownerId": tx.AccountID(), "tagSet": tagSet(r.Tags),
	}
}

func routeTableItem(tx *account.Tx, r *account.Resource) object {
	associations, routes := []any{}, []any{}
	if isDefault(r) {
		associations = append(associations, object{
			"routeTableAssociationId": props.Str(r.Data, "association"), "routeTableId": r.ID, "main": true, "associationState": object{"state": "associated"},
		})
	}
	for _, a := range tx.List(ec2.TypeSubnetRouteTableAssociation) {
		if props.Str(a.Props, "RouteTableId") == r.ID {
			associations = append(associations, object{
				"routeTableAssociationId": a.ID, "routeTableId": r.ID, "subnetId": props.Str(a.Props, "SubnetId"), "main": false, "associationState": object{"state": "associated"},
			})
		}
	}
	if vpc := tx.Get(ec2.TypeVPC, ec2.VPCOf(r)); vpc != nil {
		for _, own := range ec2.Ranges(tx, vpc) {
			routes = append(routes, object{"destinationCidrBlock": own.String(), "gatewayId": "local", "origin": "CreateRouteTable", "state": "active"})
		}
	}
	for _, route := range ec2.Routes(tx, r.ID) {
		routes = append(routes, routeItem(tx, route))
	}
	for _, e := range endpoint.GatewaysOf(tx, r.ID) {
		routes = append(routes, object{
			"destinationPrefixListId": endpoint.PrefixList(tx, props.Str(e.Props, "ServiceName")), "gatewayId": e.ID, "origin": "CreateRoute", "state": "active",
		})
	}
	return object{
		"routeTableId": r.ID, "vpcId": ec2.VPCOf(r), "ownerId": tx.AccountID(), "associationSet": associations, "routeSet": routes,
		"propagatingVgwSet": []any{}, "tagSet": tagSet(r.Tags),
	}
}

func routeItem(tx *account.Tx, r *account.Resource) object {
	key, target := ec2.Target(r.Props)
	state := "active"
	if ec2.Blackhole(tx, r) {
		state = "blackhole"
	}
	destination := "destinationCidrBlock"
	if strings.HasPrefix(props.Str(r.Attrs, "CidrBlock"), "pl-") {
		destination = "destinationPrefixListId"
	}
	member := lower(key)
	if key == "VpcEndpointId" {
		member = "gatewayId" // as EC2 answers it
	}
	out := object{destination: r.Attrs["CidrBlock"], member: target, "origin": "CreateRoute", "state": state}
	if key == "NetworkInterfaceId" {
		if eni := tx.Get(ec2.TypeNetworkInterface, target); eni != nil {
			if i := props.Str(eni.Data, "attachment", "instance"); i != "" {
				out["instanceId"], out["instanceOwnerId"] = i, tx.AccountID()
			}
		}
	}
	return out
}

func internetGatewayItem(tx *account.Tx, r *account.Resource) object {
	attachments := []any{}
	if vpc := ec2.AttachedVPC(tx, r.ID); vpc != "" {
		attachments = append(attachments, object{"vpcId": vpc, "state": "available"})
	}
	return object{"internetGatewayId": r.ID, "ownerId": tx.AccountID(), "attachmentSet": attachments, "tagSet": tagSet(r.Tags)}
}

func natGatewayItem(tx *account.Tx, r *account.Resource) object {
	kind := "public"
	if props.Str(r.Props, "ConnectivityType") == "private" {
		kind = "private"
	}
	addresses := []any{}
	if eni := tx.Get(ec2.TypeNetworkInterface, props.Str(r.Attrs, "EniId")); eni != nil {
		a := optional(object{
			"networkInterfaceId": eni.ID, "privateIp": eni.Attrs["PrimaryPrivateIpAddress"], "isPrimary": true, "status": "succeeded",
		}, "allocationId", props.Str(r.Props, "AllocationId"), "publicIp", ec2.PublicIP(tx, eni))
		if eip := ec2.FindAllocation(tx, props.Str(r.Props, "AllocationId")); eip != nil {
			optional(a, "associationId", props.Str(eip.Data, "association", "id"))
		}
		addresses = append(addresses, a)
	}
	return optional(object{
		"natGatewayId": r.ID, "subnetId": props.Str(r.Props, "SubnetId"), "vpcId": ec2.VPCOf(r), "state": r.Status, "connectivityType": kind,
		"createTime": r.Created, "natGatewayAddressSet": addresses, "tagSet": tagSet(r.Tags),
	}, "failureCode", props.Str(r.Data, "failureCode"), "failureMessage", props.Str(r.Data, "failureMessage"))
}

func addressItem(tx *account.Tx, r *account.Resource) object {
	out := object{
		"publicIp": r.ID, "allocationId": r.Attrs["AllocationId"], "domain": "vpc", "networkBorderGroup": tx.Region(), "publicIpv4Pool": "amazon", "tagSet": tagSet(r.Tags),
	}
	a := props.Map(r.Data, "association")
	if a == nil {
		return out
	}
	optional(out, "associationId", props.Str(a, "id"), "networkInterfaceId", props.Str(a, "eni"), "privateIpAddress", props.Str(a, "private"))
	out["networkInterfaceOwnerId"] = tx.AccountID()
	if eni := tx.Get(ec2.TypeNetworkInterface, props.Str(a, "eni")); eni != nil {
		optional(out, "instanceId", props.Str(eni.Data, "attachment", "instance"))
	}
	return out
}

func endpointItem(tx *account.Tx, r *account.Resource) object {
	kind := props.Str(r.Props, "VpcEndpointType")
	if kind == "" {
		kind = "Gateway"
	}
	var entries, groups []any
	for _, e := range props.Strs(r.Attrs, "DnsEntries") {
		zone, name, _ := strings.Cut(e, ":")
		entries = append(entries, object{"hostedZoneId": zone, "dnsName": name})
	}
	if kind == "Interface" {
		groups = groupSet(tx, endpoint.Groups(tx, r, r.Props))
	}
	document, ok := r.Props["PolicyDocument"].(string)
	if !ok && r.Props["PolicyDocument"] != nil {
		// A JSON-like value always encodes.
		b, _ := json.Marshal(r.Props["PolicyDocument"])
		document = string(b)
	}
	if document == "" {
		document = `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}`
	}
	return object{
		"vpcEndpointId": r.ID, "vpcEndpointType": kind, "vpcId": ec2.VPCOf(r), "serviceName": props.Str(r.Props, "ServiceName"), "state": r.Status,
		"policyDocument": document, "routeTableIdSet": props.List(props.Strs(r.Props, "RouteTableIds")), "subnetIdSet": props.List(props.Strs(r.Props, "SubnetIds")),
		"groupSet": groups, "ipAddressType": "ipv4", "privateDnsEnabled": props.Bool(r.Props, false, "PrivateDnsEnabled"), "requesterManaged": false,
		"networkInterfaceIdSet": r.Attrs["NetworkInterfaceIds"], "dnsEntrySet": entries, "creationTimestamp": r.Created, "ownerId": tx.AccountID(), "tagSet": tagSet(r.Tags),
	}
}

func endpointServices(tx *account.Tx, _ *wire.Request) ([]object, error) {
	var zones, ids []any
	for _, z := range tx.Zones() {
		zones, ids = append(zones, z.Name), append(ids, z.ID)
	}
	var out []object
	for _, s := range endpoint.Services(tx) {
		// EC2 lists a service once for each type of endpoint.
		for _, kind := range s.Types {
			item := object{
				"serviceName": s.Name, "serviceType": []any{object{"serviceType": kind}}, "serviceRegion": tx.Region(), "owner": "amazon",
				"availabilityZoneSet": zones, "availabilityZoneIdSet": ids, "acceptanceRequired": false, "managesVpcEndpoints": false,
				"vpcEndpointPolicySupported": true, "baseEndpointDnsNameSet": []any{strings.TrimPrefix(s.Name, "com.amazonaws."+tx.Region()+".") + "." + tx.Region() + ".vpce.amazonaws.com"}, "tagSet": []any{},
			}
			if kind == "Interface" {
				var names []any
				for _, n := range s.PrivateDNS {
					names = append(names, object{"privateDnsName": n})
				}
				item["privateDnsName"], item["privateDnsNameSet"], item["privateDnsNameVerificationState"] = s.PrivateDNS[0], names, "verified"
			}
			out = append(out, item)
		}
	}
	return out, nil
}

func flowLogItem(_ *account.Tx, r *account.Resource) object {
	destination := props.Str(r.Data, "destination")
	kind := props.Str(r.Props, "LogDestinationType")
	if kind == "" {
		kind = "cloud-watch-logs"
	}
	format := props.Str(r.Props, "LogFormat")
	if format == "" {
		format = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"
	}
	out := optional(object{
		"flowLogId": r.ID, "flowLogStatus": r.Status, "resourceId": props.Str(r.Props, "ResourceId"), "trafficType": props.Str(r.Props, "TrafficType"),
		"logDestinationType": kind, "logDestination": destination, "logFormat": format, "creationTime": r.Created, "deliverLogsStatus": "SUCCESS",
		"maxAggregationInterval": props.Int(r.Props, 600, "MaxAggregationInterval"), "tagSet": tagSet(r.Tags),
	}, "deliverLogsPermissionArn", props.Str(r.Props, "DeliverLogsPermissionArn"))
	if _, group, ok := strings.Cut(destination, ":log-group:"); ok {
		out["logGroupName"] = group
	}
	return out
}

func prefixLists(tx *account.Tx, _ *wire.Request) ([]object, error) {
	var out []object
	for id, name := range ec2.PrefixLists(tx.Region()) {
		out = append(out, object{
			"prefixListId": id, "prefixListName": name, "addressFamily": "IPv4", "state": "create-complete", "ownerId": "AWS",
			"prefixListArn": "arn:" + tx.Partition() + ":ec2:" + tx.Region() + ":aws:prefix-list/" + id,
		})
	}
	slices.SortFunc(out, func(a, b object) int {
		return strings.Compare(props.Str(a, "prefixListId"), props.Str(b, "prefixListId"))
	})
	return out, nil
}
