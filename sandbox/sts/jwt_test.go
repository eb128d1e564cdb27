package sts

import (
	"encoding/base64"
	"testing"
)

// FuzzToken: no token and no key set crashes, and without a key nothing is valid.
func FuzzToken(f *testing.F) {
	e := base64.RawURLEncoding.EncodeToString
	claims := e([]byte(`{"iss":"https://x","sub":"s","aud":["a",1],"exp":1e99}`))
	f.Add(e([]byte(`{"alg":"RS256","kid":"1"}`))+"."+claims+".AAAA", `{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"}]}`)
	f.Add(e([]byte(`{"alg":"ES256"}`))+"."+claims+"."+e(make([]byte, 64)), `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`)
	f.Add("..", "[]")
	f.Fuzz(func(t *testing.T, text, jwks string) {
		token, ok := parseToken(text)
		if !ok {
			return
		}
		token.audiences()
		if valid, known := token.verify([]byte(jwks)); valid && !known {
			t.Errorf("%s is valid without a key", text)
		}
		if valid, _ := token.verify([]byte(`{"keys":[]}`)); valid {
			t.Errorf("%s is valid without keys", text)
		}
	})
}
