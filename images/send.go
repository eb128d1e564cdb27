package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/transfer"
)

// visit sends a layer that comes by. It returns when all of it is read; the uploads
// go on beside it.
func (s *pusher) visit(ctx context.Context, b image.Blob, r io.Reader) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// While it waited, the layer may have come there by another way.
	s.mu.Lock()
	s.met[b.Digest] = true
	to := s.destinations(b.Digest)
	doubted := false
	for _, repository := range to {
		at := place{b.Digest, repository}
		s.flying[at] = true
		doubted = doubted || s.refusals[at] > 0
	}
	s.mu.Unlock()
	landed := func() {
		s.mu.Lock()
		for _, repository := range to {
			delete(s.flying, place{b.Digest, repository})
		}
		s.mu.Unlock()
		<-s.slots
	}
	if len(to) == 0 {
		landed()
		return nil
	}
	if b.Size <= small {
		body, err := s.readSmall(b, r)
		if err != nil {
			landed()
			return err
		}
		s.work.Go(func() {
			defer landed()
			for _, repository := range to {
				s.again(ctx, b, repository, body)
			}
		})
		return nil
	}
	queues := make([]*queue, len(to))
	var sending sync.WaitGroup
	for n, repository := range to {
		queues[n] = newQueue()
		sending.Go(func() {
			defer queues[n].leave()
			if err := s.send(ctx, b, repository, queues[n]); err != nil {
				s.mishap(b.Digest, repository, err)
			}
		})
	}
	s.work.Go(func() {
		defer landed()
		sending.Wait()
	})
	return s.feed(ctx, b, r, queues, doubted)
}

// lost takes down that a layer can't be read where it comes from.
func (s *pusher) lost(digest string, err error) {
	s.mu.Lock()
	lacking := slices.Clone(s.lacks[digest])
	s.met[digest] = true
	s.mu.Unlock()
	for _, repository := range lacking {
		s.mishap(digest, repository, err)
	}
}

func (s *pusher) readSmall(b image.Blob, r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, b.Size+1))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(body); int64(len(body)) != b.Size || "sha256:"+hex.EncodeToString(sum[:]) != b.Digest {
		return nil, s.plan.source.other(b)
	}
	return body, nil
}

// feed reads a layer into the queues. The registry compares it with its digest, and so
// is it here if it is doubted: its last piece goes when it is right.
func (s *pusher) feed(ctx context.Context, b image.Blob, r io.Reader, queues []*queue, doubted bool) (err error) {
	end := func(err error) {
		for _, q := range queues {
			q.finish(err)
		}
	}
	sum := sha256.New()
	for left := b.Size; left > 0; {
		c, err := s.pool.lend(ctx)
		if err != nil {
			end(err)
			return err
		}
		n, err := io.ReadFull(r, c.full[:min(left, chunkSize)])
		c.data = c.full[:n]
		if doubted {
			sum.Write(c.data)
		}
		left -= int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && doubted && left == 0 && "sha256:"+hex.EncodeToString(sum.Sum(nil)) != b.Digest {
			err = s.plan.source.other(b)
		}
		if err != nil {
			c.use(-1)
			end(err)
			return err
		}
		read := false
		for _, q := range queues {
			read = q.put(c) || read
		}
		c.use(-1)
		if !read {
			return nil // all uploads have failed; it comes by again
		}
	}
	end(io.EOF)
	return nil
}

// again sends a small layer until it is there or can't be.
func (s *pusher) again(ctx context.Context, b image.Blob, repository string, body []byte) {
	for n := 1; ; n++ {
		err := s.send(ctx, b, repository, bytes.NewReader(body))
		if err == nil {
			return
		}
		if n < registry.Attempts && (registry.IsTransient(err) || registry.IsOther(err) && n == 1) && registry.Pause(ctx, s.Clock, n, err) == nil {
			continue
		}
		s.mu.Lock()
		s.giveUp(place{b.Digest, repository}, named(b.Digest, err))
		s.mu.Unlock()
		return
	}
}

// send sends a layer to a repository once.
func (s *pusher) send(ctx context.Context, b image.Blob, repository string, body io.Reader) error {
	client := s.plan.registry.Client
	upload, err := client.Begin(ctx, repository, b.Digest, "")
	if registry.IsNotFound(err) {
		return fmt.Errorf("%w; make the repository %s there first", err, repository)
	}
	if err != nil {
		return err
	}
	item := s.counting(b.Digest, repository)
	counted := &counted{r: transfer.Reader(ctx, body, item, s.Limit)}
	if err := client.Send(ctx, upload, b.Size, counted); err != nil {
		item.Move(-counted.count())
		if b.Size == 0 && registry.IsOther(err) {
			// ECR takes none, which no repetition changes, so the kind of the error is left
			// behind: https://github.com/devcontainers/cli/issues/814
			return fmt.Errorf("%s; it takes no empty layer or configuration: have the image made without the one of 0 bytes", err.Error())
		}
		return err
	}
	s.arrived(ctx, b.Digest, repository)
	return nil
}

// counted counts what is read, by whoever sends it.
type counted struct {
	mu sync.Mutex
	r  io.Reader
	n  int64
	// over: nothing more is counted.
	over bool
}

func (c *counted) Read(p []byte) (int, error) {
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	if over {
		return 0, errGone
	}
	n, err := c.r.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += int64(n)
	return n, err
}

func (c *counted) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.n
}
