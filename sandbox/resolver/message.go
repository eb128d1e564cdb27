package resolver

import (
	"encoding/binary"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Codes of answers that Go's package has by other names, or none.
const (
	serverFailure = dnsmessage.RCodeServerFailure
	badVersion    = dnsmessage.RCode(16)
)

// Sizes of datagrams: what every client takes, and the largest that passes
// through networks undivided, whatever a client says it takes.
// https://www.rfc-editor.org/rfc/rfc9715
const (
	smallest = 512
	largest  = 1232
)

// The option of an extended error, and its codes.
// https://www.rfc-editor.org/rfc/rfc8914
const (
	optionError      = 15
	infoOther        = 0
	infoNotSupported = 21
	infoNotMine      = 20
)

// Question is what a query asks.
type Question struct {
	// Name is in lower case, with its final dot.
	Name string
	Type dnsmessage.Type
}

// Result is what there is to say to a question.
type Result struct {
	Code       dnsmessage.RCode
	Answers    []dnsmessage.Resource
	Authority  []dnsmessage.Resource
	Additional []dnsmessage.Resource
	// Referral tells that others have the answer, who are in Authority.
	Referral bool
	// Why says more, where Code alone would leave one wondering.
	Why string
}

// Answer is the answer to a query, as look finds it. It is nil for what is no
// query, to which any answer could start an exchange without end.
//
// https://www.rfc-editor.org/rfc/rfc1035
// https://www.rfc-editor.org/rfc/rfc6891
func Answer(query []byte, stream bool, look func(Question) Result) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired}}
	fail := func(code dnsmessage.RCode) []byte {
		out.RCode = code
		return pack(out, nil, "", 0)
	}
	if h.OpCode != 0 {
		return fail(dnsmessage.RCodeNotImplemented)
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return fail(dnsmessage.RCodeFormatError)
	}
	q := questions[0]
	out.Questions = questions
	opt, err := extension(&p)
	if err != nil {
		return fail(dnsmessage.RCodeFormatError)
	}
	size := 65535
	if !stream {
		size = smallest
		if opt != nil {
			size = min(max(int(opt.Class), smallest), largest)
		}
	}
	if opt != nil && opt.TTL>>16&0xff != 0 {
		out.RCode = badVersion
		return pack(out, opt, "", size)
	}
	var r Result
	switch {
	case q.Class != dnsmessage.ClassINET:
		r = Result{Code: dnsmessage.RCodeRefused, Why: "the only class that is served is IN"}
	case q.Type == dnsmessage.TypeALL || q.Type == dnsmessage.TypeAXFR || q.Type == 251:
		r = Result{Code: dnsmessage.RCodeNotImplemented, Why: "neither ANY nor transfers of zones are answered"}
	default:
		r = look(Question{Name: strings.ToLower(q.Name.String()), Type: q.Type})
	}
	out.RCode, out.Answers, out.Authorities, out.Additionals = r.Code, r.Answers, r.Authority, r.Additional
	out.Authoritative = !r.Referral && (r.Code == dnsmessage.RCodeSuccess || r.Code == dnsmessage.RCodeNameError)
	// The client's spelling comes back.
	for i := range out.Answers {
		if strings.EqualFold(out.Answers[i].Header.Name.String(), q.Name.String()) {
			out.Answers[i].Header.Name = q.Name
		}
	}
	return pack(out, opt, r.Why, size)
}

// extension finds a query's OPT record: at most one.
func extension(p *dnsmessage.Parser) (*dnsmessage.ResourceHeader, error) {
	if err := p.SkipAllAnswers(); err != nil {
		return nil, err
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return nil, err
	}
	var opt *dnsmessage.ResourceHeader
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return opt, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Type == dnsmessage.TypeOPT {
			if opt != nil || h.Name.String() != "." {
				return nil, dnsmessage.ErrNotStarted
			}
			opt = &h
		}
		if err := p.SkipAdditional(); err != nil {
			return nil, err
		}
	}
}

// pack writes an answer that fits into a size; what doesn't says that there is
// more by TCP. An answer that can't be written is a failure.
func pack(m dnsmessage.Message, opt *dnsmessage.ResourceHeader, why string, size int) []byte {
	if opt != nil {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(".")}
		body := &dnsmessage.OPTResource{}
		if err := h.SetEDNS0(largest, m.RCode, opt.DNSSECAllowed()); err == nil {
			if why != "" {
				text := binary.BigEndian.AppendUint16(nil, info(m.RCode))
				body.Options = append(body.Options, dnsmessage.Option{Code: optionError, Data: append(text, why...)})
			}
			m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: body})
		}
	}
	m.RCode &= 0xf
	b, err := m.Pack()
	if err != nil {
		m.RCode, m.Authoritative, m.Answers, m.Authorities, m.Additionals = serverFailure, false, nil, nil, nil
		b, _ = m.Pack() // header and question came from a message
		return b
	}
	if size == 0 || len(b) <= size {
		return b
	}
	if m.Truncated {
		return b[:0:0]
	}
	m.Truncated, m.Answers, m.Authorities, m.Additionals = true, nil, nil, nil
	return pack(m, opt, "", size)
}

func info(code dnsmessage.RCode) uint16 {
	switch code {
	case dnsmessage.RCodeRefused:
		return infoNotMine
	case dnsmessage.RCodeNotImplemented:
		return infoNotSupported
	}
	return infoOther
}
