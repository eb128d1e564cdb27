package diagnosis

import "strings"

// longest is how long a value in a reason may be, in bytes.
const longest = 300

// piece is a part of a phrase: a text, then a value.
type piece struct {
	text  string
	name  string // of the value after it
	value bool
}

// pieces cuts a phrase at its values.
func pieces(phrase string) []piece {
	var out []piece
	for {
		before, rest, ok := strings.Cut(phrase, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return append(out, piece{text: phrase})
		}
		out = append(out, piece{before, name, true})
		phrase = after
	}
}

// find looks for a phrase in a reason, whatever the case of ASCII letters, and
// gives its values by name.
func find(phrase, reason string) (map[string]string, bool) {
	parts := pieces(lower(phrase))
	folded := lower(reason)
	for start := 0; start <= len(folded); start++ {
		i := strings.Index(folded[start:], parts[0].text)
		if i < 0 {
			return nil, false
		}
		start += i
		if v, ok := take(parts, folded, reason, start); ok {
			return v, true
		}
	}
	return nil, false
}

// take reads a phrase at a place of the reason.
func take(parts []piece, folded, reason string, at int) (map[string]string, bool) {
	values := map[string]string{}
	for n, p := range parts {
		if !strings.HasPrefix(folded[at:], p.text) {
			return nil, false
		}
		at += len(p.text)
		if !p.value {
			continue
		}
		length := 0
		if n+1 < len(parts) && parts[n+1].text != "" {
			length = strings.Index(folded[at:], parts[n+1].text)
		} else {
			// The last value ends with its word.
			length = strings.IndexAny(folded[at:]+" ", " \"'),;]\n")
		}
		if length <= 0 || length > longest {
			return nil, false
		}
		if p.name != "_" {
			values[p.name] = strings.Trim(reason[at:at+length], " \t\"'[]().,:")
		}
		at += length
	}
	return values, true
}

// nameless are the words for what a failure does not say of its resource.
var nameless = map[string]string{"resource": "the resource", "id": "it", "type": "the resource's type", "stack": "the stack"}

// fill puts values into a text.
func fill(text string, values map[string]string) string {
	var b strings.Builder
	for _, p := range pieces(text) {
		b.WriteString(p.text)
		if !p.value {
			continue
		}
		if v := values[p.name]; v != "" {
			b.WriteString(v)
		} else {
			b.WriteString(nameless[p.name])
		}
	}
	return b.String()
}

// lower folds ASCII letters only, so that places in both texts are the same.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
