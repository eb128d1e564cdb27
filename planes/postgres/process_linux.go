package postgres

import (
	"fmt"
	"hash/fnv"
	"io/fs"
	"os/exec"
	"syscall"
)

// attach has a program run as a user, and end when the thread that starts it
// does.
func attach(c *exec.Cmd, uid, gid int) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Setpgid: true}
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

// socketFolder names where a server has its socket: in no folder, whose path may
// be too long for one.
//
// https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-UNIX-SOCKET-DIRECTORIES
func socketFolder(dir string) string {
	h := fnv.New64a()
	h.Write([]byte(dir))
	return fmt.Sprintf("@poolhouse/%x", h.Sum64())
}
