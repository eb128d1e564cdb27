package awsapi_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// book is a paginator of numbers, which fails at one of them.
type book struct{ next, pages, torn int }

func (b *book) HasMorePages() bool { return b.next < b.pages }

var errTorn = errors.New("torn")

func (b *book) NextPage(_ context.Context, options ...func(*int)) (*int, error) {
	n := b.next
	b.next++
	if n == b.torn {
		return nil, errTorn
	}
	for _, o := range options {
		o(&n)
	}
	return &n, nil
}

// TestPages: all pages come in order, an error is the last, and none is asked for
// that nobody takes.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		torn, takes int
		want        []int
		failed      bool
		asked       int
	}{
		"all":        {torn: -1, takes: 9, want: []int{10, 11, 12}, asked: 3},
		"an error":   {torn: 1, takes: 9, want: []int{10}, failed: true, asked: 2},
		"not all":    {torn: -1, takes: 2, want: []int{10, 11}, asked: 2},
		"error last": {torn: 2, takes: 9, want: []int{10, 11}, failed: true, asked: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &book{pages: 3, torn: c.torn}
			var got []int
			failed := false
			for page, err := range awsapi.Pages(t.Context(), b, func(n *int) { *n += 10 }) {
				if err != nil {
					failed = errors.Is(err, errTorn)
					continue
				}
				if got = append(got, *page); len(got) == c.takes {
					break
				}
			}
			if !slices.Equal(got, c.want) || failed != c.failed || b.next != c.asked {
				t.Errorf("got %v, failed %t, asked for %d; want %v, %t, %d", got, failed, b.next, c.want, c.failed, c.asked)
			}
		})
	}
}
