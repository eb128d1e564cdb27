package browser_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const (
	file   = "../../examples/evaluation.yaml"
	page   = "https://poolside.example.com/"
	target = "10.0.64.10:8443"
)

// environment is a variable that .ci/run browser sets.
func environment(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: .ci/run browser sets it", name)
	}
	return v
}

// application shows who its user is, as the load balancer says.
func application(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		return
	}
	parts := strings.Split(r.Header.Get("X-Amzn-Oidc-Data"), ".")
	claims := []byte("nobody")
	if len(parts) == 3 {
		if b, err := base64.URLEncoding.DecodeString(parts[1]); err == nil {
			claims = b
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// The browser may be gone.
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html><html lang=en><title>Poolside</title><h1>Welcome</h1><p id=who>%s</p><pre id=claims>%s</pre>",
		html.EscapeString(r.Header.Get("X-Amzn-Oidc-Identity")), html.EscapeString(string(claims)))
}

// served is a sandbox as it says that it is.
type served struct {
	Endpoint    string
	Proxy, CA   string
	Environment []struct{ Name, Value string }
}

// lines is a process's output, which tells when it has a line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	line string
	seen chan struct{} // nil if nobody waits for one
	once sync.Once
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(p)
	if l.seen != nil && strings.Contains(l.text.String(), l.line) {
		l.once.Do(func() { close(l.seen) })
	}
	return n, err
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// sandbox serves the account of the example, with an application.
func sandbox(t *testing.T, program, application string) (served, []string) {
	t.Helper()
	out := &lines{line: "\n}\n", seen: make(chan struct{})}
	c := exec.Command(program, "sandbox", "--listen", "127.0.0.1:0", "--speed", "100000", "--without", "s3,ecr,postgres", "--for", file, "--target", target+"="+application, "-o", "json")
	var errs lines
	c.Stdout, c.Stderr = out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		if err := <-ended; err != nil {
			t.Errorf("the sandbox ended with %v:\n%s", err, &errs)
		}
	})
	select {
	case <-out.seen:
	case err := <-ended:
		ended <- err
		t.Fatalf("the sandbox did not begin: %v\n%s", err, &errs)
	}
	var s served
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	for _, v := range s.Environment {
		env = append(env, v.Name+"="+v.Value)
	}
	return s, env
}

func run(t *testing.T, env []string, program string, args ...string) string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Env = env
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}

// pin is what a browser is told to trust a certificate by.
func pin(t *testing.T, ca string) string {
	t.Helper()
	resp, err := http.Get(ca)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s has no certificate: %s", ca, text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// TestBrowserSignsIn creates a deployment in a sandbox that is served, and visits
// it: the browser is redirected to HTTPS and to the identity provider, the user
// signs in at the second attempt, and sees the application, which knows them.
func TestBrowserSignsIn(t *testing.T) {
	program, aws := environment(t, "POOLHOUSE"), environment(t, "POOLHOUSE_AWSCLI")
	app := httptest.NewTLSServer(http.HandlerFunc(application))
	defer app.Close()
	s, env := sandbox(t, program, app.Listener.Addr().String())
	run(t, env, program, "create", "--yes", file)
	call := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(run(t, env, aws, append([]string{"--endpoint-url", s.Endpoint, "--output", "text", "elbv2"}, args...)...))
	}
	group := call("describe-target-groups", "--query", "TargetGroups[?contains(TargetGroupName, 'Web')].TargetGroupArn")
	ip, port, _ := strings.Cut(target, ":")
	call("register-targets", "--target-group-arn", group, "--targets", "Id="+ip+",Port="+port)

	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(environment(t, "POOLHOUSE_BROWSER")), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1000, 700),
		chromedp.ProxyServer(s.Proxy), chromedp.Flag("ignore-certificate-errors-spki-list", pin(t, s.CA)),
		// The browser's own calls home would be refused.
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true),
	)...)
	defer stop()
	ctx, end := chromedp.NewContext(allocator)
	defer end()
	shoot := func(name string) {
		t.Helper()
		dir := os.Getenv("POOLHOUSE_SCREENSHOTS")
		if dir == "" {
			return
		}
		shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	read := func(sel string) string {
		t.Helper()
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		text, err := chromedp.Run(limited, chromedp.Text(chromedp.CSS(sel)))
		if err != nil {
			at, _ := chromedp.Run(ctx, chromedp.Location())
			shoot("failed")
			t.Fatalf("there is no %s at %s: %v", sel, at, err)
		}
		return text
	}
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	enter := func(user, password string) {
		t.Helper()
		do(
			chromedp.SetValue(chromedp.CSS("#name"), user), chromedp.SetValue(chromedp.CSS("#password"), password), chromedp.Click(chromedp.CSS("button")),
		)
	}

	do(chromedp.Navigate("http://poolside.example.com/"))
	if got := read("h1"); got != "Sign in" {
		t.Fatalf("the browser sees %q, want to be asked to sign in", got)
	}
	shoot("1-sign-in")
	enter("ada", "guess")
	if got := read("#problem"); !strings.Contains(got, "wrong") {
		t.Errorf("a wrong password is answered with %q", got)
	}
	shoot("2-wrong")
	enter("ada", "sandbox")
	if got := read("#who"); got != "ada" {
		t.Errorf("the application knows %q, want ada", got)
	}
	if got := read("#claims"); !strings.Contains(got, `"email":"ada@example.com"`) || !strings.Contains(got, `"groups":["users"]`) {
		t.Errorf("the claims are %s", got)
	}
	shoot("3-signed-in")
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil || !strings.HasPrefix(strings.Replace(at, ":443", "", 1), page) {
		t.Errorf("the browser is at %s, %v, want %s", at, err, page)
	}
	if got := call("describe-target-health", "--target-group-arn", group, "--query", "TargetHealthDescriptions[].TargetHealth.State"); got != "healthy" {
		t.Errorf("the target is %q", got)
	}
	// ada is in no group that administrators are in.
	do(chromedp.Navigate("https://admin.poolside.example.com/"))
	if got := read("h1"); got != "Sign in" {
		t.Errorf("administrators see %q, want to be asked to sign in", got)
	}
	enter("ada", "sandbox")
	if got := read("#problem"); !strings.Contains(got, "for other groups") {
		t.Errorf("ada, who is no administrator, is told %q", got)
	}
	shoot("4-admin")
}
