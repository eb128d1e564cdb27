package policy

import (
	"encoding/base64"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// comparison is a compiled condition.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
type comparison struct {
	key      string // in lower case
	values   []pattern
	compare  func(value, want string) bool
	negative bool
	ifExists bool
	null     bool
	set      setOperator
}

// setOperator is how several values of a key are compared.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
type setOperator int

const (
	one setOperator = iota
	forAny
	forAll
)

func compileCondition(c Condition, variables bool) comparison {
	out := comparison{key: strings.ToLower(c.Key)}
	op := c.Operator
	if rest, ok := strings.CutPrefix(op, "ForAnyValue:"); ok {
		op, out.set = rest, forAny
	} else if rest, ok := strings.CutPrefix(op, "ForAllValues:"); ok {
		op, out.set = rest, forAll
	}
	op, out.ifExists = strings.CutSuffix(op, "IfExists")
	out.null = op == "Null"
	out.negative = strings.Contains(op, "Not")
	op = strings.Replace(op, "Not", "", 1)
	wild, text := false, false
	switch {
	case out.null:
	case op == "StringEquals":
		out.compare, text = func(v, want string) bool { return v == want }, true
	case op == "StringEqualsIgnoreCase":
		out.compare, text = strings.EqualFold, true
	case op == "StringLike":
		out.compare, text, wild = func(v, want string) bool { return glob(want, v, false) }, true, true
	case op == "ArnEquals", op == "ArnLike":
		out.compare, text, wild = arnLike, true, true
	case op == "Bool":
		out.compare, text = strings.EqualFold, true
	case op == "BinaryEquals":
		out.compare = sameBytes
	case op == "IpAddress":
		out.compare = inRange
	case strings.HasPrefix(op, "Numeric"):
		out.compare = numeric(strings.TrimPrefix(op, "Numeric"))
	case strings.HasPrefix(op, "Date"):
		out.compare = dates(strings.TrimPrefix(op, "Date"))
	default:
		// The parser takes no other.
		out.compare = func(string, string) bool { return false }
	}
	for _, v := range c.Values {
		out.values = append(out.values, compile(v, variables && text, wild))
	}
	return out
}

func (c *comparison) holds(context Context) bool {
	var have []string
	if context != nil {
		have = context.Values(c.key)
	}
	if c.null {
		return slices.ContainsFunc(c.values, func(p pattern) bool { return strings.EqualFold(p.text, strconv.FormatBool(len(have) == 0)) })
	}
	if len(have) == 0 {
		switch c.set {
		case forAll:
			return true
		case forAny:
			return c.ifExists
		}
		return c.negative || c.ifExists
	}
	// With a negative operator, a value holds if it fits none of the wanted.
	holds := func(v string) bool { return c.fits(v, context) != c.negative }
	if c.set == forAll || c.set == one && c.negative {
		return !slices.ContainsFunc(have, func(v string) bool { return !holds(v) })
	}
	return slices.ContainsFunc(have, holds)
}

func (c *comparison) fits(v string, context Context) bool {
	for i := range c.values {
		if want, ok := c.values[i].expand(context); ok && c.compare(v, want) {
			return true
		}
	}
	return false
}

// arnLike compares the six parts of an ARN one by one.
func arnLike(v, want string) bool {
	if want == starOnly {
		return strings.HasPrefix(v, "arn:")
	}
	for range 5 {
		part, restV, okV := strings.Cut(v, ":")
		pat, restWant, okWant := strings.Cut(want, ":")
		if !okV || !okWant || !glob(pat, part, false) {
			return false
		}
		v, want = restV, restWant
	}
	return glob(want, v, false)
}

func sameBytes(v, want string) bool {
	a, err := base64.StdEncoding.DecodeString(v)
	b, err2 := base64.StdEncoding.DecodeString(want)
	return err == nil && err2 == nil && string(a) == string(b)
}

func inRange(v, want string) bool {
	addr, err := netip.ParseAddr(v)
	if err != nil {
		return false
	}
	if p, err := netip.ParsePrefix(want); err == nil {
		return p.Masked().Contains(addr.Unmap())
	}
	single, err := netip.ParseAddr(want)
	return err == nil && single == addr.Unmap()
}

// ordered compares by the operator's name.
func ordered(op string, c int) bool {
	switch op {
	case "LessThan":
		return c < 0
	case "LessThanEquals":
		return c <= 0
	case "GreaterThan":
		return c > 0
	case "GreaterThanEquals":
		return c >= 0
	}
	return c == 0
}

// numeric compares two numbers; what isn't one never fits.
func numeric(op string) func(v, want string) bool {
	return func(v, want string) bool {
		a, err := strconv.ParseFloat(v, 64)
		b, err2 := strconv.ParseFloat(want, 64)
		if err != nil || err2 != nil || math.IsNaN(a) || math.IsNaN(b) {
			return false
		}
		c := 0
		if a < b {
			c = -1
		} else if a > b {
			c = 1
		}
		return ordered(op, c)
	}
}

// dates compares two moments, in ISO 8601 or in seconds since 1970.
func dates(op string) func(v, want string) bool {
	return func(v, want string) bool {
		a, ok := moment(v)
		b, ok2 := moment(want)
		return ok && ok2 && ordered(op, a.Compare(b))
	}
}

func moment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), true
	}
	return time.Time{}, false
}
