// Package query asks PostgreSQL servers as a client with a password does: over
// TLS, with the server's name verified, and SCRAM.
//
// Limits: as much of the protocol as a few statements take; answers are texts.
//
// https://www.postgresql.org/docs/current/protocol-flow.html
package query

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Server is a database, and who asks it.
type Server struct {
	// Address is where it listens, Name what its certificate is for, and Roots
	// whose certificate that is.
	Address, Name            string
	Roots                    *x509.CertPool
	User, Password, Database string
}

// Codes of the protocol.
const (
	requestTLS = 80877103
	version    = 3 << 16
	mostAnswer = 1 << 20
)

// Ask runs statements and returns the first column of the last row. It is safe for
// concurrent use; what the server refuses is an error with its code.
func (s Server) Ask(ctx context.Context, sql string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // what it said was read
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	hello := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), requestTLS)
	if _, err := conn.Write(hello); err != nil {
		return "", err
	}
	var yes [1]byte
	if _, err := io.ReadFull(conn, yes[:]); err != nil {
		return "", err
	}
	if yes[0] != 'S' {
		return "", errors.New("the server speaks no TLS")
	}
	c := &session{to: tls.Client(conn, &tls.Config{ServerName: s.Name, RootCAs: s.Roots, MinVersion: tls.VersionTLS12})}
	c.from = bufio.NewReader(c.to)
	body := binary.BigEndian.AppendUint32(nil, version)
	for _, v := range []string{"user", s.User, "database", s.Database, ""} {
		body = append(append(body, v...), 0)
	}
	if _, err := c.to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)); err != nil {
		return "", err
	}
	if _, err := c.answer(s.Password); err != nil {
		return "", err
	}
	if err := c.send('Q', append([]byte(sql), 0)); err != nil {
		return "", err
	}
	return c.answer("")
}

type session struct {
	to   *tls.Conn
	from *bufio.Reader
}

func (c *session) send(kind byte, body []byte) error {
	_, err := c.to.Write(append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...))
	return err
}

// answer reads until the server is ready for a query, and proves the password on
// the way.
func (c *session) answer(password string) (value string, err error) {
	var proof *scram
	for {
		var head [5]byte
		if _, failed := io.ReadFull(c.from, head[:]); failed != nil {
			return "", errors.Join(err, failed)
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size < 4 || size > mostAnswer {
			return "", fmt.Errorf("the server sent a message of %d bytes", size)
		}
		body := make([]byte, size-4)
		if _, failed := io.ReadFull(c.from, body); failed != nil {
			return "", errors.Join(err, failed)
		}
		switch head[0] {
		case 'R':
			if proof, err = c.authenticate(proof, body, password); err != nil {
				return "", err
			}
		case 'D':
			if len(body) >= 6 {
				if n := int32(binary.BigEndian.Uint32(body[2:])); n >= 0 && int(n) <= len(body)-6 {
					value = string(body[6 : 6+n])
				}
			}
		case 'E':
			err = refusal(body)
		case 'Z':
			return value, err
		}
	}
}

// refusal is what the server says, with its code.
func refusal(body []byte) error {
	var code, message string
	for f := range strings.SplitSeq(string(body), "\x00") {
		switch {
		case strings.HasPrefix(f, "C"):
			code = f[1:]
		case strings.HasPrefix(f, "M"):
			message = f[1:]
		}
	}
	return fmt.Errorf("the server refuses it: %s (%s)", message, code)
}

// authenticate answers one of the server's messages about who asks.
func (c *session) authenticate(p *scram, body []byte, password string) (*scram, error) {
	if len(body) < 4 {
		return nil, errors.New("the server sent half a message")
	}
	kind, text := binary.BigEndian.Uint32(body), string(body[4:])
	switch {
	case kind == 0:
		if p == nil || !p.verified {
			return nil, errors.New("the server lets in whoever asks, without a password")
		}
		return p, nil
	case kind == 10 && strings.Contains(text, "SCRAM-SHA-256\x00"):
		p = &scram{nonce: rand.Text()}
		first := "n,,n=,r=" + p.nonce
		message := append([]byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(first)))...)
		return p, c.send('p', append(message, first...))
	case kind == 11 && p != nil:
		final, err := p.final(text, password)
		if err != nil {
			return nil, err
		}
		return p, c.send('p', []byte(final))
	case kind == 12 && p != nil:
		if !hmac.Equal([]byte(text), []byte("v="+p.signature)) {
			return nil, errors.New("the server doesn't know the password itself")
		}
		p.verified = true
		return p, nil
	}
	return nil, fmt.Errorf("the server asks for a proof of kind %d, not for SCRAM-SHA-256", kind)
}

// scram proves a password.
//
// https://www.rfc-editor.org/rfc/rfc5802#section-3
type scram struct {
	user, nonce string // PostgreSQL knows the user, so it is empty
	signature   string // the server's, once it can be told
	verified    bool   // it is what the server sent
}

// final is the client's last message, after the server's first.
func (p *scram) final(first, password string) (string, error) {
	var nonce, salt, rounds string
	for part := range strings.SplitSeq(first, ",") {
		switch {
		case strings.HasPrefix(part, "r="):
			nonce = part[2:]
		case strings.HasPrefix(part, "s="):
			salt = part[2:]
		case strings.HasPrefix(part, "i="):
			rounds = part[2:]
		}
	}
	raw, err := base64.StdEncoding.DecodeString(salt)
	n, err2 := strconv.Atoi(rounds)
	if err != nil || err2 != nil || n < 1 || n > 1_000_000 || !strings.HasPrefix(nonce, p.nonce) {
		return "", errors.New("the server's part of the proof makes no sense")
	}
	salted, err := pbkdf2.Key(sha256.New, password, raw, n, sha256.Size)
	if err != nil {
		return "", err
	}
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	bare := "c=biws,r=" + nonce
	message := "n=" + p.user + ",r=" + p.nonce + "," + first + "," + bare
	for i, b := range mac(stored[:], message) {
		client[i] ^= b
	}
	p.signature = base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), message))
	return bare + ",p=" + base64.StdEncoding.EncodeToString(client), nil
}
