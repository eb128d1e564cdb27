//go:build !unix

package plane

import (
	"errors"
	"os"
)

// hold refuses: there are no locks that go with their process.
func hold(*os.File) (bool, error) {
	return false, errors.New("data planes run on Unix systems only")
}
