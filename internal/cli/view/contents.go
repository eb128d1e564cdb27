package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/deploy"
)

// Contents prints what of a cluster goes before the stacks, and what becomes of the
// volumes of its claims. Releases go with the cluster if program, which uninstalls them,
// is not at hand.
func Contents(w io.Writer, c *deploy.Contents, data deploy.Data, program string, atHand bool) {
	var what []string
	for _, kind := range slices.Sorted(maps.Keys(c.Kinds)) {
		what = append(what, Count(c.Kinds[kind], kind))
	}
	n := len(c.Releases)
	if n > 0 && atHand {
		what = append(what, Count(n, "release"))
	}
	if len(what) == 0 {
		fmt.Fprintln(w, "Its cluster holds nothing that owns load balancers or volumes.")
	} else {
		paragraph(w, "First goes what its cluster holds: ", "  ", "%s.", safe(strings.Join(what, ", ")))
	}
	if n > 0 && !atHand {
		paragraph(w, "Not uninstalled: ", "  ", "%s, for want of the program %s; what they consist of goes with the cluster.", Count(n, "release"), program)
	}
	for _, v := range c.Volumes {
		fate := "is kept"
		if data == deploy.DestroyData && !v.Kept {
			fate = "is destroyed with its data"
		}
		paragraph(w, "  ", "    ", "%s", safe(fmt.Sprintf("volume %s, %s, of the claim %s %s", v.Volume, v.Size, v.Claim, fate)))
	}
}
