package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/poolhouse/poolhouse/lease"
)

// holder is this process, as others see who works on a deployment.
func (a *app) holder(owner, path string) lease.Holder {
	h := lease.Holder{Owner: owner, PID: os.Getpid(), Command: a.command + " " + path, Machine: machineID()}
	// Without a name the process can't be told from those elsewhere, and
	// nobody takes it for dead.
	h.Host, _ = os.Hostname()
	if h.Machine != "" {
		h.Alive = alive
	}
	return h
}

// machineID tells where numbers of processes mean the same: until the next boot,
// and in one namespace. It is empty if nobody says.
func machineID() string {
	// https://docs.kernel.org/admin-guide/sysctl/kernel.html#random
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	// https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + space
}

// alive tells whether a process of this machine lives; so does one that nobody
// can ask.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return true
	}
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// held explains who works on the deployment, and how to go on.
func (p *problem) held(e *lease.HeldError, file string) {
	p.Error = "somebody else works on this deployment; nothing was changed"
	p.Detail = append(holds(e.Held.Holder), "lease: until "+e.Expires.UTC().Format(time.RFC3339)+", unless it is renewed")
	until := e.Until.UTC().Format(time.RFC3339)
	switch {
	case e.Ended:
		p.Error = "a run that deleted did not give its lease back; nothing was changed"
		p.Detail = append(p.Detail, "calls that it sent may arrive: until "+until)
		if p.Hint == "" {
			p.Hint = fmt.Sprintf("repeat the command after %s; poolhouse delete %s does not wait for it", until, file)
			if e.Machine != "" {
				p.Hint += fmt.Sprintf(", and so does this command on %s, where that process is known to be dead", e.Host)
			}
		}
	case e.Until.After(e.Expires) && p.Hint == "":
		p.Hint = "poolhouse status " + file + " shows what goes on; repeat the command when that run is over; if it was killed, poolhouse delete " + file + " can begin when its lease ends, and this command after " + until + ", when nothing that it sent to delete can arrive any more"
	}
	if p.Hint == "" {
		p.Hint = "poolhouse status " + file + " shows what goes on; repeat the command when that run is over; if it was killed, its lease is free when it ends"
	}
}

// lost explains why a run stopped before it was done.
func (p *problem) lost(e *lease.LostError, file string) {
	p.Error = "this run stopped before it was done; AWS goes on with what it has begun: " + e.Error()
	if e.To.Epoch > 0 {
		p.Error = "another run has taken over; this one has stopped, and AWS goes on with what it has begun"
		p.Detail = append(p.Detail, holds(e.To.Holder)...)
	}
	if p.Hint == "" {
		p.Hint = "poolhouse status " + file + " shows who works on it and what goes on; repeat the command when nobody does: it goes on where this one stopped"
	}
}

// holds are the lines that say who holds a lease.
func holds(h lease.Holder) []string {
	lines := []string{"owner: " + h.Owner}
	if h.Host != "" {
		lines = append(lines, fmt.Sprintf("host: %s, process %d", h.Host, h.PID))
	}
	if h.Command != "" {
		lines = append(lines, "command: "+h.Command)
	}
	return lines
}
