package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// Tree shows a run live on a terminal: the stacks, and below each one in
// motion what CloudFormation is working on. It reads no keys and leaves
// signals alone.
type Tree struct {
	program *tea.Program
	done    chan struct{}
}

// NewTree starts a tree. Title says what runs; the stacks are those of the
// plan, which may be nil; the clock is the run's.
func NewTree(w io.Writer, title string, c clock.Clock, plan *deploy.Plan) *Tree {
	m := newModel(title, c, plan)
	v := &Tree{program: tea.NewProgram(m, tea.WithOutput(w), tea.WithInput(nil), tea.WithoutSignalHandler()), done: make(chan struct{})}
	go func() {
		defer close(v.done)
		// What the terminal refuses is lost to the view, not to the run.
		_, _ = v.program.Run()
	}()
	return v
}

// Event implements [Live].
func (v *Tree) Event(e deploy.Event) { v.program.Send(e) }

// Close implements [Live]. What was shown last stays.
func (v *Tree) Close() {
	v.program.Send(ended{})
	<-v.done
}

// ended is the message after the last event.
type ended struct{}

type state int

const (
	waiting state = iota
	running
	succeeded
	failed
)

// branch is a stack in the tree.
type branch struct {
	name     architecture.StackName
	state    state
	action   deploy.Action
	start    time.Time
	expected time.Duration
	outcome  string
	working  []string          // logical ids in motion, oldest first
	types    map[string]string // of those
	failure  string
}

type model struct {
	title    string
	clock    clock.Clock
	start    time.Time
	expected time.Duration
	branches []*branch
	moves    []move
	steps    []string
	ended    bool
	width    int
	height   int
}

func newModel(title string, c clock.Clock, plan *deploy.Plan) *model {
	m := &model{title: title, clock: c, start: c.Now()}
	if plan != nil {
		m.expected = plan.Expected
		for _, s := range plan.Stacks {
			if s.Action != deploy.NoChange {
				m.branch(s.Stack).expected = s.Expected
			}
		}
	}
	return m
}

func (m *model) branch(name architecture.StackName) *branch {
	for _, b := range m.branches {
		if b.name == name {
			return b
		}
	}
	b := &branch{name: name, types: map[string]string{}}
	m.branches = append(m.branches, b)
	return b
}

type tick struct{}

func every() tea.Cmd {
	return tea.Tick(time.Second/4, func(time.Time) tea.Msg { return tick{} })
}

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd { return every() }

// Update implements [tea.Model].
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch e := msg.(type) {
	case tick:
		return m, every()
	case ended:
		m.ended = true
		return m, tea.Quit
	case tea.WindowSizeMsg:
		m.width, m.height = e.Width, e.Height
	case deploy.StackStarted:
		b := m.branch(e.Stack)
		b.action, b.start, b.state = e.Action, e.Time, running
		if e.Expected > 0 {
			b.expected = e.Expected
		}
	case deploy.StackFinished:
		b := m.branch(e.Stack)
		b.working = nil
		switch {
		case e.Err != nil:
			b.state, b.outcome = failed, finished(e)
		case e.Action != deploy.ProtectStack:
			b.state, b.outcome = succeeded, finished(e)
		case b.outcome == "":
			// Protection is lifted before a deletion, which is to come.
			b.state = waiting
		default:
			b.state = succeeded
		}
	case deploy.ResourceEvent:
		m.branch(e.Stack).resource(e)
	case deploy.Step:
		m.steps = append(m.steps, e.Text)
	case deploy.SessionShort:
		m.steps = append(m.steps, e.String())
	case deploy.TransferStarted:
		m.moves = append(m.moves, move{name: e.Transfer, state: running})
	case deploy.TransferProgress:
		m.move(e.Transfer, running, TransferState(e.State))
	case deploy.TransferFinished:
		s := succeeded
		if e.Err != nil {
			s = failed
		}
		m.move(e.Transfer, s, moved(e))
	}
	return m, nil
}

// move is a transfer in the tree.
type move struct {
	name  string
	state state
	text  string
}

func (m *model) move(name string, s state, text string) {
	for i := range m.moves {
		if m.moves[i].name == name {
			m.moves[i].state, m.moves[i].text = s, text
		}
	}
}

func (b *branch) resource(e deploy.ResourceEvent) {
	if e.IsStack() {
		return
	}
	if strings.HasSuffix(string(e.Status), "_IN_PROGRESS") {
		if _, moving := b.types[e.LogicalID]; !moving {
			b.working = append(b.working, e.LogicalID)
		}
		b.types[e.LogicalID] = e.Type
		return
	}
	if e.Failed() && b.failure == "" && !strings.Contains(e.Reason, " cancelled") {
		b.failure = e.LogicalID + ": " + e.Reason
	}
	delete(b.types, e.LogicalID)
	b.working = slices.DeleteFunc(b.working, func(id string) bool { return id == e.LogicalID })
}

// mark carries a state by its shape; colour only helps.
func (s state) mark() string {
	switch s {
	case running:
		return "●"
	case succeeded:
		return lipgloss.NewStyle().Foreground(lipgloss.Green).Render("✓")
	case failed:
		return lipgloss.NewStyle().Foreground(lipgloss.Red).Render("✗")
	}
	return lipgloss.NewStyle().Faint(true).Render("·")
}

// View implements [tea.Model].
func (m *model) View() tea.View {
	lines := m.lines(3, 3, false)
	// What doesn't fit the terminal would scroll away: leave out what matters
	// least until it does.
	for _, less := range []struct {
		resources, steps int
		brief            bool
	}{{3, 1, false}, {1, 1, false}, {1, 1, true}, {0, 0, true}} {
		if m.height == 0 || len(lines) < m.height {
			break
		}
		lines = m.lines(less.resources, less.steps, less.brief)
	}
	if m.height > 1 && len(lines) >= m.height {
		lines = lines[:m.height-1]
	}
	if m.width > 0 {
		cut := lipgloss.NewStyle().MaxWidth(m.width)
		for i := range lines {
			lines[i] = cut.Render(lines[i])
		}
	}
	return tea.NewView(strings.Join(lines, "\n") + "\n")
}

// lines draws the tree with so many resources for each stack and so many of
// the latest steps; briefly, finished stacks share a line.
func (m *model) lines(resources, steps int, brief bool) []string {
	faint := lipgloss.NewStyle().Faint(true)
	now := m.clock.Now()
	passed := now.Sub(m.start)
	head := fmt.Sprintf("%s, %s", m.title, Span(passed))
	if left := m.expected - passed; left > 0 && !m.ended {
		head += fmt.Sprintf(", about %s to go", Span(left))
	}
	out := []string{head}
	var idle []architecture.StackName
	over := 0
	for _, b := range m.branches {
		switch b.state {
		case waiting:
			idle = append(idle, b.name)
			continue
		case running:
			of := ""
			if b.expected > 0 {
				of = " of about " + Span(b.expected)
			}
			out = append(out, fmt.Sprintf("%s %-11s %s, %s%s", b.state.mark(), b.name, b.action, Span(now.Sub(b.start)), of))
			for i, id := range b.working {
				if i == resources {
					if resources > 0 {
						out = append(out, faint.Render(fmt.Sprintf("  └ and %d more", len(b.working)-resources)))
					}
					break
				}
				out = append(out, faint.Render(fmt.Sprintf("  └ %s (%s)", id, b.types[id])))
			}
		case succeeded:
			if brief {
				over++
				continue
			}
			out = append(out, fmt.Sprintf("%s %-11s %s", b.state.mark(), b.name, b.outcome))
		case failed:
			what := b.outcome
			if b.failure != "" {
				what = b.failure
			}
			out = append(out, fmt.Sprintf("%s %-11s %s", b.state.mark(), b.name, what))
		}
	}
	for _, t := range m.moves {
		out = append(out, fmt.Sprintf("%s %-11s %s", t.state.mark(), t.name, safe(t.text)))
	}
	if over > 0 {
		out = append(out, fmt.Sprintf("%s %s done", succeeded.mark(), Count(over, "stack")))
	}
	if len(idle) > 0 {
		out = append(out, fmt.Sprintf("%s %s", waiting.mark(), faint.Render("waiting: "+Join(idle))))
	}
	for _, s := range m.steps[max(0, len(m.steps)-steps):] {
		out = append(out, faint.Render(s))
	}
	return out
}
