package config

import (
	"fmt"
	"slices"
	"strings"
)

func (k *checker) group(g *NodeGroup) {
	path := "compute[" + string(g.Role) + "]"
	if g.Role != WebAssistant && len(g.Also) > 0 {
		k.fault(path+".also", "only web-assistant may share its nodes, and only with interface", "remove it")
	}
	for _, r := range g.Also {
		if slices.ContainsFunc(k.c.Compute, func(o NodeGroup) bool { return o.Role == r && o.Role != g.Role }) {
			k.fault(path+".also", string(r)+" has a group of its own too", "remove one of the two")
		}
	}
	k.sizes(path, g)
	k.types(path, g)
	k.reservation(path, g)
	for key := range g.Labels {
		if p := reserved(key); p != "" {
			k.fault(child(path+".labels", key), "labels of "+p+" are reserved", "choose another key")
		}
	}
	seen := map[string]bool{}
	for i, t := range g.Taints {
		at := fmt.Sprintf("%s.taints[%d]", path, i)
		if p := reserved(t.Key); p != "" {
			k.fault(at+".key", "taints of "+p+" are reserved", "choose another key")
		}
		if id := t.Key + ":" + t.Effect; t.Key != "" && seen[id] {
			k.fault(at, "taint "+id+" is there twice", "remove one")
		} else {
			seen[id] = true
		}
	}
}

func (k *checker) sizes(path string, g *NodeGroup) {
	switch {
	case g.Min > g.Max:
		k.fault(k.nearer(path, "min", "max"), fmt.Sprintf("min %d is more than max %d", g.Min, g.Max), "set min, desired and max in this order of size")
	case g.Desired < g.Min:
		k.fault(k.nearer(path, "desired", "min"), fmt.Sprintf("desired %d is less than min %d", g.Desired, g.Min), fmt.Sprintf("set desired from %d to %d", g.Min, g.Max))
	case g.Desired > g.Max:
		k.fault(k.nearer(path, "desired", "max"), fmt.Sprintf("desired %d is more than max %d", g.Desired, g.Max), fmt.Sprintf("set desired from %d to %d", g.Min, g.Max))
	}
	if g.Role != GPU && g.Min == 0 {
		k.fault(path+".min", "is 0, and nothing runs without "+string(g.Role)+" nodes", "write 1 or more")
	}
}

// nearer is the first of two keys that the file has.
func (k *checker) nearer(path, a, b string) string {
	if !k.given(path+"."+a) && k.given(path+"."+b) {
		return path + "." + b
	}
	return path + "." + a
}

func (k *checker) types(path string, g *NodeGroup) {
	for i, t := range g.InstanceTypes {
		at := fmt.Sprintf("%s.instanceTypes[%d]", path, i)
		switch {
		case !k.pattern(instancePattern).MatchString(t):
		case g.Role == GPU && !accelerated(t):
			k.fault(at, quoted(t)+" has no GPU that the deployment supports", "write a type of the families p4, p5, p6, g5 or g6, such as p5e.48xlarge")
		case g.Role != GPU && accelerated(t):
			k.fault(at, quoted(t)+" has GPUs, which "+string(g.Role)+" has no use for", "write a type such as m7i.xlarge; GPUs belong to the role gpu")
		case arm(t) != arm(g.InstanceTypes[0]):
			k.fault(at, quoted(t)+" and "+quoted(g.InstanceTypes[0])+" have different processors, but one image", "list types of one architecture")
		}
	}
}

func (k *checker) reservation(path string, g *NodeGroup) {
	r, at := g.Reservation, path+".reservation"
	if r == (Reservation{}) {
		return
	}
	switch {
	case g.Role != GPU:
		k.fault(at, "only gpu nodes can have a capacity reservation", "remove it")
		return
	case r.ID == "":
		k.fault(at+".id", "is missing", "write the id of the reservation, such as cr-0123456789abcdef0, or remove reservation")
	case r.ZoneID == "":
		k.fault(at+".zoneId", "is missing: a reservation binds the nodes to its zone", "write the zone id of the reservation, such as "+zonePrefix(k.c.Region)+"-az4")
	}
	if p := zonePrefix(k.c.Region); p != "" && r.ZoneID != "" && !strings.HasPrefix(r.ZoneID, p+"-") {
		k.fault(at+".zoneId", quoted(r.ZoneID)+" is not in "+k.c.Region, "write a zone id such as "+p+"-az1")
	}
	if len(g.InstanceTypes) > 1 {
		k.fault(path+".instanceTypes", "a capacity reservation is for one instance type", "keep the type that is reserved")
	}
}

// reserved is the owner of a label's or taint's prefix that users can't set.
func reserved(key string) string {
	prefix, _, ok := strings.Cut(key, "/")
	if !ok {
		return ""
	}
	for _, d := range []string{"kubernetes.io", "k8s.io", "eks.amazonaws.com", "nvidia.com"} {
		if prefix == d || strings.HasSuffix(prefix, "."+d) {
			return d
		}
	}
	if strings.Contains(prefix, "poolhouse") {
		return "poolhouse"
	}
	return ""
}

// arm says whether an instance type has an arm64 processor: a g follows the
// generation
// (https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html).
func arm(instanceType string) bool {
	family, _, _ := strings.Cut(instanceType, ".")
	i := strings.IndexAny(family, "0123456789")
	return family == "a1" || i >= 0 && strings.HasPrefix(strings.TrimLeft(family[i:], "0123456789"), "g")
}

// accelerated says whether an instance type has NVIDIA GPUs that a current
// driver serves, on x86_64.
func accelerated(instanceType string) bool {
	family, _, _ := strings.Cut(instanceType, ".")
	return slices.Contains([]string{"p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "g5", "g6", "g6e", "gr6", "g6f", "gr6f"}, family)
}

// zonePrefix is how the ids of a region's zones begin: use1 for us-east-1; ""
// if this is no region.
func zonePrefix(region string) string {
	parts := strings.Split(region, "-")
	if len(parts) < 3 {
		return ""
	}
	short := map[string]string{
		"north": "n", "south": "s", "east": "e", "west": "w", "central": "c",
		"northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw",
	}
	n := len(parts)
	if short[parts[n-2]] == "" {
		return ""
	}
	prefix := parts[0]
	for _, p := range parts[1 : n-2] {
		prefix += p[:1] // us-gov
	}
	return prefix + short[parts[n-2]] + parts[n-1]
}
