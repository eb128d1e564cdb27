// Package route53 simulates Amazon Route 53: hosted zones and their records.
//
// Invariants: a record lies in its zone and has one value per name, type and
// set identifier; a CNAME stands alone; an alias points at something that is
// there; a zone with records other than its own NS and SOA can't be deleted.
//
// Whether the public DNS leads to a zone: its parent, if this account has that
// too, must have NS records for it; otherwise every zone counts as delegated
// that [account.World] doesn't name.
//
// Who answers DNS queries is package resolver, by [Served].
//
// Limits: health checks, traffic policies, DNSSEC
// and query logging aren't modelled.
package route53

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// The resource types of this package.
const (
	TypeHostedZone = "AWS::Route53::HostedZone"
	TypeRecordSet  = "AWS::Route53::RecordSet"
)

// Types returns the resource types of this package.
func Types() []*account.Type { return []*account.Type{zoneType(), recordType()} }

func batch(format string, args ...any) error {
	return account.Errorf("InvalidChangeBatch", "["+format+"]", args...)
}

func input(format string, args ...any) error {
	return account.Errorf("InvalidInput", format, args...)
}

// canonical is a name in lower case with its final dot.
func canonical(name string) string {
	name = strings.ToLower(name)
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	return name
}

// checkDomain holds a name to the rules of DNS.
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html
func checkDomain(name string) bool {
	if len(name) > 255 {
		return false
	}
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range label {
			if c <= ' ' || c > '~' {
				return false
			}
		}
	}
	return true
}

func zoneType() *account.Type {
	return &account.Type{
		Name: TypeHostedZone, Latency: "route53:zone",
		Create: createZone,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if private(r.Props) != private(next) {
				return input("A hosted zone can't change between public and private")
			}
			if err := checkZone(tx, r.ID, next); err != nil {
				return err
			}
			r.Retag(next, "HostedZoneTags")
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if len(Records(tx, r.ID)) > 0 {
				return account.Errorf("HostedZoneNotEmpty", "The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
			}
			return nil
		},
	}
}

func private(p map[string]any) bool { return len(props.Maps(p, "VPCs")) > 0 }

func createZone(tx *account.Tx, r *account.Resource) error {
	name := canonical(props.Str(r.Props, "Name"))
	if !checkDomain(name) || strings.HasPrefix(name, "*") {
		return account.Errorf("InvalidDomainName", "The domain name '%s' is not valid", props.Str(r.Props, "Name"))
	}
	if !strings.Contains(strings.TrimSuffix(name, "."), ".") && !private(r.Props) {
		return account.Errorf("InvalidDomainName", "%s is reserved by AWS!", name)
	}
	if err := checkZone(tx, "", r.Props); err != nil {
		return err
	}
	if err := quota.HostedZones.Check(tx, tx.Count(TypeHostedZone)); err != nil {
		return err
	}
	r.ID = "Z" + strings.ToUpper(tx.HexID(20))
	r.Tags = props.Tags(r.Props, "HostedZoneTags")
	r.Attrs = map[string]any{"Id": r.ID}
	r.Data = map[string]any{"name": name}
	if !private(r.Props) {
		servers, h := []any{}, fnv.New32a()
		h.Write([]byte(r.ID))
		for i, tld := range []string{"com", "net", "org", "co.uk"} {
			servers = append(servers, fmt.Sprintf("ns-%d.awsdns-%02d.%s", i*512+int(h.Sum32()%512), h.Sum32()/512%64, tld))
		}
		r.Attrs["NameServers"] = servers
	}
	return nil
}

func checkZone(tx *account.Tx, own string, p map[string]any) error {
	if props.Has(p, "QueryLoggingConfig") {
		return account.NotModelled("QueryLoggingConfig is not modelled by the sandbox")
	}
	for _, v := range props.Maps(p, "VPCs") {
		vpc, region := props.Str(v, "VPCId"), props.Str(v, "VPCRegion")
		if region != tx.Region() || tx.Get(ec2.TypeVPC, vpc) == nil {
			return account.Errorf("InvalidVPCId", "The VPC %s in region %s that you provided is not authorized to make the association.", vpc, region)
		}
		for _, z := range tx.List(TypeHostedZone) {
			same := slices.ContainsFunc(props.Maps(z.Props, "VPCs"), func(o map[string]any) bool { return props.Str(o, "VPCId") == vpc })
			if z.ID != own && same && Domain(z) == canonical(props.Str(p, "Name")) {
				return account.Errorf("ConflictingDomainExists", "The VPC %s in region %s has already been associated with the hosted zone %s with the same domain name.", vpc, region, z.ID)
			}
		}
	}
	return nil
}

// Domain is a zone's name in lower case with its final dot.
func Domain(zone *account.Resource) string { return props.Str(zone.Data, "name") }

// Records lists a zone's records but for its own NS and SOA, by name and type.
func Records(tx *account.Tx, zone string) []*account.Resource {
	var out []*account.Resource
	for _, r := range tx.List(TypeRecordSet) {
		if props.Str(r.Data, "zone") == zone {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *account.Resource) int { return strings.Compare(sortKey(a), sortKey(b)) })
	return out
}

// sortKey orders names by their labels from the right, as Route 53 does.
func sortKey(r *account.Resource) string {
	labels := strings.Split(strings.TrimSuffix(props.Str(r.Data, "name"), "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + " " + props.Str(r.Props, "Type") + " " + props.Str(r.Props, "SetIdentifier")
}

// Resolve returns the values of a name in the public DNS, as far as this
// account's zones know it: those of the zone that is nearest to the name.
func Resolve(tx *account.Tx, name, typ string) []string {
	name = canonical(name)
	var best *account.Resource
	for _, z := range tx.List(TypeHostedZone) {
		if within(name, Domain(z)) && (best == nil || len(Domain(z)) > len(Domain(best))) && Delegated(tx, z) {
			best = z
		}
	}
	if best == nil {
		return nil
	}
	var out []string
	for _, r := range Records(tx, best.ID) {
		if props.Str(r.Data, "name") == name && props.Str(r.Props, "Type") == typ {
			out = append(out, props.Strs(r.Props, "ResourceRecords")...)
		}
	}
	return out
}

// Delegated tells whether the public DNS leads to a zone: from its parent zone
// in this account by NS records that name its servers, or, if the account has
// no such parent, from outside. Names of zones aren't unique: records of the
// parent choose one; from outside, the oldest zone counts.
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-routing-traffic-for-subdomains.html
func Delegated(tx *account.Tx, zone *account.Resource) bool {
	if private(zone.Props) {
		return false
	}
	var parent *account.Resource
	for _, z := range tx.List(TypeHostedZone) {
		if private(z.Props) || z.ID == zone.ID {
			continue
		}
		if d := Domain(z); d != Domain(zone) && within(Domain(zone), d) && (parent == nil || len(d) > len(Domain(parent))) && Delegated(tx, z) {
			parent = z
		}
		if Domain(z) == Domain(zone) && (z.Created.Before(zone.Created) || z.Created.Equal(zone.Created) && z.ID < zone.ID) && !chosen(tx, zone) {
			return false
		}
	}
	if parent == nil {
		return tx.World().Delegated(Domain(zone))
	}
	return chosen(tx, zone)
}

// chosen tells whether some record of this account delegates to the zone.
func chosen(tx *account.Tx, zone *account.Resource) bool {
	servers := props.Strs(zone.Attrs, "NameServers")
	return tx.Find(TypeRecordSet, func(r *account.Resource) bool {
		return props.Str(r.Props, "Type") == "NS" && props.Str(r.Data, "name") == Domain(zone) &&
			slices.ContainsFunc(props.Strs(r.Props, "ResourceRecords"), func(v string) bool { return slices.Contains(servers, strings.TrimSuffix(strings.ToLower(v), ".")) })
	}) != nil
}

func within(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

// Upsert writes a record into a zone, in place of one of the same name and
// type. Errors: NoSuchHostedZone, InvalidChangeBatch.
func Upsert(tx *account.Tx, zone, name, typ string, ttl int, values []string, owner string) error {
	list := []any{}
	for _, v := range values {
		list = append(list, v)
	}
	return upsert(tx, map[string]any{"HostedZoneId": zone, "Name": name, "Type": typ, "TTL": ttl, "ResourceRecords": list}, owner)
}

func upsert(tx *account.Tx, p map[string]any, owner string) error {
	z, err := findZone(tx, p)
	if err != nil {
		return err
	}
	if old := record(tx, z.ID, p); old != nil {
		if err := checkRecord(tx, z, old, p); err != nil {
			return err
		}
		old.Props = p
		return nil
	}
	_, _, err = tx.Create(TypeRecordSet, p, owner, true)
	return err
}

func recordType() *account.Type {
	return &account.Type{
		Name: TypeRecordSet, Latency: "route53:record",
		Row: func(_ *account.Resource, op string) string {
			if op == "create" || op == "update" {
				op = "upsert"
			}
			return "route53:record/" + op
		},
		Create: func(tx *account.Tx, r *account.Resource) error {
			z, err := findZone(tx, r.Props)
			if err != nil {
				return err
			}
			name := canonical(props.Str(r.Props, "Name"))
			if record(tx, z.ID, r.Props) != nil {
				return batch("Tried to create resource record set [name='%s', type='%s'] but it already exists", name, props.Str(r.Props, "Type"))
			}
			if err := checkRecord(tx, z, nil, r.Props); err != nil {
				return err
			}
			// The zone's own two records count as well.
			if err := quota.Records.Check(tx, len(Records(tx, z.ID))+2); err != nil {
				return err
			}
			// The name is the id, but a name can have records of several
			// types.
			r.ID = props.Str(r.Props, "Name")
			if tx.Get(TypeRecordSet, r.ID) != nil {
				r.ID = strings.Join([]string{r.ID, z.ID, props.Str(r.Props, "Type"), props.Str(r.Props, "SetIdentifier")}, "|")
			}
			r.Data = map[string]any{"zone": z.ID, "name": name}
			tx.Stir() // it may be what a certificate waits for
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			z, err := findZone(tx, next)
			if err != nil {
				return err
			}
			if other := record(tx, z.ID, next); other != nil && other.ID != r.ID {
				return batch("Tried to create resource record set [name='%s', type='%s'] but it already exists", canonical(props.Str(next, "Name")), props.Str(next, "Type"))
			}
			tx.Stir()
			return checkRecord(tx, z, r, next)
		},
	}
}

// findZone finds the zone of a record by id or by name.
func findZone(tx *account.Tx, p map[string]any) (*account.Resource, error) {
	if id := strings.TrimPrefix(props.Str(p, "HostedZoneId"), "/hostedzone/"); id != "" {
		if z := tx.Get(TypeHostedZone, id); z != nil {
			return z, nil
		}
		e := account.Errorf("NoSuchHostedZone", "No hosted zone found with ID: %s", id)
		e.Status = 404
		return nil, e
	}
	name := props.Str(p, "HostedZoneName")
	var found []*account.Resource
	for _, z := range tx.List(TypeHostedZone) {
		if strings.HasSuffix(name, ".") && Domain(z) == canonical(name) {
			found = append(found, z)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, account.Errorf("NoSuchHostedZone", "No hosted zones named %s found", name)
	}
	return nil, input("Multiple hosted zones named %s found", name)
}

// record finds a record by its identity: name, type and set identifier.
func record(tx *account.Tx, zone string, p map[string]any) *account.Resource {
	for _, r := range Records(tx, zone) {
		if props.Str(r.Data, "name") == canonical(props.Str(p, "Name")) && props.Str(r.Props, "Type") == props.Str(p, "Type") && props.Str(r.Props, "SetIdentifier") == props.Str(p, "SetIdentifier") {
			return r
		}
	}
	return nil
}

var types = []string{"A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT"}

// checkRecord checks a record against its zone; own is the record itself if it
// is there already.
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html
func checkRecord(tx *account.Tx, z, own *account.Resource, p map[string]any) error {
	name, typ, zone := canonical(props.Str(p, "Name")), props.Str(p, "Type"), Domain(z)
	if !slices.Contains(types, typ) {
		return input("Invalid record type %s", typ)
	}
	for _, k := range []string{"Weight", "Failover", "GeoLocation", "GeoProximityLocation", "Region", "MultiValueAnswer", "HealthCheckId", "CidrRoutingConfig"} {
		if props.Has(p, k) {
			return account.NotModelled("%s is not modelled by the sandbox", k)
		}
	}
	if !checkDomain(name) {
		return batch("FATAL problem: DomainLabelTooLong or empty label encountered with '%s'", name)
	}
	if !within(name, zone) {
		return batch("RRSet with DNS name %s is not permitted in zone %s", name, zone)
	}
	if typ == "CNAME" && name == zone {
		return batch("RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s", name, zone)
	}
	if name == zone && (typ == "NS" || typ == "SOA") {
		return batch("Tried to create resource record set [name='%s', type='%s'] but it already exists", name, typ)
	}
	for _, r := range Records(tx, z.ID) {
		other := props.Str(r.Props, "Type")
		if props.Str(r.Data, "name") == name && (own == nil || r.ID != own.ID) && (typ == "CNAME") != (other == "CNAME") {
			return batch("RRSet of type %s with DNS name %s is not permitted because a conflicting RRSet of type %s with the same DNS name already exists in zone %s", typ, name, other, zone)
		}
	}
	values := props.Strs(p, "ResourceRecords")
	if alias := props.Map(p, "AliasTarget"); alias != nil {
		if len(values) > 0 || props.Has(p, "TTL") {
			return input("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found more than one in Change with [Action=CREATE, Name=%s, Type=%s, SetIdentifier=null]", name, typ)
		}
		return checkAlias(tx, z, alias, typ)
	}
	if len(values) == 0 || !props.Has(p, "TTL") {
		return input("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found none in Change with [Action=CREATE, Name=%s, Type=%s, SetIdentifier=null]", name, typ)
	}
	if ttl := props.Int(p, -1, "TTL"); ttl < 0 || ttl > 2147483647 {
		return input("Invalid TTL %s", props.Str(p, "TTL"))
	}
	return checkValues(typ, values)
}

func checkValues(typ string, values []string) error {
	seen := map[string]bool{}
	for _, v := range values {
		if seen[v] {
			return batch("Duplicate Resource Record: '%s'", v)
		}
		seen[v] = true
		addr, err := netip.ParseAddr(v)
		switch {
		case typ == "A" && (err != nil || !addr.Is4()):
			return batch("Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with '%s''", v)
		case typ == "AAAA" && (err != nil || !addr.Is6()):
			return batch("Invalid Resource Record: 'FATAL problem: AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address) encountered with '%s''", v)
		case (typ == "TXT" || typ == "SPF") && (len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"'):
			return batch("Invalid Resource Record: 'FATAL problem: InvalidCharacterString (Value should be enclosed in quotation marks) encountered with '%s''", v)
		case typ == "CNAME" && (len(values) > 1 || !checkDomain(v)):
			return batch("Invalid Resource Record: 'FATAL problem: a CNAME record has one domain name as its value' encountered with '%s'", v)
		}
	}
	return nil
}

// checkAlias wants a target that is there: a record of a zone of this account,
// or a load balancer.
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_AliasTarget.html
func checkAlias(tx *account.Tx, z *account.Resource, alias map[string]any, typ string) error {
	target, id := canonical(props.Str(alias, "DNSName")), strings.TrimPrefix(props.Str(alias, "HostedZoneId"), "/hostedzone/")
	notThere := batch("Tried to create an alias that targets %s, type %s in zone %s, but that target was not found", target, typ, id)
	if own := tx.Get(TypeHostedZone, id); own != nil {
		if id != z.ID {
			return batch("Tried to create an alias that targets %s, type %s in zone %s, but the alias target name does not lie within the target zone", target, typ, id)
		}
		for _, r := range Records(tx, id) {
			if props.Str(r.Data, "name") == target && props.Str(r.Props, "Type") == typ {
				return nil
			}
		}
		return notThere
	}
	if typ != "A" && typ != "AAAA" {
		return batch("Tried to create an alias of type %s that targets %s, which only has records of type A", typ, target)
	}
	target = strings.TrimSuffix(strings.TrimPrefix(target, "dualstack."), ".")
	known := false
	for _, lb := range tx.List("AWS::ElasticLoadBalancingV2::LoadBalancer") {
		if props.Str(lb.Attrs, "CanonicalHostedZoneID") == id {
			known = true
			if strings.EqualFold(props.Str(lb.Attrs, "DNSName"), target) {
				return nil
			}
		}
	}
	if !known && !strings.HasSuffix(target, ".elb.amazonaws.com") {
		return batch("Tried to create an alias that targets %s., type %s in zone %s, but the alias target name does not lie within the target zone", target, typ, id)
	}
	return notThere
}
