package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// unchunk takes the framing off an aws-chunked body, checking chunk signatures
// where there are any, and returns the trailing headers too.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
func (s *signature) unchunk(mode string, body []byte, secret string) ([]byte, http.Header, *account.Error) {
	signed := mode == streamSigned || mode == streamSignedTrailer
	malformed := &account.Error{Code: "IncompleteBody", Message: "The request body terminated unexpectedly", Status: 400}
	key := s.signingKey(secret)
	previous := s.signature
	check := func(algorithm, got string, parts ...string) bool {
		text := strings.Join(append([]string{algorithm, s.amzDate, s.scope(), previous}, parts...), "\n")
		previous = hex.EncodeToString(hmacSum(key, text))
		return hmac.Equal([]byte(previous), []byte(got))
	}
	mismatch := &account.Error{Code: "SignatureDoesNotMatch", Message: "The request signature we calculated does not match the signature you provided. Check your key and signing method.", Status: 403}
	var out []byte
	for {
		line, rest, ok := bytes.Cut(body, []byte("\r\n"))
		if !ok {
			return nil, nil, malformed
		}
		body = rest
		sizeText, extension, _ := strings.Cut(string(line), ";")
		size, err := strconv.ParseUint(sizeText, 16, 31)
		if err != nil || int(size) > len(body) {
			return nil, nil, malformed
		}
		data := body[:size]
		body = body[size:]
		if signed && !check(algorithm+"-PAYLOAD", strings.TrimPrefix(extension, "chunk-signature="), emptyHash, hexSum(data)) {
			return nil, nil, mismatch
		}
		if size == 0 {
			break
		}
		out = append(out, data...)
		if !bytes.HasPrefix(body, []byte("\r\n")) {
			return nil, nil, malformed
		}
		body = body[2:]
	}
	trailer := http.Header{}
	if mode == streamSigned {
		return out, trailer, nil
	}
	var canonical strings.Builder
	for _, line := range strings.Split(string(body), "\n") {
		line = strings.TrimRight(line, "\r")
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "x-amz-trailer-signature" {
			if signed && !check(algorithm+"-TRAILER", value, hexSum([]byte(canonical.String()))) {
				return nil, nil, mismatch
			}
			signed = false
			continue
		}
		trailer.Add(name, value)
		canonical.WriteString(name + ":" + value + "\n")
	}
	if signed {
		return nil, nil, mismatch
	}
	for _, name := range strings.Split(s.trailerNames, ",") {
		if name = strings.TrimSpace(name); name != "" && trailer.Get(name) == "" {
			return nil, nil, &account.Error{Code: "MalformedTrailerError", Message: "The request contained trailing data that was not well-formed or did not conform to our published schema.", Status: 400}
		}
	}
	return out, trailer, nil
}

// checksums compares the body with every checksum that the headers give.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
func checksums(h http.Header, body []byte) *account.Error {
	if want := h.Get("Content-Md5"); want != "" {
		raw, err := base64.StdEncoding.DecodeString(want)
		if err != nil || len(raw) != md5.Size {
			return account.Errorf("InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
		if sum := md5.Sum(body); !bytes.Equal(sum[:], raw) {
			return account.Errorf("BadDigest", "The Content-MD5 you specified did not match what we received.")
		}
	}
	for _, c := range []struct {
		name string
		sum  func() hash.Hash
	}{
		{"crc32", func() hash.Hash { return crc32.NewIEEE() }},
		{"crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
		{"crc64nvme", func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) }},
		{"sha1", sha1.New},
		{"sha256", sha256.New},
	} {
		want := h.Get("X-Amz-Checksum-" + c.name)
		if want == "" {
			continue
		}
		sum := c.sum()
		sum.Write(body)
		if base64.StdEncoding.EncodeToString(sum.Sum(nil)) != want {
			return account.Errorf("BadDigest", "The %s you specified did not match the calculated checksum.", strings.ToUpper(c.name))
		}
	}
	return nil
}
