package network_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/poolhouse/poolhouse/planes/kubernetes/network"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pods is a network of pods on this machine's loopback interface: what is listened
// to at an address has a port of its own, found by the address.
type pods struct {
	t  *testing.T
	mu sync.Mutex
	at map[string]string
}

var _ network.Pods = (*pods)(nil)

func (p *pods) learn(network, address, real string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[string]string{}
	}
	p.at[network+" "+address] = real
}

// Listen implements [network.Pods]. Connections say that they were made to the
// address.
func (p *pods) Listen(ctx context.Context, n, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, n, "127.0.0.1:0")
	if err == nil {
		p.learn(n, address, l.Addr().String())
	}
	return l, err
}

func (p *pods) ListenPacket(ctx context.Context, n, address string) (net.PacketConn, error) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, n, "127.0.0.1:0")
	if err == nil {
		p.learn(n, address, c.LocalAddr().String())
	}
	return c, err
}

func (p *pods) Dial(ctx context.Context, n, address string) (net.Conn, error) {
	p.mu.Lock()
	real := p.at[n+" "+address]
	p.mu.Unlock()
	if real == "" {
		return nil, errors.New("nobody is at " + address)
	}
	return new(net.Dialer).DialContext(ctx, n, real)
}

// serve has a pod answer with a word and what it is told.
func (p *pods) serve(address, word string) net.Listener {
	p.t.Helper()
	l, err := p.Listen(p.t.Context(), "tcp4", address)
	ok(p.t, err)
	p.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				text, _ := io.ReadAll(c)
				fmt.Fprintf(c, "%s %s", word, text)
			}()
		}
	}()
	return l
}

// call tells what is at an address something, and returns what it says.
func (p *pods) call(address string) string {
	p.t.Helper()
	c, err := p.Dial(p.t.Context(), "tcp4", address)
	if err != nil {
		return "refused"
	}
	defer c.Close()
	ok(p.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	if _, err := io.WriteString(c, "hello"); err != nil {
		return "refused"
	}
	ok(p.t, c.(*net.TCPConn).CloseWrite())
	text, err := io.ReadAll(c)
	if err != nil {
		return "refused"
	}
	return string(text)
}

// read returns what something at an address says unasked.
func (p *pods) read(address string) string {
	p.t.Helper()
	c, err := p.Dial(p.t.Context(), "tcp4", address)
	if err != nil {
		return "refused"
	}
	defer c.Close()
	ok(p.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	text, err := io.ReadAll(c)
	ok(p.t, err)
	return string(text)
}

func open(t *testing.T, o network.Options) (*network.Network, *pods) {
	t.Helper()
	p := &pods{t: t}
	o.Pods, o.DNS, o.Domain = p, netip.MustParseAddr("172.20.0.10"), "cluster.local"
	n, err := network.New(t.Context(), o)
	ok(t, err)
	t.Cleanup(func() { ok(t, n.Close()) })
	return n, p
}

func at(s string) netip.Addr { return netip.MustParseAddr(s) }

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func web(endpoints ...network.Endpoint) network.Service {
	return network.Service{
		Namespace: "team", Name: "web", Address: at("172.20.1.1"), Ports: []network.Port{{"http", "tcp", 80}, {"dns", "udp", 53}}, Endpoints: endpoints,
	}
}

func endpoint(address, hostname string) network.Endpoint {
	return network.Endpoint{Address: at(address), Hostname: hostname, Ports: []network.Port{{"http", "tcp", 8080}, {"dns", "udp", 5353}}}
}

// TestServices: a service leads to those of its endpoints that answer, and is
// refused without one.
func TestServices(t *testing.T) {
	t.Parallel()
	n, p := open(t, network.Options{})
	p.serve("10.0.0.1:8080", "one")
	two := p.serve("10.0.0.2:8080", "two")
	set := func(s ...network.Service) {
		t.Helper()
		ok(t, n.Set(t.Context(), s))
	}
	set(web())
	want(t, "without endpoints", p.call("172.20.1.1:80"), "refused")
	set(web(endpoint("10.0.0.1", ""), endpoint("10.0.0.2", "")))
	seen := map[string]bool{}
	for range 100 {
		seen[p.call("172.20.1.1:80")] = true
	}
	want(t, "two endpoints", seen, map[string]bool{"one hello": true, "two hello": true})
	sticky := web(endpoint("10.0.0.1", ""), endpoint("10.0.0.2", ""))
	sticky.Sticky = true
	set(sticky)
	clear(seen)
	for range 20 {
		seen[p.call("172.20.1.1:80")] = true
	}
	want(t, "to the same", len(seen), 1)
	ok(t, two.Close())
	set(web(endpoint("10.0.0.1", ""), endpoint("10.0.0.2", "")))
	for range 20 {
		want(t, "one of two answers", p.call("172.20.1.1:80"), "one hello")
	}
	set(web(endpoint("10.0.0.9", "")))
	want(t, "none answers", p.call("172.20.1.1:80"), "refused")
	set()
	want(t, "without the service", p.call("172.20.1.1:80"), "refused")

	host, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer host.Close()
	go func() {
		for {
			c, err := host.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "the API")
			c.Close()
		}
	}()
	set(network.Service{Namespace: "default", Name: "kubernetes", Address: at("172.20.0.1"), Ports: []network.Port{{"https", "tcp", 443}}, Host: host.Addr().String()})
	want(t, "this machine's", p.read("172.20.0.1:443"), "the API")
}

// TestPackets: packets to a service reach an endpoint, and its answers who asked.
func TestPackets(t *testing.T) {
	t.Parallel()
	n, p := open(t, network.Options{})
	echo, err := p.ListenPacket(t.Context(), "udp4", "10.0.0.1:5353")
	ok(t, err)
	defer echo.Close()
	go func() {
		b := make([]byte, 100)
		for {
			size, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(append([]byte("echo "), b[:size]...), from)
		}
	}()
	ok(t, n.Set(t.Context(), []network.Service{web(endpoint("10.0.0.1", ""))}))
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			c, err := p.Dial(t.Context(), "udp4", "172.20.1.1:53")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for j := range 3 {
				word := fmt.Sprintf("%d-%d", i, j)
				b := make([]byte, 100)
				// Packets may be lost.
				for try := 0; ; try++ {
					_, err := io.WriteString(c, word)
					_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
					size, err2 := c.Read(b)
					if errors.Join(err, err2) == nil {
						if got := string(b[:size]); got != "echo "+word && try == 0 {
							t.Errorf("%s answers %s", got, word)
						}
						break
					}
					if try == 5 {
						t.Errorf("%s: %v %v", word, err, err2)
						break
					}
				}
			}
		})
	}
	all.Wait()
}

// outside knows names of AWS.
type outside struct{}

func (outside) Leads(name string) []uint16 {
	if strings.HasSuffix(name, ".amazonaws.com") {
		return []uint16{443, 5432}
	}
	return nil
}

func (outside) Call(_ context.Context, name string, port uint16) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		fmt.Fprintf(far, "%s:%d", name, port)
		far.Close()
	}()
	return near, nil
}

// ask asks DNS, and returns what it answers, in order.
func (p *pods) ask(network, name string, kind dnsmessage.Type, change ...func(*dnsmessage.Message)) (dnsmessage.Message, []string) {
	p.t.Helper()
	c, err := p.Dial(p.t.Context(), network, "172.20.0.10:53")
	ok(p.t, err)
	defer c.Close()
	ok(p.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	for _, f := range change {
		f(&q)
	}
	text, err := q.Pack()
	ok(p.t, err)
	if network == "tcp4" {
		text = append([]byte{byte(len(text) >> 8), byte(len(text))}, text...)
	}
	_, err = c.Write(text)
	ok(p.t, err)
	b := make([]byte, 1<<16)
	var size int
	if network == "tcp4" {
		r := bufio.NewReader(c)
		var head [2]byte
		_, err = io.ReadFull(r, head[:])
		ok(p.t, err)
		size, err = io.ReadFull(r, b[:int(head[0])<<8|int(head[1])])
	} else {
		size, err = c.Read(b)
	}
	ok(p.t, err)
	var m dnsmessage.Message
	ok(p.t, m.Unpack(b[:size]))
	if m.ID != 7 || !m.Response {
		p.t.Errorf("%s: %+v", name, m.Header)
	}
	var list []string
	for _, a := range m.Answers {
		text := ""
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			text = netip.AddrFrom4(b.A).String()
		case *dnsmessage.SRVResource:
			text = fmt.Sprint(b.Priority, b.Weight, b.Port, b.Target)
		case *dnsmessage.PTRResource:
			text = b.PTR.String()
		case *dnsmessage.CNAMEResource:
			text = b.CNAME.String()
		case *dnsmessage.TXTResource:
			text = b.TXT[0]
		}
		list = append(list, strings.TrimSuffix(a.Header.Name.String(), ".")+" "+text)
	}
	slices.Sort(list)
	return m, list
}

// TestDNS: names are what Kubernetes says that they are.
// https://github.com/kubernetes/dns/blob/master/docs/specification.md
func TestDNS(t *testing.T) {
	t.Parallel()
	n, p := open(t, network.Options{Outside: outside{}})
	headless := network.Service{Namespace: "team", Name: "db", Endpoints: []network.Endpoint{endpoint("10.0.0.1", "db-0"), endpoint("10.0.0.2", "")}}
	ok(t, n.Set(t.Context(), []network.Service{
		web(endpoint("10.0.0.1", "")), headless,
		{Namespace: "team", Name: "empty"},
		{Namespace: "team", Name: "aws", External: "s3.us-east-1.amazonaws.com"},
		{Namespace: "team", Name: "away", External: "example.com"},
	}))
	const none, nothing = "no such name", "nothing"
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		want string
	}{
		{"web.team.svc.cluster.local.", dnsmessage.TypeA, "172.20.1.1"},
		{"WEB.Team.svc.Cluster.local.", dnsmessage.TypeA, "172.20.1.1"},
		{"web.team.svc.cluster.local.", dnsmessage.TypeAAAA, nothing},
		{"web.other.svc.cluster.local.", dnsmessage.TypeA, none},
		{"x.web.team.svc.cluster.local.", dnsmessage.TypeA, none},
		{"web.team.svc.cluster.local.team.svc.cluster.local.", dnsmessage.TypeA, none},
		{"_http._tcp.web.team.svc.cluster.local.", dnsmessage.TypeSRV, "0 100 80 web.team.svc.cluster.local."},
		{"_dns._udp.web.team.svc.cluster.local.", dnsmessage.TypeSRV, "0 100 53 web.team.svc.cluster.local."},
		{"_http._udp.web.team.svc.cluster.local.", dnsmessage.TypeSRV, none},
		{"_http._tcp.web.team.svc.cluster.local.", dnsmessage.TypeA, nothing},
		{"_tcp.web.team.svc.cluster.local.", dnsmessage.TypeA, nothing},
		{"db.team.svc.cluster.local.", dnsmessage.TypeA, "10.0.0.1, 10.0.0.2"},
		{"db-0.db.team.svc.cluster.local.", dnsmessage.TypeA, "10.0.0.1"},
		{"10-0-0-2.db.team.svc.cluster.local.", dnsmessage.TypeA, "10.0.0.2"},
		{"10-0-0-1.db.team.svc.cluster.local.", dnsmessage.TypeA, none},
		{"_http._tcp.db.team.svc.cluster.local.", dnsmessage.TypeSRV, "0 100 8080 10-0-0-2.db.team.svc.cluster.local., 0 100 8080 db-0.db.team.svc.cluster.local."},
		{"empty.team.svc.cluster.local.", dnsmessage.TypeA, none},
		{"team.svc.cluster.local.", dnsmessage.TypeA, nothing},
		{"none.svc.cluster.local.", dnsmessage.TypeA, none},
		{"svc.cluster.local.", dnsmessage.TypeA, nothing},
		{"cluster.local.", dnsmessage.TypeA, nothing},
		{"other.cluster.local.", dnsmessage.TypeA, none},
		{"dns-version.cluster.local.", dnsmessage.TypeTXT, "1.1.0"},
		{"10-1-2-3.team.pod.cluster.local.", dnsmessage.TypeA, "10.1.2.3"},
		{"web.team.pod.cluster.local.", dnsmessage.TypeA, none},
		{"1.1.20.172.in-addr.arpa.", dnsmessage.TypePTR, "web.team.svc.cluster.local."},
		{"1.0.0.10.in-addr.arpa.", dnsmessage.TypePTR, "db-0.db.team.svc.cluster.local."},
		{"9.0.0.10.in-addr.arpa.", dnsmessage.TypePTR, none},
		{"example.com.", dnsmessage.TypeA, none},
		{"sts.amazonaws.com.", dnsmessage.TypeA, "198.18.0.1"},
		{"sts.amazonaws.com.", dnsmessage.TypeAAAA, nothing},
		{"ecr.amazonaws.com.", dnsmessage.TypeA, "198.18.0.2"},
		{"sts.AMAZONAWS.com.", dnsmessage.TypeA, "198.18.0.1"},
		{"sts.amazonaws.com.team.svc.cluster.local.", dnsmessage.TypeA, none},
		{"notamazonaws.com.", dnsmessage.TypeA, none},
	} {
		for _, by := range []string{"udp4", "tcp4"} {
			m, list := p.ask(by, c.name, c.kind)
			for i := range list {
				name, rest, _ := strings.Cut(list[i], " ")
				if name+"." != c.name {
					t.Errorf("%s: of %s", c.name, name)
				}
				list[i] = rest
			}
			got := strings.Join(list, ", ")
			switch {
			case m.RCode == dnsmessage.RCodeNameError:
				got = none
			case m.RCode != dnsmessage.RCodeSuccess:
				got = m.RCode.String()
			case len(list) == 0:
				got = nothing
			}
			if len(list) == 0 && len(m.Authorities) != 1 {
				t.Errorf("%s: nobody says that there is nothing: %v", c.name, m)
			}
			want(t, by+" "+c.name+" "+c.kind.String(), got, c.want)
		}
	}
	_, list := p.ask("udp4", "aws.team.svc.cluster.local.", dnsmessage.TypeA)
	want(t, "another name", list, "[aws.team.svc.cluster.local s3.us-east-1.amazonaws.com. s3.us-east-1.amazonaws.com 198.18.0.3]")
	_, list = p.ask("udp4", "away.team.svc.cluster.local.", dnsmessage.TypeA)
	want(t, "another name of what leads nowhere", list, "[away.team.svc.cluster.local example.com.]")
	want(t, "what a name leads to", p.read("198.18.0.1:443"), "sts.amazonaws.com:443")
	want(t, "another", p.read("198.18.0.2:5432"), "ecr.amazonaws.com:5432")
	want(t, "a port that leads nowhere", p.read("198.18.0.1:80"), "refused")
	m, _ := p.ask("udp4", "_http._tcp.web.team.svc.cluster.local.", dnsmessage.TypeSRV)
	if len(m.Additionals) != 1 || m.Additionals[0].Header.Name.String() != "web.team.svc.cluster.local." {
		t.Errorf("with its address: %v", m.Additionals)
	}
}

// TestDNSMessages: what is too long for a packet is asked again, and what is no
// question is answered as such.
func TestDNSMessages(t *testing.T) {
	t.Parallel()
	n, p := open(t, network.Options{})
	big := network.Service{Namespace: "team", Name: "big"}
	for i := range 60 {
		big.Endpoints = append(big.Endpoints, endpoint(fmt.Sprintf("10.0.1.%d", i), ""))
	}
	ok(t, n.Set(t.Context(), []network.Service{big}))
	m, list := p.ask("udp4", "big.team.svc.cluster.local.", dnsmessage.TypeA)
	if !m.Truncated || len(list) > 0 {
		t.Errorf("%v %d", m.Header, len(list))
	}
	_, list = p.ask("tcp4", "big.team.svc.cluster.local.", dnsmessage.TypeA)
	want(t, "by TCP", len(list), 60)
	more := func(m *dnsmessage.Message) {
		var h dnsmessage.ResourceHeader
		ok(t, h.SetEDNS0(1400, 0, false))
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	m, list = p.ask("udp4", "big.team.svc.cluster.local.", dnsmessage.TypeA, more)
	if m.Truncated || len(list) != 60 || len(m.Additionals) != 1 {
		t.Errorf("with room: %v %d %v", m.Header, len(list), m.Additionals)
	}
	for what, change := range map[string]func(*dnsmessage.Message){
		"RCodeFormatError":    func(m *dnsmessage.Message) { m.Questions = nil },
		"RCodeNotImplemented": func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS },
	} {
		m, _ := p.ask("udp4", "big.team.svc.cluster.local.", dnsmessage.TypeA, change)
		want(t, what, m.RCode, what)
	}
}

// FuzzDNS: whatever is sent, what is answered can be read, and DNS goes on.
func FuzzDNS(f *testing.F) {
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("web.team.svc.cluster.local."), Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET}}}
	text, err := q.Pack()
	ok(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		n, p := open(t, network.Options{Outside: outside{}})
		ok(t, n.Set(t.Context(), []network.Service{web(endpoint("10.0.0.1", ""))}))
		c, err := p.Dial(t.Context(), "udp4", "172.20.0.10:53")
		ok(t, err)
		defer c.Close()
		_, _ = c.Write(text)
		_, list := p.ask("udp4", "web.team.svc.cluster.local.", dnsmessage.TypeA)
		want(t, "after it", list, "[web.team.svc.cluster.local 172.20.1.1]")
	})
}
