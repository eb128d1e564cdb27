package s3

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func TestChecksumsJoin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first, second := rapid.SliceOf(rapid.Byte()).Draw(t, "first"), rapid.SliceOf(rapid.Byte()).Draw(t, "second")
		for algorithm := range polynomials {
			sum := func(parts ...[]byte) []byte {
				h := wire.Checksum(algorithm)
				for _, p := range parts {
					h.Write(p)
				}
				return h.Sum(nil)
			}
			if got, want := join(algorithm, sum(first), sum(second), int64(len(second))), sum(first, second); !bytes.Equal(got, want) {
				t.Errorf("%s of %x and %x: %x, want %x", algorithm, first, second, got, want)
			}
		}
	})
}
