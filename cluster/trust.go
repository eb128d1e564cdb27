package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/charts"
)

// CheckTrust refuses values of a chart of ours, as [Values] reads them, by which its pods
// couldn't trust the database: their trust.certificates hold what is no certificate, or
// authorities of RDS without the one that signs for databases of ours in a region. Values
// without any of RDS leave these to the images. Certificates are never repeated: there may
// be a key among them by mistake.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
func CheckTrust(region, chart string, values []byte) error {
	if chart != charts.Platform {
		return nil
	}
	given, err := read(values)
	if err != nil {
		return err
	}
	trust, _ := given["trust"].(map[string]any)
	text, _ := trust["certificates"].(string)
	if strings.TrimSpace(text) == "" {
		return nil
	}
	names, err := authorities(text)
	if err != nil {
		return fmt.Errorf("trust.certificates %w", err)
	}
	const rds = "Amazon RDS "
	kind := strings.ReplaceAll(strings.TrimPrefix(architecture.DatabaseAuthority, "rds-ca-"), "-", " ")
	want := rds + region + " Root CA " + strings.ToUpper(kind)
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, rds) }) && !slices.Contains(names, want) {
		return fmt.Errorf("trust.certificates has authorities of RDS without the database's, %s; take those of the region: %s", want, certificatesOf(region))
	}
	return nil
}

// certificatesOf is where RDS's authorities of a region are, or which page says where.
func certificatesOf(region string) string {
	if strings.HasPrefix(region, "us-gov-") || strings.HasPrefix(region, "cn-") {
		return "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html"
	}
	return "https://truststore.pki.rds.amazonaws.com/" + region + "/" + region + "-bundle.pem"
}

// authorities are the common names of certificates in PEM.
func authorities(text string) (names []string, err error) {
	if strings.Contains(text, "PRIVATE KEY") {
		return nil, errors.New("holds a private key; keep the certificates only, and replace the key")
	}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("block %d is no certificate; copy it again from the authority", len(names)+1)
		}
		names = append(names, cert.Subject.CommonName)
	}
	if len(names) == 0 {
		return nil, errors.New("holds no certificate in PEM; write them out, below certificates: |")
	}
	// What can't be read is passed over by the decoder.
	if begun := strings.Count(text, "-----BEGIN"); begun != len(names) {
		return nil, fmt.Errorf("has %d blocks that begin, and %d that are complete; copy them again, indented evenly", begun, len(names))
	}
	return names, nil
}
