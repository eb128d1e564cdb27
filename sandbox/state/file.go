package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// heading begins a file; its last word is the version of the format.
const (
	heading = "poolhouse sandbox state "
	version = "1"
)

// A record is the length of its payload, the checksum of that length, the
// checksum of the payload, and the payload. The first byte of a payload says
// what it is.
const recordHead = 12

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendRecord(b, payload []byte) []byte {
	var head [recordHead]byte
	binary.LittleEndian.PutUint32(head[0:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(head[:4], castagnoli))
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(payload, castagnoli))
	return append(append(b, head[:]...), payload...)
}

// errTorn says that a file ends in the middle of its last record: the write
// that the process died in.
var errTorn = errors.New("it ends in the middle of a record")

// errDamaged says that what is in a file isn't what was written.
var errDamaged = errors.New("its content is damaged")

// nextRecord takes the first record off a file. The end of the file is a nil
// payload.
func nextRecord(b []byte) (payload, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, nil
	}
	if len(b) < recordHead || len(bytes.Trim(b, "\x00")) == 0 {
		// A file system that lost power may leave zeros where nothing was
		// written yet.
		return nil, nil, errTorn
	}
	if crc32.Checksum(b[:4], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, nil, errDamaged
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if uint64(len(b)-recordHead) < n {
		return nil, nil, errTorn
	}
	payload, rest = b[recordHead:recordHead+n], b[recordHead+n:]
	switch {
	case crc32.Checksum(payload, castagnoli) == binary.LittleEndian.Uint32(b[8:]) && n > 0:
		return payload, rest, nil
	case len(bytes.Trim(rest, "\x00")) == 0 && n > 0:
		return nil, nil, errTorn
	}
	return nil, nil, errDamaged
}

// body takes the first line off a file, which must be ours.
func body(b []byte) ([]byte, error) {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	v, ours := strings.CutPrefix(string(line), heading)
	switch {
	case !ours || !ok:
		return nil, fmt.Errorf("it doesn't begin as a state file does: %w", errDamaged)
	case v != version:
		return nil, fmt.Errorf("its format is version %.20q, and this program reads version %q", v, version)
	}
	return rest, nil
}
