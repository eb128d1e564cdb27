package sweep_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// The environment of a process that is a command line: its arguments, as JSON, and
// the file that says what time it is.
const (
	argumentsVariable = "POOLHOUSE_SWEEP_ARGUMENTS"
	clockVariable     = "POOLHOUSE_SWEEP_CLOCK"
)

// hand is a clock's, for processes that go by the same: a file.
type hand struct{ *os.File }

// at is where it points.
func (h hand) at() (time.Time, error) {
	var b [8]byte
	if _, err := h.ReadAt(b[:], 0); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b[:]))).UTC(), nil
}

// put has it point to a moment.
func (h hand) put(at time.Time) error {
	if _, err := h.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())), 0); err != nil {
		return fmt.Errorf("put the clock: %w", err)
	}
	return nil
}

// moving is the clock of a process, which moves the hand: time passes while it
// sleeps, and only then.
type moving struct {
	clock.Real
	hand
}

// Sleep implements [clock.Clock].
func (c moving) Sleep(ctx context.Context, d time.Duration) error {
	return errors.Join(c.Real.Sleep(ctx, d), c.put(time.Now()))
}

// TestMain runs the tests, or one command line if it was started as one, or what
// stands in for the program of releases.
func TestMain(m *testing.M) {
	if os.Getenv(releasesVariable) != "" {
		if err := standIn(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(argumentsVariable) != "" {
		os.Args = []string{os.Args[0], "-test.run=^TestProcess$"}
	}
	life.Main(m)
}

// TestProcess is the command line of a process of its own, when it was started as
// one; otherwise it is nothing. The process has virtual time, which passes while it
// sleeps and stands still while it computes or a call is under way: how fast the
// machine is decides nothing. That wants connections that end with their answer.
func TestProcess(t *testing.T) {
	var args []string
	if arguments := os.Getenv(argumentsVariable); arguments == "" {
		return
	} else if err := json.Unmarshal([]byte(arguments), &args); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(os.Getenv(clockVariable), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, err := hand{file}.at()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(*testing.T) {
		time.Sleep(time.Until(at))
		os.Exit(cli.Run(context.Background(), args, cli.Streams{In: strings.NewReader(""), Out: os.Stdout, Err: os.Stderr, Clock: moving{hand: hand{file}}}))
	})
}

// served is an account that answers over HTTP, one call at a time. Its clock is the
// one that its callers move.
type served struct {
	hand hand

	mu  sync.Mutex
	box *sandbox.Sandbox
	now time.Time
	who *os.Process
	// The call of this name kills the process that makes it, and nothing is
	// answered any more then.
	kill
	dying, end bool

	sets  map[string]string // the stacks of change sets
	body  []byte            // of the call that is answered
	times map[string]int    // how often each call was made
	made  []string          // the calls that change something, by their names
}

// serve prepares to answer for accounts.
func serve(t *testing.T) *served {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "clock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // nothing is read from it any more
	return &served{hand: hand{file}}
}

// put has the door lead to a copy of an account, in which a process makes calls.
func (s *served) put(t *testing.T, box *sandbox.Sandbox, at time.Time, k kill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.kill, s.dying, s.end, s.times, s.made = at, k, false, false, map[string]int{}, nil
	s.sets = map[string]string{}
	s.box = testkit.Clone(t, box, func() time.Time { return s.now })
}

// ServeHTTP implements [http.Handler].
func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end {
		panic(http.ErrAbortHandler)
	}
	if s.now, err = s.hand.at(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.body = body
	answer := httptest.NewRecorder()
	defer func() {
		if s.dying {
			// That it is gone is seen by who waits for it.
			_ = s.who.Kill()
			s.end = true
			panic(http.ErrAbortHandler)
		}
	}()
	s.box.ServeHTTP(answer, r)
	if s.dying {
		return
	}
	if m := changeSet.FindSubmatch(answer.Body.Bytes()); m != nil {
		s.sets[string(m[1])] = string(m[2])
	}
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // whoever called has it, or is gone
}

// changeSet is what the answer to CreateChangeSet names: the set, and its stack.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
var changeSet = regexp.MustCompile(`<Id>([^<]*:changeSet/[^<]*)</Id>\s*<StackId>([^<]*)</StackId>`)

// intercept names the calls, and knows the one that is the last. It is the
// account's, which answers while the lock is held.
func (s *served) intercept(r *http.Request, service, operation string) error {
	name := service + ":" + operation
	if !writes(name) {
		return nil
	}
	on := r.URL.Path
	if form, err := url.ParseQuery(string(s.body)); err == nil && form.Get("StackName")+form.Get("ChangeSetName") != "" {
		set := form.Get("ChangeSetName")
		on = cmp.Or(s.sets[set], form.Get("StackName"), set)
	} else if m := named.FindSubmatch(s.body); m != nil {
		on = string(m[1])
	}
	name = fmt.Sprintf("%s of %s", name, blank(on, nil))
	if s.times[name]++; s.times[name] > 1 {
		if strings.Contains(on, "/lease/") {
			return nil // it is renewed as time goes by
		}
		name = fmt.Sprintf("%s, time %d", name, s.times[name])
	}
	s.made = append(s.made, name)
	if s.dying = name == s.call; s.dying && !s.after {
		return &sandbox.Fault{}
	}
	return nil
}

// goesOn has the account answer again, after the process was killed.
func (s *served) goesOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill, s.dying, s.end = kill{}, false, false
}

// said is what a process came to.
type said struct {
	code     int // -1 if it was killed
	out, err string
}

func (s said) String() string {
	return fmt.Sprintf("exit code %d\n%s%s", s.code, indent(s.out), indent(s.err))
}

// run runs a command line as a process.
func (s *served) run(t *testing.T, args ...string) said {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	arguments, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	// Each has a door of its own, so that what one that is killed has sent is over
	// and done with before the next one begins.
	door := httptest.NewUnstartedServer(s)
	door.Config.SetKeepAlivesEnabled(false)
	door.Start()
	defer door.Close()
	c := exec.CommandContext(t.Context(), program)
	c.Env = []string{
		"PATH=" + t.TempDir(), "HOME=" + t.TempDir(), "TZ=UTC", "AWS_EC2_METADATA_DISABLED=true",
		argumentsVariable + "=" + string(arguments), clockVariable + "=" + s.hand.Name(),
	}
	if err := s.hand.put(s.now); err != nil {
		t.Fatal(err)
	}
	for _, v := range rehearse.NewEndpoint(s.box, door.URL).Environment {
		c.Env = append(c.Env, v.Name+"="+v.Value)
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	s.mu.Lock()
	err = c.Start()
	s.who = c.Process
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said{c.ProcessState.ExitCode(), out.String(), errs.String()}
}
