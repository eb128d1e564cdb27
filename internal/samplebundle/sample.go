// Package samplebundle makes the sources of a bundle of our own, without Docker:
// static Go programs as images in the formats that there are, two charts, a
// script; and stand-ins for charts of others that these may need. It is for tests,
// rehearsals and demonstrations; nothing in it is the vendor's. The same programs give the same bytes.
//
// Images are written here and not by go-containerregistry: the program makes the sample
// for its rehearsals, and would link that module for a few JSON documents and a tar.
package samplebundle

import (
	"archive/tar"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/poolhouse/poolhouse/bundle"
)

//go:embed files
var files embed.FS

// Version is that of the sample's images.
const Version = "v1.0.0"

// Program returns the program that an image runs on Linux, for an architecture.
type Program func(architecture string) ([]byte, error)

// Stub is a program that runs nowhere, for tests that look at bytes alone.
func Stub(architecture string) ([]byte, error) {
	return bytes.Repeat([]byte("not a program, for "+architecture+"\n"), 64), nil
}

// Build compiles the program that answers, static, with the go command. The
// working folder has to lie in this module.
func Build(architecture string) ([]byte, error) {
	return compile("github.com/poolhouse/poolhouse/internal/samplebundle/program", architecture)
}

func compile(command, architecture string) (program []byte, err error) {
	dir, err := os.MkdirTemp("", "poolhouse-sample-")
	if err != nil {
		return nil, fmt.Errorf("build the sample's program: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture)
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the sample's program: %w: %s", err, said)
	}
	return os.ReadFile(out)
}

// Write writes the sources of a bundle into a folder, which must be empty or not
// exist, and returns what makes a bundle of them.
func Write(dir string, program Program) (o bundle.BuildOptions, err error) {
	o = bundle.BuildOptions{Name: "sample", Version: "1.0.0", Checkpoints: []bundle.Checkpoint{{Name: "sample-1.0", File: "sample-1.0.tar"}}}
	platform := filepath.Join(dir, "sample-platform")
	if err := unpack("files/charts/sample-platform", platform); err != nil {
		return o, err
	}
	if err := unpack("files/scripts", filepath.Join(dir, "scripts")); err != nil {
		return o, err
	}
	packed, err := pack("files/charts/sample-inference", "sample-inference")
	if err != nil {
		return o, err
	}
	inference := filepath.Join(dir, "sample-inference-1.0.0.tgz")
	if err := write(inference, packed); err != nil {
		return o, err
	}
	programs := map[string][]byte{}
	for _, a := range []string{"amd64", "arm64"} {
		if programs[a], err = program(a); err != nil {
			return o, err
		}
	}
	images := []struct {
		file string
		make func() (map[string][]byte, error)
	}{
		{"core-api.tar", func() (map[string][]byte, error) { return Saved("core-api", programs["amd64"]) }},
		{"web-assistant.tar", func() (map[string][]byte, error) { return Layout("web-assistant", programs, Gzipped) }},
		{"inference", func() (map[string][]byte, error) { return Layout("inference", programs, Zstandard) }},
	}
	for _, i := range images {
		content, err := i.make()
		if err != nil {
			return o, err
		}
		at := filepath.Join(dir, i.file)
		if o.Images = append(o.Images, at); path.Ext(i.file) == "" {
			for name, body := range content {
				if err := write(filepath.Join(at, filepath.FromSlash(name)), body); err != nil {
					return o, err
				}
			}
			continue
		}
		body, err := Tar(content)
		if err != nil {
			return o, err
		}
		if err := write(at, body); err != nil {
			return o, err
		}
	}
	o.Charts = []string{platform, inference}
	o.Scripts = []string{filepath.Join(dir, "scripts", "status.sh")}
	return o, nil
}

// Prerequisites writes the stand-ins of charts that others stand on into a folder, and
// adds them, with the images that they run on some architectures, to what makes a bundle.
// What they are for the sandbox does while they are installed.
func Prerequisites(dir string, program Program, o *bundle.BuildOptions, architectures ...string) error {
	for _, name := range standIns {
		if err := standIn(dir, name, name, program, o, architectures); err != nil {
			return err
		}
	}
	return nil
}

// DevicePlugin is [Prerequisites] of what model servers stand on, on GPU nodes: NVIDIA's
// device plugin.
func DevicePlugin(dir string, program Program, o *bundle.BuildOptions, architectures ...string) error {
	return standIn(dir, devicePlugin, "k8s-device-plugin", program, o, architectures)
}

// ClusterAutoscaler is [Prerequisites] of node groups that grow with their pods.
func ClusterAutoscaler(dir string, program Program, o *bundle.BuildOptions, architectures ...string) error {
	const name = "cluster-autoscaler"
	return standIn(dir, name, name, program, o, architectures)
}

func standIn(dir, chart, image string, program Program, o *bundle.BuildOptions, architectures []string) error {
	programs := map[string][]byte{}
	for _, a := range architectures {
		var err error
		if programs[a], err = program(a); err != nil {
			return err
		}
	}
	at := filepath.Join(dir, chart)
	if err := unpack("files/charts/"+chart, at); err != nil {
		return err
	}
	content, err := Layout(image, programs, Gzipped)
	if err != nil {
		return err
	}
	body, err := Tar(content)
	if err != nil {
		return err
	}
	if err := write(at+".tar", body); err != nil {
		return err
	}
	o.Charts, o.Images = append(o.Charts, at), append(o.Images, at+".tar")
	return nil
}

func write(name string, body []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("write the sample: %w", err)
	}
	if err := os.WriteFile(name, body, 0o644); err != nil {
		return fmt.Errorf("write the sample: %w", err)
	}
	return nil
}

// unpack writes a folder of the sample to disk.
func unpack(from, to string) error {
	sub, err := fs.Sub(files, from)
	if err != nil {
		return fmt.Errorf("read the sample: %w", err)
	}
	return copyTo(to, sub)
}

func copyTo(to string, from fs.FS) error {
	if err := os.CopyFS(to, from); err != nil {
		return fmt.Errorf("write the sample: %w", err)
	}
	return nil
}

// pack makes a packed chart of a folder of the sample.
func pack(from, top string) ([]byte, error) {
	content := map[string][]byte{}
	err := fs.WalkDir(files, from, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		content[path.Join(top, name[len(from):])] = body
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pack a chart of the sample: %w", err)
	}
	body, err := Tar(content)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err = z.Write(body)
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
}

// Tar is an archive of files by name, sorted, of no time.
func Tar(content map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, name := range names(content) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content[name])), Mode: 0o755, ModTime: time.Unix(0, 0)}
		if err := t.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		if _, err := t.Write(content[name]); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	err := t.Close()
	return b.Bytes(), err
}
