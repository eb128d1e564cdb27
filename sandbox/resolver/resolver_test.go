package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/resolver"
)

type (
	in   = map[string]any
	list = []any
)

// world is an account with zones, a load balancer and a database.
func world(t testing.TB) (s *sandbox.Sandbox, balancer, database string) {
	t.Helper()
	now := time.Now()
	s = testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	zone := testkit.MustCreate(t, s, "AWS::Route53::HostedZone", in{"Name": "example.com"})
	record := func(zone, name, typ string, values ...any) {
		t.Helper()
		testkit.MustCreate(t, s, "AWS::Route53::RecordSet", in{"HostedZoneId": zone, "Name": name, "Type": typ, "TTL": "300", "ResourceRecords": values})
	}
	vpc := testkit.MustCreate(t, s, "AWS::EC2::VPC", in{"CidrBlock": "10.0.0.0/16"}).ID
	gateway := testkit.MustCreate(t, s, "AWS::EC2::InternetGateway", in{}).ID
	testkit.MustCreate(t, s, "AWS::EC2::VPCGatewayAttachment", in{"VpcId": vpc, "InternetGatewayId": gateway})
	var subnets list
	for i, z := range []string{"us-east-1a", "us-east-1b"} {
		subnets = append(subnets, testkit.MustCreate(t, s, "AWS::EC2::Subnet", in{"VpcId": vpc, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": z}).ID)
	}
	lb := testkit.MustCreate(t, s, "AWS::ElasticLoadBalancingV2::LoadBalancer", in{"Name": "web", "Scheme": "internal", "Subnets": subnets})
	group := testkit.MustCreate(t, s, "AWS::RDS::DBSubnetGroup", in{"DBSubnetGroupDescription": "d", "SubnetIds": subnets})
	db := testkit.MustCreate(t, s, "AWS::RDS::DBInstance", in{
		"DBInstanceIdentifier": "db", "Engine": "postgres", "DBInstanceClass": "db.m7g.large", "AllocatedStorage": "20", "DBSubnetGroupName": group.ID, "MasterUsername": "m", "ManageMasterUserPassword": true,
	})
	now = now.Add(time.Hour)
	balancer, _ = lb.Attrs["DNSName"].(string)
	database, _ = db.Attrs["Endpoint.Address"].(string)
	record(zone.ID, "a.example.com", "A", "192.0.2.1", "192.0.2.2")
	record(zone.ID, "a.example.com", "AAAA", "2001:db8::1")
	record(zone.ID, "a.example.com", "TXT", `"v=one" "two \"quoted\" \101"`)
	record(zone.ID, "a.example.com", "MX", "10 mail.example.com")
	record(zone.ID, "a.example.com", "CAA", `0 issue "amazon.com"`)
	record(zone.ID, "_x._tcp.example.com", "SRV", "1 2 5269 a.example.com.")
	record(zone.ID, "deep.under.example.com", "A", "192.0.2.3")
	record(zone.ID, "*.wild.example.com", "A", "192.0.2.4")
	record(zone.ID, "one.example.com", "CNAME", "two.example.com")
	record(zone.ID, "two.example.com", "CNAME", "A.example.com")
	record(zone.ID, "out.example.com", "CNAME", "example.org")
	record(zone.ID, "dead.example.com", "CNAME", "none.example.com")
	record(zone.ID, "loop.example.com", "CNAME", "pool.example.com")
	record(zone.ID, "pool.example.com", "CNAME", "loop.example.com")
	record(zone.ID, "db.example.com", "CNAME", database)
	record(zone.ID, "theirs.example.com", "NS", "ns.example.net", "ns.example.org")
	record(zone.ID, "naptr.example.com", "NAPTR", `1 1 "u" "sip" "" .`)
	var many list
	for i := range 60 {
		many = append(many, fmt.Sprintf("198.51.100.%d", i+1))
	}
	record(zone.ID, "many.example.com", "A", many...)
	testkit.MustCreate(t, s, "AWS::Route53::RecordSet", in{"HostedZoneId": zone.ID, "Name": "web.example.com", "Type": "A", "AliasTarget": in{"DNSName": "dualstack." + balancer, "HostedZoneId": lb.Attrs["CanonicalHostedZoneID"]}})
	testkit.MustCreate(t, s, "AWS::Route53::RecordSet", in{"HostedZoneId": zone.ID, "Name": "alias.example.com", "Type": "A", "AliasTarget": in{"DNSName": "web.example.com", "HostedZoneId": zone.ID}})
	child := testkit.MustCreate(t, s, "AWS::Route53::HostedZone", in{"Name": "child.example.com"})
	record(child.ID, "x.child.example.com", "A", "192.0.2.5")
	record(zone.ID, "child.example.com", "NS", child.Attrs["NameServers"].([]any)...)
	lost := testkit.MustCreate(t, s, "AWS::Route53::HostedZone", in{"Name": "lost.example.com"})
	record(lost.ID, "x.lost.example.com", "A", "192.0.2.6")
	inside := testkit.MustCreate(t, s, "AWS::Route53::HostedZone", in{"Name": "inside.test", "VPCs": list{in{"VPCId": vpc, "VPCRegion": "us-east-1"}}})
	record(inside.ID, "x.inside.test", "A", "10.0.0.1")
	return s, balancer, database
}

func serve(t testing.TB, s *sandbox.Sandbox, o resolver.Options) netip.AddrPort {
	t.Helper()
	r, err := resolver.Listen(t.Context(), "127.0.0.1:0", s.Account(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r.Addr()
}

// ask sends a query and returns the answer.
func ask(t testing.TB, network string, at netip.AddrPort, name string, typ dnsmessage.Type, edns int) dnsmessage.Message {
	t.Helper()
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}}}
	if edns > 0 {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(".")}
		if err := h.SetEDNS0(edns, 0, false); err != nil {
			t.Fatal(err)
		}
		q.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return exchange(t, network, at, b)
}

func exchange(t testing.TB, network string, at netip.AddrPort, b []byte) (m dnsmessage.Message) {
	t.Helper()
	c, err := net.Dial(network, at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if network == "tcp" {
		b = append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
	}
	_, err = c.Write(b)
	out := make([]byte, 65535)
	n := 0
	if err == nil {
		if network == "tcp" {
			if _, err = io.ReadFull(c, out[:2]); err == nil {
				n, err = io.ReadFull(c, out[:int(out[0])<<8|int(out[1])])
			}
		} else {
			n, err = c.Read(out)
		}
	}
	if err == nil {
		err = m.Unpack(out[:n])
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// told writes an answer's records in one line.
func told(rs []dnsmessage.Resource) string {
	var out []string
	for _, r := range rs {
		v := ""
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			v = netip.AddrFrom4(b.A).String()
		case *dnsmessage.AAAAResource:
			v = netip.AddrFrom16(b.AAAA).String()
		case *dnsmessage.CNAMEResource:
			v = b.CNAME.String()
		case *dnsmessage.NSResource:
			v = b.NS.String()
		case *dnsmessage.MXResource:
			v = fmt.Sprint(b.Pref, " ", b.MX)
		case *dnsmessage.SRVResource:
			v = fmt.Sprint(b.Priority, " ", b.Weight, " ", b.Port, " ", b.Target)
		case *dnsmessage.TXTResource:
			v = strings.Join(b.TXT, "|")
		case *dnsmessage.SOAResource:
			v = "SOA"
		case *dnsmessage.UnknownResource:
			v = fmt.Sprintf("%q", b.Data)
		}
		out = append(out, fmt.Sprintf("%s %d %s", r.Header.Name, r.Header.TTL, v))
	}
	return strings.Join(out, ", ")
}

// Names of hosted zones are answered as Route 53's name servers do: a name that
// isn't there differs from one with other records, a CNAME is followed as long as
// the account knows the way, a wildcard stands for what isn't there, an alias has
// its target's addresses, and what is delegated is left to those it is delegated
// to. What the account doesn't have is refused.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/route-53-concepts.html
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/SOA-NSrecords.html
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-choosing-alias-non-alias.html
func TestAnswers(t *testing.T) {
	t.Parallel()
	s, balancer, database := world(t)
	at := serve(t, s, resolver.Options{})
	ok, none, refused := dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError, dnsmessage.RCodeRefused
	const soa = "example.com. 900 SOA"
	for _, x := range []struct {
		name      string
		typ       dnsmessage.Type
		code      dnsmessage.RCode
		answers   string
		authority string
	}{
		{"a.example.com.", dnsmessage.TypeA, ok, "a.example.com. 300 192.0.2.1, a.example.com. 300 192.0.2.2", ""},
		{"A.Example.COM.", dnsmessage.TypeAAAA, ok, "A.Example.COM. 300 2001:db8::1", ""},
		{"a.example.com.", dnsmessage.TypeTXT, ok, `a.example.com. 300 v=one|two "quoted" A`, ""},
		{"a.example.com.", dnsmessage.TypeMX, ok, "a.example.com. 300 10 mail.example.com.", ""},
		{"a.example.com.", 257, ok, `a.example.com. 300 "\x00\x05issueamazon.com"`, ""},
		{"_x._tcp.example.com.", dnsmessage.TypeSRV, ok, "_x._tcp.example.com. 300 1 2 5269 a.example.com.", ""},
		{"example.com.", dnsmessage.TypeSOA, ok, soa, ""},
		{"a.example.com.", dnsmessage.TypeSRV, ok, "", soa},
		{"none.example.com.", dnsmessage.TypeA, none, "", soa},
		{"under.example.com.", dnsmessage.TypeA, ok, "", soa},
		{"x.under.example.com.", dnsmessage.TypeA, none, "", soa},
		{"x.y.wild.example.com.", dnsmessage.TypeA, ok, "x.y.wild.example.com. 300 192.0.2.4", ""},
		{"x.wild.example.com.", dnsmessage.TypeTXT, ok, "", soa},
		{"one.example.com.", dnsmessage.TypeAAAA, ok, "one.example.com. 300 two.example.com., two.example.com. 300 A.example.com., a.example.com. 300 2001:db8::1", ""},
		{"one.example.com.", dnsmessage.TypeCNAME, ok, "one.example.com. 300 two.example.com.", ""},
		{"out.example.com.", dnsmessage.TypeA, ok, "out.example.com. 300 example.org.", ""},
		{"dead.example.com.", dnsmessage.TypeA, none, "dead.example.com. 300 none.example.com.", soa},
		{"loop.example.com.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure, "", ""},
		{"web.example.com.", dnsmessage.TypeA, ok, "web.example.com. 60 127.0.0.1", ""},
		{"web.example.com.", dnsmessage.TypeAAAA, ok, "", soa},
		{"alias.example.com.", dnsmessage.TypeA, ok, "alias.example.com. 60 127.0.0.1", ""},
		{balancer + ".", dnsmessage.TypeA, ok, balancer + ". 60 127.0.0.1", ""},
		{strings.ToUpper(balancer) + ".", dnsmessage.TypeA, ok, strings.ToUpper(balancer) + ". 60 127.0.0.1", ""},
		{"dualstack." + balancer + ".", dnsmessage.TypeAAAA, ok, "", "us-east-1.elb.amazonaws.com. 60 SOA"},
		{database + ".", dnsmessage.TypeA, ok, database + ". 5 127.0.0.1", ""},
		{"x" + database + ".", dnsmessage.TypeA, none, "", "c23456789012.us-east-1.rds.amazonaws.com. 60 SOA"},
		{"db.example.com.", dnsmessage.TypeA, ok, "db.example.com. 300 " + database + "., " + database + ". 5 127.0.0.1", ""},
		{"x.theirs.example.com.", dnsmessage.TypeA, ok, "", "theirs.example.com. 300 ns.example.net., theirs.example.com. 300 ns.example.org."},
		{"x.child.example.com.", dnsmessage.TypeA, ok, "x.child.example.com. 300 192.0.2.5", ""},
		{"naptr.example.com.", 35, dnsmessage.RCodeNotImplemented, "", ""},
		{"x.lost.example.com.", dnsmessage.TypeA, none, "", soa},
		{"x.inside.test.", dnsmessage.TypeA, refused, "", ""},
		{"example.org.", dnsmessage.TypeA, refused, "", ""},
		{"other-1234567890.us-east-1.elb.amazonaws.com.", dnsmessage.TypeA, refused, "", ""},
		{"a.example.com.", dnsmessage.TypeALL, dnsmessage.RCodeNotImplemented, "", ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := ask(t, network, at, x.name, x.typ, 0)
			if m.RCode != x.code || told(m.Answers) != x.answers || told(m.Authorities) != x.authority || m.ID != 7 || !m.RecursionDesired || m.RecursionAvailable {
				t.Errorf("%s %s by %s: got %v, answers %q, authority %q, want %v, %q, %q", x.name, x.typ, network, m.RCode, told(m.Answers), told(m.Authorities), x.code, x.answers, x.authority)
			}
			if m.Authoritative != (m.RCode == ok && !strings.HasPrefix(x.name, "x.theirs") || m.RCode == none) {
				t.Errorf("%s %s: authoritative %v", x.name, x.typ, m.Authoritative)
			}
		}
	}
}

// A private zone is answered only where that was asked for.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/hosted-zones-private.html
func TestPrivateZonesOnlyIfTold(t *testing.T) {
	t.Parallel()
	s, _, _ := world(t)
	m := ask(t, "udp", serve(t, s, resolver.Options{PrivateZones: true}), "x.inside.test.", dnsmessage.TypeA, 0)
	if told(m.Answers) != "x.inside.test. 300 10.0.0.1" {
		t.Errorf("got %v %s", m.RCode, told(m.Answers))
	}
	m = ask(t, "udp", serve(t, s, resolver.Options{}), "x.inside.test.", dnsmessage.TypeA, 1232)
	if why := reason(m); m.RCode != dnsmessage.RCodeRefused || !strings.Contains(why, "private") {
		t.Errorf("got %v, %q", m.RCode, why)
	}
}

// reason is the text of an answer's extended error.
func reason(m dnsmessage.Message) string {
	for _, r := range m.Additionals {
		if o, ok := r.Body.(*dnsmessage.OPTResource); ok && len(o.Options) == 1 && o.Options[0].Code == 15 {
			return string(o.Options[0].Data[2:])
		}
	}
	return ""
}

// An answer that doesn't fit into a datagram says so, and is had by TCP; how much
// fits is what the client says, within limits.
func TestTruncation(t *testing.T) {
	t.Parallel()
	s, _, _ := world(t)
	at := serve(t, s, resolver.Options{})
	for _, x := range []struct {
		network string
		edns    int
		want    int
	}{{"udp", 0, 0}, {"udp", 600, 0}, {"udp", 1232, 60}, {"udp", 65535, 60}, {"tcp", 0, 60}} {
		m := ask(t, x.network, at, "many.example.com.", dnsmessage.TypeA, x.edns)
		if len(m.Answers) != x.want || m.Truncated != (x.want == 0) || m.RCode != dnsmessage.RCodeSuccess {
			t.Errorf("%+v: %d answers, truncated %v, %v", x, len(m.Answers), m.Truncated, m.RCode)
		}
	}
	addrs, err := golang(at).LookupHost(t.Context(), "many.example.com")
	if err != nil || len(addrs) != 60 {
		t.Errorf("Go's resolver got %d addresses, %v", len(addrs), err)
	}
}

// golang is Go's own resolver, asking ours.
func golang(at netip.AddrPort) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, at.String())
	}}
}

func TestGoResolver(t *testing.T) {
	t.Parallel()
	s, _, database := world(t)
	r := golang(serve(t, s, resolver.Options{Address: func(name string) netip.Addr {
		if name == database {
			return netip.MustParseAddr("127.0.0.9")
		}
		return netip.MustParseAddr("127.0.0.1")
	}}))
	addrs, err := r.LookupHost(t.Context(), "db.example.com.")
	if err != nil || !slices.Equal(addrs, []string{"127.0.0.9"}) {
		t.Errorf("got %v %v", addrs, err)
	}
	// Through both aliases; Go's LookupCNAME tells of a chain what arrives first.
	addrs, err = r.LookupHost(t.Context(), "one.example.com.")
	slices.Sort(addrs)
	if err != nil || !slices.Equal(addrs, []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}) {
		t.Errorf("got %v %v", addrs, err)
	}
	_, err = r.LookupHost(t.Context(), "none.example.com.")
	if e, ok := errors.AsType[*net.DNSError](err); !ok || !e.IsNotFound {
		t.Errorf("got %v", err)
	}
}

// What is no proper query is answered as the standards say, or not at all.
func TestBrokenQueries(t *testing.T) {
	t.Parallel()
	s, _, _ := world(t)
	at := serve(t, s, resolver.Options{})
	name := dnsmessage.MustNewName("a.example.com.")
	q := dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	opt := func(version uint32) dnsmessage.Resource {
		return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: 1232, TTL: version << 16}, Body: &dnsmessage.OPTResource{}}
	}
	for what, x := range map[string]struct {
		m        dnsmessage.Message
		code     dnsmessage.RCode
		extended dnsmessage.RCode
	}{
		"no question":      {dnsmessage.Message{}, dnsmessage.RCodeFormatError, 0},
		"two questions":    {dnsmessage.Message{Questions: []dnsmessage.Question{q, q}}, dnsmessage.RCodeFormatError, 0},
		"an update":        {dnsmessage.Message{Header: dnsmessage.Header{OpCode: 5}, Questions: []dnsmessage.Question{q}}, dnsmessage.RCodeNotImplemented, 0},
		"another class":    {dnsmessage.Message{Questions: []dnsmessage.Question{{Name: name, Type: q.Type, Class: dnsmessage.ClassCHAOS}}}, dnsmessage.RCodeRefused, 0},
		"two extensions":   {dnsmessage.Message{Questions: []dnsmessage.Question{q}, Additionals: []dnsmessage.Resource{opt(0), opt(0)}}, dnsmessage.RCodeFormatError, 0},
		"a later version":  {dnsmessage.Message{Questions: []dnsmessage.Question{q}, Additionals: []dnsmessage.Resource{opt(1)}}, 0, 16},
		"a proper query":   {dnsmessage.Message{Questions: []dnsmessage.Question{q}, Additionals: []dnsmessage.Resource{opt(0)}}, 0, 0},
		"records too many": {dnsmessage.Message{Questions: []dnsmessage.Question{q}, Answers: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Class: 1}, Body: &dnsmessage.AResource{}}}}, 0, 0},
	} {
		b, err := x.m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		m := exchange(t, "udp", at, b)
		extended := dnsmessage.RCode(0)
		for i := range m.Additionals {
			if h := &m.Additionals[i].Header; h.Type == dnsmessage.TypeOPT {
				extended = h.ExtendedRCode(m.RCode)
			}
		}
		if m.RCode != x.code || extended != x.extended && x.extended != 0 {
			t.Errorf("%s: got %v, extended %d", what, m.RCode, extended)
		}
	}
	answer := dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Questions: []dnsmessage.Question{q}}
	b, err := answer.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"nothing": nil, "half a header": b[:7], "an answer": b} {
		if out := resolver.Answer(b, false, nil); out != nil {
			t.Errorf("%s is answered with %x", what, out)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	s, _, _ := world(t)
	at := serve(t, s, resolver.Options{})
	for _, address := range []string{"0.0.0.0:0", "192.0.2.1:53", "localhost:0", at.String()} {
		if r, err := resolver.Listen(t.Context(), address, s.Account(), resolver.Options{}); err == nil {
			t.Errorf("listens on %s", address)
			_ = r.Close()
		}
	}
}

// FuzzAnswer: whatever comes in, what goes out is nothing, or an answer to it
// that can be read and fits.
func FuzzAnswer(f *testing.F) {
	for _, m := range []dnsmessage.Message{
		{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.example.com."), Type: 1, Class: 1}}},
		{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("x.wild.example.com."), Type: 16, Class: 1}}, Additionals: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Class: 4096}, Body: &dnsmessage.OPTResource{}}}},
	} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	answers := make([]dnsmessage.Resource, 100)
	for i := range answers {
		answers[i] = dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("x."), Class: 1}, Body: &dnsmessage.AResource{}}
	}
	f.Fuzz(func(t *testing.T, query []byte, stream bool) {
		out := resolver.Answer(query, stream, func(resolver.Question) resolver.Result {
			return resolver.Result{Answers: slices.Clone(answers), Why: "why"}
		})
		if out == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(out); err != nil || !m.Response || m.ID != uint16(query[0])<<8|uint16(query[1]) {
			t.Fatalf("answered %x with %x: %v", query, out, err)
		}
		if !stream && len(out) > 1232 {
			t.Fatalf("a datagram of %d bytes", len(out))
		}
	})
}
