package deploy_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/acm"
	"github.com/poolhouse/poolhouse/sandbox/route53"
)

// nobody is a DNS in which no domain is.
type nobody struct{}

func (nobody) LookupNS(_ context.Context, name string) ([]*net.NS, error) {
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// TestL30CertificateWaitsForDelegation: a new zone's name servers are told as soon
// as they are known, and that nobody delegates to them before the certificate is
// requested. After three minutes the records that it waits for are told, each
// once, and status has them; it waits until somebody delegates.
func TestL30CertificateWaitsForDelegation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "production")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		_, domain, _ := strings.Cut(a.Config.DNS.Zone, ".")
		parent := testkit.MustCreate(t, w.box, route53.TypeHostedZone, map[string]any{"Name": domain})
		const idle = 5 * time.Hour
		target := w.target(a)
		target.DNS = nobody{}
		var want []deploy.Record
		err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, host := range []string{a.Config.Access.Web.Host, a.Config.Access.API.Host, a.Config.Access.Admin.Host} {
				name, value := acm.Validation(tx, host)
				want = append(want, deploy.Record{Name: name, Type: "CNAME", Value: value})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var requested time.Time
		var looks sync.WaitGroup
		at := func(d time.Duration, f func()) {
			looks.Add(1)
			time.AfterFunc(d, func() { defer looks.Done(); f() })
		}
		status := func(want []deploy.Record) func() {
			return func() {
				s, err := deploy.Look(t.Context(), target)
				if err != nil {
					t.Error(err)
				} else if diff := cmp.Diff(want, s.Validation); diff != "" {
					t.Errorf("records in the status (-want +got):\n%s", diff)
				}
			}
		}
		told, compared := false, 0
		records := map[string]time.Duration{}
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.StackStarted); ok && s.Stack == architecture.Certificate {
				requested = s.Time
				at(2*time.Minute, status(nil))
				at(time.Hour, status(want))
			}
			s, ok := e.(deploy.Step)
			if !ok {
				return
			}
			if s.Stack == architecture.Certificate && strings.HasPrefix(s.Text, "nobody delegates "+a.Config.DNS.Zone) {
				compared++
				if s.Time.After(requested) {
					t.Errorf("compared %s after the stack's turn came", s.Time.Sub(requested))
				}
			}
			for _, r := range want {
				if s.Stack == architecture.Certificate && strings.HasSuffix(s.Text, ": "+r.String()) {
					if _, twice := records[r.Name]; twice {
						t.Errorf("told twice: %s", s.Text)
					}
					records[r.Name] = s.Time.Sub(requested)
				}
			}
			_, rest, found := strings.Cut(s.Text, "delegate "+a.Config.DNS.Zone+" to ")
			if !found || told {
				return
			}
			told = true
			list, _, _ := strings.Cut(rest, ";")
			servers := strings.Split(list, ", ")
			at(idle, func() {
				err := w.box.Account().Do(func(tx *account.Tx) error {
					return route53.Upsert(tx, parent.ID, a.Config.DNS.Zone, "NS", 300, servers, "me")
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		start := time.Now()
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target}); err != nil {
			t.Fatalf("create: %v", err)
		}
		looks.Wait()
		if took := time.Since(start); !told || took < idle || took > idle+time.Hour {
			t.Errorf("told %t, took %s; want the certificate to wait %s for the delegation", told, took, idle)
		}
		if compared != 1 {
			t.Errorf("told %d times that nobody delegates, want once", compared)
		}
		for _, r := range want {
			if after := records[r.Name]; after < 3*time.Minute || after > 5*time.Minute {
				t.Errorf("record %s is told after %s, want three minutes and the next look", r, after)
			}
		}
		status(nil)()
		certificates := w.find("AWS::CertificateManager::Certificate")
		if !slices.ContainsFunc(certificates, func(c *account.Resource) bool { return c.Status == "ISSUED" }) {
			t.Errorf("no certificate is issued: %v", certificates)
		}
	})
}
