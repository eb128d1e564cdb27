// Command guest is what runs in the containers of tests: it does what its first
// argument says.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	switch what {
	case "keyring":
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		fmt.Print(id)
		return err
	case "exit":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(n)
	case "say":
		fmt.Println(args[0])
		fmt.Fprintln(os.Stderr, args[0])
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "id":
		groups, err := os.Getgroups()
		if err != nil {
			return err
		}
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		fmt.Println(os.Getpid(), os.Getuid(), os.Getgid(), groups, name, dir)
	case "status":
		text, err := os.ReadFile("/proc/self/status")
		fmt.Print(string(text))
		return err
	case "write":
		if err := os.WriteFile(args[0], []byte(args[1]), 0o644); err != nil {
			return err
		}
		fmt.Println("written")
	case "read":
		for _, path := range args {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Printf("%s", text)
		}
	case "list":
		found, err := filepath.Glob(args[0])
		fmt.Println(found)
		return err
	case "device":
		if err := syscall.Mknod(args[0], syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
			return err
		}
		_, err := os.OpenFile(args[0], os.O_WRONLY, 0)
		return err
	case "mount":
		return syscall.Mount("none", "/tmp", "tmpfs", 0, "")
	case "run":
		c := exec.Command(args[0], args[1:]...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		return c.Run()
	case "leave":
		// A process that nobody waits for.
		return exec.Command(os.Args[0], "stay").Start()
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "terminal":
		return terminal()
	case "stay":
		// It ends when it is asked to.
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("here")
		<-c
		fmt.Println("gone")
		os.Exit(7)
	case "serve":
		return serve(args[0])
	case "packets":
		return packets(args[0])
	case "call":
		return call(args[0], args[1], args[2])
	default:
		return fmt.Errorf("what is %q?", what)
	}
	return nil
}

func terminal() error {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Println("what?")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Printf("you said %s", line)
	return err
}

// serve answers each line with who asked and the line.
func serve(address string) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	fmt.Println("here")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			line, err := bufio.NewReader(c).ReadString('\n')
			if err == nil {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintf(c, "%s %s", host, line)
			}
		}()
	}
}

func packets(address string) error {
	c, err := net.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	fmt.Println("here")
	b := make([]byte, 100)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(from.String())
		if _, err := c.WriteTo([]byte(host+" "+string(b[:n])), from); err != nil {
			return err
		}
	}
}

func call(network, address, what string) error {
	c, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c, what); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Print(line)
	return err
}
