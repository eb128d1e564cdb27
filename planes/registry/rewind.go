package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
)

// uploadPath is the path of an upload, with its id.
var uploadPath = regexp.MustCompile(`^/v2/` + Repository + `/blobs/uploads/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// rewinding puts an upload back to where its client counts on it before it goes
// on: distribution refuses it otherwise, for ever. Requests for the same upload
// wait for each other, since one whose client is gone may still write.
type rewinding struct {
	next http.Handler
	root string

	mu   sync.Mutex
	busy map[string]chan struct{} // by ids; closed at the end
}

func (u *rewinding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, counts := uploadPath.FindStringSubmatch(r.URL.Path), r.Header.Get(OffsetHeader)
	if m == nil || counts == "" {
		u.next.ServeHTTP(w, r)
		return
	}
	size, err := strconv.ParseInt(counts, 10, 64)
	if err != nil || size < 0 {
		http.Error(w, OffsetHeader+" "+counts+" is no number of bytes", http.StatusBadRequest)
		return
	}
	release, err := u.take(r.Context(), m[1])
	if err != nil {
		return // the client is gone
	}
	defer release()
	path := filepath.Join(u.root, filepath.FromSlash(repositories), Repository, "_uploads", m[1], "data")
	info, err := os.Stat(path)
	if err == nil && info.Size() > size {
		err = os.Truncate(path, size)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Size() < size:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		// The client may be gone.
		_, _ = fmt.Fprintln(w, `{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN", "message": "blob upload unknown to registry"}]}`)
	case err != nil:
		http.Error(w, "put the upload back: "+err.Error(), http.StatusInternalServerError)
	default:
		u.next.ServeHTTP(w, r)
	}
}

// take waits until nobody has an upload, and has it until release.
func (u *rewinding) take(ctx context.Context, id string) (release func(), err error) {
	for {
		u.mu.Lock()
		busy := u.busy[id]
		if busy == nil {
			mine := make(chan struct{})
			u.busy[id] = mine
			u.mu.Unlock()
			return func() {
				u.mu.Lock()
				delete(u.busy, id)
				u.mu.Unlock()
				close(mine)
			}, nil
		}
		u.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
