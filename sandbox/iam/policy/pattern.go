package policy

import "strings"

// In compiled patterns the wildcards have bytes of their own, since the values
// of variables may contain the characters themselves.
const (
	anyText  = '\x00'
	anyChar  = '\x01'
	starOnly = string(anyText)
)

var wildcards = strings.NewReplacer("\x00", "\uFFFD", "\x01", "\uFFFD", "*", string(anyText), "?", string(anyChar))

// pattern is a text with wildcards and, if it has parts, variables.
type pattern struct {
	text  string
	parts []part
}

// part is literal text, with wildcards, or a variable.
type part struct {
	text     string
	key      string // in lower case; "" for text
	name     string // as it is written
	fallback *string
}

// compile reads a pattern. Documents before version 2012-10-17 have no
// variables. Wildcards stand for themselves where the operator has none.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
func compile(s string, variables, wild bool) pattern {
	literal := func(s string) string {
		if wild {
			return wildcards.Replace(s)
		}
		return s
	}
	if !variables || !strings.Contains(s, "${") {
		return pattern{text: literal(s)}
	}
	var p pattern
	dynamic := false
	for s != "" {
		before, rest, ok := strings.Cut(s, "${")
		inner, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			p.parts = append(p.parts, part{text: literal(s)})
			break
		}
		if before != "" {
			p.parts = append(p.parts, part{text: literal(before)})
		}
		s = after
		switch inner {
		case "*", "?", "$":
			// The characters themselves.
			p.parts = append(p.parts, part{text: inner})
			continue
		}
		name, fallback, hasDefault := strings.Cut(inner, ",")
		v := part{name: strings.TrimSpace(name)}
		v.key = strings.ToLower(v.name)
		if hasDefault {
			text := strings.Trim(strings.TrimSpace(fallback), "'")
			v.fallback = &text
		}
		dynamic = dynamic || v.key != ""
		p.parts = append(p.parts, v)
	}
	if dynamic {
		return p
	}
	var b strings.Builder
	for _, x := range p.parts {
		b.WriteString(x.text)
	}
	return pattern{text: b.String()}
}

// expand puts in the variables; false if the request lacks one or it has
// several values.
func (p *pattern) expand(c Context) (string, bool) {
	if p.parts == nil {
		return p.text, true
	}
	var b strings.Builder
	for _, x := range p.parts {
		if x.key == "" {
			b.WriteString(x.text)
			continue
		}
		var values []string
		if c != nil {
			values = c.Values(x.key)
		}
		switch {
		case len(values) == 1:
			b.WriteString(values[0])
		case len(values) == 0 && x.fallback != nil:
			b.WriteString(*x.fallback)
		default:
			return "", false
		}
	}
	return b.String(), true
}

func (p *pattern) variables(add func(string)) {
	for _, x := range p.parts {
		if x.key != "" && x.fallback == nil {
			add(x.name)
		}
	}
}

// Like matches a pattern with * and ? in time linear in both lengths' product.
func Like(pattern, s string) bool { return match(pattern, s, '*', '?', false) }

// glob matches a compiled pattern; fold compares ASCII letters without regard
// to case.
func glob(pattern, s string, fold bool) bool { return match(pattern, s, anyText, anyChar, fold) }

func match(pattern, s string, many, one byte, fold bool) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == many:
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == one || pattern[p] == s[i] || fold && lower(pattern[p]) == lower(s[i])):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == many {
		p++
	}
	return p == len(pattern)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
