package network_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/poolhouse/poolhouse/planes/kubernetes/network"
)

// answering is a DNS server that has addresses of names, 127.0.0.1 for all others.
func answering(t *testing.T, addresses map[string][4]byte) string {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	ok(t, err)
	t.Cleanup(func() { ok(t, c.Close()) })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			a, known := addresses[strings.TrimSuffix(q.Name.String(), ".")]
			if !known {
				a = [4]byte{127, 0, 0, 1}
			}
			m.Header.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: a}}}
			if text, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(text, from)
			}
		}
	}()
	return c.LocalAddr().String()
}

// Names of instances lead to where DNS says they are, and to no other address of this
// machine; those of services lead to AWS.
func TestDatabasesLead(t *testing.T) {
	t.Parallel()
	const name = "poolside.c23456789012.us-east-1.rds.amazonaws.com"
	l, err := net.Listen("tcp4", "127.83.7.1:5432")
	ok(t, err)
	t.Cleanup(func() { ok(t, l.Close()) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "rows\n")
			_ = c.Close()
		}
	}()
	a := network.AWS{At: "127.0.0.1:1", Databases: answering(t, map[string][4]byte{name: {127, 83, 7, 1}, "outside.c23456789012.us-east-1.rds.amazonaws.com": {10, 0, 0, 1}})}
	for name, want := range map[string][]uint16{
		name: {5432}, "sts.us-east-1.amazonaws.com": {443}, "rds.us-east-1.amazonaws.com": {443}, "db.rds.amazonaws.com": nil, "a.cache.amazonaws.com": nil, "example.com": nil,
	} {
		if got := a.Leads(name); !slices.Equal(got, want) {
			t.Errorf("%s leads to %v, want %v", name, got, want)
		}
	}
	if got := (network.AWS{At: "127.0.0.1:1"}).Leads(name); got != nil {
		t.Errorf("without databases %s leads to %v", name, got)
	}
	c, err := a.Call(t.Context(), name, 5432)
	ok(t, err)
	text, err := io.ReadAll(c)
	ok(t, err)
	ok(t, c.Close())
	if string(text) != "rows\n" {
		t.Errorf("got %q", text)
	}
	for _, name := range []string{"none.c23456789012.us-east-1.rds.amazonaws.com", "outside.c23456789012.us-east-1.rds.amazonaws.com"} {
		if c, err := a.Call(t.Context(), name, 5432); err == nil || !strings.Contains(err.Error(), "no instance that is there") {
			t.Errorf("%s: %v %v", name, c, err)
		}
	}
}
