package traffic

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// interval is how often a load balancer's node publishes a log file.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
const interval = 5 * time.Minute

// iso is how logs write times.
const iso = "2006-01-02T15:04:05.000000Z"

// entry is what a log says of a request beside what the request says itself.
type entry struct {
	created                               time.Time // by the account's clock
	began, sent, answered                 time.Time // by the wall's
	target, group, trace                  string
	targetStatus                          int
	priority, actions, redirect, reason   string
	domain, certificate, cipher, protocol string
	upgrade                               bool
}

// accessLog is what a load balancer has not yet delivered.
type accessLog struct {
	mu    sync.Mutex
	until time.Time // when the interval ends
	lines bytes.Buffer
}

// begin notes what is known when a request has come.
func (x *exchange) begin() {
	e := &x.entry
	e.created, e.began = x.b.server.opts.Now(), time.Now()
	e.trace = trace(e.created, x.r.Header.Get("X-Amzn-Trace-Id"))
	e.upgrade = strings.EqualFold(x.r.Header.Get("Upgrade"), "websocket")
	if x.r.TLS != nil {
		e.cipher, e.protocol = tls.CipherSuiteName(x.r.TLS.CipherSuite), strings.ReplaceAll(tls.VersionName(x.r.TLS.Version), "TLS ", "TLSv")
		if i, named := certificateFor(x.listener, x.r.TLS.ServerName); i >= 0 {
			e.certificate = x.listener.Certificates[i].ARN
			if named {
				e.domain = x.r.TLS.ServerName
			}
		}
	}
}

// end logs a request that is over.
func (x *exchange) end() {
	if x.st.LogBucket == "" {
		return
	}
	now := x.b.server.opts.Now()
	line := x.line(now)
	l := &x.b.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.IsZero() {
		l.until = now.Truncate(interval).Add(interval)
	}
	l.lines.WriteString(line)
}

// line is a request's entry.
func (x *exchange) line(now time.Time) string {
	e, r := &x.entry, x.r
	kind := "http"
	switch {
	case e.upgrade && x.w.status == http.StatusSwitchingProtocols && r.TLS != nil:
		kind = "wss"
	case e.upgrade && x.w.status == http.StatusSwitchingProtocols:
		kind = "ws"
	case r.ProtoMajor == 2:
		kind = "h2"
	case r.TLS != nil:
		kind = "https"
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	seconds := func(from, to time.Time) string {
		if from.IsZero() || to.IsZero() {
			return "-1"
		}
		return strconv.FormatFloat(to.Sub(from).Seconds(), 'f', 3, 64)
	}
	or := func(s string) string { return cmp.Or(s, "-") }
	quoted := func(s string) string {
		// Control characters and quotes would end the field.
		return strconv.QuoteToASCII(or(s))
	}
	targetStatus := ""
	if e.targetStatus != 0 {
		targetStatus = strconv.Itoa(e.targetStatus)
	}
	request := fmt.Sprintf("%s %s://%s:%d%s %s", r.Method, scheme, hostOf(r), x.listener.Port, r.URL.RequestURI(), r.Proto)
	received := max(r.ContentLength, 0)
	fields := []string{
		kind, now.UTC().Format(iso), x.st.ID, r.RemoteAddr, or(e.target),
		seconds(e.began, e.sent), seconds(e.sent, e.answered), seconds(e.answered, x.w.started),
		strconv.Itoa(x.w.status), or(targetStatus), strconv.FormatInt(received, 10), strconv.FormatInt(x.w.bytes, 10),
		quoted(request), quoted(r.UserAgent()), or(e.cipher), or(e.protocol), or(e.group), quoted(e.trace), quoted(e.domain), quoted(e.certificate),
		or(e.priority), e.created.UTC().Format(iso), quoted(e.actions), quoted(e.redirect), quoted(e.reason),
		quoted(e.target), quoted(targetStatus), quoted(""), quoted(""),
	}
	return strings.Join(fields, " ") + "\n"
}

// deliver writes the logs of all load balancers whose interval is over, or all.
// What can't be delivered is reported and lost.
func (s *Server) deliver(all bool) {
	if s.opts.Deliver == nil {
		return
	}
	s.mu.Lock()
	var list []*balancer
	for _, b := range s.balancers {
		list = append(list, b)
	}
	s.mu.Unlock()
	for _, b := range list {
		if err := b.deliver(s.opts.Now(), all); err != nil {
			s.report(err)
		}
	}
}

func (b *balancer) deliver(now time.Time, all bool) error {
	st := b.state.Load()
	l := &b.log
	l.mu.Lock()
	if l.lines.Len() == 0 || !all && now.Before(l.until) {
		l.mu.Unlock()
		return nil
	}
	until, lines := l.until, bytes.Clone(l.lines.Bytes())
	l.until = time.Time{}
	l.lines.Reset()
	l.mu.Unlock()
	if st.LogBucket == "" {
		return nil // switched off meanwhile
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(lines); err != nil {
		return fmt.Errorf("pack the log of %s: %w", st.ID, err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("pack the log of %s: %w", st.ID, err)
	}
	prefix := ""
	if st.LogPrefix != "" {
		prefix = st.LogPrefix + "/"
	}
	until = until.UTC()
	key := fmt.Sprintf("%sAWSLogs/%s/elasticloadbalancing/%s/%s/%s_elasticloadbalancing_%s_%s_%s_%s_%s.log.gz",
		prefix, b.account, b.region, until.Format("2006/01/02"), b.account, b.region,
		strings.ReplaceAll(st.ID, "/", "."), until.Format("20060102T1504Z"), cmp.Or(st.Address, "0.0.0.0"), strings.ToLower(rand.Text()[:8]))
	if err := b.server.opts.Deliver(st.LogBucket, key, packed.Bytes(), st.ARN); err != nil {
		return fmt.Errorf("deliver the log of %s to s3://%s/%s: %w", st.ID, st.LogBucket, key, err)
	}
	return nil
}
