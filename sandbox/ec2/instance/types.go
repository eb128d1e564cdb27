package instance

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Type is an instance type.
type Type struct {
	Name      string
	VCPUs     int
	MemoryMiB int
	Arch      string // x86_64 or arm64
	// Current tells that AWS does not count the type as a previous generation.
	Current bool
	// Interfaces and Addresses are how many network interfaces the default
	// network card takes, and how many IPv4 addresses each of them.
	Interfaces, Addresses int
	StorageGB             int    // instance store
	GPUs                  int    // a share of one counts as one
	GPU                   string // A10G
	GPUMemoryMiB          int    // of each
}

// MaxPods is how many pods the VPC CNI plugin can give addresses to.
// https://docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html
func (t Type) MaxPods() int { return t.Interfaces*(t.Addresses-1) + 2 }

// Burstable tells whether the type earns CPU credits.
func (t Type) Burstable() bool { return t.Name[0] == 't' && t.Name[1] >= '0' && t.Name[1] <= '9' }

// Metal tells that the type has no hypervisor.
func (t Type) Metal() bool { return strings.Contains(t.Name, ".metal") }

//go:embed types.csv
var table string

// types are the known instance types, read once.
var types = sync.OnceValues(func() (list []Type, byName map[string]Type) {
	byName = map[string]Type{}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	for _, line := range lines[1:] {
		f := strings.Split(line, ",")
		n := func(i int) int {
			v, _ := strconv.Atoi(f[i]) // a test reads every number of the table
			return v
		}
		t := Type{
			Name: f[0], VCPUs: n(1), MemoryMiB: n(2), Arch: f[3], Current: f[4] == "current", Interfaces: n(5), Addresses: n(6),
			StorageGB: n(7), GPUs: n(8), GPU: f[9], GPUMemoryMiB: n(10),
		}
		list, byName[t.Name] = append(list, t), t
	}
	return list, byName
})

// FindType returns an instance type. All are offered in all zones.
func FindType(_ *account.Tx, name string) (Type, bool) {
	_, byName := types()
	t, ok := byName[name]
	return t, ok
}

// AllTypes are the instance types, by family and size.
func AllTypes(_ *account.Tx) []Type {
	list, _ := types()
	return list
}
