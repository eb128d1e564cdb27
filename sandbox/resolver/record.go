package resolver

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// typeCAA is a type that Go's package has no name for.
const typeCAA dnsmessage.Type = 257

// types are those of the records that are answered.
var types = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CAA": typeCAA, "CNAME": dnsmessage.TypeCNAME, "MX": dnsmessage.TypeMX,
	"NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT,
}

// resource puts a record's value, as Route 53 writes it, into an answer.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html
func resource(name string, typ dnsmessage.Type, ttl int, value string) (dnsmessage.Resource, error) {
	owner, err := dnsmessage.NewName(name)
	if err != nil {
		return dnsmessage.Resource{}, fmt.Errorf("name %q: %w", name, err)
	}
	b, err := body(typ, value)
	if err != nil {
		return dnsmessage.Resource{}, fmt.Errorf("%s %s %q: %w", name, typ, value, err)
	}
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: owner, Type: typ, Class: dnsmessage.ClassINET, TTL: uint32(max(ttl, 0))}, Body: b}, nil
}

// fields reads words, of which numbers come first.
type fields struct {
	words []string
	err   error
}

func (f *fields) next() string {
	if len(f.words) == 0 {
		if f.err == nil {
			f.err = fmt.Errorf("it has too few parts")
		}
		return ""
	}
	w := f.words[0]
	f.words = f.words[1:]
	return w
}

func (f *fields) number(bits int) uint32 {
	n, err := strconv.ParseUint(f.next(), 10, bits)
	if err != nil && f.err == nil {
		f.err = err
	}
	return uint32(n)
}

func (f *fields) name() dnsmessage.Name {
	s := f.next()
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	n, err := dnsmessage.NewName(s)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n
}

func body(typ dnsmessage.Type, value string) (dnsmessage.ResourceBody, error) {
	f := fields{words: strings.Fields(value)}
	var out dnsmessage.ResourceBody
	switch typ {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		a, err := netip.ParseAddr(value)
		switch {
		case err != nil:
			return nil, err
		case typ == dnsmessage.TypeA && a.Is4():
			return &dnsmessage.AResource{A: a.As4()}, nil
		case typ == dnsmessage.TypeAAAA && a.Is6():
			return &dnsmessage.AAAAResource{AAAA: a.As16()}, nil
		}
		return nil, fmt.Errorf("it is an address of the other kind")
	case dnsmessage.TypeTXT:
		list, err := texts(value)
		return &dnsmessage.TXTResource{TXT: list}, err
	case dnsmessage.TypeCNAME:
		out = &dnsmessage.CNAMEResource{CNAME: f.name()}
	case dnsmessage.TypeNS:
		out = &dnsmessage.NSResource{NS: f.name()}
	case dnsmessage.TypePTR:
		out = &dnsmessage.PTRResource{PTR: f.name()}
	case dnsmessage.TypeMX:
		out = &dnsmessage.MXResource{Pref: uint16(f.number(16)), MX: f.name()}
	case dnsmessage.TypeSRV:
		out = &dnsmessage.SRVResource{Priority: uint16(f.number(16)), Weight: uint16(f.number(16)), Port: uint16(f.number(16)), Target: f.name()}
	case dnsmessage.TypeSOA:
		out = &dnsmessage.SOAResource{NS: f.name(), MBox: f.name(), Serial: f.number(32), Refresh: f.number(32), Retry: f.number(32), Expire: f.number(32), MinTTL: f.number(32)}
	case typeCAA:
		flags, tag := f.number(8), f.next()
		list, err := texts(strings.Join(f.words, " "))
		if err != nil {
			return nil, err
		}
		data := append([]byte{byte(flags), byte(len(tag))}, tag...)
		out, f.words = &dnsmessage.UnknownResource{Type: typ, Data: append(data, strings.Join(list, "")...)}, nil
	default:
		return nil, fmt.Errorf("its type is not answered")
	}
	if f.err == nil && len(f.words) > 0 {
		f.err = fmt.Errorf("it has too many parts")
	}
	return out, f.err
}

// texts reads strings in quotation marks, in which a backslash is before a
// character that stands for itself or a code in octal digits.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html#TXTFormat
func texts(value string) ([]string, error) {
	var out []string
	for rest := strings.TrimSpace(value); rest != ""; rest = strings.TrimSpace(rest) {
		if rest[0] != '"' {
			return nil, fmt.Errorf("a text begins without a quotation mark")
		}
		var b strings.Builder
		i := 1
		for ; i < len(rest) && rest[i] != '"'; i++ {
			c := rest[i]
			if c == '\\' {
				if code, err := strconv.ParseUint(rest[min(i+1, len(rest)):min(i+4, len(rest))], 8, 8); err == nil && len(rest) >= i+4 {
					c, i = byte(code), i+3
				} else if i+1 < len(rest) {
					i++
					c = rest[i]
				}
			}
			b.WriteByte(c)
		}
		if i >= len(rest) {
			return nil, fmt.Errorf("a text ends without a quotation mark")
		}
		if b.Len() > 255 {
			return nil, fmt.Errorf("a text is longer than 255 bytes")
		}
		out, rest = append(out, b.String()), rest[i+1:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no text")
	}
	return out, nil
}
