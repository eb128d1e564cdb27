package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
	"github.com/poolhouse/poolhouse/images/registry"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// PushOptions say how images are pushed.
type PushOptions struct {
	Clock clock.Clock
	// Meter counts by images, and Limit bounds the bytes; both may be nil.
	Meter *transfer.Meter
	Limit *transfer.Limit
}

const (
	// uploads is how many layers are sent side by side.
	uploads = 4
	// small is up to which size a layer is held in memory while it is sent, so that
	// it can be sent again at once.
	small = 2 << 20
)

// Failure is an image that did not get there, or not with all its tags.
type Failure struct {
	Image string
	Err   error
}

// PushError says which images did not get there. The others are there, and nothing
// of these can be seen that isn't whole.
type PushError struct{ Failures []Failure }

func (e *PushError) Error() string {
	var texts []string
	for _, f := range e.Failures {
		texts = append(texts, f.Image+": "+f.Err.Error())
	}
	return "push " + strings.Join(texts, "; ")
}

// Unwrap gives the reasons.
func (e *PushError) Unwrap() []error {
	var errs []error
	for _, f := range e.Failures {
		errs = append(errs, f.Err)
	}
	return errs
}

// Push sends what a plan found missing. It can be repeated, with a plan made anew,
// after any error, an interrupt or a kill. An error is the context's, or a
// [*PushError] where images are left out, or that the bundle can't be read any
// more.
func (p *Plan) Push(ctx context.Context, o PushOptions) error {
	s := &pusher{
		plan: p, PushOptions: o, alone: p.registry.Alone, pool: newPool(), slots: make(chan struct{}, uploads),
		met: map[string]bool{}, refusals: map[place]int{}, lacks: map[string][]string{}, held: maps.Clone(p.somewhere), flying: map[place]bool{}, failed: map[place]error{}, unmounted: map[place]bool{},
	}
	for digest, repositories := range p.lacks {
		s.lacks[digest] = slices.Clone(repositories)
	}
	s.open()
	err := s.close(ctx, s.passes(ctx))
	p.pushed = err == nil
	return err
}

// place is a layer in a repository.
type place struct{ digest, repository string }

// pusher is a push in progress.
type pusher struct {
	plan *Plan
	PushOptions
	pool  *pool
	slots chan struct{}
	work  sync.WaitGroup

	mu     sync.Mutex
	images []*moving
	lacks  map[string][]string
	// held are layers that are somewhere, and will be mounted elsewhere once an
	// image there has them: ECR gives no layer out before.
	// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html
	held map[string]bool
	// alone: the registry does not mount layers.
	alone  bool
	flying map[place]bool  // what is being sent or mounted
	failed map[place]error // what is not tried any more
	// unmounted is where the registry refused to mount: there the layer is sent.
	unmounted map[place]bool
	// met are the layers that came by in this pass, or were on another way meanwhile.
	met map[string]bool
	// refusals count how often a repository took what arrived for another layer: when it
	// comes by again it is compared with its digest here too, to say whether it is wrong
	// before it is sent.
	refusals map[place]int
	last     error // the latest error of a pass that may pass
	done     int   // layers and images that got somewhere, or were given up
}

// moving is an image that is pushed.
type moving struct {
	*Image
	item *transfer.Item
	left map[string]bool // layers that are not there yet
	put  bool            // its manifests are being put, or were
	late bool            // they are put again in the next pass
	err  error
}

// open begins to count.
func (s *pusher) open() {
	counted := map[[2]string]bool{}
	for n := range s.plan.Images {
		m := &moving{Image: &s.plan.Images[n], left: map[string]bool{}}
		m.item = s.Meter.Start(m.Name(), m.Size)
		skip := m.Size
		for _, b := range m.blobs {
			key := [2]string{b.Digest, m.Repository}
			if slices.Contains(s.lacks[b.Digest], m.Repository) && !m.Whole {
				m.left[b.Digest] = true
				if !counted[key] { // another image of the repository counts it
					skip -= b.Size
				}
			}
			counted[key] = true
		}
		m.item.Skip(skip)
		if m.Complete() {
			m.put = true
			m.item.End(nil)
		}
		s.images = append(s.images, m)
	}
}

// close ends the counting, and says what is missing.
func (s *pusher) close(ctx context.Context, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &PushError{}
	for _, m := range s.images {
		if m.put && m.err == nil {
			continue
		}
		why := m.err
		for _, digest := range slices.Sorted(maps.Keys(m.left)) {
			if f := s.failed[place{digest, m.Repository}]; f != nil && why == nil {
				why = f
			}
		}
		switch {
		case why != nil:
		case ctx.Err() != nil:
			why = context.Cause(ctx)
		case err != nil:
			why = err
		default:
			why = errors.New("not all of its layers are there")
		}
		m.item.End(why)
		out.Failures = append(out.Failures, Failure{m.Name(), why})
	}
	switch {
	case ctx.Err() != nil && len(out.Failures) > 0:
		return fmt.Errorf("push images: %w", context.Cause(ctx))
	case err != nil && !registry.IsTransient(err):
		return fmt.Errorf("push images: %w", err)
	case len(out.Failures) > 0:
		return out
	}
	return nil
}

// passes lets the bundle run through until everything is there that can be.
func (s *pusher) passes(ctx context.Context) error {
	for digest, from := range s.plan.has {
		if len(s.plan.lacks[digest]) > 0 && !s.plan.registry.Alone {
			s.slots <- struct{}{}
			s.work.Go(func() {
				defer func() { <-s.slots }()
				s.mount(ctx, digest, from)
			})
		}
	}
	s.work.Wait()
	for failures := 0; ctx.Err() == nil; {
		before := s.done
		due := s.begin()
		s.putReady(ctx)
		var err error
		if len(due) > 0 {
			err = s.plan.source.layers(ctx, s.wanted, func(b image.Blob, r io.Reader) error { return s.visit(ctx, b, r) }, s.lost)
		}
		s.work.Wait()
		if err != nil {
			return err
		}
		if ctx.Err() == nil {
			s.missed(due)
		}
		if !s.anyLeft() {
			break
		}
		// What was not mounted by now goes by itself.
		clear(s.held)
		if failures++; s.done > before {
			failures = 1
		}
		if failures == registry.Attempts {
			return s.last
		}
		if s.last == nil {
			continue
		}
		if err := registry.Pause(ctx, s.Clock, failures, s.last); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a pass, and says which layers it has to find.
func (s *pusher) begin() (due []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.met = nil, map[string]bool{}
	for _, m := range s.images {
		m.late = false
	}
	for digest := range s.lacks {
		if len(s.destinations(digest)) > 0 {
			due = append(due, digest)
		}
	}
	return due
}

// missed takes down which of the layers did not come by that were due in a pass: the
// bundle has them no more.
func (s *pusher) missed(due []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, digest := range due {
		if s.met[digest] {
			continue
		}
		for _, repository := range s.lacks[digest] {
			at := place{digest, repository}
			s.giveUp(at, fault.Faults{{Place: s.file(digest), Reason: fmt.Sprintf("has the layer %s no more, which it had when the bundle was read", digest), Fix: "put it back, and push the bundle again when nobody writes to it"}})
		}
	}
}

// file is where the bundle had a layer.
func (s *pusher) file(digest string) string {
	for _, m := range s.images {
		for _, b := range m.blobs {
			if b.Digest == digest {
				return fault.Inside(m.File, b.File)
			}
		}
	}
	return ""
}

// destinations are the repositories that a layer is sent to if it comes by now: all
// that lack it, or one, from which it is mounted into the others. Where it is on its
// way it is not sent. The caller holds mu.
func (s *pusher) destinations(digest string) (to []string) {
	flying, sole := false, false
	for _, repository := range s.plan.lacks[digest] {
		flying = flying || s.flying[place{digest, repository}]
	}
	for _, repository := range s.lacks[digest] {
		at := place{digest, repository}
		switch {
		case s.flying[at] || s.failed[at] != nil:
		case s.alone, s.unmounted[at]:
			to = append(to, repository)
		case !sole && !flying && !s.held[digest]:
			sole = true
			to = append(to, repository)
		}
	}
	return to
}

// wanted tells whether a layer is to be sent.
func (s *pusher) wanted(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.destinations(digest)) > 0
}

// anyLeft tells whether another pass may get something somewhere.
func (s *pusher) anyLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for digest, repositories := range s.lacks {
		for _, repository := range repositories {
			if s.failed[place{digest, repository}] == nil {
				return true
			}
		}
	}
	return slices.ContainsFunc(s.images, func(m *moving) bool { return !m.put && len(m.left) == 0 })
}

// arrived takes down that a repository has a layer, and puts the manifests of the
// images that are whole by that.
func (s *pusher) arrived(ctx context.Context, digest, repository string) {
	s.mu.Lock()
	s.done++
	s.held[digest], s.met[digest] = true, true
	s.lacks[digest] = slices.DeleteFunc(s.lacks[digest], func(r string) bool { return r == repository })
	for _, m := range s.images {
		if m.Repository == repository {
			delete(m.left, digest)
		}
	}
	s.mu.Unlock()
	s.putReady(ctx)
}

// putReady puts the manifests of all images that have their layers.
func (s *pusher) putReady(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.images {
		if !m.put && !m.late && len(m.left) == 0 {
			m.put = true
			s.work.Go(func() {
				err := s.manifests(ctx, m)
				s.mu.Lock()
				m.err = err
				switch {
				case err == nil:
					s.done++
				case registry.IsTransient(err):
					m.put, m.late, s.last = false, true, err
				}
				s.mu.Unlock()
				if err != nil {
					return
				}
				m.item.End(nil)
				for _, b := range m.blobs {
					s.mount(ctx, b.Digest, m.Repository)
				}
			})
		}
	}
}

// manifests puts an image's manifests, each after those that it lists.
func (s *pusher) manifests(ctx context.Context, m *moving) error {
	client := s.plan.registry.Client
	for n, part := range m.image.Manifests {
		references := []string{part.Digest}
		switch {
		case n == len(m.image.Manifests)-1:
			if references = m.Lacks; len(m.Tags) == 0 {
				references = []string{part.Digest}
			}
		case m.Whole:
			continue
		}
		for _, reference := range references {
			if err := client.Put(ctx, m.Repository, reference, registry.Manifest{Digest: part.Digest, MediaType: part.MediaType, Text: part.Text}); err != nil {
				return err
			}
		}
	}
	return nil
}

// counting is the item that a layer counts for in a repository.
func (s *pusher) counting(digest, repository string) *transfer.Item {
	for _, m := range s.images {
		if m.Repository == repository && !m.Whole && slices.ContainsFunc(m.blobs, func(b image.Blob) bool { return b.Digest == digest }) {
			return m.item
		}
	}
	return nil
}

// mount takes a layer from a repository that has it into those that lack it and get
// it by no other way, as long as the registry does that.
func (s *pusher) mount(ctx context.Context, digest, from string) {
	for {
		to, ok := s.mountable(digest)
		if !ok {
			return
		}
		upload, err := s.plan.registry.Client.Begin(ctx, to, digest, from)
		_, refused := errors.AsType[*registry.Error](err)
		switch {
		case err == nil && upload == nil:
			s.counting(digest, to).Skip(s.size(digest))
			s.arrived(ctx, digest, to)
		case err != nil && (!refused || registry.IsTransient(err)):
			s.mishap(digest, to, err)
		}
		s.mu.Lock()
		s.alone = s.alone || upload != nil
		if refused && !registry.IsTransient(err) {
			s.unmounted[place{digest, to}] = true
		}
		delete(s.flying, place{digest, to})
		s.mu.Unlock()
		if err != nil && !refused || registry.IsTransient(err) {
			return
		}
	}
}

// mountable is a repository that a layer can be mounted into, and marks it.
func (s *pusher) mountable(digest string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone {
		return "", false
	}
	for _, repository := range s.lacks[digest] {
		at := place{digest, repository}
		if !s.flying[at] && !s.unmounted[at] && s.failed[at] == nil {
			s.flying[at], s.met[digest] = true, true
			return repository, true
		}
	}
	return "", false
}

func (s *pusher) size(digest string) int64 {
	for _, m := range s.images {
		for _, b := range m.blobs {
			if b.Digest == digest {
				return b.Size
			}
		}
	}
	return 0
}

// named is an error that names a layer.
func named(digest string, err error) error {
	if strings.Contains(err.Error(), digest) {
		return err
	}
	return fmt.Errorf("layer %s: %w", digest, err)
}

// tolerated is how many refusals of a layer as another one may pass: one of bytes that
// were not compared with their digest, and one of bytes that were, and so were damaged
// on their way.
const tolerated = 2

// mishap takes down that something went wrong with a layer; what can't pass is not
// tried any more.
func (s *pusher) mishap(digest, repository string, err error) {
	err = named(digest, err)
	at := place{digest, repository}
	s.mu.Lock()
	defer s.mu.Unlock()
	if registry.IsOther(err) {
		if s.refusals[at]++; s.refusals[at] <= tolerated {
			return // it is compared when it comes by again
		}
	}
	if registry.IsTransient(err) {
		s.last = err
		return
	}
	s.giveUp(at, err)
}

// giveUp takes down why a layer is not tried any more. The caller holds mu.
func (s *pusher) giveUp(at place, err error) {
	if s.failed[at] == nil {
		s.failed[at] = err
		s.done++
	}
}
