package cri

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// mostLine is how long a line of a log is at most; longer ones come in parts.
const mostLine = 16 << 10

// log is a container's log as kubelets read it: a line has its time, its stream,
// and whether it is whole or a part. Who is attached gets the bytes as they come.
// It is safe for concurrent use.
//
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
type log struct {
	path string

	mu       sync.Mutex
	file     *os.File
	err      error // the first of writing
	attached map[*attached]bool
}

// attached is somebody who follows a container's output.
type attached struct{ out, err io.Writer }

func openLog(path string) (*log, error) {
	l := &log{path: path, attached: map[*attached]bool{}}
	return l, l.Reopen()
}

// Reopen begins a new file under the log's name, which was moved.
func (l *log) Reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // each write said whether it went
	}
	l.file = f
	return nil
}

// Close ends the log. What is written later is lost.
func (l *log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return l.err
	}
	err := l.file.Close()
	l.file = nil
	if l.err != nil {
		err = l.err
	}
	return err
}

func (l *log) attach(a *attached) (detach func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attached[a] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.attached, a)
	}
}

// stream is one of a log's, a writer that never fails: a full disk must not end
// the process that writes.
type stream struct {
	log  *log
	name string
	rest []byte // of a line that isn't over, held by the log's lock
}

// Write implements [io.Writer].
func (s *stream) Write(b []byte) (int, error) {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for a := range l.attached {
		w := a.out
		if s.name == "stderr" {
			w = a.err
		}
		if w == nil {
			continue
		}
		if _, err := w.Write(b); err != nil {
			delete(l.attached, a)
		}
	}
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		whole := i >= 0
		part, skip := b, 0
		if whole {
			part, skip = b[:i], 1
		}
		if room := mostLine - len(s.rest); len(part) > room {
			part, whole, skip = part[:room], false, 0
		} else if !whole {
			s.rest = append(s.rest, part...)
			return n, nil
		}
		s.rest = append(s.rest, part...)
		s.line(whole)
		b = b[len(part)+skip:]
	}
	return n, nil
}

// line writes what there is of a line.
func (s *stream) line(whole bool) {
	tag := "P"
	if whole {
		tag = "F"
	}
	text := time.Now().UTC().AppendFormat(nil, time.RFC3339Nano)
	text = append(text, ' ')
	text = append(text, s.name+" "+tag+" "...)
	text = append(append(text, s.rest...), '\n')
	s.rest = s.rest[:0]
	if s.log.file == nil {
		return
	}
	if _, err := s.log.file.Write(text); err != nil && s.log.err == nil {
		s.log.err = err
	}
}

// flush writes a last line that has no end.
func (s *stream) flush() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if len(s.rest) > 0 {
		s.line(true)
	}
}
