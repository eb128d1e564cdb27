package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox"
)

// sandboxPage is the page of what the sandbox models and what it doesn't.
func sandboxPage() ([]byte, error) {
	var b bytes.Buffer
	operations := sandbox.Operations()
	types, err := sandbox.ResourceTypes()
	if err != nil {
		return nil, err
	}
	total := 0
	for _, names := range operations {
		total += len(names)
	}
	fmt.Fprintf(&b, `# What the sandbox models

This page is generated from the code. [sandbox.md](../sandbox.md) says how to use it.

## API operations

%d operations of %d services. Any other is answered with HTTP status 501 and the
error code `+"`NotModelled`"+`, which names it.

| Service | Operations |
|---|---|
`, total, len(operations))
	for _, service := range slices.Sorted(maps.Keys(operations)) {
		fmt.Fprintf(&b, "| %s | %s |\n", service, strings.Join(operations[service], ", "))
	}
	fmt.Fprintf(&b, `
## Resource types of CloudFormation

%d types. A template with another type is refused.

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
	fmt.Fprint(&b, "\n## Left out\n\n")
	for _, what := range sandbox.NotModelled() {
		fmt.Fprintf(&b, "- %s\n", what)
	}
	return b.Bytes(), nil
}
