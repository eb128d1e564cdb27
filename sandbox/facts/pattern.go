package facts

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Pattern is a regular expression as AWS publishes it, written for the engines
// of Java and ECMAScript. It is safe for concurrent use.
type Pattern struct {
	must []*regexp.Regexp
	not  []*regexp.Regexp // what look-aheads at the beginning forbid
}

// CompilePattern translates a published pattern. What Go's engine lacks is put
// otherwise, with the same meaning: escapes \uXXXX and \Z, repetitions of more
// than a thousand or of a repetition, and look-aheads at the very beginning.
// Anything else is an error. With whole the text has to match from end to end,
// as in service models; without, as in resource schemas, it is searched.
// https://json-schema.org/draft-07/json-schema-validation#rfc.section.6.3.3
func CompilePattern(expr string, whole bool) (*Pattern, error) {
	p := &Pattern{}
	rest := expr
	if anchored, ok := strings.CutPrefix(rest, "^"); ok {
		for strings.HasPrefix(anchored, "(?=") || strings.HasPrefix(anchored, "(?!") {
			end := group(anchored)
			if end < 0 {
				return nil, fmt.Errorf("compile pattern %s: a parenthesis is not closed", expr)
			}
			re, err := regexp.Compile("^(?:" + translate(anchored[3:end]) + ")")
			if err != nil {
				return nil, fmt.Errorf("compile pattern %s: %w", expr, err)
			}
			if anchored[2] == '=' {
				p.must = append(p.must, re)
			} else {
				p.not = append(p.not, re)
			}
			anchored = anchored[end+1:]
		}
		rest = "^" + anchored
	}
	plain := translate(rest)
	if whole {
		plain = "^(?:" + plain + ")$"
	}
	re, err := regexp.Compile(plain)
	if err != nil {
		return nil, fmt.Errorf("compile pattern %s: %w", expr, err)
	}
	p.must = append(p.must, re)
	return p, nil
}

// Match tells whether a text fits the pattern.
func (p *Pattern) Match(s string) bool {
	for _, re := range p.must {
		if !re.MatchString(s) {
			return false
		}
	}
	for _, re := range p.not {
		if re.MatchString(s) {
			return false
		}
	}
	return true
}

// group is the place of the parenthesis that closes the one at the beginning.
func group(expr string) int {
	depth, class := 0, false
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

var (
	surrogates = regexp.MustCompile(`\\uD800\\uDC00-\\uDBFF\\uDFFF`)
	astral     = regexp.MustCompile(`\\u(10[0-9A-Fa-f]{4})-\\u(10[0-9A-Fa-f]{4})`)
	escapes    = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)
	nested     = regexp.MustCompile(`([^\\][+*])\{1,\d+\}`)
	counts     = regexp.MustCompile(`\{(\d+),(\d+)\}`)
)

// maxRepeat is the largest count that Go's engine takes.
const maxRepeat = 1000

// translate writes a pattern as Go has it.
func translate(expr string) string {
	expr = surrogates.ReplaceAllString(expr, `\x{10000}-\x{10FFFF}`)
	expr = astral.ReplaceAllString(expr, `\x{$1}-\x{$2}`)
	expr = escapes.ReplaceAllString(expr, `\x{$1}`)
	expr = strings.ReplaceAll(expr, `\Z`, `\z`)
	// What is repeated once or more, repeated, is what it was.
	expr = nested.ReplaceAllString(expr, "$1")
	for {
		at := counts.FindAllStringSubmatchIndex(expr, -1)
		changed := false
		for _, m := range at {
			low, _ := strconv.Atoi(expr[m[2]:m[3]])
			high, _ := strconv.Atoi(expr[m[4]:m[5]])
			atom := last(expr[:m[0]])
			if high <= maxRepeat || low > maxRepeat || atom == "" {
				continue
			}
			var b strings.Builder
			b.WriteString(expr[:m[0]])
			fmt.Fprintf(&b, "{%d,%d}", low, maxRepeat)
			for high -= maxRepeat; high > 0; high -= maxRepeat {
				fmt.Fprintf(&b, "%s{0,%d}", atom, min(high, maxRepeat))
			}
			b.WriteString(expr[m[1]:])
			expr, changed = b.String(), true
			break
		}
		if !changed {
			return expr
		}
	}
}

// last is the character class, escape or character that a pattern ends with; ""
// if it ends with a group.
func last(expr string) string {
	if expr == "" || strings.HasSuffix(expr, ")") && !strings.HasSuffix(expr, `\)`) {
		return ""
	}
	if !strings.HasSuffix(expr, "]") {
		if len(expr) > 1 && expr[len(expr)-2] == '\\' {
			return expr[len(expr)-2:]
		}
		return expr[len(expr)-1:]
	}
	begin, class := -1, false
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			begin, class = i, true
		}
	}
	if begin < 0 {
		return ""
	}
	return expr[begin:]
}
