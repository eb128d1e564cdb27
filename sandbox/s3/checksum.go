package s3

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// isChecksum tells that a header has the value of a checksum.
func isChecksum(header string) bool {
	name, ok := strings.CutPrefix(header, "x-amz-checksum-")
	return ok && slices.Contains(wire.Checksums(), name)
}

// checksum is what an upload in parts has for a checksum: one of the whole
// object, or one of its parts' checksums.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
type checksum struct {
	algorithm string // "" for none
	whole     bool
}

func (c checksum) kind() string {
	if c.whole {
		return "FULL_OBJECT"
	}
	return "COMPOSITE"
}

// checksumOf is the checksum that who begins an upload asks for.
func checksumOf(h map[string]string) (checksum, error) {
	c := checksum{algorithm: strings.ToLower(h["x-amz-checksum-algorithm"])}
	if c.algorithm == "" {
		return c, nil
	}
	if !slices.Contains(wire.Checksums(), c.algorithm) {
		return c, errorf("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	linear := strings.HasPrefix(c.algorithm, "crc")
	switch kind := h["x-amz-checksum-type"]; {
	case kind == "" && c.algorithm == "crc64nvme", kind == "FULL_OBJECT" && linear:
		c.whole = true
	case kind == "", kind == "COMPOSITE" && c.algorithm != "crc64nvme":
	default:
		return c, errorf("InvalidRequest", "The %s checksum type cannot be used with the %s checksum algorithm.", kind, c.algorithm)
	}
	return c, nil
}

// sameSums tells that the checksums given for a part are those it was uploaded
// with.
func sameSums(p map[string]any, crc32, crc32c, crc64, sha1, sha256 string) bool {
	sums := props.Map(p, "headers")
	for name, want := range map[string]string{"crc32": crc32, "crc32c": crc32c, "crc64nvme": crc64, "sha1": sha1, "sha256": sha256} {
		if want != "" && want != props.Str(sums, "x-amz-checksum-"+name) {
			return false
		}
	}
	return true
}

// complete adds the checksum of an object made of parts to the headers that are
// kept, and compares it with the one that the request gives. Parts without
// checksums make an object without one.
func (c checksum) complete(parts []map[string]any, h map[string]string, kept map[string]any) error {
	if c.algorithm == "" {
		return nil
	}
	header := "x-amz-checksum-" + c.algorithm
	sum := wire.Checksum(c.algorithm)
	var joined []byte
	for i, p := range parts {
		raw, err := base64.StdEncoding.DecodeString(props.Str(p, "headers", header))
		if err != nil || len(raw) != sum.Size() {
			return nil
		}
		switch {
		case !c.whole:
			sum.Write(raw)
		case i == 0:
			joined = raw
		default:
			joined = join(c.algorithm, joined, raw, int64(props.Int(p, 0, "size")))
		}
	}
	value := base64.StdEncoding.EncodeToString(joined)
	if !c.whole {
		value = fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(sum.Sum(nil)), len(parts))
	}
	if want := h[header]; want != "" && want != value && (c.whole || want != strings.TrimSuffix(value, fmt.Sprintf("-%d", len(parts)))) {
		return errorf("BadDigest", "The %s you specified did not match the calculated checksum.", strings.ToUpper(c.algorithm))
	}
	kept[header], kept["x-amz-checksum-type"] = value, c.kind()
	return nil
}

// polynomials are those of the CRCs, bits reversed.
var polynomials = map[string]uint64{"crc32": 0xedb88320, "crc32c": 0x82f63b78, "crc64nvme": 0x9a6c9329ac4bc9b5}

// join is the CRC of two texts one after the other, of their CRCs and the
// second's length: a CRC is linear, so the first's is moved past as many zeros.
func join(algorithm string, first, second []byte, length int64) []byte {
	pad := func(b []byte) uint64 { return binary.BigEndian.Uint64(append(make([]byte, 8-len(b)), b...)) }
	width := 8 * len(first)
	// The operator that a zero bit is on a CRC, as a matrix of columns.
	shift := make([]uint64, width)
	shift[0] = polynomials[algorithm]
	for i := 1; i < width; i++ {
		shift[i] = 1 << (i - 1)
	}
	apply := func(m []uint64, v uint64) (out uint64) {
		for i := 0; v != 0; i, v = i+1, v>>1 {
			if v&1 != 0 {
				out ^= m[i]
			}
		}
		return out
	}
	crc := pad(first)
	for n := uint64(length) * 8; n != 0; n >>= 1 {
		if n&1 != 0 {
			crc = apply(shift, crc)
		}
		squared := make([]uint64, width)
		for i := range squared {
			squared[i] = apply(shift, shift[i])
		}
		shift = squared
	}
	out := binary.BigEndian.AppendUint64(nil, crc^pad(second))
	return out[8-len(first):]
}
