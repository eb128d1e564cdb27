package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/eks/controlplane"
	"github.com/poolhouse/poolhouse/sandbox/entrance"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/images"
	"github.com/poolhouse/poolhouse/sandbox/objects"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// entranceFlags say how a sandbox is entered by names.
type entranceFlags struct {
	proxy, names, registry, from string
	targets, without             []string
}

// parts are what --without leaves out.
var parts = []string{images.Plane, controlplane.Plane, "oidc", "postgres", objects.Plane}

func (f *entranceFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.proxy, "proxy", "127.0.0.1:0", "loopback address of the HTTP proxy that leads by names")
	c.Flags().StringVar(&f.names, "names", "127.0.0.1:0", "loopback address that TLS and HTTP are led from by name")
	c.Flags().StringVar(&f.registry, "registry", "127.0.0.1:0", "loopback address of ECR's registry, besides its name")
	c.Flags().StringVar(&f.from, "from", "", "address that visitors come from (default one that is let in)")
	c.Flags().StringArrayVar(&f.targets, "target", nil, "what stands behind an address of a VPC, as ADDRESS:PORT=LOCAL:PORT; can be repeated")
	c.Flags().StringSliceVar(&f.without, "without", nil, "leave out: "+strings.Join(parts, ", "))
}

// check returns the targets and where visitors come from, or all faults.
func (f *entranceFlags) check() (targets map[string]string, from netip.Addr, err error) {
	var errs []error
	targets = map[string]string{}
	for _, t := range f.targets {
		at, local, ok := strings.Cut(t, "=")
		_, err := netip.ParseAddrPort(at)
		host, _, err2 := net.SplitHostPort(local)
		if ip := net.ParseIP(host); !ok || err != nil || err2 != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			errs = append(errs, fmt.Errorf("--target %s is not ADDRESS:PORT=LOCAL:PORT with a loopback address, such as 10.0.64.10:8443=127.0.0.1:9443", t))
			continue
		}
		targets[at] = local
	}
	if f.from != "" {
		if from, err = netip.ParseAddr(f.from); err != nil {
			errs = append(errs, fmt.Errorf("--from %s is no IP address", f.from))
		}
	}
	for _, w := range f.without {
		if !slices.Contains(parts, w) {
			errs = append(errs, fmt.Errorf("--without %s is none of: %s", w, strings.Join(parts, ", ")))
		}
	}
	return targets, from, usage(errs)
}

// user is somebody who can sign in at the sandbox's identity provider. Like its
// access keys, they open nothing but sandboxes.
type user struct {
	Name     string   `json:"name"`
	Password string   `json:"password"`
	Email    string   `json:"email"`
	FullName string   `json:"fullName"`
	Groups   []string `json:"groups"`
}

// provider is what the identity provider's program is told.
type provider struct {
	Issuer        string           `json:"issuer"`
	Authorization string           `json:"authorization"`
	Token         string           `json:"token"`
	UserInfo      string           `json:"userInfo"`
	Clients       []providerClient `json:"clients"`
	Users         []user           `json:"users"`
}

type providerClient struct {
	ID        string   `json:"id"`
	Secret    string   `json:"secret"`
	Redirects []string `json:"redirects"`
	Groups    []string `json:"groups,omitempty"`
}

// newProvider is the provider that a deployment's single sign-on is for, with the
// secrets that its account is given.
func newProvider(a *architecture.Architecture, secret string) provider {
	access, sso := a.Config.Access, a.Config.Access.SSO
	back := func(host string) []string { return []string{"https://" + host + "/oauth2/idpresponse"} }
	p := provider{
		Issuer: sso.Issuer, Authorization: sso.AuthorizationEndpoint, Token: sso.TokenEndpoint, UserInfo: sso.UserInfoEndpoint,
		Clients: []providerClient{
			{ID: sso.Web.ClientID, Secret: secret, Redirects: back(access.Web.Host)},
			{ID: sso.Admin.ClientID, Secret: secret, Redirects: back(access.Admin.Host)},
		},
		Users: []user{
			{Name: "ada", Password: "sandbox", Email: "ada@example.com", FullName: "Ada Lovelace", Groups: []string{"users"}},
			{Name: "grace", Password: "sandbox", Email: "grace@example.com", FullName: "Grace Hopper", Groups: []string{"users"}},
		},
	}
	if g := sso.AdminGroup; g != "" {
		p.Clients[1].Groups = []string{g}
		p.Users[1].Groups = append(p.Users[1].Groups, g)
	}
	return p
}

// hosts are those that the provider's URLs are on.
func (p provider) hosts() []string {
	var out []string
	for _, s := range []string{p.Issuer, p.Authorization, p.Token, p.UserInfo} {
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			out = append(out, u.Hostname())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// visit is how a sandbox is entered by names, and what is said of it.
type visit struct {
	Proxy string `json:"proxy"`
	Names string `json:"names"`
	// CA is where the certificate of the sandbox's authority is: a file, or a URL.
	CA string `json:"ca"`
	// Users can sign in at the identity provider, which is at Provider's URL.
	Provider string `json:"provider,omitempty"`
	Users    []user `json:"users,omitempty"`
	// Registry is where ECR's registry answers, which docker knows by the name
	// that is its Host.
	Registry *servedRegistry `json:"registry,omitempty"`

	authority *front.Authority
	entrance  *entrance.Entrance
	oidc      *plane.Server
	problem   error
	proxied   net.Listener
	named     net.Listener
	pushed    net.Listener
	plain     *http.Server
}

// servedRegistry is a registry as programs see it.
type servedRegistry struct {
	Host    string `json:"host"`
	Address string `json:"address"`
}

// openVisit makes the entrance of a sandbox that is to be made of the options,
// which it changes. The listeners are there, and serve once it is attached.
func openVisit(ctx context.Context, a *app, f entranceFlags, so *sandbox.Options, arch *architecture.Architecture, state string, hold func() func(), t *trouble) (_ *visit, err error) {
	targets, from, err := f.check()
	if err != nil {
		return nil, err
	}
	v := &visit{}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	if v.proxied, err = loopback(ctx, "proxy", f.proxy); err != nil {
		return nil, err
	}
	if v.named, err = loopback(ctx, "names", f.names); err != nil {
		return nil, err
	}
	if v.pushed, err = loopback(ctx, "registry", f.registry); err != nil {
		return nil, err
	}
	v.Proxy, v.Names = "http://"+v.proxied.Addr().String(), v.named.Addr().String()
	if state == "" {
		v.CA = v.Proxy + "/" + front.FileCertificate
		v.authority, err = front.NewAuthority(time.Now)
	} else {
		v.CA = filepath.Join(state, front.FileCertificate)
		v.authority, err = front.OpenAuthority(state, time.Now)
	}
	if err != nil {
		return nil, err
	}
	o := entrance.Options{Authority: v.authority, Targets: targets, From: from, Hold: hold, Report: func(err error) { fmt.Fprintln(a.Err, err) }}
	if arch != nil && arch.Config.Access.SSO.Enabled && !slices.Contains(f.without, "oidc") {
		if v.oidc, v.problem = startProvider(ctx, a, newProvider(arch, clientSecret), t); v.problem == nil {
			p := newProvider(arch, clientSecret)
			v.Provider, v.Users = p.Issuer, p.Users
			o.Sites = map[string]string{}
			for _, host := range p.hosts() {
				o.Sites[host] = v.oidc.Address("oidc")
			}
		}
	}
	v.entrance = entrance.New(o)
	so.TargetHealth = v.entrance.TargetHealth
	return v, nil
}

// clientSecret is the one in the secrets that a rehearsal's account is given.
const clientSecret = "rehearsal"

// startProvider runs the identity provider's program. Without one the sandbox
// goes on: users then can't sign in.
func startProvider(ctx context.Context, a *app, p provider, t *trouble) (*plane.Server, error) {
	program, err := plane.Program(ctx, "oidc", func(folder string) { fmt.Fprintf(a.Err, "Building the identity provider in %s, once.\n", folder) })
	if err != nil {
		return nil, err
	}
	var log io.Writer
	if a.verbose {
		log = a.Err
	}
	return plane.Run(ctx, plane.Options{Name: "oidc", Program: program, Config: p, Log: log, Hold: t.hold(fault.ServerProvider), Died: func(err error) { fmt.Fprintf(a.Err, "The identity provider ended, and is started again: %v\n", err) }})
}

// attach opens the entrance to an account, and begins to serve: also a registry,
// unless that is nil. The clock is held while that answers.
func (v *visit) attach(box *sandbox.Sandbox, registry *images.Registry, now func() time.Time, c *clock.Scaled) error {
	a := entrance.Account{Account: box.Account(), Region: box.Region(), API: box, Now: now, Faults: box.Faults}
	if registry != nil {
		h := rehearse.Holding(registry, c)
		a.Registry = map[string]http.Handler{registry.Host(): h, registry.DownloadHost(): h}
		v.Registry = &servedRegistry{registry.Host(), v.pushed.Addr().String()}
		v.plain = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	}
	if err := v.entrance.Attach(a); err != nil {
		return err
	}
	// They end with close, which has the errors to tell.
	go func() { _ = v.entrance.ServeProxy(v.proxied) }()
	go func() { _ = v.entrance.Serve(v.named) }()
	if v.plain != nil {
		go func() { _ = v.plain.Serve(v.pushed) }()
		return nil
	}
	return v.pushed.Close() // nobody would answer
}

func (v *visit) close() error {
	var errs []error
	if v.entrance != nil {
		errs = append(errs, v.entrance.Close())
	}
	if v.plain != nil {
		errs = append(errs, v.plain.Close())
	}
	for _, l := range []net.Listener{v.proxied, v.named, v.pushed} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // the entrance has closed what it serves
			errs = append(errs, err)
		}
	}
	if v.oidc != nil {
		errs = append(errs, v.oidc.Close())
	}
	return errors.Join(errs...)
}

// print says how to get in, for people.
func (v *visit) print(w io.Writer) {
	fmt.Fprint(w, "\nBy their own names, load balancers and AWS answer through a proxy, with certificates of the sandbox's authority:\n\n")
	ca := v.CA
	if strings.HasPrefix(ca, "http") {
		fmt.Fprintf(w, "curl -s %s -o ca.pem\n", ca)
		ca = "ca.pem"
	}
	fmt.Fprintf(w, "curl --proxy %s --cacert %s https://HOST/\n", v.Proxy, ca)
	fmt.Fprintf(w, "curl --connect-to ::%s --cacert %s https://HOST/\n", v.Names, ca)
	if r := v.Registry; r != nil {
		fmt.Fprintf(w, "\nECR's registry answers so too, as https://%s, and at %s for clients that know no proxy:\n\n  aws ecr get-login-password | crane auth login -u AWS --password-stdin %s\n  crane copy IMAGE %s/REPOSITORY:TAG\n", r.Host, r.Address, r.Address, r.Address)
	}
	if v.Provider != "" {
		fmt.Fprintf(w, "\nUsers sign in at %s as", v.Provider)
		for i, u := range v.Users {
			if i > 0 {
				fmt.Fprint(w, ", or")
			}
			fmt.Fprintf(w, " %s (%s)", u.Name, strings.Join(u.Groups, ", "))
		}
		fmt.Fprintf(w, ", with the password %q.\n", v.Users[0].Password)
	}
	if v.problem != nil {
		fmt.Fprintf(w, "\nNobody can sign in, since the identity provider is not there: %v\n", v.problem)
	}
}
