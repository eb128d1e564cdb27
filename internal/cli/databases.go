package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"path/filepath"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
)

// openDatabases has the account's database instances hold rows, with certificates
// of an authority; they are kept in the folder of the account, if it has one, and
// as slow as faults have them, if there are any.
func openDatabases(ctx context.Context, a *app, box *sandbox.Sandbox, authority *front.Authority, state string, faults bool) (*rows.Databases, error) {
	o := rows.Options{
		Program: func(ctx context.Context) (string, error) {
			return plane.Program(ctx, "postgres", func(folder string) { fmt.Fprintf(a.Err, "Building the databases' server in %s, once.\n", folder) })
		},
		Certificate: func(name string) (certificate, key []byte, err error) { return issued(authority, name) },
		Report:      func(err error) { fmt.Fprintln(a.Err, err) },
	}
	if faults {
		o.Lag = func(ctx context.Context, instance string, bytes int, begin bool) error {
			return box.Faults().LagOfDatabase(ctx, instance, bytes, begin)
		}
	}
	if state != "" {
		o.Dir = filepath.Join(state, "rows")
	}
	if a.verbose {
		o.Log = a.Err
	}
	return rows.Run(ctx, box.Account(), o)
}

// issued is a name's certificate with its key, as PEM.
func issued(authority *front.Authority, name string) (certificate, key []byte, err error) {
	c, err := authority.Certificate(name)
	if err != nil {
		return nil, nil, err
	}
	for _, der := range c.Certificate {
		certificate = append(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("write the key of %s: %w", name, err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// printDatabases says how to reach rows, for people.
func printDatabases(w io.Writer, dns string) {
	host, port := cutPort(dns)
	fmt.Fprintf(w, "\nDatabases hold rows, if this machine has PostgreSQL:\n\n  PGHOSTADDR=$(dig +short @%s -p %s ENDPOINT) psql 'host=ENDPOINT user=USER sslmode=verify-full sslrootcert=ca.pem'\n", host, port)
}
