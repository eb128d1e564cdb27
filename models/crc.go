package models

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc64"
	"sync"
)

// polynomial is CRC-64/NVME's, bits reversed.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
const polynomial = 0x9a6c9329ac4bc9b5

// table is made when it is first needed, not at the program's start.
var table = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(polynomial) })

// text is a checksum as S3 writes it.
func text(crc uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc))
}

// join is the CRC of two texts one after the other, of their CRCs and the length
// of the second: a CRC is a remainder of polynomials, so the first's is multiplied
// by x to the power of the second's bits.
func join(first, second uint64, length int64) uint64 {
	power := uint64(1) << 62 // x, as the highest bit is x^0
	for n := uint64(length) * 8; n != 0; n >>= 1 {
		if n&1 != 0 {
			first = multiply(power, first)
		}
		power = multiply(power, power)
	}
	return first ^ second
}

// multiply multiplies two polynomials modulo CRC-64/NVME's, bits reversed.
func multiply(a, b uint64) (product uint64) {
	for bit := uint64(1) << 63; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ polynomial
		} else {
			b >>= 1
		}
	}
	return product
}
