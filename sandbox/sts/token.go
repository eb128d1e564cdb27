package sts

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// claims are what a session token says. As on AWS the token carries all of it:
// the account keeps no list of sessions.
type claims struct {
	Key            string            `json:"k"`
	ARN            string            `json:"a"`
	Operation      string            `json:"o"`
	Entity         string            `json:"e,omitempty"`
	Expires        time.Time         `json:"x"`
	Issued         time.Time         `json:"i"`
	Policies       []string          `json:"p,omitempty"`
	Tags           map[string]string `json:"t,omitempty"`
	SourceIdentity string            `json:"s,omitempty"`
	Provider       string            `json:"f,omitempty"`
}

// credentials are temporary keys.
type credentials struct {
	key, secret, token string
	expires            time.Time
}

func (c credentials) view() map[string]any {
	return map[string]any{"AccessKeyId": c.key, "SecretAccessKey": c.secret, "SessionToken": c.token, "Expiration": c.expires}
}

// issue makes temporary credentials.
func issue(tx *account.Tx, arn string, s account.Session, life time.Duration) (credentials, error) {
	c := claims{
		Key: iam.KeyID(tx, "ASIA"), ARN: arn, Operation: s.Operation, Entity: s.Entity, Issued: tx.Now().UTC(), Expires: tx.Now().UTC().Add(life),
		Policies: s.Policies, Tags: s.Tags, SourceIdentity: s.SourceIdentity, Provider: s.Provider,
	}
	text, err := json.Marshal(c)
	if err != nil {
		return credentials{}, fmt.Errorf("write session token: %w", err)
	}
	body := base64.RawURLEncoding.EncodeToString(text)
	return credentials{
		key: c.Key, secret: secret(tx, c.Key), expires: c.Expires,
		token: body + "." + base64.RawURLEncoding.EncodeToString(sum(tx, "token", body)),
	}, nil
}

// secret is the secret access key of a temporary key.
func secret(tx *account.Tx, key string) string {
	return base64.StdEncoding.EncodeToString(sum(tx, "secret", key)[:30])
}

func sum(tx *account.Tx, what, text string) []byte {
	h := hmac.New(sha256.New, []byte(what+" "+tx.Secret()))
	h.Write([]byte(text))
	return h.Sum(nil)
}

// Lookup finds the key pair of a user or of a session, whose token has to come
// with it. Errors are [wire.ErrUnknownKey] and [wire.ErrExpiredToken].
func Lookup(tx *account.Tx, key, token string) (wire.Credential, error) {
	if token == "" {
		if c, ok := iam.AccessKey(tx, key); ok {
			return c, nil
		}
		return wire.Credential{}, wire.ErrUnknownKey
	}
	body, signed, _ := strings.Cut(token, ".")
	got, err := base64.RawURLEncoding.DecodeString(signed)
	if err != nil || tx.Secret() == "" || !hmac.Equal(got, sum(tx, "token", body)) {
		return wire.Credential{}, wire.ErrUnknownKey
	}
	text, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return wire.Credential{}, wire.ErrUnknownKey
	}
	var c claims
	if err := json.Unmarshal(text, &c); err != nil || c.Key != key {
		return wire.Credential{}, wire.ErrUnknownKey
	}
	if !c.Expires.After(tx.Now()) {
		return wire.Credential{}, wire.ErrExpiredToken
	}
	return wire.Credential{
		AccessKeyID: key, SecretAccessKey: secret(tx, key), SessionToken: token, ARN: c.ARN,
		Session: &account.Session{
			Operation: c.Operation, Entity: c.Entity, Policies: c.Policies, Tags: c.Tags, SourceIdentity: c.SourceIdentity, Provider: c.Provider, Issued: c.Issued,
		},
	}, nil
}
