package transfer_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/transfer"
)

var errCut = errors.New("the connection was cut")

// cut is a body that breaks at its end.
func cut(text string) io.Reader { return io.MultiReader(strings.NewReader(text), broken{errCut}) }

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// TestResume has a reading break, and a server answer otherwise than it was asked.
func TestResume(t *testing.T) {
	t.Parallel()
	const all = "0123456789"
	whole := func(size int64, body io.Reader) *http.Response {
		return &http.Response{StatusCode: http.StatusOK, ContentLength: size, Body: io.NopCloser(body)}
	}
	rest := func(from int64, body io.Reader) *http.Response {
		return &http.Response{StatusCode: http.StatusPartialContent, Header: http.Header{"Content-Range": {fmt.Sprintf("bytes %d-9/10", from)}}, Body: io.NopCloser(body)}
	}
	refused := errors.New("refused")
	for name, tt := range map[string]struct {
		answer func(n int, at int64) (*http.Response, error)
		got    string
		want   error
		text   string // of the error
		asked  int
	}{
		"at once": {func(int, int64) (*http.Response, error) { return whole(10, strings.NewReader(all)), nil }, all, nil, "", 1},
		"in three parts": {func(n int, at int64) (*http.Response, error) {
			switch n {
			case 1:
				return whole(10, cut(all[:4])), nil
			case 2:
				return rest(at, cut(all[at:6])), nil
			}
			return rest(at, strings.NewReader(all[at:])), nil
		}, all, nil, "", 3},
		"by a server without ranges": {func(n int, _ int64) (*http.Response, error) {
			if n < 3 {
				return whole(-1, cut(all[:2+2*n])), nil
			}
			return whole(-1, strings.NewReader(all)), nil
		}, all, nil, "", 3},
		"cut again in what was read before": {func(n int, _ int64) (*http.Response, error) {
			switch n {
			case 1:
				return whole(10, cut(all[:6])), nil
			case 2:
				return whole(10, cut(all[:3])), nil
			}
			return whole(10, strings.NewReader(all)), nil
		}, all, nil, "", 3},
		"a part ends early": {func(n int, at int64) (*http.Response, error) {
			if n == 1 {
				return whole(10, strings.NewReader(all[:4])), nil
			}
			return rest(at, strings.NewReader(all[at:min(at+2, 10)])), nil
		}, all, nil, "", 4},
		"broken after the last byte": {func(int, int64) (*http.Response, error) { return whole(10, cut(all)), nil }, all, nil, "", 1},
		"another part": {func(n int, at int64) (*http.Response, error) {
			if n == 1 {
				return whole(10, cut(all[:4])), nil
			}
			return rest(at+1, strings.NewReader(all[at+1:])), nil
		}, all[:4], nil, "another part", 2},
		"always broken": {func(n int, at int64) (*http.Response, error) {
			if n == 1 {
				return whole(10, cut(all[:4])), nil
			}
			return rest(at, cut("")), nil
		}, all[:4], errCut, "", 3},
		"refused later": {func(n int, _ int64) (*http.Response, error) {
			if n == 1 {
				return whole(10, cut(all[:4])), nil
			}
			return nil, refused
		}, all[:4], refused, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			var at []int64
			r, err := transfer.Resume(func(from int64) (*http.Response, error) {
				asked++
				at = append(at, from)
				return tt.answer(asked, from)
			}, func(failures int, err error) error {
				if failures == 3 {
					return err
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if string(got) != tt.got || tt.text == "" && !errors.Is(err, tt.want) || tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) || asked != tt.asked {
				t.Errorf("%q, %v after asking from %v", got, err, at)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := transfer.Resume(func(int64) (*http.Response, error) { return nil, refused }, nil); !errors.Is(err, refused) {
		t.Errorf("refused at once: %v", err)
	}
}
