package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// validations are the names of the validation records in a zone.
func (w *world) validations(a *architecture.Architecture, zone string) (names []string) {
	w.t.Helper()
	out, err := w.target(a).AWS.Route53.ListResourceRecordSets(w.t.Context(), &route53.ListResourceRecordSetsInput{HostedZoneId: &zone})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range out.ResourceRecordSets {
		if s.Type == r53types.RRTypeCname {
			names = append(names, *s.Name)
		}
	}
	return names
}

// imported is a certificate of the customer's for the deployment's hosts.
func (w *world) imported(a *architecture.Architecture) string {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	access := a.Config.Access
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(400 * 24 * time.Hour),
		DNSNames: []string{access.Web.Host, access.API.Host, access.Admin.Host},
	}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := w.target(a).AWS.ACM.ImportCertificate(w.t.Context(), &acm.ImportCertificateInput{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), PrivateKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.CertificateArn
}

// TestL10ASurplusCertificateTakesItsRecords: the file comes to name a certificate of
// the customer's. The one that was requested goes with its validation records, in
// the customer's zone and in one of ours, and the plan says so.
func TestL10ASurplusCertificateTakesItsRecords(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"evaluation", "self-managed-nat"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, name)
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				zone := w.create(a).Outputs[architecture.DNS]["HostedZoneId"]
				if a.Config.DNS.ZoneID != "" {
					zone = a.Config.DNS.ZoneID
				}
				if len(w.validations(a, zone)) == 0 {
					t.Fatal("the certificate has no records")
				}
				arn := w.imported(a)
				next := became(t, a, func(c *config.Config) { c.Certificate.ARN = arn })
				p := w.plan(next, true)
				i := slices.IndexFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Stack == architecture.Certificate })
				if i < 0 || p.Stacks[i].Action != deploy.DeleteStack || !strings.Contains(strings.Join(p.Stacks[i].Besides, "\n"), "its validation records go from zone "+zone) {
					t.Fatalf("the plan says %+v", p.Stacks)
				}
				w.update(next)
				if left := w.validations(next, zone); left != nil {
					t.Errorf("stranded in zone %s: %v", zone, left)
				}
				w.emptyPlan(next)
			})
		})
	}
}

// TestL09ASurplusStackComesToRestFirst: somebody begins an update of a stack as it
// is removed, because the file no longer has it. The records that its certificate
// needs stay until that is over.
func TestL09ASurplusStackComesToRestFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		zone := w.create(a).Outputs[architecture.DNS]["HostedZoneId"]
		arn := w.imported(a)
		next := became(t, a, func(c *config.Config) { c.Certificate.ARN = arn })
		api, name := w.target(a).AWS, a.StackName(architecture.Certificate)
		st, err := (&stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}).Describe(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		in := &cloudformation.UpdateStackInput{StackName: &name, UsePreviousTemplate: new(true), Tags: []cfntypes.Tag{{Key: new("by"), Value: new("hand")}}}
		for k, v := range st.Tags {
			in.Tags = append(in.Tags, cfntypes.Tag{Key: new(k), Value: new(v)})
		}
		for k := range st.Parameters {
			in.Parameters = append(in.Parameters, cfntypes.Parameter{ParameterKey: new(k), UsePreviousValue: new(true)})
		}
		began := false
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.StackStarted); ok && s.Stack == architecture.Certificate && s.Action == deploy.DeleteStack {
				if _, err := api.CloudFormation.UpdateStack(t.Context(), in); err != nil {
					t.Error(err)
				}
				began = true
			}
		}
		to := w.target(next)
		to.KeepDrift = true
		to.AWS = w.through(next, func(tripper http.RoundTripper, r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost && strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/rrset") && began {
				for _, s := range w.find("cloudformation:stack") {
					if s.ID == st.ID && s.Status != "UPDATE_COMPLETE" {
						t.Errorf("records are changed while the stack is %s", s.Status)
					}
				}
			}
			return tripper.RoundTrip(r)
		})
		if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: to}); err != nil || !began {
			t.Fatalf("update: %v", err)
		}
		if left := w.validations(next, zone); left != nil {
			t.Errorf("stranded in zone %s: %v", zone, left)
		}
	})
}

// TestL07ASurplusVaultIsSaid: backups are no longer asked for. A vault without
// recovery points goes with its stack; one that has some stays, and the plan says
// which it is.
func TestL07ASurplusVaultIsSaid(t *testing.T) {
	t.Parallel()
	for _, points := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := example(t, "production")
			w := newWorld(t, a, sandbox.Options{Fresh: true})
			out := w.create(a).Outputs
			vault := out[architecture.Backup]["VaultName"]
			want := "backup vault " + vault + " goes too: it holds no recovery points"
			if points {
				if _, err := w.target(a).AWS.Backup.StartBackupJob(t.Context(), &backup.StartBackupJobInput{
					BackupVaultName: &vault, IamRoleArn: new(out[architecture.Backup]["BackupRoleArn"]), ResourceArn: new(out[architecture.Storage]["ModelsBucketArn"]),
				}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Hour)
				want = "backup vault " + vault + " stays, with its recovery points: 1"
			}
			next := became(t, a, func(c *config.Config) { c.Backups.Enabled = false })
			to := w.allowing(next, guard.Lower)
			to.KeepDrift = true
			p, err := deploy.MakePlan(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Stack == architecture.Backup })
			if i < 0 || !slices.Contains(p.Stacks[i].Besides, want) || points == slices.ContainsFunc(p.Stacks[i].Changes, isVault) {
				t.Errorf("the plan says %+v, want %q", p.Stacks, want)
			}
			if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: to}); err != nil {
				t.Fatal(err)
			}
			if there := len(w.find("AWS::Backup::BackupVault")) > 0; there != points {
				t.Errorf("the vault is there: %t", there)
			}
		})
	}
}

// TestL10AFormerCertificateInUseStays: what the list of certificates says of their
// use is from before; a stack that holds one by now, or a load balancer that has
// it, keeps it, and its records.
func TestL10AFormerCertificateInUseStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "self-managed-nat")
		zone := a.Config.DNS.ZoneID
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		late := false
		// Somebody makes a stack of his own with the deployment's tag while the
		// delete looks for certificates that were left.
		const body = `{"Resources":{"C":{"Type":"AWS::CertificateManager::Certificate","Properties":{
			"DomainName":"late.poolside.example.com","ValidationMethod":"DNS","DomainValidationOptions":[{"DomainName":"late.poolside.example.com","HostedZoneId":"ZONE"}]}}}}`
		w.create(a)
		to := w.target(a)
		to.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ListCertificates") && !late {
				late = true
				w.stackOf(a, a.Name()+"-theirs", strings.ReplaceAll(body, "ZONE", zone))
			}
			return next.RoundTrip(r)
		})
		_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: to, Data: deploy.DestroyData})
		if !late {
			t.Fatal("the delete looked for no certificates")
		}
		out, listed := to.AWS.ACM.ListCertificates(t.Context(), &acm.ListCertificatesInput{CertificateStatuses: []acmtypes.CertificateStatus{acmtypes.CertificateStatusIssued}})
		if listed != nil || len(out.CertificateSummaryList) != 1 {
			t.Errorf("delete: %v; of their stack's certificate there is %+v, %v", err, out, listed)
		}
		if left := w.validations(a, zone); len(left) != 1 {
			t.Errorf("of their certificate's records there is %v", left)
		}
	})
}

func isVault(c stack.Change) bool { return c.Type == "AWS::Backup::BackupVault" }
