package cluster_test

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

	"github.com/goccy/go-yaml"

	"github.com/poolhouse/poolhouse/cluster"
)

// Values by which pods couldn't trust the database are refused before anything is touched,
// without a word of what they hold.
func TestCheckTrust(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(name string) string {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	right, elsewhere := certificate("Amazon RDS eu-west-1 Root CA RSA2048 G1"), certificate("Amazon RDS us-east-1 Root CA RSA2048 G1")
	other, own := certificate("Amazon RDS eu-west-1 Root CA ECC384 G1"), certificate("Acme")
	lacks := "has authorities of RDS without the database's, Amazon RDS eu-west-1 Root CA RSA2048 G1; take those of the region: https://truststore.pki.rds.amazonaws.com/eu-west-1/eu-west-1-bundle.pem"
	for name, tc := range map[string]struct{ text, want string }{
		"the region's":     {"# of the region\n" + right + other, ""},
		"all regions'":     {elsewhere + "\n" + right, ""},
		"an enterprise's":  {own, ""},
		"none":             {"\n", ""},
		"another region's": {elsewhere, lacks},
		"of another kind":  {own + other, lacks},
		"a key":            {right + "-----BEGIN EC PRIVATE KEY-----\nsecret\n-----END EC PRIVATE KEY-----\n", "holds a private key"},
		"torn":             {right + strings.Replace(right, "END", "", 1), "has 2 blocks that begin, and 1 that are complete"},
		"a request":        {strings.ReplaceAll(right, "CERTIFICATE", "CERTIFICATE REQUEST"), "block 1 is no certificate"},
		"a path":           {"us-east-1-bundle.pem", "holds no certificate in PEM"},
	} {
		values, err := yaml.Marshal(map[string]any{"trust": map[string]any{"certificates": tc.text}})
		if err != nil {
			t.Fatal(err)
		}
		err = cluster.CheckTrust("eu-west-1", "poolhouse-platform", values)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), "trust.certificates "+tc.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if err := cluster.CheckTrust("eu-west-1", "acme", values); err != nil {
			t.Errorf("%s, in a chart of others: %v", name, err)
		}
	}
	if err := cluster.CheckTrust("cn-north-1", "poolhouse-platform", []byte("trust:\n  certificates: |\n    "+strings.ReplaceAll(right, "\n", "\n    "))); err == nil || !strings.Contains(err.Error(), "Amazon RDS cn-north-1 Root CA RSA2048 G1; take those of the region: https://docs.aws.amazon.com/") {
		t.Errorf("in China: %v", err)
	}
}
