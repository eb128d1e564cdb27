package view

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Width is how long lines of text are at most, where the words allow it.
const Width = 100

// Wrap breaks a text into lines of [Width], the first one after a prefix and
// the others indented. What would steer a terminal is taken out.
func Wrap(prefix, indent, text string) string {
	var b strings.Builder
	prefix, text = safe(prefix), safe(text)
	b.WriteString(prefix)
	at, fresh := utf8.RuneCountInString(prefix), true
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case fresh && (at+n <= Width || at <= utf8.RuneCountInString(indent)):
		case fresh || at+1+n > Width:
			b.WriteString("\n" + indent)
			at = utf8.RuneCountInString(indent)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at, fresh = at+n, false
	}
	return b.String()
}

// paragraph prints a wrapped text.
func paragraph(w io.Writer, prefix, indent, format string, args ...any) {
	fmt.Fprintln(w, Wrap(prefix, indent, fmt.Sprintf(format, args...)))
}

// table aligns rows of tab-separated cells.
func table(w io.Writer, rows func(row func(format string, args ...any))) {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	rows(func(format string, args ...any) { fmt.Fprint(tw, safe(fmt.Sprintf(format, args...))+"\n") })
	// A strings.Builder takes everything.
	_ = tw.Flush()
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// Span is a duration for people: 45s, 12m, 1h05m.
func Span(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour-30*time.Second:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Count is a number with its noun in the right form: 1 stack, 2 policies, 3 classes.
func Count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Join lists names.
func Join[S ~string](names []S) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(n))
	}
	return b.String()
}

// moment is a time for people.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
