package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/rehearse"
)

// policyFile is the name of a policy's file in the folder of rehearse --record.
var policyFile = regexp.MustCompile(`^(operator|service-role)-([0-9]+)\.json$`)

// writePermissions writes policies and a listing of their lines into a folder,
// which it makes. Policies of an earlier rehearsal go.
func writePermissions(folder string, p *rehearse.Permissions) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make the folder for the policies: %w", err)
	}
	files, err := policyFiles(folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f.path); err != nil {
			return fmt.Errorf("remove an earlier rehearsal's policy: %w", err)
		}
	}
	for name, n := range map[string]*rehearse.Needed{"operator": &p.Operator, "service-role": p.ServiceRole} {
		if n == nil {
			continue
		}
		for i, d := range n.Policies {
			body, err := d.JSON()
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d.json", name, i+1)), body, 0o644); err != nil {
				return fmt.Errorf("write a policy: %w", err)
			}
		}
	}
	var listing bytes.Buffer
	view.Permissions(&listing, p)
	if err := os.WriteFile(filepath.Join(folder, "permissions.txt"), bytes.TrimLeft(listing.Bytes(), "\n"), 0o644); err != nil {
		return fmt.Errorf("write the listing: %w", err)
	}
	return nil
}

type policy struct {
	path, of string
	number   int
}

// policyFiles are the policies in a folder, in order.
func policyFiles(folder string) ([]policy, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("read the folder of policies: %w", err)
	}
	var out []policy
	for _, e := range entries {
		m := policyFile.FindStringSubmatch(e.Name())
		if m == nil || e.IsDir() {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		out = append(out, policy{filepath.Join(folder, e.Name()), m[1], n})
	}
	slices.SortFunc(out, func(a, b policy) int { return a.number - b.number })
	return out, nil
}

// readPolicies reads what [writePermissions] wrote.
func readPolicies(folder string) (*rehearse.Policies, error) {
	files, err := policyFiles(folder)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		return nil, &usageError{fmt.Errorf("--policies %s holds no operator-1.json: rehearse --record writes them", folder)}
	}
	if err != nil {
		return nil, err
	}
	p := &rehearse.Policies{}
	for _, f := range files {
		body, err := os.ReadFile(f.path)
		if err != nil {
			return nil, fmt.Errorf("read a policy: %w", err)
		}
		if f.of == "operator" {
			p.Operator = append(p.Operator, string(body))
		} else {
			p.ServiceRole = append(p.ServiceRole, string(body))
		}
	}
	return p, nil
}
