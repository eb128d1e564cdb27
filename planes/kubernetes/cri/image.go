package cri

import (
	"context"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/poolhouse/poolhouse/planes/kubernetes/image"
)

// images are those that a node has.
type images struct {
	cri.UnimplementedImageServiceServer
	opts Options

	mu    sync.Mutex
	known map[string]image.Image // by reference, and by digest
	sizes map[string]uint64      // of their files, by digest
}

func (s *images) get(reference string) (image.Image, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.known[reference]
	return i, ok
}

// PullImage implements the interface. The reference that it returns is the image's
// digest.
func (s *images) PullImage(ctx context.Context, r *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	reference := r.GetImage().GetImage()
	if s.opts.Allowed != nil {
		if err := s.opts.Allowed(ctx, reference); err != nil {
			return nil, failed("pull image %s: %w", reference, err)
		}
	}
	if s.opts.Context != nil {
		ctx = s.opts.Context(ctx)
	}
	i, err := s.opts.Images.Pull(ctx, reference)
	if err != nil {
		return nil, failed("%w", err)
	}
	size, err := sizeOf(i.Root)
	if err != nil {
		return nil, failed("measure image %s: %w", reference, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[reference], s.known[i.Digest], s.sizes[i.Digest] = i, i, size
	return &cri.PullImageResponse{ImageRef: i.Digest}, nil
}

// ImageStatus implements the interface.
func (s *images) ImageStatus(_ context.Context, r *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	i, ok := s.get(r.GetImage().GetImage())
	if !ok {
		return &cri.ImageStatusResponse{}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &cri.ImageStatusResponse{Image: s.described(i)}, nil
}

// ListImages implements the interface.
func (s *images) ListImages(context.Context, *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &cri.ListImagesResponse{}
	for name, i := range s.known {
		if name == i.Digest {
			out.Images = append(out.Images, s.described(i))
		}
	}
	return out, nil
}

// RemoveImage implements the interface: the node hasn't it any more.
func (s *images) RemoveImage(_ context.Context, r *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.known[r.GetImage().GetImage()]; ok {
		for name, other := range s.known {
			if other.Digest == i.Digest {
				delete(s.known, name)
			}
		}
	}
	return &cri.RemoveImageResponse{}, nil
}

// described is an image as a kubelet knows it. Who runs in it is a number, or a
// name, of which the kubelet can't tell that it isn't root's. It is held by the lock.
func (s *images) described(i image.Image) *cri.Image {
	out := &cri.Image{Id: i.Digest, Size: s.sizes[i.Digest], RepoDigests: []string{pinned(i)}, Spec: &cri.ImageSpec{Image: i.Digest}}
	name, _, _ := strings.Cut(i.Config.User, ":")
	if uid, err := strconv.ParseInt(name, 10, 64); err == nil {
		out.Uid = &cri.Int64Value{Value: uid}
	} else {
		out.Username = name
	}
	return out
}

// sizeOf is how much the files of a folder take; kubelets want something.
func sizeOf(dir string) (uint64, error) {
	size := uint64(1)
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += uint64(info.Size())
		}
		return err
	})
	return size, err
}

// pinned is an image's reference by its digest.
func pinned(i image.Image) string {
	name, _, _ := strings.Cut(i.Reference, "@")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		name = name[:at]
	}
	return name + "@" + i.Digest
}

// ImageFsInfo implements the interface: how much room images take is not known.
func (s *images) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	return &cri.ImageFsInfoResponse{}, nil
}
