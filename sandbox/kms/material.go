package kms

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms/ciphertext"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// How a key got its material, as KMS lists it; the first has none of them.
const (
	automatic = "AUTOMATIC"
	onDemand  = "ON_DEMAND"
)

// mostOnDemand is how often a key can be rotated on demand.
// https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
const mostOnDemand = 25

// material is one of the materials that a key has had.
type material struct {
	bytes []byte
	since time.Time
	how   string
}

// id names it without telling it.
func (m *material) id() string {
	h := sha256.Sum256(append([]byte("kms material "), m.bytes...))
	return hex.EncodeToString(h[:])
}

// materials are all that a key has had, the current one last: rotation leaves
// the former ones, to decrypt by. They are kept with the key, from the first
// use on, but for keys that AWS manages, whose only one follows from the
// account's secret.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
func materials(tx *account.Tx, k *account.Resource) ([]material, error) {
	if k.Data["AWSManaged"] != nil {
		return []material{{bytes: derive(tx, k, 0), since: k.Created}}, nil
	}
	if len(props.List(k.Data, "materials")) == 0 {
		add(tx, k, k.Created, "")
	}
	rotate(tx, k)
	list := props.Maps(k.Data, "materials")
	out := make([]material, 0, len(list))
	for i, m := range list {
		b, err := base64.StdEncoding.DecodeString(props.Str(m, "material"))
		since, ok := m["since"].(time.Time)
		if err != nil || len(b) != ciphertext.MaterialSize || !ok {
			return nil, fmt.Errorf("key %s: material %d is damaged", k.ID, i)
		}
		out = append(out, material{bytes: b, since: since, how: props.Str(m, "how")})
	}
	return out, nil
}

func add(tx *account.Tx, k *account.Resource, since time.Time, how string) {
	list := props.List(k.Data, "materials")
	b := base64.StdEncoding.EncodeToString(derive(tx, k, len(list)))
	k.Data["materials"] = append(list, map[string]any{"material": b, "since": since, "how": how})
}

// derive makes a key's material of a number from the account's secret, the same
// for the same seed.
func derive(tx *account.Tx, k *account.Resource, number int) []byte {
	h := hmac.New(sha256.New, []byte(tx.Secret()))
	fmt.Fprintf(h, "kms material %s %d", k.ID, number)
	return h.Sum(nil)
}

// rotates tells whether a key is rotated by itself, since when and how often.
func rotates(k *account.Resource) (since time.Time, every int, ok bool) {
	if !props.Bool(k.Props, false, "EnableKeyRotation") {
		return time.Time{}, 0, false
	}
	since = k.Created
	if at, ok := k.Data["rotatesSince"].(time.Time); ok {
		since = at
	}
	return since, props.Int(k.Props, 365, "RotationPeriodInDays"), true
}

// rotate catches up on the rotations that are due by now.
func rotate(tx *account.Tx, k *account.Resource) {
	since, every, ok := rotates(k)
	if !ok {
		return
	}
	last := since
	for _, m := range props.Maps(k.Data, "materials") {
		if at, ok := m["since"].(time.Time); ok && m["how"] == automatic && at.After(last) {
			last = at
		}
	}
	for next := last.AddDate(0, 0, every); !next.After(tx.Now()); next = next.AddDate(0, 0, every) {
		add(tx, k, next, automatic)
	}
}

// Seal encrypts a value under a key that the caller was found to have the right
// to, see [Usable], for a service that keeps it: as base64. The same value in
// the same context under the same material has the same ciphertext, so that an
// account is the same for the same seed.
func Seal(tx *account.Tx, k *account.Resource, context map[string]string, plain []byte) (string, error) {
	all, err := materials(tx, k)
	if err != nil {
		return "", err
	}
	current := all[len(all)-1].bytes
	// The nonce is a function of all that it must be fresh for.
	bound := map[string]string{"\x00key": k.ID, "\x00material": fmt.Sprint(len(all) - 1)}
	for name, v := range context {
		bound[name] = v
	}
	h := hmac.New(sha256.New, current)
	for _, s := range pairs(bound) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	h.Write(plain)
	blob, err := ciphertext.Seal(k.ID, len(all)-1, current, h.Sum(nil)[:12], context, plain)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(blob), nil
}

// Open decrypts what [Seal] made, or KMS for a client, and says which key it is
// under. Whether the key can be used, and who may, is not asked here. Errors:
// KMS's InvalidCiphertextException, and its AccessDeniedException for a key that
// is there no more.
func Open(tx *account.Tx, sealed string, context map[string]string) ([]byte, *account.Resource, error) {
	c, k, err := parse(tx, sealed)
	if err != nil {
		return nil, nil, err
	}
	all, err := materials(tx, k)
	if err != nil {
		return nil, nil, err
	}
	if c.Material >= len(all) {
		return nil, nil, invalidCiphertext()
	}
	plain, err := c.Open(all[c.Material].bytes, context)
	if err != nil {
		return nil, nil, invalidCiphertext()
	}
	return plain, k, nil
}

func invalidCiphertext() error {
	return account.Errorf("InvalidCiphertextException", "The ciphertext is not one of KMS, or is not in the encryption context that it was made in.")
}

// parse finds the key that a ciphertext names.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
func parse(tx *account.Tx, sealed string) (ciphertext.Ciphertext, *account.Resource, error) {
	blob, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return ciphertext.Ciphertext{}, nil, invalidCiphertext()
	}
	c, err := ciphertext.Parse(blob)
	if err != nil {
		return ciphertext.Ciphertext{}, nil, invalidCiphertext()
	}
	k, err := Lookup(tx, c.Key)
	if err != nil {
		return ciphertext.Ciphertext{}, nil, account.Errorf("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	}
	return c, k, nil
}
