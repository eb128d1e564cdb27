package instance

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// limit is how many instances of a type a zone has room for; none means no
// limit. A negative limit means that the type isn't offered there.
func limit(tx *account.Tx, typ string, zone account.Zone) (most int, limited bool) {
	for _, c := range tx.World().Capacity {
		if c.InstanceType == typ && (c.Zone == "" || c.Zone == zone.Name || c.Zone == zone.ID) {
			if !limited || c.Instances < most {
				most, limited = c.Instances, true
			}
		}
	}
	return most, limited
}

// Offered tells whether a zone has an instance type at all.
func Offered(tx *account.Tx, typ string, zone account.Zone) bool {
	most, limited := limit(tx, typ, zone)
	return !limited || most >= 0
}

// elsewhere are the names of the zones but this one that take the type.
func elsewhere(tx *account.Tx, typ string, zone account.Zone, takes func(account.Zone) bool) string {
	var names []string
	for _, z := range tx.Zones() {
		if z.Name != zone.Name && !tx.Lost(z.Name) && Offered(tx, typ, z) && takes(z) {
			names = append(names, z.Name)
		}
	}
	return strings.Join(names, ", ")
}

// checkOffered refuses a type in a zone that doesn't have it.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
func checkOffered(tx *account.Tx, typ string, zone account.Zone) error {
	if Offered(tx, typ, zone) {
		return nil
	}
	words := "Your requested instance type (" + typ + ") is not supported in your requested Availability Zone (" + zone.Name + ")."
	if others := elsewhere(tx, typ, zone, func(account.Zone) bool { return true }); others != "" {
		words += " Please retry your request by not specifying an Availability Zone or choosing " + others + "."
	}
	return account.Errorf("Unsupported", "%s", words)
}

// room tells whether a zone can give as many instances more: what runs there
// counts, and what is reserved.
func room(tx *account.Tx, typ string, zone account.Zone, more int) bool {
	if tx.Lost(zone.Name) {
		return false
	}
	most, limited := limit(tx, typ, zone)
	if !limited {
		return true
	}
	for _, i := range tx.List(TypeInstance) {
		if props.Str(i.Props, "InstanceType") == typ && props.Str(i.Attrs, "AvailabilityZone") == zone.Name && props.Str(i.Data, "reservation") == "" {
			most--
		}
	}
	for _, r := range tx.List(TypeCapacityReservation) {
		if props.Str(r.Props, "InstanceType") == typ && props.Str(r.Props, "AvailabilityZone") == zone.Name && r.Status == "active" {
			most -= props.Int(r.Props, 0, "InstanceCount")
		}
	}
	return most >= more
}

// checkRoom refuses what the zone has no room for.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
func checkRoom(tx *account.Tx, typ string, zone account.Zone, more int) error {
	if room(tx, typ, zone, more) {
		return nil
	}
	words := "We currently do not have sufficient " + typ + " capacity in the Availability Zone you requested (" + zone.Name + "). Our system will be working on provisioning additional capacity."
	if others := elsewhere(tx, typ, zone, func(z account.Zone) bool { return room(tx, typ, z, more) }); others != "" {
		words += " You can currently get " + typ + " capacity by not specifying an Availability Zone in your request or choosing " + others + "."
	}
	e := account.Errorf("InsufficientInstanceCapacity", "%s", words)
	e.Status = 500
	return e
}

// Markets of instances, as InstanceMarketOptions has them; on-demand is "".
const (
	spot  = "spot"
	block = "capacity-block"
)

func market(data map[string]any) string {
	return props.Str(data, "InstanceMarketOptions", "MarketType")
}

// checkVCPUs holds the quotas on the vCPUs of running instances. Unused
// reservations count as if they were used; capacity blocks don't count.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html#ec2-on-demand-instances-limits
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-reservations.html#capacity-reservations-limits
func checkVCPUs(tx *account.Tx, t Type, in string, more int) error {
	if in == block {
		return nil
	}
	q := quota.VCPUs(t.Name, in == spot)
	if q == nil {
		return nil
	}
	used := 0
	counts := func(typ string) int {
		if quota.VCPUs(typ, in == spot) != q {
			return 0
		}
		other, _ := FindType(tx, typ)
		return other.VCPUs
	}
	for _, i := range tx.List(TypeInstance) {
		if m := market(props.Map(i.Props, "Template")); m == in && props.Str(i.Data, "reservation") == "" && i.Status != "shutting-down" {
			used += counts(props.Str(i.Props, "InstanceType"))
		}
	}
	if in == "" {
		for _, r := range tx.List(TypeCapacityReservation) {
			if r.Status == "active" && props.Str(r.Props, "ReservationType") != block {
				used += props.Int(r.Props, 0, "InstanceCount") * counts(props.Str(r.Props, "InstanceType"))
			}
		}
	}
	return q.CheckMore(tx, used, more*t.VCPUs)
}

// leaked are the interfaces of an instance that the network plugin attached and
// that stay when it goes, where the account has such.
// https://docs.aws.amazon.com/eks/latest/best-practices/vpc-cni.html
func leaked(tx *account.Tx, id string) []*account.Resource {
	if !tx.World().LeakedInterfaces {
		return nil
	}
	return slices.DeleteFunc(ec2.InterfacesOf(tx, id), func(r *account.Resource) bool {
		return !strings.HasPrefix(props.Str(r.Props, "Description"), "aws-K8S-")
	})
}
