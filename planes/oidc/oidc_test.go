package oidc_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/poolhouse/poolhouse/planes/oidc"
)

const (
	issuer   = "https://login.example.com"
	callback = "https://chat.example.com/oauth2/idpresponse"
)

func config() oidc.Config {
	return oidc.Config{
		Issuer: issuer, Authorization: issuer + "/oauth2/v1/authorize", Token: issuer + "/oauth2/v1/token", UserInfo: issuer + "/oauth2/v1/userinfo",
		Clients: []oidc.Client{{ID: "web", Secret: "hush", Redirects: []string{callback}}, {ID: "admin", Secret: "hush2", Redirects: []string{callback}, Groups: []string{"admins"}}},
		Users:   []oidc.User{{Name: "ada", Password: "engine", Email: "ada@example.com", FullName: "Ada Lovelace", Groups: []string{"users"}}},
	}
}

// world is a provider behind its name, and a browser.
type world struct {
	t        *testing.T
	provider *oidc.Provider
	client   *http.Client
}

// RoundTrip implements [http.RoundTripper]: all names are the provider's.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	in.Host = r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	out := httptest.NewRecorder()
	w.provider.ServeHTTP(out, in)
	return out.Result(), nil
}

func newWorld(t *testing.T, c oidc.Config) *world {
	t.Helper()
	p, err := oidc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, provider: p}
	w.client = &http.Client{Transport: w, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w
}

func (w *world) do(r *http.Request) (*http.Response, string) {
	w.t.Helper()
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

func (w *world) get(u string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, u, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.do(r)
}

func (w *world) post(u string, form url.Values) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.do(r)
}

// absolute is a Location as the browser goes on to.
func absolute(t *testing.T, location string) string {
	t.Helper()
	base, err := url.Parse(issuer)
	if err != nil {
		t.Fatal(err)
	}
	u, err := base.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.String()
}

// begin asks for a sign-in and returns its id, from the page.
func (w *world) begin(client string, more url.Values) string {
	w.t.Helper()
	q := url.Values{"client_id": {client}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid email profile"}, "state": {"s1"}}
	for k, v := range more {
		q[k] = v
	}
	resp, body := w.get(issuer + "/oauth2/v1/authorize?" + q.Encode())
	if resp.StatusCode != http.StatusFound {
		w.t.Fatalf("the authorization request: %s %s", resp.Status, body)
	}
	resp, body = w.get(absolute(w.t, resp.Header.Get("Location")))
	id := regexp.MustCompile(`name="request" value="([^"]+)"`).FindStringSubmatch(body)
	if resp.StatusCode != http.StatusOK || id == nil {
		w.t.Fatalf("the page: %s %s", resp.Status, body)
	}
	return id[1]
}

// signIn goes to the callback, and returns the code.
func (w *world) signIn(client string, more url.Values) string {
	w.t.Helper()
	resp, body := w.post(issuer+"/login", url.Values{"request": {w.begin(client, more)}, "name": {"ada"}, "password": {"engine"}})
	if resp.StatusCode != http.StatusSeeOther {
		w.t.Fatalf("signing in: %s %s", resp.Status, body)
	}
	resp, body = w.get(absolute(w.t, resp.Header.Get("Location")))
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(back.String(), callback+"?") || back.Query().Get("state") != "s1" {
		w.t.Fatalf("the way back: %s to %s %s", resp.Status, back, body)
	}
	return back.Query().Get("code")
}

type tokens struct {
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
	Expires int    `json:"expires_in"`
	Error   string `json:"error"`
}

func (w *world) tokens(form url.Values) (int, tokens) {
	w.t.Helper()
	form.Set("client_id", "web")
	form.Set("client_secret", "hush")
	resp, body := w.post(issuer+"/oauth2/v1/token", form)
	var out tokens
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		w.t.Fatalf("%s %s: %v", resp.Status, body, err)
	}
	return resp.StatusCode, out
}

func (w *world) exchange(code string, more url.Values) (int, tokens) {
	w.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	for k, v := range more {
		form[k] = v
	}
	return w.tokens(form)
}

func (w *world) userinfo(access string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, issuer+"/oauth2/v1/userinfo", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+access)
	resp, body := w.do(r)
	return resp.StatusCode, body
}

// keys are those that the provider publishes, where discovery says.
func (w *world) keys() jose.JSONWebKeySet {
	w.t.Helper()
	_, body := w.get(issuer + "/.well-known/openid-configuration")
	var found struct {
		Keys  string `json:"jwks_uri"`
		Token string `json:"token_endpoint"`
	}
	if err := json.Unmarshal([]byte(body), &found); err != nil || found.Token != issuer+"/oauth2/v1/token" {
		w.t.Fatalf("discovery: %s, %v", body, err)
	}
	_, body = w.get(found.Keys)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		w.t.Fatal(err)
	}
	return set
}

// verified are an ID token's claims, if one of the keys has signed it.
func verified(t *testing.T, set jose.JSONWebKeySet, token string) map[string]any {
	t.Helper()
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.Verify(set)
	if err != nil {
		return nil
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestCodeFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config())
	code := w.signIn("web", nil)
	status, got := w.exchange(code, nil)
	if status != 200 || got.Expires < 3590 || got.Expires > 3600 {
		t.Fatalf("%d %+v", status, got)
	}
	claims := verified(t, w.keys(), got.ID)
	for k, want := range map[string]string{"iss": issuer, "sub": "ada", "email": "ada@example.com", "name": "Ada Lovelace", "groups": "[users]", "aud": "[web]"} {
		if v := fmt.Sprint(claims[k]); v != want {
			t.Errorf("claim %s is %s, want %s", k, v, want)
		}
	}
	if status, body := w.userinfo(got.Access); status != 200 || !strings.Contains(body, `"groups":["users"]`) || !strings.Contains(body, `"sub":"ada"`) {
		t.Errorf("userinfo: %d %s", status, body)
	}
	if status, body := w.userinfo("nonsense"); status != 401 {
		t.Errorf("userinfo without a token: %d %s", status, body)
	}
	if status, again := w.exchange(code, nil); status != 400 || again.Error != "invalid_grant" {
		t.Errorf("a code for the second time: %d %+v", status, again)
	}
}

func TestWhoMaySignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config())
	for name, test := range map[string]struct {
		client, user, password string
		status                 int
		says                   string
	}{
		"wrong password":       {"web", "ada", "guess", 401, "User name or password is wrong."},
		"nobody":               {"web", "eve", "", 401, "User name or password is wrong."},
		"not in the group":     {"admin", "ada", "engine", 403, "admin is for other groups"},
		"name is kept, quoted": {"web", `"><script>`, "x", 401, `value="&#34;&gt;&lt;script&gt;"`},
	} {
		resp, body := w.post(issuer+"/login", url.Values{"request": {w.begin(test.client, nil)}, "name": {test.user}, "password": {test.password}})
		if resp.StatusCode != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
	if resp, body := w.post(issuer+"/login", url.Values{"request": {"none"}, "name": {"ada"}, "password": {"engine"}}); resp.StatusCode != 400 || !strings.Contains(body, "has expired") {
		t.Errorf("a sign-in that is over: %s %s", resp.Status, body)
	}
	q := url.Values{"client_id": {"web"}, "redirect_uri": {"https://evil.example.com/"}, "response_type": {"code"}, "scope": {"openid"}}
	if resp, _ := w.get(issuer + "/oauth2/v1/authorize?" + q.Encode()); resp.StatusCode != 400 {
		t.Errorf("another redirect URI: %s, want 400", resp.Status)
	}
	if status, got := w.exchange(w.signIn("web", nil), url.Values{"redirect_uri": {"https://evil.example.com/"}}); status == 200 {
		t.Errorf("a code for another redirect URI: %+v", got)
	}
}

func TestPKCE(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config())
	verifier := strings.Repeat("v", 50)
	sum := sha256.Sum256([]byte(verifier))
	asked := url.Values{"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	for proof, want := range map[string]int{verifier: 200, strings.Repeat("w", 50): 400, "": 400} {
		if status, got := w.exchange(w.signIn("web", asked), url.Values{"code_verifier": {proof}}); status != want {
			t.Errorf("verifier %.3q: %d %+v, want %d", proof, status, got, want)
		}
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config())
	_, first := w.exchange(w.signIn("web", nil), nil)
	status, second := w.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.Refresh}})
	if status != 200 || second.Access == "" || second.Access == first.Access {
		t.Fatalf("%d %+v", status, second)
	}
	if status, _ := w.userinfo(second.Access); status != 200 {
		t.Errorf("userinfo after the refresh: %d", status)
	}
	if status, again := w.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.Refresh}}); status != 400 || again.Error != "invalid_grant" {
		t.Errorf("a refresh token for the second time: %d %+v", status, again)
	}
	c := config()
	c.NoRefresh = true
	w = newWorld(t, c)
	if _, got := w.exchange(w.signIn("web", nil), nil); got.Refresh != "" || got.Access == "" {
		t.Errorf("without refresh tokens: %+v", got)
	}
}

func TestShortLives(t *testing.T) {
	t.Parallel()
	c := config()
	c.AccessSeconds, c.RefreshSeconds = 1, 1
	w := newWorld(t, c)
	_, got := w.exchange(w.signIn("web", nil), nil)
	if got.Expires > 1 {
		t.Errorf("tokens last %d s, want one", got.Expires)
	}
	claims := verified(t, w.keys(), got.ID)
	if life := claims["exp"].(float64) - claims["iat"].(float64); life > 1 {
		t.Errorf("ID tokens last %v s, want one", life)
	}
	until := time.Now().Add(30 * time.Second)
	for status := 200; status == 200; status, _ = w.userinfo(got.Access) {
		if time.Now().After(until) {
			t.Fatal("an access token of one second is good after thirty")
		}
	}
	if status, _ := w.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}}); status == 200 {
		t.Error("a refresh token outlasts its life")
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config())
	_, first := w.exchange(w.signIn("web", nil), nil)
	if err := w.provider.Rotate(); err != nil {
		t.Fatal(err)
	}
	_, second := w.exchange(w.signIn("web", nil), nil)
	set := w.keys()
	if len(set.Keys) != 2 || verified(t, set, first.ID) == nil || verified(t, set, second.ID) == nil {
		t.Errorf("after one rotation there are %d keys, want two that fit both tokens", len(set.Keys))
	}
	if err := w.provider.Rotate(); err != nil {
		t.Fatal(err)
	}
	if set := w.keys(); len(set.Keys) != 2 || verified(t, set, first.ID) != nil || verified(t, set, second.ID) == nil {
		t.Error("after two rotations the first key is not gone, or the second is")
	}
}

func TestFaultsOfConfiguration(t *testing.T) {
	t.Parallel()
	_, err := oidc.New(oidc.Config{Issuer: "http://x", Token: "https://x", Clients: []oidc.Client{{ID: "a"}}, Users: []oidc.User{{Name: "u"}}, AccessSeconds: -1})
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"issuer", "token", "clients[0]", "users[0]", "less than no time"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q says nothing of %s", err, want)
		}
	}
}
