package models

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// answers answers each request for an object in S3's stead.
type answers func(r *http.Request, nth int) (body io.Reader, checksum string)

// fetching is an object of a size that is read from answers, whose number it counts.
func fetching(ctx context.Context, size int64, n *int, answer answers) *fetched {
	client := s3.New(s3.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
		HTTPClient: roundTrip(func(r *http.Request) (*http.Response, error) {
			return transfer.Do(r, time.Minute, func(r *http.Request) (*http.Response, error) {
				*n++
				body, checksum := answer(r, *n)
				h := http.Header{}
				if checksum != "" {
					h.Set("X-Amz-Checksum-Crc64nvme", checksum)
				}
				return &http.Response{StatusCode: http.StatusOK, Header: h, Body: io.NopCloser(body), Request: r}, nil
			})
		}),
	})
	return &fetched{ctx: ctx, from: &remote{store: &Store{S3: client, Clock: clock.Real{}}, bucket: "staging"}, key: "m/a", object: object{size: size, etag: "1"}}
}

type roundTrip func(*http.Request) (*http.Response, error)

// Do implements [s3.HTTPClient].
func (f roundTrip) Do(r *http.Request) (*http.Response, error) { return f(r) }

// What comes otherwise than its checksum says is not handed on as whole, also not to
// who reads no further than the last byte.
func TestFetchedOtherwise(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789"), 1000)
	right := text(crc64.Checksum(body, table()))
	for checksum, want := range map[string]string{right: "", "": "", text(1): "read s3://staging/m/a: checksum did not match"} {
		n := 0
		o := fetching(t.Context(), int64(len(body)), &n, func(*http.Request, int) (io.Reader, string) { return bytes.NewReader(body), checksum })
		got := make([]byte, len(body))
		_, err := io.ReadFull(o, got)
		if want == "" && (err != nil || !bytes.Equal(got, body)) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) || n != 1 {
			t.Errorf("checksum %q: %v after %d calls", checksum, err, n)
		}
		if _, again := o.Read(got); want != "" && again != err || want == "" && again != io.EOF {
			t.Errorf("checksum %q: then %v", checksum, again)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// hanging is a body of which nothing more comes until its request ends.
type hanging struct{ ctx context.Context }

// Read implements [io.Reader].
func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

// A connection on which nothing comes is given up, and asked again from where it
// stands; in the end it is told.
func TestFetchedStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, began := 0, time.Now()
		o := fetching(t.Context(), 10, &n, func(r *http.Request, nth int) (io.Reader, string) {
			switch {
			case nth == 1:
				return io.MultiReader(strings.NewReader("0123"), hanging{r.Context()}), ""
			case r.Header.Get("Range") != "bytes=4-":
				t.Errorf("call %d asks for %q", nth, r.Header.Get("Range"))
			}
			return strings.NewReader("456789"), ""
		})
		if got, err := io.ReadAll(o); err != nil || string(got) != "0123456789" || n != 2 || time.Since(began) != 2*time.Minute+pause {
			t.Errorf("%q, %v after %d calls and %v", got, err, n, time.Since(began))
		}
		n = 0
		o = fetching(t.Context(), 10, &n, func(r *http.Request, _ int) (io.Reader, string) { return hanging{r.Context()}, "" })
		if _, err := io.ReadAll(o); !errors.Is(err, transfer.ErrStalled) || n != attempts {
			t.Errorf("%v after %d calls", err, n)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		time.AfterFunc(time.Second, func() { stop(stopped) })
		o = fetching(ctx, 10, &n, func(r *http.Request, _ int) (io.Reader, string) { return hanging{r.Context()}, "" })
		if _, err := io.ReadAll(o); !errors.Is(err, stopped) {
			t.Errorf("stopped: %v", err)
		}
	})
}

// The objects below a prefix are no more than an archive may have: nobody waits for the
// end of a listing that has more.
func TestRemoteBounded(t *testing.T) {
	t.Parallel()
	most := limits().Members
	for total, marked := range map[int]bool{most + 1: true, most + 2: true, 10 * most: false} {
		n, last := 0, ""
		o := fetching(t.Context(), 0, &n, func(*http.Request, int) (io.Reader, string) {
			var page strings.Builder
			page.WriteString("<ListBucketResult>")
			if marked && n == 1 {
				page.WriteString("<Contents><Key>m/" + Marker + "</Key><Size>0</Size></Contents>")
			}
			for i := (n - 1) * 1000; i < min(n*1000, total) && (!marked || i < total-1); i++ {
				fmt.Fprintf(&page, "<Contents><Key>m/%06d</Key><Size>1</Size></Contents>", i)
			}
			fmt.Fprintf(&page, "<IsTruncated>%v</IsTruncated><NextContinuationToken>%d</NextContinuationToken></ListBucketResult>", n*1000 < total, n)
			return strings.NewReader(page.String()), ""
		})
		o.from.key = "m/"
		files := 0
		_, err := o.from.read(t.Context(), func(m archive.Member, _ io.Reader) error {
			files, last = files+1, m.Name
			return nil
		})
		want := total
		if marked {
			want--
		}
		_, faulty := errors.AsType[fault.Faults](err)
		switch {
		case want <= most && (err != nil || files != want || last != fmt.Sprintf("%06d", want-1)):
			t.Errorf("%d objects: %d files, the last %s: %v", total, files, last, err)
		case want > most && (!faulty || !strings.Contains(err.Error(), "holds more than 50000 files") || files > 0 || n > most/1000+1):
			t.Errorf("%d objects: %d files after %d pages: %v", total, files, n, err)
		}
	}
}

// A marker that does not say over which files it is, is over those that are not newer.
func TestMarkOver(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	files := func(after time.Duration) map[string]object {
		return map[string]object{"m/a": {1, "1", at.Add(after)}, "m/" + Marker: {0, "2", at}}
	}
	for name, tt := range map[string]struct {
		meta  map[string]string
		after time.Duration
		want  bool
	}{
		"theirs, older":   {nil, -time.Second, true},
		"theirs, as old":  {nil, 0, true},
		"theirs, newer":   {nil, time.Second, false},
		"ours, newer":     {map[string]string{metaListing: listing("m/", files(0))}, time.Second, true},
		"ours, otherwise": {map[string]string{metaListing: fmt.Sprintf("%064x", 1)}, -time.Second, false},
	} {
		if got := (&mark{tt.meta}).over("m/", files(tt.after)); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
