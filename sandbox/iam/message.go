package iam

import (
	"bytes"
	"compress/flate"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// maxMessage bounds a decoded message, in bytes.
const maxMessage = 64 << 10

// encodeMessage is the part of EC2's refusals that sts:DecodeAuthorizationMessage
// reads; "" where the account has no secret to sign it with.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html
func encodeMessage(tx *account.Tx, p *principal, d *access.Demand, resource string, v verdict) string {
	if tx.Secret() == "" {
		return ""
	}
	items := []any{}
	for k, values := range d.Context {
		list := []any{}
		for _, x := range values {
			list = append(list, map[string]any{"value": x})
		}
		items = append(items, map[string]any{"key": k, "values": map[string]any{"items": list}})
	}
	none := map[string]any{"items": []any{}}
	text, err := json.Marshal(map[string]any{
		"allowed": false, "explicitDeny": v.explicit, "matchedStatements": none, "failures": none,
		"context": map[string]any{
			"principal": map[string]any{"id": p.id(tx), "arn": p.arn}, "action": d.Action, "resource": resource,
			"conditions": map[string]any{"items": items},
		},
	})
	if err != nil {
		return ""
	}
	var b bytes.Buffer
	b.Write(messageSum(tx, text))
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return ""
	}
	if _, err := w.Write(text); err != nil || w.Close() != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b.Bytes())
}

func messageSum(tx *account.Tx, text []byte) []byte {
	h := hmac.New(sha256.New, []byte("message "+tx.Secret()))
	h.Write(text)
	return h.Sum(nil)[:16]
}

// DecodeMessage is the text of what EC2 encodes in a refusal; false if this
// account didn't.
func DecodeMessage(tx *account.Tx, encoded string) (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil || len(raw) < 16 || tx.Secret() == "" {
		return "", false
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw[16:])), maxMessage))
	if err != nil || !hmac.Equal(raw[:16], messageSum(tx, text)) {
		return "", false
	}
	return string(text), true
}
