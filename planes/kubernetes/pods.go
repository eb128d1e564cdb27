package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/planes/kubernetes/image"
	"github.com/poolhouse/poolhouse/planes/kubernetes/podspec"
	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// Pods is what it takes to run the processes of pods.
type Pods struct {
	// Program is the path of poolhouse-pods, which runs them.
	Program string `json:"program"`
	// Names is a loopback address that leads on by the name that a TLS connection
	// asks for: of registries, of AWS. Authority, as PEM, signed what answers there.
	Names     string `json:"names"`
	Authority string `json:"authority"`
	// Databases is where DNS answers with the loopback addresses of database
	// instances; empty if pods reach none.
	Databases string `json:"databases,omitempty"`
	// Region is AWS's.
	Region string `json:"region"`
}

func (p Pods) check() error {
	var errs []error
	for name, v := range map[string]string{"program": p.Program, "address of names": p.Names, "authority": p.Authority, "region": p.Region} {
		if v == "" {
			errs = append(errs, fmt.Errorf("pods need a %s", name))
		}
	}
	return errors.Join(errs...)
}

// dns is the address of the cluster's DNS: the tenth of the range of services.
// https://docs.aws.amazon.com/eks/latest/userguide/coredns-add-on-self-managed-update.html
func (c Config) dns() (netip.Addr, error) {
	p, err := netip.ParsePrefix(c.Services)
	if err != nil {
		return netip.Addr{}, err
	}
	ip := p.Masked().Addr()
	for range 10 {
		ip = ip.Next()
	}
	return ip, nil
}

// pods are the images and processes of all nodes.
type pods struct {
	cannot    string // why there are none, ""
	processes *process.Runtime
	images    *image.Store
	way       *http.Transport // to registries
	login     *Webhook        // who knows the nodes' passwords; nil asks as nobody
}

// openPods opens them in the working directory. Where none can run, what it
// returns says so.
func openPods(ctx context.Context, c Config) (*pods, error) {
	if c.Pods == nil {
		return &pods{cannot: podspec.Because + "this cluster was started without what runs pods"}, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	p := &pods{login: c.Webhook}
	if p.processes, err = process.New(ctx, process.Options{Dir: filepath.Join(wd, "processes"), Program: c.Pods.Program, Log: os.Stderr}); err != nil {
		return nil, fmt.Errorf("run pods: %w", err)
	}
	if err := p.processes.Can(); err != nil {
		return &pods{cannot: err.Error()}, p.processes.Close()
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.Pods.Authority)) {
		return nil, errors.Join(errors.New("read the authority of registries: no certificate is in it"), p.processes.Close())
	}
	p.way = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, c.Pods.Names)
		},
	}
	if p.images, err = image.New(image.Options{Dir: filepath.Join(wd, "images"), Transport: p.way, Login: p.signIn}); err != nil {
		return nil, errors.Join(fmt.Errorf("keep images: %w", err), p.processes.Close())
	}
	return p, nil
}

func (p *pods) close() error {
	if p.processes == nil {
		return nil
	}
	p.way.CloseIdleConnections()
	return p.processes.Close()
}

// nodeKey is what a context carries the name of the node by that asks.
type nodeKey struct{}

// nodeImages are the images as a node gets them.
type nodeImages struct {
	pods *pods
	node string
}

func (p *pods) of(node string) nodeImages { return nodeImages{p, node} }

// context names the node in what is done for it.
func (n nodeImages) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, nodeKey{}, n.node)
}

// manifests are those that runtimes take.
// https://github.com/opencontainers/image-spec/blob/main/media-types.md
const manifests = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// allowed asks the registry for an image's manifest, as the node.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
func (n nodeImages) allowed(ctx context.Context, reference string) error {
	registry, path, ok := strings.Cut(reference, "/")
	if !ok || !strings.ContainsAny(registry, ".:") {
		return fmt.Errorf("%s names no registry, and the sandbox has ECR's alone", reference)
	}
	repository, version, pinned := strings.Cut(path, "@")
	if !pinned {
		if repository, version, ok = strings.Cut(path, ":"); !ok {
			version = "latest"
		}
	} else {
		repository, _, _ = strings.Cut(repository, ":")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+registry+"/v2/"+repository+"/manifests/"+version, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", manifests)
	user, password, err := n.pods.signIn(n.context(ctx), registry)
	if err != nil {
		return err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := n.pods.way.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusOK {
		return nil
	}
	var refused struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(text, &refused) == nil && len(refused.Errors) > 0 {
		return fmt.Errorf("%s: %s", refused.Errors[0].Code, refused.Errors[0].Message)
	}
	return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(text))
}

// mostAnswer is how much of an answer is read.
const mostAnswer = 4 << 20

// signIn is how the node of a context signs in to a registry. The sandbox knows,
// for ECR's; to others it goes as nobody.
func (p *pods) signIn(ctx context.Context, registry string) (user, password string, err error) {
	node, _ := ctx.Value(nodeKey{}).(string)
	if p.login == nil || node == "" || !strings.Contains(registry, ".dkr.ecr.") {
		return "", "", nil
	}
	body, err := json.Marshal(map[string]string{"node": node})
	if err != nil {
		return "", "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.login.Authority))
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.login.URL+"/login", bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Authorization", "Bearer "+p.login.Token)
	res, err := (&http.Client{Transport: way, Timeout: time.Minute}).Do(req)
	if err != nil {
		return "", "", fmt.Errorf("sign in to %s: %w", registry, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	if err != nil {
		return "", "", fmt.Errorf("sign in to %s: %w", registry, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("sign in to %s: %s", registry, bytes.TrimSpace(text))
	}
	var out struct{ User, Password string }
	if err := json.Unmarshal(text, &out); err != nil {
		return "", "", fmt.Errorf("sign in to %s: %w", registry, err)
	}
	return out.User, out.Password, nil
}
