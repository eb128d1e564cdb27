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
	"time"
)

// uploadPath is the path of an upload, with its id.
var uploadPath = regexp.MustCompile(`^/v2/` + Repository + `/blobs/uploads/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// rewinding puts an upload back to where its client counts on it before it goes
// on: distribution refuses it otherwise, for ever. Requests for the same upload
// wait for each other, since one whose client is gone may still write; and one
// that comes late, when its client has long gone on with another, is refused.
type rewinding struct {
	next http.Handler
	root string

	mu      sync.Mutex
	uploads map[string]*upload // by ids, while they go on
	looked  time.Time          // when those were last forgotten that nobody goes on with
}

// upload is one that somebody goes on with.
type upload struct {
	busy chan struct{} // closed at the end of what goes on; nil if nothing does
	turn int64         // the highest that there was
	last time.Time     // when somebody last went on
}

// forget takes those uploads out of memory that nobody has gone on with for long, and
// removes what came of them. The caller holds mu.
func (u *rewinding) forget() {
	now := time.Now()
	if now.Sub(u.looked) < time.Hour {
		return
	}
	u.looked = now
	for id, at := range u.uploads {
		if at.busy == nil && now.Sub(at.last) >= abandoned {
			delete(u.uploads, id)
			// What can't be removed now, the next sweep removes.
			_ = os.RemoveAll(u.folder(id))
		}
	}
}

// folder is where distribution keeps what came of an upload.
func (u *rewinding) folder(id string) string {
	return filepath.Join(u.root, filepath.FromSlash(repositories), Repository, "_uploads", id)
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
	turn, err := strconv.ParseInt(r.Header.Get(TurnHeader), 10, 64)
	if err != nil || turn < 1 {
		http.Error(w, TurnHeader+" "+r.Header.Get(TurnHeader)+" is no number from 1", http.StatusBadRequest)
		return
	}
	release, err := u.take(r.Context(), m[1], turn)
	if errors.Is(err, errLate) {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if err != nil {
		return // the client is gone
	}
	folder := u.folder(m[1])
	data := filepath.Join(folder, "data")
	defer func() {
		_, err := os.Stat(data)
		release(errors.Is(err, fs.ErrNotExist))
	}()
	info, err := os.Stat(data)
	if err == nil && info.Size() > size {
		// What was hashed may not be what is there: at the end, all of it is read.
		if err = os.RemoveAll(filepath.Join(folder, "hashstates")); err == nil {
			err = os.Truncate(data, size)
		}
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

// errLate refuses a request that another one has overtaken.
var errLate = errors.New("a later request has gone on with the upload")

// take waits until nobody has an upload, and has it until release, which forgets
// one that is gone.
func (u *rewinding) take(ctx context.Context, id string, turn int64) (release func(gone bool), err error) {
	for {
		u.mu.Lock()
		u.forget()
		at := u.uploads[id]
		if at == nil {
			at = &upload{}
			u.uploads[id] = at
		}
		if turn <= at.turn {
			u.mu.Unlock()
			return nil, errLate
		}
		busy := at.busy
		if busy == nil {
			mine := make(chan struct{})
			at.busy, at.turn = mine, turn
			u.mu.Unlock()
			return func(gone bool) {
				u.mu.Lock()
				if at.busy, at.last = nil, time.Now(); gone {
					delete(u.uploads, id)
				}
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
