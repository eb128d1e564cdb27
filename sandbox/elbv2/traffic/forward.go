package traffic

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// choose draws a target group by weight.
func choose(list []elbv2.Weight) string {
	total := 0
	for _, w := range list {
		total += w.Weight
	}
	if total == 0 {
		return ""
	}
	n := mathrand.IntN(total)
	for _, w := range list {
		if n -= w.Weight; n < 0 {
			return w.Group
		}
	}
	return ""
}

// forward sends a request to a target and answers with what comes back.
func (x *exchange) forward(a *elbv2.Action) {
	arn := choose(a.Forward)
	x.entry.group = arn
	g := x.st.groups[arn]
	if g == nil {
		x.fail(http.StatusServiceUnavailable, "")
		return
	}
	g.mu.Lock()
	v := g.view
	g.mu.Unlock()
	if v.Unmodelled != "" {
		x.unmodelled(v.Unmodelled)
		return
	}
	t, release := g.pick()
	if t == nil {
		x.fail(http.StatusServiceUnavailable, "")
		return
	}
	defer release()
	if !x.b.server.opts.Carries(t.address()) {
		x.unmodelled("what stands behind target " + t.address())
		return
	}
	x.entry.target = t.address()
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(errCut) })()

	to := url.URL{Scheme: "http", Host: t.address()}
	if v.HTTPS {
		to.Scheme = "https"
	}
	(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { x.rewrite(p, to) }, Transport: g.transport, FlushInterval: -1, ErrorLog: quiet(), BufferPool: pool,
		ModifyResponse: func(resp *http.Response) error {
			x.entry.answered = time.Now()
			x.entry.targetStatus = resp.StatusCode
			for k := range x.listener.Headers {
				resp.Header.Del(k) // the listener's take their place
			}
			if !x.listener.Server {
				resp.Header.Del("Server")
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { x.broken(ctx, err) },
	}).ServeHTTP(x.w, x.r.WithContext(ctx))
}

// errCut is why a request to a target that was deregistered ended.
var errCut = errors.New("the deregistration delay is over")

// broken answers for a target that did not.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
func (x *exchange) broken(ctx context.Context, err error) {
	switch {
	case errors.Is(context.Cause(ctx), errCut):
		x.fail(http.StatusBadGateway, "")
	case x.r.Context().Err() != nil:
		x.fail(460, "") // nobody reads it; the log has it
	case timedOut(err):
		x.fail(http.StatusGatewayTimeout, "")
	default:
		x.fail(http.StatusBadGateway, "")
	}
}

// valid is what header names consist of.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#load-balancer-attributes
var valid = regexp.MustCompile(`^[-A-Za-z0-9]+$`)

// rewrite makes the request for the target of the client's.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
func (x *exchange) rewrite(p *httputil.ProxyRequest, to url.URL) {
	p.Out.URL.Scheme, p.Out.URL.Host = to.Scheme, to.Host
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as it came
	p.Out.Host = p.In.Host
	if port := x.listener.Port; !x.st.PreserveHost && port != 80 && port != 443 && !strings.Contains(p.In.Host, ":") {
		p.Out.Host += ":" + strconv.Itoa(port)
	}
	if x.st.DropInvalid {
		for k := range p.Out.Header {
			if !valid.MatchString(k) {
				delete(p.Out.Header, k)
			}
		}
	}
	if _, ok := p.In.Header["User-Agent"]; !ok {
		p.Out.Header["User-Agent"] = nil // else Go says its own
	}
	client, port, err := net.SplitHostPort(p.In.RemoteAddr)
	if err != nil {
		client = p.In.RemoteAddr
	}
	if x.st.ClientPort && port != "" {
		client = net.JoinHostPort(client, port)
	}
	before := p.In.Header.Values("X-Forwarded-For")
	switch x.st.Forwarded {
	case "preserve":
		if len(before) > 0 {
			p.Out.Header["X-Forwarded-For"] = before
		}
	case "remove":
	default:
		p.Out.Header.Set("X-Forwarded-For", strings.Join(append(before[:len(before):len(before)], client), ", "))
	}
	scheme := "http"
	if x.listener.HTTPS {
		scheme = "https"
	}
	p.Out.Header.Set("X-Forwarded-Proto", scheme)
	p.Out.Header.Set("X-Forwarded-Port", strconv.Itoa(x.listener.Port))
	p.Out.Header.Set("X-Amzn-Trace-Id", x.entry.trace)
	x.entry.sent = time.Now()
}

// trace is the value of X-Amzn-Trace-Id: a new root, or itself beside a root that
// came along.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
func trace(now time.Time, before string) string {
	random := make([]byte, 12)
	_, _ = rand.Read(random) // it never fails
	id := fmt.Sprintf("1-%08x-%s", now.Unix(), hex.EncodeToString(random))
	var rest []string
	root := false
	for field := range strings.SplitSeq(before, ";") {
		if field = strings.TrimSpace(field); field == "" || strings.HasPrefix(field, "Self=") {
			continue
		}
		root = root || strings.HasPrefix(field, "Root=")
		rest = append(rest, field)
	}
	if root {
		return strings.Join(append([]string{"Self=" + id}, rest...), ";")
	}
	return strings.Join(append([]string{"Root=" + id}, rest...), ";")
}
