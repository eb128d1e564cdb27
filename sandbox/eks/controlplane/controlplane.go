// Package controlplane has the clusters of an account run Kubernetes: a control
// plane of its own stands behind the endpoint of each, which package plane runs.
//
// Invariants: the account is the authority. What clusters, node groups and access
// entries are is looked at again and again, and brought about behind: a control
// plane starts when its cluster is being created and ends with it; instances of
// node groups are nodes for as long as they are there; who shows a token of EKS
// is asked of STS, and what access policies allow is asked of EKS, at each
// request. What controllers in a cluster make in AWS, package controllers makes.
// A node pulls images as its role may.
//
// Limits: those of the module planes/kubernetes, whose version all clusters have,
// whatever theirs is. The account is followed some tenths of a second behind.
// Kubernetes itself goes by the wall's clock. ConfigMaps aws-auth are not read, and
// identity providers that are associated with clusters not asked.
package controlplane

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/eks/controllers"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Plane is the name of the data plane, see [plane.Program].
const Plane = "kubernetes"

// How often the account is looked at, nodes even if nothing changed, and what the
// cluster's controllers watch: they act on a change within tenths of a second.
const (
	lookEvery = 200 * time.Millisecond
	askEvery  = 2 * time.Second
	actEvery  = 500 * time.Millisecond
)

// A control plane that can't start is tried again after a pause, which grows.
const (
	firstPause = time.Second
	mostPause  = time.Minute
)

// readyWithin is how long a control plane may take to answer: seconds, but on a
// machine that is busy.
const readyWithin = 5 * time.Minute

// keyBits is the length of the keys that sign tokens, EKS's own.
const keyBits = 2048

// Options describe the control planes.
type Options struct {
	// Account is whose clusters they are, and AWS answers its requests: of STS.
	Account *account.Account
	AWS     http.Handler
	// Program finds that of the data plane [Plane]. It is asked once there is a
	// cluster.
	Program func(context.Context) (string, error)
	// Dir keeps what the clusters hold; "" means folders that go with them.
	Dir string
	// Log takes the control planes' logs. May be nil.
	Log io.Writer
	// Pods finds what runs pods; nil has none run. Call carries out an operation for
	// a node, or for a role of a service account.
	Pods func(context.Context) (*Pods, error)
	Call func(r *http.Request, by wire.Credential, service, operation string, in map[string]any, body io.Reader) (*wire.Raw, error)
	// Report is told of what can't be brought about, once for as long as it can't.
	// It must be safe for concurrent use.
	Report func(error)
}

// Pods is what it takes to run the processes of pods.
type Pods struct {
	// Program is the path of poolhouse-pods.
	Program string `json:"program"`
	// Names is a loopback address that leads on by the name that a TLS connection
	// asks for, and Authority, as PEM, signed what answers there.
	Names     string `json:"names"`
	Authority string `json:"authority"`
	// Databases is where DNS answers with the loopback addresses of database
	// instances; empty if pods reach none.
	Databases string `json:"databases,omitempty"`
	Region    string `json:"region"`
}

// Clusters are the control planes of an account. They are safe for concurrent
// use.
type Clusters struct {
	opts Options
	hook *http.Server // that the control planes ask
	// at and authority are where it is, and who signed its certificate.
	at, authority string
	cancel        context.CancelFunc
	done          chan struct{}
	ended         error

	mu      sync.Mutex
	running map[string]*running // by the endpoint's id
	broken  error               // there is no program
}

// running is a control plane that runs, or is about to.
type running struct {
	cluster       string
	token, secret string // of the API, and of the webhook
	cancel        context.CancelFunc
	began         chan struct{} // closed once it answers, or can't
	ended         chan struct{}
	server        *plane.Server // once it began; nil if it can't
	err           error

	// failed is why it can't, and pause how long it is left so before it is tried
	// again, from since on.
	failed error
	pause  time.Duration
	since  time.Time

	nodes []byte // as they were told
	told  time.Time

	// pods tells that pods run. Subnets are those of the nodes, whose own addresses
	// are hosts.
	pods    bool
	subnets []netip.Prefix
	hosts   map[netip.Addr]bool
}

// Run starts to follow an account, until Close.
func Run(ctx context.Context, o Options) (*Clusters, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start control planes: %w", err)
	}
	cert, authority, err := selfSigned()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start control planes: %w", err), l.Close())
	}
	c := &Clusters{opts: o, at: "https://" + l.Addr().String(), authority: authority, done: make(chan struct{}), running: map[string]*running{}}
	c.hook = &http.Server{
		Handler: c.webhook(), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
	}
	go func() { _ = c.hook.ServeTLS(l, "", "") }() // it ends with Close
	ctx, c.cancel = context.WithCancel(ctx)
	go c.follow(ctx)
	return c, nil
}

// Close ends all control planes.
func (c *Clusters) Close() error {
	c.cancel()
	<-c.done
	return errors.Join(c.ended, c.hook.Close())
}

// Address is where the API of a cluster's control plane answers; it waits until
// it does. "" means that none runs.
func (c *Clusters) Address(ctx context.Context, cluster string) string {
	id := ""
	err := c.opts.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		list, err := eks.ControlPlanes(tx)
		for _, p := range list {
			if p.Cluster == cluster {
				id = p.ID
			}
		}
		return err
	})
	if err != nil || id == "" {
		return ""
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		c.mu.Lock()
		r, broken := c.running[id], c.broken
		c.mu.Unlock()
		switch {
		case broken != nil:
			return ""
		case r != nil:
			select {
			case <-r.began:
				if r.server == nil {
					return ""
				}
				return r.server.Address("api")
			case <-ctx.Done():
				return ""
			}
		}
		// It was created just now.
		select {
		case <-look.C:
		case <-c.done:
			return ""
		case <-ctx.Done():
			return ""
		}
	}
}

// Process is a control plane's, or 0.
func (c *Clusters) Process(cluster string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.running {
		if r.cluster == cluster && r.server != nil {
			return r.server.Process()
		}
	}
	return 0
}

func (c *Clusters) follow(ctx context.Context) {
	defer close(c.done)
	defer func() {
		c.mu.Lock()
		list := c.running
		c.running = map[string]*running{}
		c.mu.Unlock()
		var errs []error
		for _, r := range list {
			errs = append(errs, r.end())
		}
		c.ended = errors.Join(errs...)
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	said := ""
	for {
		err := c.bring(ctx)
		if ctx.Err() != nil {
			return
		}
		now := ""
		if err != nil {
			now = err.Error()
		}
		if now != "" && now != said {
			c.opts.Report(err)
		}
		if said = now; c.broken != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// bring starts and ends control planes, and tells them their nodes.
func (c *Clusters) bring(ctx context.Context) error {
	var want []eks.ControlPlane
	err := c.opts.Account.Do(func(tx *account.Tx) (err error) {
		tx.Reads()
		want, err = eks.ControlPlanes(tx)
		return err
	})
	if err != nil {
		return err
	}
	there := map[string]bool{}
	var errs []error
	for _, p := range want {
		there[p.ID] = true
		c.mu.Lock()
		r := c.running[p.ID]
		c.mu.Unlock()
		if r == nil || r.again() {
			if r, err = c.begin(ctx, p, r); err != nil {
				return err
			}
		}
		c.place(r, p)
		errs = append(errs, r.tell(ctx, p))
	}
	c.mu.Lock()
	var gone []*running
	for id, r := range c.running {
		if !there[id] {
			gone = append(gone, r)
			delete(c.running, id)
		}
	}
	c.mu.Unlock()
	for _, r := range gone {
		errs = append(errs, r.end())
	}
	return errors.Join(append(errs, c.sweep(there))...)
}

// sweep removes the folders of clusters that aren't there any more, also of those
// that went when a former process was killed.
func (c *Clusters) sweep(there map[string]bool) error {
	if c.opts.Dir == "" {
		return nil
	}
	found, err := os.ReadDir(c.opts.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, f := range found {
		if !there[f.Name()] {
			errs = append(errs, os.RemoveAll(filepath.Join(c.opts.Dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}

// selfSigned is a certificate for 127.0.0.1, and itself as PEM.
func selfSigned() (tls.Certificate, string, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "poolhouse sandbox"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

func secret() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}

// again tells that a control plane that couldn't start is to be tried again.
func (r *running) again() bool {
	select {
	case <-r.ended:
		return r.failed != nil && time.Since(r.since) >= r.pause
	default:
		return false
	}
}

// begin starts a control plane, which takes some seconds, beside. Before is the one that
// couldn't start; nil if it is the first.
func (c *Clusters) begin(ctx context.Context, p eks.ControlPlane, before *running) (*running, error) {
	program, err := c.opts.Program(ctx)
	if err != nil {
		c.mu.Lock()
		c.broken = fmt.Errorf("no Kubernetes runs behind clusters, which goes for as long as this sandbox runs: %w", err)
		c.mu.Unlock()
		return nil, c.broken
	}
	if p.SigningKey == "" {
		key, err := rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil {
			return nil, fmt.Errorf("make the key of cluster %s: %w", p.Cluster, err)
		}
		p.SigningKey = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
		err = c.opts.Account.Do(func(tx *account.Tx) error {
			eks.SetSigningKey(tx, p.Cluster, p.SigningKey)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	r := &running{cluster: p.Cluster, began: make(chan struct{}), ended: make(chan struct{}), pause: firstPause}
	said := ""
	if before != nil {
		r.pause, said = min(2*before.pause, mostPause), before.failed.Error()
	}
	var errs [2]error
	r.token, errs[0] = secret()
	r.secret, errs[1] = secret()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var pods *Pods
	if c.opts.Pods != nil {
		// Without them the cluster is there all the same.
		if pods, err = c.opts.Pods(ctx); err != nil && before == nil {
			c.opts.Report(fmt.Errorf("no pod of cluster %s runs: %w", p.Cluster, err))
		}
	}
	o := plane.Options{
		Name: Plane, Program: program, Log: c.opts.Log, Died: c.opts.Report, Within: readyWithin,
		Config: map[string]any{
			"certificate": p.Certificate, "key": p.Key, "authority": p.Authority, "signingKey": p.SigningKey, "issuer": p.Issuer, "services": p.Services,
			"token": r.token, "webhook": map[string]string{"url": c.at + "/" + p.ID, "token": r.secret, "authority": c.authority},
			"pods": pods,
		},
	}
	r.pods = pods != nil
	if c.opts.Dir != "" {
		o.Dir = filepath.Join(c.opts.Dir, p.ID)
	}
	ctx, r.cancel = context.WithCancel(ctx)
	c.mu.Lock()
	c.running[p.ID] = r
	c.mu.Unlock()
	go func() {
		defer close(r.ended)
		server, err := plane.Run(ctx, o)
		if err != nil {
			if ctx.Err() == nil && err.Error() != said {
				c.opts.Report(fmt.Errorf("no Kubernetes runs behind cluster %s: %w", p.Cluster, err))
			}
			r.failed, r.since = err, time.Now()
			r.cancel()
			close(r.began)
			return
		}
		c.mu.Lock()
		r.server = server
		c.mu.Unlock()
		close(r.began)
		r.control(ctx, c.opts, p)
		r.err = server.Close()
	}()
	return r, nil
}

// now is the account's time, by which its certificates are to be judged.
func (o Options) now() (t time.Time) {
	_ = o.Account.Do(func(tx *account.Tx) error { // it only reads
		tx.Reads()
		t = tx.Now()
		return nil
	})
	return t
}

// control plays the controllers of the cluster that make things in AWS, until the
// context ends.
func (r *running) control(ctx context.Context, o Options, p eks.ControlPlane) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.Authority))
	way := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "kubernetes", MinVersion: tls.VersionTLS12, Time: o.now}}
	controllers.Run(ctx, controllers.Options{
		Account: o.Account, Cluster: p.Cluster, Endpoint: "https://" + r.server.Address("api"), Transport: way, Token: r.token, Call: o.Call,
	}, actEvery, func(err error) {
		if !away(err) {
			o.Report(err)
		}
	})
}

// end ends a control plane.
func (r *running) end() error {
	r.cancel()
	<-r.ended
	return r.err
}

// node is the control plane's word for one, see planes/kubernetes.
type node struct {
	Name         string            `json:"name"`
	ProviderID   string            `json:"providerID"`
	Labels       map[string]string `json:"labels,omitempty"`
	Taints       []taint           `json:"taints,omitempty"`
	Capacity     map[string]string `json:"capacity"`
	Allocatable  map[string]string `json:"allocatable"`
	InternalIP   string            `json:"internalIP,omitempty"`
	Subnet       string            `json:"subnet,omitempty"`
	Kubelet      string            `json:"kubelet"`
	Image        string            `json:"image"`
	Architecture string            `json:"architecture"`
	Draining     bool              `json:"draining,omitempty"`
}

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// tell tells a control plane that runs its nodes, if they changed or some time
// has gone by.
func (r *running) tell(ctx context.Context, p eks.ControlPlane) error {
	select {
	case <-r.began:
	default:
		return nil
	}
	if r.server == nil {
		return nil
	}
	list := []node{}
	for _, n := range p.Nodes {
		x := node{
			Name: n.Name, ProviderID: n.ProviderID, Labels: n.Labels, Capacity: n.Capacity, Allocatable: n.Allocatable, InternalIP: n.InternalIP, Subnet: n.Subnet,
			Kubelet: "v" + n.Version + ".0-eks-sandbox", Image: n.Image, Architecture: n.Architecture, Draining: n.Draining,
		}
		for _, t := range n.Taints {
			x.Taints = append(x.Taints, taint(t))
		}
		list = append(list, x)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if bytes.Equal(text, r.nodes) && time.Since(r.told) < askEvery {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+r.server.Address("control")+"/nodes", bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	res, err := direct.Do(req)
	if away(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tell cluster %s its nodes: %w", r.cluster, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	const most = 4 << 10
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return fmt.Errorf("tell cluster %s its nodes: %w", r.cluster, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("tell cluster %s its nodes: %s: %s", r.cluster, res.Status, bytes.TrimSpace(body))
	}
	r.nodes, r.told = text, time.Now()
	return nil
}

// away tells that a control plane's process isn't there, which is reported where
// it is watched: it may be about to be started again.
func away(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// direct reaches this machine, whatever the environment says of proxies. A control
// plane may take a minute on a machine that is busy; one that stands still doesn't
// keep the others waiting for longer. Each call connects anew: a connection kept from
// a process that went would fail otherwise than by not being made.
var direct = &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, Timeout: time.Minute}
