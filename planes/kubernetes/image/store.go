package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process"
)

// Options describe a store.
type Options struct {
	// Dir is a folder of the store's own, as a whole path. Images that are whole
	// stay in it; what else is there is removed.
	Dir string
	// Transport carries the requests to registries, whatever their host.
	Transport http.RoundTripper
	// Login returns who asks a registry: user and password. Nil asks as nobody.
	Login func(ctx context.Context, registry string) (user, password string, err error)
}

// Store has the images. It is safe for concurrent use.
type Store struct {
	opts Options

	mu sync.Mutex
	// named are the digests of manifests by what was asked for.
	named map[string]string
	// images are those that are unpacked, or about to be, by digest.
	images map[string]*unpacked
}

// unpacked is an image. ready is closed once it is there, or can't be.
type unpacked struct {
	ready chan struct{}
	image Image
	err   error
}

// The files of a store: folders of images by digest, each with its files and what
// its configuration says.
const (
	part   = "part-"
	files  = "root"
	config = "config.json"
)

// New opens a store.
func New(o Options) (*Store, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("open a store of images: %q is no whole path", o.Dir)
	}
	// Images may hold programs that run as root.
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open a store of images: %w", err)
	}
	s := &Store{opts: o, named: map[string]string{}, images: map[string]*unpacked{}}
	found, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open a store of images: %w", err)
	}
	for _, f := range found {
		if err := s.find(f.Name()); err != nil {
			return nil, fmt.Errorf("open a store of images: %w", err)
		}
	}
	return s, nil
}

// find takes up what is in the folder, or removes it.
func (s *Store) find(folder string) error {
	algorithm, hash, ok := strings.Cut(folder, "-")
	text, err := os.ReadFile(filepath.Join(s.opts.Dir, folder, config))
	i := Image{Digest: algorithm + ":" + hash, Root: filepath.Join(s.opts.Dir, folder, files)}
	if !ok || algorithm+"-" == part || err != nil || json.Unmarshal(text, &i.Config) != nil {
		return os.RemoveAll(filepath.Join(s.opts.Dir, folder))
	}
	u := &unpacked{ready: make(chan struct{}), image: i}
	close(u.ready)
	s.images[i.Digest] = u
	return nil
}

// Has returns the image of a reference that was pulled before, for a policy that
// doesn't pull. After a restart, it knows images by the digest for this platform
// alone.
func (s *Store) Has(reference string) (Image, bool) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return Image{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	digest, ok := s.named[reference]
	if !ok {
		digest = ref.Identifier()
	}
	u := s.images[digest]
	if u == nil {
		return Image{}, false
	}
	select {
	case <-u.ready:
		i := u.image
		i.Reference = reference
		return i, u.err == nil
	default:
		return Image{}, false
	}
}

// Pull returns the image of a reference, HOST/REPOSITORY@DIGEST or :TAG. What is
// unpacked already is not asked for again if it is named by digest. An image for
// other platforms only is a process.NotRunError; what the registry or the archives
// are to blame for names the reference.
func (s *Store) Pull(ctx context.Context, reference string) (Image, error) {
	i, err := s.pull(ctx, reference)
	if err != nil {
		return Image{}, fmt.Errorf("pull image %s: %w", reference, err)
	}
	i.Reference = reference
	return i, nil
}

func (s *Store) pull(ctx context.Context, reference string) (Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return Image{}, err
	}
	if _, ok := ref.(name.Digest); ok {
		if i, ok := s.Has(reference); ok {
			return i, nil
		}
	}
	from, err := s.resolve(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	digest, err := from.Digest()
	if err != nil {
		return Image{}, err
	}
	for {
		s.mu.Lock()
		u, there := s.images[digest.String()]
		if !there {
			u = &unpacked{ready: make(chan struct{})}
			s.images[digest.String()] = u
		}
		s.named[reference] = digest.String()
		s.mu.Unlock()
		if !there {
			u.image, u.err = s.unpack(from, digest)
			if u.err != nil {
				s.mu.Lock()
				delete(s.images, digest.String())
				s.mu.Unlock()
			}
			close(u.ready)
			return u.image, u.err
		}
		select {
		case <-u.ready:
		case <-ctx.Done():
			return Image{}, ctx.Err()
		}
		if u.err == nil {
			return u.image, nil
		}
		// Who pulled it may have given up: it is our turn.
	}
}

// resolve is the image for this platform. Its manifest has the digest that was
// asked for, or is named in an index that has.
func (s *Store) resolve(ctx context.Context, ref name.Reference) (v1.Image, error) {
	own := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(s.opts.Transport), remote.WithPlatform(own)}
	if s.opts.Login != nil {
		user, password, err := s.opts.Login(ctx, ref.Context().RegistryStr())
		if err != nil {
			return nil, fmt.Errorf("log in to %s: %w", ref.Context().RegistryStr(), err)
		}
		options = append(options, remote.WithAuth(&authn.Basic{Username: user, Password: password}))
	}
	found, err := remote.Get(ref, options...)
	if err != nil {
		return nil, err
	}
	if found.MediaType.IsIndex() {
		index, err := found.ImageIndex()
		if err != nil {
			return nil, err
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return nil, err
		}
		var others []string
		for _, m := range manifest.Manifests {
			if m.Platform != nil && m.Platform.Satisfies(own) {
				return index.Image(m.Digest)
			}
			if m.Platform != nil {
				others = append(others, m.Platform.String())
			}
		}
		return nil, &process.NotRunError{Why: fmt.Sprintf("the image is for %s, and this machine is %s", strings.Join(others, ", "), own)}
	}
	out, err := found.Image()
	if err != nil {
		return nil, err
	}
	c, err := out.ConfigFile()
	if err != nil {
		return nil, err
	}
	if p := c.Platform(); p != nil && !p.Satisfies(own) {
		return nil, &process.NotRunError{Why: fmt.Sprintf("the image is for %s, and this machine is %s", p, own)}
	}
	return out, nil
}

// unpack unpacks an image beside, and moves it into its place once it is whole.
func (s *Store) unpack(from v1.Image, digest v1.Hash) (out Image, err error) {
	beside, err := os.MkdirTemp(s.opts.Dir, part)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(beside)) }()
	if err := os.Mkdir(filepath.Join(beside, files), 0o755); err != nil {
		return Image{}, err
	}
	root, err := os.OpenRoot(filepath.Join(beside, files))
	if err != nil {
		return Image{}, err
	}
	err = layers(from, newUnpacker(root))
	if err := errors.Join(err, root.Close()); err != nil {
		return Image{}, err
	}
	c, err := from.ConfigFile()
	if err != nil {
		return Image{}, err
	}
	says := Config{Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env, User: c.Config.User, WorkingDir: c.Config.WorkingDir, StopSignal: c.Config.StopSignal}
	for v := range c.Config.Volumes {
		says.Volumes = append(says.Volumes, v)
	}
	text, err := json.Marshal(says)
	if err != nil {
		return Image{}, err
	}
	if err := os.WriteFile(filepath.Join(beside, config), text, 0o600); err != nil {
		return Image{}, err
	}
	at := filepath.Join(s.opts.Dir, digest.Algorithm+"-"+digest.Hex)
	if err := os.Rename(beside, at); err != nil && !errors.Is(err, fs.ErrExist) {
		return Image{}, err
	}
	return Image{Digest: digest.String(), Root: filepath.Join(at, files), Config: says}, nil
}

// layers unpacks what an image is made from, bottom up. Each layer is what its
// image says, packed and unpacked.
func layers(from v1.Image, into *unpacker) error {
	list, err := from.Layers()
	if err != nil {
		return err
	}
	for i, l := range list {
		want, err := l.DiffID()
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		r, err := l.Uncompressed()
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		hash := sha256.New()
		through := io.TeeReader(io.LimitReader(r, most.bytes), hash)
		err = into.layer(through)
		if err == nil {
			// What follows the archive has its part in the digest.
			_, err = io.Copy(io.Discard, through)
		}
		if got := hex.EncodeToString(hash.Sum(nil)); err == nil && got != want.Hex {
			err = fmt.Errorf("it unpacks to sha256:%s, and its image says %s", got, want)
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}
