package ciphertext_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/kms/ciphertext"
)

var (
	material = bytes.Repeat([]byte{7}, ciphertext.MaterialSize)
	nonce    = []byte("twelve bytes")
)

func seal(t interface{ Fatal(...any) }, key string, number int, context map[string]string, plain []byte) []byte {
	blob, err := ciphertext.Seal(key, number, material, nonce, context, plain)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func open(blob, material []byte, context map[string]string) ([]byte, error) {
	c, err := ciphertext.Parse(blob)
	if err != nil {
		return nil, err
	}
	return c.Open(material, context)
}

// What was sealed opens with the same context, names its key and material, and
// does not open once any of its bytes, the context or the material differ.
func TestSealedOpensUnchangedOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "plain")
		context := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4).Draw(t, "context")
		key, number := rapid.StringMatching(`[a-f0-9-]{0,40}`).Draw(t, "key"), rapid.IntRange(0, 65535).Draw(t, "number")
		blob := seal(t, key, number, context, plain)
		c, err := ciphertext.Parse(blob)
		if err != nil || c.Key != key || c.Material != number {
			t.Fatalf("parsed %q %d %v, want %q %d", c.Key, c.Material, err, key, number)
		}
		if got, err := c.Open(material, context); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %x %v, want %x", got, err, plain)
		}
		changed := bytes.Clone(blob)
		changed[rapid.IntRange(0, len(blob)-1).Draw(t, "at")] ^= rapid.ByteRange(1, 255).Draw(t, "by")
		if _, err := open(changed, material, context); !errors.Is(err, ciphertext.ErrInvalid) {
			t.Fatalf("changed: %v", err)
		}
		other := map[string]string{"one": "more"}
		for k, v := range context {
			other[k] = v + "x"
		}
		if _, err := open(blob, material, other); !errors.Is(err, ciphertext.ErrInvalid) {
			t.Fatalf("another context: %v", err)
		}
		if _, err := open(blob, bytes.Repeat([]byte{8}, ciphertext.MaterialSize), context); !errors.Is(err, ciphertext.ErrInvalid) {
			t.Fatalf("other material: %v", err)
		}
	})
}

// The parts of a context can't be moved from one to another.
func TestContextIsUnambiguous(t *testing.T) {
	t.Parallel()
	blob := seal(t, "k", 0, map[string]string{"ab": "c"}, []byte("x"))
	for _, other := range []map[string]string{{"a": "bc"}, {"abc": ""}, {"ab": "c", "": ""}, nil} {
		if _, err := open(blob, material, other); !errors.Is(err, ciphertext.ErrInvalid) {
			t.Errorf("%v: %v", other, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		key             string
		number          int
		material, nonce []byte
	}{
		"key id too long":    {string(bytes.Repeat([]byte("k"), 256)), 0, material, nonce},
		"number too large":   {"k", 1 << 16, material, nonce},
		"material too short": {"k", 0, material[:31], nonce},
		"nonce too short":    {"k", 0, material, nonce[:11]},
	} {
		if _, err := ciphertext.Seal(x.key, x.number, x.material, x.nonce, nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzParse: nothing that isn't sealed here opens, and nothing panics.
func FuzzParse(f *testing.F) {
	good := seal(f, "1234abcd-12ab-34cd-56ef-1234567890ab", 3, map[string]string{"a": "b"}, []byte("hello"))
	f.Add(good)
	for i := range good {
		f.Add(good[:i])
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		plain, err := open(blob, material, map[string]string{"a": "b"})
		if err == nil && string(plain) != "hello" {
			t.Errorf("opened %x as %x", blob, plain)
		}
	})
}
