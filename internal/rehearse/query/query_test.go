package query

import (
	"strings"
	"testing"
)

// The proof of a password is that of the standard's example.
//
// https://www.rfc-editor.org/rfc/rfc7677#section-3
func TestProof(t *testing.T) {
	t.Parallel()
	p := &scram{user: "user", nonce: "rOprNGfwEbeRWgbNEkqO"}
	got, err := p.final("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "pencil")
	if err != nil || !strings.HasSuffix(got, ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=") || p.signature != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("got %s and %s, %v", got, p.signature, err)
	}
	for _, first := range []string{"", "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "r=rOprNGfwEbeRWgbNEkqO1,s=?,i=4096", "r=rOprNGfwEbeRWgbNEkqO1,s=W22Z,i=99999999"} {
		if _, err := p.final(first, "pencil"); err == nil {
			t.Errorf("%q makes sense", first)
		}
	}
}
