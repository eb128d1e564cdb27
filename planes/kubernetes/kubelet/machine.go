package kubelet

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	cadvisorapiv2 "github.com/google/cadvisor/info/v2"
	noop "go.opentelemetry.io/otel/trace/noop"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/container"
	"k8s.io/kubernetes/pkg/kubelet/util"
	"k8s.io/kubernetes/pkg/util/oom"
	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/configmap"
	"k8s.io/kubernetes/pkg/volume/downwardapi"
	"k8s.io/kubernetes/pkg/volume/emptydir"
	"k8s.io/kubernetes/pkg/volume/projected"
	"k8s.io/kubernetes/pkg/volume/secret"
	"k8s.io/kubernetes/pkg/volume/util/hostutil"
	"k8s.io/kubernetes/pkg/volume/util/subpath"
	"k8s.io/mount-utils"
)

// dependencies are what a kubelet has of its machine.
func (o Options) dependencies(dir string, client kubernetes.Interface, recorder record.EventRecorderLogger) *kubelet.Dependencies {
	var plugins []volume.VolumePlugin
	for _, p := range [][]volume.VolumePlugin{emptydir.ProbeVolumePlugins(), configmap.ProbeVolumePlugins(), secret.ProbeVolumePlugins(), downwardapi.ProbeVolumePlugins(), projected.ProbeVolumePlugins()} {
		plugins = append(plugins, p...)
	}
	return &kubelet.Dependencies{
		// Without a client of its own for that, it leaves its node to others.
		KubeClient: client, HeartbeatClient: nil, EventClient: client.CoreV1(), Recorder: recorder,
		CAdvisorInterface: machine{memory: o.Memory, cpus: o.CPUs}, ContainerManager: cm.NewStubContainerManager(), OOMAdjuster: oom.NewFakeOOMAdjuster(),
		OSInterface: system{dir: dir}, VolumePlugins: plugins,
		// Mounts are remembered and not made: a volume is its folder.
		Mounter: mount.NewFakeMounter(nil), HostUtil: host{hostutil.NewHostUtil()}, Subpather: subpaths{},
		PodStartupLatencyTracker: util.NewPodStartupLatencyTracker(), NodeStartupLatencyTracker: util.NewNodeStartupLatencyTracker(),
		TracerProvider: noop.NewTracerProvider(),
	}
}

// machine is what cAdvisor tells of a node: its size.
type machine struct {
	memory uint64
	cpus   int
}

var _ cadvisor.Interface = machine{}

func (machine) Start() error { return nil }

func (m machine) MachineInfo() (*cadvisorapi.MachineInfo, error) {
	return &cadvisorapi.MachineInfo{NumCores: m.cpus, MemoryCapacity: m.memory}, nil
}

func (machine) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	return &cadvisorapi.VersionInfo{}, nil
}

var errNoStats = errors.New("statistics of nodes and pods are not modelled by the sandbox")

func (machine) ContainerInfoV2(string, cadvisorapiv2.RequestOptions) (map[string]cadvisorapiv2.ContainerInfo, error) {
	return nil, errNoStats
}

func (machine) GetRequestedContainersInfo(string, cadvisorapiv2.RequestOptions) (map[string]*cadvisorapi.ContainerInfo, error) {
	return nil, errNoStats
}

func (machine) ImagesFsInfo(context.Context) (cadvisorapiv2.FsInfo, error) {
	return cadvisorapiv2.FsInfo{}, errNoStats
}

func (machine) RootFsInfo() (cadvisorapiv2.FsInfo, error) { return cadvisorapiv2.FsInfo{}, errNoStats }

func (machine) ContainerFsInfo(context.Context) (cadvisorapiv2.FsInfo, error) {
	return cadvisorapiv2.FsInfo{}, errNoStats
}

func (machine) GetDirFsInfo(string) (cadvisorapiv2.FsInfo, error) {
	return cadvisorapiv2.FsInfo{}, errNoStats
}

// system is the machine's, but for the folder of links to logs that other
// programs would read: it isn't this machine's.
type system struct {
	container.RealOS
	dir string
}

func (s system) own(path string) string {
	if rest, ok := strings.CutPrefix(path, kubelet.DefaultContainerLogsDir); ok {
		return filepath.Join(s.dir, "containers") + rest
	}
	return path
}

func (s system) MkdirAll(path string, perm os.FileMode) error {
	return s.RealOS.MkdirAll(s.own(path), perm)
}

func (s system) Symlink(to, path string) error { return s.RealOS.Symlink(to, s.own(path)) }

func (s system) Stat(path string) (os.FileInfo, error) { return s.RealOS.Stat(s.own(path)) }

func (s system) Remove(path string) error { return s.RealOS.Remove(s.own(path)) }

func (s system) RemoveAll(path string) error { return s.RealOS.RemoveAll(s.own(path)) }

func (s system) Glob(pattern string) ([]string, error) { return s.RealOS.Glob(s.own(pattern)) }

func (s system) ReadDir(path string) ([]os.DirEntry, error) { return s.RealOS.ReadDir(s.own(path)) }

// host is the machine, whose mounts stay as they are.
type host struct{ *hostutil.HostUtil }

func (host) MakeRShared(string) error { return nil }

// subpaths are parts of volumes, which are given to containers by their path.
type subpaths struct{}

var _ subpath.Interface = subpaths{}

// CleanSubPaths implements [subpath.Interface]: nothing was mounted.
func (subpaths) CleanSubPaths(string, string) error { return nil }

// PrepareSafeSubpath implements [subpath.Interface]: the runtime follows no link
// out of a volume's folder.
func (subpaths) PrepareSafeSubpath(s subpath.Subpath) (string, func(), error) {
	return s.Path, func() {}, nil
}

// SafeMakeDir implements [subpath.Interface]; links that lead out of the base
// are not followed.
func (subpaths) SafeMakeDir(dir, base string, perm os.FileMode) error {
	rel := dir
	if filepath.IsAbs(dir) {
		var err error
		if rel, err = filepath.Rel(base, dir); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // it was only read
	if info, err := root.Stat(rel); err == nil && info.IsDir() {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The mode is that of the volume, whatever this process masks.
	at := ""
	for part := range strings.SplitSeq(filepath.ToSlash(filepath.Clean(rel)), "/") {
		at = filepath.Join(at, part)
		if err := root.Mkdir(at, perm&fs.ModePerm); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := root.Chmod(at, perm&fs.ModePerm); err != nil {
			return err
		}
	}
	return nil
}
