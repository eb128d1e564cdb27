package signon

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// sealer makes values that nobody else can read or change.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret []byte) (sealer, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "sessions of load balancers", 32)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the key of sessions: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the key of sessions: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// close seals a value for a purpose.
func (s sealer) close(purpose string, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal a session: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, text, []byte(purpose))), nil
}

// open reads a value that was sealed for the same purpose.
func (s sealer) open(purpose, sealed string, v any) error {
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return err
	}
	if text, err = s.aead.Open(nil, nil, text, []byte(purpose)); err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// Browsers hold cookies to 4K, name and attributes included, so a session goes
// into several: NAME-0, NAME-1 and so on.
const (
	mostCookie = 4096
	mostParts  = 4
)

// session is the one that a request brings, or nil and why it is none.
func (f *flow) session() (*session, string) {
	var sealed strings.Builder
	parts := 0
	for ; parts < mostParts; parts++ {
		c, err := f.r.Cookie(f.c.Cookie + "-" + strconv.Itoa(parts))
		if err != nil {
			break
		}
		sealed.WriteString(c.Value)
	}
	if parts == 0 {
		return nil, ""
	}
	s := &session{}
	if f.seal.open(f.bound+" "+f.host(), sealed.String(), s) != nil {
		return nil, reasonCookie
	}
	if !f.opts.Now().Before(s.Until) {
		return nil, ""
	}
	return s, ""
}

// host is what a session is for.
func (f *flow) host() string { return strings.ToLower(f.r.Host) }

// errLarge is why a session has no room in cookies.
var errLarge = errors.New("session is too large")

// remember puts a session into cookies, and removes what a larger one left.
func (f *flow) remember(s *session) error {
	sealed, err := f.seal.close(f.bound+" "+f.host(), s)
	if err != nil {
		return err
	}
	for i := range mostParts {
		c := f.cookie(i)
		if sealed == "" {
			if _, err := f.r.Cookie(c.Name); err != nil {
				break
			}
			c.MaxAge = -1
			http.SetCookie(f.w, c)
			continue
		}
		c.MaxAge = int(f.c.Timeout.Seconds())
		room := min(mostCookie-len(c.String()), len(sealed))
		c.Value, sealed = sealed[:room], sealed[room:]
		http.SetCookie(f.w, c)
	}
	if sealed != "" {
		return fmt.Errorf("%w: %w", &failure{http.StatusInternalServerError, reasonUserSize}, errLarge)
	}
	return nil
}

// forget removes the session that the request brought.
func (f *flow) forget() {
	for i := range mostParts {
		c := f.cookie(i)
		if _, err := f.r.Cookie(c.Name); err == nil {
			c.MaxAge = -1
			http.SetCookie(f.w, c)
		}
	}
}

func (f *flow) cookie(part int) *http.Cookie {
	return &http.Cookie{Name: f.c.Cookie + "-" + strconv.Itoa(part), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode}
}
