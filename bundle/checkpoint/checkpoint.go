// Package checkpoint is what checkpoints of models are called: by the archive or folder
// that one comes in, unless somebody gives it another name.
package checkpoint

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// name is what checkpoints are called, in a bucket as in bundle.yaml.
var name = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`)

// CheckName refuses a name that no checkpoint can have.
func CheckName(s string) error {
	if !name.MatchString(s) {
		return fmt.Errorf("%q is no name of a checkpoint: write up to 128 letters, digits, dots and dashes, for example laguna-xs-2.2", s)
	}
	return nil
}

// NameOf is the name that the vendor's uploader gives the checkpoint of an archive
// or folder: that of the file, without its endings. It may be one that none can have.
func NameOf(source string) string {
	n := path.Base(strings.TrimRight(strings.ReplaceAll(source, `\`, "/"), "/"))
	return strings.TrimSuffix(n, ending(n))
}

// IsArchive tells by its name that a file is an archive.
func IsArchive(name string) bool { return ending(name) != "" }

// ending is that of an archive's name; "" if it has none.
func ending(name string) string {
	for _, e := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst"} {
		if strings.HasSuffix(name, e) {
			return e
		}
	}
	return ""
}
