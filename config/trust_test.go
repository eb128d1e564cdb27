package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/config"
)

// issue makes a certificate that signs itself.
func issue(t *testing.T, change func(*x509.Certificate)) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0), // expired: not for this package
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// trust is a section with a bundle.
func trust(bundle string) string {
	return "trust:\n  caBundle: |\n    " + strings.ReplaceAll(strings.TrimSpace(bundle), "\n", "\n    ")
}

func TestFaultsOfTrust(t *testing.T) {
	t.Parallel()
	root := issue(t, nil)
	lines := strings.Split(root, "\n")
	cut := strings.Join(append(append([]string{}, lines[:2]...), lines[len(lines)-2:]...), "\n")
	key := "-----BEGIN " + "EC PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END EC PRIVATE KEY-----\n"
	var many strings.Builder
	for range 12 {
		many.WriteString(issue(t, nil))
	}
	const path, at = "trust.caBundle", "caBundle"
	cases := []fault{
		{name: "private key", new: root + key, reason: "holds a private key", fix: "replace the key"},
		{name: "private key before", new: key + root, reason: "holds a private key", fix: "replace the key"},
		{name: "no PEM", new: "MIIB", reason: "holds no certificate in PEM", fix: "-----BEGIN CERTIFICATE-----"},
		{name: "cut off", new: root + strings.Join(lines[:3], "\n"), reason: "block 2 is not complete PEM", fix: "copy it again"},
		{name: "cut off before a whole one", new: strings.Join(lines[:3], "\n") + "\n" + root, reason: "block 1 is not complete PEM", fix: "copy it again"},
		{name: "cut out", new: cut, reason: "certificate 1 can't be read", fix: "copy it again"},
		{name: "a request", new: strings.ReplaceAll(root, "CERTIFICATE", "CERTIFICATE REQUEST"), reason: "block 1 is not a certificate", fix: "keep the blocks"},
		{name: "a server's", new: root + issue(t, func(c *x509.Certificate) { c.IsCA = false }), reason: "certificate 2 (CN=Test Root) is not an authority's", fix: "issued it"},
		{name: "may not sign", new: issue(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), reason: "certificate 1 (CN=Test Root) must not sign", fix: "certificate signing"},
		{name: "twice", new: root + root, reason: "certificate 2 (CN=Test Root) is there twice, first as 1", fix: "remove one"},
		{name: "too many", new: many.String(), reason: "has ", fix: "keep the roots only"},
	}
	for i := range cases {
		cases[i].old, cases[i].new = add(trust(cases[i].new))
		cases[i].path, cases[i].at = path, at
	}
	cases = append(cases, fault{name: "empty", path: path, reason: "is empty", fix: "leave the key out", at: at})
	cases[len(cases)-1].old, cases[len(cases)-1].new = add(`trust: {caBundle: ""}`)
	runFaults(t, "production.yaml", cases)
}

// TestSecretsAreNotRepeated: whatever is wrong, what may be a secret is in no fault.
func TestSecretsAreNotRepeated(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	key := "-----BEGIN " + "PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n"
	base := example(t, "production.yaml")
	for name, section := range map[string]string{
		"key":                trust(key),
		"key after rubbish":  trust("rubbish\n" + key),
		"key without end":    trust(key[:len(key)-30]),
		"proxy":              "proxy: {url: http://user:" + secret + "@proxy.example.com:3128}",
		"proxy without port": "proxy: {url: http://user:" + secret + "@proxy.example.com}",
		"proxy, no host":     "proxy: {url: " + secret + "@}",
	} {
		old, with := add(section)
		_, err := config.Parse("deployment.yaml", []byte(strings.Replace(base, old, with, 1)))
		if err == nil {
			t.Errorf("%s passes", name)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s is repeated: %v", name, err)
		}
	}
}

func TestFaultsOfProxies(t *testing.T) {
	t.Parallel()
	cases := []fault{
		{name: "user", new: "proxy: {url: http://me@proxy.example.com:3128}", path: "proxy.url", reason: "holds a user or password", fix: "without them"},
		{name: "no port", new: "proxy: {url: http://proxy.example.com}", path: "proxy.url", reason: `"http://proxy.example.com" has no port`, fix: ":3128"},
		{name: "port too high", new: "proxy: {url: http://proxy.example.com:70000}", path: "proxy.url", reason: `"http://proxy.example.com:70000" has no valid port`, fix: "65535"},
		{name: "socks", new: "proxy: {url: socks5://proxy.example.com:1080}", path: "proxy.url", reason: `"socks5://proxy.example.com:1080" is not allowed`, fix: "http://proxy"},
		{name: "path", new: "proxy: {url: http://proxy.example.com:3128/x}", path: "proxy.url", reason: `"http://proxy.example.com:3128/x" is not allowed`, fix: "http://proxy"},
		{name: "short host", new: "proxy: {url: http://proxy:3128}", path: "proxy.url", reason: `"http://proxy:3128" has no host name that nodes`, fix: "full host name"},
		{name: "public address", new: "proxy: {url: http://198.51.100.7:3128}", path: "proxy.url", reason: `"http://198.51.100.7:3128" is not in a private range`, fix: "443"},
		{name: "no use", new: "proxy: {noProxy: [.example.com]}", path: "proxy.noProxy", reason: "has no effect", fix: "name the proxy"},
		{name: "wildcard", new: "proxy: {url: http://10.1.1.1:3128, noProxy: ['*.example.com']}", path: "proxy.noProxy[0]", reason: `"*.example.com" has a wildcard`, fix: "dot before it"},
		{name: "everything", new: "proxy: {url: http://10.1.1.1:3128, noProxy: [0.0.0.0/0]}", path: "proxy.noProxy[0]", reason: `"0.0.0.0/0" goes around`, fix: "name ranges"},
		{name: "host bits", new: "proxy: {url: http://10.1.1.1:3128, noProxy: [10.1.1.1/8]}", path: "proxy.noProxy[0]", reason: `"10.1.1.1/8" has bits`, fix: "10.0.0.0/8"},
		{name: "port in an entry", new: "proxy: {url: http://10.1.1.1:3128, noProxy: ['example.com:443']}", path: "proxy.noProxy[0]", reason: `"example.com:443" is not allowed`, fix: "a domain"},
		{name: "too long", new: "proxy: {url: http://10.1.1.1:3128, noProxy: [" + strings.Repeat("a", 240) + ".b, " + strings.Repeat("b", 240) + ".b, " + strings.Repeat("c", 240) + ".b, " + strings.Repeat("d", 240) + ".b, " + strings.Repeat("e", 240) + ".b]}", path: "proxy.noProxy", reason: "has 1215 characters", fix: "domains"},
	}
	for i := range cases {
		cases[i].at = strings.TrimPrefix(cases[i].path, "proxy.")
		cases[i].at, _, _ = strings.Cut(cases[i].at, "[")
		cases[i].old, cases[i].new = add(cases[i].new)
	}
	cases = append(cases,
		fault{"API for all", "\ncluster:\n", "\ncluster:\n  api: {allowCidrs: [0.0.0.0/0]}\n", "cluster.api.allowCidrs[0]", `"0.0.0.0/0" lets everyone in`, "name the ranges", "allowCidrs"},
		fault{"API proxy's user", "\ncluster:\n", "\ncluster:\n  api: {proxy: 'http://a:b@proxy.example.com:3128'}\n", "cluster.api.proxy", "holds a user or password", "without them", "proxy"},
		fault{"host as truth", "\ncluster:\n", "\ncluster:\n  api: {sessionHost: 1}\n", "cluster.api.sessionHost", "is the number 1", "true or false", "sessionHost"},
	)
	runFaults(t, "production.yaml", cases)
}

func TestBundle(t *testing.T) {
	t.Parallel()
	one, two := issue(t, nil), issue(t, nil)
	old, with := add(trust("Corporate roots\n" + one + "and the old one:\n" + two))
	c, err := config.Parse("deployment.yaml", []byte(strings.Replace(example(t, "production.yaml"), old, with, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Trust.Bundle(); got != one+two {
		t.Errorf("bundle is\n%s\nwant\n%s", got, one+two)
	}
	if n := len(c.Trust.Certificates()); n != 2 {
		t.Errorf("%d certificates", n)
	}
	if got := (config.Trust{}).Bundle(); got != "" {
		t.Errorf("without certificates there is the bundle %q", got)
	}
}
