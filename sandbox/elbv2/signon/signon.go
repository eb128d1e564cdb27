// Package signon is authenticate-oidc at a load balancer's listener: the
// authorization code flow with an OpenID Connect provider, sessions in cookies,
// and the user's claims in headers that the load balancer signs.
//
// Invariants: a session is sealed, and bound to load balancer, client and host:
// one that was changed, made elsewhere or has ended counts as none. A request
// goes on with claims that the provider gave, or as OnUnauthenticatedRequest
// says; headers of the client that look like the load balancer's are dropped.
//
// Limits: the signature of the ID token is not looked at, since no part of the
// action names the provider's keys; it comes over TLS from the token endpoint
// (https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation). Its
// issuer, audience and end are.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
package signon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// What AWS documents of the flow.
const (
	// loginWithin is the client login timeout: who takes longer begins anew.
	loginWithin = 15 * time.Minute
	// answerWithin is how long the provider's endpoints may take.
	answerWithin = 5 * time.Second
	// mostClaims is how large claims and access token may be together.
	mostClaims = 11 << 10
	// callback is where the provider sends users back to.
	callback = "/oauth2/idpresponse"
	// nonceCookie binds an authorization response to the browser that asked.
	nonceCookie = "AWSALBAuthNonce"
)

// Reasons, as logs have them.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#error-reason-codes
const (
	reasonCookie       = "AuthInvalidCookie"
	reasonGrant        = "AuthInvalidGrantError"
	reasonIDToken      = "AuthInvalidIdToken"
	reasonState        = "AuthInvalidStateParam"
	reasonNonce        = "AuthInvalidAWSALBAuthNonce"
	reasonNoNonce      = "AuthMissingAWSALBAuthNonce"
	reasonToken        = "AuthInvalidTokenResponse"
	reasonUserinfo     = "AuthInvalidUserinfoResponse"
	reasonNoCode       = "AuthMissingCodeParam"
	reasonNoHost       = "AuthMissingHostHeader"
	reasonNoState      = "AuthMissingStateParam"
	reasonTokenFailed  = "AuthTokenEpRequestFailed"
	reasonTokenTimeout = "AuthTokenEpRequestTimeout"
	reasonUserFailed   = "AuthUserinfoEpRequestFailed"
	reasonUserTimeout  = "AuthUserinfoEpRequestTimeout"
	reasonUserSize     = "AuthUserinfoResponseSizeExceeded"
)

// Options say what sign-on stands on.
type Options struct {
	// Client calls token and user info endpoints. It must not follow redirects.
	// Required.
	Client *http.Client
	// Now is the account's clock, by which sessions end. Required.
	Now func() time.Time
	// Wall is the clock that targets and providers go by. Required.
	Wall func() time.Time
	// Secret is what sessions are sealed with and signatures are made with; the
	// same secret opens sessions after a restart. Required.
	Secret []byte
}

// SignOn signs users in. It is safe for concurrent use.
type SignOn struct {
	opts   Options
	seal   sealer
	signer signer
}

// New returns sign-on for an account.
func New(o Options) (*SignOn, error) {
	s := &SignOn{opts: o}
	var err error
	if s.seal, err = newSealer(o.Secret); err != nil {
		return nil, err
	}
	s.signer, err = newSigner(o.Secret)
	return s, err
}

// session is what a cookie holds.
type session struct {
	Access  string          `json:"a"`
	Refresh string          `json:"r,omitempty"`
	Claims  json.RawMessage `json:"c"`
	// Expires is when the access token does, by the wall's clock, or zero.
	Expires time.Time `json:"x,omitzero"`
	// Until is when the session ends, by the account's clock.
	Until time.Time `json:"u"`
}

// login is what a state parameter holds.
type login struct {
	URL   string    `json:"u"`
	Nonce string    `json:"n"`
	Until time.Time `json:"t"`
}

// failure is an answer of the load balancer's own.
type failure struct {
	status int
	reason string
}

func (f *failure) Error() string { return fmt.Sprintf("%d %s", f.status, f.reason) }

// flow is one request at an action.
type flow struct {
	*SignOn
	w        http.ResponseWriter
	r        *http.Request
	c        *elbv2.OIDC
	balancer string
	bound    string // what sealed values are bound to
}

// Authenticate carries out the action for a request: it either answers, and
// returns false, or lets the request go on. The reason is AWS's error code for
// logs, or empty.
func (s *SignOn) Authenticate(w http.ResponseWriter, r *http.Request, c *elbv2.OIDC, balancer, listener string) (on bool, reason string) {
	for _, h := range []string{headerAccess, headerIdentity, headerData} {
		r.Header.Del(h)
	}
	f := &flow{SignOn: s, w: w, r: r, c: c, balancer: balancer, bound: strings.Join([]string{balancer, c.Issuer, c.ClientID, c.Cookie}, " ")}
	if r.URL.Path == callback {
		if err := f.back(); err != nil {
			return false, f.fail(err)
		}
		return false, ""
	}
	found, reason := f.session()
	if found != nil {
		fresh, err := f.fresh(found)
		if err == nil {
			f.identify(fresh)
			return true, ""
		}
		// The refresh failed: the user has to sign in again.
		if e, ok := errors.AsType[*failure](err); ok {
			reason = e.reason
		}
	}
	switch c.OnUnauthenticated {
	case "allow":
		f.forget()
		return true, reason
	case "deny":
		return false, f.fail(&failure{http.StatusUnauthorized, reason})
	}
	if r.Host == "" {
		return false, f.fail(&failure{http.StatusUnauthorized, reasonNoHost})
	}
	if err := f.away(); err != nil {
		return false, f.fail(err)
	}
	return false, reason
}

// fail answers an error.
func (f *flow) fail(err error) string {
	e, ok := errors.AsType[*failure](err)
	if !ok {
		e = &failure{http.StatusInternalServerError, "AuthUnhandledException"}
	}
	title := fmt.Sprintf("%d %s", e.status, cmp.Or(http.StatusText(e.status), "Authentication Error"))
	body := fmt.Sprintf("<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n</body>\r\n</html>\r\n", title, title)
	f.w.Header().Set("Content-Type", "text/html")
	f.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	f.w.WriteHeader(e.status)
	if f.r.Method != http.MethodHead {
		// The client may be gone.
		_, _ = f.w.Write([]byte(body))
	}
	return e.reason
}

// redirectURI is where the provider sends the user back to. The host is the one
// that the user asked for.
func (f *flow) redirectURI() string { return "https://" + strings.ToLower(f.r.Host) + callback }

// away sends the user to the provider.
func (f *flow) away() error {
	l := login{URL: "https://" + f.r.Host + f.r.URL.RequestURI(), Nonce: rand.Text(), Until: f.opts.Now().Add(loginWithin)}
	state, err := f.seal.close(f.bound+" state", l)
	if err != nil {
		return err
	}
	to, err := url.Parse(f.c.AuthorizationEndpoint)
	if err != nil {
		return &failure{http.StatusInternalServerError, "AuthUnhandledException"}
	}
	q := to.Query()
	for k, v := range f.c.Extra {
		q.Set(k, v)
	}
	for k, v := range map[string]string{"client_id": f.c.ClientID, "redirect_uri": f.redirectURI(), "response_type": "code", "scope": f.c.Scope, "state": state} {
		q.Set(k, v)
	}
	to.RawQuery = q.Encode()
	http.SetCookie(f.w, &http.Cookie{Name: nonceCookie, Value: l.Nonce, Path: "/", MaxAge: int(loginWithin / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode})
	f.forget()
	f.redirect(to.String())
	return nil
}

func (f *flow) redirect(to string) {
	f.w.Header().Set("Location", to)
	f.w.Header().Set("Cache-Control", "no-cache")
	f.w.Header().Set("Content-Length", "0")
	f.w.WriteHeader(http.StatusFound)
}

// back takes a user who comes from the provider.
func (f *flow) back() error {
	q := f.r.URL.Query()
	state := q.Get("state")
	if state == "" {
		return &failure{http.StatusUnauthorized, reasonNoState}
	}
	var l login
	if f.seal.open(f.bound+" state", state, &l) != nil || !f.opts.Now().Before(l.Until) {
		return &failure{http.StatusUnauthorized, reasonState}
	}
	switch nonce, err := f.r.Cookie(nonceCookie); {
	case err != nil:
		return &failure{http.StatusUnauthorized, reasonNoNonce}
	case nonce.Value != l.Nonce:
		return &failure{http.StatusUnauthorized, reasonNonce}
	}
	switch problem := q.Get("error"); problem {
	case "":
	case "access_denied":
		return &failure{http.StatusUnauthorized, ""}
	default:
		return &failure{561, ""}
	}
	code := q.Get("code")
	if code == "" {
		return &failure{http.StatusUnauthorized, reasonNoCode}
	}
	ctx := f.r.Context()
	t, err := f.tokens(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.redirectURI()}})
	if err != nil {
		return err
	}
	if err := f.checkID(t.ID); err != nil {
		return err
	}
	claims, err := f.userinfo(ctx, t.Access)
	if err != nil {
		return err
	}
	s := &session{Access: t.Access, Refresh: t.Refresh, Claims: claims, Expires: t.expires(f.opts.Wall()), Until: f.opts.Now().Add(f.c.Timeout)}
	if err := f.remember(s); err != nil {
		return err
	}
	f.redirect(l.URL)
	return nil
}

// checkID holds an ID token to the client.
// https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
func (f *flow) checkID(token string) error {
	if token == "" {
		// The requested scope doesn't return one.
		return &failure{http.StatusUnauthorized, reasonIDToken}
	}
	bad := &failure{561, reasonIDToken}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return bad
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return bad
	}
	var claims struct {
		Issuer   string          `json:"iss"`
		Audience json.RawMessage `json:"aud"`
		Expires  float64         `json:"exp"`
	}
	if json.Unmarshal(text, &claims) != nil || claims.Issuer != f.c.Issuer || !f.opts.Wall().Before(time.Unix(int64(claims.Expires), 0)) {
		return bad
	}
	var one string
	var many []string
	if json.Unmarshal(claims.Audience, &one) == nil {
		many = []string{one}
	} else if json.Unmarshal(claims.Audience, &many) != nil {
		return bad
	}
	for _, a := range many {
		if a == f.c.ClientID {
			return nil
		}
	}
	return bad
}

// fresh refreshes a session whose access token has expired, if the provider gave
// a refresh token; without one the session lasts until it times out.
func (f *flow) fresh(s *session) (*session, error) {
	if s.Refresh == "" || s.Expires.IsZero() || f.opts.Wall().Before(s.Expires) {
		return s, nil
	}
	ctx := f.r.Context()
	t, err := f.tokens(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.Refresh}})
	if err != nil {
		return nil, err
	}
	claims, err := f.userinfo(ctx, t.Access)
	if err != nil {
		return nil, err
	}
	next := &session{Access: t.Access, Refresh: cmp.Or(t.Refresh, s.Refresh), Claims: claims, Expires: t.expires(f.opts.Wall()), Until: s.Until}
	return next, f.remember(next)
}

// tokens is what a token endpoint answers.
type tokens struct {
	Access  string  `json:"access_token"`
	ID      string  `json:"id_token"`
	Refresh string  `json:"refresh_token"`
	Type    string  `json:"token_type"`
	In      float64 `json:"expires_in"`
	Error   string  `json:"error"`
}

func (t *tokens) expires(now time.Time) time.Time {
	if t.In <= 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(t.In * float64(time.Second)))
}

// tokens asks the token endpoint, as the client with its secret.
func (f *flow) tokens(ctx context.Context, form url.Values) (*tokens, error) {
	form.Set("client_id", f.c.ClientID)
	form.Set("client_secret", f.c.ClientSecret)
	r, cancel, err := f.request(ctx, http.MethodPost, f.c.TokenEndpoint, form.Encode())
	if err != nil {
		return nil, err
	}
	defer cancel()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := f.call(r)
	if err != nil {
		return nil, &failure{http.StatusInternalServerError, reasonTokenTimeout}
	}
	t := &tokens{}
	parsed := json.Unmarshal(body, t)
	switch {
	case status/100 != 2 && parsed == nil && t.Error == "invalid_grant":
		return nil, &failure{561, reasonGrant}
	case status/100 != 2:
		return nil, &failure{561, reasonTokenFailed}
	case parsed != nil || t.Access == "" || !strings.EqualFold(t.Type, "Bearer"):
		return nil, &failure{561, reasonToken}
	}
	return t, nil
}

// userinfo asks for the user's claims.
func (f *flow) userinfo(ctx context.Context, access string) (json.RawMessage, error) {
	r, cancel, err := f.request(ctx, http.MethodGet, f.c.UserInfoEndpoint, "")
	if err != nil {
		return nil, err
	}
	defer cancel()
	r.Header.Set("Authorization", "Bearer "+access)
	status, body, err := f.call(r)
	if err != nil {
		return nil, &failure{http.StatusInternalServerError, reasonUserTimeout}
	}
	if status/100 != 2 {
		return nil, &failure{561, reasonUserFailed}
	}
	var claims map[string]any
	if json.Unmarshal(body, &claims) != nil || claims["sub"] == nil {
		return nil, &failure{561, reasonUserinfo}
	}
	if len(body)+len(access) > mostClaims {
		return nil, &failure{http.StatusInternalServerError, reasonUserSize}
	}
	return body, nil
}
