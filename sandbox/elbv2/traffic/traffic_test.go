package traffic_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2/traffic"
)

// say answers with a word, and is healthy.
func say(word string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, word) }
}

// A redirect action answers with a URL made of the request's parts, port
// included.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html
func TestRedirect(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		status, _, h := w.get("http://" + name + "/a%20b?x=1&y=2")
		if want := "https://" + name + ":443/a%20b?x=1&y=2"; status != 301 || h.Get("Location") != want || h.Get("Server") != "awselb/2.0" {
			t.Errorf("%d to %q by %q, want 301 to %s by awselb/2.0", status, h.Get("Location"), h.Get("Server"), want)
		}
	})
}

// A request that no rule names gets the listener's default action, such as a
// fixed response.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html
func TestDefaultAction(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		status, body, h := w.get("https://"+name+"/", func(r *http.Request) { r.Host = "other.example.com" })
		if status != 404 || body != "not found" || h.Get("Content-Type") != "text/plain" {
			t.Errorf("%d %q of type %q, want 404 not found as text/plain", status, body, h.Get("Content-Type"))
		}
	})
}

// The certificate is chosen by server name, and the default one is shown to
// clients whose name none is for; protocols are those of the security policy.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
func TestCertificates(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		w.change(func(v *elbv2.View) {
			l := &v.Balancers[0].Listeners[1]
			l.Certificates = append(slices.Clone(l.Certificates), elbv2.Certificate{ARN: certARN + "2", Names: []string{"shop.example.net"}})
		})
		shake := func(server string, highest uint16) (string, error) {
			conn, err := w.connect(w.t.Context(), "tcp", name+":443")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := tls.Client(conn, &tls.Config{ServerName: server, InsecureSkipVerify: true, MaxVersion: highest, MinVersion: tls.VersionTLS10})
			if err := c.HandshakeContext(w.t.Context()); err != nil {
				return "", err
			}
			return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
		}
		for server, want := range map[string]string{name: "example.com", "shop.example.net": "shop.example.net", "nobody.example.org": "example.com"} {
			if got, err := shake(server, 0); err != nil || got != want {
				t.Errorf("%s gets the certificate of %q, %v, want that of %s", server, got, err, want)
			}
		}
		if _, err := shake(name, tls.VersionTLS11); err == nil {
			t.Error("TLS 1.1 is spoken, against the policy")
		}
	})
}

// Rules are evaluated by priority, and all conditions of one must be met, each by
// one of its values, with * and ?.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
func TestConditions(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		c := func(field string, values ...string) elbv2.Condition {
			return elbv2.Condition{Field: field, Values: values}
		}
		header := elbv2.Condition{Field: "http-header", Header: "X-Kind", Values: []string{"beta*"}}
		w.change(func(v *elbv2.View) {
			var rules []elbv2.Rule
			for i, list := range [][]elbv2.Condition{
				{c("host-header", "*.wild.example.com"), c("path-pattern", "/img/?.png", "/css/*")},
				{c("http-request-method", "DELETE", "PUT")},
				{header},
				{c("query-string", "version=v?", "debug")},
				{c("source-ip", "203.0.113.0/24"), c("path-pattern", "/office")},
				{c("source-ip", "198.51.100.0/24"), c("path-pattern", "/elsewhere")},
			} {
				rules = append(rules, elbv2.Rule{Priority: i + 1, Conditions: list, Actions: fixed(200, fmt.Sprint(i+1))})
			}
			v.Balancers[0].Listeners[0].Rules = append(rules, elbv2.Rule{Actions: fixed(200, "default")})
		})
		for _, test := range []struct {
			method, host, path, kind, want string
		}{
			{"GET", "a.WILD.example.com", "/img/1.png", "", "1"},
			{"GET", "a.wild.example.com", "/css/a/b.css", "", "1"},
			{"GET", "a.wild.example.com", "/img/10.png", "", "default"},
			{"GET", name, "/img/1.png", "", "default"},
			{"PUT", name, "/", "", "2"},
			{"GET", name, "/", "BETA-2", "3"},
			{"GET", name, "/?Version=V2", "", "4"},
			{"GET", name, "/?x=debug", "", "4"},
			{"GET", name, "/?version=v10", "", "default"},
			{"GET", name, "/office", "", "5"},
			{"GET", name, "/elsewhere", "", "default"},
		} {
			_, got, _ := w.get("http://"+name+test.path, func(r *http.Request) {
				r.Method, r.Host = test.method, test.host
				if test.kind != "" {
					r.Header.Set("X-Kind", test.kind)
				}
			})
			if got != test.want {
				t.Errorf("%s %s%s (%s) meets rule %s, want %s", test.method, test.host, test.path, test.kind, got, test.want)
			}
		}
	})
}

// Targets learn from headers who asked, how and where, and the trace of the
// request; header names that are none are dropped if the load balancer is told
// so; the Host header stays.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
func TestHeaders(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		var got http.Header
		w.up("10.0.0.1:8443", func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" {
				got = r.Header.Clone()
				got.Set("Host", r.Host)
			}
		})
		w.register(target("10.0.0.1"))
		w.get("https://"+name+"/", func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", "192.0.2.1")
			r.Header.Set("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678;Extra=1")
			r.Header["Bad_Name"] = []string{"x"}
			r.Header.Set("X-Good", "x")
		})
		trace := got.Get("X-Amzn-Trace-Id")
		if !strings.HasPrefix(trace, "Self=1-") || !strings.HasSuffix(trace, ";Root=1-67891233-abcdef012345678912345678;Extra=1") {
			t.Errorf("the trace is %q", trace)
		}
		for k, want := range map[string]string{"X-Forwarded-For": "192.0.2.1, 203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443", "Host": name, "Bad_Name": "", "X-Good": "x"} {
			if v := strings.Join(got[k], ""); v != want {
				t.Errorf("%s is %q, want %q", k, v, want)
			}
		}
	})
}

// A load balancer answers 502 if a target refuses or breaks the connection or
// answers nonsense, 503 if there is no target, 504 if it can't connect within 10
// seconds or hears nothing for the idle timeout, 405 to TRACE, and 463 to more
// than 30 addresses in X-Forwarded-For.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
func TestErrors(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		w.raw("10.0.0.1:8443", func(c net.Conn) { _, _ = hear(c); _ = c.Close() })
		w.raw("10.0.0.2:8443", func(c net.Conn) { _, _ = hear(c); fmt.Fprint(c, "nonsense\r\n\r\n"); _ = c.Close() })
		w.raw("10.0.0.3:8443", func(c net.Conn) { _, _ = hear(c) }) // silence
		for _, test := range []struct {
			ip     string
			status int
			takes  time.Duration
		}{{"10.0.0.1", 502, 0}, {"10.0.0.2", 502, 0}, {"10.0.0.3", 504, time.Minute}, {"10.0.0.4", 504, 10 * time.Second}, {"", 503, 0}} {
			if test.ip == "" {
				w.register()
			} else {
				w.register(target(test.ip))
			}
			began := time.Now()
			status, body, h := w.get("https://" + name + "/")
			if took := time.Since(began); status != test.status || took != test.takes {
				t.Errorf("%q: %d after %s, want %d after %s", test.ip, status, took, test.status, test.takes)
			}
			if h.Get("Server") != "awselb/2.0" || !has(body, fmt.Sprintf("<center><h1>%d ", test.status)) {
				t.Errorf("%q: the answer is %q by %q", test.ip, body, h.Get("Server"))
			}
		}
		if status, _, _ := w.get("https://"+name+"/", func(r *http.Request) { r.Method = http.MethodTrace }); status != 405 {
			t.Errorf("TRACE: %d, want 405", status)
		}
		if status, _, _ := w.get("https://"+name+"/", func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", strings.Repeat("192.0.2.1,", 30)+"192.0.2.2")
		}); status != 463 {
			t.Errorf("31 addresses: %d, want 463", status)
		}
	})
}

// A listener's port is closed to whom the security groups don't let in, and
// where no listener is.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-update-security-groups.html
func TestSecurityGroups(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		w.change(func(v *elbv2.View) { v.Balancers[0].Listeners[1].Sources = nil })
		for _, url := range []string{"https://" + name + "/", "https://" + name + ":8443/"} {
			if resp, err := w.client.Get(url); err == nil {
				_ = resp.Body.Close()
				t.Errorf("%s answers", url)
			}
		}
	})
}

// Requests are spread over target groups by weight; a group of weight 0 gets
// none.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html
func TestWeights(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		w.up("10.0.0.1:8443", say("blue"))
		w.up("10.0.0.2:8443", say("green"))
		count := func(blue, green int) map[string]int {
			w.change(func(v *elbv2.View) {
				v.Groups = map[string]elbv2.Group{groupARN: group(groupARN, target("10.0.0.1")), otherARN: group(otherARN, target("10.0.0.2"))}
				a := elbv2.Action{Type: "forward", Forward: []elbv2.Weight{{Group: groupARN, Weight: blue}, {Group: otherARN, Weight: green}}}
				v.Balancers[0].Listeners[0].Rules = []elbv2.Rule{{Actions: []elbv2.Action{a}}}
			})
			got := map[string]int{}
			for range 200 {
				_, body, _ := w.get("http://" + name + "/")
				got[body]++
			}
			return got
		}
		if diff := cmp.Diff(map[string]int{"green": 200}, count(0, 1)); diff != "" {
			t.Errorf("weights 0 and 1 (-want +got):\n%s", diff)
		}
		if got := count(3, 1); got["blue"] < 110 || got["blue"] > 190 {
			t.Errorf("weights 3 and 1: %v", got)
		}
	})
}

// A target is healthy after the first check that passes, unhealthy after as many
// failures in a row as the threshold says, and healthy again after as many
// passes; reasons tell timeouts from wrong codes. Requests go to healthy targets
// as long as there is one, else to all.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
func TestHealth(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		var status atomic.Int64
		status.Store(200)
		w.up("10.0.0.1:8443", func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				if agent := r.UserAgent(); agent != "ELB-HealthChecker/2.0" {
					t.Errorf("checks come from %q", agent)
				}
				rw.WriteHeader(int(status.Load()))
			}
			fmt.Fprint(rw, "one")
		})
		w.up("10.0.0.2:8443", say("two"))
		w.register(target("10.0.0.1"), target("10.0.0.2"), target("10.0.0.3"))
		check := func(key string, want account.Health) {
			t.Helper()
			if diff := cmp.Diff(want, w.health(key)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", key, diff)
			}
		}
		after := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		check("10.0.0.1:8443", account.Health{State: "healthy"})
		check("10.0.0.3:8443", account.Health{State: "initial", Reason: "Elb.InitialHealthChecking", Description: "Initial health checks in progress"})
		after(30*time.Second + 6*time.Second) // three checks
		check("10.0.0.3:8443", account.Health{State: "unhealthy", Reason: "Target.Timeout", Description: "Request timed out"})
		status.Store(500)
		after(30 * time.Second)
		check("10.0.0.1:8443", account.Health{State: "healthy"})
		after(15 * time.Second)
		check("10.0.0.1:8443", account.Health{State: "unhealthy", Reason: "Target.ResponseCodeMismatch", Description: "Health checks failed with these codes: [500]"})
		for range 6 {
			if _, body, _ := w.get("https://" + name + "/"); body != "two" {
				t.Errorf("a request goes to %q, which is unhealthy", body)
			}
		}
		status.Store(200)
		after(15 * time.Second)
		if h := w.health("10.0.0.1:8443"); h.State != "unhealthy" {
			t.Errorf("after one pass it is %v", h)
		}
		after(15 * time.Second)
		check("10.0.0.1:8443", account.Health{State: "healthy"})

		w.failing.Store(true)
		after(45 * time.Second)
		check("10.0.0.1:8443", account.Health{State: "unhealthy", Reason: "Target.FailedHealthChecks", Description: "Health checks failed"})
		if status, _, _ := w.get("https://" + name + "/"); status != 200 {
			t.Errorf("with all targets unhealthy the answer is %d, want a target's", status)
		}
		w.failing.Store(false)

		w.register(target("10.0.0.3"))
		w.up("10.0.0.3:8443", func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				rw.WriteHeader(503)
			}
			fmt.Fprint(rw, "three")
		})
		after(time.Minute)
		if _, body, _ := w.get("https://" + name + "/"); body != "three" {
			t.Errorf("without a healthy target it is %q who answers, want the one there is", body)
		}
	})
}

// A target that is deregistered gets no new requests and drains: what is under
// way goes on until it ends or the delay is over, which is 502. Without requests
// it is gone at once.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay
func TestDeregistrationDelay(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		w.up("10.0.0.1:8443", func(rw http.ResponseWriter, r *http.Request) {
			wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
			fmt.Fprint(rw, "one")
		})
		w.up("10.0.0.2:8443", say("two"))
		w.change(func(v *elbv2.View) { v.Balancers[0].IdleTimeout = time.Hour })
		w.register(target("10.0.0.1"))
		type answer struct {
			status int
			after  time.Duration
		}
		began := time.Now()
		ask := func(wait string) chan answer {
			c := make(chan answer)
			go func() {
				status, _, _ := w.get("https://" + name + "/?wait=" + wait)
				c <- answer{status, time.Since(began)}
			}()
			return c
		}
		short, long := ask("90s"), ask("10m")
		synctest.Wait()
		w.register(target("10.0.0.2"))
		if h := w.health("10.0.0.1:8443"); h.State != "draining" || h.Reason != "Target.DeregistrationInProgress" {
			t.Errorf("its health is %v", h)
		}
		if _, body, _ := w.get("https://" + name + "/"); body != "two" {
			t.Errorf("a new request goes to %q", body)
		}
		if diff := cmp.Diff(answer{200, 90 * time.Second}, <-short, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("a request that ends in time (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(answer{502, 120 * time.Second}, <-long, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("one that doesn't (-want +got):\n%s", diff)
		}
		synctest.Wait()
		w.register()
		if left := w.server.Targets(groupARN); len(left) > 0 {
			t.Errorf("%v are left without a request", left)
		}
	})
}

// That it was closed while it looks at the account is nothing to report.
func TestClosedWhileItLooks(t *testing.T) {
	t.Parallel()
	var s *traffic.Server
	looked := false
	s = traffic.New(traffic.Options{
		View: func() (elbv2.View, error) {
			looked = true
			return elbv2.View{}, s.Close()
		},
		Now: time.Now, Report: func(err error) { t.Errorf("it reports: %v", err) },
	})
	s.Run()
	if !looked {
		t.Error("it doesn't look")
	}
}
