package signon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// The headers that targets read.
const (
	headerAccess   = "X-Amzn-Oidc-Accesstoken"
	headerIdentity = "X-Amzn-Oidc-Identity"
	headerData     = "X-Amzn-Oidc-Data"
)

// validFor is how long signed claims are good for: each request has new ones.
const validFor = 2 * time.Minute

// signer signs claims.
type signer struct {
	key *ecdsa.PrivateKey
	id  string
	pem []byte
}

func newSigner(secret []byte) (signer, error) {
	// More bits than the order has, so that the remainder is even.
	seed, err := hkdf.Key(sha256.New, secret, nil, "claims of load balancers", 48)
	if err != nil {
		return signer{}, fmt.Errorf("derive the key of claims: %w", err)
	}
	order := elliptic.P256().Params().N
	d := new(big.Int).SetBytes(seed)
	d.Add(d.Mod(d, new(big.Int).Sub(order, big.NewInt(1))), big.NewInt(1))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		return signer{}, fmt.Errorf("derive the key of claims: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return signer{}, fmt.Errorf("derive the key of claims: %w", err)
	}
	h := fmt.Sprintf("%x", sha256.Sum256(der))
	id := strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:32]}, "-")
	return signer{key, id, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}, nil
}

// identify tells the target who the user is.
func (f *flow) identify(s *session) {
	var claims struct {
		Subject json.RawMessage `json:"sub"`
	}
	subject := ""
	if json.Unmarshal(s.Claims, &claims) == nil && json.Unmarshal(claims.Subject, &subject) != nil {
		subject = string(claims.Subject)
	}
	f.r.Header.Set(headerAccess, s.Access)
	f.r.Header.Set(headerIdentity, subject)
	f.r.Header.Set(headerData, f.sign(s.Claims))
}

// sign makes the JWT of claims: ES256, its parts in base64 URL encoding with
// padding, which most libraries leave out and AWS does not.
func (f *flow) sign(claims json.RawMessage) string {
	header, err := json.Marshal(struct {
		Type    string `json:"typ"`
		ID      string `json:"kid"`
		Alg     string `json:"alg"`
		Issuer  string `json:"iss"`
		Client  string `json:"client"`
		Signer  string `json:"signer"`
		Expires int64  `json:"exp"`
	}{"JWT", f.signer.id, "ES256", f.c.Issuer, f.c.ClientID, f.balancer, f.opts.Wall().Add(validFor).Unix()})
	if err != nil {
		return "" // strings and a number always have a JSON form
	}
	text := base64.URLEncoding.EncodeToString(header) + "." + base64.URLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, f.signer.key, sum[:])
	if err != nil {
		return "" // the key is one of the curve
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return text + "." + base64.URLEncoding.EncodeToString(signature)
}

// Keys is the endpoint of public keys: public-keys.auth.elb.REGION.amazonaws.com,
// at /KEY-ID.
func (s *SignOn) Keys() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/"+s.signer.id || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "no such key", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		// The client may be gone.
		_, _ = w.Write(s.signer.pem)
	})
}
