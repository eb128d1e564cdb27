package oidc

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// loginWithin is how long a user may take to sign in.
const loginWithin = 15 * time.Minute

// storage is all that the provider knows. It is safe for concurrent use.
type storage struct {
	config          Config
	access, refresh time.Duration
	signedIn        func(context.Context, string) string

	mu       sync.Mutex
	keys     []*key // newest first, at most two
	requests map[string]*request
	codes    map[string]string // request by code
	tokens   map[string]*token // access tokens by id, refresh tokens by value
}

var _ op.Storage = (*storage)(nil)

func newStorage(c Config) (*storage, error) {
	s := &storage{config: c, access: time.Hour, refresh: 12 * time.Hour, requests: map[string]*request{}, codes: map[string]string{}, tokens: map[string]*token{}}
	if c.AccessSeconds > 0 {
		s.access = time.Duration(c.AccessSeconds) * time.Second
	}
	if c.RefreshSeconds > 0 {
		s.refresh = time.Duration(c.RefreshSeconds) * time.Second
	}
	return s, s.rotate()
}

// request is a user's way to sign in.
type request struct {
	id      string
	asked   *oidc.AuthRequest
	subject string // once signed in
	at      time.Time
	until   time.Time
}

var _ op.AuthRequest = (*request)(nil)

func (r *request) GetID() string                      { return r.id }
func (r *request) GetACR() string                     { return "" }
func (r *request) GetAMR() []string                   { return []string{"pwd"} }
func (r *request) GetAudience() []string              { return []string{r.asked.ClientID} }
func (r *request) GetAuthTime() time.Time             { return r.at }
func (r *request) GetClientID() string                { return r.asked.ClientID }
func (r *request) GetNonce() string                   { return r.asked.Nonce }
func (r *request) GetRedirectURI() string             { return r.asked.RedirectURI }
func (r *request) GetResponseType() oidc.ResponseType { return r.asked.ResponseType }
func (r *request) GetResponseMode() oidc.ResponseMode { return r.asked.ResponseMode }
func (r *request) GetScopes() []string                { return r.asked.Scopes }
func (r *request) GetState() string                   { return r.asked.State }
func (r *request) GetSubject() string                 { return r.subject }
func (r *request) Done() bool                         { return r.subject != "" }
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	if r.asked.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.asked.CodeChallenge, Method: r.asked.CodeChallengeMethod}
}

// token is what was given to a client.
type token struct {
	subject, client string
	scopes          []string
	at, until       time.Time
	refresh         string // the refresh token beside an access token
}

var _ op.RefreshTokenRequest = (*token)(nil)

func (t *token) GetAMR() []string            { return []string{"pwd"} }
func (t *token) GetAudience() []string       { return []string{t.client} }
func (t *token) GetAuthTime() time.Time      { return t.at }
func (t *token) GetClientID() string         { return t.client }
func (t *token) GetScopes() []string         { return t.scopes }
func (t *token) GetSubject() string          { return t.subject }
func (t *token) SetCurrentScopes(s []string) { t.scopes = s }

func (s *storage) CreateAuthRequest(_ context.Context, asked *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if !s.config.NoRefresh && !slices.Contains(asked.Scopes, oidc.ScopeOfflineAccess) {
		// As providers do that need no scope for it; load balancers ask for none.
		asked.Scopes = append(asked.Scopes, oidc.ScopeOfflineAccess)
	}
	r := &request{id: rand.Text(), asked: asked, until: time.Now().Add(loginWithin)}
	s.requests[r.id] = r
	return r, nil
}

// forget drops what has expired. The mutex is held.
func (s *storage) forget() {
	now := time.Now()
	for id, r := range s.requests {
		if now.After(r.until) {
			delete(s.requests, id)
		}
	}
	for code, id := range s.codes {
		if s.requests[id] == nil {
			delete(s.codes, code)
		}
	}
	for id, t := range s.tokens {
		if now.After(t.until) {
			delete(s.tokens, id)
		}
	}
}

func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if r := s.requests[id]; r != nil {
		return r, nil
	}
	return nil, oidc.ErrInvalidRequest().WithDescription("the sign-in has expired, or there was none")
}

func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id, ok := s.codes[code]
	delete(s.codes, code) // it is good for one time
	s.mu.Unlock()
	if !ok {
		return nil, oidc.ErrInvalidGrant().WithDescription("the code is not one, or was used before")
	}
	return s.AuthRequestByID(ctx, id)
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

// given notes an access token. The mutex is held.
func (s *storage) given(r op.TokenRequest, refresh string) (string, time.Time) {
	t := &token{subject: r.GetSubject(), scopes: r.GetScopes(), at: time.Now(), until: time.Now().Add(s.access), refresh: refresh}
	if a := r.GetAudience(); len(a) > 0 {
		t.client = a[0]
	}
	id := rand.Text()
	s.tokens[id] = t
	return id, t.until
}

func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, until := s.given(r, "")
	return id, until, nil
}

func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, until := time.Now(), time.Now().Add(s.refresh)
	if old := s.tokens[current]; current != "" {
		if old == nil {
			return "", "", time.Time{}, oidc.ErrInvalidGrant().WithDescription("the refresh token has expired, or was used before")
		}
		delete(s.tokens, current) // each is good for one time
		at, until = old.at, old.until
	}
	refresh := rand.Text() + rand.Text()
	t := &token{subject: r.GetSubject(), scopes: r.GetScopes(), at: at, until: until}
	if a := r.GetAudience(); len(a) > 0 {
		t.client = a[0]
	}
	s.tokens[refresh] = t
	id, expires := s.given(r, refresh)
	return id, refresh, expires, nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, refresh string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if t := s.tokens[refresh]; t != nil {
		copied := *t
		return &copied, nil
	}
	return nil, op.ErrInvalidRefreshToken
}

func (s *storage) TerminateSession(_ context.Context, user, client string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.tokens {
		if t.subject == user && t.client == client {
			delete(s.tokens, id)
		}
	}
	return nil
}

func (s *storage) RevokeToken(_ context.Context, id, _, client string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[id]
	if t != nil && t.client != client {
		return oidc.ErrInvalidClient().WithDescription("the token is another client's")
	}
	if t != nil {
		delete(s.tokens, t.refresh)
		delete(s.tokens, id)
	}
	return nil
}

func (s *storage) GetRefreshTokenInfo(_ context.Context, _, refresh string) (string, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[refresh]; t != nil {
		return t.subject, refresh, nil
	}
	return "", "", op.ErrInvalidRefreshToken
}

// key signs tokens.
type key struct {
	id      string
	private *rsa.PrivateKey
}

var _ op.SigningKey = (*key)(nil)

func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k *key) Key() any                                    { return k.private }
func (k *key) ID() string                                  { return k.id }

// public is a key that signatures are checked with.
type public struct{ *key }

var _ op.Key = public{}

func (p public) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (p public) Use() string                        { return "sig" }
func (p public) Key() any                           { return &p.private.PublicKey }

// rotate makes a new key and keeps the one before.
func (s *storage) rotate() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append([]*key{{rand.Text()[:16], private}}, s.keys[:min(1, len(s.keys))]...)
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[0], nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []op.Key
	for _, k := range s.keys {
		out = append(out, public{k})
	}
	return out, nil
}

// client is one as the library asks for it.
type client struct {
	Client
	life time.Duration
}

var _ op.Client = client{}

func (c client) GetID() string                       { return c.ID }
func (c client) RedirectURIs() []string              { return c.Redirects }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodPost }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) LoginURL(id string) string            { return loginPath + "?request=" + id }
func (c client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c client) IDTokenLifetime() time.Duration       { return c.life }
func (c client) DevMode() bool                        { return false }
func (c client) IsScopeAllowed(scope string) bool     { return scope == "groups" }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c client) ClockSkew() time.Duration             { return 0 }

func (c client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}

func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

func (s *storage) client(id string) (Client, bool) {
	i := slices.IndexFunc(s.config.Clients, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return Client{}, false
	}
	return s.config.Clients[i], true
}

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if c, ok := s.client(id); ok {
		return client{c, s.access}, nil
	}
	return nil, errors.New("there is no such client")
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, ok := s.client(id)
	if !ok || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) != 1 {
		return errors.New("the client's id or secret is wrong")
	}
	return nil
}

func (s *storage) user(name string) (User, bool) {
	i := slices.IndexFunc(s.config.Users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return s.config.Users[i], true
}

// describe puts the claims of a user that scopes ask for.
func (s *storage) describe(info *oidc.UserInfo, name string, scopes []string) error {
	u, ok := s.user(name)
	if !ok {
		return errors.New("there is no such user")
	}
	info.Subject = u.Name
	if slices.Contains(scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = u.Email, u.Email != ""
	}
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name, info.PreferredUsername = u.FullName, u.Name
	}
	if slices.Contains(scopes, oidc.ScopeProfile) || slices.Contains(scopes, "groups") {
		info.AppendClaims("groups", append([]string{}, u.Groups...))
	}
	return nil
}

func (s *storage) SetUserinfoFromScopes(_ context.Context, info *oidc.UserInfo, user, _ string, scopes []string) error {
	return s.describe(info, user, scopes)
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, id, subject, _ string) error {
	s.mu.Lock()
	s.forget()
	t := s.tokens[id]
	s.mu.Unlock()
	if t == nil {
		return errors.New("the access token has expired, or was revoked")
	}
	return s.describe(info, subject, t.scopes)
}

func (s *storage) SetIntrospectionFromToken(_ context.Context, out *oidc.IntrospectionResponse, id, subject, client string) error {
	s.mu.Lock()
	s.forget()
	t := s.tokens[id]
	s.mu.Unlock()
	if t == nil || t.client != client {
		return errors.New("the access token has expired, or is another client's")
	}
	info := &oidc.UserInfo{}
	if err := s.describe(info, subject, t.scopes); err != nil {
		return err
	}
	out.SetUserInfo(info)
	out.Scope, out.ClientID = t.scopes, client
	return nil
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errors.New("clients have no keys")
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errors.New("clients have no keys")
}

func (s *storage) Health(context.Context) error { return nil }
