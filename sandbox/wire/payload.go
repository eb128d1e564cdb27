package wire

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Payload is the body of a request to S3 as it comes: what was meant, without a
// chunked upload's framing. Its last read tells whether it is what the request
// said that it would be, by hash, length, signatures and checksums: nothing of
// it counts before io.EOF.
type Payload struct {
	in      io.Reader
	chunks  *chunks // nil for a body without framing
	header  http.Header
	length  int64
	size    int64
	md5     hash.Hash
	content hash.Hash // of X-Amz-Content-Sha256, if it is one
	sums    map[string]hash.Hash
	err     error
}

var _ io.Reader = (*Payload)(nil)

// checksumKinds are the checksums of objects, by their names in headers.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
func checksumKinds() map[string]func() hash.Hash {
	return map[string]func() hash.Hash{
		"crc32":     func() hash.Hash { return crc32.NewIEEE() },
		"crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
		"crc64nvme": func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) },
		"sha1":      sha1.New,
		"sha256":    sha256.New,
	}
}

// payload is the body of a request that is authentic; only its framing is not
// checked yet.
func (s *signature) payload(r *http.Request, in io.Reader, secret string) (*Payload, error) {
	p := &Payload{in: in, header: r.Header, length: r.ContentLength, md5: md5.New(), sums: map[string]hash.Hash{}}
	mode := r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case mode == streamSigned, mode == streamSignedTrailer, mode == streamUnsignedTrailer:
		p.chunks = s.chunks(mode, in, secret)
		p.in, p.length = p.chunks, -1
		if n, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64); err == nil && n >= 0 {
			p.length = n
		}
	case strings.HasPrefix(mode, "STREAMING-"):
		return nil, notModelled("payloads of the form " + mode)
	case mode != unsignedPayload && mode != "":
		p.content = sha256.New()
	}
	for name, sum := range checksumKinds() {
		if header := "X-Amz-Checksum-" + name; r.Header.Get(header) != "" || p.chunks != nil && strings.Contains(strings.ToLower(s.trailerNames), strings.ToLower(header)) {
			p.sums[name] = sum()
		}
	}
	return p, nil
}

// Length is how many bytes there will be, or -1 if the request doesn't say.
func (p *Payload) Length() int64 { return p.length }

// MD5 is the hash of what was read.
func (p *Payload) MD5() []byte { return p.md5.Sum(nil) }

// Read reads the body. Its errors are *account.Error, or io.EOF.
func (p *Payload) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.in.Read(b)
	p.size += int64(n)
	p.md5.Write(b[:n])
	if p.content != nil {
		p.content.Write(b[:n])
	}
	for _, sum := range p.sums {
		sum.Write(b[:n])
	}
	var refusal *account.Error
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		p.err = p.verify()
	case errors.As(err, &refusal):
		p.err = refusal
	default:
		p.err = account.Errorf("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header: %v", err)
	}
	return n, p.err
}

// headers are the request's, with those that trailed the body.
func (p *Payload) headers() http.Header {
	if p.chunks == nil || len(p.chunks.trailer) == 0 {
		return p.header
	}
	h := p.header.Clone()
	maps.Copy(h, p.chunks.trailer)
	return h
}

// verify compares a body that was read with what the request says of it.
func (p *Payload) verify() error {
	h := p.headers()
	if p.content != nil && hex.EncodeToString(p.content.Sum(nil)) != h.Get("X-Amz-Content-Sha256") {
		return &account.Error{Code: "XAmzContentSHA256Mismatch", Message: "The provided 'x-amz-content-sha256' header does not match what was computed.", Status: http.StatusBadRequest}
	}
	if p.chunks != nil && p.length >= 0 && p.size != p.length {
		return incomplete()
	}
	if want := h.Get("Content-Md5"); want != "" {
		raw, err := base64.StdEncoding.DecodeString(want)
		if err != nil || len(raw) != md5.Size {
			return account.Errorf("InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
		if !bytes.Equal(p.MD5(), raw) {
			return account.Errorf("BadDigest", "The Content-MD5 you specified did not match what we received.")
		}
	}
	for name, sum := range p.sums {
		if want := h.Get("X-Amz-Checksum-" + name); want != "" && base64.StdEncoding.EncodeToString(sum.Sum(nil)) != want {
			return account.Errorf("BadDigest", "The %s you specified did not match the calculated checksum.", strings.ToUpper(name))
		}
	}
	return io.EOF
}

// Refused is why the body isn't what the request says, as far as that is known.
func (p *Payload) Refused() error {
	if errors.Is(p.err, io.EOF) {
		return nil
	}
	return p.err
}

// Checksums are the names of the checksums that objects can have, in order.
func Checksums() []string { return slices.Sorted(maps.Keys(checksumKinds())) }

// Checksum is a new one of that name.
func Checksum(name string) hash.Hash { return checksumKinds()[name]() }
