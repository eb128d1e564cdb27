package life

import (
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// Flags of the sweeps. They are package variables because the testing package
// parses flags before tests run; only tests link them.
var (
	full = flag.Bool("full", os.Getenv("POOLHOUSE_FULL") != "", "sweep all cases, not a seeded part of them")
	seed = flag.Uint64("seed", 1, "seed of the part and of all that is drawn")
	only = flag.String("case", "", "sweep this case alone, as a failure names it: evaluation/create/12/before")
)

// Full tells that all cases are swept, not a seeded part of them.
func Full() bool { return *full }

// Seed is the seed of the part and of all that is drawn.
func Seed() uint64 { return *seed }

// Only is the case that is swept alone; "" is none.
func Only() string { return *only }

// Draw is a number in [0, 1) that depends on a seed and its arguments alone.
func Draw(seed uint64, of ...any) float64 {
	h := fnv.New64a()
	fmt.Fprint(h, seed)
	for _, x := range of {
		fmt.Fprint(h, "|", x)
	}
	// The high bits of FNV of short texts differ little.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// Wanted tells whether a case is swept, of which there is a share otherwise.
func Wanted(name string, share float64) bool {
	if *only != "" {
		return name == *only
	}
	return *full || Draw(*seed, name) < share
}

// Holds tells whether an example has cases that are swept, if those of all
// examples are.
func Holds(example string) bool {
	return *only == "" || strings.HasPrefix(*only, example+"/")
}

// Repeat is the command that repeats a case alone.
func Repeat(t *testing.T, folder, name string) string {
	test, _, _ := strings.Cut(t.Name(), "/")
	return fmt.Sprintf("repeat it: go test ./%s -run '^%s$' -seed %d -case '%s'", folder, test, *seed, name)
}

// Main runs the tests of a package that sweeps. It makes much garbage, may have 4 GiB
// of a machine's memory, and nobody reads its profile of the memory.
func Main(m *testing.M) {
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(4 << 30)
	runtime.MemProfileRate = 0
	m.Run()
}
