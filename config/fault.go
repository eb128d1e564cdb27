package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing that is wrong with a deployment.yaml.
type Fault struct {
	// File is the name that was given to [Load].
	File string `json:"file"`
	// Line and Column count from 1; 0 means the file as a whole.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path of the key, for example network.zones, compute[core].min or
	// tags["cost centre"]; empty means the file as a whole.
	Path string `json:"path,omitempty"`
	// Reason says what is wrong, Fix what to do about it.
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// String is one line, without the fix.
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
		}
		b.WriteString(": ")
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Reason)
	return b.String()
}

// Error makes a single fault an error.
func (f Fault) Error() string { return f.String() }

// Faults is everything that is wrong with a file, in the order of the file. It
// is the only kind of error that this package returns.
type Faults []Fault

var (
	_ error = Faults{}
	_ error = Fault{}
)

// Error is two lines a fault: what is wrong, and what to do.
func (fs Faults) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.String())
		if f.Fix != "" {
			b.WriteString("\n  fix: " + f.Fix)
		}
	}
	return b.String()
}

// Err sorts the faults and returns them as an error, or nil if there are none.
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Reason, b.Reason),
		)
	})
	return slices.Compact(fs)
}

// Fault is a fault at a path of this configuration, with its place in the file.
func (c *Config) Fault(path, reason, fix string) Fault {
	line, column := c.Position(path)
	return Fault{File: c.source.file, Line: line, Column: column, Path: path, Reason: reason, Fix: fix}
}

// Position is where the key of a path stands in the file, or else the nearest
// key around it; 0, 0 if the configuration was not read from a file. Node
// groups are named by role, compute[core], or by their index in Compute.
func (c *Config) Position(path string) (line, column int) {
	if rest, ok := strings.CutPrefix(path, "compute["); ok {
		index, rest, _ := strings.Cut(rest, "]")
		if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(c.Compute) {
			path = "compute[" + string(c.Compute[i].Role) + "]" + rest
		}
	}
	return c.source.position(path)
}

// source is where keys stand in a file.
type source struct {
	file   string
	places map[string]place
}

type place struct{ line, column int }

func (s source) position(path string) (line, column int) {
	for {
		if p, ok := s.places[path]; ok {
			return p.line, p.column
		}
		if path == "" {
			return 0, 0
		}
		path = parent(path)
	}
}

// parent is the path around a path: of a.b and a[b] it is a.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		if i := strings.Index(path, `["`); i >= 0 {
			return path[:i]
		}
	}
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// child is the path of a key below a path. Only keys of the user's own, such as
// tags, need quotes.
func child(path, key string) string {
	plain := key != ""
	for _, r := range key {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			plain = false
		}
	}
	switch {
	case !plain:
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

// nearest is the name that a misspelt one most likely means, or "".
func nearest(name string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		d := distance(strings.ToLower(name), strings.ToLower(n))
		if d < least && d < max(len(n), 2) {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, last []int
	for i := 0; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			if i == 0 {
				row[j] = j
				continue
			}
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// quoted shows a value of the user's, cut to a length that fits a line.
func quoted(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "..."
	}
	return fmt.Sprintf("%q", s)
}
