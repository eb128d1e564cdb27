package bundle

import "github.com/poolhouse/poolhouse/bundle/fault"

// ParseManifest reads a bundle.yaml. The error is all faults.
func ParseManifest(text []byte) (*Manifest, error) {
	var l fault.List
	m := parseManifest(text, &l)
	if l.Len() > 0 {
		return nil, l.Faults()
	}
	return m, nil
}
