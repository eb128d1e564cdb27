package kubernetes

import (
	"cmp"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/poolhouse/poolhouse/planes/kubernetes/cri"
	"github.com/poolhouse/poolhouse/planes/kubernetes/kubelet"
)

// KubeletArgument has the program be a kubelet, see [kubelet.Main].
const KubeletArgument = "kubelet"

// nodesFolder has a folder for each node that runs pods.
const nodesFolder = "nodes"

// kubeletPort is where kubelets are asked.
const kubeletPort = "10250"

// kubelets run the pods of nodes. It is safe for concurrent use.
type kubelets struct {
	config    Config
	api       string
	program   string // whose argument is KubeletArgument; "" is this one
	authority *authority
	pods      *pods
	addresses *addresses

	mu      sync.Mutex
	running map[string]*running // by the node's name
}

// running is a node whose pods run.
type running struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of its end
	told   bool  // start has returned it
}

func newKubelets(c Config, api string, a *authority, p *pods) *kubelets {
	return &kubelets{config: c, api: api, authority: a, pods: p, addresses: newAddresses(), running: map[string]*running{}}
}

// cannot says why pods can't run here, "" if they can.
func (k *kubelets) cannot() string { return k.pods.cannot }

// start has the pods of a node run, until stop, if they don't. An error is of a
// start before, which the next call tries again, unless its kubelet was given up.
func (k *kubelets) start(ctx context.Context, n Node) error {
	if k.cannot() != "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.running[n.Name]; r != nil {
		select {
		case <-r.done:
			if _, ok := errors.AsType[*gaveUp](r.err); !ok {
				delete(k.running, n.Name)
			}
			r.told = true
			return r.err
		default:
			return nil
		}
	}
	r := &running{done: make(chan struct{})}
	ctx, r.cancel = context.WithCancel(ctx)
	k.running[n.Name] = r
	go func() {
		defer close(r.done)
		r.err = k.run(ctx, n)
	}()
	return nil
}

// stop ends a node's kubelet and everything that it runs.
func (k *kubelets) stop(name string) error {
	k.mu.Lock()
	r := k.running[name]
	delete(k.running, name)
	k.mu.Unlock()
	if r == nil {
		return nil
	}
	r.cancel()
	<-r.done
	if r.told {
		return nil
	}
	return r.err
}

// close ends all.
func (k *kubelets) close() error {
	k.mu.Lock()
	var names []string
	for name := range k.running {
		names = append(names, name)
	}
	k.mu.Unlock()
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = k.stop(name) })
	}
	wg.Wait()
	return errors.Join(append(errs, k.pods.close())...)
}

func (k *kubelets) run(ctx context.Context, n Node) error {
	o, err := k.options(n)
	if err != nil {
		return err
	}
	subnet := without
	if n.Subnet != "" {
		if subnet, err = netip.ParsePrefix(n.Subnet); err != nil {
			return fmt.Errorf("read the subnet of node %s: %w", n.Name, err)
		}
	}
	if ip, err := netip.ParseAddr(n.InternalIP); err == nil {
		k.addresses.keep(ip)
		defer k.addresses.free(ip)
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", filepath.Join(o.Dir, kubelet.Runtime))
	if err != nil {
		return err
	}
	images := k.pods.of(n.Name)
	runtime := cri.New(cri.Options{
		Processes: k.pods.processes, Images: k.pods.images, Context: images.context, Allowed: images.allowed,
		Address: func() (netip.Addr, error) { return k.addresses.take(subnet) }, Free: k.addresses.free,
	})
	served := make(chan error, 1)
	go func() { served <- runtime.Serve(l) }()
	err = keep(ctx, func(ctx context.Context) error { return k.process(ctx, o) }, func(err error) {
		fmt.Fprintf(os.Stderr, "the kubelet of node %s is started again: %v\n", n.Name, err)
	})
	return errors.Join(err, runtime.Close(), <-served, os.RemoveAll(o.Dir))
}

// options are what a node's kubelet is told.
func (k *kubelets) options(n Node) (kubelet.Options, error) {
	var o kubelet.Options
	if !filepath.IsLocal(n.Name) || filepath.Base(n.Name) != n.Name {
		return o, fmt.Errorf("%q is no name of a node", n.Name)
	}
	var addresses []net.IP
	if ip := net.ParseIP(n.InternalIP); ip != nil {
		addresses = []net.IP{ip}
	}
	cert, key, err := k.authority.issue(pkix.Name{CommonName: "system:node:" + n.Name, Organization: []string{"system:nodes"}}, []string{n.Name}, addresses, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return o, err
	}
	o = kubelet.Options{
		Node: n.Name, Dir: filepath.Join(nodesFolder, n.Name), API: k.api, Authority: k.config.Authority, ServerName: serverName, Token: k.config.Token,
		Certificate: cert, Key: key, Clients: k.authority.text, Address: n.InternalIP,
	}
	if ip, err := k.config.dns(); err == nil {
		o.DNS = ip.String()
	}
	if q, err := resource.ParseQuantity(n.Capacity["memory"]); err == nil {
		o.Memory = uint64(q.Value())
	}
	if n, err := strconv.Atoi(n.Capacity["cpu"]); err == nil {
		o.CPUs = n
	}
	return o, nil
}

// process runs a kubelet until it ends, which the context has it do. The error is how it
// ended, with its last words.
func (k *kubelets) process(ctx context.Context, o kubelet.Options) (err error) {
	program := k.program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(o.Dir, kubelet.Server)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, program, KubeletArgument)
	words := &lastWords{}
	c.Stdout = io.MultiWriter(os.Stderr, words)
	c.Stderr = c.Stdout
	// It ends when this does: then its input does.
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	_, wrote := in.Write(append(text, '\n'))
	if err := cmp.Or(c.Wait(), wrote); err != nil {
		return fmt.Errorf("%w: %s", err, words)
	}
	return fmt.Errorf("it ended unasked: %s", words)
}

// dial connects to a kubelet, or to a pod.
func (k *kubelets) dial(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	node := k.running[host] != nil
	k.mu.Unlock()
	if node && port == kubeletPort {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(nodesFolder, host, kubelet.Server))
	}
	return k.dialPod(ctx, address)
}

// dialPod connects to a pod by its address.
func (k *kubelets) dialPod(ctx context.Context, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s is neither a node nor the address of a pod", address)
	}
	if why := k.cannot(); why != "" {
		return nil, errors.New(why)
	}
	if !k.addresses.has(at.Addr()) {
		return nil, fmt.Errorf("no pod has the address %s", at.Addr())
	}
	return k.pods.processes.Dial(ctx, "tcp4", address)
}
