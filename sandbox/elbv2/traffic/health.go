package traffic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// watch checks a target's health until the context ends. A new target is healthy
// after one check that passed.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
func (g *group) watch(ctx context.Context, t *target) {
	g.mark(t, account.Health{State: "initial", Reason: "Elb.InitialHealthChecking", Description: "Initial health checks in progress"})
	for {
		g.mu.Lock()
		v := g.view
		g.mu.Unlock()
		next := time.NewTimer(v.Health.Interval)
		found := g.check(ctx, v, t)
		if ctx.Err() != nil {
			next.Stop()
			return
		}
		g.judge(v.Health, t, found)
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
	}
}

func (g *group) mark(t *target, h account.Health) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.health = h
}

// judge draws the conclusion from a check.
func (g *group) judge(c elbv2.HealthCheck, t *target, found account.Health) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if found.State == "healthy" {
		t.passed, t.failed = t.passed+1, 0
		if t.health.State == "initial" || t.passed >= c.Healthy {
			t.health = found
		}
		return
	}
	t.passed, t.failed = 0, t.failed+1
	if t.health.State == "unhealthy" || t.failed >= c.Unhealthy {
		t.health = found
	}
}

// check asks a target once, on a connection of its own.
func (g *group) check(ctx context.Context, v elbv2.Group, t *target) account.Health {
	if g.server.opts.Fails(v.ARN) {
		return account.Health{State: "unhealthy", Reason: "Target.FailedHealthChecks", Description: "Health checks failed"}
	}
	ctx, cancel := context.WithTimeout(ctx, v.Health.Timeout)
	defer cancel()
	port := v.HealthCheckedPort
	if port == "traffic-port" {
		port = strconv.Itoa(t.Port)
	}
	scheme := "http"
	if v.Health.HTTPS {
		scheme = "https"
	}
	address := net.JoinHostPort(t.Address, port)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+v.Health.Path, nil)
	if err != nil {
		return account.Health{State: "unhealthy", Reason: "Target.FailedHealthChecks", Description: "Health checks failed"}
	}
	r.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	once := &http.Transport{
		// A transport's own context outlasts its request.
		DialContext:     func(_ context.Context, _, address string) (net.Conn, error) { return g.server.opts.Dial(ctx, address) },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}, DisableKeepAlives: true,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	resp, err := once.RoundTrip(r)
	if err != nil {
		if timedOut(err) {
			return account.Health{State: "unhealthy", Reason: "Target.Timeout", Description: "Request timed out"}
		}
		return account.Health{State: "unhealthy", Reason: "Target.FailedHealthChecks", Description: "Health checks failed"}
	}
	defer resp.Body.Close()
	// The answer counts, whatever becomes of its body.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if !matches(v.Health.Codes, resp.StatusCode) {
		return account.Health{State: "unhealthy", Reason: "Target.ResponseCodeMismatch", Description: fmt.Sprintf("Health checks failed with these codes: [%d]", resp.StatusCode)}
	}
	return account.Health{State: "healthy"}
}

// matches tells whether a matcher, such as 200-299,301, has a status.
func matches(codes string, status int) bool {
	for part := range strings.SplitSeq(codes, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		from, err := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if err == nil && err2 == nil && status >= from && status <= to {
			return true
		}
	}
	return false
}

// timedOut tells whether an error is that of a time that was over.
func timedOut(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
