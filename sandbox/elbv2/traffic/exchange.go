package traffic

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// What a request may be.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
const (
	mostHeader    = 64 << 10
	mostForwarded = 30 // addresses in X-Forwarded-For
)

// SignOn carries out an authenticate-oidc action: it either answers, and returns
// false, or lets the request go on, after it has changed its headers. The reason
// is AWS's error code for logs, or empty.
type SignOn interface {
	Authenticate(w http.ResponseWriter, r *http.Request, c *elbv2.OIDC, balancer, listener string) (on bool, reason string)
}

// exchange is a request on its way.
type exchange struct {
	b        *balancer
	st       *state
	listener *elbv2.Listener
	w        *counter
	r        *http.Request
	entry    entry
}

// serve answers a request at a port.
func (b *balancer) serve(w http.ResponseWriter, r *http.Request, number int) {
	defer b.server.opts.Hold()()
	st := b.state.Load()
	l := st.at(number)
	if l == nil { // it has gone meanwhile
		panic(http.ErrAbortHandler)
	}
	x := &exchange{b: b, st: st, listener: l, w: &counter{ResponseWriter: w}, r: r}
	x.begin()
	defer x.end()
	for k, v := range l.Headers {
		w.Header().Set(k, v)
	}
	if x.refused() {
		return
	}
	rule := route(l, r)
	if rule == nil {
		x.fail(http.StatusInternalServerError, "")
		return
	}
	x.entry.priority = strconv.Itoa(rule.Priority)
	for i := range rule.Actions {
		if !x.act(&rule.Actions[i]) {
			return
		}
	}
}

// refused answers what no rule gets to see.
func (x *exchange) refused() bool {
	forwarded := strings.Join(x.r.Header.Values("X-Forwarded-For"), ",")
	switch {
	case x.r.Method == http.MethodTrace:
		x.fail(http.StatusMethodNotAllowed, "")
	case forwarded != "" && strings.Count(forwarded, ",") >= mostForwarded:
		x.fail(463, "")
	default:
		return false
	}
	return true
}

// act carries out an action and tells whether the next one follows.
func (x *exchange) act(a *elbv2.Action) bool {
	if a.Unmodelled != "" {
		x.unmodelled(a.Unmodelled)
		return false
	}
	switch a.Type {
	case "fixed-response":
		x.did("fixed-response")
		x.own()
		if a.FixedResponse.ContentType != "" {
			x.w.Header().Set("Content-Type", a.FixedResponse.ContentType)
		}
		x.w.Header().Set("Content-Length", strconv.Itoa(len(a.FixedResponse.Body)))
		x.w.WriteHeader(a.FixedResponse.Status)
		x.write(a.FixedResponse.Body)
	case "redirect":
		x.did("redirect")
		x.redirect(a.Redirect)
	case "authenticate-oidc":
		x.did("authenticate")
		x.own()
		on, reason := x.b.server.opts.SignOn.Authenticate(x.w, x.r, a.OIDC, x.st.ARN, x.listener.ARN)
		x.entry.reason = cmp.Or(reason, x.entry.reason)
		if on {
			x.w.Header().Del("Server")
		}
		return on
	case "forward":
		x.did("forward")
		x.forward(a)
	}
	return false
}

func (x *exchange) did(action string) {
	x.entry.actions = strings.TrimPrefix(x.entry.actions+","+action, ",")
}

// own says that the load balancer itself answers.
func (x *exchange) own() {
	if x.listener.Server {
		x.w.Header().Set("Server", "awselb/2.0")
	}
}

func (x *exchange) write(body string) {
	if x.r.Method != http.MethodHead {
		// The client may be gone.
		_, _ = io.WriteString(x.w, body)
	}
}

// redirect answers with the URL that a redirect action makes of the request's.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html
func (x *exchange) redirect(c *elbv2.Redirect) {
	scheme := "http"
	if x.listener.HTTPS {
		scheme = "https"
	}
	fill := strings.NewReplacer(
		"#{protocol}", scheme, "#{host}", hostOf(x.r), "#{port}", strconv.Itoa(x.listener.Port),
		"#{path}", strings.TrimPrefix(x.r.URL.EscapedPath(), "/"), "#{query}", x.r.URL.RawQuery,
	)
	url := strings.ToLower(fill.Replace(c.Protocol)) + "://" + fill.Replace(c.Host) + ":" + fill.Replace(c.Port) + fill.Replace(c.Path)
	if q := fill.Replace(c.Query); q != "" {
		url += "?" + q
	}
	x.entry.redirect = url
	x.own()
	x.w.Header().Set("Location", url)
	x.page(c.Status)
}

// fail answers an error of the load balancer's own; reason is for the log.
func (x *exchange) fail(status int, reason string) {
	x.entry.reason = cmp.Or(reason, x.entry.reason)
	x.own()
	x.page(status)
}

// page writes the page that a load balancer has for a status.
func (x *exchange) page(status int) {
	title := strconv.Itoa(status)
	if t := http.StatusText(status); t != "" {
		title += " " + t
	}
	body := fmt.Sprintf("<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n</body>\r\n</html>\r\n", title, title)
	x.w.Header().Set("Content-Type", "text/html")
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	x.write(body)
}

// unmodelled answers for what AWS has and the sandbox has not.
func (x *exchange) unmodelled(what string) {
	http.Error(x.w, "NotModelled: "+what+" is not modelled by the sandbox", http.StatusNotImplemented)
}

// quiet is a log for what servers and proxies say of clients and targets that
// went away: nobody has to know.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// counter counts what is answered.
type counter struct {
	http.ResponseWriter
	status  int
	bytes   int64
	started time.Time
}

// Unwrap is for [http.ResponseController].
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counter) WriteHeader(status int) {
	if c.status == 0 || c.status < 200 {
		c.status, c.started = status, time.Now()
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}
