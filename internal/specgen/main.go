// Command specgen writes what this module knows about CloudFormation's
// resource types from the public resource facts in npm
// @aws-cdk/aws-service-spec: Go structs for package cfn, and facts.json for
// the sandbox, which shares no code with cfn.
//
//	.ci/run generated
//	POOLHOUSE_SPEC=package/db.json.gz go run ./internal/specgen
//
// The first fetches the package and compares; the second runs from the module's
// root. Covered are the types listed in types.txt, and for the sandbox alone
// those of foreign.txt. With POOLHOUSE_SCHEMAS set to
// a folder of CloudFormation's resource schemas, it writes drift.json and
// limits.json as well.
//
// Invariants: the same input gives the same bytes; no prose of AWS is copied;
// where the facts are wrong, corrections.go says so, with a reason.
//
// Limits: patterns, lengths and ranges are in the schemas only.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:generate go -C ../.. run ./internal/specgen

//go:embed types.txt
var typeList string

// foreignList are types that only the sandbox knows, for templates of others.
//
//go:embed foreign.txt
var foreignList string

func main() {
	spec := flag.String("spec", os.Getenv("POOLHOUSE_SPEC"), "db.json.gz of npm package @aws-cdk/aws-service-spec; POOLHOUSE_SPEC by default")
	root := flag.String("root", ".", "root of the module to write into")
	flag.Parse()
	if err := run(*spec, *root); err != nil {
		fmt.Fprintln(os.Stderr, "specgen:", err)
		os.Exit(1)
	}
}

func run(spec, root string) error {
	if spec == "" {
		return errors.New("POOLHOUSE_SPEC does not name the db.json.gz of npm package @aws-cdk/aws-service-spec: .ci/run generated fetches it")
	}
	own, foreign := strings.Fields(typeList), strings.Fields(foreignList)
	types, err := load(spec, slices.Concat(own, foreign))
	if err != nil {
		return err
	}
	if err := correct(types, corrections()); err != nil {
		return err
	}
	files := map[string][]byte{}
	if files["sandbox/facts/facts.json"], err = factsJSON(types); err != nil {
		return err
	}
	if schemas := os.Getenv("POOLHOUSE_SCHEMAS"); schemas != "" {
		if files["sandbox/facts/drift.json"], err = driftJSON(schemas, types); err != nil {
			return err
		}
		if files["sandbox/facts/limits.json"], err = limitsJSON(schemas, types); err != nil {
			return err
		}
	}
	maps.DeleteFunc(types, func(name string, _ *resourceType) bool { return slices.Contains(foreign, name) })
	packages, err := goFiles(types)
	if err != nil {
		return err
	}
	for name, body := range packages {
		files["cfn/"+name+"/"+name+".go"] = body
	}
	for name, body := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make folder for %s: %w", name, err)
		}
		if err := os.WriteFile(path, body, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}
