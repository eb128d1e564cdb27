package wire

import (
	"testing"
	"time"
)

// A presigned request to STS is good for 15 minutes, whatever it says; one to another
// service for as long as it says.
func TestLifeOfPresigned(t *testing.T) {
	t.Parallel()
	for service, want := range map[string]time.Duration{"sts": 15 * time.Minute, "s3": time.Minute} {
		if got := (&signature{service: service, expires: time.Minute}).life(); got != want {
			t.Errorf("%s: %s", service, got)
		}
	}
}
