package ecr

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Why [Principal] takes a password for nobody's.
var (
	ErrUnknownToken = errors.New("the password is no authorization token")
	ErrExpiredToken = errors.New("the authorization token is expired")
)

// tokenLife is how long an authorization token is good for, however soon the
// credentials end that it was got with.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
const tokenLife = 12 * time.Hour

// token is a password as ECR's looks. Its payload says whose it is, and the data
// key proves that the account made it.
type token struct {
	Payload    []byte `json:"payload"`
	DataKey    []byte `json:"datakey"`
	Version    string `json:"version"`
	Type       string `json:"type"`
	Expiration int64  `json:"expiration"`
}

// bearer is a token's payload.
type bearer struct {
	ARN     string           `json:"a"`
	Key     string           `json:"k"`
	Expires time.Time        `json:"x"`
	Session *account.Session `json:"s,omitempty"`
}

func seal(tx *account.Tx, payload []byte) []byte {
	h := hmac.New(sha256.New, []byte("ecr "+tx.Secret()))
	h.Write(payload)
	return h.Sum(nil)
}

// getAuthorizationToken gives the user and password for the registry, with which
// the caller may do there what it may do here.
func getAuthorizationToken(tx *account.Tx, r *wire.Request) (any, error) {
	expires := tx.Now().Add(tokenLife).UTC()
	payload, err := json.Marshal(bearer{tx.Caller, r.AccessKeyID, expires, tx.Session})
	if err != nil {
		return nil, fmt.Errorf("write authorization token: %w", err)
	}
	text, err := json.Marshal(token{payload, seal(tx, payload), "2", "DATA_KEY", expires.Unix()})
	if err != nil {
		return nil, fmt.Errorf("write authorization token: %w", err)
	}
	pair := "AWS:" + base64.StdEncoding.EncodeToString(text)
	return map[string]any{"authorizationData": []any{map[string]any{
		"authorizationToken": base64.StdEncoding.EncodeToString([]byte(pair)), "expiresAt": expires, "proxyEndpoint": "https://" + Registry(tx),
	}}}, nil
}

// Principal is whose password one for the registry is. Errors are
// ErrUnknownToken and ErrExpiredToken.
func Principal(tx *account.Tx, password string) (wire.Credential, error) {
	text, err := base64.StdEncoding.DecodeString(password)
	if err != nil {
		return wire.Credential{}, ErrUnknownToken
	}
	var t token
	if json.Unmarshal(text, &t) != nil || tx.Secret() == "" || !hmac.Equal(t.DataKey, seal(tx, t.Payload)) {
		return wire.Credential{}, ErrUnknownToken
	}
	var b bearer
	if err := json.Unmarshal(t.Payload, &b); err != nil {
		return wire.Credential{}, ErrUnknownToken
	}
	if !b.Expires.After(tx.Now()) {
		return wire.Credential{}, ErrExpiredToken
	}
	return wire.Credential{AccessKeyID: b.Key, ARN: b.ARN, Session: b.Session}, nil
}
