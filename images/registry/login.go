package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/transfer"
)

// challenge is how a registry wants to be told who calls.
// https://distribution.github.io/distribution/spec/auth/token/
type challenge struct {
	bearer         bool
	realm, service string
}

// token is one of a token service.
type token struct {
	text  string
	until time.Time
}

var parameter = regexp.MustCompile(`([a-zA-Z]+)="([^"]*)"`)

// read reads the challenge of an answer; nil if there is none that is known.
func read(header http.Header) *challenge {
	for _, h := range header.Values("Www-Authenticate") {
		kind, rest, _ := strings.Cut(h, " ")
		c := &challenge{bearer: strings.EqualFold(kind, "Bearer")}
		if !c.bearer && !strings.EqualFold(kind, "Basic") {
			continue
		}
		for _, m := range parameter.FindAllStringSubmatch(rest, -1) {
			switch strings.ToLower(m[1]) {
			case "realm":
				c.realm = m[2]
			case "service":
				c.service = m[2]
			}
		}
		return c
	}
	return nil
}

// own tells that an answer is the registry's, and not that of a host that it led to:
// nobody else says where credentials are to be sent.
func (c *Client) own(resp *http.Response) bool {
	return resp.Request != nil && resp.Request.URL.Scheme == c.scheme && resp.Request.URL.Host == c.host
}

// renews tells whether a refusal may be one of the credentials, which new ones can
// change, and takes the registry's challenge down. ECR says by 403 that a token is
// over.
func (c *Client) renews(e *Error, resp *http.Response) bool {
	switch {
	case !c.own(resp):
		return false
	case e.Status == http.StatusUnauthorized:
		if asked := read(resp.Header); asked != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asked = asked
			return true
		}
		return false
	case e.Status == http.StatusForbidden:
		return strings.Contains(strings.ToLower(e.Message), "token has expired")
	}
	return false
}

// authorize is the header that says who calls; empty before the registry asked.
// Fresh says that the one before was refused.
func (c *Client) authorize(ctx context.Context, scope string, fresh bool) (string, error) {
	c.mu.Lock()
	asked, known := c.asked, c.tokens[scope]
	c.mu.Unlock()
	if asked == nil {
		return "", nil
	}
	if asked.bearer && !fresh && c.clock.Now().Before(known.until) {
		return "Bearer " + known.text, nil
	}
	who, err := c.login(ctx, fresh)
	if awsapi.Passes(err) {
		return "", &brokenError{"log in to " + c.host, err}
	}
	if err != nil {
		return "", fmt.Errorf("log in to %s: %w", c.host, err)
	}
	if asked.bearer {
		return c.exchange(ctx, asked, who, scope)
	}
	if who.User == "" && who.Password == "" {
		return "", nil
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(who.User+":"+who.Password)), nil
}

// tokenTime is how long a token service may take for all of its answer, which is never
// long, and maxToken how many bytes that may have. One that trickles stands still.
const (
	tokenTime = 2 * time.Minute
	maxToken  = 1 << 20
)

// exchange gets a token of the registry's token service, and follows it nowhere:
// credentials go to the address that the registry named, by TLS or on this machine.
func (c *Client) exchange(ctx context.Context, asked *challenge, who Credentials, scope string) (string, error) {
	at, err := url.Parse(asked.realm)
	if err != nil || at.Host == "" || at.Scheme != "https" && (at.Scheme != c.scheme || !loopback(at.Host)) {
		return "", fmt.Errorf("log in to %s: the registry names no token service with TLS", c.host)
	}
	ctx, end := context.WithTimeoutCause(ctx, tokenTime, transfer.ErrStalled)
	defer end()
	values := url.Values{"service": {asked.service}, "scope": strings.Fields(scope)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if who.Identity != "" {
		values.Set("scope", scope)
		values.Set("grant_type", "refresh_token")
		values.Set("refresh_token", who.Identity)
		values.Set("client_id", "poolhouse")
		if req, err = http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(values.Encode())); err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	} else if err == nil {
		query := at.Query()
		for k, v := range values {
			query[k] = v
		}
		req.URL.RawQuery = query.Encode()
		if who.User != "" {
			req.SetBasicAuth(who.User, who.Password)
		}
	}
	if err != nil {
		return "", fmt.Errorf("log in to %s: %w", c.host, bare(err))
	}
	doing := "log in to " + c.host
	direct := *c.http
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := transfer.Do(req, answerTime, direct.Do)
	if err != nil {
		return "", unanswered(doing, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", refusal(doing, resp)
	}
	var out struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", &brokenError{doing, err}
	}
	if len(text) > maxToken {
		return "", fmt.Errorf("%s: the token service answers with more than %d bytes", doing, maxToken)
	}
	err = json.Unmarshal(text, &out)
	if out.Token == "" {
		out.Token = out.AccessToken
	}
	if err != nil || out.Token == "" {
		return "", fmt.Errorf("%s: the token service answers with no token", doing)
	}
	if out.ExpiresIn <= 0 {
		out.ExpiresIn = 60
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A tenth is left, for what is on its way.
	c.tokens[scope] = token{out.Token, c.clock.Now().Add(time.Duration(out.ExpiresIn) * 9 * time.Second / 10)}
	return "Bearer " + out.Token, nil
}
