package view

import (
	"strings"
	"unicode"
)

// safe takes out of a text what would steer a terminal or turn its letters
// around: control characters and marks of direction. What an account holds is
// not ours. White space but line breaks and tabs stays.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return '\uFFFD'
		}
		return r
	}, s)
}
