// Command kics evaluates the CloudFormation queries of KICS, written in Rego,
// on templates. It takes the queries from KICS's Go module and evaluates them
// with Open Policy Agent, so that nothing else of KICS has to be built.
//
// It prints its findings for run.mjs.
//
// usage: kics <folder of the module> <folder of examples>
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "kics:", err)
		os.Exit(1)
	}
}

// finding is a rule broken by a resource, or by a template as a whole.
type finding struct {
	Rule     string `json:"rule"`
	Example  string `json:"example"`
	Stack    string `json:"stack"`
	Resource string `json:"resource"`
}

func run(ctx context.Context, module, examples string) error {
	inputs, err := templates(examples)
	if err != nil {
		return err
	}
	compiler, data, names, err := queries(filepath.Join(module, "assets"))
	if err != nil {
		return err
	}
	out := struct {
		Scanners []string  `json:"scanners"`
		Findings []finding `json:"findings"`
	}{Scanners: []string{"kics"}, Findings: []finding{}}
	seen := map[finding]bool{}
	for i, name := range names {
		query, err := rego.New(
			rego.Query(fmt.Sprintf("found = data.q%d.CxPolicy", i)),
			rego.Compiler(compiler),
			rego.Store(inmem.NewFromObject(data)),
		).PrepareForEval(ctx)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
		for example, input := range inputs {
			results, err := query.Eval(ctx, rego.EvalParsedInput(input))
			if err != nil {
				return fmt.Errorf("evaluate %s: %w", name, err)
			}
			for _, r := range results {
				found, _ := r.Bindings["found"].([]any)
				for _, v := range found {
					f := finding{Rule: "kics:" + name, Example: example, Resource: "Resources"}
					if v, ok := v.(map[string]any); ok {
						f.Stack = fmt.Sprint(v["documentId"])
						if m := resource.FindStringSubmatch(fmt.Sprint(v["searchKey"])); m != nil {
							f.Resource = m[1]
						}
					}
					if !seen[f] {
						seen[f] = true
						out.Findings = append(out.Findings, f)
					}
				}
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

var resource = regexp.MustCompile(`^Resources\.([A-Za-z0-9]+)`)

// templates are all templates of each example, as one input.
func templates(examples string) (map[string]ast.Value, error) {
	files, err := filepath.Glob(filepath.Join(examples, "*", "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%d templates in %s (%v)", len(files), examples, err)
	}
	documents := map[string][]any{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var doc map[string]any
		if err := json.Unmarshal(text, &doc); err != nil {
			return nil, fmt.Errorf("read %s: %w", f, err)
		}
		doc["id"] = strings.TrimSuffix(filepath.Base(f), ".json")
		doc["file"] = f
		example := filepath.Base(filepath.Dir(f))
		documents[example] = append(documents[example], doc)
	}
	out := map[string]ast.Value{}
	for example, docs := range documents {
		v, err := ast.InterfaceToValue(map[string]any{"document": docs})
		if err != nil {
			return nil, err
		}
		out[example] = v
	}
	return out, nil
}

// queries compiles the libraries and queries, each query in a package of its
// own: q and its number among the names.
func queries(assets string) (*ast.Compiler, map[string]any, []string, error) {
	files, err := filepath.Glob(filepath.Join(assets, "queries", "cloudFormation", "aws", "*", "query.rego"))
	if err != nil || len(files) == 0 {
		return nil, nil, nil, fmt.Errorf("%d queries in %s (%v)", len(files), assets, err)
	}
	modules := map[string]*ast.Module{}
	var names []string
	parse := func(file, text string) error {
		m, err := ast.ParseModuleWithOpts(file, text, ast.ParserOptions{RegoVersion: ast.RegoV0})
		modules[file] = m
		return err
	}
	for _, lib := range []string{"common.rego", "cloudformation.rego"} {
		text, err := os.ReadFile(filepath.Join(assets, "libraries", lib))
		if err != nil {
			return nil, nil, nil, err
		}
		if err := parse(lib, string(text)); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, nil, nil, err
		}
		own := strings.Replace(string(text), "package Cx", fmt.Sprintf("package q%d", len(names)), 1)
		if err := parse(f, own); err != nil {
			return nil, nil, nil, err
		}
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	var data map[string]any
	text, err := os.ReadFile(filepath.Join(assets, "libraries", "common.json"))
	if err != nil {
		return nil, nil, nil, err
	}
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, nil, nil, err
	}
	compiler := ast.NewCompiler()
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, nil, nil, compiler.Errors
	}
	return compiler, data, names, nil
}
