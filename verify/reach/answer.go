package reach

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Verdict is what becomes of a connection.
type Verdict string

// The verdicts. Opaque is that the traffic enters something that the network
// does not describe, so that it may arrive or not.
const (
	Open    Verdict = "open"
	OneWay  Verdict = "one way"
	Blocked Verdict = "blocked"
	Opaque  Verdict = "opaque"
)

// Reason is why a connection, or the answer to it, goes no further.
type Reason string

// The reasons.
const (
	NoPublicAddress   Reason = "has no public address"
	NoInternetGateway Reason = "the VPC has no internet gateway attached"
	Unsolicited       Reason = "a NAT gateway takes no connections"
	NoRoute           Reason = "no route"
	Blackhole         Reason = "the route's target is gone"
	NoTarget          Reason = "the route's target is not available"
	RoutedElsewhere   Reason = "the route leads elsewhere"
	Asymmetric        Reason = "the answer takes another way"
	Loop              Reason = "the route leads back"
	SourceDestCheck   Reason = "forwards nothing, for its source and destination check is on"
	NATProtocol       Reason = "a NAT gateway knows TCP, UDP and ICMP only"
	DeniedByACL       Reason = "denied by the network ACL"
	DeniedByGroup     Reason = "no rule of the security groups allows it"
	NotFollowed       Reason = "what lies behind is not known"
)

// StepKind is what a step passes.
type StepKind string

// The kinds of steps.
const (
	StepRoute   StepKind = "route table"
	StepGateway StepKind = "gateway"
	StepACL     StepKind = "network ACL"
	StepGroup   StepKind = "security group"
	StepAt      StepKind = "interface"
	StepVPC     StepKind = "VPC"
	StepSubnet  StepKind = "subnet"
)

// Step is a place on the way of a connection, or of the answers to it.
type Step struct {
	Kind StepKind
	// Object is the id of the route table, gateway, ACL, group or interface. A
	// step that no group allows names the interface's groups, joined by spaces.
	Object string
	// Entry is what decided there: a route, the direction and number of an ACL's
	// entry ("*" for its end), the id of a rule; empty if there is none.
	Entry string
	// Answering: on the way back.
	Answering bool
}

// String is like "network ACL acl-1 out 100 (answer)".
func (s Step) String() string {
	text := string(s.Kind) + " " + s.Object
	if s.Entry != "" {
		text += " " + s.Entry
	}
	if s.Answering {
		text += " (answer)"
	}
	return text
}

// Way is how traffic leaves or enters the VPC, or a subnet's neighbourhood.
type Way string

// The ways. WayNone is that it did not get that far.
const (
	WayNone            Way = ""
	WayLocal           Way = "local"
	WayInternetGateway Way = "internet gateway"
	WayEgressOnly      Way = "egress-only internet gateway"
	WayNATGateway      Way = "NAT gateway"
	WayNATInstance     Way = "NAT instance"
	WayGatewayEndpoint Way = "gateway endpoint"
	WayConnected       Way = "connected network"
)

// Outcome is what becomes of a region of connections.
type Outcome struct {
	Region
	Verdict Verdict
	// Reason and At say what stops it first; if it is one way, what stops the
	// answers. Empty if it is open.
	Reason Reason
	At     Step
	Way    Way
	// Trail are the steps that it passed, in order.
	Trail []Step
}

// Within is what of an outcome is in a region, if anything.
func (o Outcome) Within(r Region) (Outcome, bool) {
	part, ok, _ := o.Region.cut(r)
	o.Region = part
	return o, ok
}

// String is a line for people.
func (o Outcome) String() string {
	text := fmt.Sprintf("%s: %s", o.Verdict, o.Region)
	if o.Reason != "" {
		text += fmt.Sprintf(": %s: %s", o.At, o.Reason)
	}
	if len(o.Trail) > 0 {
		steps := make([]string, len(o.Trail))
		for i, s := range o.Trail {
			steps[i] = s.String()
		}
		text += " [" + strings.Join(steps, ", ") + "]"
	}
	return text
}

// Answer is what becomes of every connection from one place to another. Its
// outcomes are disjoint and together are all there is, what is open first. Without outcomes there is
// nothing to connect from or to, such as addresses of the same family.
type Answer struct {
	From, To Place
	Outcomes []Outcome
}

// Reached are the outcomes by which something of a region arrives, in one way at
// least, and those that may be so.
func (a Answer) Reached(r Region) []Outcome {
	return a.of(r, Open, OneWay, Opaque)
}

// Stopped are the outcomes by which something of a region does not get through
// and back: blocked, or one way.
func (a Answer) Stopped(r Region) []Outcome { return a.of(r, Blocked, OneWay) }

func (a Answer) of(r Region, verdicts ...Verdict) []Outcome {
	var out []Outcome
	for _, o := range a.Outcomes {
		if !slices.Contains(verdicts, o.Verdict) {
			continue
		}
		if part, ok := o.Within(r); ok {
			out = append(out, part)
		}
	}
	return out
}

// Covers tells that all of a region is open, and that there is some of it.
func (a Answer) Covers(r Region) bool {
	return len(a.of(r, Open)) > 0 && len(a.of(r, OneWay, Blocked, Opaque)) == 0
}

// key is equal for outcomes that differ in nothing but their regions.
func (o Outcome) key() string {
	var b strings.Builder
	write := func(texts ...string) {
		for _, t := range texts {
			b.WriteString(t)
			b.WriteByte(0)
		}
	}
	step := func(s Step) {
		write(string(s.Kind), s.Object, s.Entry)
		if s.Answering {
			b.WriteByte(1)
		}
	}
	write(string(o.Verdict), string(o.Reason), string(o.Way))
	step(o.At)
	for _, s := range o.Trail {
		step(s)
	}
	return b.String()
}

// joined merges regions pairwise until no two of them have a union that is a
// region. It reuses the slice.
func joined(regions []Region) []Region {
	for again := true; again; {
		again = false
		for i := 0; i < len(regions); i++ {
			kept := regions[:i+1]
			for _, r := range regions[i+1:] {
				if m, ok := regions[i].merge(r); ok {
					regions[i], again = m, true
					continue
				}
				kept = append(kept, r)
			}
			regions = kept
		}
	}
	return regions
}

// tidy joins outcomes that differ in nothing but their regions, as far as the
// union of two is a region, and sorts them: what arrives comes first.
func tidy(outcomes []Outcome) []Outcome {
	type alike struct {
		of      Outcome
		regions []Region
	}
	var groups []*alike
	byKey := map[string]*alike{}
	for _, o := range outcomes {
		key := o.key()
		g := byKey[key]
		if g == nil {
			g = &alike{of: o}
			byKey[key] = g
			groups = append(groups, g)
		}
		g.regions = append(g.regions, o.Region)
	}
	out := make([]Outcome, 0, len(outcomes))
	for _, g := range groups {
		for _, r := range joined(g.regions) {
			o := g.of
			o.Region = r
			out = append(out, o)
		}
	}
	order := []Verdict{Open, OneWay, Opaque, Blocked}
	slices.SortStableFunc(out, func(a, b Outcome) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Verdict), slices.Index(order, b.Verdict)),
			cmp.Compare(a.Protocols.From, b.Protocols.From),
			cmp.Compare(a.Ports.From, b.Ports.From),
			cmp.Compare(a.Clients.From, b.Clients.From))
	})
	return out
}
