package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/poolhouse/poolhouse/transfer"
)

// Fetch begins to read a layer. What breaks is gone on with where it broke, after
// pauses. The bytes are compared with nothing.
func (c *Client) Fetch(ctx context.Context, repository, digest string) (io.ReadCloser, error) {
	doing := "fetch layer " + digest + " of " + repository
	return transfer.Resume(func(at int64) (*http.Response, error) {
		// Bytes as they are stored: their digest is that of the compressed layer.
		q := call{
			doing: doing, method: http.MethodGet, address: "/v2/" + repository + "/blobs/" + digest, scope: pull(repository),
			header: http.Header{"Accept-Encoding": {"identity"}},
		}
		want := []int{http.StatusOK}
		if at > 0 {
			q.header.Set("Range", fmt.Sprintf("bytes=%d-", at))
			want = append(want, http.StatusPartialContent)
		}
		return c.do(ctx, q, want...)
	}, func(failures int, err error) error {
		broken := &brokenError{doing, err}
		if failures == Attempts || ctx.Err() != nil || Pause(ctx, c.clock, failures, broken) != nil {
			return ended(ctx, broken)
		}
		return nil
	})
}
