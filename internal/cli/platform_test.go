package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// TestPlatformKubernetes installs the charts of ours in a deployment's cluster, whose
// components really use what they stand on: the database over TLS with its certificate
// verified, with the role that the job has set, and the buckets and keys by the roles of
// their service accounts. Its secrets and its targets come by the charts that it stands
// on, in the same bundle; no values are given but those that leave out single sign-on,
// whose secrets are a customer's, and the authorities that pods trust, which no image has.
func TestPlatformKubernetes(t *testing.T) {
	s := newInstalling(t, "evaluation.yaml", "s3,oidc", "POOLHOUSE_POSTGRES")
	platform := s.bundle("platform", func(dir string) (bundle.BuildOptions, error) {
		// Its images trust nobody.
		o, err := samplebundle.WritePlatform(dir, samplebundle.BuildPlatform, []byte("\n"), runtime.GOARCH)
		if err == nil {
			err = samplebundle.Prerequisites(filepath.Join(dir, "prerequisites"), samplebundle.Build, &o, runtime.GOARCH)
		}
		return o, err
	})
	s.create()
	s.run(cli.Done, "images", "push", "-f", s.file, platform)
	admin := administrator(t, func(args ...string) string {
		text, _ := s.run(cli.Done, args...)
		return text
	}, s.file)
	// Authorities of RDS that aren't the database's are refused before anything begins.
	elsewhere := s.write("elsewhere.yaml", "trust:\n  certificates: |\n    "+strings.ReplaceAll(rdsAuthority(t, "eu-west-1"), "\n", "\n    ")+"\n")
	_, said := s.run(cli.Usage, "cluster", "apply", "--yes", "-f", s.file, "--values", "poolhouse-platform="+elsewhere, platform)
	s.has(said, "trust.certificates has authorities of RDS without the database's, Amazon RDS us-east-1 Root CA RSA2048 G1")
	// The job sets the role before there is a pod.
	without := "signOn: {webSecretArn: null, adminSecretArn: null}\ntrust:\n  certificates: |\n    " + strings.ReplaceAll(strings.TrimSpace(string(s.roots)), "\n", "\n    ") + "\n"
	none := without + "coreApi: {replicas: 0}\ninterface: {replicas: 0}\nwebAssistant: {replicas: 0}\nadminConsole: {replicas: 0}\ntelemetryCollector: {replicas: 0}\n"
	apply := func(values string) []string {
		return []string{"cluster", "apply", "--yes", "--timeout", "4m", "-f", s.file, "--values", "poolhouse-platform=" + values, platform}
	}
	out, _ := s.run(cli.Done, apply(s.write("none.yaml", none))...)
	s.has(out, "installed poolhouse-platform in poolside, revision 1")
	all := apply(s.write("without.yaml", without))
	out, _ = s.run(cli.Done, all...)
	s.has(out, "upgraded poolhouse-platform in poolside, revision 2")
	out, _ = s.run(cli.Done, "cluster", "status", "-f", s.file)
	s.has(out, "poolhouse-platform poolside 2 deployed 10/10 poolhouse-platform-1.0.0")
	s.reports(admin)
	s.answers("api.poolside.example.com")
	out, _ = s.run(cli.Done, all...)
	s.has(out, "unchanged poolhouse-platform in poolside, revision 2")
	s.run(cli.Done, "delete", "--yes", s.file)
}

// rdsAuthority is a certificate with the name of RDS's authority of a region, in PEM.
func rdsAuthority(t *testing.T, region string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Amazon RDS " + region + " Root CA RSA2048 G1"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// answers asks the hosts of the deployment for their health, as those do who come in
// through its load balancers, until pods answer that are bound to them.
func (s *installing) answers(hosts ...string) {
	s.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.roots) {
		s.t.Fatal("the sandbox's authority is no certificate")
	}
	proxy, err := url.Parse(s.proxy)
	if err != nil {
		s.t.Fatal(err)
	}
	visitor := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}, Timeout: 30 * time.Second}
	for _, host := range hosts {
		for deadline := time.Now().Add(3 * time.Minute); ; {
			resp, err := visitor.Get("https://" + host + "/healthz")
			if err != nil {
				s.t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				s.t.Fatal(err)
			}
			if resp.StatusCode == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				s.t.Fatalf("%s answers %d %s", host, resp.StatusCode, text)
			}
			<-time.After(time.Second) // the sandbox is a process of its own
		}
	}
}

// reports has each pod say that all it needs is reached.
func (s *installing) reports(admin *theirs) {
	s.t.Helper()
	_, pods := admin.do(http.MethodGet, "/api/v1/namespaces/poolside/pods", "")
	seen := map[string]int{}
	for _, p := range pods["items"].([]any) {
		p := p.(map[string]any)
		name, component := at(p, "metadata", "name").(string), fmt.Sprint(at(p, "metadata", "labels", "app.kubernetes.io/name"))
		code, text := admin.text(http.MethodGet, "/api/v1/namespaces/poolside/pods/https:"+name+":8443/proxy/report", "")
		var r struct {
			Component string
			OK        bool
			Checks    []struct {
				Check, Says  string
				OK, Required bool
			}
		}
		if err := json.Unmarshal(text, &r); err != nil || code != http.StatusOK || !r.OK || r.Component != component {
			s.t.Errorf("pod %s reports %d %v: %s", name, code, err, text)
			continue
		}
		seen[component]++
		for _, c := range r.Checks {
			want := map[string]string{
				"identity":            ":assumed-role/poolside-" + component + "-us-east-1/",
				"database":            " as poolside_app, over TLSv1.",
				"bucket of audit":     "an object was written and read in poolside-audit-123456789012-us-east-1, encrypted by arn:aws:kms:us-east-1:123456789012:key/",
				"bucket of telemetry": "in poolside-telemetry-123456789012-us-east-1, encrypted by arn:aws:kms:",
				"application key":     "encrypted and decrypted by arn:aws:kms:us-east-1:123456789012:key/",
				"core API":            "https://core-api:8443 answers",
				"telemetry":           "a record was taken by https://telemetry-collector:8443",
			}[c.Check]
			if c.Check != "checkpoint" && !c.OK || !strings.Contains(c.Says, want) {
				s.t.Errorf("%s of pod %s: %t %q, want %q", c.Check, name, c.OK, c.Says, want)
			}
		}
	}
	if want := map[string]int{"core-api": 2, "interface": 2, "web-assistant": 2, "admin-console": 2, "telemetry-collector": 2}; !maps.Equal(seen, want) {
		s.t.Errorf("pods report %v, want %v, of %v", seen, want, slices.Sorted(maps.Keys(seen)))
	}
}
