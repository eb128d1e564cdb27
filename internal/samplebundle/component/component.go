// Package component is what the images of the sample's platform run: one of its
// components, or the job that sets the application's account in the database. It really
// uses what the chart poolhouse-platform gives it - the database over TLS with its
// certificate verified, buckets and keys by the role of its service account - and says at
// /report what it reached and what not. Nothing in it is the vendor's, and it is no
// product: its model server answers with the name "sample".
//
// Invariants: no secret is in a report, an error or the log. A report writes to a bucket
// once in a process's life, since audit records can't be removed.
//
// Limits: between components TLS is not verified unless a secret brings certificates; a
// caller of /report is not authenticated.
package component

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// The roles. All but DatabaseSetup serve.
const (
	CoreAPI            = "core-api"
	Interface          = "interface"
	WebAssistant       = "web-assistant"
	AdminConsole       = "admin-console"
	TelemetryCollector = "telemetry-collector"
	Inference          = "inference"
	DatabaseSetup      = "database-setup"
)

// Options say what a component is and how it reaches the rest.
type Options struct {
	// Role is one of the constants.
	Role string
	// Env looks up what the chart gives: names are those of its templates.
	Env func(name string) string
	// Secrets is the folder in which the chart's secrets are, /run/secrets.
	Secrets string
	AWS     aws.Config
	// Roots are the authorities that the database's certificate is verified by; nil are
	// the system's.
	Roots *x509.CertPool
	// Dial connects to the database; nil is the system's way.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the time; nil is the system's.
	Now func() time.Time
	// Log hears in lines what happens.
	Log io.Writer
}

// component is a running one.
type component struct {
	Options
	reports *reports
	calls   *http.Client
}

// mostBody is how long what a client sends may be.
const mostBody = 4 << 20

// New is what a component serves.
func New(o Options) (http.Handler, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	authorities, err := o.authorities()
	if err != nil {
		return nil, err
	}
	c := &component{Options: o, calls: &http.Client{Transport: &http.Transport{TLSClientConfig: authorities}}}
	mux := http.NewServeMux()
	var checks []check
	switch o.Role {
	case CoreAPI:
		checks = c.core()
		mux.Handle("/v1/", c.forward("INFERENCE_URL", "no model server is configured: set inference.url in the values of the chart"))
	case Interface, WebAssistant, AdminConsole:
		checks = c.entrance()
		mux.Handle("/v1/", c.forward("CORE_API_URL", "no core API is configured"))
		mux.Handle("GET /core/report", http.StripPrefix("/core", c.forward("CORE_API_URL", "no core API is configured")))
	case TelemetryCollector:
		checks = []check{c.identity(), c.written("telemetry", "TELEMETRY_BUCKET", false)}
		for _, signal := range []string{"logs", "metrics", "traces"} {
			mux.HandleFunc("POST /v1/"+signal, func(w http.ResponseWriter, r *http.Request) { c.collect(w, r, signal) })
		}
	case Inference:
		checks = []check{c.identity(), c.checkpoint()}
		mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
		mux.HandleFunc("GET /v1/models", c.models)
		mux.HandleFunc("POST /v1/chat/completions", c.complete)
	default:
		return nil, fmt.Errorf("%q is no component of the sample: %s", o.Role, strings.Join([]string{CoreAPI, Interface, WebAssistant, AdminConsole, TelemetryCollector, Inference, DatabaseSetup}, ", "))
	}
	c.reports = &reports{component: o.Role, pod: c.name(), checks: checks, now: o.Now, log: o.Log}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", c.reports.ready)
	mux.HandleFunc("GET /report", c.reports.serve)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s of the sample platform: /report says what it reaches\n", o.Role)
	})
	return http.MaxBytesHandler(mux, mostBody), nil
}

// authorities are how other components' certificates are verified: by the authority of
// the chart's secret, or not at all if there is none. Each has a certificate of its own
// making then, and what goes between them is a question for health and the sample's own
// words.
func (o Options) authorities() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	pem, err := os.ReadFile(filepath.Join(o.Secrets, "tls", "ca.crt"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		t.InsecureSkipVerify = true
		return t, nil
	case err != nil:
		return nil, fmt.Errorf("read the authority of components: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("read the authority of components: ca.crt holds no certificate")
	}
	return t, nil
}

// verified says in words how other components' certificates are.
func (c *component) verified() string {
	if t, ok := c.calls.Transport.(*http.Transport); ok && t.TLSClientConfig.InsecureSkipVerify {
		return "its certificate is of its own making and not verified"
	}
	return "its certificate is verified"
}

// forward passes requests on to where a variable says.
func (c *component) forward(variable, without string) http.Handler {
	to, err := url.Parse(c.Env(variable))
	if err != nil || to.Host == "" {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusServiceUnavailable, without) })
	}
	return &httputil.ReverseProxy{
		Transport: c.calls.Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, http.StatusBadGateway, fmt.Sprintf("%s does not answer: %v", to.Host, err))
		},
	}
}

// refuse answers as OpenAI's API does.
func refuse(w http.ResponseWriter, code int, text string) {
	answer(w, code, map[string]any{"error": map[string]any{"message": text, "type": "sample_error", "code": code}})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// Run is a component until the context ends; it returns when what was asked is answered.
// DatabaseSetup ends by itself.
func Run(ctx context.Context, o Options) error {
	if o.Role == DatabaseSetup {
		return Setup(ctx, o)
	}
	h, err := New(o)
	if err != nil {
		return err
	}
	address, certificate := ":8443", (*tls.Certificate)(nil)
	if o.Role == Inference {
		address = ":8080"
	} else if certificate, err = o.certificate(); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", cmp.Or(o.Env("ADDRESS"), address))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute}
	if certificate != nil {
		s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}}
	}
	fmt.Fprintf(o.Log, "%s answers on %s\n", o.Role, l.Addr())
	ended := make(chan error, 1)
	go func() {
		if certificate != nil {
			ended <- s.ServeTLS(l, "", "")
			return
		}
		ended <- s.Serve(l)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	const grace = 20 * time.Second
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := s.Shutdown(last); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}

// secret is a file of one of the chart's secrets.
func (o Options) secret(secret, key string) (string, error) {
	text, err := os.ReadFile(filepath.Join(o.Secrets, secret, key))
	if err == nil && len(text) == 0 {
		err = fmt.Errorf("%s of the secret %s is empty", key, secret)
	}
	return string(text), err
}

// need are the values of variables; those that are not set are in the error.
func (o Options) need(names ...string) (values []string, err error) {
	for _, n := range names {
		values = append(values, o.Env(n))
	}
	if slices.Contains(values, "") {
		var missing []string
		for i, v := range values {
			if v == "" {
				missing = append(missing, names[i])
			}
		}
		return nil, errors.New(strings.Join(missing, ", ") + ": not set; the chart sets them from the deployment's outputs")
	}
	return values, nil
}
