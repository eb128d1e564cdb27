// Package registry is an OCI registry on loopback, for one client that has its
// password: distribution with files in a folder. What repositories, tags and
// rights there are is the sandbox's affair; here, all layers are in one
// repository.
package registry

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
)

// Repository is the one that all layers are in.
const Repository = "poolhouse"

// SweepPath is where a POST of a list of digests, as JSON, removes all layers
// that aren't in it, and uploads that nobody goes on with. It is for a time when
// nothing else goes on, and answers with how many layers there were.
const SweepPath = "/sweep"

// OffsetHeader, of a request that goes on with an upload, is how many bytes of it
// the client counts on. What else there is, of a part that broke, is forgotten.
const OffsetHeader = "Upload-Offset"

// TurnHeader, beside it, grows from request to request: one that reaches the server
// after one with a higher turn is refused, since its client has given it up.
const TurnHeader = "Upload-Turn"

// repositories are where distribution keeps them.
const repositories = "/docker/registry/v2/repositories"

// abandoned is how old an upload is that nobody goes on with.
const abandoned = 24 * time.Hour

// Config is what the server is told.
type Config struct {
	// Password is the only one that opens the server, for any user.
	Password string `json:"password"`
	// Secret signs the state of uploads: with another one they can't go on.
	Secret string `json:"secret"`
}

// Options describe a server.
type Options struct {
	Config
	// Dir is the folder of its data, and Address the loopback address and port
	// that it listens on; empty takes a free one.
	Dir, Address string
	// Ready is told the address once the server answers there.
	Ready func(address string)
}

// Serve answers until the context ends.
func Serve(ctx context.Context, o Options) (err error) {
	if o.Password == "" || o.Secret == "" {
		return errors.New("a registry needs a password and a secret")
	}
	root, err := filepath.Abs(filepath.Join(o.Dir, "data"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	l, err := listen(ctx, o.Address)
	if err != nil {
		return err
	}
	// Of what clients do, the sandbox tells itself.
	logrus.SetLevel(logrus.WarnLevel)
	app := handlers.NewApp(ctx, &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem":  {"rootdirectory": root},
			"delete":      {"enabled": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
		HTTP: configuration.HTTP{Secret: o.Secret, RelativeURLs: true},
		Log:  configuration.Log{AccessLog: configuration.AccessLog{Disabled: true}},
	})
	files, err := filesystem.FromParameters(map[string]any{"rootdirectory": root})
	if err != nil {
		return errors.Join(err, l.Close(), app.Shutdown())
	}
	mux := http.NewServeMux()
	mux.Handle("/", &rewinding{next: app, root: root, uploads: map[string]*upload{}})
	mux.HandleFunc("POST "+SweepPath, func(w http.ResponseWriter, r *http.Request) { answerSweep(w, r, files) })
	var busy sync.WaitGroup
	inside := known(o.Password, mux)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		busy.Add(1)
		defer busy.Done()
		inside.ServeHTTP(w, r)
	})}
	// Whose connection was cut may still write.
	defer busy.Wait()
	stop := context.AfterFunc(ctx, func() {
		// What was acknowledged is in its file.
		_ = server.Close()
	})
	defer stop()
	o.Ready(l.Addr().String())
	if err = server.Serve(l); errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, app.Shutdown())
}

// listen listens on a loopback address: the one asked for, or some.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s is no loopback address with a port", address)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// known lets those in who have the password.
func known(password string, h http.Handler) http.Handler {
	want := sha256.Sum256([]byte(password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got, _ := r.BasicAuth()
		if sum := sha256.Sum256([]byte(got)); subtle.ConstantTimeCompare(sum[:], want[:]) != 1 {
			http.Error(w, "the sandbox's registry is for the sandbox alone", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func answerSweep(w http.ResponseWriter, r *http.Request, files driver.StorageDriver) {
	var keep []digest.Digest
	if err := json.NewDecoder(r.Body).Decode(&keep); err != nil {
		http.Error(w, "a list of digests is needed: "+err.Error(), http.StatusBadRequest)
		return
	}
	swept, err := sweep(r.Context(), files, keep)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// The client may be gone.
	_ = json.NewEncoder(w).Encode(map[string]int{"swept": swept})
}

// sweep removes layers that are not to be kept.
func sweep(ctx context.Context, files driver.StorageDriver, keep []digest.Digest) (int, error) {
	kept := map[digest.Digest]bool{}
	for _, d := range keep {
		kept[d] = true
	}
	if _, err := files.Stat(ctx, repositories); absent(err) {
		return 0, nil
	}
	if _, errs := storage.PurgeUploads(ctx, files, time.Now().Add(-abandoned), true); len(errs) > 0 {
		return 0, fmt.Errorf("remove uploads: %w", errors.Join(errs...))
	}
	r, err := storage.NewRegistry(ctx, files)
	if err != nil {
		return 0, err
	}
	var lost []digest.Digest
	err = r.Blobs().Enumerate(ctx, func(d digest.Digest) error {
		if !kept[d] {
			lost = append(lost, d)
		}
		return nil
	})
	if err != nil && !absent(err) {
		return 0, fmt.Errorf("list layers: %w", err)
	}
	v := storage.NewVacuum(ctx, files)
	for i, d := range lost {
		// The link goes first: a layer without one isn't there for anybody.
		if err := v.RemoveLayer(Repository, d); err != nil && !absent(err) {
			return i, fmt.Errorf("remove the link of layer %s: %w", d, err)
		}
		if err := v.RemoveBlob(d.String()); err != nil {
			return i, fmt.Errorf("remove layer %s: %w", d, err)
		}
	}
	return len(lost), nil
}

// absent tells that there is no such file.
func absent(err error) bool {
	var none driver.PathNotFoundError
	return errors.As(err, &none)
}
