//go:build !unix

package sweep_test

import (
	"testing"
	"time"
)

// cpu is not known here: a sweep takes no time.
func cpu(*testing.T) time.Duration { return 0 }
