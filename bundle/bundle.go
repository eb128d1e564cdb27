// Package bundle is what a deployment is made from besides AWS: charts, images,
// checkpoints of models, scripts. A bundle is a folder or an archive in the
// layout in which the vendor publishes it, with the folders charts, containers
// and scripts, or the same with a bundle.yaml that says what is in it.
//
// [Read] goes through a bundle once, from its first byte to its last, and computes
// all that it says from content; nothing is unpacked and little is kept in memory.
// With [Options.Skim] it leaves the bytes of layers to who compares them later.
// [Build] makes bundles, the same bytes from the same content.
package bundle

import (
	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/chart"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/bundle/image"
)

// Contents are what a bundle holds.
type Contents struct {
	// Path is where it was read from.
	Path   string         `json:"path"`
	Format archive.Format `json:"format"`
	// Name and Version are those of bundle.yaml; without one they are empty.
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	// Described: there is a bundle.yaml. Summed: there is a list of the digests
	// of all files. Sealed: the archive as a whole was compared with its digest.
	Described bool `json:"described"`
	Summed    bool `json:"summed"`
	Sealed    bool `json:"sealed"`
	// Skimmed: it was read with [Options.Skim].
	Skimmed bool `json:"-"`
	// Files and Size are of all files, unpacked.
	Files int   `json:"files"`
	Size  int64 `json:"size"`

	Charts      []Chart      `json:"charts"`
	Images      []Image      `json:"images"`
	Checkpoints []Checkpoint `json:"checkpoints"`
	Scripts     []File       `json:"scripts"`
	// Unknown are files that the layout has no place for.
	Unknown []File `json:"unknown"`
	// Missing are images that charts name and that are not there.
	Missing []Missing `json:"missing"`
	// Faults are all that is wrong with it, Missing among them.
	Faults fault.Faults `json:"faults"`

	files   map[string]File
	damaged bool
	shelf   *shelf
}

// Damaged tells whether there are faults besides images that are missing.
func (c *Contents) Damaged() bool { return c.damaged }

// Chart is a chart of a bundle.
type Chart struct {
	File string `json:"file"`
	chart.Chart
}

// Image is an image of a bundle.
type Image struct {
	File string `json:"file"`
	image.Image
}

// File is a file of a bundle.
type File struct {
	Name   string `json:"file"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
}

// Missing is an image that a chart names and that is not there.
type Missing struct {
	Chart string `json:"chart"`
	Image string `json:"image"`
	Place string `json:"place"`
	// Reason says why what is there does not do, if something comes near.
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
}

// Names of a bundle's own files.
const (
	Description = "bundle.yaml"
	Sums        = "SHA256SUMS"
	// SumSuffix is that of the file beside an archive with its digest.
	SumSuffix = ".sha256"
)
