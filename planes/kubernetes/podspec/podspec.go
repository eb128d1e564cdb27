// Package podspec says of a pod's specification what of it can run on the
// sandbox's nodes, and how a kubelet sees it there.
//
// It is pure but for [Probe], which goes over a network that it is given.
package podspec

import (
	"fmt"

	core "k8s.io/api/core/v1"
)

// NotRun is the reason that pods are not ready for whose processes can't run,
// and begins the messages of everything that can't.
const (
	NotRun  = "ProcessNotRun"
	Because = "process not run: "
)

// Unfit says why no process of a pod can run on the sandbox's nodes, "" if that
// isn't known before it is tried. It is the same for a pod's whole life.
func Unfit(p *core.Pod) string {
	s := &p.Spec
	switch {
	case s.OS != nil && s.OS.Name != core.Linux:
		return fmt.Sprintf("pods of %s are not modelled by the sandbox", s.OS.Name)
	case s.HostNetwork:
		return "the network of a node (hostNetwork) is not modelled by the sandbox"
	case s.HostPID, s.HostIPC:
		return "processes of a node (hostPID, hostIPC) are not modelled by the sandbox"
	case s.HostUsers != nil && !*s.HostUsers:
		return "user namespaces of pods (hostUsers) are not modelled by the sandbox"
	case s.RuntimeClassName != nil && *s.RuntimeClassName != "":
		return "runtime classes are not modelled by the sandbox"
	}
	for _, v := range s.Volumes {
		if kind := unknownVolume(&v.VolumeSource); kind != "" {
			return fmt.Sprintf("volume %s: %s is not modelled by the sandbox", v.Name, kind)
		}
	}
	for _, list := range [][]core.Container{s.InitContainers, s.Containers} {
		for i := range list {
			if why := unfitContainer(&list[i]); why != "" {
				return fmt.Sprintf("container %s: %s", list[i].Name, why)
			}
		}
	}
	return ""
}

func unfitContainer(c *core.Container) string {
	if x := c.SecurityContext; x != nil && x.Privileged != nil && *x.Privileged {
		return "privileged containers are not modelled by the sandbox"
	}
	if len(c.VolumeDevices) > 0 {
		return "block devices are not modelled by the sandbox"
	}
	for _, p := range c.Ports {
		if p.HostPort != 0 {
			return fmt.Sprintf("ports of a node (hostPort %d) are not modelled by the sandbox", p.HostPort)
		}
	}
	return ""
}

// unknownVolume is the kind of a volume that isn't modelled, or "".
func unknownVolume(v *core.VolumeSource) string {
	switch {
	case v.EmptyDir != nil:
		if v.EmptyDir.Medium != core.StorageMediumDefault && v.EmptyDir.Medium != core.StorageMediumMemory {
			return "an emptyDir of huge pages"
		}
		return ""
	case v.ConfigMap != nil, v.Secret != nil, v.DownwardAPI != nil, v.Projected != nil:
		return ""
	case v.PersistentVolumeClaim != nil:
		return "what a persistentVolumeClaim holds"
	case v.Ephemeral != nil:
		return "what an ephemeral volume holds"
	case v.HostPath != nil:
		return "a folder of a node (hostPath)"
	case v.CSI != nil:
		return "a volume of a CSI driver"
	case v.Image != nil:
		return "a volume that is an image"
	default:
		return "its kind"
	}
}
