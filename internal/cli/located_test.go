package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
	"github.com/poolhouse/poolhouse/internal/testkit/repositories"
)

// withRegistry is a deployment whose repositories are there and empty, in a sandbox.
func withRegistry(t *testing.T) deploy.Target {
	t.Helper()
	r := repositories.Open(t, filepath.Join("..", "..", "examples", "evaluation.yaml"), repositories.Options{})
	return deploy.Target{Architecture: r.Architecture, AWS: r.Clients(t, r)}
}

// TestL29NothingIsInstalledWithoutItsImages renders charts whose images the registry has
// not: each is named with its place, and nothing is installed. Once it has them they are
// pulled by digest. An image that the bundle has not is refused then too.
func TestL29NothingIsInstalledWithoutItsImages(t *testing.T) {
	t.Parallel()
	target, dir := withRegistry(t), t.TempDir()
	sample := filepath.Join(dir, "sample.tar.gz")
	o, err := samplebundle.Write(filepath.Join(dir, "sources"), samplebundle.Stub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Build(t.Context(), sample, o); err != nil {
		t.Fatal(err)
	}
	contents, err := bundle.Read(t.Context(), sample, bundle.Options{})
	if err != nil || len(contents.Faults) > 0 {
		t.Fatal(err, contents.Faults)
	}
	// prepare renders two releases with these images, and returns what was asked for.
	prepare := func(names ...string) (list []cluster.Release, asked string, err error) {
		t.Helper()
		var rendered []string
		for n, name := range names {
			rendered = append(rendered, fmt.Sprintf(`{"name": "r%d", "namespace": "poolside", "images": [{"image": %q, "place": "release r%d, Deployment d, container c"}]}`, n, name, n))
			list = append(list, cluster.Release{Name: fmt.Sprintf("r%d", n), Namespace: "poolside"})
		}
		program, log := filepath.Join(t.TempDir(), "program"), filepath.Join(t.TempDir(), "log")
		text := "#!/bin/sh\nread line\ncase $line in\n" +
			`*'"operation":"status"'*) echo status >>'` + log + `'; echo '{"result": []}' ;;` + "\n" +
			`*'"operation":"render"'*) echo render >>'` + log + `'; echo '{"result": [` + strings.Join(rendered, ", ") + `]}' ;;` + "\n" +
			`*) echo "other: $line" >>'` + log + `' ;;` + "\nesac\n"
		if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err = prepared(t.Context(), target, "deployment.yaml", contents, list, cluster.Releases{Program: program})
		said, lost := os.ReadFile(log)
		if lost != nil {
			t.Fatal(lost)
		}
		return list, strings.Join(strings.Fields(string(said)), " "), err
	}
	refused := func(err error, asked string, want ...string) {
		t.Helper()
		var faulty *bundleError
		if !errors.As(err, &faulty) || len(faulty.faults) != len(want) || asked != "status render" {
			t.Fatalf("%v, after %q; want the faults %q, and no more asked for", err, asked, want)
		}
		for n, w := range want {
			f := faulty.faults[n]
			if got := f.Place + ": " + f.Reason; !strings.HasPrefix(got, w) || f.Fix == "" {
				t.Errorf("%+v, want %s", f, w)
			}
		}
	}
	place := func(n int) string { return fmt.Sprintf("release r%d, Deployment d, container c: names the image ", n) }
	core, web := samplebundle.Name("core-api"), samplebundle.Name("web-assistant")
	_, asked, err := prepare(core, web)
	refused(err, asked, place(0)+core+", which ", place(1)+web+", which ")

	g, err := images.Open(t.Context(), target.Architecture, target.AWS)
	if err != nil {
		t.Fatal(err)
	}
	p, err := images.Prepare(t.Context(), g, contents, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Push(t.Context(), images.PushOptions{Clock: clock.Real{}}); err != nil {
		t.Fatal(err)
	}
	list, asked, err := prepare(core, web)
	if err != nil || asked != "status render render" {
		t.Fatalf("%v, after %q", err, asked)
	}
	for n, name := range []string{core, web} {
		if at := list[n].Images[name]; len(list[n].Images) != 1 || !strings.Contains(at, ".dkr.ecr.") || !strings.Contains(at, "@sha256:") {
			t.Errorf("release %d pulls %v", n, list[n].Images)
		}
	}
	_, asked, err = prepare(core, "poolhouse-sample/none:v1")
	refused(err, asked, place(1)+"poolhouse-sample/none:v1, which is not in the bundle")
}
