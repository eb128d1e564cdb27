package awsapi_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// TestL23HowLongASessionGoesOn asks providers of all kinds.
func TestL23HowLongASessionGoesOn(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	from := func(c aws.Credentials) aws.CredentialsProvider {
		c.AccessKeyID, c.SecretAccessKey = "AKIAEXAMPLE", "secret"
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
	}
	for _, tt := range []struct {
		name     string
		provider aws.CredentialsProvider
		env      map[string]string
		want     awsapi.Session
	}{
		{name: "keys of a user", provider: from(aws.Credentials{Source: "x"}), want: awsapi.Session{Source: "x"}},
		{name: "a session of unknown length", provider: from(aws.Credentials{Source: "x", SessionToken: "t"}), want: awsapi.Session{Source: "x", Temporary: true}},
		{name: "a session that ends", provider: from(aws.Credentials{Source: "x", SessionToken: "t", CanExpire: true, Expires: at}), want: awsapi.Session{Source: "x", Until: at}},
		{name: "a role that is assumed again", provider: from(aws.Credentials{Source: stscreds.ProviderName, SessionToken: "t", CanExpire: true, Expires: at}), want: awsapi.Session{Source: stscreds.ProviderName}},
		{
			name: "exported to the environment", env: map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "2030-01-02T03:04:05+00:00"},
			want: awsapi.Session{Source: "EnvConfigCredentials", Until: at},
		},
		{
			name: "in the environment", env: map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"},
			want: awsapi.Session{Source: "EnvConfigCredentials", Temporary: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nothing(t)
			t.Setenv("AWS_CREDENTIAL_EXPIRATION", "")
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			c, err := awsapi.New(t.Context(), awsapi.Options{Region: "us-east-1", Credentials: tt.provider})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Session(t.Context())
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestL23SingleSignOn has a profile whose role ends after an hour, and is got
// again as long as the sign-in goes on: until its token ends, or for as long as
// the token can be renewed.
func TestL23SingleSignOn(t *testing.T) {
	at := time.Now().Add(8 * time.Hour).UTC().Truncate(time.Second)
	for _, tt := range []struct {
		name, config, key, more string
		want                    time.Time
	}{
		{"session", "[profile p]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://x\n", "s", "", at},
		{"session with a refresh token", "[profile p]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://x\n", "s", `,"refreshToken":"r","clientId":"c","clientSecret":"s"`, time.Time{}},
		{"older form", "[profile p]\nsso_start_url = https://x\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = r\n", "https://x", "", at},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nothing(t)
			home := os.Getenv("HOME")
			cache := filepath.Join(home, ".aws", "sso", "cache")
			sum := sha1.Sum([]byte(tt.key))
			err := errors.Join(
				os.WriteFile(filepath.Join(home, "config"), []byte(tt.config), 0o600), os.MkdirAll(cache, 0o700),
				os.WriteFile(filepath.Join(cache, hex.EncodeToString(sum[:])+".json"), fmt.Appendf(nil, `{"accessToken":"a","expiresAt":%q%s}`, at.Format(time.RFC3339), tt.more), 0o600),
			)
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_PROFILE", "p")
			t.Setenv("AWS_CA_BUNDLE", "")
			c, err := awsapi.New(t.Context(), awsapi.Options{Region: "us-east-1", HTTPClient: portal{}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Session(t.Context())
			if diff := cmp.Diff(awsapi.Session{Source: "SSOProvider", Until: tt.want}, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// portal answers as IAM Identity Center does when it is asked for a role's
// credentials.
type portal struct{}

// Do implements [aws.HTTPClient].
func (portal) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"roleCredentials":{"accessKeyId":"AKIAEXAMPLE","secretAccessKey":"s","sessionToken":"t","expiration":%d}}`, time.Now().Add(time.Hour).UnixMilli())
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// TestL23ExpiredSessionIsWaitedFor has calls find that the session has ended:
// once for all of them somebody signs in, and none of them fails.
func TestL23ExpiredSessionIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var signedIn atomic.Bool
		box := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
			if signedIn.Load() {
				return nil
			}
			return &account.Error{Code: "ExpiredToken", Message: "The security token included in the request is expired", Status: 403}
		}})
		asked := 0
		p := box.Principals()[0]
		c, err := awsapi.New(t.Context(), awsapi.Options{
			Region: box.Region(), Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box), Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, ""),
			Expired: func(ctx context.Context, failed error) error {
				if !awsapi.IsExpired(failed) {
					t.Errorf("asked because of %v", failed)
				}
				asked++
				time.Sleep(time.Minute)
				signedIn.Store(asked == 2)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if asked != 2 {
			t.Errorf("asked %d times, want twice: the first time nobody had signed in yet", asked)
		}
		signedIn.Store(false)
		enough := errors.New("enough")
		c, err = awsapi.New(t.Context(), awsapi.Options{
			Region: box.Region(), Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box), Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, ""),
			Expired: func(context.Context, error) error { return enough },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); !awsapi.IsExpired(err) {
			t.Errorf("nobody waits: %v, want that the session has ended", err)
		}
	})
}

// once answers that the session has ended to the first call, before or after it has
// read the body, and keeps what it gets of the others.
type once struct {
	reads bool
	calls int
	got   []byte
}

// RoundTrip implements [http.RoundTripper].
func (o *once) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if o.calls++; o.calls > 1 || o.reads {
		var err error
		if o.got, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	if o.calls == 1 {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>")
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// TestL23BodyIsSentAgain has a session end at a call with a body: the next attempt
// sends all of it, from where it began.
func TestL23BodyIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, reads := range []bool{false, true} {
		server := &once{reads: reads}
		asked := 0
		c, err := awsapi.New(t.Context(), awsapi.Options{
			Region: "us-east-1", Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: server}, Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "s", ""),
			Expired: func(context.Context, error) error { asked++; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		body := strings.NewReader("not this: all of it")
		if _, err := body.Seek(10, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		in := &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: body, ContentLength: aws.Int64(9), ChecksumCRC32: aws.String("AAAAAA==")}
		if _, err := c.S3.PutObject(t.Context(), in); err != nil || asked != 1 || server.calls != 2 || string(server.got) != "all of it" {
			t.Errorf("read before it was refused: %t: asked %d times, %d calls, the last with %q, %v", reads, asked, server.calls, server.got, err)
		}
		// What can't go back is not asked for.
		*server, asked = once{reads: reads}, 0
		in.Body, in.ChecksumCRC32 = io.MultiReader(strings.NewReader("all of it")), nil
		if _, err := c.S3.PutObject(t.Context(), in); !awsapi.IsExpired(err) || asked != 0 || server.calls != 1 {
			t.Errorf("a stream: asked %d times, %d calls, %v", asked, server.calls, err)
		}
	}
}
