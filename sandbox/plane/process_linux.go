package plane

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's signals from the child, which ends by its input; and
// should it not read that, with its parent.
func apart(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
