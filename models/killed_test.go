package models_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/models"
)

// TestKilledBareServer kills a push of an archive and of a folder before, within and after
// each call that writes, at a server that nothing stands before but what counts there.
// There is no marker, and the next push sends only what the server has not taken.
func TestKilledBareServer(t *testing.T) {
	t.Parallel()
	b := openBare(t)
	f := files{"a": {11 * mebi, 1}, "b": {12 * mebi, 2}, "c": {10, 3}}
	path, folder := archived(t, "m.tar", f), unpacked(t, f)
	writes := func(r *http.Request) bool { return call{operation: operation(r)}.writes() }
	open := func(t *testing.T) (*server.Door, *models.Store) {
		d := server.NewDoor(t, b.server.Address("s3"))
		s := b.at(t, d.URL)
		s.InParts(5 * mebi)
		return d, s
	}
	d, s := open(t)
	if _, err := s.Push(t.Context(), models.PushOptions{Source: path, Name: "whole"}); err != nil {
		t.Fatal(err)
	}
	n := 0
	calls := b.calls(d.Take())
	for _, c := range calls {
		if c.writes() {
			n++
		}
	}
	// Two uploads begun and ended, six parts, a small file, record and marker.
	if n != 2+2+6+1+2 || arrived(calls) != f.size() {
		t.Fatalf("%d calls write, and %d bytes came of %d", n, arrived(calls), f.size())
	}
	for i := range 2 * n {
		kind, source, i := "archive", path, i
		if i >= n {
			kind, source, i = "folder", folder, i-n
		}
		for _, at := range []server.Moment{server.Before, server.Within, server.After} {
			t.Run(fmt.Sprintf("%s-%d-%s", kind, i, at), func(t *testing.T) {
				t.Parallel()
				d, s := open(t)
				o := models.PushOptions{Source: source, Name: fmt.Sprintf("m-%s-%d-%s", kind, i, at)}
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				d.CutOff(server.Cut{N: i, Counts: writes, At: at, Do: kill})
				if got, err := s.Push(ctx, o); !errors.Is(err, context.Canceled) || got != nil {
					t.Fatalf("%+v, %v", got, err)
				}
				first := b.calls(d.Take())
				taken := arrived(first)
				last := at == server.After && i == n-1
				if b.marked(t, o.Name) != last {
					t.Error("the checkpoint is complete when its push was killed")
				}
				got, err := s.Push(t.Context(), o)
				if err != nil || got.Unchanged != last {
					t.Fatalf("the next: %+v, %v", got, err)
				}
				second := b.calls(d.Take())
				if again := arrived(second); again > f.size()-taken || again != got.Sent {
					t.Errorf("%d bytes of %d were taken, and then %d came, where %d were sent:\n%+v\n%+v", taken, f.size(), again, got.Sent, first, second)
				}
				b.holds(t, o.Name, f)
				if v, err := b.Verify(t.Context(), o.Name); err != nil || !v.Whole {
					t.Errorf("%+v, %v", v, err)
				}
			})
		}
	}
}

// calls are what came through a door to the server.
func (b *bare) calls(entries []server.Entry) (out []call) {
	for _, e := range entries {
		c := call{operation: operation(&http.Request{Method: e.Method, URL: e.URL, Header: e.Header}), bytes: e.Bytes, status: e.Status}
		c.key = strings.TrimPrefix(e.URL.Path, "/"+b.Bucket+"/")
		out = append(out, c)
	}
	return out
}

// marked tells that a checkpoint has its marker.
func (b *bare) marked(t *testing.T, name string) bool {
	t.Helper()
	_, err := b.S3.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: &b.Bucket, Key: aws.String(models.Prefix + name + "/" + models.Marker)})
	if err != nil && !awsapi.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}
