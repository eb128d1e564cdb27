// Package export writes a deployment's templates for those who deploy them by
// hand: a template and a parameters file for each stack, and a README with the
// order and the commands.
//
// A [Set] is pure: the same architecture gives the same bytes. It deploys what
// package deploy deploys, with the steps outside of CloudFormation as commands.
//
// Limits: the commands create and update; taking a deployment away by hand is
// not described.
package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/templates"
)

// readme is the file that the others are explained in; its first line marks a
// folder as an export.
const (
	readme      = "README.md"
	marker      = "<!-- poolhouse export -->"
	stackPolicy = "stack-policy.json"
)

// Set is the files of an export, by name.
type Set struct{ files map[string][]byte }

// Make builds the export of an architecture.
func Make(a *architecture.Architecture) (*Set, error) {
	stacks, err := templates.All(a)
	if err != nil {
		return nil, err
	}
	s := &Set{map[string][]byte{}}
	for i, st := range stacks {
		name := fileName(i, st)
		s.files[name+".template.json"] = append(slices.Clone(st.Body), '\n')
		var list []parameter
		for _, v := range values(a, st) {
			list = append(list, parameter{v.name, v.file})
		}
		if s.files[name+".parameters.json"], err = parametersFile(list); err != nil {
			return nil, fmt.Errorf("write parameters of stack %s: %w", st.StackName, err)
		}
	}
	if a.Config.Database.DeletionProtection {
		s.files[stackPolicy] = []byte(deploy.StackPolicy() + "\n")
	}
	s.files[readme] = page(a, stacks)
	return s, nil
}

// fileName puts the stacks' files in order.
func fileName(i int, s templates.Stack) string { return fmt.Sprintf("%02d-%s", i+1, s.Name) }

// parameter is an entry of a parameters file, as the AWS CLI takes them.
type parameter struct {
	ParameterKey   string
	ParameterValue string
}

func parametersFile(list []parameter) ([]byte, error) {
	if list == nil {
		list = []parameter{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(list)
	return b.Bytes(), err
}

// Names are the files' names, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.files)) }

// Foreign is the path of something in a folder that no export has written, or
// "". A folder that doesn't exist holds nothing.
func (s *Set) Foreign(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read folder %s: %w", dir, reason(err))
	}
	first, err := os.ReadFile(filepath.Join(dir, readme))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read %s: %w", filepath.Join(dir, readme), reason(err))
	}
	ours := bytes.HasPrefix(first, []byte(marker))
	for _, e := range entries {
		if !ours || !exported(e.Name()) {
			return filepath.Join(dir, e.Name()), nil
		}
	}
	return "", nil
}

// exported tells that a name is one that exports have.
func exported(name string) bool {
	return name == readme || name == stackPolicy || strings.HasSuffix(name, ".template.json") || strings.HasSuffix(name, ".parameters.json")
}

// Write writes the files into a folder, which it makes if need be. It returns
// the paths of files of an earlier export that this one doesn't have.
func (s *Set) Write(dir string) (stale []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder %s: %w", dir, reason(err))
	}
	for _, name := range s.Names() {
		if err := os.WriteFile(filepath.Join(dir, name), s.files[name], 0o644); err != nil {
			return nil, fmt.Errorf("write %s: %w", filepath.Join(dir, name), reason(err))
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read folder %s: %w", dir, reason(err))
	}
	for _, e := range entries {
		if _, current := s.files[e.Name()]; !current && exported(e.Name()) {
			stale = append(stale, filepath.Join(dir, e.Name()))
		}
	}
	return stale, nil
}

// reason is a file error without the path, which the caller names.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
