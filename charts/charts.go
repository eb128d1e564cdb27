// Package charts holds the charts of ours: a platform for those who have no bundle of
// the vendor's, and model servers for it. Which images they run are values; those that
// stand there are the sample's (internal/samplebundle).
//
// Limits: bytes only. Nothing here renders a chart.
package charts

import (
	"embed"
	"fmt"
	"io/fs"
)

// The charts' names.
const (
	Platform  = "poolhouse-platform"
	Inference = "poolhouse-inference"
)

//go:embed all:poolhouse-platform all:poolhouse-inference
var files embed.FS

// Folder is a chart as a folder, Chart.yaml at its top.
func Folder(name string) (fs.FS, error) {
	if _, err := fs.Stat(files, name+"/Chart.yaml"); err != nil {
		return nil, fmt.Errorf("open the chart %s: %w", name, err)
	}
	return fs.Sub(files, name)
}
