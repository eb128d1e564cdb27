package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long a server may take to answer after its start, and to stop in each of
// PostgreSQL's ways.
const (
	startWithin = 30 * time.Second
	stopWithin  = 5 * time.Second
)

// server is one running PostgreSQL.
type server struct {
	programs programs
	dir      string          // holds data, the socket, certificate and access rules
	ending   <-chan struct{} // closed once it need not answer any more

	socket  string
	process *os.Process
	ended   chan struct{}
	now     Database // what it was made to be
	log     *buffer
}

// buffer keeps the end of a log, which also goes to standard error.
type buffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if n := len(b.text) - 4000; n > 0 {
		b.text = bytes.Clone(b.text[n:])
	}
	_, _ = os.Stderr.Write(p) // whose reader may be gone
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return tail(b.text)
}

func (s *server) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

// write writes a file that the server reads.
func (s *server) write(name, content string) error {
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		return err
	}
	return s.programs.own(s.path(name))
}

// start starts it and returns when it answers.
func (s *server) start(d Database) error {
	host, port, err := net.SplitHostPort(d.Address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is no loopback address", d.Address)
	}
	sockets := socketFolder(s.dir)
	if s.socket = sockets + "/.s.PGSQL." + port; len(s.socket) > 107 {
		return fmt.Errorf("the path of its socket, %s, is too long for one: keep the account in a folder with a shorter path", s.socket)
	}
	settings := ""
	for _, v := range [][2]string{
		{"listen_addresses", host},
		{"port", port},
		{"unix_socket_directories", sockets},
		{"hba_file", s.path("access")},
		{"ident_file", s.path("administrators")},
		{"ssl", "on"},
		{"ssl_cert_file", s.path("certificate")},
		{"ssl_key_file", s.path("key")},
		{"password_encryption", "scram-sha-256"},
		{"shared_buffers", "16MB"},
		{"dynamic_shared_memory_type", "mmap"},
		{"wal_keep_size", "512MB"},
		{"fsync", "off"},
	} {
		settings += v[0] + " = " + literal(v[1]) + "\n"
	}
	if err := errors.Join(s.write("settings", settings), s.files(d)); err != nil {
		return err
	}
	s.log, s.ended = &buffer{}, make(chan struct{})
	c := s.programs.command("postgres", "-D", s.path("data"), "-c", "config_file="+s.path("settings"))
	c.Stderr, c.Stdout = s.log, s.log
	started := make(chan error, 1)
	// The thread that starts a process is its parent: it stays.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.ended)
		err := c.Start()
		s.process = c.Process
		started <- err
		if err == nil {
			_ = c.Wait() // its log says why
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	for until := time.Now().Add(startWithin); ; {
		err := s.do(func(*session) error { return nil })
		if err == nil {
			s.now = Database{Address: d.Address, ForceTLS: d.ForceTLS, Certificate: d.Certificate, Key: d.Key, Starts: d.Starts}
			return nil
		}
		if !s.alive() || time.Now().After(until) {
			s.stop()
			return fmt.Errorf("it doesn't answer: %w: %s", err, s.log)
		}
		select {
		case <-s.ended:
		case <-s.ending:
			s.stop()
			return errEnding
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// files writes who may connect how, and what is shown to them.
func (s *server) files(d Database) error {
	access := "local all " + administrator + " peer map=administrators\nlocal all all reject\nhost all " + administrator + " all reject\nhostssl all all all scram-sha-256\n"
	if !d.ForceTLS {
		access += "hostnossl all all all scram-sha-256\n"
	}
	// On the socket, nobody but the user of this process is the administrator.
	me, err := user.Current()
	if err != nil {
		return err
	}
	return errors.Join(s.write("administrators", "administrators "+me.Username+" "+administrator+"\n"), s.write("access", access), s.write("certificate", d.Certificate), s.write("key", d.Key))
}

// stop ends it, its connections first; then harder.
func (s *server) stop() {
	if s.process == nil {
		return
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		_ = s.process.Signal(signal) // it may have ended
		select {
		case <-s.ended:
			return
		case <-time.After(stopWithin):
		}
	}
	<-s.ended
}

// crash ends it as a failure would: connections are cut without a word, and
// nothing is written.
//
// https://www.postgresql.org/docs/current/server-shutdown.html
func (s *server) crash() {
	if s.process == nil {
		return
	}
	_ = s.process.Signal(syscall.SIGQUIT) // it may have ended
	// A gentler signal, sent now, would come first.
	select {
	case <-s.ended:
	case <-time.After(stopWithin):
	}
}

// become sets the running server up.
func (s *server) become(d Database) error {
	if s.now == d {
		return nil
	}
	if s.now.ForceTLS != d.ForceTLS || s.now.Certificate != d.Certificate || s.now.Key != d.Key {
		if err := s.files(d); err != nil {
			return err
		}
	}
	err := s.do(func(c *session) error {
		if _, err := c.query("SELECT pg_reload_conf()"); err != nil {
			return err
		}
		if err := c.role(d); err != nil {
			return err
		}
		return c.database(d)
	})
	if err == nil {
		err = s.fill(d)
	}
	if err == nil {
		s.now = d
	}
	return err
}

// do has a function talk with the server as its administrator.
func (s *server) do(f func(*session) error) error {
	c, err := connect(s.socket, "postgres")
	if err != nil {
		return err
	}
	err = f(c)
	return errors.Join(err, c.close())
}

// backUp copies the data of the running server as of one moment.
//
// https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
func (s *server) backUp(to string) error {
	from := s.path("data")
	return s.do(func(c *session) error {
		if _, err := c.query("SELECT pg_backup_start('snapshot', true)"); err != nil {
			return err
		}
		if err := copyTree(from, to, func(name string) bool {
			return name == "postmaster.pid" || name == "postmaster.opts" || strings.HasPrefix(name, "pg_wal"+string(filepath.Separator))
		}); err != nil {
			return err
		}
		label, err := c.query("SELECT labelfile FROM pg_backup_stop(false)")
		if err != nil {
			return err
		}
		if err := copyTree(filepath.Join(from, "pg_wal"), filepath.Join(to, "pg_wal"), nil); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, "backup_label"), []byte(label), 0o600)
	})
}

// copyTree copies a folder, but for what is left out by its path below it. What
// vanishes meanwhile isn't missed.
func copyTree(from, to string, without func(string) bool) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case without != nil && without(name):
			return nil
		case e.IsDir():
			return os.MkdirAll(target, 0o700)
		case !e.Type().IsRegular():
			return nil
		}
		if err := copyFile(path, target); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
