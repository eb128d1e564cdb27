package sts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
)

// idToken is as much of an OpenID Connect token as STS looks at.
type idToken struct {
	header struct {
		Alg, Kid string
	}
	claims struct {
		Issuer   string  `json:"iss"`
		Subject  string  `json:"sub"`
		Audience any     `json:"aud"`
		Party    string  `json:"azp"`
		Expires  float64 `json:"exp"`
		Issued   float64 `json:"iat"`
		NotUntil float64 `json:"nbf"`
		AWS      any     `json:"https://aws.amazon.com/tags"`
	}
	signed    string
	signature []byte
}

// parseToken reads a token in the compact form; false if it isn't one.
func parseToken(s string) (*idToken, bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return nil, false
	}
	t := &idToken{signed: parts[0] + "." + parts[1]}
	for i, into := range []any{&t.header, &t.claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return nil, false
		}
	}
	var err error
	t.signature, err = base64.RawURLEncoding.DecodeString(parts[2])
	return t, err == nil && t.claims.Issuer != ""
}

// audiences are whom the token is for.
func (t *idToken) audiences() []string {
	switch a := t.claims.Audience.(type) {
	case string:
		return []string{a}
	case []any:
		var out []string
		for _, x := range a {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// algorithms are those that STS takes.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
var algorithms = map[string]struct {
	hash  crypto.Hash
	curve elliptic.Curve
}{
	"RS256": {crypto.SHA256, nil}, "RS384": {crypto.SHA384, nil}, "RS512": {crypto.SHA512, nil},
	"ES256": {crypto.SHA256, elliptic.P256()}, "ES384": {crypto.SHA384, elliptic.P384()}, "ES512": {crypto.SHA512, elliptic.P521()},
}

// verify checks the signature by the issuer's keys. known tells whether they
// have the key that the token names.
func (t *idToken) verify(jwks []byte) (valid, known bool) {
	alg, ok := algorithms[t.header.Alg]
	if !ok {
		return false, true
	}
	var set struct {
		Keys []struct{ Kty, Kid, Use, Crv, N, E, X, Y string }
	}
	if json.Unmarshal(jwks, &set) != nil {
		return false, false
	}
	h := alg.hash.New()
	h.Write([]byte(t.signed))
	digest := h.Sum(nil)
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
		if err != nil {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(b)
	}
	for _, k := range set.Keys {
		if t.header.Kid != "" && k.Kid != t.header.Kid || k.Use != "" && k.Use != "sig" {
			continue
		}
		switch {
		case k.Kty == "RSA" && alg.curve == nil:
			known = true
			e := number(k.E)
			if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || number(k.N).BitLen() < 1024 {
				continue
			}
			pub := &rsa.PublicKey{N: number(k.N), E: int(e.Int64())}
			valid = valid || rsa.VerifyPKCS1v15(pub, alg.hash, digest, t.signature) == nil
		case k.Kty == "EC" && alg.curve != nil && k.Crv == alg.curve.Params().Name:
			known = true
			size := (alg.curve.Params().BitSize + 7) / 8
			if len(t.signature) != 2*size {
				continue
			}
			x, y := number(k.X), number(k.Y)
			if x.BitLen() > 8*size || y.BitLen() > 8*size {
				continue
			}
			point := append([]byte{4}, append(x.FillBytes(make([]byte, size)), y.FillBytes(make([]byte, size))...)...)
			pub, err := ecdsa.ParseUncompressedPublicKey(alg.curve, point)
			if err != nil {
				continue
			}
			r, s := new(big.Int).SetBytes(t.signature[:size]), new(big.Int).SetBytes(t.signature[size:])
			valid = valid || ecdsa.Verify(pub, digest, r, s)
		}
	}
	return valid, known
}
