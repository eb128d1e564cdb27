package sandbox

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mentions are what functions of the sandbox's sources name: texts in quotes,
// and other functions, methods and variables by their names. Functions of one
// name in one package are taken together.
type mentions map[string]*struct {
	texts, names map[string]bool
}

// source reads the sandbox's own sources, and the expressions that carry
// operations out, by service and operation.
func source(t *testing.T, operations map[string][]string) mentions {
	t.Helper()
	said := mentions{}
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			return err
		}
		pkg := f.Name.Name
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				said.read(pkg, decl.Name.Name, decl)
			case *ast.GenDecl:
				for _, s := range decl.Specs {
					if v, ok := s.(*ast.ValueSpec); ok {
						for _, n := range v.Names {
							said.read(pkg, n.Name, v)
						}
					}
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			var parts []ast.Expr
			switch n := n.(type) {
			case *ast.CompositeLit:
				parts = n.Elts
			case *ast.CallExpr:
				parts = n.Args
			default:
				return true
			}
			for _, e := range parts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					e = kv.Value
				}
				if b, ok := e.(*ast.BasicLit); ok && b.Kind == token.STRING {
					name, _ := strconv.Unquote(b.Value)
					if slices.ContainsFunc(slices.Collect(maps.Values(operations)), func(list []string) bool { return slices.Contains(list, name) }) {
						said.read(pkg, "operation "+name, n)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func ident(e ast.Expr) string {
	if i, ok := e.(*ast.Ident); ok {
		return i.Name
	}
	return ""
}

func (m mentions) read(pkg, name string, n ast.Node) {
	key := pkg + " " + name
	if m[key] == nil {
		m[key] = &struct{ texts, names map[string]bool }{map[string]bool{}, map[string]bool{}}
	}
	at := m[key]
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				s, _ := strconv.Unquote(n.Value)
				at.texts[s] = true
			}
		case *ast.SelectorExpr:
			at.names[ident(n.X)+" "+n.Sel.Name], at.names[pkg+" "+n.Sel.Name] = true, true
		case *ast.Ident:
			at.names[pkg+" "+n.Name] = true
		}
		return true
	})
}

// reach are the texts of a function and all that it leads to.
func (m mentions) reach(from string, of []string) map[string]bool {
	texts, seen, todo := map[string]bool{}, map[string]bool{}, []string{from}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		pkg, _, _ := strings.Cut(next, " ")
		if at := m[next]; at != nil && !seen[next] && slices.Contains(of, pkg) {
			seen[next] = true
			maps.Copy(texts, at.texts)
			todo = slices.AppendSeq(todo, maps.Keys(at.names))
		}
	}
	return texts
}
