package ec2

import (
	"fmt"
	"hash/fnv"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func eipType() *account.Type {
	return &account.Type{
		Name: TypeEIP, Latency: "ec2:eip",
		Create: func(tx *account.Tx, r *account.Resource) error {
			if err := account.Unmodelled(r.Type, r.Props, "Address", "IpamPoolId", "TransferAddress", "PublicIpv4Pool"); err != nil {
				return err
			}
			if err := quota.Addresses.Check(tx, tx.Count(TypeEIP)); err != nil {
				return err
			}
			var eni *account.Resource
			if instance := props.Str(r.Props, "InstanceId"); instance != "" {
				var err error
				if eni, err = associable(tx, "", instance); err != nil {
					return err
				}
			}
			name(tx, r, "eipalloc", "AllocationId")
			r.ID = publicIP(tx)
			r.Attrs["PublicIp"] = r.ID
			r.Status = "available"
			if eni != nil {
				associate(tx, r, eni, "")
			}
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if instance := props.Str(next, "InstanceId"); instance != props.Str(r.Props, "InstanceId") {
				if instance == "" {
					delete(r.Data, "association")
				} else if eni, err := associable(tx, "", instance); err != nil {
					return err
				} else {
					associate(tx, r, eni, "")
				}
			}
			r.Retag(next, "Tags")
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			if a := props.Map(r.Data, "association"); a != nil && props.Str(r.Props, "InstanceId") == "" {
				return account.Errorf("InvalidIPAddress.InUse", "Address %s is in use.", r.ID)
			}
			return nil
		},
	}
}

func eipAssociationType() *account.Type {
	return &account.Type{
		Name: TypeEIPAssociation, Latency: "ec2:eip-association",
		Create: func(tx *account.Tx, r *account.Resource) error {
			allocation := props.Str(r.Props, "AllocationId")
			eip := FindAllocation(tx, allocation)
			if ip := props.Str(r.Props, "EIP"); allocation == "" && ip != "" {
				eip, allocation = tx.Get(TypeEIP, ip), ip
			}
			if eip == nil {
				return account.Errorf("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", allocation)
			}
			eni, err := associable(tx, props.Str(r.Props, "NetworkInterfaceId"), props.Str(r.Props, "InstanceId"))
			if err != nil {
				return err
			}
			if a := props.Map(eip.Data, "association"); a != nil && props.Str(a, "service") != "" {
				return account.Errorf("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", allocation, props.Str(a, "id"))
			}
			private := props.Str(r.Props, "PrivateIpAddress")
			if private != "" && !holds(eni, private) {
				return account.Errorf("InvalidParameterValue", "Invalid value '%s' for private IP address. Address is not assigned to the interface", private)
			}
			r.ID = associate(tx, eip, eni, private)
			r.Attrs["Id"] = r.ID
			r.Status = "associated"
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, eip := range tx.List(TypeEIP) {
				if props.Str(eip.Data, "association", "id") == r.ID {
					delete(eip.Data, "association")
				}
			}
		},
	}
}

// associable finds the interface that an address is to be mapped to, named
// directly or as the one interface of an instance.
func associable(tx *account.Tx, eni, instance string) (*account.Resource, error) {
	if (eni == "") == (instance == "") {
		return nil, account.Errorf("InvalidParameterCombination", "You must specify either an instance id or a network interface id")
	}
	if instance != "" {
		if tx.Get(TypeInstance, instance) == nil {
			return nil, account.Errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", instance)
		}
		for _, r := range attachedTo(tx, instance) {
			if eni != "" {
				return nil, account.Errorf("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", instance)
			}
			eni = r.ID
		}
	}
	r, err := Lookup(tx, TypeNetworkInterface, eni)
	if err != nil {
		return nil, err
	}
	if AttachedGateway(tx, VPCOf(r)) == "" {
		return nil, account.Errorf("Gateway.NotAttached", "Network %s is not attached to any internet gateway", VPCOf(r))
	}
	return r, nil
}

// associate maps a public address to an interface; a mapping that either had
// before ends. It returns the association's id.
func associate(tx *account.Tx, eip, eni *account.Resource, private string) string {
	disassociateInterface(tx, eni.ID)
	if private == "" {
		private = addresses(eni)[0]
	}
	id := "eipassoc-" + tx.HexID(17)
	eip.Data["association"] = map[string]any{"id": id, "eni": eni.ID, "private": private, "service": props.Str(eni.Data, "requester")}
	return id
}

// disassociateInterface ends the mapping to an interface that goes away.
func disassociateInterface(tx *account.Tx, eni string) {
	if eip := addressOf(tx, eni); eip != nil {
		delete(eip.Data, "association")
	}
}

func addressOf(tx *account.Tx, eni string) *account.Resource {
	return tx.Find(TypeEIP, func(r *account.Resource) bool {
		return props.Str(r.Data, "association", "eni") == eni
	})
}

// FindAllocation returns the Elastic IP address with an allocation id, or nil.
func FindAllocation(tx *account.Tx, allocation string) *account.Resource {
	return tx.Find(TypeEIP, func(r *account.Resource) bool { return props.Str(r.Attrs, "AllocationId") == allocation })
}

// PublicIP is the public address that is mapped to an interface, "" if none.
func PublicIP(tx *account.Tx, eni *account.Resource) string {
	if eip := addressOf(tx, eni.ID); eip != nil {
		return eip.ID
	}
	return props.Str(eni.Data, "publicIP")
}

// publicIP draws a public address that is free. The addresses come from the
// network kept for benchmarks (RFC 2544), so no simulated address is real.
func publicIP(tx *account.Tx) string {
	used := map[string]bool{}
	for _, r := range tx.List(TypeEIP) {
		used[r.ID] = true
	}
	for _, r := range tx.List(TypeNetworkInterface) {
		used[props.Str(r.Data, "publicIP")] = true
	}
	for {
		h := fnv.New32a()
		h.Write([]byte(tx.HexID(16)))
		n := h.Sum32() % (1 << 17)
		ip := fmt.Sprintf("198.%d.%d.%d", 18+n>>16, n>>8&0xff, n&0xff)
		if !used[ip] {
			return ip
		}
	}
}

func holds(eni *account.Resource, ip string) bool {
	for _, a := range addresses(eni) {
		if a == ip {
			return true
		}
	}
	return false
}
