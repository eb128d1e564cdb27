package datachannel

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of messages, as the plugin and the agent name them.
// https://github.com/aws/session-manager-plugin/tree/mainline/src/message
const (
	inputStream  = "input_stream_data"  // from the client
	outputStream = "output_stream_data" // to it
	acknowledge  = "acknowledge"
	closed       = "channel_closed"
)

// The types of payload.
const (
	payloadData              = 1
	payloadHandshakeRequest  = 5
	payloadHandshakeResponse = 6
	payloadHandshakeComplete = 7
	payloadFlag              = 10
)

// The flags, as a payload.
const (
	flagDisconnect = 1
	flagTerminate  = 2
	flagNoConnect  = 3
)

// Where the fields of a message are. The header's length does not count the
// field of the payload's.
const (
	atKind     = 4
	atVersion  = 36
	atCreated  = 40
	atSequence = 48
	atFlags    = 56
	atID       = 64
	atDigest   = 80
	atType     = 112
	atLength   = 116
	atPayload  = 120
)

// message is one message of a data channel.
type message struct {
	kind     string
	sequence int64
	flags    uint64
	id       [16]byte
	typ      uint32
	payload  []byte
}

// marshal is the message in bytes, with the time that it is made at.
func (m message) marshal(now time.Time) []byte {
	b := make([]byte, atPayload, atPayload+len(m.payload))
	binary.BigEndian.PutUint32(b, atLength)
	copy(b[atKind:atVersion], fmt.Sprintf("%-32s", m.kind))
	binary.BigEndian.PutUint32(b[atVersion:], 1)
	binary.BigEndian.PutUint64(b[atCreated:], uint64(now.UnixMilli()))
	binary.BigEndian.PutUint64(b[atSequence:], uint64(m.sequence))
	binary.BigEndian.PutUint64(b[atFlags:], m.flags)
	// The lower half comes first.
	copy(b[atID:], m.id[8:])
	copy(b[atID+8:], m.id[:8])
	sum := sha256.Sum256(m.payload)
	copy(b[atDigest:], sum[:])
	binary.BigEndian.PutUint32(b[atType:], m.typ)
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(m.payload)))
	return append(b, m.payload...)
}

// unmarshal reads a message and checks it as the agent does.
func unmarshal(b []byte) (message, error) {
	if len(b) < atPayload {
		return message{}, fmt.Errorf("a message has %d bytes, fewer than its header", len(b))
	}
	if n := binary.BigEndian.Uint32(b); n != atLength {
		return message{}, fmt.Errorf("a header has length %d, not %d", n, atLength)
	}
	m := message{
		kind:     strings.TrimSpace(string(bytes.Trim(b[atKind:atVersion], "\x00"))),
		sequence: int64(binary.BigEndian.Uint64(b[atSequence:])),
		flags:    binary.BigEndian.Uint64(b[atFlags:]),
		typ:      binary.BigEndian.Uint32(b[atType:]),
		payload:  b[atPayload:],
	}
	copy(m.id[8:], b[atID:])
	copy(m.id[:8], b[atID+8:])
	if n := binary.BigEndian.Uint32(b[atLength:]); int(n) != len(m.payload) {
		return message{}, fmt.Errorf("a payload has %d bytes and says %d", len(m.payload), n)
	}
	if sum := sha256.Sum256(m.payload); len(m.payload) > 0 && !bytes.Equal(sum[:], b[atDigest:atType]) {
		return message{}, errors.New("a payload is not what its digest says")
	}
	return m, nil
}

// newID is a random UUID.
func newID() [16]byte {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// uuid is an id as text.
func uuid(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// acknowledgement answers a message.
func acknowledgement(m message) (message, error) {
	payload, err := json.Marshal(map[string]any{
		"AcknowledgedMessageType": m.kind, "AcknowledgedMessageId": uuid(m.id),
		"AcknowledgedMessageSequenceNumber": m.sequence, "IsSequentialMessage": true,
	})
	const both = 3 // first and last of its kind
	return message{kind: acknowledge, flags: both, id: newID(), payload: payload}, err
}
