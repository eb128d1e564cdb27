package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox"
)

// folders are where services lie below sandbox, if not under their names.
func folders(service string) []string {
	switch service {
	case "ec2":
		return []string{"ec2", "ec2/instance", "ec2/endpoint", "ec2/flowlog"}
	case "elasticloadbalancing":
		return []string{"elbv2", "elbv2/classic"}
	case "monitoring":
		return []string{"cloudwatch"}
	}
	return []string{service}
}

// sandboxPage is the page of what the sandbox models and what it doesn't: the
// operations and types that it has, and what its packages say of themselves.
func sandboxPage(top string) ([]byte, error) {
	operations := sandbox.Operations()
	types, err := sandbox.ResourceTypes()
	if err != nil {
		return nil, err
	}
	total := 0
	for _, names := range operations {
		total += len(names)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `# What the sandbox models

This page is generated from the code. [sandbox.md](../sandbox.md) says how to use it.

## In general

%d API operations of %d services. Any other is answered with HTTP status 501 and
the error code `+"`NotModelled`"+`, which names it. Left out everywhere:

`, total, len(operations))
	for _, what := range sandbox.NotModelled() {
		fmt.Fprintf(&b, "- %s\n", what)
	}
	fmt.Fprintf(&b, `
## Resource types in templates

%d types. A template with another one is refused.

| Service | Types |
|---|---|
`, len(types))
	byService := map[string][]string{}
	for _, t := range types {
		parts := strings.SplitN(t, "::", 3)
		byService[parts[1]] = append(byService[parts[1]], parts[2])
	}
	for _, service := range slices.Sorted(maps.Keys(byService)) {
		fmt.Fprintf(&b, "| AWS::%s | %s |\n", service, strings.Join(byService[service], ", "))
	}
	fmt.Fprint(&b, "\n## Services\n")
	for _, service := range slices.Sorted(maps.Keys(operations)) {
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n", service, strings.Join(operations[service], ", "))
		for _, folder := range folders(service) {
			holds, limits, err := said(filepath.Join(top, "sandbox", filepath.FromSlash(folder)))
			if err != nil {
				return nil, err
			}
			if limits == "" {
				return nil, fmt.Errorf("describe service %s: the comment of sandbox/%s names no limits", service, folder)
			}
			of := ""
			if folder != folders(service)[0] {
				of = ", " + filepath.Base(folder) + "s"
			}
			if holds != "" {
				fmt.Fprintf(&b, "\n- What holds%s: %s", of, holds)
			}
			fmt.Fprintf(&b, "\n- Limits%s: %s", of, limits)
		}
		fmt.Fprintln(&b)
	}
	return b.Bytes(), nil
}

// said is what a package's comment says of its invariants and limits.
func said(dir string) (holds, limits string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", "", err
	}
	if len(files) == 0 {
		return "", "", fmt.Errorf("read package %s: %w", dir, fs.ErrNotExist)
	}
	doc := ""
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return "", "", err
		}
		doc += f.Doc.Text()
	}
	doc = regexp.MustCompile(`(?m)^https://.*$`).ReplaceAllString(doc, "")
	find := func(label string) string {
		m := regexp.MustCompile(`(?s)\b(?:` + label + `):\s+(.*?)(?:\n\n|$)`).FindStringSubmatch(doc)
		if m == nil {
			return ""
		}
		return strings.NewReplacer("[", "", "]", "").Replace(strings.Join(strings.Fields(m[1]), " "))
	}
	return find("Invariants"), find("Limits|Not modelled[^:]*"), nil
}
