package models_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// visible expects that of a checkpoint no file is to be seen that is not whole, and no
// marker.
func (w *world) visible(t *testing.T, name string, f files) {
	t.Helper()
	w.way.intercept(nil, nil)
	list, err := w.S3.ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(models.Prefix + name + "/")})
	if err != nil {
		t.Fatal(err)
	}
	there := files{}
	for _, o := range list.Contents {
		file := strings.TrimPrefix(aws.ToString(o.Key), models.Prefix+name+"/")
		c, ok := f[file]
		if !ok {
			t.Errorf("%s: %s is there", name, file)
			continue
		}
		there[file] = c
	}
	w.holds(t, name, there)
}

// TestRefused has calls of each kind fail for good, for each reason: the push ends with
// the names of the checkpoint and of the file, nothing half-done is to be seen, and the
// next one sends what had not arrived.
func TestRefused(t *testing.T) {
	t.Parallel()
	f := files{"a": {6 * mebi, 1}, "c": {10, 3}}
	path := archived(t, "m.tar", f)
	marker, record := "/"+models.Marker, ".json"
	calls := []struct{ operation, key, want string }{
		{"HeadObject", marker, ": look whether s3://"},
		{"ListObjectsV2", "", ": list s3://"},
		{"ListMultipartUploads", "", ": list unfinished uploads of s3://"},
		{"CreateMultipartUpload", "/a", ": file a: "},
		{"UploadPart", "/a", ": file a: part "},
		{"CompleteMultipartUpload", "/a", ": file a: put its 2 parts together: "},
		{"PutObject", "/c", ": file c: "},
		{"PutObject", record, ": record m"},
		{"PutObject", marker, ": mark s3://"},
	}
	for reason, c := range map[string]struct {
		answer func() (*http.Response, error)
		is     func(error) bool
	}{
		"expired":    {func() (*http.Response, error) { return answer(http.StatusBadRequest, "ExpiredToken"), nil }, awsapi.IsExpired},
		"denied":     {func() (*http.Response, error) { return answer(http.StatusForbidden, "AccessDenied"), nil }, awsapi.IsDenied},
		"throttled":  {func() (*http.Response, error) { return answer(http.StatusServiceUnavailable, "SlowDown"), nil }, awsapi.Passes},
		"own error":  {func() (*http.Response, error) { return answer(http.StatusInternalServerError, "InternalError"), nil }, awsapi.Passes},
		"bad digest": {func() (*http.Response, error) { return answer(http.StatusBadRequest, "BadDigest"), nil }, func(err error) bool { return awsapi.Code(err) == "BadDigest" }},
		"cut":        {func() (*http.Response, error) { return nil, syscall.ECONNRESET }, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			for i, failing := range calls {
				if reason == "bad digest" && failing.operation != "UploadPart" && failing.operation != "PutObject" {
					continue // what has no body
				}
				name := fmt.Sprint("m", i)
				w.way.take()
				w.way.intercept(func(got call) (*http.Response, error) {
					if got.operation == failing.operation && strings.HasSuffix(got.key, failing.key) {
						return c.answer()
					}
					return nil, nil
				}, nil)
				got, err := w.Push(t.Context(), models.PushOptions{Source: path, Name: name})
				if got != nil || err == nil || !c.is(err) && failing.operation != "HeadObject" || !strings.Contains(err.Error(), "push "+name+failing.want) {
					t.Errorf("%s: %+v, %v", failing.operation, got, err)
				}
				before := arrived(w.way.take())
				w.visible(t, name, f)
				if _, err = w.Push(t.Context(), models.PushOptions{Source: path, Name: name}); err != nil {
					t.Fatalf("%s, the next: %v", failing.operation, err)
				}
				if after := arrived(w.way.take()); before+after != f.size() {
					t.Errorf("%s: of %d bytes %d arrived before, and %d after", failing.operation, f.size(), before, after)
				}
				w.holds(t, name, f)
			}
		})
	}
}

// TestFaultsOfTheAccount has an account's own faults meet a push half-way: expired
// credentials end it until somebody signs in; what passes by itself, it gets over.
func TestFaultsOfTheAccount(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}, "b": {11 * mebi, 2}, "c": {10, 3}}
	path := archived(t, "m.tar", f)
	for name, c := range map[string]struct {
		plan string
		ends bool
	}{
		"expired":        {"{id: x, when: {call: {service: s3, operation: UploadPart, number: 3}}, expire: {service: s3}}", true},
		"throttled":      {"{id: x, share: 0.3, throttle: {service: s3}}", false},
		"cut":            {"{id: x, times: 6, when: {call: {service: s3, operation: UploadPart}}, cut: {service: s3}}", false},
		"cut, done":      {"{id: x, times: 6, when: {call: {service: s3, operation: UploadPart}}, cut: {service: s3, carriedOut: true}}", false},
		"its own errors": {"{id: x, share: 0.3, error: {service: s3}}", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			plan, err := fault.Parse("faults.yaml", []byte("faults:\n- "+c.plan+"\n"), fault.Known{})
			if err != nil {
				t.Fatal(err)
			}
			const seed = 7
			i := fault.New(plan, fault.Options{Seed: seed})
			w.box.Break(i)
			// Calls are carried out one after the other, so that what came before the one
			// that fails by its number has arrived.
			w.way.next = &single{next: w.way.next}
			got, err := w.Push(t.Context(), models.PushOptions{Source: path})
			before := arrived(w.way.take())
			if n := i.Tallies()[0].Times; n == 0 || c.ends != (err != nil) {
				t.Fatalf("seed %d: after %d faults: %+v, %v", seed, n, got, err)
			}
			if c.ends {
				if !awsapi.IsExpired(err) || !strings.Contains(err.Error(), "push m: file ") || before == 0 || before == f.size() {
					t.Errorf("after %d bytes: %v", before, err)
				}
				if !i.SignIn() {
					t.Error("nothing has expired")
				}
				w.visible(t, "m", f)
				if _, err := w.Push(t.Context(), models.PushOptions{Source: path}); err != nil {
					t.Fatal(err)
				}
				if after := arrived(w.way.take()); before+after != f.size() {
					t.Errorf("of %d bytes %d arrived before, and %d after", f.size(), before, after)
				}
			}
			w.box.Break(fault.New(fault.Plan{}, fault.Options{}))
			w.holds(t, "m", f)
		})
	}
}

// single is a way that takes one call at a time.
type single struct {
	mu   sync.Mutex
	next http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (s *single) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next.RoundTrip(r)
}

// line is a way to a server that ends connections once they have brought so many bytes.
type line struct {
	net.Listener
	to    string
	after int64
	// left is how many connections are yet to be ended so; negative for all.
	left atomic.Int64
}

func openLine(t *testing.T, to string, after, times int64) *line {
	t.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: in, to: to, after: after}
	l.left.Store(times)
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			go l.carry(c)
		}
	}()
	return l
}

func (l *line) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(from, to) }()
	if _, err := io.CopyN(to, from, l.after); err != nil {
		return
	}
	if n := l.left.Load(); n < 0 || n > 0 && l.left.Add(-1) >= 0 {
		// It is reset, not ended.
		_ = from.(*net.TCPConn).SetLinger(0)
		return
	}
	_, _ = io.Copy(to, from)
}

// Connections that are cut in the middle of a part: a push gets over some; where all
// are, it ends with the name of the file, and the next goes on.
func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	b := openBare(t)
	f := files{"a": {11 * mebi, 1}, "c": {mebi, 3}}
	path := archived(t, "m.tar", f)
	push := func(l *line, name string) (*models.Pushed, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		s := b.at(t, "http://"+l.Addr().String())
		s.InParts(5 * mebi)
		return s.Push(ctx, models.PushOptions{Source: path, Name: name})
	}
	some := openLine(t, strings.TrimPrefix(b.url, "http://"), 3*mebi, 5)
	if got, err := push(some, "some"); err != nil || got.Sent != f.size() || some.left.Load() >= 5 {
		t.Errorf("%+v, %v", got, err)
	}
	b.holds(t, "some", f)
	all := openLine(t, strings.TrimPrefix(b.url, "http://"), 3*mebi, -1)
	_, err := push(all, "all")
	stopped, ok := errors.AsType[*models.StoppedError](err)
	if !ok || !awsapi.Passes(err) || !strings.Contains(err.Error(), "push all: file a: part ") {
		t.Fatalf("%v", err)
	}
	b.partly(t, "all", f)
	all.left.Store(0)
	if got, err := push(all, "all"); err != nil || stopped.Sent+got.Sent > f.size() {
		t.Errorf("after %d bytes: %+v, %v", stopped.Sent, got, err)
	}
	b.holds(t, "all", f)
}
