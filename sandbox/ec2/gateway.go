package ec2

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func internetGatewayType() *account.Type {
	return &account.Type{
		Name: TypeInternetGateway, Latency: "ec2:igw",
		Create: func(tx *account.Tx, r *account.Resource) error {
			if err := quota.InternetGateways.Check(tx, tx.Count(TypeInternetGateway)); err != nil {
				return err
			}
			name(tx, r, "igw", "InternetGatewayId")
			r.Status = "available"
			return nil
		},
		Update: updateTags,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if AttachedVPC(tx, r.ID) != "" {
				return dependencies("internetGateway", r.ID)
			}
			return nil
		},
	}
}

// AttachedVPC is the VPC that an internet or virtual private gateway is attached
// to, "" if none.
func AttachedVPC(tx *account.Tx, gateway string) string {
	for _, key := range []string{"InternetGatewayId", "VpnGatewayId"} {
		for _, a := range where(tx, TypeVPCGatewayAttachment, key, gateway) {
			return VPCOf(a)
		}
	}
	return ""
}

// AttachedGateway is the internet gateway of a VPC, "" if it has none.
func AttachedGateway(tx *account.Tx, vpc string) string {
	for _, a := range InVPC(tx, TypeVPCGatewayAttachment, vpc) {
		if id := props.Str(a.Props, "InternetGatewayId"); id != "" {
			return id
		}
	}
	return ""
}

func attachmentType() *account.Type {
	check := func(tx *account.Tx, r *account.Resource, p map[string]any) error {
		vpc, err := Lookup(tx, TypeVPC, props.Str(p, "VpcId"))
		if err != nil {
			return err
		}
		typ, id := TypeInternetGateway, props.Str(p, "InternetGatewayId")
		if vpn := props.Str(p, "VpnGatewayId"); vpn != "" {
			typ, id = TypeVPNGateway, vpn
		}
		gateway, err := Lookup(tx, typ, id)
		if err != nil {
			return err
		}
		if v := AttachedVPC(tx, gateway.ID); v != "" && (r.ID == "" || v != vpc.ID) {
			return account.Errorf("Resource.AlreadyAssociated", "resource %s is already attached to network %s", gateway.ID, v)
		}
		return nil
	}
	return &account.Type{
		Name: TypeVPCGatewayAttachment, Latency: "ec2:igw-attachment",
		Create: func(tx *account.Tx, r *account.Resource) error {
			if err := check(tx, r, r.Props); err != nil {
				return err
			}
			vpc := props.Str(r.Props, "VpcId")
			if props.Str(r.Props, "VpnGatewayId") != "" {
				r.ID = "VGW|" + vpc
				r.Attrs["AttachmentType"] = "VGW"
				r.Status = "attached"
				if tx.Get(r.Type, r.ID) != nil {
					return account.Errorf("VpnGatewayAttachmentLimitExceeded", "Network %s already has a virtual private gateway attached", vpc)
				}
				return nil
			}
			if AttachedGateway(tx, vpc) != "" {
				return account.Errorf("InvalidParameterValue", "Network %s already has an internet gateway attached", vpc)
			}
			r.ID = "IGW|" + vpc
			r.Attrs["AttachmentType"] = "IGW"
			r.Status = "available"
			return nil
		},
		Update: check,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if props.Str(r.Props, "VpnGatewayId") != "" {
				return nil
			}
			for _, eni := range InVPC(tx, TypeNetworkInterface, VPCOf(r)) {
				if PublicIP(tx, eni) != "" {
					return account.Errorf("DependencyViolation", "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", VPCOf(r))
				}
			}
			return nil
		},
	}
}

func natGatewayType() *account.Type {
	return &account.Type{
		Name: TypeNatGateway, Latency: "ec2:natgw",
		Create: createNatGateway,
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			if err := natNotModelled(r, next); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
		Settle: func(tx *account.Tx, r *account.Resource, op string) error {
			if code := props.Str(r.Data, "failureCode"); code != "" {
				r.Status = "failed"
				RemoveInterfaces(tx, r.ID)
				return account.Errorf(code, "%s", props.Str(r.Data, "failureMessage"))
			}
			r.Status = "available"
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			r.Status = "deleting"
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) { RemoveInterfaces(tx, r.ID) },
	}
}

func natNotModelled(r *account.Resource, p map[string]any) error {
	return account.Unmodelled(r.Type, p, "AvailabilityMode", "AvailabilityZoneAddresses", "SecondaryAllocationIds", "SecondaryPrivateIpAddressCount", "SecondaryPrivateIpAddresses", "VpcId")
}

func createNatGateway(tx *account.Tx, r *account.Resource) error {
	if err := natNotModelled(r, r.Props); err != nil {
		return err
	}
	subnet, err := FindSubnet(tx, props.Str(r.Props, "SubnetId"))
	if err != nil {
		return err
	}
	public := props.Str(r.Props, "ConnectivityType") != "private"
	allocation := props.Str(r.Props, "AllocationId")
	switch {
	case public && allocation == "":
		return account.Errorf("MissingParameter", "The request must contain the parameter AllocationId")
	case !public && allocation != "":
		return account.Errorf("InvalidParameterCombination", "AllocationId cannot be specified for a private NAT gateway")
	}
	siblings := 0
	for _, n := range tx.List(TypeNatGateway) {
		if props.Str(n.Data, "zone") == ZoneOf(subnet).Name {
			siblings++
		}
	}
	if err := quota.NatGateways.Check(tx, siblings); err != nil {
		return err
	}
	name(tx, r, "nat", "NatGatewayId")
	r.Status = "pending"
	r.Attrs["VpcId"] = VPCOf(subnet)
	r.Data["zone"] = ZoneOf(subnet).Name
	eni, err := AddInterface(tx, Interface{
		Subnet: subnet.ID, Owner: r.ID, Type: "nat_gateway", Requester: "amazon-nat-gateway",
		Description: "Interface for NAT Gateway " + r.ID, PrivateIP: props.Str(r.Props, "PrivateIpAddress"),
	})
	if err == nil && public {
		err = natAddress(tx, VPCOf(subnet), allocation, eni)
	}
	if eni != nil {
		r.Attrs["EniId"] = eni.ID
	}
	// EC2 accepts the request and reports these faults as the gateway's
	// failure when it should have become available.
	// https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html
	if e, ok := err.(*account.Error); ok {
		r.Data["failureCode"], r.Data["failureMessage"] = e.Code, e.Message
		return nil
	}
	return err
}

// natAddress gives the gateway's interface its public address.
func natAddress(tx *account.Tx, vpc, allocation string, eni *account.Resource) error {
	eip := FindAllocation(tx, allocation)
	if eip == nil {
		return account.Errorf("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", allocation)
	}
	if eip.Data["association"] != nil {
		return account.Errorf("Resource.AlreadyAssociated", "Elastic IP address [%s] is already associated", allocation)
	}
	if AttachedGateway(tx, vpc) == "" {
		return account.Errorf("Gateway.NotAttached", "Network %s has no Internet gateway attached", vpc)
	}
	associate(tx, eip, eni, "")
	return nil
}

// ZoneLost fails the NAT gateways of a zone that is lost.
func ZoneLost(tx *account.Tx, zone string) {
	for _, r := range tx.List(TypeNatGateway) {
		if props.Str(r.Data, "zone") == zone {
			r.Status = "failed"
		}
	}
}
