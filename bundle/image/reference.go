package image

import (
	"regexp"
	"strings"
)

// Reference is the name of an image.
type Reference struct {
	// Registry is empty if the name has none; Docker then means docker.io.
	Registry   string
	Repository string
	Tag        string
	Digest     string
}

var (
	// https://github.com/distribution/reference/blob/main/reference.go
	registryForm   = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(:[0-9]+)?$`)
	repositoryForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagForm        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$`)
	digestForm     = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)
)

// Valid tells whether a digest is one: of SHA-256, in small letters.
func Valid(digest string) bool { return digestForm.MatchString(digest) }

// Parse reads a name. It is not ok if there can be no image of this name.
func Parse(s string) (r Reference, ok bool) {
	if len(s) > 512 {
		return r, false
	}
	s, digest, has := strings.Cut(s, "@")
	if has && !Valid(digest) {
		return r, false
	}
	r.Digest = digest
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		s, r.Tag = s[:i], s[i+1:]
		if !tagForm.MatchString(r.Tag) {
			return r, false
		}
	}
	if first, rest, ok := strings.Cut(s, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		if !registryForm.MatchString(first) {
			return r, false
		}
		r.Registry, s = first, rest
	}
	r.Repository = s
	return r, repositoryForm.MatchString(s)
}

// String is the name as it is written.
func (r Reference) String() string {
	s := r.Repository
	if r.Registry != "" {
		s = r.Registry + "/" + s
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Same tells whether two names are of the same repository. Docker Hub has names
// of its own, and a name without a registry gets one when it is installed.
func (r Reference) Same(o Reference) bool {
	return r.Path() == o.Path() && (r.Host() == o.Host() || r.Registry == "" || o.Registry == "")
}

// Host is the registry by one name, where it has several; empty if there is none.
func (r Reference) Host() string {
	switch r.Registry {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return r.Registry
}

// Path is the repository without what a name may leave out.
func (r Reference) Path() string {
	if r.Registry == "" || r.Host() == "docker.io" {
		return strings.TrimPrefix(r.Repository, "library/")
	}
	return r.Repository
}
