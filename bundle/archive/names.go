package archive

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/poolhouse/poolhouse/bundle/fault"
)

// names are the names that an archive has used.
type names struct {
	b     *Budget
	place string
	// seen has how a file or folder is written, by its name without regard to
	// case.
	seen map[string]used
}

type used struct {
	as   string
	file bool
}

func newNames(b *Budget, place string) *names {
	return &names{b: b, place: place, seen: map[string]used{}}
}

// take cleans a name and says whether it may be used. A name is refused with a
// fault; an error ends the reading.
func (n *names) take(name string, folder bool) (string, bool, error) {
	clean, reason, fix := n.b.Clean(name)
	if reason != "" {
		n.b.Add(fault.Inside(n.place, fault.Quoted(name)), fix, "%s", reason)
		return "", false, nil
	}
	if clean == "." {
		return clean, folder, nil
	}
	for i := 0; i <= len(clean); i++ {
		if i < len(clean) && clean[i] != '/' {
			continue
		}
		prefix, file := clean[:i], i == len(clean) && !folder
		key := Fold(prefix)
		before, known := n.seen[key]
		refuse := func(reason, fix string) (string, bool, error) {
			n.b.Add(fault.Inside(n.place, clean), fix, "%s", reason)
			return "", false, nil
		}
		switch {
		case !known:
			n.b.names += len(prefix)
			if n.b.names > n.b.Names {
				return "", false, stop(n.place, "look at what made it before you use it", "has names of more than %d bytes in all", n.b.Names)
			}
			n.seen[key] = used{prefix, file}
		case before.as != prefix:
			return refuse("differs from "+before.as+" in case only", "rename one of the two: on some machines they are the same")
		case before.file && file:
			return refuse("is there twice", "keep one of the two: programs differ in which they take")
		case before.file != file:
			return refuse(before.as+" is both a file and a folder", "rename one of the two")
		}
	}
	return clean, true, nil
}

// Clean is a name without what means nothing, or why it is refused.
func (l Limits) Clean(name string) (clean, reason, fix string) {
	const rename = "make the archive again from files with plain names"
	switch {
	case name == "":
		return "", "has no name", rename
	case len(name) > l.Name:
		return "", "has a name that is too long", rename
	case !utf8.ValidString(name):
		return "", "has a name that is not UTF-8", rename
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }):
		return "", "has control characters in its name", rename
	case strings.Contains(name, `\`):
		return "", "has a backslash in its name, which some systems take for a folder", rename
	case strings.HasPrefix(name, "/"), len(name) > 1 && name[1] == ':':
		return "", "is an absolute path", "make the archive from within its folder, with relative names"
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", "leads out of the archive", "make the archive from within its folder, without .. in names"
		}
	}
	clean = path.Clean(name)
	if strings.Count(clean, "/") >= l.Depth {
		return "", "lies too many folders deep", rename
	}
	return clean, "", ""
}

// Fold is a name without regard to case.
func Fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
