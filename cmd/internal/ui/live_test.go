package ui

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"scap/phases/journal"
)

// terminal is a terminal of a few commands; any other that reaches it is a failure of the test.
type terminal struct {
	t             *testing.T
	columns, rows int
	screen        [][]rune
	x, y          int
	scrolled      []string
	writes, bytes int
	colours       int
}

func newTerminal(t *testing.T, columns, rows int) *terminal {
	return &terminal{t: t, columns: columns, rows: rows, screen: make([][]rune, rows)}
}

func (m *terminal) size() (int, int) { return m.columns, m.rows }

func (m *terminal) Write(b []byte) (int, error) {
	m.writes++
	m.bytes += len(b)
	for text := string(b); text != ""; {
		c, n := utf8.DecodeRuneInString(text)
		switch c {
		case '\r':
			m.x = 0
		case '\n':
			m.down()
		case '\x1b':
			n = m.escape(text)
		default:
			m.put(c)
		}
		text = text[n:]
	}
	return len(b), nil
}

func (m *terminal) escape(text string) int {
	end := strings.IndexFunc(text[1:], func(c rune) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }) + 1
	argument, command := strings.TrimPrefix(text[1:end], "["), text[end]
	switch command {
	case 'A':
		n, err := strconv.Atoi(argument)
		if err != nil {
			m.t.Fatalf("cursor up by %q", argument)
		}
		m.y = max(0, m.y-n)
	case 'K':
		m.screen[m.y] = m.screen[m.y][:min(m.x, len(m.screen[m.y]))]
	case 'J':
		m.screen[m.y] = m.screen[m.y][:min(m.x, len(m.screen[m.y]))]
		for y := m.y + 1; y < m.rows; y++ {
			m.screen[y] = nil
		}
	case 'm':
		m.colours++
	default:
		m.t.Fatalf("the terminal was told %q", text[:end+1])
	}
	return end + 1
}

func (m *terminal) down() {
	if m.y++; m.y == m.rows {
		m.scrolled = append(m.scrolled, string(m.screen[0]))
		m.screen, m.y = append(m.screen[1:], nil), m.rows-1
	}
}

func (m *terminal) put(c rune) {
	if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
		m.t.Fatalf("the terminal was sent %q", c)
	}
	if m.x >= m.columns {
		m.x = 0
		m.down()
	}
	n := runeCells(c)
	if n == 0 { // joins the letter before it; not kept
		return
	}
	line := m.screen[m.y]
	for len(line) < m.x+n {
		line = append(line, ' ')
	}
	line[m.x] = c
	if n == 2 {
		line[m.x+1] = 0
	}
	m.screen[m.y] = line
	m.x += n
}

// String is everything that was on the terminal, from the first line on.
func (m *terminal) String() string {
	lines := append([]string{}, m.scrolled...)
	for _, l := range m.screen[:m.y+1] {
		lines = append(lines, string(l))
	}
	for i := range lines {
		lines[i] = strings.TrimRight(strings.ReplaceAll(lines[i], "\x00", ""), " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}

// watching shows records until one is wanted, and remembers the terminal then.
type watching struct {
	View
	term  *terminal
	when  func(journal.Record) bool
	shots []string
}

func (w *watching) Show(r journal.Record) {
	w.View.Show(r)
	if w.when(r) {
		w.shots = append(w.shots, fmt.Sprintf("-- after record %d --\n%s", r.Seq, w.term))
	}
}

// TestLive holds what stands on terminals of several sizes, in the middle and at the end.
func TestLive(t *testing.T) {
	for name, c := range map[string]struct {
		columns, rows int
		tell          func(View)
	}{
		"rolled-back-80":   {80, 24, rolledBack},
		"rolled-back-40":   {40, 30, rolledBack},
		"rolled-back-low":  {80, 7, rolledBack},
		"inconsistent-80":  {80, 24, inconsistent},
		"inconsistent-12":  {12, 24, inconsistent},
		"suspected-80":     {80, 24, suspected},
		"tried-80":         {80, 24, tried},
		"afterwards-80":    {80, 24, afterwards},
		"suspected-low":    {80, 9, suspected},
		"deployed-unknown": {0, 0, deployed},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTerminal(t, c.columns, c.rows)
			size := m.size
			if c.columns == 0 {
				m = newTerminal(t, 80, 24)
				size = func() (int, int) { return 0, 0 }
			}
			w := &watching{View: Live(m, size, LiveOptions{}), term: m, when: func(r journal.Record) bool {
				return r.Act == journal.Stage && r.Target == fleet[100] && r.Kind == journal.Done || r.Kind == journal.Ruled && r.Verdict == "hold" || r.Act == journal.Isolate && r.Kind == journal.Done || r.Act == journal.Rollback && r.Target == "" ||
					r.Act == journal.Confirm && r.Kind == journal.Intent
			}}
			c.tell(w)
			if len(w.shots) > 4 {
				w.shots = append(w.shots[:3], w.shots[len(w.shots)-1])
			}
			golden(t, name+".live", strings.Join(append(w.shots, "-- at the end --\n"+m.String()), "\n"))
			if m.colours != 0 {
				t.Errorf("colours without Colour")
			}
		})
	}
}

// TestLiveIsQuick: a record costs one write of what changed, not of the whole screen.
func TestLiveIsQuick(t *testing.T) {
	m := newTerminal(t, 80, 24)
	var told []journal.Record
	rolledBack(both{Live(m, m.size, LiveOptions{Colour: true}), &told})
	if m.writes > len(told)+1 {
		t.Errorf("%d writes for %d records", m.writes, len(told))
	}
	if perRecord := m.bytes / len(told); perRecord > 700 {
		t.Errorf("%d bytes a record", perRecord)
	}
	if m.colours == 0 {
		t.Error("no colour")
	}
}

// TestLiveResized: the terminal changes its size between records. What follows is drawn to its new size.
func TestLiveResized(t *testing.T) {
	m := newTerminal(t, 80, 24)
	v := Live(m, m.size, LiveOptions{})
	k := newTale(v)
	k.begin("x", journal.Group{Name: "production", Targets: fleet})
	m.resize(30, 24)
	k.all(journal.Stage, fleet)
	k.phase("production", fleet[:1])
	if got := string(m.screen[m.y-1]); !strings.Contains(got, "staged 193") || len(got) >= 30 {
		t.Errorf("the legend is not drawn to 30 columns: %q", got)
	}
	v.Close()
}

// TestLiveTicks: seconds go on without records, never back, and not while a question stands there.
func TestLiveTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTerminal(t, 80, 24)
		tick := make(chan time.Time)
		v := Live(m, m.size, LiveOptions{Tick: tick})
		k := newTale(v)
		tick <- k.at // nothing is there to draw yet
		k.begin("x", journal.Group{Name: "production", Targets: fleet[:3]})
		k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "production"})
		see := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := m.String(); !strings.Contains(got, want) {
				t.Errorf("want %q:\n%s", want, got)
			}
		}
		see(`"x" 1.5s`)
		tick <- k.at.Add(70 * time.Second)
		see(`"x" 1m11s`)
		tick <- k.at
		see(`"x" 1m11s`)
		v.Break()
		fmt.Fprint(m, "Go on? y\r\n")
		writes := m.writes
		tick <- k.at.Add(100 * time.Second)
		synctest.Wait()
		if m.writes != writes {
			t.Error("a tick was drawn over a question")
		}
		k.phaseEnds(journal.Done, "production", "")
		got := m.String()
		if at := strings.Index(got, "Go on? y"); at < 0 || !strings.Contains(got[at:], "deploying aaaaaaaaaaaa") || !strings.Contains(got[:at], "deploying aaaaaaaaaaaa") {
			t.Errorf("the block is not drawn anew below the question:\n%s", got)
		}
		v.Close()
	})
}

// TestLiveShrinks: what a smaller block leaves behind is cleared.
func TestLiveShrinks(t *testing.T) {
	m := newTerminal(t, 80, 24)
	rows := 24
	v := Live(m, func() (int, int) { return 80, rows }, LiveOptions{})
	k := newTale(v)
	k.begin("x", journal.Group{Name: "production", Targets: fleet})
	rows = 8 // known before the terminal has moved anything
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "production"})
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "second"})
	k.tell(0, journal.Record{Kind: journal.Intent, Act: journal.PhaseAct, Phase: "third"})
	if got := m.String(); strings.Contains(got, "....") || strings.Contains(got, "waiting") {
		t.Errorf("an old grid is left:\n%s", got)
	}
	v.Close()
}

// TestLiveLow: on a low terminal grids give way, phases do not.
func TestLiveLow(t *testing.T) {
	for rows := 5; rows < 20; rows++ {
		m := newTerminal(t, 80, rows)
		v := Live(m, m.size, LiveOptions{})
		newTale(v).begin("x", journal.Group{Name: "first", Targets: debugs}, journal.Group{Name: "second", Targets: canaries}, journal.Group{Name: "third", Targets: fleet})
		got := m.String()
		for _, want := range []string{"deploying", "first", "second", "third"} {
			if !strings.Contains(got, want) {
				t.Errorf("%d rows: %s is not there:\n%s", rows, want, got)
			}
		}
		v.Close()
	}
}

func TestColour(t *testing.T) {
	for _, c := range []struct {
		noColor, term string
		want          bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}, {"", "", false}} {
		env := map[string]string{"NO_COLOR": c.noColor, "TERM": c.term}
		if got := Colour(func(k string) string { return env[k] }); got != c.want {
			t.Errorf("%+v: have %v", c, got)
		}
	}
}
