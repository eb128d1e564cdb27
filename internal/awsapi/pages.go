package awsapi

import (
	"context"
	"iter"
)

// Paginator is what the SDK's paginators have in common.
type Paginator[Page, Options any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Options)) (*Page, error)
}

// Pages are the pages of a list, each asked for when its turn comes. An error is
// the last of them.
func Pages[Page, Options any](ctx context.Context, p Paginator[Page, Options], options ...func(*Options)) iter.Seq2[*Page, error] {
	return func(yield func(*Page, error) bool) {
		for p.HasMorePages() {
			page, err := p.NextPage(ctx, options...)
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}
