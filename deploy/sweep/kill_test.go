package sweep_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
)

// kills is how many processes of each command are killed: in all, and in an ordinary
// run.
const (
	kills     = 12
	someKills = 1
)

// followers are what is run after a process that was killed: the same command, or
// another one and then what its advice says.
var followers = map[life.Verb][]life.Verb{
	life.Create: {life.Create, life.Update, life.Recover, life.Delete},
	life.Update: {life.Update, life.Create, life.Recover, life.Delete},
	life.Delete: {life.Delete, life.Create},
}

// terminal is where people run commands, one after the other.
type terminal struct {
	*served
	start []byte                 // the account as it was found
	files map[life.Verb]string   // what each command is about
	want  map[life.Verb][]string // canonical, at the end of the day
	doors *rehearse.Doors
}

// TestL31KilledCommandLines runs the command line as a process of its own, against
// an account that it reaches over HTTP, and kills it by SIGKILL as it makes a call
// that the seed draws, or when that was carried out. What is run next says by its
// exit code and its words what it came to; who does what it advises gets where the
// commands were to lead.
func TestL31KilledCommandLines(t *testing.T) {
	start, spent := time.Now(), cpu(t)
	x := &terminal{served: serve(t), files: map[life.Verb]string{}, want: map[life.Verb][]string{}}
	x.write(t)
	l := life.Of(t, "evaluation")
	l.Next = l.First // the update presupposes no more
	o := sandbox.Options{Intercept: x.intercept}
	var err error
	if x.doors, err = rehearse.OpenDoors(t.Context(), &o, l.First); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := x.doors.Close(); err != nil {
			t.Error(err)
		}
	}()
	var from *sandbox.Sandbox
	at := life.Bubble(t, time.Time{}, func(t *testing.T) { from, x.start = l.Given(t, o) })
	processes := 0
	for _, v := range life.Verbs() {
		x.put(t, from, at, kill{})
		got := x.does(t, v)
		if got.code != cli.Done {
			t.Fatalf("%s, undisturbed: %s", v, got)
		}
		made := x.made
		x.passes(at.Add(day))
		if v == life.Delete {
			x.deleted(t, "undisturbed", got)
		} else {
			x.want[v] = canonical(x.box)
		}
		end := x.box
		for _, k := range drawn(v, made) {
			name := fmt.Sprintf("evaluation/%s/%s", v, k)
			if life.Only() != "" && life.Only() != name {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", v, processes), func(t *testing.T) {
				x.killed(t, v, k, name, from, at)
			})
			processes++
		}
		from, at = end, at.Add(day)
	}
	t.Logf("seed %d: %d processes were killed in %s (%.0f CPU-seconds, without theirs)", life.Seed(), processes, time.Since(start).Round(time.Second), (cpu(t) - spent).Seconds())
	if processes == 0 {
		t.Error("no process was killed")
	}
}

// write writes the files that the commands are about: an example, and a change of
// it that is seen in all stacks.
func (x *terminal) write(t *testing.T) {
	t.Helper()
	src, err := os.ReadFile("../../examples/evaluation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, text := range map[string]string{"first.yaml": string(src), "next.yaml": string(src) + "database: {backupDays: 12}\ntags: {team: core}\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, next := filepath.Join(folder, "first.yaml"), filepath.Join(folder, "next.yaml")
	maps.Copy(x.files, map[life.Verb]string{life.Create: first, life.Update: next, life.Delete: next})
}

// drawn are those of a command's calls at which it is killed, and before or after.
func drawn(v life.Verb, made []string) []kill {
	var all []kill
	slices.Sort(made)
	for _, name := range slices.Compact(made) {
		all = append(all, kill{name, false}, kill{name, true})
	}
	slices.SortFunc(all, func(a, b kill) int {
		x, y := life.Draw(life.Seed(), v, a), life.Draw(life.Seed(), v, b)
		if x < y {
			return -1
		}
		return 1
	})
	if life.Only() != "" {
		return all
	}
	n := someKills
	if life.Full() {
		n = kills
	}
	return all[:min(n, len(all))]
}

// kill is a call at which a process is killed.
type kill struct {
	call  string
	after bool
}

func (k kill) String() string {
	if k.after {
		return "after " + k.call
	}
	return "before " + k.call
}

// does runs a command about the file that it is about.
func (x *terminal) does(t *testing.T, v life.Verb) said {
	t.Helper()
	return x.about(t, v, x.files[v])
}

func (x *terminal) about(t *testing.T, v life.Verb, file string) said {
	t.Helper()
	args := []string{string(v), "--yes", file}
	if v == life.Delete {
		args = append(args, "--data", "destroy", "-o", "json")
	}
	return x.run(t, args...)
}

// passes lets time pass in the account.
func (x *terminal) passes(until time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = until
	x.box.Account().Resources()
}

// put has the commands come to a copy of an account.
func (x *terminal) put(t *testing.T, box *sandbox.Sandbox, at time.Time, k kill) {
	x.served.put(t, box, at, k)
	x.doors.Attach(x.box)
}

// killed kills a command, and has another one get over it.
func (x *terminal) killed(t *testing.T, v life.Verb, k kill, name string, from *sandbox.Sandbox, at time.Time) {
	defer func() {
		if t.Failed() {
			t.Log(life.Repeat(t, "deploy/sweep", name))
		}
	}()
	x.put(t, from, at, k)
	if got := x.does(t, v); got.code != -1 {
		t.Fatalf("%s was to be killed %s, and ended: %s", v, k, got)
	}
	x.goesOn()
	next := followers[v][int(life.Draw(life.Seed(), name, "next")*float64(len(followers[v])))]
	got := x.about(t, next, x.files[v])
	story := fmt.Sprintf("%s was killed %s; %s then ended with exit code %d", v, k, next, got.code)
	if got.code != cli.Done && !(v == life.Create && next == life.Delete && isAbsent(got)) {
		// What is refused says what to do instead.
		advice, ok := advised(got)
		if !ok {
			t.Fatalf("%s, and advises nothing: %s", story, got)
		}
		next = advice
		got = x.about(t, next, x.files[v])
		story += fmt.Sprintf(", and as it advised %s with %d", next, got.code)
	}
	if next != v && next != life.Delete || next == life.Create && v == life.Delete {
		if got.code != cli.Done {
			t.Fatalf("%s: %s", story, got)
		}
		next = v
		got = x.does(t, v)
		story += fmt.Sprintf(", and %s with %d", v, got.code)
	}
	t.Log(story)
	if next == life.Delete {
		x.deleted(t, story, got)
		return
	}
	if got.code != cli.Done {
		t.Fatalf("%s: %s", story, got)
	}
	x.passes(at.Add(day))
	if diff := differing(x.want[v], canonical(x.box)); diff != "" {
		t.Errorf("%s: the account is not what the undisturbed run makes it:\n%s", story, indent(diff))
	}
}

// advised is the command that a message says to run; the first, if there are several.
func advised(s said) (life.Verb, bool) {
	_, advice, _ := strings.Cut(strings.Join(strings.Fields(s.err), " "), "error: ")
	m := regexp.MustCompile(`poolhouse (create|update|delete|recover) \S+\.yaml`).FindStringSubmatch(advice)
	if m == nil {
		return "", false
	}
	return life.Verb(m[1]), true
}

// isAbsent tells that a deletion found nothing.
func isAbsent(s said) bool {
	return s.code == cli.Failed && strings.Contains(strings.Join(strings.Fields(s.err), " "), deploy.ErrAbsent.Error())
}

// deleted holds an account to its start, but for what the deletion named.
func (x *terminal) deleted(t *testing.T, story string, got said) {
	t.Helper()
	named := map[string]bool{}
	if !isAbsent(got) {
		var manifest deploy.Deleted
		if err := json.Unmarshal([]byte(got.out), &manifest); err != nil || got.code != cli.Done {
			t.Fatalf("%s: %v: %s", story, err, got)
		}
		for _, k := range manifest.Kept {
			named[k.Type+" "+k.ID] = true
		}
	}
	if diff := life.Left(x.start, x.box, named); diff != "" {
		t.Errorf("%s: the account is not as it was found:\n%s", story, indent(diff))
	}
}
