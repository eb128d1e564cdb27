package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	// maxBundle is what a node's user data, 16 KiB with EKS's own part, and an
	// entry of Parameter Store have room for.
	maxBundle = 6 * 1024
	// maxNoProxy bounds the text of the user's own entries for the same reason.
	maxNoProxy = 1000
)

// proxies checks the two proxies. A URL with a password must never be repeated.
func (k *checker) proxies() {
	k.proxy("cluster.api.proxy", k.c.Cluster.API.Proxy)
	k.proxy("proxy.url", k.c.Proxy.URL)
	if len(k.c.Proxy.NoProxy) > 0 && k.c.Proxy.URL == "" {
		k.fault("proxy.noProxy", "has no effect without proxy.url", "name the proxy, or remove it")
	}
	total := 0
	for i, s := range k.c.Proxy.NoProxy {
		total += len(s) + 1
		path := fmt.Sprintf("proxy.noProxy[%d]", i)
		if strings.Contains(s, "*") {
			k.fault(path, quoted(s)+" has a wildcard, which few programs understand", "write the domain with a dot before it, such as .corp.example.com")
			continue
		}
		if strings.Contains(s, "/") {
			if p, ok := k.prefix(path, s); ok && p.Bits() == 0 {
				k.fault(path, quoted(s)+" goes around the proxy for everything", "name ranges, or leave proxy out")
			}
		}
	}
	if total > maxNoProxy {
		k.fault("proxy.noProxy", fmt.Sprintf("has %d characters together, more than %d", total, maxNoProxy), "name domains instead of hosts")
	}
}

func (k *checker) proxy(path, s string) {
	if s == "" {
		return
	}
	if strings.Contains(s, "@") {
		k.fault(path, "holds a user or password, which don't belong in the file", "write the URL without them; let the proxy know its clients by address")
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return // the rules report the form
	}
	n, err := strconv.Atoi(u.Port())
	switch {
	case u.Port() == "":
		k.fault(path, quoted(s)+" has no port", "write the port, such as "+u.Scheme+"://"+u.Hostname()+":3128")
		return
	case err != nil || n < 1 || n > 65535:
		k.fault(path, quoted(s)+" has no valid port", "write a port from 1 to 65535")
		return
	}
	// Security groups and ACLs open the port to private ranges only.
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		carrier := append(private(), netip.MustParsePrefix("100.64.0.0/10"))
		if path == "proxy.url" && n != 443 && !within(netip.PrefixFrom(a, a.BitLen()), carrier) {
			k.fault(path, quoted(s)+" is not in a private range, and nodes reach public addresses on port 443 only", "name a proxy in a connected network, or one on port 443")
		}
	} else if !k.pattern(hostPattern).MatchString(u.Hostname()) {
		k.fault(path, quoted(s)+" has no host name that nodes could resolve", "write a full host name in lower case, such as http://proxy.corp.example.com:3128")
	}
}

// trust checks the bundle of certificates without ever repeating what is in it:
// there may be a key in it by mistake. Whether they have expired is for those who
// have a clock.
func (k *checker) trust() {
	const path = "trust.caBundle"
	fault := func(reason, fix string) { k.fault(path, reason, fix) }
	bundle := k.c.Trust.CABundle
	if strings.TrimSpace(bundle) == "" {
		if k.given(path) {
			fault("is empty", "write certificates in PEM, or leave the key out")
		}
		return
	}
	if strings.Contains(bundle, "PRIVATE KEY") {
		fault("holds a private key", "remove it, keep the certificates only, and replace the key: whoever read this file has it")
		return
	}
	seen := map[string]int{}
	rest := []byte(bundle)
	for n := 1; ; n++ {
		block, after := pem.Decode(rest)
		if block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				fault(fmt.Sprintf("block %d is not complete PEM", n), "copy it again, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, indented evenly")
			} else if n == 1 {
				fault("holds no certificate in PEM", "begin with -----BEGIN CERTIFICATE-----, below caBundle: |")
			}
			break
		}
		skipped := rest[:len(rest)-len(after)]
		rest = after
		if bytes.Count(skipped, []byte("-----BEGIN")) > 1 {
			// Decode passes over what it can't read.
			fault(fmt.Sprintf("block %d is not complete PEM", n), "copy it again, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, indented evenly")
			return
		}
		if block.Type != "CERTIFICATE" {
			fault(fmt.Sprintf("block %d is not a certificate", n), "keep the blocks that begin with -----BEGIN CERTIFICATE-----")
			return
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			fault(fmt.Sprintf("certificate %d can't be read: %v", n, err), "copy it again from the authority")
			return
		}
		what := fmt.Sprintf("certificate %d (%s)", n, cert.Subject)
		switch first, twice := seen[string(cert.Raw)]; {
		case !cert.BasicConstraintsValid || !cert.IsCA:
			fault(what+" is not an authority's", "name the authority that issued it instead")
		case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
			fault(what+" must not sign certificates", "name an authority whose key usage has certificate signing")
		case twice:
			fault(fmt.Sprintf("%s is there twice, first as %d", what, first), "remove one")
		}
		seen[string(cert.Raw)] = n
	}
	if size := len(k.c.Trust.Bundle()); size > maxBundle {
		fault(fmt.Sprintf("has %d bytes of certificates, more than %d", size, maxBundle), "keep the roots only: servers send what lies between")
	}
}

// Certificates are the authorities of the bundle.
func (t Trust) Certificates() []*x509.Certificate {
	var out []*x509.Certificate
	for rest := []byte(t.CABundle); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, cert)
		}
	}
}

// Bundle is the bundle in PEM without comments and headers, or "".
func (t Trust) Bundle() string {
	var b bytes.Buffer
	for _, cert := range t.Certificates() {
		// Writing to a buffer can't fail.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return b.String()
}
