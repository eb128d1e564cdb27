// Command measure runs a command several times and prints what it took: the
// least CPU time in seconds, the least wall time in milliseconds and the most
// memory in MiB. CPU time counts the command's children too.
//
//	measure [-n 20] command argument...
//
// The command's output is dropped. It fails if the command fails once, and then
// shows what it said.
//
// Limits: it reads the usage that Unix keeps of a process.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

func main() {
	n := flag.Int("n", 1, "how often")
	flag.Parse()
	if err := measure(*n, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func measure(n int, command []string) error {
	if n < 1 || len(command) == 0 {
		return fmt.Errorf("nothing to run")
	}
	var cpu, wall time.Duration
	var memory int64
	for i := range n {
		cmd := exec.Command(command[0], command[1:]...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		start := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%v: %w\n%s", command, err, &stderr)
		}
		took := time.Since(start)
		used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if i == 0 || took < wall {
			wall = took
		}
		if i == 0 || used < cpu {
			cpu = used
		}
		usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			return fmt.Errorf("no usage is known on %s", runtime.GOOS)
		}
		memory = max(memory, int64(usage.Maxrss))
	}
	if runtime.GOOS != "darwin" {
		memory <<= 10 // KiB; bytes there
	}
	fmt.Printf("%.0f %d %d\n", cpu.Seconds(), wall.Milliseconds(), (memory+1<<20-1)>>20)
	return nil
}
