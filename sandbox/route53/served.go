package route53

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Record is a record of a zone, as its name servers have it.
type Record struct {
	// Name is in lower case, with its final dot; its first label is "*" where
	// it stands for all names without one.
	Name, Type, SetIdentifier string
	// TTL is in seconds; an alias has its target's.
	TTL    int
	Values []string
	// Alias is the name of an alias's target, or empty, Zone the id of the
	// hosted zone that it is in.
	Alias, Zone string
	// Evaluate tells that an alias follows the health of its target.
	Evaluate bool
}

// Private tells whether a zone is answered within VPCs only.
func Private(zone *account.Resource) bool { return private(zone.Props) }

// Served are a zone's records, its own first: the names of its servers and its
// start of authority.
func Served(tx *account.Tx, z *account.Resource) []Record {
	servers := props.Strs(z.Attrs, "NameServers")
	if len(servers) == 0 {
		servers = []string{"ns-0.awsdns-00.com"}
	}
	ns := Record{Name: Domain(z), Type: "NS", TTL: 172800}
	for _, s := range servers {
		ns.Values = append(ns.Values, s+".")
	}
	soa := Record{Name: Domain(z), Type: "SOA", TTL: 900, Values: []string{servers[0] + ". awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}}
	out := []Record{ns, soa}
	for _, r := range Records(tx, z.ID) {
		x := Record{
			Name: props.Str(r.Data, "name"), Type: props.Str(r.Props, "Type"), SetIdentifier: props.Str(r.Props, "SetIdentifier"),
			TTL: props.Int(r.Props, 0, "TTL"), Values: props.Strs(r.Props, "ResourceRecords"),
		}
		if a := props.Map(r.Props, "AliasTarget"); a != nil {
			x.Alias, x.Zone, x.Evaluate = canonical(props.Str(a, "DNSName")), props.Str(a, "HostedZoneId"), props.Bool(a, false, "EvaluateTargetHealth")
		}
		out = append(out, x)
	}
	return out
}
