package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/images"
	"github.com/poolhouse/poolhouse/sandbox/objects"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

// planes are the data planes of a sandbox: real servers that hold what its
// account's services hold.
type planes struct {
	objects *objects.Store
	images  *images.Store
	logs    []*os.File
}

// open starts the data planes that are not left out, for an account that is kept
// in a folder, or "". One that there is no program for is left out too, and said
// to be.
func (p *planes) open(ctx context.Context, without []string, folder string, so *sandbox.Options, t *trouble, say io.Writer) error {
	o, err := p.options(ctx, objects.Plane, objects.Plane, "S3's objects are in the account itself, up to 64 MiB each", without, folder, t, say)
	if err != nil {
		return err
	}
	if o != nil {
		if p.objects, err = objects.Open(ctx, *o); err != nil {
			return err
		}
		so.Objects = p.objects
	}
	if o, err = p.options(ctx, images.Plane, images.Program, "ECR has no registry: images can't be pushed or pulled", without, folder, t, say); err != nil || o == nil {
		return err
	}
	if p.images, err = images.Open(ctx, *o); err != nil {
		return err
	}
	so.Layers = p.images
	return nil
}

// options are those of a data plane; nil if it is left out, or if there is no
// program for it, and then what that means is said.
func (p *planes) options(ctx context.Context, name, program, otherwise string, without []string, folder string, t *trouble, say io.Writer) (*plane.Options, error) {
	if slices.Contains(without, name) {
		return nil, nil
	}
	path, err := plane.Program(ctx, program, func(folder string) {
		fmt.Fprintf(say, "Building the data plane %s in %s, once.\n", name, folder)
	})
	if err != nil {
		fmt.Fprintf(say, "%s: %v. --without %s leaves this line out.\n", otherwise, err, name)
		return nil, nil
	}
	o := &plane.Options{Program: path, Hold: t.hold(name), Died: func(err error) { fmt.Fprintf(say, "The data plane %v; it is started again.\n", err) }}
	if folder == "" {
		return o, nil
	}
	o.Dir = filepath.Join(folder, state.Planes, name)
	if err := os.MkdirAll(filepath.Dir(o.Dir), 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(o.Dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p.logs = append(p.logs, log)
	o.Log = log
	return o, nil
}

// sweep forgets what an account that was kept doesn't know of.
func (p *planes) sweep(ctx context.Context, a *account.Account) error {
	var bodies map[string]bool
	var layers []string
	err := a.Do(func(tx *account.Tx) error {
		tx.Reads()
		bodies, layers = s3.Names(tx), ecr.Digests(tx)
		return nil
	})
	if err != nil {
		return err
	}
	if p.objects != nil {
		if _, err := p.objects.Sweep(ctx, bodies); err != nil {
			return fmt.Errorf("remove objects that no bucket has: %w", err)
		}
	}
	if p.images != nil {
		if _, err := p.images.Sweep(ctx, layers); err != nil {
			return fmt.Errorf("remove layers that no repository has: %w", err)
		}
	}
	return nil
}

// registry is what docker pushes to and pulls from; nil if it is left out.
func (p *planes) registry(box *sandbox.Sandbox) (*images.Registry, error) {
	if p.images == nil {
		return nil, nil
	}
	return images.New(images.Options{Account: box.Account(), Call: box.Call, Get: func(r *http.Request, digest string) (*http.Response, error) {
		return p.images.Get(r.Context(), r.Method, digest, r.Header)
	}})
}

func (p *planes) close() error {
	var errs []error
	if p.objects != nil {
		errs = append(errs, p.objects.Close())
	}
	if p.images != nil {
		errs = append(errs, p.images.Close())
	}
	for _, l := range p.logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// servedPlane is a data plane that runs, as programs see it.
type servedPlane struct {
	Name    string `json:"name"`
	Process int    `json:"process"`
	// Addresses are where it answers the sandbox, by its own names.
	Addresses map[string]string `json:"addresses,omitempty"`
}

func (p *planes) served() []servedPlane {
	out := []servedPlane{}
	if p.objects != nil {
		out = append(out, planeOf(objects.Plane, p.objects.Server()))
	}
	if p.images != nil {
		out = append(out, planeOf(images.Plane, p.images.Server()))
	}
	return out
}

func planeOf(name string, s *plane.Server) servedPlane {
	return servedPlane{Name: name, Process: s.Process(), Addresses: s.Addresses()}
}

// running are all servers behind a sandbox at this moment.
func (p *playground) running() []servedPlane {
	out := p.planes.served()
	if p.visit.oidc != nil {
		out = append(out, planeOf("oidc", p.visit.oidc))
	}
	if p.databases != nil && p.databases.Server() != nil {
		out = append(out, planeOf("postgres", p.databases.Server()))
	}
	return out
}

// printPlanes says which data planes run, for people.
func printPlanes(w io.Writer, list []servedPlane) {
	for _, s := range list {
		switch s.Name {
		case objects.Plane:
			fmt.Fprintf(w, "\nA server of its own, process %d, holds the objects of S3:\n\n  aws s3 cp FILE s3://BUCKET/\n", s.Process)
		case images.Plane:
			fmt.Fprintf(w, "\nA server of its own, process %d, holds the layers of ECR's images.\n", s.Process)
		}
	}
}
