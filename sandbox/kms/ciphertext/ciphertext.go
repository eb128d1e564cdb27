// Package ciphertext is the form of what the sandbox's KMS encrypts: AES-256 in
// Galois/Counter Mode under a key's own material, with the encryption context as
// additional authenticated data, as KMS does for symmetric keys. A ciphertext
// names its key and which of the key's materials it is under, so that whoever
// decrypts it need not say, and it can be decrypted after a rotation.
//
// Invariants: a ciphertext opens only under its material, with the same context,
// and unchanged in every byte. Nothing here panics, whatever the input.
//
// Limits: AWS documents no form of its ciphertexts; this one is the sandbox's
// own, and neither opens what the other made.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/kms-cryptography.html
package ciphertext

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The first bytes of every ciphertext: who made it, and the form's version.
var magic = []byte("PSK\x01")

// MaterialSize is the size of a key's material, in bytes.
const MaterialSize = 32

const (
	nonceSize = 12
	tagSize   = 16
)

// ErrInvalid is what a ciphertext is that was not made here, or was changed
// since, or is opened with another context or material.
var ErrInvalid = errors.New("invalid ciphertext")

// Ciphertext is an encrypted value taken apart.
type Ciphertext struct {
	// Key is the id of its KMS key, and Material the number of the material, of
	// those that the key has had.
	Key      string
	Material int
	header   []byte
	nonce    []byte
	sealed   []byte
}

// Seal encrypts a value under the material of a key that has that number. The
// nonce, of 12 bytes, must never be used again for another value or context
// under the same material.
func Seal(key string, number int, material, nonce []byte, context map[string]string, plain []byte) ([]byte, error) {
	if len(key) > 255 || number < 0 || number > 0xffff || len(nonce) != nonceSize {
		return nil, fmt.Errorf("seal under key %q: key id, number of the material or nonce out of range", key)
	}
	out := append(slices.Clone(magic), byte(len(key)))
	out = append(out, key...)
	out = binary.BigEndian.AppendUint16(out, uint16(number))
	aead, err := gcm(material)
	if err != nil {
		return nil, fmt.Errorf("seal under key %q: %w", key, err)
	}
	data := authenticated(out, context)
	return aead.Seal(append(out, nonce...), nonce, plain, data), nil
}

// Parse takes a ciphertext apart without opening it. Errors: [ErrInvalid].
func Parse(blob []byte) (Ciphertext, error) {
	rest, ok := bytes.CutPrefix(blob, magic)
	if !ok || len(rest) == 0 {
		return Ciphertext{}, ErrInvalid
	}
	n := int(rest[0])
	if rest = rest[1:]; len(rest) < n+2+nonceSize+tagSize {
		return Ciphertext{}, ErrInvalid
	}
	header := len(blob) - len(rest) + n + 2
	return Ciphertext{
		Key: string(rest[:n]), Material: int(binary.BigEndian.Uint16(rest[n:])),
		header: blob[:header], nonce: blob[header : header+nonceSize], sealed: blob[header+nonceSize:],
	}, nil
}

// Open decrypts. Errors: [ErrInvalid].
func (c Ciphertext) Open(material []byte, context map[string]string) ([]byte, error) {
	aead, err := gcm(material)
	if err != nil || len(c.nonce) != nonceSize {
		return nil, ErrInvalid
	}
	plain, err := aead.Open(nil, c.nonce, c.sealed, authenticated(c.header, context))
	if err != nil {
		return nil, ErrInvalid
	}
	return plain, nil
}

func gcm(material []byte) (cipher.AEAD, error) {
	if len(material) != MaterialSize {
		return nil, fmt.Errorf("material of %d bytes, not %d", len(material), MaterialSize)
	}
	block, err := aes.NewCipher(material)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// authenticated is what a ciphertext is bound to beside its content: its header,
// and the context, whose order says nothing.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
func authenticated(header []byte, context map[string]string) []byte {
	out := slices.Clone(header)
	for _, k := range slices.Sorted(maps.Keys(context)) {
		for _, s := range []string{k, context[k]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
			out = append(out, s...)
		}
	}
	return out
}
