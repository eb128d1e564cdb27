package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// box is a sandbox in a process of its own, with a registry.
type box struct {
	t    *testing.T
	url  string
	env  []string
	host string // the registry's name, and where it answers without TLS
	near string
	way  *http.Transport // by the registry's name, with TLS
	end  func()
	pid  int // of the registry's server
}

// open starts a sandbox whose account is kept in a folder.
func open(t *testing.T, state string) *box {
	t.Helper()
	program := os.Getenv("POOLHOUSE")
	if program == "" || os.Getenv("POOLHOUSE_AWSCLI") == "" || os.Getenv("POOLHOUSE_PLANE_REGISTRY") == "" {
		t.Skip("POOLHOUSE, POOLHOUSE_AWSCLI or POOLHOUSE_PLANE_REGISTRY names no program: .ci/run images makes them")
	}
	c := exec.Command(program, "sandbox", "--listen", "127.0.0.1:0", "--speed", "1000", "--without", "s3,postgres", "--state", state, "-o", "json")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	b := &box{t: t}
	ended := false
	b.end = func() {
		if ended {
			return
		}
		ended = true
		if err := errors.Join(c.Process.Signal(os.Interrupt), c.Wait()); err != nil {
			t.Errorf("the sandbox ended: %v\n%s", err, &stderr)
		}
	}
	t.Cleanup(b.end)
	var e struct {
		URL         string `json:"endpoint"`
		Environment []struct{ Name, Value string }
		Proxy, CA   string
		Registry    struct{ Host, Address string }
		Planes      []struct {
			Name    string
			Process int
		}
	}
	if err := json.NewDecoder(out).Decode(&e); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	b.url, b.host, b.near, b.pid = e.URL, e.Registry.Host, e.Registry.Address, e.Planes[0].Process
	b.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_PAGER="}
	for _, v := range e.Environment {
		b.env = append(b.env, v.Name+"="+v.Value)
		if v.Name == "AWS_ENDPOINT_URL" {
			b.url = v.Value
		}
	}
	text, err := os.ReadFile(e.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	proxy, err := url.Parse(e.Proxy)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	b.way = &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(b.way.CloseIdleConnections)
	return b
}

// in is the sandbox as a part of a test has it.
func (b *box) in(t *testing.T) *box {
	c := *b
	c.t = t
	return &c
}

// aws runs the AWS CLI, and returns what it prints.
func (b *box) aws(env []string, args ...string) string {
	b.t.Helper()
	c := exec.CommandContext(b.t.Context(), os.Getenv("POOLHOUSE_AWSCLI"), append([]string{"--endpoint-url", b.url, "--output", "text"}, args...)...)
	c.Env = append(slices.Clone(b.env), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		b.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// user makes a user who may do some of ECR's actions, and returns the environment
// of its keys.
func (b *box) user(name, actions string) []string {
	b.t.Helper()
	b.aws(nil, "iam", "create-user", "--user-name", name)
	b.aws(nil, "iam", "put-user-policy", "--user-name", name, "--policy-name", "own", "--policy-document", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": [`+actions+`], "Resource": "*"}]}`)
	keys := strings.Fields(b.aws(nil, "iam", "create-access-key", "--user-name", name, "--query", "AccessKey.[AccessKeyId,SecretAccessKey]"))
	return []string{"AWS_ACCESS_KEY_ID=" + keys[0], "AWS_SECRET_ACCESS_KEY=" + keys[1]}
}

// as are crane's options for whom the environment names.
func (b *box) as(env []string) []crane.Option {
	b.t.Helper()
	return []crane.Option{crane.WithTransport(b.way), by2(b.aws(env, "ecr", "get-login-password"))}
}

func by2(password string) crane.Option {
	return crane.WithAuth(&authn.Basic{Username: "AWS", Password: password})
}

func wants(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v says nothing of %q", err, want)
		}
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func digestOf(t *testing.T, i interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := i.Digest()
	ok(t, err)
	return d.String()
}

// same pulls all of an image, and compares it with another.
func same(t *testing.T, ref string, want v1.Image, o ...crane.Option) {
	t.Helper()
	got, err := crane.Pull(ref, o...)
	ok(t, err)
	if digestOf(t, got) != digestOf(t, want) {
		t.Errorf("%s came back otherwise", ref)
	}
	layers, err := got.Layers()
	ok(t, err)
	for _, l := range layers {
		in, err := l.Compressed()
		ok(t, err)
		// Reading to the end compares with the digest.
		if _, err := io.Copy(io.Discard, in); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		ok(t, in.Close())
	}
}

// TestCrane has crane push, pull, copy, list and delete through the sandbox, with
// TLS by the registry's own name; refusals are those that ECR's users know.
func TestCrane(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	b := open(t, state)
	for _, r := range []string{"team/app", "copy", "frozen"} {
		b.aws(nil, "ecr", "create-repository", "--repository-name", r)
	}
	b.aws(nil, "ecr", "put-image-tag-mutability", "--repository-name", "frozen", "--image-tag-mutability", "IMMUTABLE")
	admin := b.as(nil)
	first, err := random.Image(1<<20, 3)
	ok(t, err)
	app := b.host + "/team/app"
	ok(t, crane.Push(first, app+":v1", admin...))
	ok(t, crane.Push(first, app+":v1", admin...))
	same(t, app+":v1", first, admin...)
	docker := mutate.ConfigMediaType(mutate.MediaType(first, types.DockerManifestSchema2), types.DockerConfigJSON)
	oci := mutate.ConfigMediaType(mutate.MediaType(first, types.OCIManifestSchema1), types.OCIConfigJSON)
	ok(t, crane.Push(docker, app+":docker", admin...))
	ok(t, crane.Push(oci, app+":oci", admin...))
	same(t, app+":oci", oci, admin...)
	ok(t, crane.Copy(app+":v1", b.host+"/copy:v1", admin...))
	same(t, b.host+"/copy@"+digestOf(t, first), first, admin...)
	tags, err := crane.ListTags(app, admin...)
	ok(t, err)
	if got := strings.Join(tags, " "); got != "docker oci v1" {
		t.Errorf("tags %s", got)
	}
	t.Run("index", func(t *testing.T) { b.in(t).index(t, app, admin) })
	t.Run("refusals", func(t *testing.T) { b.in(t).refusals(t, first, admin) })
	t.Run("principals", func(t *testing.T) { b.in(t).principals(t, first) })
	t.Run("without TLS", func(t *testing.T) {
		o := []crane.Option{by2(b.aws(nil, "ecr", "get-login-password"))}
		same(t, b.near+"/team/app:v1", first, o...)
		ok(t, crane.Push(first, b.near+"/team/app:near", o...))
	})

	ok(t, syscall.Kill(b.pid, syscall.SIGKILL))
	eventually(t, func() error {
		_, err := crane.Pull(app+":v1", admin...)
		if err != nil {
			return err
		}
		l, err := crane.PullLayer(app+"@"+layerOf(t, first), admin...)
		if err != nil {
			return err
		}
		in, err := l.Compressed()
		if err != nil {
			return err
		}
		return in.Close()
	})
	b.end()
	b = open(t, state)
	admin = b.as(nil)
	same(t, app+":v1", first, admin...)
	ok(t, crane.Delete(app+"@"+digestOf(t, oci), admin...))
	_, err = crane.Pull(app+":oci", admin...)
	wants(t, err, "MANIFEST_UNKNOWN", "Requested image not found")
	same(t, app+":v1", first, admin...)
}

func layerOf(t *testing.T, i v1.Image) string {
	t.Helper()
	layers, err := i.Layers()
	ok(t, err)
	return digestOf(t, layers[0])
}

// eventually waits for a server that is started again.
func eventually(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for range 1000 {
		if err = do(); err == nil {
			return
		}
	}
	t.Error(err)
}

func (b *box) index(t *testing.T, repository string, admin []crane.Option) {
	index, err := random.Index(1<<10, 1, 2)
	ok(t, err)
	ref, err := name.ParseReference(repository + ":index")
	ok(t, err)
	o := crane.GetOptions(admin...).Remote
	ok(t, remote.WriteIndex(ref, index, o...))
	got, err := remote.Index(ref, o...)
	ok(t, err)
	if digestOf(t, got) != digestOf(t, index) {
		t.Error("the index came back otherwise")
	}
	m, err := index.IndexManifest()
	ok(t, err)
	part := repository + "@" + m.Manifests[0].Digest.String()
	wants(t, crane.Delete(part, admin...), "Requested image referenced by manifest list")
	ok(t, crane.Delete(repository+"@"+digestOf(t, index), admin...))
	ok(t, crane.Delete(part, admin...))
}

func (b *box) refusals(t *testing.T, i v1.Image, admin []crane.Option) {
	other, err := random.Image(100, 1)
	ok(t, err)
	wants(t, crane.Push(i, b.host+"/none:v1", admin...), "NAME_UNKNOWN", "The repository with name 'none' does not exist in the registry with id '123456789012'")
	ok(t, crane.Push(i, b.host+"/frozen:v1", admin...))
	ok(t, crane.Push(i, b.host+"/frozen:v1", admin...))
	wants(t, crane.Push(other, b.host+"/frozen:v1", admin...), "TAG_INVALID", "The image tag 'v1' already exists in the 'frozen' repository and cannot be overwritten")
	_, err = crane.Pull(b.host+"/frozen:v2", admin...)
	wants(t, err, "MANIFEST_UNKNOWN")
	_, err = crane.Pull(b.host+"/frozen:v1", crane.WithTransport(b.way), crane.WithAuth(authn.Anonymous))
	wants(t, err, "401 Unauthorized")
	_, err = crane.Pull(b.host+"/frozen:v1", crane.WithTransport(b.way), by2("c2VjcmV0"))
	wants(t, err, "401 Unauthorized")
	distrustful := b.way.Clone()
	distrustful.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	defer distrustful.CloseIdleConnections()
	_, err = crane.Pull(b.host+"/frozen:v1", append(slices.Clone(admin), crane.WithTransport(distrustful))...)
	wants(t, err, "certificate signed by unknown authority")
	c := exec.CommandContext(context.Background(), os.Getenv("POOLHOUSE_AWSCLI"), "--endpoint-url", b.url, "ecr", "delete-repository", "--repository-name", "frozen")
	c.Env = b.env
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "RepositoryNotEmptyException") {
		t.Errorf("a full repository is deleted: %s, %v", out, err)
	}
}

// principals have their rights, those that a repository gives among them, and no
// more.
func (b *box) principals(t *testing.T, i v1.Image) {
	puller := b.as(b.user("puller", `"ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"`))
	nobody := b.as(b.user("nobody", `"ecr:GetAuthorizationToken"`))
	same(t, b.host+"/team/app:v1", i, puller...)
	other, err := random.Image(100, 1)
	ok(t, err)
	// Whether a layer is there they may not even ask.
	wants(t, crane.Push(other, b.host+"/team/app:other", puller...), "403 Forbidden")
	ref, err := name.ParseReference(b.host + "/team/app:other")
	ok(t, err)
	wants(t, remote.Put(ref, i, crane.GetOptions(puller...).Remote...), "DENIED", "User: arn:aws:iam::123456789012:user/puller is not authorized to perform: ecr:PutImage on resource: arn:aws:ecr:us-east-1:123456789012:repository/team/app because no identity-based policy allows the ecr:PutImage action")
	wants(t, crane.Delete(b.host+"/team/app:v1", puller...), "DENIED", "ecr:BatchDeleteImage")
	_, err = crane.Pull(b.host+"/team/app:v1", nobody...)
	wants(t, err, "DENIED", "user/nobody is not authorized to perform: ecr:BatchGetImage")
	b.aws(nil, "ecr", "set-repository-policy", "--repository-name", "team/app", "--policy-text", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/nobody"}, "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]}]}`)
	same(t, b.host+"/team/app:v1", i, nobody...)
	_, err = crane.Pull(b.host+"/copy:v1", nobody...)
	wants(t, err, "DENIED")
}
