//go:build !linux

package plane

import "os/exec"

// apart leaves the child as it is: it ends by its input.
func apart(*exec.Cmd) {}
