package images

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/bundle/image"
)

func waiting(lacks ...string) *pusher {
	return &pusher{
		plan:  &Plan{registry: &Registry{}, lacks: map[string][]string{"d": {"a", "b", "c"}}},
		slots: make(chan struct{}, uploads), lacks: map[string][]string{"d": lacks}, held: map[string]bool{}, met: map[string]bool{}, refusals: map[place]int{},
		flying: map[place]bool{}, failed: map[place]error{}, unmounted: map[place]bool{},
	}
}

// A layer that got everywhere while it waited for its turn is not sent.
func TestArrivedWhileItWaited(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*pusher{"everywhere": waiting(), "on its way": waiting("a"), "given up": waiting("a")} {
		switch name {
		case "on its way":
			s.flying[place{"d", "a"}] = true
		case "given up":
			s.failed[place{"d", "a"}] = errors.New("denied")
		}
		if err := s.visit(t.Context(), image.Blob{Digest: "d", Size: 1}, strings.NewReader("x")); err != nil || len(s.slots) > 0 {
			t.Errorf("%s: %v, %d slots", name, err, len(s.slots))
		}
	}
}

// Where a layer goes: to one repository, or to all where nothing is mounted, and
// nowhere twice at the same time.
func TestDestinations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*pusher)
		sent   string
		mount  string
	}{
		{"nobody has it", func(*pusher) {}, "a", "a"},
		{"somebody has it", func(s *pusher) { s.held["d"] = true }, "", "a"},
		{"on its way to one", func(s *pusher) { s.flying[place{"d", "a"}] = true }, "", "b"},
		{"nothing is mounted", func(s *pusher) { s.alone = true }, "a b c", ""},
		{"nothing is mounted, and it is on its way", func(s *pusher) { s.alone, s.flying[place{"d", "b"}] = true, true }, "a c", ""},
		{"one is denied", func(s *pusher) { s.failed[place{"d", "a"}] = errors.New("denied") }, "b", "b"},
		{"one refuses to mount", func(s *pusher) { s.held["d"], s.unmounted[place{"d", "a"}] = true, true }, "a", "b"},
	} {
		s := waiting("a", "b", "c")
		c.change(s)
		if got := strings.Join(s.destinations("d"), " "); got != c.sent {
			t.Errorf("%s: it is sent to %q, not to %q", c.name, got, c.sent)
		}
		if got, ok := s.mountable("d"); got != c.mount || ok != (c.mount != "") {
			t.Errorf("%s: it is mounted into %q, not %q", c.name, got, c.mount)
		}
	}
}

// An image that is missing without a known reason is still an error that can be read.
func TestReasonIsNeverMissing(t *testing.T) {
	t.Parallel()
	s := waiting("a")
	s.images = []*moving{{Image: &Image{Repository: "a", Digest: "sha256:x"}, left: map[string]bool{"d": true}}}
	err := s.close(t.Context(), nil)
	if failed, ok := errors.AsType[*PushError](err); !ok || slices.ContainsFunc(failed.Failures, func(f Failure) bool { return f.Err == nil }) || err.Error() == "" {
		t.Errorf("the error is %v", err)
	}
}
