package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// The files of an authority that is kept.
const (
	FileCertificate = "ca.pem"
	fileKey         = "ca-key.pem"
)

// Clients' clocks may be behind, and browsers take no certificate for longer
// than 398 days.
// https://cabforum.org/working-groups/server/baseline-requirements/requirements/
const (
	before = 24 * time.Hour
	leaf   = 397 * 24 * time.Hour
	root   = 10 * 365 * 24 * time.Hour
)

// Authority issues certificates for all names of a sandbox. It is safe for
// concurrent use.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	now  func() time.Time

	mu     sync.Mutex
	issued map[string]*tls.Certificate
	spoils func(names []string) Wrong
	// stranger issues what nobody trusts; nil before that.
	stranger *Authority
}

// Wrong is what is wrong with a certificate.
type Wrong string

// The kinds of wrong certificates: over, for another name, of an authority that
// nobody knows.
const (
	Right   Wrong = ""
	Expired Wrong = "expired"
	Name    Wrong = "name"
	Unknown Wrong = "authority"
)

// Spoil has certificates for some names be wrong, as a function says each time
// that one is asked for. The function must be safe for concurrent use.
func (a *Authority) Spoil(f func(names []string) Wrong) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spoils = f
}

// NewAuthority makes one with a key of its own. Its clock is the one that
// clients go by: the wall's.
func NewAuthority(now func() time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the authority: %w", err)
	}
	serial, err := serial()
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the authority: %w", err)
	}
	id := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprintf("sandbox %x", id[:4])},
		NotBefore: now().Add(-before), NotAfter: now().Add(root), SubjectKeyId: id[:20],
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the authority: %w", err)
	}
	return &Authority{key: key, cert: cert, now: now, issued: map[string]*tls.Certificate{}}, nil
}

// OpenAuthority returns the authority that a folder keeps, or makes one and has
// the folder keep it. Only its owner can read the key.
func OpenAuthority(dir string, now func() time.Time) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, FileCertificate), filepath.Join(dir, fileKey)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
		if !ok || !pair.Leaf.IsCA || pair.Leaf.NotAfter.Before(now()) {
			return nil, fmt.Errorf("%s is no authority of a sandbox, or has expired: remove it and %s to have a new one", certFile, keyFile)
		}
		return &Authority{key: key, cert: pair.Leaf, now: now, issued: map[string]*tls.Certificate{}}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the authority in %s: %w", dir, err)
	}
	a, err := NewAuthority(now)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("write the authority's key: %w", err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, fmt.Errorf("write the authority's key: %w", err)
	}
	if err := os.WriteFile(certFile, a.PEM(), 0o600); err != nil {
		return nil, fmt.Errorf("write the authority's certificate: %w", err)
	}
	return a, nil
}

// PEM is the authority's certificate, for its clients to trust.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Pool holds the authority's certificate alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Certificate returns one for the names, the same for the same names as long as
// it is valid.
func (a *Authority) Certificate(names ...string) (*tls.Certificate, error) {
	if len(names) == 0 {
		return nil, errors.New("a certificate needs a name")
	}
	a.mu.Lock()
	spoils := a.spoils
	a.mu.Unlock()
	wrong := Right
	if spoils != nil {
		wrong = spoils(names)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	id := strings.Join(names, " ")
	switch wrong {
	case Unknown:
		if a.stranger == nil {
			var err error
			if a.stranger, err = NewAuthority(a.now); err != nil {
				return nil, err
			}
		}
		return a.stranger.Certificate(names...)
	case Name:
		id, names = "of another", []string{"another.invalid"}
	case Expired:
		id += " expired"
		if c := a.issued[id]; c != nil {
			return c, nil
		}
	}
	if c := a.issued[id]; c != nil && c.Leaf.NotAfter.After(a.now().Add(before)) {
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of %s: %w", names[0], err)
	}
	serial, err := serial()
	if err != nil {
		return nil, err
	}
	from, until := a.now().Add(-before), a.now().Add(leaf)
	if wrong == Expired {
		from, until = a.now().Add(-leaf), a.now().Add(-before)
	}
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: slices.Clone(names),
		NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of %s: %w", names[0], err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of %s: %w", names[0], err)
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: parsed}
	a.issued[id] = c
	return c, nil
}

func serial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}
