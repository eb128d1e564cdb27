package wire

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// chunks takes the framing off an aws-chunked body, checking chunk signatures
// where there are any. Once it is read, trailer has the trailing headers. What a
// signature covers is read before the signature is checked: nothing of the body
// counts before its end.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
type chunks struct {
	sig       *signature
	mode      string
	in        *bufio.Reader
	key       []byte
	previous  string    // signature
	signed    bool      // chunks are
	extension string    // of the present chunk
	sum       hash.Hash // of the present chunk
	left      uint64    // of the present chunk
	err       error     // what ended the body
	trailer   http.Header
}

var _ io.Reader = (*chunks)(nil)

// Longest lines and trailers that are read: AWS's are below a hundred bytes.
const (
	maxChunkLine = 4 << 10
	maxTrailer   = 16 << 10
)

func (s *signature) chunks(mode string, in io.Reader, secret string) *chunks {
	return &chunks{
		sig: s, mode: mode, in: bufio.NewReaderSize(in, 64<<10), key: s.signingKey(secret), previous: s.signature,
		signed: mode == streamSigned || mode == streamSignedTrailer, trailer: http.Header{},
	}
}

// Read reads what was meant. Its errors are *account.Error, or io.EOF.
func (c *chunks) Read(p []byte) (int, error) {
	if c.err == nil && c.left == 0 {
		c.err = c.next()
	}
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	n, err := c.in.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n)
	if c.signed {
		c.sum.Write(p[:n])
	}
	switch {
	case err != nil:
		c.err = incomplete()
	case c.left == 0:
		c.err = c.complete()
	}
	if n > 0 && c.err == nil {
		return n, nil
	}
	return n, c.err
}

func incomplete() error {
	return &account.Error{Code: "IncompleteBody", Message: "The request body terminated unexpectedly", Status: http.StatusBadRequest}
}

func mismatch() error {
	return &account.Error{Code: "SignatureDoesNotMatch", Message: "The request signature we calculated does not match the signature you provided. Check your key and signing method.", Status: http.StatusForbidden}
}

// check compares a signature, which covers the one before it.
func (c *chunks) check(algorithm, got string, parts ...string) bool {
	text := strings.Join(append([]string{algorithm, c.sig.amzDate, c.sig.scope(), c.previous}, parts...), "\n")
	c.previous = hex.EncodeToString(hmacSum(c.key, text))
	return hmac.Equal([]byte(c.previous), []byte(got))
}

// line reads to the end of a line, which is left out.
func (c *chunks) line() (string, error) {
	var out []byte
	for len(out) < maxChunkLine {
		part, err := c.in.ReadSlice('\n')
		out = append(out, part...)
		if err == nil {
			text, ok := bytes.CutSuffix(out, []byte("\r\n"))
			if !ok {
				break
			}
			return string(text), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
	}
	return "", incomplete()
}

// next begins a chunk; the last one, which is empty, ends the body.
func (c *chunks) next() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	var size string
	size, c.extension, _ = strings.Cut(line, ";")
	if c.left, err = strconv.ParseUint(size, 16, 31); err != nil {
		return incomplete()
	}
	c.sum = sha256.New()
	if c.left > 0 {
		return nil
	}
	if err := c.verify(); err != nil {
		return err
	}
	if c.mode == streamSigned {
		return io.EOF
	}
	return c.end()
}

// complete ends a chunk that was read.
func (c *chunks) complete() error {
	if err := c.verify(); err != nil {
		return err
	}
	if line, err := c.line(); err != nil || line != "" {
		return incomplete()
	}
	return nil
}

func (c *chunks) verify() error {
	if c.signed && !c.check(algorithm+"-PAYLOAD", strings.TrimPrefix(c.extension, "chunk-signature="), emptyHash, hex.EncodeToString(c.sum.Sum(nil))) {
		return mismatch()
	}
	return nil
}

// end reads the trailing headers.
func (c *chunks) end() error {
	text, err := io.ReadAll(io.LimitReader(c.in, maxTrailer+1))
	if err != nil || len(text) > maxTrailer {
		return incomplete()
	}
	signed := c.signed
	var canonical strings.Builder
	for _, line := range strings.Split(string(text), "\n") {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r"), ":")
		if !ok {
			continue
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == "x-amz-trailer-signature" {
			if signed && !c.check(algorithm+"-TRAILER", value, hexSum([]byte(canonical.String()))) {
				return mismatch()
			}
			signed = false
			continue
		}
		c.trailer.Add(name, value)
		canonical.WriteString(name + ":" + value + "\n")
	}
	if signed {
		return mismatch()
	}
	for _, name := range strings.Split(c.sig.trailerNames, ",") {
		if name = strings.TrimSpace(name); name != "" && c.trailer.Get(name) == "" {
			return &account.Error{Code: "MalformedTrailerError", Message: "The request contained trailing data that was not well-formed or did not conform to our published schema.", Status: http.StatusBadRequest}
		}
	}
	return io.EOF
}
