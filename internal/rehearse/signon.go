package rehearse

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// Visit is how users come to a copy of an account.
type Visit struct {
	// Proxy leads by names, to load balancers and to the identity provider, with
	// certificates of Roots.
	Proxy *url.URL
	Roots *x509.CertPool
	// Users can sign in at the provider: the first anywhere but where a group is
	// asked for, the second everywhere.
	Users [2]User
	// Target is an address of the VPC's where somebody answers with the name of
	// who has signed in.
	Target netip.AddrPort
}

// User is somebody at the identity provider.
type User struct{ Name, Password string }

// signOn has users sign in at the deployment's load balancers, by every redirect
// that a browser follows, and refuses who may not.
func (r *run) signOn(p *process, v *Visit, d *Data) error {
	began := time.Now()
	groups, err := p.clients.ELB.DescribeTargetGroups(p.ctx, &elb.DescribeTargetGroupsInput{})
	if err != nil {
		return fmt.Errorf("look at target groups: %w", err)
	}
	for _, g := range groups.TargetGroups {
		if _, err := p.clients.ELB.RegisterTargets(p.ctx, &elb.RegisterTargetsInput{
			TargetGroupArn: g.TargetGroupArn,
			Targets:        []types.TargetDescription{{Id: aws.String(v.Target.Addr().String()), Port: aws.Int32(int32(v.Target.Port()))}},
		}); err != nil {
			return fmt.Errorf("register a target of %s: %w", aws.ToString(g.TargetGroupName), err)
		}
	}
	access := r.next.Config.Access
	web, admin := access.Web.Host, access.Admin.Host
	hops, err := r.signsIn(p.ctx, v, web, v.Users[0])
	if err != nil {
		return err
	}
	also, err := r.signsIn(p.ctx, v, admin, v.Users[1])
	if err != nil {
		return err
	}
	line := fmt.Sprintf("users signed in at %s and %s, by %d redirects", web, admin, hops+also)
	if access.SSO.AdminGroup != "" {
		var refused *refusedSignOn
		switch _, err := v.signIn(p.ctx, admin, v.Users[0]); {
		case err == nil:
			return &MismatchError{"signing in at " + admin, []string{v.Users[0].Name + ", who is not in the group " + access.SSO.AdminGroup + ", got in"}}
		case !errors.As(err, &refused) || refused.status != http.StatusForbidden:
			return err
		}
		line += ", and who is not in " + access.SSO.AdminGroup + " was refused there"
	}
	d.Rehearsed = append(d.Rehearsed, fmt.Sprintf("%s, in %.1fs", line, time.Since(began).Seconds()))
	return nil
}

// signsIn has a user sign in, once load balancers know of what stands behind them.
func (r *run) signsIn(ctx context.Context, v *Visit, host string, u User) (hops int, err error) {
	err = r.eventually(ctx, func() (err error) {
		hops, err = v.signIn(ctx, host, u)
		return err
	})
	return hops, err
}

// refusedSignOn is the provider's refusal to sign a user in.
type refusedSignOn struct {
	user, host string
	status     int
}

func (e *refusedSignOn) Error() string {
	return fmt.Sprintf("the identity provider refuses %s at %s: status %d", e.user, e.host, e.status)
}

// hidden is the field of the provider's form that names the sign-in.
var hidden = regexp.MustCompile(`<input type="hidden" name="request" value="([^"]+)">`)

// signIn visits a host as a browser without a session: it is sent to the provider,
// signs in, and comes back to whoever answers there. It returns how often it was
// sent elsewhere. What answers has to say who has signed in.
func (v *Visit) signIn(ctx context.Context, host string, u User) (hops int, err error) {
	hops, _, text, err := v.enter(ctx, host, "/", u)
	if err == nil && text != u.Name {
		err = fmt.Errorf("sign in at %s: %s came in as %.200q", host, u.Name, text)
	}
	return hops, err
}

// enter is a visit of a page of a host by a user who signs in: the answer to it, whose
// body is text.
func (v *Visit) enter(ctx context.Context, host, path string, u User) (hops int, page *http.Response, text string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return 0, nil, "", err
	}
	transport := v.transport()
	defer transport.CloseIdleConnections()
	const most = 20
	browser := &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		if hops++; hops > most {
			return fmt.Errorf("it is sent elsewhere more than %d times", most)
		}
		return nil
	}}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	do := func(method, to string, body url.Values) (*http.Response, string, error) {
		req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body.Encode()))
		if err != nil {
			return nil, "", err
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := browser.Do(req)
		if err != nil {
			return nil, "", fmt.Errorf("sign in at %s: %w", host, err)
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, mostPage))
		return resp, string(text), errors.Join(err, resp.Body.Close())
	}
	if page, text, err = do(http.MethodGet, "https://"+host+path, nil); err != nil {
		return hops, nil, "", err
	}
	m := hidden.FindStringSubmatch(text)
	if page.StatusCode != http.StatusOK || m == nil {
		return hops, nil, "", fmt.Errorf("sign in at %s: %s answers %s, and not with a page to sign in at: %.200q", host, page.Request.URL.Host, page.Status, text)
	}
	form, err := page.Request.URL.Parse("/login")
	if err != nil {
		return hops, nil, "", err
	}
	page, text, err = do(http.MethodPost, form.String(), url.Values{"request": {html.UnescapeString(m[1])}, "name": {u.Name}, "password": {u.Password}})
	switch {
	case err != nil:
		return hops, nil, "", err
	case page.Request.URL.Host == form.Host && page.StatusCode >= http.StatusBadRequest:
		return hops, nil, "", &refusedSignOn{u.Name, host, page.StatusCode}
	case page.Request.URL.Host != host || page.StatusCode != http.StatusOK:
		return hops, nil, "", fmt.Errorf("sign in at %s: %s was led to %s, which answers %s: %.200q", host, u.Name, page.Request.URL.Host, page.Status, text)
	}
	return hops, page, text, nil
}
