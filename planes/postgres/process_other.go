//go:build !linux

package postgres

import (
	"io/fs"
	"os/exec"
	"syscall"
)

// attach has a program run as a user.
func attach(c *exec.Cmd, uid, gid int) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if uid >= 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
}

// enters tells whether a user may pass through a folder, if that can be told.
func enters(info fs.FileInfo, uid, gid int) (may, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false, false
	}
	switch mode := info.Mode(); {
	case int(s.Uid) == uid:
		may = mode&0o100 != 0
	case int(s.Gid) == gid:
		may = mode&0o010 != 0
	default:
		may = mode&0o001 != 0
	}
	return may, true
}

// socketFolder is where a server has its socket.
func socketFolder(dir string) string { return dir }
