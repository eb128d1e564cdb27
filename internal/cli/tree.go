package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// tree shows a run live on a terminal: the stacks, and below each one in
// motion what CloudFormation is working on.
type tree struct {
	program *tea.Program
	done    chan struct{}
}

var _ view = (*tree)(nil)

func newTree(w io.Writer, t *deploy.Target, verb string, plan *deploy.Plan) *tree {
	m := &treeModel{verb: verb, clock: t.AWS.Clock, stacks: map[architecture.StackName]*branch{}, start: t.AWS.Clock.Now()}
	if plan != nil {
		m.expected = plan.Expected
		for _, s := range plan.Stacks {
			m.add(s.Stack).expected = s.Expected
		}
	}
	v := &tree{program: tea.NewProgram(m, tea.WithOutput(w), tea.WithInput(nil), tea.WithoutSignalHandler()), done: make(chan struct{})}
	go func() {
		defer close(v.done)
		// What the terminal refuses is lost to the view, not to the run.
		_, _ = v.program.Run()
	}()
	return v
}

func (v *tree) event(e deploy.Event) { v.program.Send(e) }

func (v *tree) close(error) {
	v.program.Send(tea.QuitMsg{})
	<-v.done
}

// branch is a stack in the tree.
type branch struct {
	name     architecture.StackName
	action   deploy.Action
	start    time.Time
	took     time.Duration
	expected time.Duration
	changes  int
	state    string            // waiting, running, done, failed
	working  []string          // logical ids in motion, oldest first
	status   map[string]string // of those
	failure  string
}

type treeModel struct {
	verb     string
	clock    clock.Clock
	start    time.Time
	expected time.Duration
	order    []architecture.StackName
	stacks   map[architecture.StackName]*branch
	steps    []string
	width    int
}

func (m *treeModel) add(name architecture.StackName) *branch {
	b := m.stacks[name]
	if b == nil {
		b = &branch{name: name, state: "waiting", status: map[string]string{}}
		m.stacks[name] = b
		m.order = append(m.order, name)
	}
	return b
}

type tick struct{}

func every() tea.Cmd {
	return tea.Tick(time.Second/4, func(time.Time) tea.Msg { return tick{} })
}

// Init implements [tea.Model].
func (m *treeModel) Init() tea.Cmd { return every() }

// Update implements [tea.Model].
func (m *treeModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch e := msg.(type) {
	case tick:
		return m, every()
	case tea.WindowSizeMsg:
		m.width = e.Width
	case deploy.StackStarted:
		b := m.add(e.Stack)
		b.action, b.start, b.state = e.Action, e.Time, "running"
		if e.Expected > 0 {
			b.expected = e.Expected
		}
	case deploy.StackFinished:
		b := m.add(e.Stack)
		b.took, b.changes, b.state, b.working = e.Took, b.changes+e.Changes, "done", nil
		if e.Err != nil {
			b.state = "failed"
		}
	case deploy.ResourceEvent:
		m.add(e.Stack).resource(e)
	case deploy.Step:
		m.steps = append(m.steps, e.Text)
		if len(m.steps) > 3 {
			m.steps = m.steps[1:]
		}
	}
	return m, nil
}

func (b *branch) resource(e deploy.ResourceEvent) {
	if e.IsStack() {
		return
	}
	status := string(e.Status)
	_, moving := b.status[e.LogicalID]
	switch {
	case strings.HasSuffix(status, "_IN_PROGRESS"):
		if !moving {
			b.working = append(b.working, e.LogicalID)
		}
		b.status[e.LogicalID] = e.Type
	default:
		if e.Failed() && b.failure == "" {
			b.failure = e.LogicalID + ": " + e.Reason
		}
		delete(b.status, e.LogicalID)
		for i, id := range b.working {
			if id == e.LogicalID {
				b.working = append(b.working[:i:i], b.working[i+1:]...)
				break
			}
		}
	}
}

var (
	faint = lipgloss.NewStyle().Faint(true)
	good  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	bad   = lipgloss.NewStyle().Foreground(lipgloss.Red)
)

// marks carry the state by shape; colour only helps.
func mark(state string) string {
	switch state {
	case "done":
		return good.Render("✓")
	case "failed":
		return bad.Render("✗")
	case "running":
		return "●"
	}
	return faint.Render("·")
}

// shown is how many resources of a stack are listed at once.
const shown = 3

// View implements [tea.Model].
func (m *treeModel) View() tea.View {
	now := m.clock.Now()
	var b strings.Builder
	line := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if m.width > 0 {
			s = lipgloss.NewStyle().MaxWidth(m.width).Render(s)
		}
		b.WriteString(s + "\n")
	}
	head := fmt.Sprintf("%s, %s", m.verb, span(now.Sub(m.start)))
	if left := m.expected - now.Sub(m.start); m.expected > 0 && left > 0 {
		head += fmt.Sprintf(", about %s to go", span(left))
	}
	line("%s", head)
	for _, n := range m.order {
		s := m.stacks[n]
		switch s.state {
		case "waiting":
			line("%s %s", mark(s.state), faint.Render(string(n)))
		case "running":
			of := ""
			if s.expected > 0 {
				of = " of about " + span(s.expected)
			}
			line("%s %-11s %s, %s%s", mark(s.state), n, s.action, span(now.Sub(s.start)), of)
			for i, id := range s.working {
				if i == shown {
					line("  %s", faint.Render(fmt.Sprintf("└ and %d more", len(s.working)-shown)))
					break
				}
				line("  %s", faint.Render(fmt.Sprintf("└ %s (%s)", id, s.status[id])))
			}
		default:
			what := "up to date"
			if s.changes > 0 {
				what = fmt.Sprintf("%s, %s", count(s.changes, "resource"), span(s.took))
			}
			if s.failure != "" {
				what = s.failure
			}
			line("%s %-11s %s", mark(s.state), n, what)
		}
	}
	for _, s := range m.steps {
		line("%s", faint.Render(s))
	}
	return tea.NewView(b.String())
}
