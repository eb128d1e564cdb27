package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/objects"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

// planes are the data planes of a sandbox: real servers that hold what its
// account's services hold.
type planes struct {
	objects *objects.Store
	log     *os.File
}

// open starts the data planes that are not left out, for an account that is kept
// in a folder, or "". One that there is no program for is left out too, and said
// to be.
func (p *planes) open(ctx context.Context, without []string, folder string, so *sandbox.Options, t *trouble, say io.Writer) error {
	if slices.Contains(without, objects.Plane) {
		return nil
	}
	program, err := plane.Program(ctx, objects.Plane, func(folder string) {
		fmt.Fprintf(say, "Building the data plane %s in %s, once.\n", objects.Plane, folder)
	})
	if err != nil {
		fmt.Fprintf(say, "S3's objects are in the account itself, up to 64 MiB each: %v. --without %s leaves this line out.\n", err, objects.Plane)
		return nil
	}
	o := plane.Options{Program: program, Hold: t.hold(fault.ServerS3)}
	if folder != "" {
		o.Dir = filepath.Join(folder, state.Planes, objects.Plane)
		if err := os.MkdirAll(filepath.Dir(o.Dir), 0o700); err != nil {
			return err
		}
		if p.log, err = os.OpenFile(o.Dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		o.Log = p.log
	}
	o.Died = func(err error) { fmt.Fprintf(say, "The data plane %v; it is started again.\n", err) }
	if p.objects, err = objects.Open(ctx, o); err != nil {
		return err
	}
	so.Objects = p.objects
	return nil
}

// sweep forgets what an account that was kept doesn't know of.
func (p *planes) sweep(ctx context.Context, a *account.Account) error {
	if p.objects == nil {
		return nil
	}
	var known map[string]bool
	err := a.Do(func(tx *account.Tx) error {
		tx.Reads()
		known = s3.Names(tx)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := p.objects.Sweep(ctx, known); err != nil {
		return fmt.Errorf("remove objects that no bucket has: %w", err)
	}
	return nil
}

func (p *planes) close() error {
	var err error
	if p.objects != nil {
		err = p.objects.Close()
	}
	if p.log != nil {
		err = errors.Join(err, p.log.Close())
	}
	return err
}

// servedPlane is a data plane that runs, as programs see it.
type servedPlane struct {
	Name    string `json:"name"`
	Process int    `json:"process"`
}

func (p *planes) served() []servedPlane {
	out := []servedPlane{}
	if p.objects != nil {
		out = append(out, servedPlane{objects.Plane, p.objects.Server().Process()})
	}
	return out
}

// printPlanes says which data planes run, for people.
func printPlanes(w io.Writer, list []servedPlane) {
	for _, s := range list {
		if s.Name == objects.Plane {
			fmt.Fprintf(w, "\nA server of its own, process %d, holds the objects of S3:\n\n  aws s3 cp FILE s3://BUCKET/\n", s.Process)
		}
	}
}
