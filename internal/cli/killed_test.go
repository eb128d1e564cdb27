package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/poolhouse/poolhouse/internal/samplebundle"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
)

// killSeed is what the moments are drawn by at which transfers are killed. It is a
// package variable because the testing package parses flags before tests run; only tests
// link it.
var killSeed = flag.Uint64("seed", 1, "what the moments are drawn by at which transfers are killed")

const (
	kills = 5 // of each kind of transfer
	mebi  = 1 << 20
)

// victims are command lines of one sandbox with a deployment.
type victims struct {
	t   *testing.T
	env []string
	dir string
}

// command is a command line in an environment, of which later variables count.
func (v *victims) command(env []string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	cmd = exec.Command("poolhouse", args...)
	cmd.Env, cmd.Dir = append(slices.Clone(v.env), env...), v.dir
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// run runs one to its end.
func (v *victims) run(t *testing.T, env []string, args ...string) (stdout string) {
	t.Helper()
	cmd, o, e := v.command(env, args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("poolhouse %s: %v\n%s%s", strings.Join(args, " "), err, o, e)
	}
	return o.String()
}

// signalled runs a command that is sent a signal from elsewhere, at the earliest when it
// runs.
func signalled(cmd *exec.Cmd) (send func(os.Signal), run func() error) {
	started := make(chan struct{})
	send = func(s os.Signal) {
		<-started
		_ = cmd.Process.Signal(s) // it may be gone
	}
	run = func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		close(started)
		return cmd.Wait()
	}
	return send, run
}

// killed runs one that is killed by what it is handed as do, at a moment of its work.
func (v *victims) killed(t *testing.T, env []string, arrange func(do func()), args ...string) {
	t.Helper()
	cmd, o, e := v.command(env, args...)
	send, run := signalled(cmd)
	dead := make(chan struct{})
	arrange(func() {
		send(os.Kill)
		<-dead // nothing else of it gets through
	})
	err := run()
	close(dead)
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if status, is := cmd.ProcessState.Sys().(syscall.WaitStatus); !is || status.Signal() != syscall.SIGKILL {
		t.Fatalf("poolhouse %s was not killed: %v\n%s%s", strings.Join(args, " "), err, o, e)
	}
}

// TestKilledTransfers kills the command line by SIGKILL while it pushes a checkpoint and
// images, and while it pulls images for a bundle, at moments that the seed draws. The same
// command goes on then, and sends again at most what was on its way, as is counted where
// it arrives.
func TestKilledTransfers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"s3", "registry"} {
		server.Program(t, name)
	}
	t.Logf("the moments are drawn by -seed %d", *killSeed)
	v := &victims{t: t, dir: t.TempDir()}
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "evaluation.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(v.dir, "deployment.yaml"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	e, env := serveSandbox(t, "--without", "postgres,oidc,kubernetes", "--for", filepath.Join(v.dir, "deployment.yaml"))
	v.env = append(env, "TMPDIR="+v.dir)
	create, o, said := v.command(nil, "create", "-y", "deployment.yaml")
	// The Kubernetes API is not there to be reached.
	if err := create.Run(); err != nil && create.ProcessState.ExitCode() != 3 {
		t.Fatalf("create: %v\n%s%s", err, o, said)
	}
	t.Run("models", func(t *testing.T) { v.models(t, e) })
	t.Run("images", func(t *testing.T) { v.images(t, e) })
}

// interrupted interrupts a command at a moment of its work, which it says, and how to go
// on; nothing has failed.
func (v *victims) interrupted(t *testing.T, env []string, arrange func(do func()), what string, args ...string) {
	t.Helper()
	for _, form := range [][]string{nil, {"-o", "json"}} {
		args := slices.Concat(args[:2], form, args[2:])
		cmd, o, e := v.command(env, args...)
		var once sync.Once
		send, run := signalled(cmd)
		arrange(func() { once.Do(func() { send(os.Interrupt) }) })
		err := run()
		text := strings.Join(strings.Fields(e.String()), " ")
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(text, what) || strings.Contains(text, "failed") || strings.Contains(text, "canceled") || !strings.Contains(text, ": poolhouse "+args[0]+" push ") {
			t.Errorf("poolhouse %s: %v\n%s%s", strings.Join(args, " "), err, o, e)
		}
	}
}

func (v *victims) models(t *testing.T, e servedSandbox) {
	const size = 30*mebi + 17*mebi + 1000 // in parts of 8 MiB
	if err := tarFiles(filepath.Join(v.dir, "m.tar"), fmt.Sprint("a=", 30*mebi), fmt.Sprint("b=", 17*mebi), "c=1000"); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	door := server.NewDoor(t, at.Host)
	env := []string{"AWS_ENDPOINT_URL=" + door.URL}
	writes := func(r *http.Request) bool {
		return r.Method != http.MethodGet && r.Method != http.MethodHead && strings.Contains(r.URL.Path, "/checkpoints/")
	}
	// taken are the bytes of files that were taken, and whether the marker was.
	taken := func(entries []server.Entry) (n int64, marked bool) {
		for _, e := range entries {
			switch {
			case e.Method != http.MethodPut || e.Status != http.StatusOK || !strings.Contains(e.URL.Path, "/models/checkpoints/"):
			case strings.HasSuffix(e.URL.Path, "/.checkpoint-complete"):
				marked = true
			default:
				n += e.Bytes
			}
		}
		return n, marked
	}
	push := func(name string) []string {
		return []string{"models", "push", "-f", "deployment.yaml", "--name", name, "m.tar"}
	}
	v.run(t, env, push("whole")...)
	entries := door.Take()
	calls := 0
	for _, e := range entries {
		if writes(&http.Request{Method: e.Method, URL: e.URL}) {
			calls++
		}
	}
	// Two uploads begun and ended, seven parts, a small file, record and marker.
	if n, marked := taken(entries); n != size || !marked || calls != 2+2+7+1+2 {
		t.Fatalf("%d bytes of %d were taken, by %d calls that write", n, size, calls)
	}
	v.interrupted(t, env, func(do func()) {
		door.CutOff(server.Cut{N: 3, Counts: writes, At: server.Within, Do: do, Spare: true})
	}, "interrupted; ", "models", "push", "-f", "deployment.yaml", "--name", "interrupted", "m.tar")
	door.Take()
	draw := rand.New(rand.NewPCG(*killSeed, 1))
	for i := range kills {
		name := fmt.Sprintf("m-%d", i)
		cut := server.Cut{N: draw.IntN(calls), Counts: writes, At: []server.Moment{server.Before, server.Within, server.After}[draw.IntN(3)]}
		where := fmt.Sprintf("-seed %d: killed %s call %d of %d that write", *killSeed, cut.At, cut.N, calls)
		v.killed(t, env, func(do func()) {
			cut.Do = do
			door.CutOff(cut)
		}, push(name)...)
		before, marked := taken(door.Take())
		type checkpoint struct {
			Name     string
			Complete bool
		}
		var list []checkpoint
		if err := json.Unmarshal([]byte(v.run(t, nil, "models", "list", "-f", "deployment.yaml", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		if found := slices.ContainsFunc(list, func(c checkpoint) bool { return c.Name == name && c.Complete }); found != marked {
			t.Errorf("%s: complete is %v", where, found)
		}
		v.run(t, env, push(name)...)
		again, _ := taken(door.Take())
		if again > size-before {
			t.Errorf("%s: %d bytes of %d were taken before, and %d after", where, before, size, again)
		}
		v.run(t, nil, "models", "verify", "-f", "deployment.yaml", name)
		t.Logf("%s: %d bytes before, %d after", where, before, again)
	}
}

// line passes connections on to an address, counts the bytes that go there, and may end
// all of them at one.
type line struct {
	net.Listener
	to   string
	busy server.Busy

	mu   sync.Mutex
	sent int64
	at   int64
	do   func() // nil when that is done
}

func openLine(t *testing.T, to string) *line {
	t.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: in, to: to}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			gone := l.busy.Begin()
			go func() {
				defer gone()
				l.carry(c)
			}()
		}
	}()
	return l
}

func (l *line) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}()
	_, _ = io.Copy(l.counting(to), from)
}

// counting counts what is written to a connection.
func (l *line) counting(to io.Writer) io.Writer {
	return writer(func(p []byte) (int, error) {
		n, err := to.Write(p)
		l.mu.Lock()
		l.sent += int64(n)
		do := l.do
		if l.sent < l.at {
			do = nil
		}
		if do != nil {
			l.do = nil
		}
		l.mu.Unlock()
		if do != nil {
			do()
		}
		return n, err
	})
}

// writer is a function as an [io.Writer].
type writer func([]byte) (int, error)

// Write implements [io.Writer].
func (w writer) Write(p []byte) (int, error) { return w(p) }

// take is how many bytes went there since it was last called. It waits until nobody is
// connected: what a process has written may arrive after its death.
func (l *line) take() int64 {
	l.busy.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.sent
	l.sent, l.do = 0, nil
	return n
}

// writeImages writes a bundle of three images for five platforms, with a layer of some
// size for each, by a seed.
func writeImages(t *testing.T, dir, tag string, size int, seed byte) {
	t.Helper()
	for n, image := range []string{"core-api", "web-assistant", "inference"} {
		programs := map[string][]byte{}
		for p, platform := range []string{"amd64", "arm64", "ppc64le", "riscv64", "s390x"} {
			programs[platform] = make([]byte, size)
			if _, err := rand.NewChaCha8([32]byte{seed, byte(n), byte(p)}).Read(programs[platform]); err != nil {
				t.Fatal(err)
			}
		}
		content, err := samplebundle.Layout(image, programs, samplebundle.Gzipped)
		if err != nil {
			t.Fatal(err)
		}
		for name, body := range content {
			if name == "index.json" {
				body = bytes.ReplaceAll(body, []byte(":"+samplebundle.Version), []byte(":"+tag))
			}
			to := filepath.Join(dir, "containers", image, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, body, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (v *victims) images(t *testing.T, e servedSandbox) {
	const (
		layer  = 600 << 10
		layers = 3 * 5
		// What goes to the registry besides layers: TLS, requests, manifests.
		beside = 512 << 10
	)
	resp, err := http.Get(e.CA)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close(), os.WriteFile(filepath.Join(v.dir, "ca.pem"), pem, 0o600)); err != nil {
		t.Fatal(err)
	}
	l := openLine(t, strings.TrimPrefix(e.Proxy, "http://"))
	straight := []string{"AWS_CA_BUNDLE=" + filepath.Join(v.dir, "ca.pem"), "HTTPS_PROXY=" + e.Proxy}
	env := []string{straight[0], "HTTPS_PROXY=http://" + l.Addr().String()}
	push := func(name string) []string { return []string{"images", "push", "-f", "deployment.yaml", name} }
	// left is how many bytes a push would send.
	left := func(name string) (n int64) {
		t.Helper()
		var plan struct{ SendBytes int64 }
		out := v.run(t, straight, append(push(name), "--dry-run", "-o", "json")...)
		if err := json.Unmarshal([]byte(out), &plan); err != nil {
			t.Fatal(err)
		}
		return plan.SendBytes
	}
	writeImages(t, filepath.Join(v.dir, "interrupted"), "interrupted", layer, 255)
	v.interrupted(t, env, func(do func()) {
		l.take()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.at, l.do = 2*layer, do
	}, "interrupted; what was sent stays, and no image can be seen that isn't whole", push("interrupted")...)
	draw := rand.New(rand.NewPCG(*killSeed, 2))
	for i := range kills {
		name := fmt.Sprintf("bundle-%d", i)
		writeImages(t, filepath.Join(v.dir, name), fmt.Sprintf("v%d", i), layer, byte(i))
		total := left(name)
		if total < layers*layer || total > (layers+2)*layer {
			t.Fatalf("%d bytes are to be sent", total)
		}
		at := draw.Int64N(total)
		where := fmt.Sprintf("-seed %d: killed after %d bytes of %d", *killSeed, at, total)
		l.take()
		v.killed(t, env, func(do func()) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.at, l.do = at, do
		}, push(name)...)
		before, missing := l.take(), left(name)
		// Four layers at most are on their way.
		if flying := before - (total - missing); flying > 4*(layer+layer/100)+beside || before < at {
			t.Errorf("%s: %d bytes came, and %d are missing", where, before, missing)
		}
		v.run(t, env, push(name)...)
		again := l.take()
		if again > missing+missing/50+beside {
			t.Errorf("%s: then %d bytes came, and %d were missing", where, again, missing)
		}
		if n := left(name); n != 0 {
			t.Errorf("%s: then %d bytes are missing", where, n)
		}
		v.run(t, straight, "images", "list", "-f", "deployment.yaml", name)
		t.Logf("%s: %d came before, %d were missing, %d came after", where, before, missing, again)
	}
}

// TestKilledPulls kills bundle build by SIGKILL while it pulls the layers of an image: the
// same command pulls those again that were on their way, and no other.
func TestKilledPulls(t *testing.T) {
	t.Parallel()
	t.Logf("the moments are drawn by -seed %d", *killSeed)
	d := newDistribution(t, "first")
	const layers, size = 12, 200 << 10
	v := &victims{t: t, dir: t.TempDir()}
	var digests, parts []string
	for n := range layers {
		body := make([]byte, size)
		if _, err := rand.NewChaCha8([32]byte{byte(n)}).Read(body); err != nil {
			t.Fatal(err)
		}
		d.stored["/v2/acme/core/blobs/"+sumOf(body)] = body
		digests = append(digests, fmt.Sprintf("%q", sumOf(body)))
		parts = append(parts, fmt.Sprintf(`{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": %q, "size": %d}`, sumOf(body), size))
	}
	config := fmt.Appendf(nil, `{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [%s]}}`, strings.Join(digests, ", "))
	d.stored["/v2/acme/core/blobs/"+sumOf(config)] = config
	d.tag("/v2/acme/core/manifests/v1", fmt.Appendf(nil, `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": %q, "size": %d}, "layers": [%s]}`,
		sumOf(config), len(config), strings.Join(parts, ", ")))
	var (
		mu   sync.Mutex
		got  map[string]int // how often each was asked for
		at   int
		kill func()
	)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest, is := strings.CutPrefix(r.URL.Path, "/v2/acme/core/blobs/")
		if !is || r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer good" {
			d.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		if got[digest]++; len(got) > at && kill != nil {
			do := kill
			kill = nil
			mu.Unlock()
			body, _ := d.has(r.URL.Path)
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
			do()
			panic(http.ErrAbortHandler)
		}
		mu.Unlock()
		d.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	door := server.NewDoor(t, strings.TrimPrefix(front.URL, "http://"))
	host := strings.TrimPrefix(door.URL, "http://")
	file := fmt.Appendf(nil, `{"auths": {%q: {"username": "user", "password": "first", "auth": "dXNlcjpmaXJzdA=="}}}`, host)
	if err := os.WriteFile(filepath.Join(v.dir, "config.json"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	v.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + v.dir, "DOCKER_CONFIG=" + v.dir}
	var want [32]byte
	draw := rand.New(rand.NewPCG(*killSeed, 3))
	for i := range kills + 1 {
		bundle := filepath.Join(v.dir, "b.tar")
		args := []string{"bundle", "build", "b.tar", "--name", "acme", "--version", "1", "--pull", host + "/acme/core:v1"}
		mu.Lock()
		got, at = map[string]int{}, draw.IntN(layers)
		mu.Unlock()
		if i > 0 { // the first is not killed
			where := fmt.Sprintf("-seed %d: killed when blob %d was asked for", *killSeed, at)
			v.killed(t, nil, func(do func()) {
				mu.Lock()
				defer mu.Unlock()
				kill = do
			}, args...)
			door.Part() // what is on its way is of the killed, and is asked for before this
			mu.Lock()
			there := map[string]bool{}
			for digest := range got {
				_, err := os.Stat(filepath.Join(bundle+".pulled", "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
				there[digest] = err == nil
			}
			begun := len(got)
			got = map[string]int{}
			mu.Unlock()
			if _, err := os.Stat(bundle); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: there is a bundle: %v", where, err)
			}
			flying := 0
			for _, whole := range there {
				if !whole {
					flying++
				}
			}
			// Eight are pulled side by side.
			if flying == 0 || flying > 8 {
				t.Errorf("%s: of %d that were begun %d are not there", where, begun, flying)
			}
			v.run(t, nil, args...)
			for digest, times := range got {
				if times != 1 || there[digest] {
					t.Errorf("%s: %s was there: %v, and was asked for %d times", where, digest, there[digest], times)
				}
			}
			if len(got) != layers+1-(begun-flying) {
				t.Errorf("%s: %d were pulled, of %d that were missing", where, len(got), layers+1-(begun-flying))
			}
			t.Logf("%s: of %d begun %d were on their way", where, begun, flying)
		} else {
			v.run(t, nil, args...)
		}
		body, err := os.ReadFile(bundle)
		if err := errors.Join(err, os.Remove(bundle), os.Remove(bundle+".sha256")); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		if i == 0 {
			want = sum
		}
		if sum != want {
			t.Errorf("the bundle %d is another one", i)
		}
		rest, err := filepath.Glob(filepath.Join(v.dir, "*b.tar*"))
		if err != nil || len(rest) > 0 {
			t.Errorf("left behind: %v, %v", rest, err)
		}
	}
}
