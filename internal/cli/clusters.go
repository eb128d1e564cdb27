package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/eks/controlplane"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

// openClusters has the account's clusters run Kubernetes, if its program is at
// hand or may be built; nil if not. What they hold is kept in the folder of the
// account, if it has one. Their nodes reach AWS by way of the visit, and databases by the
// addresses that are answered at dns.
func openClusters(ctx context.Context, a *app, box *sandbox.Sandbox, o sandboxOptions, v *visit, dns string) (*controlplane.Clusters, error) {
	if slices.Contains(o.entrance.without, controlplane.Plane) {
		return nil, nil
	}
	find := func(ctx context.Context) (string, error) {
		return plane.Program(ctx, controlplane.Plane, func(folder string) {
			fmt.Fprintf(a.Err, "Building Kubernetes in %s, once: that takes 10 minutes or more.\n", folder)
		})
	}
	if !o.kubernetes {
		program, err := plane.Found(controlplane.Plane)
		if err != nil {
			return nil, nil
		}
		find = func(context.Context) (string, error) { return program, nil }
	} else if _, err := find(ctx); err != nil {
		return nil, err
	}
	c := controlplane.Options{
		Account: box.Account(), AWS: box, Call: box.Call, Program: find, Report: func(err error) { fmt.Fprintln(a.Err, err) },
		Pods: func(ctx context.Context) (*controlplane.Pods, error) {
			program, err := plane.Find(ctx, "planes/"+controlplane.Plane, podsProgram, func(folder string) {
				fmt.Fprintf(a.Err, "Building what runs pods in %s, once.\n", folder)
			})
			if err != nil {
				return nil, err
			}
			return &controlplane.Pods{Program: program, Names: v.Names, Databases: dns, Authority: string(v.authority.PEM()), Region: box.Region()}, nil
		},
	}
	if o.state != "" {
		c.Dir = filepath.Join(o.state, state.Planes, controlplane.Plane)
	}
	if a.verbose {
		c.Log = a.Err
	}
	return controlplane.Run(ctx, c)
}

// podsProgram runs the processes of pods.
const podsProgram = "poolhouse-pods"

// printClusters says how to reach Kubernetes, for people.
func printClusters(w io.Writer) {
	fmt.Fprint(w, "\nClusters run Kubernetes, and pods whose images are in ECR:\n\n  aws eks update-kubeconfig --name CLUSTER\n")
}
