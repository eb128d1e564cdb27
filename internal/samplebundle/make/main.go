// Command make makes the sample bundle, or with -platform that of the charts of ours. Run
// it at the top of the repository:
//
//	go run ./internal/samplebundle/make sample.tar.gz
//	go run ./internal/samplebundle/make -platform -roots roots.pem platform.tar.gz
//
// With -gpu the stand-in of NVIDIA's device plugin is in it, for GPU nodes of a sandbox,
// with -autoscaler that of the cluster autoscaler.
// Roots are the authorities that the platform's programs trust: public ones and those of
// https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem on AWS, and ca.pem of
// a sandbox in a sandbox.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	f := flag.NewFlagSet("make", flag.ContinueOnError)
	platform := f.Bool("platform", false, "make the platform's bundle")
	gpu := f.Bool("gpu", false, "add a stand-in of NVIDIA's device plugin")
	autoscaler := f.Bool("autoscaler", false, "add a stand-in of the cluster autoscaler")
	roots := f.String("roots", "", "file of the certificates that the platform's programs trust, in PEM")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 || *platform != (*roots != "") {
		return errors.New("make takes the name of the bundle, and with -platform also -roots: go run ./internal/samplebundle/make sample.tar.gz")
	}
	dir, err := os.MkdirTemp("", "poolhouse-sample-")
	if err != nil {
		return fmt.Errorf("make the sample bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o, err := write(dir, *platform, *roots)
	if err != nil {
		return err
	}
	if err := samplebundle.Prerequisites(dir, samplebundle.Build, &o, "amd64", "arm64"); err != nil {
		return err
	}
	if *gpu {
		if err := samplebundle.DevicePlugin(dir, samplebundle.Build, &o, "amd64", "arm64"); err != nil {
			return err
		}
	}
	if *autoscaler {
		if err := samplebundle.ClusterAutoscaler(dir, samplebundle.Build, &o, "amd64", "arm64"); err != nil {
			return err
		}
	}
	made, err := bundle.Build(context.Background(), f.Arg(0), o)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d files, %d bytes\n", made.Path, made.Files, made.Size)
	return nil
}

func write(dir string, platform bool, roots string) (bundle.BuildOptions, error) {
	if !platform {
		return samplebundle.Write(dir, samplebundle.Build)
	}
	pem, err := os.ReadFile(roots)
	if err != nil {
		return bundle.BuildOptions{}, fmt.Errorf("read the certificates that programs trust: %w", err)
	}
	return samplebundle.WritePlatform(dir, samplebundle.BuildPlatform, pem, "amd64", "arm64")
}
