//go:build !unix

package state

import (
	"errors"
	"os"
)

// hold refuses: without locks that go with their process, two of them could
// write at once, or a lock outlast its holder.
func hold(*os.File) (bool, error) {
	return false, errors.New("states can be kept on Unix systems only")
}
