// Package oidc is an OpenID Connect provider for rehearsals: a few users with
// groups, a few clients, a page to sign in at, and tokens that are as short-lived
// as one asks for.
//
// It does the code flow with PKCE where clients ask for it, refresh tokens,
// userinfo and discovery. The claim groups comes with the scope groups or
// profile.
//
// Limits: everything is in memory, so all sessions end with the process. Nobody
// is asked for consent. Passwords are those of the configuration, in plain text:
// it is for rehearsals, and listens on loopback.
package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Config is what the provider is.
type Config struct {
	// Issuer is the URL that it is known by, behind whoever speaks TLS for it.
	Issuer string `json:"issuer"`
	// Authorization, Token and UserInfo are the URLs of its endpoints; empty ones
	// are /authorize, /token and /userinfo of the issuer's host.
	Authorization string   `json:"authorization,omitempty"`
	Token         string   `json:"token,omitempty"`
	UserInfo      string   `json:"userInfo,omitempty"`
	Clients       []Client `json:"clients"`
	Users         []User   `json:"users"`
	// AccessSeconds is how long access and ID tokens last, RefreshSeconds how
	// long refresh tokens do; 0 means an hour, and 12 hours. With NoRefresh
	// clients get none; otherwise all do.
	AccessSeconds  int  `json:"accessSeconds,omitempty"`
	RefreshSeconds int  `json:"refreshSeconds,omitempty"`
	NoRefresh      bool `json:"noRefresh,omitempty"`
}

// Client may send users to sign in.
type Client struct {
	ID        string   `json:"id"`
	Secret    string   `json:"secret"`
	Redirects []string `json:"redirects"`
	// Groups are those whose users may sign in with it; none means all.
	Groups []string `json:"groups,omitempty"`
}

// User can sign in.
type User struct {
	Name     string   `json:"name"` // what they sign in with, and their subject
	Password string   `json:"password"`
	Email    string   `json:"email,omitempty"`
	FullName string   `json:"fullName,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// Check names everything that is wrong with a configuration.
func (c Config) Check() error {
	var errs []error
	issuer, err := url.Parse(c.Issuer)
	if err != nil || issuer.Scheme != "https" || issuer.Host == "" {
		errs = append(errs, fmt.Errorf("issuer %q is no https URL", c.Issuer))
	}
	for what, u := range map[string]string{"authorization": c.Authorization, "token": c.Token, "userInfo": c.UserInfo} {
		if e, err := url.Parse(u); u != "" && (err != nil || e.Scheme != "https" || e.Host == "" || strings.Trim(e.Path, "/") == "") {
			errs = append(errs, fmt.Errorf("%s %q is no https URL with a path", what, u))
		}
	}
	if len(c.Clients) == 0 {
		errs = append(errs, errors.New("there are no clients"))
	}
	seen := map[string]bool{}
	for i, x := range c.Clients {
		if x.ID == "" || x.Secret == "" || len(x.Redirects) == 0 || seen["client "+x.ID] {
			errs = append(errs, fmt.Errorf("clients[%d] needs an id of its own, a secret and redirects", i))
		}
		seen["client "+x.ID] = true
	}
	for i, u := range c.Users {
		if u.Name == "" || u.Password == "" || seen["user "+u.Name] {
			errs = append(errs, fmt.Errorf("users[%d] needs a name of its own and a password", i))
		}
		seen["user "+u.Name] = true
	}
	if c.AccessSeconds < 0 || c.RefreshSeconds < 0 {
		errs = append(errs, errors.New("a token can't last less than no time"))
	}
	return errors.Join(errs...)
}

// path is an endpoint's, which lies on whatever host its URL says.
func path(endpoint, otherwise string) string {
	u, err := url.Parse(endpoint)
	if endpoint == "" || err != nil {
		return otherwise
	}
	return u.Path
}

// Provider is a provider's HTTP side. It is safe for concurrent use.
type Provider struct {
	http.Handler
	storage *storage
}

// New returns a provider, which has made its first key.
func New(c Config) (*Provider, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	s, err := newStorage(c)
	if err != nil {
		return nil, err
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // it never fails
	authorize := path(c.Authorization, "/authorize")
	p, err := op.NewProvider(&op.Config{
		CryptoKey: key, CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true,
		SupportedScopes: []string{"openid", "profile", "email", "groups", "offline_access"},
	}, s, op.StaticIssuer(c.Issuer),
		op.WithCustomAuthEndpoint(endpoint(c.Authorization, authorize)),
		op.WithCustomTokenEndpoint(endpoint(c.Token, path(c.Token, "/token"))),
		op.WithCustomUserinfoEndpoint(endpoint(c.UserInfo, path(c.UserInfo, "/userinfo"))),
	)
	if err != nil {
		return nil, fmt.Errorf("make the provider: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", p)
	s.signedIn = op.AuthCallbackURL(p)
	mux.HandleFunc("GET "+loginPath, s.loginPage)
	mux.HandleFunc("POST "+loginPath, s.login)
	return &Provider{Handler: op.NewIssuerInterceptor(p.IssuerFromRequest).Handler(mux), storage: s}, nil
}

// endpoint is one at a path, under a URL that discovery shows.
func endpoint(shown, path string) *op.Endpoint {
	if shown == "" {
		return op.NewEndpoint(path)
	}
	return op.NewEndpointWithURL(path, shown)
}

// Rotate makes a new key; tokens of the one before stay good until they expire,
// older ones' keys are gone.
func (p *Provider) Rotate() error { return p.storage.rotate() }

// Serve answers at a loopback address until the context ends; "" takes a free
// port. Beside the provider, at /-/rotate, POST rotates the keys. Ready is told
// of the address.
func Serve(ctx context.Context, c Config, address string, ready func(address string)) error {
	// The library says what clients do wrong; that goes to the log.
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	p, err := New(c)
	if err != nil {
		return err
	}
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", p)
	mux.HandleFunc("POST /-/rotate", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.Rotate(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	ready(l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
