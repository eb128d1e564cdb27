// Command docgen writes the documentation that is generated from the code: the
// reference pages of the commands, of the checks and of faults, the page of what
// the sandbox models, the table of its behaviours, and the picture of the
// architecture. Run it at the top of the repository:
//
//	go run ./internal/docgen
//
// A test fails when the files differ from what it would write.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

//go:generate go -C ../.. run ./internal/docgen

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// write writes the generated files below the top of the repository.
func write(top string) error {
	files, err := generate(top)
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make folder of %s: %w", path, err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}

// generate returns the generated files by name.
func generate(top string) (map[string][]byte, error) {
	drawing, err := picture(filepath.Join(top, "examples", "production.yaml"))
	if err != nil {
		return nil, err
	}
	modelled, err := sandboxPage(top)
	if err != nil {
		return nil, err
	}
	guide, err := sandboxGuide(top)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"docs/architecture.svg":      drawing,
		"docs/reference/checks.md":   checks(),
		"docs/reference/commands.md": commands(),
		"docs/reference/failures.md": diagnosis.Page(),
		"docs/reference/faults.md":   fault.Page(),
		"docs/reference/sandbox.md":  modelled,
		"docs/reference/statuses.md": statuses(),
		"docs/sandbox.md":            guide,
	}, nil
}
