package samplebundle

import (
	"path/filepath"
	"slices"

	"github.com/poolhouse/poolhouse/bundle"
	"github.com/poolhouse/poolhouse/charts"
)

// PlatformVersion is the tag of the images that the platform's charts name.
const PlatformVersion = "platform-1.0.0"

// devicePlugin is the chart of [DevicePlugin].
const devicePlugin = "nvidia-device-plugin"

// own are the charts of [WritePlatform], and standIns those of [Prerequisites].
var (
	own      = []string{charts.Inference, charts.Platform}
	standIns = []string{"aws-load-balancer-controller", "external-secrets"}
)

// PlatformCharts are the names of the charts of the platform and of what it stands on.
func PlatformCharts(gpus bool) []string {
	names := slices.Concat(own, standIns)
	if gpus {
		names = append(names, devicePlugin)
	}
	return names
}

// BuildPlatform compiles the components of the platform, as [Build] does the program that
// only answers. The first time takes as long as AWS's clients and PostgreSQL's do.
func BuildPlatform(architecture string) ([]byte, error) {
	return compile("github.com/poolhouse/poolhouse/internal/samplebundle/platform", architecture)
}

// WritePlatform is [Write] of another bundle: the charts of ours, and images of the
// components for some architectures. Roots are certificates in PEM of the authorities
// that its programs trust, as any image brings some: public ones and RDS's on AWS, a
// sandbox's in a sandbox.
func WritePlatform(dir string, program Program, roots []byte, architectures ...string) (o bundle.BuildOptions, err error) {
	o = bundle.BuildOptions{Name: "platform", Version: "1.0.0"}
	for _, name := range own {
		chart, err := charts.Folder(name)
		if err != nil {
			return o, err
		}
		to := filepath.Join(dir, name)
		if err := copyTo(to, chart); err != nil {
			return o, err
		}
		o.Charts = append(o.Charts, to)
	}
	programs := map[string][]byte{}
	for _, a := range architectures {
		if programs[a], err = program(a); err != nil {
			return o, err
		}
	}
	for _, image := range []string{"core-api", "inference"} {
		content, err := layout("poolhouse-sample/"+image+":"+PlatformVersion, programs, Gzipped, roots)
		if err != nil {
			return o, err
		}
		at := filepath.Join(dir, image)
		for name, body := range content {
			if err := write(filepath.Join(at, filepath.FromSlash(name)), body); err != nil {
				return o, err
			}
		}
		o.Images = append(o.Images, at)
	}
	return o, nil
}
