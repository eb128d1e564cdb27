package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsPort is DNS's.
const dnsPort = 53

// The bounds of DNS: how long an answer over UDP may be, unless who asks takes
// more, which is then no more than most; and how long a connection may be silent.
const (
	smallest   = 512
	most       = 4096
	dnsSilence = 30 * time.Second
)

// serveDNS answers at the cluster's DNS address.
func (n *Network) serveDNS(ctx context.Context) error {
	at := netip.AddrPortFrom(n.opts.DNS, dnsPort).String()
	c, err := n.opts.Pods.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return fmt.Errorf("answer DNS: %w", err)
	}
	l, err := n.opts.Pods.Listen(ctx, "tcp4", at)
	if err != nil {
		return errors.Join(fmt.Errorf("answer DNS: %w", err), c.Close())
	}
	context.AfterFunc(n.ctx, func() { _ = c.Close() }) // it ends the loop
	n.work.Go(func() {
		b := make([]byte, packetSize)
		for {
			size, from, err := c.ReadFrom(b)
			if err != nil && n.ctx.Err() != nil {
				return
			}
			if err != nil {
				continue // an answer before reached nobody
			}
			if text := n.respond(b[:size], true); text != nil {
				_, _ = c.WriteTo(text, from) // packets are lost
			}
		}
	})
	n.accept(n.ctx, l, func(_ context.Context, c net.Conn) {
		for {
			if err := c.SetDeadline(time.Now().Add(dnsSilence)); err != nil {
				return
			}
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			text := n.respond(b, false)
			if text == nil {
				return
			}
			if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)); err != nil {
				return
			}
		}
	})
	return nil
}

// respond is the answer to a message; nil if it is none that has one.
func (n *Network) respond(text []byte, packet bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(text)
	if err != nil || h.Response {
		return nil
	}
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}}
	q, err := p.Question()
	if err != nil {
		out.RCode = dnsmessage.RCodeFormatError
		return pack(out)
	}
	out.Questions = []dnsmessage.Question{q}
	// There is one question: nobody sends more.
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		out.RCode = dnsmessage.RCodeFormatError
		return pack(out)
	}
	if h.OpCode != 0 || q.Class != dnsmessage.ClassINET {
		out.RCode = dnsmessage.RCodeNotImplemented
		return pack(out)
	}
	limit, extended := room(&p, packet)
	if extended {
		// Who speaks of extensions is told that they are known.
		var own dnsmessage.ResourceHeader
		if err := own.SetEDNS0(most, dnsmessage.RCodeSuccess, false); err == nil {
			out.Additionals = append(out.Additionals, dnsmessage.Resource{Header: own, Body: &dnsmessage.OPTResource{}})
		}
	}
	n.fill(&out, q)
	if text := pack(out); len(text) <= limit {
		return text
	}
	// It is asked again by TCP.
	out.Truncated, out.Answers, out.Authorities, out.Additionals = true, nil, nil, nil
	return pack(out)
}

// room is how long an answer may be, and whether the question has extensions.
func room(p *dnsmessage.Parser, packet bool) (limit int, extended bool) {
	limit = 1<<16 - 1
	if packet {
		limit = smallest
	}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return limit, false
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return limit, extended
		}
		if h.Type == dnsmessage.TypeOPT {
			extended = true
			if packet {
				limit = min(max(int(h.Class), smallest), most)
			}
		}
		if p.SkipAdditional() != nil {
			return limit, extended
		}
	}
}

// fill writes what is known about a question.
func (n *Network) fill(out *dnsmessage.Message, q dnsmessage.Question) {
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	a := n.lookUp(name, q.Type)
	out.Authoritative = a.ours
	if a.err != nil {
		out.RCode = dnsmessage.RCodeServerFailure
		return
	}
	if !a.exists {
		out.RCode = dnsmessage.RCodeNameError
	}
	// Who asks takes the first, and the next time another.
	if len(a.records) > 1 {
		if _, other := a.records[0].body.(*dnsmessage.CNAMEResource); !other {
			rand.Shuffle(len(a.records), func(i, j int) { a.records[i], a.records[j] = a.records[j], a.records[i] })
		}
	}
	for i, r := range a.records {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}
		if i > 0 && r.name != a.records[0].name {
			// What another name leads to. A name in a message is a name.
			h.Name, _ = domain(r.name)
		}
		out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: r.body})
	}
	for _, r := range a.extra {
		if to, err := domain(r.name); err == nil {
			out.Additionals = append(out.Additionals, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: to, Class: dnsmessage.ClassINET, TTL: ttl}, Body: r.body})
		}
	}
	if len(out.Answers) == 0 {
		out.Authorities = n.authority(a.ours)
	}
}

// authority says for how long there is nothing.
func (n *Network) authority(ours bool) []dnsmessage.Resource {
	name, err := dnsmessage.NewName(".")
	if ours {
		name, err = domain(n.opts.Domain)
	}
	server, err2 := domain("ns.dns." + n.opts.Domain)
	mail, err3 := domain("hostmaster." + n.opts.Domain)
	if err := errors.Join(err, err2, err3); err != nil {
		return nil
	}
	return []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.SOAResource{NS: server, MBox: mail, Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, MinTTL: ttl},
	}}
}

// pack is a message as it is sent; nil if it can't be.
func pack(m dnsmessage.Message) []byte {
	text, err := m.Pack()
	if err != nil {
		m.RCode, m.Answers, m.Authorities, m.Additionals = dnsmessage.RCodeServerFailure, nil, nil, nil
		if text, err = m.Pack(); err != nil {
			return nil
		}
	}
	return text
}
