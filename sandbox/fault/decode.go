package fault

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file; what is larger is refused before it is parsed.
const (
	maxBytes  = 256 << 10
	maxTokens = 20_000
	maxFlow   = 32
	maxColumn = 160
)

// Mistake is one thing that is wrong with a file of faults.
type Mistake struct {
	// File is the name that was given to [Parse].
	File string `json:"file"`
	// Line and Column count from 1; 0 is the file as a whole.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path of the key, for example faults[busy].throttle.service.
	Path string `json:"path,omitempty"`
	// Reason says what is wrong, Fix what to do about it.
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// Error is one line, without the fix.
func (m Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", m.Line, m.Column)
	}
	b.WriteString(": ")
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.Reason)
	return b.String()
}

// Mistakes are all that is wrong with a file, in the order of the file. They are
// the only kind of error that [Parse] returns.
type Mistakes []Mistake

// Error is two lines a mistake: what is wrong, and what to do.
func (ms Mistakes) Error() string {
	var b strings.Builder
	for i, m := range ms {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s\n  fix: %s", m.Error(), m.Fix)
	}
	return b.String()
}

var (
	_ error = Mistake{}
	_ error = Mistakes{}
)

// Parse reads a plan and holds it to what is known of the account. The name is
// for mistakes, which are the only kind of error.
func Parse(name string, src []byte, k Known) (Plan, error) {
	d := &decoder{file: name, places: map[string]*token.Token{}}
	var p Plan
	if root := d.root(src); root != nil {
		d.structure("", root, reflect.ValueOf(&p).Elem())
	}
	if len(d.mistakes) == 0 && len(p.Faults) == 0 {
		d.mistake(nil, "faults", "is empty", "write a list of faults, or leave the file out")
	}
	d.check(&p, k)
	if len(d.mistakes) > 0 {
		slices.SortStableFunc(d.mistakes, func(a, b Mistake) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return Plan{}, d.mistakes
	}
	p.complete()
	return p, nil
}

// decoder reads a file. It goes on after a mistake, so that all are reported.
type decoder struct {
	file     string
	places   map[string]*token.Token
	mistakes Mistakes
	// unread are the paths whose values could not be read: a mistake is
	// reported, and what depends on them is not checked.
	unread []string
	// strange are the paths that have unknown keys, of which one may have been
	// meant for what is missing.
	strange []string
}

func (d *decoder) mistake(tk *token.Token, path, reason, fix string) {
	m := Mistake{File: d.file, Path: path, Reason: reason, Fix: fix}
	if tk != nil && tk.Position != nil {
		m.Line, m.Column = tk.Position.Line, tk.Position.Column
	}
	d.mistakes = append(d.mistakes, m)
}

// root is the mapping that the file consists of, or nil.
func (d *decoder) root(src []byte) *ast.MappingNode {
	if len(src) > maxBytes {
		d.mistake(nil, "", "is larger than 256 KiB", "name a file of faults; a real one has a few kilobytes")
		return nil
	}
	if !utf8.Valid(src) {
		d.mistake(nil, "", "is not text in UTF-8", "save it as UTF-8, or name another file")
		return nil
	}
	tokens, ok := d.scan(src)
	if !ok {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var at interface {
			GetToken() *token.Token
			GetMessage() string
		}
		if errors.As(err, &at) {
			d.mistake(at.GetToken(), "", "is not valid YAML: "+at.GetMessage(), "correct the line; keys are indented by spaces, and values with : or * are quoted")
			return nil
		}
		d.mistake(nil, "", "is not valid YAML", "correct the file")
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.mistake(doc.Body.GetToken(), "", "holds more than one YAML document", "keep all faults in one list, without --- between them")
			return nil
		}
		body = doc.Body
	}
	switch body := body.(type) {
	case nil, *ast.NullNode:
		d.mistake(nil, "", "is empty", "begin with faults: and a list")
	case *ast.MappingNode:
		return body
	default:
		d.mistake(body.GetToken(), "", "is "+kindOf(body)+", not keys and values", "begin with faults: and a list")
	}
	return nil
}

// scan returns the tokens. What makes a small file stand for a large one is
// refused.
func (d *decoder) scan(src []byte) (token.Tokens, bool) {
	var (
		s      scanner.Scanner
		tokens token.Tokens
		flow   int
	)
	s.Init(string(src))
	for {
		some, err := s.Scan()
		if errors.Is(err, io.EOF) {
			return tokens, true
		}
		for _, tk := range some {
			switch tk.Type {
			case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.MappingKeyType, token.DirectiveType:
				d.mistake(tk, "", fmt.Sprintf("has %q, which is not allowed", strings.TrimSpace(tk.Value)), "write the value out; quote one that begins with *, & or !")
				return nil, false
			case token.SequenceStartType, token.MappingStartType:
				flow++
			case token.SequenceEndType, token.MappingEndType:
				flow--
			case token.SequenceEntryType, token.MappingValueType:
				if tk.Position.Column > maxColumn && flow == 0 {
					d.mistake(tk, "", "is nested too deeply", "indent by two spaces a level")
					return nil, false
				}
			}
			if flow > maxFlow || len(tokens) >= maxTokens {
				d.mistake(tk, "", "is nested too deeply or too long", "write one fault after the other")
				return nil, false
			}
			tokens.Add(tk)
		}
		if err != nil {
			return tokens, true // the parser reports the invalid token
		}
	}
}

// value decodes one node into a field.
func (d *decoder) value(path string, node ast.Node, v reflect.Value) {
	d.places[path] = first(node)
	wrong := func(want, fix string) {
		d.unread = append(d.unread, path)
		d.mistake(first(node), path, "is "+kindOf(node)+", not "+want, fix)
	}
	if node == nil || node.Type() == ast.NullType {
		wrong("a value", "give it one, or leave the key out")
		return
	}
	switch v.Interface().(type) {
	case time.Duration:
		t, err := time.ParseDuration(scalar(node))
		if err != nil || t < 0 {
			wrong("a duration", "write it as 90s, 5m or 1h30m")
			return
		}
		v.SetInt(int64(t))
		return
	case Stay:
		t, err := time.ParseDuration(scalar(node))
		switch {
		case scalar(node) == "forever":
			t = time.Duration(Forever)
		case err != nil || t <= 0:
			wrong("a duration", "write it as 90s, 5m or 1h30m, or forever")
			return
		}
		v.SetInt(int64(t))
		return
	case Times:
		n, err := strconv.Atoi(scalar(node))
		switch {
		case scalar(node) == "always":
			n = int(Always)
		case err != nil || n < 1:
			wrong("a number of times", "write 1 or more, or always")
			return
		}
		v.SetInt(int64(n))
		return
	case map[string]any:
		m, ok := node.(*ast.MappingNode)
		if !ok {
			wrong("keys and values", "write each as key: value, indented below it")
			return
		}
		v.Set(reflect.ValueOf(d.plain(path, m)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		m, ok := node.(*ast.MappingNode)
		if !ok {
			wrong("keys and values", "indent its keys below it: "+strings.Join(keys(v.Type().Elem()), ", "))
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.structure(path, m, v.Elem())
	case reflect.Struct:
		m, ok := node.(*ast.MappingNode)
		if !ok {
			wrong("keys and values", "indent its keys below it: "+strings.Join(keys(v.Type()), ", "))
			return
		}
		d.structure(path, m, v)
	case reflect.Slice:
		d.list(path, node, v, wrong)
	case reflect.String:
		s, ok := node.(*ast.StringNode)
		if !ok {
			wrong("text", "put it in quotes: "+strconv.Quote(scalar(node)))
			return
		}
		v.SetString(s.Value)
	case reflect.Int:
		n, err := strconv.Atoi(scalar(node))
		if node.Type() != ast.IntegerType || err != nil {
			wrong("a whole number", "write it in digits, without quotes")
			return
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		x, err := strconv.ParseFloat(scalar(node), 64)
		if node.Type() != ast.IntegerType && node.Type() != ast.FloatType || err != nil {
			wrong("a number", "write it in digits, without quotes")
			return
		}
		v.SetFloat(x)
	case reflect.Bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			wrong("true or false", "write true or false, without quotes")
			return
		}
		v.SetBool(b.Value)
	}
}

// list decodes a list. Faults are named in paths by their ids.
func (d *decoder) list(path string, node ast.Node, v reflect.Value, wrong func(want, fix string)) {
	l, ok := node.(*ast.SequenceNode)
	if !ok {
		wrong("a list", "write each item in a line of its own after - and a space")
		return
	}
	items := reflect.MakeSlice(v.Type(), len(l.Values), len(l.Values))
	for i, item := range l.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.value(at, item, items.Index(i))
	}
	v.Set(items)
}

func (d *decoder) structure(path string, m *ast.MappingNode, v reflect.Value) {
	known := keys(v.Type())
	lines := map[string]int{}
	for _, pair := range m.Values {
		tk := pair.Key.GetToken()
		key := scalar(pair.Key)
		at := child(path, key)
		if line, ok := lines[key]; ok {
			d.mistake(tk, at, fmt.Sprintf("is there twice, first in line %d", line), "keep one of them")
			continue
		}
		lines[key] = tk.Position.Line
		i := slices.Index(known, key)
		if i < 0 {
			where := "at the top of the file"
			if path != "" {
				where = "in " + path
			}
			d.strange = append(d.strange, path)
			d.mistake(tk, at, "is not a known key", "the keys "+where+" are "+strings.Join(known, ", "))
			continue
		}
		d.value(at, pair.Value, v.Field(i))
		d.places[at] = tk
	}
}

// plain is a mapping as the values that a call's input consists of.
func (d *decoder) plain(path string, m *ast.MappingNode) map[string]any {
	out := make(map[string]any, len(m.Values))
	for _, pair := range m.Values {
		key := scalar(pair.Key)
		if _, twice := out[key]; twice {
			d.mistake(pair.Key.GetToken(), child(path, key), "is there twice", "keep one of them")
		}
		d.places[child(path, key)] = pair.Key.GetToken()
		out[key] = d.any(child(path, key), pair.Value)
	}
	return out
}

func (d *decoder) any(path string, node ast.Node) any {
	switch n := node.(type) {
	case *ast.MappingNode:
		return d.plain(path, n)
	case *ast.SequenceNode:
		out := make([]any, len(n.Values))
		for i, v := range n.Values {
			out[i] = d.any(fmt.Sprintf("%s[%d]", path, i), v)
		}
		return out
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		if x, err := strconv.ParseFloat(scalar(node), 64); err == nil {
			return x
		}
	}
	d.mistake(first(node), path, "is "+kindOf(node)+", which no input has", "write text, a number, true or false, a list, or keys and values")
	return nil
}

// scalar is a node's text as it is written, without quotes.
func scalar(node ast.Node) string {
	if s, ok := node.(*ast.StringNode); ok {
		return s.Value
	}
	if tk := node.GetToken(); tk != nil {
		return tk.Value
	}
	return ""
}

func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// first is the token where a node begins; a mapping's own token is the colon
// after its first key.
func first(node ast.Node) *token.Token {
	if node == nil {
		return nil
	}
	if n, ok := node.(*ast.MappingNode); ok && !n.IsFlowStyle && len(n.Values) > 0 {
		return n.Values[0].Key.GetToken()
	}
	return node.GetToken()
}

func kindOf(node ast.Node) string {
	switch n := node.(type) {
	case *ast.MappingNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return "the text " + strconv.Quote(n.Value)
	case *ast.LiteralNode:
		return "text of several lines"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + scalar(node)
	case *ast.BoolNode:
		return "the truth value " + scalar(node)
	case nil, *ast.NullNode:
		return "nothing"
	}
	return "something else"
}

// keys are the names of a type's fields in the file, in order. Every field has
// one.
func keys(t reflect.Type) []string {
	out := make([]string, t.NumField())
	for i := range out {
		out[i] = t.Field(i).Tag.Get("yaml")
	}
	return out
}
