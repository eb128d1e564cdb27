package signon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2/signon"
)

const (
	balancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/lb/0123456789abcdef"
	issuer   = "https://id.example.com"
	host     = "chat.example.com"
	start    = "https://" + host + "/a?b=c"
)

// provider answers for an identity provider's endpoints.
type provider struct {
	token, user       string
	tokenStatus       int
	userStatus        int
	tokenDown, uiDown bool // they never answer
	forms             []url.Values
	bearers           []string
}

// idToken is one that nobody signed: load balancers don't know the key.
func idToken(claims string) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + e.EncodeToString([]byte(claims)) + "." + e.EncodeToString([]byte("x"))
}

func answer(access, refresh string, in int, id string) string {
	b, err := json.Marshal(map[string]any{"access_token": access, "refresh_token": refresh, "expires_in": in, "id_token": id, "token_type": "Bearer"})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func goodID() string {
	return idToken(fmt.Sprintf(`{"iss":%q,"aud":["web"],"exp":%d}`, issuer, time.Now().Add(time.Hour).Unix()))
}

// RoundTrip implements [http.RoundTripper].
func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := p.tokenStatus, p.token
	down := p.tokenDown
	switch r.URL.String() {
	case issuer + "/token":
		form, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		values, err := url.ParseQuery(string(form))
		if err != nil {
			return nil, err
		}
		p.forms = append(p.forms, values)
	case issuer + "/userinfo":
		p.bearers = append(p.bearers, r.Header.Get("Authorization"))
		status, body, down = p.userStatus, p.user, p.uiDown
	default:
		return nil, fmt.Errorf("nobody serves %s", r.URL)
	}
	if down {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// browser is a user's, at a load balancer.
type browser struct {
	t        *testing.T
	signOn   *signon.SignOn
	provider *provider
	action   *elbv2.OIDC
	cookies  map[string]string
}

// in runs a test with a browser, in a bubble of virtual time.
func in(t *testing.T, f func(b *browser)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &browser{
			t: t, cookies: map[string]string{},
			provider: &provider{tokenStatus: 200, userStatus: 200, token: answer("access-1", "", 0, goodID()), user: `{"sub":"u1","email":"ada@example.com","groups":["users"]}`},
			action: &elbv2.OIDC{
				Issuer: issuer, AuthorizationEndpoint: issuer + "/authorize?tenant=1", TokenEndpoint: issuer + "/token", UserInfoEndpoint: issuer + "/userinfo",
				ClientID: "web", ClientSecret: "hush", Scope: "openid email", Cookie: "poolhouse-web", OnUnauthenticated: "authenticate", Timeout: 12 * time.Hour, Extra: map[string]string{"display": "page"},
			},
		}
		var err error
		b.signOn, err = signon.New(signon.Options{Client: &http.Client{Transport: b.provider}, Now: time.Now, Wall: time.Now, Secret: []byte("secret")})
		if err != nil {
			t.Fatal(err)
		}
		f(b)
	})
}

// seen is what comes of a request.
type seen struct {
	On       bool
	Status   int
	Location string
	Reason   string
}

// ask sends a request with the browser's cookies, and keeps those of the answer.
func (b *browser) ask(to string) (seen, *http.Request) {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodGet, to, nil)
	for k, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	r.Header.Set("X-Amzn-Oidc-Identity", "forged")
	w := httptest.NewRecorder()
	on, reason := b.signOn.Authenticate(w, r, b.action, balancer, "listener")
	for _, line := range w.Header().Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(line) > 4096 || !c.Secure || !c.HttpOnly || c.Path != "/" {
			b.t.Errorf("%d bytes of cookie %s, secure %v, HTTP only %v, for %s", len(line), c.Name, c.Secure, c.HttpOnly, c.Path)
		}
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	s := seen{On: on, Reason: reason, Location: w.Header().Get("Location")}
	if !on {
		s.Status = w.Code
	}
	return s, r
}

// away asks for a page and returns the authorization request that comes of it.
func (b *browser) away() url.Values {
	b.t.Helper()
	s, _ := b.ask(start)
	u, err := url.Parse(s.Location)
	if err != nil || s.Status != http.StatusFound {
		b.t.Fatalf("%+v, %v, want a redirect to the provider", s, err)
	}
	return u.Query()
}

// back comes from the provider with parameters beside the state.
func (b *browser) back(more string) seen {
	b.t.Helper()
	state := b.away().Get("state")
	s, _ := b.ask("https://" + host + "/oauth2/idpresponse?state=" + state + more)
	return s
}

// signIn goes all the way.
func (b *browser) signIn() {
	b.t.Helper()
	if diff := cmp.Diff(seen{Status: http.StatusFound, Location: start}, b.back("&code=c1")); diff != "" {
		b.t.Fatalf("signing in (-want +got):\n%s", diff)
	}
}

// A user without a session is sent to the authorization endpoint, comes back to
// /oauth2/idpresponse with a code, for which the load balancer gets tokens and
// claims, and is sent to the page that was asked for, with a session in cookies.
// Targets get access token, subject and signed claims in headers.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
func TestSignIn(t *testing.T) {
	t.Parallel()
	in(t, func(b *browser) {
		q := b.away()
		state := q.Get("state")
		q.Del("state")
		if diff := cmp.Diff(url.Values{
			"tenant": {"1"}, "display": {"page"}, "client_id": {"web"}, "redirect_uri": {"https://" + host + "/oauth2/idpresponse"}, "response_type": {"code"}, "scope": {"openid email"},
		}, q); diff != "" || state == "" {
			t.Errorf("authorization request, state %q (-want +got):\n%s", state, diff)
		}
		b.signIn()
		if diff := cmp.Diff([]url.Values{{
			"grant_type": {"authorization_code"}, "code": {"c1"}, "client_id": {"web"}, "client_secret": {"hush"}, "redirect_uri": {"https://" + host + "/oauth2/idpresponse"},
		}}, b.provider.forms); diff != "" {
			t.Errorf("token request (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"Bearer access-1"}, b.provider.bearers); diff != "" {
			t.Errorf("user info requests (-want +got):\n%s", diff)
		}
		s, r := b.ask(start)
		if diff := cmp.Diff(seen{On: true}, s); diff != "" {
			t.Fatalf("with a session (-want +got):\n%s", diff)
		}
		if got := r.Header.Get("X-Amzn-Oidc-Accesstoken") + " " + r.Header.Get("X-Amzn-Oidc-Identity"); got != "access-1 u1" {
			t.Errorf("access token and identity are %q", got)
		}
		verify(t, b.signOn, r.Header.Get("X-Amzn-Oidc-Data"), b.provider.user)
	})
}

// verify holds signed claims to the key of the endpoint.
func verify(t *testing.T, s *signon.SignOn, data, want string) {
	t.Helper()
	parts := strings.Split(data, ".")
	if len(parts) != 3 {
		t.Fatalf("signed claims have %d parts", len(parts))
	}
	var decoded [3][]byte
	for i, p := range parts {
		var err error
		if decoded[i], err = base64.URLEncoding.DecodeString(p); err != nil { // with padding
			t.Fatalf("part %d: %v", i, err)
		}
	}
	var header map[string]any
	if err := json.Unmarshal(decoded[0], &header); err != nil {
		t.Fatal(err)
	}
	id, _ := header["kid"].(string)
	delete(header, "kid")
	if diff := cmp.Diff(map[string]any{"typ": "JWT", "alg": "ES256", "iss": issuer, "client": "web", "signer": balancer, "exp": float64(time.Now().Add(2 * time.Minute).Unix())}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if string(decoded[1]) != want {
		t.Errorf("claims are %s, want %s", decoded[1], want)
	}
	w := httptest.NewRecorder()
	s.Keys().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+id, nil))
	block, _ := pem.Decode(w.Body.Bytes())
	if block == nil {
		t.Fatalf("the key endpoint answers %q", w.Body)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ok || !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(decoded[2][:32]), new(big.Int).SetBytes(decoded[2][32:])) {
		t.Error("the signature is not of the key that the endpoint names")
	}
	w = httptest.NewRecorder()
	if s.Keys().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/other", nil)); w.Code != http.StatusNotFound {
		t.Errorf("another key id: %d, want 404", w.Code)
	}
}

// another is a letter that isn't the one given.
func another(letter byte) string {
	if letter == 'A' {
		return "B"
	}
	return "A"
}

// A session that is forged, has ended or is another host's counts as none, and
// the user signs in again, goes on without claims or is refused, as
// OnUnauthenticatedRequest says.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
func TestNoSession(t *testing.T) {
	t.Parallel()
	first := "poolhouse-web-0"
	for name, test := range map[string]struct {
		spoil  func(b *browser)
		ask    string
		reason string
	}{
		"no cookie": {func(b *browser) { delete(b.cookies, first) }, start, ""},
		"forged":    {func(b *browser) { b.cookies[first] = strings.Repeat("A", len(b.cookies[first])) }, start, "AuthInvalidCookie"},
		"one bit": {func(b *browser) {
			b.cookies[first] = b.cookies[first][:9] + another(b.cookies[first][9]) + b.cookies[first][10:]
		}, start, "AuthInvalidCookie"},
		"cut off":           {func(b *browser) { b.cookies[first] = b.cookies[first][:40] }, start, "AuthInvalidCookie"},
		"another host's":    {func(*browser) {}, "https://admin.example.com/a?b=c", "AuthInvalidCookie"},
		"another client's":  {func(b *browser) { b.action.ClientID = "admin" }, start, "AuthInvalidCookie"},
		"ended":             {func(*browser) { time.Sleep(12 * time.Hour) }, start, ""},
		"signed out by app": {func(b *browser) { clear(b.cookies) }, start, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in(t, func(b *browser) {
				b.signIn()
				test.spoil(b)
				kept := maps.Clone(b.cookies)
				for way, want := range map[string]seen{"authenticate": {Status: 302, Reason: test.reason}, "deny": {Status: 401, Reason: test.reason}, "allow": {On: true, Reason: test.reason}} {
					b.action.OnUnauthenticated = way
					b.cookies = maps.Clone(kept)
					got, r := b.ask(test.ask)
					if way == "authenticate" && !strings.HasPrefix(got.Location, issuer+"/authorize?") {
						t.Errorf("the user is sent to %q", got.Location)
					}
					got.Location = ""
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", way, diff)
					}
					for _, h := range []string{"X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Accesstoken"} {
						if v := r.Header.Get(h); v != "" {
							t.Errorf("%s: the target gets %s: %s", way, h, v)
						}
					}
				}
			})
		})
	}
}

// What goes wrong on the way back is answered as AWS documents it: 401 where the
// user was denied, came too late or from elsewhere, 561 where the provider says
// an error or nonsense, 500 where it can't be reached in five seconds or says too
// much.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#error-reason-codes
func TestProviderErrors(t *testing.T) {
	t.Parallel()
	id := func(claims string) func(*browser) {
		return func(b *browser) { b.provider.token = answer("a", "", 0, idToken(claims)) }
	}
	for name, test := range map[string]struct {
		spoil  func(b *browser)
		query  string
		status int
		reason string
	}{
		"no code":               {nil, "", 401, "AuthMissingCodeParam"},
		"denied":                {nil, "&error=access_denied", 401, ""},
		"provider's error":      {nil, "&error=server_error", 561, ""},
		"code is refused":       {func(b *browser) { b.provider.tokenStatus, b.provider.token = 400, `{"error":"invalid_grant"}` }, "&code=c", 561, "AuthInvalidGrantError"},
		"client is refused":     {func(b *browser) { b.provider.tokenStatus, b.provider.token = 401, `{"error":"invalid_client"}` }, "&code=c", 561, "AuthTokenEpRequestFailed"},
		"token endpoint breaks": {func(b *browser) { b.provider.tokenStatus = 503 }, "&code=c", 561, "AuthTokenEpRequestFailed"},
		"token endpoint silent": {func(b *browser) { b.provider.tokenDown = true }, "&code=c", 500, "AuthTokenEpRequestTimeout"},
		"token answer nonsense": {func(b *browser) { b.provider.token = "<html>" }, "&code=c", 561, "AuthInvalidTokenResponse"},
		"no ID token":           {func(b *browser) { b.provider.token = answer("a", "", 0, "") }, "&code=c", 401, "AuthInvalidIdToken"},
		"ID token nonsense":     {func(b *browser) { b.provider.token = answer("a", "", 0, "x.y") }, "&code=c", 561, "AuthInvalidIdToken"},
		"ID token of another":   {id(`{"iss":"https://evil.example.com","aud":"web","exp":4102444800}`), "&code=c", 561, "AuthInvalidIdToken"},
		"ID token for another":  {id(`{"iss":"` + issuer + `","aud":"admin","exp":4102444800}`), "&code=c", 561, "AuthInvalidIdToken"},
		"ID token ended":        {id(`{"iss":"` + issuer + `","aud":"web","exp":1}`), "&code=c", 561, "AuthInvalidIdToken"},
		"user info breaks":      {func(b *browser) { b.provider.userStatus = 500 }, "&code=c", 561, "AuthUserinfoEpRequestFailed"},
		"user info silent":      {func(b *browser) { b.provider.uiDown = true }, "&code=c", 500, "AuthUserinfoEpRequestTimeout"},
		"user info nonsense":    {func(b *browser) { b.provider.user = `{"email":"nobody"}` }, "&code=c", 561, "AuthInvalidUserinfoResponse"},
		"user info too large":   {func(b *browser) { b.provider.user = `{"sub":"u","x":"` + strings.Repeat("x", 11<<10) + `"}` }, "&code=c", 500, "AuthUserinfoResponseSizeExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in(t, func(b *browser) {
				if test.spoil != nil {
					test.spoil(b)
				}
				began := time.Now()
				if diff := cmp.Diff(seen{Status: test.status, Reason: test.reason}, b.back(test.query)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if took := time.Since(began); took != 0 && took != 5*time.Second {
					t.Errorf("it took %s", took)
				}
				if _, ok := b.cookies["poolhouse-web-0"]; ok {
					t.Error("there is a session")
				}
			})
		})
	}
}

// The way back is good for the browser that went, for fifteen minutes.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html#client-login-timeout
func TestState(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil  func(b *browser, q url.Values)
		reason string
	}{
		"no state":          {func(_ *browser, q url.Values) { q.Del("state") }, "AuthMissingStateParam"},
		"forged state":      {func(_ *browser, q url.Values) { q.Set("state", "AAAA") }, "AuthInvalidStateParam"},
		"too late":          {func(*browser, url.Values) { time.Sleep(15 * time.Minute) }, "AuthInvalidStateParam"},
		"no nonce":          {func(b *browser, _ url.Values) { clear(b.cookies) }, "AuthMissingAWSALBAuthNonce"},
		"another browser's": {func(b *browser, _ url.Values) { b.cookies["AWSALBAuthNonce"] = "other" }, "AuthInvalidAWSALBAuthNonce"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in(t, func(b *browser) {
				q := url.Values{"state": {b.away().Get("state")}, "code": {"c"}}
				test.spoil(b, q)
				got, _ := b.ask("https://" + host + "/oauth2/idpresponse?" + q.Encode())
				if diff := cmp.Diff(seen{Status: 401, Reason: test.reason}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if len(b.provider.forms) > 0 {
					t.Error("the provider was asked for tokens")
				}
			})
		})
	}
}

// A session with a refresh token is refreshed when the access token has expired,
// with new claims; if that fails the user signs in again. Without one it lasts
// until the session timeout, which a refresh does not move.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html#authentication-logout
func TestRefresh(t *testing.T) {
	t.Parallel()
	in(t, func(b *browser) {
		b.provider.token = answer("access-1", "", 60, goodID())
		b.signIn()
		time.Sleep(time.Hour)
		if s, _ := b.ask(start); !s.On || len(b.provider.forms) != 1 {
			t.Errorf("without a refresh token: %+v, %d token requests", s, len(b.provider.forms))
		}
	})
	in(t, func(b *browser) {
		b.provider.token = answer("access-1", "refresh-1", 60, goodID())
		b.signIn()
		b.provider.token = answer("access-2", "", 60, "")
		b.provider.user = `{"sub":"u1","email":"lovelace@example.com"}`
		time.Sleep(59 * time.Second)
		if _, r := b.ask(start); r.Header.Get("X-Amzn-Oidc-Accesstoken") != "access-1" {
			t.Error("it was refreshed too early")
		}
		time.Sleep(time.Second)
		s, r := b.ask(start)
		if !s.On || r.Header.Get("X-Amzn-Oidc-Accesstoken") != "access-2" {
			t.Errorf("%+v with %s, want access-2", s, r.Header.Get("X-Amzn-Oidc-Accesstoken"))
		}
		verify(t, b.signOn, r.Header.Get("X-Amzn-Oidc-Data"), b.provider.user)
		if got := b.provider.forms[1]; got.Get("grant_type") != "refresh_token" || got.Get("refresh_token") != "refresh-1" {
			t.Errorf("the refresh is %v", got)
		}
		b.provider.tokenStatus, b.provider.token = 400, `{"error":"invalid_grant"}`
		time.Sleep(time.Minute)
		if s, _ := b.ask(start); s.On || s.Status != 302 || s.Reason != "AuthInvalidGrantError" {
			t.Errorf("signed out at the provider: %+v", s)
		}
	})
}

// A session that is larger than a browser takes in one cookie is in several.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html#authentication-flow
func TestCookieParts(t *testing.T) {
	t.Parallel()
	in(t, func(b *browser) {
		b.provider.token = answer("access-1", "refresh-1", 60, goodID())
		b.provider.user = `{"sub":"u1","groups":"` + strings.Repeat("g", 9<<10) + `"}`
		b.signIn()
		if _, ok := b.cookies["poolhouse-web-3"]; !ok {
			t.Errorf("a large session is in %d cookies, with the nonce", len(b.cookies))
		}
		s, r := b.ask(start)
		if !s.On {
			t.Fatalf("%+v", s)
		}
		verify(t, b.signOn, r.Header.Get("X-Amzn-Oidc-Data"), b.provider.user)
		b.provider.user = `{"sub":"u1"}`
		b.provider.token = answer("access-2", "", 60, "")
		time.Sleep(time.Minute)
		if s, _ := b.ask(start); !s.On {
			t.Errorf("refreshed: %+v", s)
		}
		if _, ok := b.cookies["poolhouse-web-1"]; ok {
			t.Error("a small session leaves parts of a large one")
		}
		if s, _ := b.ask(start); !s.On {
			t.Errorf("after the refresh: %+v", s)
		}
	})
}
