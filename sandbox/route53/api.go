package route53

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns the API of Route 53 as far as it is modelled. Changes are in
// sync at once.
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_Operations_Amazon_Route_53.html
func Service() wire.Service {
	const zones, zone = "/2013-04-01/hostedzone", "/2013-04-01/hostedzone/{Id}"
	op := func(name, method, path string, do func(*account.Tx, *wire.Request) (any, error)) wire.Operation {
		return wire.Operation{Name: name, Method: method, Path: path, Do: do}
	}
	create := op("CreateHostedZone", "POST", zones, apiCreateZone)
	create.Status = 201
	return wire.Service{Name: "route53", Version: "2013-04-01", Namespace: "https://route53.amazonaws.com/doc/2013-04-01/", Protocol: wire.RestXML, Operations: []wire.Operation{
		create,
		op("ListHostedZones", "GET", zones, listZones),
		op("ListHostedZonesByName", "GET", "/2013-04-01/hostedzonesbyname", listZonesByName),
		op("GetHostedZone", "GET", zone, getZone),
		op("DeleteHostedZone", "DELETE", zone, deleteZone),
		op("ListResourceRecordSets", "GET", zone+"/rrset", listRecords),
		op("ChangeResourceRecordSets", "POST", zone+"/rrset", changeRecords),
		op("GetChange", "GET", "/2013-04-01/change/{Id}", getChange),
		op("ListTagsForResource", "GET", "/2013-04-01/tags/{ResourceType}/{ResourceId}", listTags),
	}}
}

type zoneXML struct {
	Id, Name, CallerReference string
	Config                    struct {
		Comment     string `xml:",omitempty"`
		PrivateZone bool
	}
	ResourceRecordSetCount int
}

func zoneOut(tx *account.Tx, z *account.Resource) zoneXML {
	out := zoneXML{Id: "/hostedzone/" + z.ID, Name: Domain(z), CallerReference: props.Str(z.Data, "reference"), ResourceRecordSetCount: len(Records(tx, z.ID)) + 2}
	if out.CallerReference == "" {
		out.CallerReference = z.ID
	}
	out.Config.Comment, out.Config.PrivateZone = props.Str(z.Props, "HostedZoneConfig", "Comment"), private(z.Props)
	return out
}

type changeXML struct{ Id, Status, SubmittedAt string }

type changedXML struct{ ChangeInfo changeXML }

func changeOut(tx *account.Tx) changeXML {
	return changeXML{"/change/C" + strings.ToUpper(tx.HexID(20)), "INSYNC", stamp(tx.Now())}
}

func stamp(t time.Time) string { return wire.ISO(t) }

type delegationXML struct {
	NameServers []string `xml:"NameServers>NameServer"`
}

type vpcXML struct{ VPCRegion, VPCId string }

type createdXML struct {
	HostedZone    zoneXML
	ChangeInfo    changeXML
	DelegationSet delegationXML
}

func apiCreateZone(tx *account.Tx, r *wire.Request) (any, error) {
	reference := r.String("CallerReference")
	for _, z := range tx.List(TypeHostedZone) {
		if reference != "" && props.Str(z.Data, "reference") == reference {
			return nil, &account.Error{Code: "HostedZoneAlreadyExists", Message: "A hosted zone has already been created with the specified caller reference.", Status: 409}
		}
	}
	p := map[string]any{"Name": r.String("Name")}
	if c := r.Map("HostedZoneConfig"); props.Str(c, "Comment") != "" {
		p["HostedZoneConfig"] = map[string]any{"Comment": props.Str(c, "Comment")}
	}
	if v := r.Map("VPC"); v != nil {
		p["VPCs"] = []any{v}
	}
	z, _, err := tx.Create(TypeHostedZone, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	z.Data["reference"] = reference
	return wire.Headed{
		Header: http.Header{"Location": {"https://route53.amazonaws.com/2013-04-01/hostedzone/" + z.ID}},
		Out:    createdXML{zoneOut(tx, z), changeOut(tx), delegationXML{props.Strs(z.Attrs, "NameServers")}},
	}, nil
}

// size is how many items a listing shows at once.
func size(r *wire.Request) int {
	n := r.Int("maxitems", 100)
	if n < 1 || n > 300 {
		return 100
	}
	return n
}

type zonesXML struct {
	HostedZones []zoneXML `xml:"HostedZones>HostedZone"`
	Marker      string
	IsTruncated bool
	NextMarker  string `xml:",omitempty"`
	MaxItems    int
}

func listZones(tx *account.Tx, r *wire.Request) (any, error) {
	var out zonesXML
	out.Marker, out.MaxItems = r.String("marker"), size(r)
	page, next, err := wire.Page(tx.List(TypeHostedZone), out.Marker, out.MaxItems, "InvalidInput")
	for _, z := range page {
		out.HostedZones = append(out.HostedZones, zoneOut(tx, z))
	}
	out.NextMarker, out.IsTruncated = next, next != ""
	return out, err
}

type zonesByNameXML struct {
	HostedZones    []zoneXML `xml:"HostedZones>HostedZone"`
	DNSName        string    `xml:",omitempty"`
	HostedZoneId   string    `xml:",omitempty"`
	IsTruncated    bool
	NextDNSName    string `xml:",omitempty"`
	NextHostedZone string `xml:"NextHostedZoneId,omitempty"`
	MaxItems       int
}

func listZonesByName(tx *account.Tx, r *wire.Request) (any, error) {
	var out zonesByNameXML
	out.DNSName, out.HostedZoneId, out.MaxItems = r.String("dnsname"), r.String("hostedzoneid"), size(r)
	key := func(name, id string) string {
		labels := strings.Split(strings.TrimSuffix(name, "."), ".")
		slices.Reverse(labels)
		return strings.Join(labels, ".") + " " + id
	}
	all := tx.List(TypeHostedZone)
	slices.SortFunc(all, func(a, b *account.Resource) int { return strings.Compare(key(Domain(a), a.ID), key(Domain(b), b.ID)) })
	for _, z := range all {
		if out.DNSName != "" && key(Domain(z), z.ID) < key(canonical(out.DNSName), out.HostedZoneId) {
			continue
		}
		if len(out.HostedZones) == out.MaxItems {
			out.IsTruncated, out.NextDNSName, out.NextHostedZone = true, Domain(z), z.ID
			break
		}
		out.HostedZones = append(out.HostedZones, zoneOut(tx, z))
	}
	return out, nil
}

type oneZoneXML struct {
	HostedZone    zoneXML
	DelegationSet *delegationXML `xml:",omitempty"`
	VPCs          *vpcsXML       `xml:",omitempty"`
}

// vpcsXML are nil for a public zone, which has none.
type vpcsXML struct{ VPC []vpcXML }

func getZone(tx *account.Tx, r *wire.Request) (any, error) {
	z, err := findZone(tx, map[string]any{"HostedZoneId": r.String("Id")})
	if err != nil {
		return nil, err
	}
	var vpcs *vpcsXML
	for _, v := range props.Maps(z.Props, "VPCs") {
		if vpcs == nil {
			vpcs = &vpcsXML{}
		}
		vpcs.VPC = append(vpcs.VPC, vpcXML{props.Str(v, "VPCRegion"), props.Str(v, "VPCId")})
	}
	var delegation *delegationXML
	if !private(z.Props) {
		delegation = &delegationXML{props.Strs(z.Attrs, "NameServers")}
	}
	return oneZoneXML{zoneOut(tx, z), delegation, vpcs}, nil
}

func deleteZone(tx *account.Tx, r *wire.Request) (any, error) {
	z, err := findZone(tx, map[string]any{"HostedZoneId": r.String("Id")})
	if err != nil {
		return nil, err
	}
	if _, err := tx.Delete(z, false); err != nil {
		return nil, err
	}
	return changedXML{changeOut(tx)}, tx.Settle(z, "delete")
}

type valueXML struct{ Value string }

type aliasXML struct {
	HostedZoneId, DNSName string
	EvaluateTargetHealth  bool
}

// valuesXML are nil for an alias, which has none.
type valuesXML struct {
	ResourceRecord []valueXML
}

func (v *valuesXML) with(value string) *valuesXML {
	if v == nil {
		v = &valuesXML{}
	}
	v.ResourceRecord = append(v.ResourceRecord, valueXML{value})
	return v
}

type recordXML struct {
	Name, Type      string
	SetIdentifier   string     `xml:",omitempty"`
	TTL             int        `xml:",omitempty"`
	ResourceRecords *valuesXML `xml:",omitempty"`
	AliasTarget     *aliasXML  `xml:",omitempty"`
}

// allRecords are a zone's records, its own among them.
func allRecords(tx *account.Tx, z *account.Resource) []recordXML {
	var out []recordXML
	for _, r := range Served(tx, z) {
		x := recordXML{Name: strings.ReplaceAll(r.Name, "*", `\052`), Type: r.Type, SetIdentifier: r.SetIdentifier, TTL: r.TTL}
		for _, v := range r.Values {
			x.ResourceRecords = x.ResourceRecords.with(v)
		}
		if r.Alias != "" {
			x.AliasTarget = &aliasXML{r.Zone, r.Alias, r.Evaluate}
		}
		out = append(out, x)
	}
	return out
}

type recordsXML struct {
	ResourceRecordSets []recordXML `xml:"ResourceRecordSets>ResourceRecordSet"`
	IsTruncated        bool
	NextRecordName     string `xml:",omitempty"`
	NextRecordType     string `xml:",omitempty"`
	MaxItems           int
}

func listRecords(tx *account.Tx, r *wire.Request) (any, error) {
	z, err := findZone(tx, map[string]any{"HostedZoneId": r.String("Id")})
	if err != nil {
		return nil, err
	}
	var out recordsXML
	out.MaxItems = size(r)
	all := allRecords(tx, z)
	start := 0
	if name := r.String("name"); name != "" {
		start = len(all)
		for i, x := range all {
			if x.Name == strings.ReplaceAll(canonical(name), "*", `\052`) && (r.String("type") == "" || x.Type == r.String("type")) {
				start = i
				break
			}
		}
	}
	for _, x := range all[start:] {
		if len(out.ResourceRecordSets) == out.MaxItems {
			out.IsTruncated, out.NextRecordName, out.NextRecordType = true, x.Name, x.Type
			break
		}
		out.ResourceRecordSets = append(out.ResourceRecordSets, x)
	}
	return out, nil
}

// changeRecords applies a batch as a whole or not at all.
func changeRecords(tx *account.Tx, r *wire.Request) (any, error) {
	z, err := findZone(tx, map[string]any{"HostedZoneId": r.String("Id")})
	if err != nil {
		return nil, err
	}
	changes := changesOf(r)
	if len(changes) == 0 {
		return nil, input("The change batch has no changes")
	}
	before := map[string]*account.Resource{}
	for _, x := range Records(tx, z.ID) {
		c := *x
		before[x.ID] = &c
	}
	for _, c := range changes {
		if err := change(tx, z, props.Str(c, "Action"), properties(z, props.Map(c, "ResourceRecordSet")), r.Caller); err != nil {
			for _, x := range Records(tx, z.ID) {
				tx.Drop(TypeRecordSet, x.ID)
			}
			for _, x := range before {
				tx.Put(x)
			}
			return nil, err
		}
	}
	return changedXML{changeOut(tx)}, nil
}

func changesOf(r *wire.Request) []map[string]any {
	list := props.Get(r.In, "ChangeBatch", "Changes", "Change")
	if one, ok := list.(map[string]any); ok {
		return []map[string]any{one}
	}
	return props.Maps(map[string]any{"l": list}, "l")
}

// properties are those that CloudFormation has for a record of the API.
func properties(z *account.Resource, set map[string]any) map[string]any {
	p := map[string]any{"HostedZoneId": z.ID}
	for _, k := range []string{"Name", "Type", "SetIdentifier", "TTL", "AliasTarget", "Weight", "Failover", "Region", "GeoLocation", "GeoProximityLocation", "MultiValueAnswer", "HealthCheckId", "CidrRoutingConfig"} {
		if v, ok := set[k]; ok {
			p[k] = v
		}
	}
	p["Name"] = strings.ReplaceAll(props.Str(p, "Name"), `\052`, "*")
	values := []any{}
	for _, v := range wire.List(props.Get(set, "ResourceRecords", "ResourceRecord")) {
		values = append(values, props.Str(v, "Value"))
	}
	if len(values) > 0 {
		p["ResourceRecords"] = values
	}
	return p
}

func change(tx *account.Tx, z *account.Resource, action string, p map[string]any, owner string) error {
	name, typ := canonical(props.Str(p, "Name")), props.Str(p, "Type")
	switch action {
	case "CREATE":
		_, _, err := tx.Create(TypeRecordSet, p, owner, true)
		return err
	case "UPSERT":
		return upsert(tx, p, owner)
	case "DELETE":
		old := record(tx, z.ID, p)
		if old == nil && name == Domain(z) && (typ == "NS" || typ == "SOA") {
			return batch("A HostedZone must contain exactly one SOA record and at least one NS record for the zone itself.")
		}
		if old == nil {
			return batch("Tried to delete resource record set [name='%s', type='%s'] but it was not found", name, typ)
		}
		alias := func(p map[string]any) string { return canonical(props.Str(p, "AliasTarget", "DNSName")) }
		if !props.SameSet(props.Strs(old.Props, "ResourceRecords"), props.Strs(p, "ResourceRecords")) || props.Int(old.Props, 0, "TTL") != props.Int(p, 0, "TTL") || alias(old.Props) != alias(p) {
			return batch("Tried to delete resource record set [name='%s', type='%s'] but the values provided do not match the current values", name, typ)
		}
		tx.Drop(TypeRecordSet, old.ID)
		return nil
	}
	return input("Invalid action %s", action)
}

func getChange(tx *account.Tx, r *wire.Request) (any, error) {
	id := strings.TrimPrefix(r.String("Id"), "/change/")
	if !strings.HasPrefix(id, "C") || strings.Trim(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || len(id) > 32 {
		return nil, &account.Error{Code: "NoSuchChange", Message: "Could not find resource with ID: " + id, Status: 404}
	}
	return changedXML{changeXML{"/change/" + id, "INSYNC", stamp(tx.Now())}}, nil
}

type tagXML struct{ Key, Value string }

type tagsXML struct {
	ResourceTagSet struct {
		ResourceType, ResourceId string
		Tags                     []tagXML `xml:"Tags>Tag"`
	}
}

func listTags(tx *account.Tx, r *wire.Request) (any, error) {
	if t := r.String("ResourceType"); t != "hostedzone" {
		return nil, account.NotModelled("Tags of resource type %s are not modelled by the sandbox", strconv.Quote(t))
	}
	z, err := findZone(tx, map[string]any{"HostedZoneId": r.String("ResourceId")})
	if err != nil {
		return nil, err
	}
	var out tagsXML
	out.ResourceTagSet.ResourceType, out.ResourceTagSet.ResourceId = "hostedzone", z.ID
	for _, k := range slices.Sorted(maps.Keys(z.Tags)) {
		out.ResourceTagSet.Tags = append(out.ResourceTagSet.Tags, tagXML{k, z.Tags[k]})
	}
	return out, nil
}
