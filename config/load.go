package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. A large deployment.yaml has 10 KB and 2,000 tokens; the
// YAML parser takes quadratic time, so it never sees more than these.
const (
	maxBytes  = 1 << 20
	maxTokens = 20_000
	maxFlow   = 16
	maxColumn = 100
)

// LoadFile is [Load] on a file. That a file is missing, unreadable or a folder
// is a fault too.
func LoadFile(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, unreadable(path, err)
	} else if info.IsDir() {
		return nil, Faults{{File: path, Reason: "is a folder, not a file", Fix: "name the file, for example " + path + "/deployment.yaml"}}
	}
	return Load(path, f)
}

func unreadable(path string, err error) Faults {
	f := Fault{File: path, Reason: fmt.Sprintf("read file: %v", err), Fix: "check the path and its permissions"}
	var p *fs.PathError
	if errors.As(err, &p) {
		f.Reason = "read file: " + p.Err.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		f.Reason = "there is no such file"
		f.Fix = "check the path, or write a file with: poolhouse init"
	}
	return Faults{f}
}

// Load reads, completes and validates a deployment.yaml. It reads one byte
// beyond its limit of 1 MiB at most. Every error is a [Faults].
func Load(name string, r io.Reader) (*Config, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	return Parse(name, src)
}

// Parse is [Load] on bytes.
func Parse(name string, src []byte) (*Config, error) {
	root, err := parse(name, src)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: name, places: map[string]place{"": {1, 1}}}
	c := d.config(root)
	if err := append(d.faults, validate(c, d.unread)...).Err(); err != nil {
		return nil, err
	}
	c.complete()
	return c, nil
}

// parse returns the mapping that the file consists of.
func parse(name string, src []byte) (*ast.MappingNode, error) {
	fault := func(tk *token.Token, reason, fix string) Faults {
		f := Fault{File: name, Reason: reason, Fix: fix}
		if tk != nil && tk.Position != nil {
			f.Line, f.Column = tk.Position.Line, tk.Position.Column
		}
		return Faults{f}
	}
	if len(src) > maxBytes {
		return nil, fault(nil, "is larger than 1 MiB", "name a deployment.yaml; a real one has a few kilobytes")
	}
	src = bytes.TrimPrefix(src, []byte("\uFEFF"))
	if line, ok := text(src); !ok {
		f := fault(nil, "is not text in UTF-8", "save it as UTF-8, or name another file")
		f[0].Line, f[0].Column = line, 1
		return nil, f
	}
	tokens, f := scan(src)
	if f != nil {
		f.File = name
		return nil, Faults{*f}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		// The message alone: the parser's own rendering repeats the source.
		var at interface {
			GetToken() *token.Token
			GetMessage() string
		}
		if errors.As(err, &at) {
			return nil, fault(at.GetToken(), "is not valid YAML: "+at.GetMessage(), "correct the line; keys are indented by spaces, and values with : or # are quoted")
		}
		return nil, fault(nil, "is not valid YAML", "correct the file")
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return nil, fault(doc.Body.GetToken(), "holds more than one YAML document", "keep one deployment per file, without --- between its parts")
		}
		body = doc.Body
	}
	switch body := body.(type) {
	case nil, *ast.NullNode:
		return nil, fault(nil, "is empty", "write one with: poolhouse init")
	case *ast.MappingNode:
		return body, nil
	default:
		return nil, fault(body.GetToken(), "is "+kindOf(body)+", not keys and values", "begin with apiVersion: "+APIVersion)
	}
}

// text says whether these bytes are text, and which line is not.
func text(src []byte) (line int, ok bool) {
	line = 1
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		switch {
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return line, false
		case r == '\n':
			line++
		}
		src = src[n:]
	}
	return 0, true
}

// scan returns the tokens of a file, or why the parser must not see them.
// What repeats or types values is refused here, since deployment.yaml needs
// neither, and an alias can stand for a million values.
func scan(src []byte) (token.Tokens, *Fault) {
	var (
		s      scanner.Scanner
		tokens token.Tokens
		flow   int
	)
	s.Init(string(src))
	for {
		some, err := s.Scan()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		for _, tk := range some {
			fault := func(reason, fix string) *Fault {
				f := &Fault{Reason: reason, Fix: fix}
				if tk.Position != nil {
					f.Line, f.Column = tk.Position.Line, tk.Position.Column
				}
				return f
			}
			switch tk.Type {
			case token.AnchorType:
				return nil, fault("has an anchor (&), which is not allowed", "write the value where it is needed")
			case token.AliasType:
				return nil, fault("has an alias (*), which is not allowed", "write the value out; quote it if it begins with *")
			case token.MergeKeyType:
				return nil, fault("has a merge key (<<), which is not allowed", "write the keys out")
			case token.TagType:
				return nil, fault("has a type tag (!), which is not allowed", "leave the tag out; quote the value if it begins with !")
			case token.MappingKeyType:
				return nil, fault("has a complex key (?), which is not allowed", "write key: value")
			case token.DirectiveType:
				return nil, fault("has a YAML directive (%), which is not allowed", "leave the line out")
			case token.SequenceStartType, token.MappingStartType:
				flow++
			case token.SequenceEndType, token.MappingEndType:
				flow--
			case token.SequenceEntryType, token.MappingValueType:
				if flow == 0 && tk.Position.IndentNum > maxColumn || tk.Type == token.SequenceEntryType && tk.Position.Column > maxColumn {
					return nil, fault("is nested too deeply", "indent by two spaces a level")
				}
			}
			if flow > maxFlow {
				return nil, fault("is nested too deeply", "write one key or item a line")
			}
			if len(tokens) >= maxTokens {
				return nil, fault("is too long for a deployment.yaml", "name a deployment.yaml; a real one has about 30 lines")
			}
			tokens.Add(tk)
		}
		if err != nil {
			return tokens, nil // the parser reports the invalid token
		}
	}
}
