package images_test

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/images"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// target is a registry that is measured.
type target struct {
	address, user, password string
	// add makes a repository.
	add func(repository string)
}

// served is the sandbox's registry on a port, before the real one.
func served(b *testing.B) target {
	b.Helper()
	w := newWorldStored(b, openStore(b, plane.Options{Program: server.Program(b, "registry")}))
	front := httptest.NewServer(w.registry)
	b.Cleanup(front.Close)
	t := target{address: strings.TrimPrefix(front.URL, "http://")}
	login := images.ECR(w.clients)
	who, err := login(b.Context(), false)
	if err != nil {
		b.Fatal(err)
	}
	t.user, t.password = who.User, who.Password
	t.add = func(repository string) {
		testkit.MustCreate(b, w.box, ecr.TypeRepository, map[string]any{"RepositoryName": repository})
	}
	return t
}

// bounds has benchmarks fail where a push is slower, or takes more memory, than it may.
// It is a package variable because the testing package parses flags before tests run;
// only tests link it.
var bounds = flag.Bool("bounds", false, "benchmarks fail below the bounds of a push")

// margin is what a push may be below its bounds, so that the noise of a quiet machine
// does not matter.
const margin = 0.1

// BenchmarkPush sends the same layers to the same registry in several ways, by turns,
// and reports the median of each in MiB/s: a plain copy into files, the simplest client
// that sends from memory, crane, and a push as the command does it, with the bundle's
// reading before, of a folder and of an archive with its digest beside it. Crane takes no
// archive of a bundle: it is compared with its digest and unpacked for it. A push is to
// reach 0.8 of the simplest client, and not less than crane, in less than 256 MiB of
// memory. The registry is the real one, with nothing before it and as the sandbox has it.
func BenchmarkPush(b *testing.B) {
	size := int64(384)
	if *mebibytes > 0 {
		size = *mebibytes
	}
	const layers = 6
	l := newLarge(b, layers, size*mebi/layers-beginning, size*mebi/layers-beginning)
	dir := b.TempDir()
	layout := filepath.Join(dir, "containers", "large")
	l.write(b, layout, "acme/large:v1")
	packed := filepath.Join(b.TempDir(), "b.tar")
	if _, err := bundle.Build(b.Context(), packed, bundle.BuildOptions{Name: "large", Version: "1", Images: []string{layout}}); err != nil {
		b.Fatal(err)
	}
	b.Run("bare", func(b *testing.B) {
		s := openBare(b)
		l.measure(b, target{s.address, s.user, s.password, func(string) {}}, dir, layout, packed)
	})
	b.Run("sandbox", func(b *testing.B) { l.measure(b, served(b), dir, layout, packed) })
}

func (l *large) measure(b *testing.B, s target, dir, layout, packed string) {
	b.Helper()
	var (
		n     int
		peak  uint64
		turns testkit.Turns
	)
	repository := func(way string) string { return fmt.Sprintf("%s-%d", way, n) }
	push := func(way, from string) func() error {
		return func() error {
			most, err := testkit.Alone(b.Context(), alone{s.address, s.user, s.password, from, repository(way)})
			peak = max(peak, most)
			return err
		}
	}
	ways := map[string]func() error{
		"copy":         func() error { return copyAll(layout, filepath.Join(dir, "copy")) },
		"simplest":     func() error { return l.simplest(s, repository("simplest")) },
		"push":         push("push", dir),
		"push-archive": push("push-archive", packed),
	}
	crane := os.Getenv("POOLHOUSE_CRANE")
	if crane != "" {
		home := b.TempDir()
		config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, s.address, base64.StdEncoding.EncodeToString([]byte(s.user+":"+s.password)))
		if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
			b.Fatal(err)
		}
		run := func(name string, args ...string) error {
			c := exec.Command(name, args...)
			c.Env = append(os.Environ(), "DOCKER_CONFIG="+home)
			if text, err := c.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
			return nil
		}
		ways["crane"] = func() error { return run(crane, "push", layout, s.address+"/"+repository("crane")+":v1") }
		ways["crane-archive"] = func() error {
			to := b.TempDir()
			err := run("sh", "-c", `cd "$1" && sha256sum -c --quiet "$2.sha256" && tar -xf "$2" -C "$3"`, "sh", filepath.Dir(packed), filepath.Base(packed), to)
			if err == nil {
				err = run(crane, "push", filepath.Join(to, "containers", "large"), s.address+"/"+repository("crane-archive")+":v1")
			}
			return errors.Join(err, os.RemoveAll(to))
		}
	}
	for b.Loop() {
		for way := range ways {
			s.add(repository(way))
		}
		if err := turns.Round(float64(len(l.layers))*float64(l.size)/mebi, ways); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.Logf("%d MiB of memory, and rates:\n%s", peak>>20, &turns)
	for _, way := range turns.Names() {
		b.ReportMetric(turns.Rate(way), way+"-MiB/s")
	}
	b.ReportMetric(turns.Of("push", "copy"), "of-copy")
	b.ReportMetric(float64(peak>>20), "MiB")
	compare := func(way, other, unit string, bound float64) {
		is := turns.Of(way, other)
		b.ReportMetric(is, unit)
		b.Logf("%s has %.2f of the rate of %s, and should have %.2f", way, is, other, bound)
		if *bounds && is < bound*(1-margin) {
			b.Errorf("%s is too slow", way)
		}
	}
	compare("push", "simplest", "of-simplest", 0.8)
	if crane != "" {
		compare("push", "crane", "of-crane", 1)
		compare("push-archive", "crane-archive", "archive-of-crane", 1)
	} else if *bounds {
		b.Error("POOLHOUSE_CRANE names no program to compare with")
	}
	if *bounds && peak > 256*mebi {
		b.Errorf("a push took %d MiB of memory", peak>>20)
	}
}

// alone is a push by a process of its own, as crane is one: the sandbox's registry is in
// this one.
type alone struct{ Address, User, Password, From, Repository string }

// TestMain runs the tests, or a push.
func TestMain(m *testing.M) {
	testkit.Main(m, func(ctx context.Context, a alone) error { return a.push(ctx) })
}

// RoundTrip implements [http.RoundTripper]. The registry alone doesn't ask who calls, so
// that is said without being asked.
func (a alone) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(a.User, a.Password)
	return http.DefaultTransport.RoundTrip(r)
}

// push is what images push does.
func (a alone) push(ctx context.Context) error {
	client := registry.New(a.Address, &http.Client{Transport: a}, clock.Real{}, func(context.Context, bool) (registry.Credentials, error) {
		return registry.Credentials{User: a.User, Password: a.Password}, nil
	})
	g := &images.Registry{Client: client, Repositories: []images.Repository{{Name: a.Repository, Short: "large", There: true}}}
	c, err := bundle.Read(ctx, a.From, bundle.Options{Skim: true})
	if err != nil || len(c.Faults) > 0 {
		return errors.Join(err, c.Faults)
	}
	p, err := images.Prepare(ctx, g, c, false)
	if err != nil {
		return err
	}
	return p.Push(ctx, images.PushOptions{Clock: clock.Real{}})
}

// copyAll copies the files of a layout into another folder, and removes them again.
func copyAll(from, to string) error {
	err := os.MkdirAll(to, 0o755)
	blobs, globbed := filepath.Glob(filepath.Join(from, "blobs", "sha256", "*"))
	for _, name := range blobs {
		in, opened := os.Open(name)
		if err = errors.Join(err, opened); err != nil {
			break
		}
		out, made := os.Create(filepath.Join(to, filepath.Base(name)))
		if err = errors.Join(err, made); err == nil {
			_, err = io.Copy(out, in)
			err = errors.Join(err, out.Close())
		}
		err = errors.Join(err, in.Close())
	}
	return errors.Join(err, globbed, os.RemoveAll(to))
}

// simplest sends the layers from memory, four at a time, and no manifest.
func (l *large) simplest(s target, repository string) error {
	errs := make([]error, len(l.layers))
	room := make(chan struct{}, 4)
	done := make(chan struct{})
	for n := range l.layers {
		go func() {
			room <- struct{}{}
			errs[n] = l.sendSimply(s, repository, n)
			<-room
			done <- struct{}{}
		}()
	}
	for range l.layers {
		<-done
	}
	return errors.Join(errs...)
}

func (l *large) sendSimply(s target, repository string, n int) error {
	at := "http://" + s.address + "/v2/" + repository + "/blobs/uploads/"
	for _, step := range []struct {
		method string
		want   int
	}{{http.MethodPost, http.StatusAccepted}, {http.MethodPatch, http.StatusAccepted}, {http.MethodPut, http.StatusCreated}} {
		var body io.Reader
		if step.method == http.MethodPatch {
			body = l.layer(n)
		}
		req, err := http.NewRequest(step.method, at, body)
		if err != nil {
			return err
		}
		if body != nil {
			req.ContentLength = beginning + l.size
		}
		req.SetBasicAuth(s.user, s.password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode != step.want {
			return fmt.Errorf("%s answers %s", step.method, resp.Status)
		}
		if step.method == http.MethodPut {
			break
		}
		next, err := resp.Location()
		if err != nil {
			return err
		}
		if step.method == http.MethodPatch {
			query := next.Query()
			query.Set("digest", l.layers[n])
			next.RawQuery = query.Encode()
		}
		at = next.String()
	}
	return nil
}
