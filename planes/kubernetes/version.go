package kubernetes

import (
	"strings"
	_ "unsafe" // for go:linkname

	"k8s.io/component-base/version"
)

// Version is that of the Kubernetes that is linked: go.mod's.
const Version = "v1.36.3"

// What Kubernetes says of its version is written by its own build's linker
// flags. Without them it is v0.0.0, which charts that want a version refuse; and
// whoever builds this program would have to know them.
var (
	//go:linkname gitVersion k8s.io/component-base/version.gitVersion
	gitVersion string
	//go:linkname gitMajor k8s.io/component-base/version.gitMajor
	gitMajor string
	//go:linkname gitMinor k8s.io/component-base/version.gitMinor
	gitMinor string
)

// name has Kubernetes say its version.
func name() error {
	parts := strings.Split(strings.TrimPrefix(Version, "v"), ".")
	gitVersion, gitMajor, gitMinor = Version, parts[0], parts[1]
	// What it says is a copy.
	return version.SetDynamicVersion(Version)
}
