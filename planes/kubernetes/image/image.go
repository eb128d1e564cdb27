// Package image pulls the images of containers, and unpacks them.
//
// Invariants: what is unpacked has the digest that was asked for, layer by layer;
// an archive writes nothing outside of its image's folder, whatever its entries,
// and no more than the limits; an image is unpacked once, and whole or not at all.
//
// Limits: devices, named pipes, extended attributes, and the bits that run programs
// as another user are left out: containers have no use for them here. Files have
// their owners only if this process is root.
package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Image is one that is unpacked.
type Image struct {
	// Reference is what was asked for, and Digest that of the manifest for this
	// machine's platform.
	Reference, Digest string
	// Root is the folder of its files: to be read, not written.
	Root   string
	Config Config
}

// Config is what an image says about how it runs.
type Config struct {
	Entrypoint, Cmd, Env []string
	// User is "name", "name:group", or numbers of these; see [Image.User].
	User       string
	WorkingDir string
	StopSignal string
	Volumes    []string
}

// mostText is how long files that name users may be.
const mostText = 1 << 20

// User says what a user, "name:group" or numbers, is in the image by its
// /etc/passwd and /etc/group: numbers, and further groups. "" is root. An image
// without the files knows numbers only, whose group is 0.
func (i Image) User(user string) (uid, gid uint32, groups []uint32, err error) {
	root, err := os.OpenRoot(i.Root)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("look up user %q: %w", user, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	users, err := table(root, "etc/passwd", 4)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("look up user %q: %w", user, err)
	}
	known, err := table(root, "etc/group", 3)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("look up user %q: %w", user, err)
	}
	name, group, named := strings.Cut(user, ":")
	if name == "" {
		name = "0"
	}
	at := slices.IndexFunc(users, func(u []string) bool { return u[0] == name || u[2] == name })
	if at >= 0 {
		id, main := users[at][2], users[at][3]
		if uid, err = number(id); err == nil {
			gid, err = number(main)
		}
	} else {
		uid, err = number(name)
	}
	if err != nil {
		return 0, 0, nil, fmt.Errorf("the image has no user %q", name)
	}
	if named {
		at := slices.IndexFunc(known, func(g []string) bool { return g[0] == group || g[2] == group })
		if at >= 0 {
			group = known[at][2]
		}
		if gid, err = number(group); err != nil {
			return 0, 0, nil, fmt.Errorf("the image has no group %q", group)
		}
		return uid, gid, nil, nil
	}
	if at < 0 {
		return uid, gid, nil, nil
	}
	for _, g := range known {
		if len(g) > 3 && slices.Contains(strings.Split(g[3], ","), users[at][0]) {
			if n, err := number(g[2]); err == nil && n != gid {
				groups = append(groups, n)
			}
		}
	}
	return uid, gid, groups, nil
}

func number(s string) (uint32, error) {
	// Above it, numbers mean nobody.
	n, err := strconv.ParseUint(s, 10, 31)
	return uint32(n), err
}

// table reads a file of lines with fields; one that isn't there is empty.
func table(root *os.Root, name string, fields int) (lines [][]string, err error) {
	at, err := follow(root, path.Dir(name))
	if err != nil {
		return nil, err
	}
	at = path.Join(at, path.Base(name))
	// A link is followed if it leads to a file of the image.
	if at, err = follow(root, at); err != nil {
		return nil, err
	}
	f, err := root.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("/%s is no file", name))
	}
	text, err := io.ReadAll(io.LimitReader(f, mostText))
	for line := range strings.Lines(string(text)) {
		if l := strings.Split(strings.TrimSpace(line), ":"); len(l) >= fields {
			lines = append(lines, l)
		}
	}
	return lines, err
}
