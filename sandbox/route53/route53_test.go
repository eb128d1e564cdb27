package route53_test

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

type world struct {
	*account.Account
	now  time.Time
	zone string
	// another zone
	other string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	model := &account.Model{Types: map[string]*account.Type{}}
	for _, x := range route53.Types() {
		model.Types[x.Name] = x
	}
	w.Account = account.New(model, account.Options{Now: func() time.Time { return w.now }})
	r, err := w.create(route53.TypeHostedZone, obj{"Name": "Example.com", "HostedZoneTags": []any{obj{"Key": "a", "Value": "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	w.zone = r.ID
	if r, err = w.create(route53.TypeHostedZone, obj{"Name": "example.org"}); err != nil {
		t.Fatal(err)
	}
	w.other = r.ID
	err = w.Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", ID: "lb", Attrs: obj{"DNSName": "lb-1.us-east-1.elb.amazonaws.com", "CanonicalHostedZoneID": "Z35SXDOTRQ7X7K"}})
		return route53.Upsert(tx, w.zone, "www.example.com", "A", 60, []string{"192.0.2.1"}, "me")
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) create(typ string, p obj) (*account.Resource, error) {
	var r *account.Resource
	err := w.Do(func(tx *account.Tx) error {
		var err error
		r, _, err = tx.Create(typ, p, "", true)
		return err
	})
	return r, err
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	var e *account.Error
	got := ""
	if errors.As(err, &e) {
		got = e.Code + ": " + e.Message
	} else if err != nil {
		got = err.Error()
	}
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	record := func(change obj) obj {
		p := obj{"HostedZoneId": w.zone, "Name": "a.example.com", "Type": "A", "TTL": "60", "ResourceRecords": []any{"192.0.2.1"}}
		for k, v := range change {
			if p[k] = v; v == nil {
				delete(p, k)
			}
		}
		return p
	}
	alias := func(zone, name string) obj {
		return record(obj{"TTL": nil, "ResourceRecords": nil, "AliasTarget": obj{"HostedZoneId": zone, "DNSName": name}})
	}
	const elb = "Z35SXDOTRQ7X7K"
	for name, c := range map[string]struct {
		typ  string
		p    obj
		want string
	}{
		"zone: top level":   {route53.TypeHostedZone, obj{"Name": "com"}, "InvalidDomainName: com. is reserved by AWS!"},
		"zone: label":       {route53.TypeHostedZone, obj{"Name": strings.Repeat("a", 64) + ".com"}, "InvalidDomainName: "},
		"zone: VPC":         {route53.TypeHostedZone, obj{"Name": "a.internal", "VPCs": []any{obj{"VPCId": "vpc-0", "VPCRegion": "us-east-1"}}}, "InvalidVPCId: "},
		"zone":              {route53.TypeHostedZone, obj{"Name": "example.com"}, ""},
		"no zone":           {route53.TypeRecordSet, record(obj{"HostedZoneId": "Z0"}), "NoSuchHostedZone: No hosted zone found with ID: Z0"},
		"zone by name":      {route53.TypeRecordSet, record(obj{"HostedZoneId": nil, "HostedZoneName": "example.com."}), ""},
		"exists":            {route53.TypeRecordSet, record(obj{"Name": "WWW.example.com."}), "InvalidChangeBatch: [Tried to create resource record set [name='www.example.com.', type='A'] but it already exists]"},
		"other type":        {route53.TypeRecordSet, record(obj{"Name": "www.example.com", "Type": "AAAA", "ResourceRecords": []any{"2001:db8::1"}}), ""},
		"elsewhere":         {route53.TypeRecordSet, record(obj{"Name": "a.example.org"}), "InvalidChangeBatch: [RRSet with DNS name a.example.org. is not permitted in zone example.com.]"},
		"CNAME at apex":     {route53.TypeRecordSet, record(obj{"Name": "example.com", "Type": "CNAME", "ResourceRecords": []any{"b.com"}}), "InvalidChangeBatch: [RRSet of type CNAME with DNS name example.com. is not permitted at apex in zone example.com.]"},
		"CNAME beside A":    {route53.TypeRecordSet, record(obj{"Name": "www.example.com", "Type": "CNAME", "ResourceRecords": []any{"b.com"}}), "InvalidChangeBatch: [RRSet of type CNAME with DNS name www.example.com. is not permitted because a conflicting RRSet of type A"},
		"no address":        {route53.TypeRecordSet, record(obj{"ResourceRecords": []any{"b.com"}}), "InvalidChangeBatch: [Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address"},
		"bare text":         {route53.TypeRecordSet, record(obj{"Type": "TXT", "ResourceRecords": []any{"b"}}), "InvalidChangeBatch: [Invalid Resource Record: 'FATAL problem: InvalidCharacterString"},
		"no TTL":            {route53.TypeRecordSet, record(obj{"TTL": nil}), "InvalidInput: Invalid request: Expected exactly one of"},
		"alias":             {route53.TypeRecordSet, alias(elb, "dualstack.LB-1.us-east-1.elb.amazonaws.com"), ""},
		"alias to nothing":  {route53.TypeRecordSet, alias(elb, "lb-2.us-east-1.elb.amazonaws.com"), "InvalidChangeBatch: [Tried to create an alias that targets lb-2.us-east-1.elb.amazonaws.com., type A in zone Z35SXDOTRQ7X7K, but that target was not found]"},
		"alias's zone":      {route53.TypeRecordSet, alias("Z1", "x.cloudfront.net"), "InvalidChangeBatch: [Tried to create an alias that targets x.cloudfront.net., type A in zone Z1, but the alias target name does not lie within the target zone]"},
		"zone: logs":        {route53.TypeHostedZone, obj{"Name": "a.com", "QueryLoggingConfig": obj{"CloudWatchLogsLogGroupArn": "x"}}, "NotModelled: QueryLoggingConfig is not modelled"},
		"no zone's name":    {route53.TypeRecordSet, record(obj{"HostedZoneId": nil, "HostedZoneName": "example.io."}), "NoSuchHostedZone: No hosted zones named example.io. found"},
		"type":              {route53.TypeRecordSet, record(obj{"Type": "B"}), "InvalidInput: Invalid record type B"},
		"weight":            {route53.TypeRecordSet, record(obj{"Weight": 1}), "NotModelled: Weight is not modelled"},
		"empty label":       {route53.TypeRecordSet, record(obj{"Name": "a..example.com"}), "InvalidChangeBatch: [FATAL problem"},
		"own NS":            {route53.TypeRecordSet, record(obj{"Name": "example.com", "Type": "NS", "ResourceRecords": []any{"a.b."}}), "InvalidChangeBatch: [Tried to create resource record set [name='example.com.', type='NS']"},
		"value twice":       {route53.TypeRecordSet, record(obj{"ResourceRecords": []any{"192.0.2.1", "192.0.2.1"}}), "InvalidChangeBatch: [Duplicate Resource Record"},
		"no IPv6 address":   {route53.TypeRecordSet, record(obj{"Type": "AAAA"}), "InvalidChangeBatch: [Invalid Resource Record: 'FATAL problem: AAAARRDATAIllegalIPv6Address"},
		"two CNAMEs":        {route53.TypeRecordSet, record(obj{"Type": "CNAME", "ResourceRecords": []any{"a.com", "b.com"}}), "InvalidChangeBatch: [Invalid Resource Record"},
		"negative TTL":      {route53.TypeRecordSet, record(obj{"TTL": -1}), "InvalidInput: Invalid TTL -1"},
		"alias and value":   {route53.TypeRecordSet, record(obj{"AliasTarget": obj{"HostedZoneId": elb, "DNSName": "x"}}), "InvalidInput: Invalid request: Expected exactly one of"},
		"alias of type":     {route53.TypeRecordSet, record(obj{"Type": "TXT", "TTL": nil, "ResourceRecords": nil, "AliasTarget": obj{"HostedZoneId": elb, "DNSName": "lb-1.us-east-1.elb.amazonaws.com"}}), "InvalidChangeBatch: [Tried to create an alias of type TXT"},
		"alias elsewhere":   {route53.TypeRecordSet, alias(w.other, "www.example.org"), "InvalidChangeBatch: [Tried to create an alias that targets www.example.org., type A in zone " + w.other + ", but the alias target name does not lie within the target zone]"},
		"alias to no name":  {route53.TypeRecordSet, alias(w.zone, "b.example.com"), "InvalidChangeBatch: [Tried to create an alias that targets b.example.com., type A in zone " + w.zone + ", but that target was not found]"},
		"alias of own zone": {route53.TypeRecordSet, alias(w.zone, "www.example.com"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &world{now: w.now}
			f.Account = w.Clone(func() time.Time { return f.now })
			_, err := f.create(c.typ, c.p)
			check(t, err, c.want)
		})
	}
}

func call(t *testing.T, w *world, op string, in obj) (string, error) {
	t.Helper()
	for _, o := range route53.Service().Operations {
		if o.Name == op {
			var out any
			err := w.Do(func(tx *account.Tx) error {
				var err error
				out, err = o.Do(tx, &wire.Request{In: in})
				return err
			})
			if err != nil {
				return "", err
			}
			b, merr := xml.Marshal(out)
			if merr != nil {
				t.Errorf("%s: %v", op, merr)
			}
			return string(b), nil
		}
	}
	t.Fatalf("no operation %s", op)
	return "", nil
}

func TestZoneIsDeletedEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := call(t, w, "DeleteHostedZone", obj{"Id": w.zone})
	check(t, err, "HostedZoneNotEmpty: The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
	batch := func(changes ...any) obj {
		list := append([]any{}, changes...)
		return obj{"Id": w.zone, "ChangeBatch": obj{"Changes": obj{"Change": list}}}
	}
	change := func(action, name, value string) obj {
		return obj{"Action": action, "ResourceRecordSet": obj{"Name": name, "Type": "A", "TTL": "60", "ResourceRecords": obj{"ResourceRecord": []any{obj{"Value": value}}}}}
	}
	_, err = call(t, w, "ChangeResourceRecordSets", batch(change("CREATE", "b.example.com", "192.0.2.2"), change("DELETE", "www.example.com", "192.0.2.9")))
	check(t, err, "InvalidChangeBatch: [Tried to delete resource record set [name='www.example.com.', type='A'] but the values provided do not match the current values]")
	_, err = call(t, w, "ChangeResourceRecordSets", batch(change("UPSERT", "www.example.com", "192.0.2.3"), change("CREATE", `\052.example.com`, "192.0.2.4")))
	check(t, err, "")
	out, err := call(t, w, "ListResourceRecordSets", obj{"Id": w.zone})
	check(t, err, "")
	for _, part := range []string{"<Type>SOA</Type>", `<Name>\052.example.com.</Name>`, "<Value>192.0.2.3</Value>"} {
		if !strings.Contains(out, part) {
			t.Errorf("no %s in %s", part, out)
		}
	}
	if strings.Contains(out, "b.example.com") {
		t.Error("a refused batch was applied in part")
	}
	err = w.Do(func(tx *account.Tx) error {
		if d := cmp.Diff([]string{"192.0.2.3"}, route53.Resolve(tx, "www.EXAMPLE.com", "A")); d != "" {
			t.Error(d)
		}
		return nil
	})
	check(t, err, "")
	_, err = call(t, w, "ChangeResourceRecordSets", batch(change("DELETE", "www.example.com", "192.0.2.3"), change("DELETE", "*.example.com", "192.0.2.4")))
	check(t, err, "")
	for _, c := range []struct {
		op   string
		in   obj
		part string
	}{
		{"ListHostedZonesByName", obj{"dnsname": "example.com"}, "<Name>example.com.</Name>"},
		{"ListHostedZones", obj{}, "<ResourceRecordSetCount>2</ResourceRecordSetCount>"},
		{"GetHostedZone", obj{"Id": w.zone}, "<NameServer>ns-"},
		{"ListTagsForResource", obj{"ResourceType": "hostedzone", "ResourceId": w.zone}, "<Key>a</Key><Value>b</Value>"},
		{"DeleteHostedZone", obj{"Id": w.zone}, "<Status>INSYNC</Status>"},
	} {
		out, err := call(t, w, c.op, c.in)
		check(t, err, "")
		if !strings.Contains(out, c.part) {
			t.Errorf("%s: no %s in %s", c.op, c.part, out)
		}
	}
	_, err = call(t, w, "GetHostedZone", obj{"Id": w.zone})
	check(t, err, "NoSuchHostedZone: ")
}
