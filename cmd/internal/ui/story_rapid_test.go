package ui

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"scap/phases/journal"
)

// anyRecord is a record as a journal could hold it, sensible or not.
func anyRecord(at time.Time) *rapid.Generator[journal.Record] {
	return rapid.Custom(func(t *rapid.T) journal.Record {
		name := rapid.SampledFrom([]string{"", "a", "b", "c", "名前", "\x1b[1m", "mw1001.eqiad.wmnet"})
		r := journal.Record{
			At:      at.Add(time.Duration(rapid.IntRange(-10, 1000).Draw(t, "after")) * time.Second),
			Kind:    rapid.SampledFrom([]journal.Kind{journal.Begin, journal.Intent, journal.Intent, journal.Done, journal.Done, journal.Failed, journal.Ruled, journal.Undone, journal.Note, journal.End, journal.Watched, journal.Watched, "?"}).Draw(t, "kind"),
			Act:     rapid.SampledFrom([]string{"", journal.Stage, journal.Activate, journal.Rollback, journal.Repair, journal.PhaseAct, journal.Confirm, journal.Preflight, journal.Claim, journal.Isolate, journal.Try, journal.Abandon, "?"}).Draw(t, "act"),
			Phase:   name.Draw(t, "phase"),
			Target:  name.Draw(t, "target"),
			To:      rapid.SampledFrom([]string{"", oldID, newID, "x\x1b"}).Draw(t, "to"),
			Verdict: rapid.SampledFrom([]string{"", "pass", "fail", "hold", "suspect", journal.Returned, journal.Deployed, journal.Inconsistent, "\x1b"}).Draw(t, "verdict"),
			Text:    rapid.String().Draw(t, "text"),
		}
		if r.Kind == journal.Begin {
			r.Data, _ = json.Marshal(journal.Outline{Message: rapid.String().Draw(t, "message"), Phases: []journal.Group{
				{Name: "canaries", Targets: many("c%d", 0, rapid.IntRange(0, 30).Draw(t, "canaries"))}, {Name: name.Draw(t, "name"), Targets: many("p%d", 0, rapid.IntRange(0, 200).Draw(t, "fleet"))},
			}})
		}
		if (r.Kind == journal.Ruled || r.Kind == journal.Watched) && rapid.Bool().Draw(t, "ruling") {
			r.Data, _ = json.Marshal(map[string]any{
				"until":    at.Add(time.Duration(rapid.IntRange(-100, 2000).Draw(t, "until")) * time.Second),
				"cause":    rapid.OneOf(rapid.SampledFrom([]string{"late", "gathering", "not-this-release"}), rapid.String()).Draw(t, "cause"),
				"suspects": rapid.SliceOfN(rapid.String(), 0, 8).Draw(t, "suspects"),
			})
		}
		return r
	})
}

// TestAnyStory: whatever the records, on whatever terminal, after each of them the terminal shows exactly the block that
// would be drawn from nothing, no line is too long for it, and nothing that a terminal obeys comes from a record.
func TestAnyStory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newTerminal(t, rapid.IntRange(1, 100).Draw(rt, "columns"), rapid.IntRange(2, 40).Draw(rt, "rows"))
		v := Live(m, m.size, LiveOptions{Colour: rapid.Bool().Draw(rt, "colour")})
		var lines strings.Builder
		l := Lines(&lines)
		for range rapid.IntRange(1, 40).Draw(rt, "records") {
			if rapid.IntRange(0, 5).Draw(rt, "resize") == 0 {
				m.resize(rapid.IntRange(1, 100).Draw(rt, "columns"), rapid.IntRange(2, 40).Draw(rt, "rows"))
			}
			r := anyRecord(time.Unix(1800000000, 0)).Draw(rt, "record")
			v.Show(r)
			l.Show(r)
			if r.Act == journal.Confirm && r.Kind == journal.Intent {
				continue
			}
			block := v.block(m.columns, m.rows)
			if len(block) >= m.rows {
				rt.Fatalf("%d lines on a terminal of %d", len(block), m.rows)
			}
			for y := m.y; y < m.rows; y++ {
				if m.line(y) != "" {
					rt.Fatalf("below the block: %q", m.line(y))
				}
			}
			for i, row := range block {
				want := row.plain()
				if Cells(want) >= max(m.columns, 2) {
					rt.Fatalf("%q on %d columns", want, m.columns)
				}
				want = strings.Map(func(c rune) rune { // marks that join the letter before them are not kept by the emulator
					if runeCells(c) == 0 {
						return -1
					}
					return c
				}, want)
				if got := m.line(m.y - len(block) + i); got != strings.TrimRight(want, " ") {
					rt.Fatalf("line %d: have %q, want %q\n%s", i, got, want, m)
				}
			}
		}
		v.Close()
		l.Close()
		for line := range strings.Lines(lines.String()) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return !unicode.IsPrint(c) }) {
				rt.Fatalf("%q", line)
			}
		}
	})
}

// resize changes the terminal's size as most terminals do: lines that are too long now are broken, and what is too much
// scrolls out above.
func (m *terminal) resize(columns, rows int) {
	var lines [][]rune
	y := 0
	for i, l := range m.screen {
		if i == m.y {
			y = len(lines)
		}
		for {
			n := min(columns, len(l))
			if n < len(l) && n > 1 && l[n] == 0 { // not through the middle of a wide letter
				n--
			}
			lines = append(lines, append([]rune{}, l[:n]...))
			if l = l[n:]; len(l) == 0 {
				break
			}
		}
	}
	for len(lines) > rows && len(lines)-1 > y { // empty rows below go first
		lines = lines[:len(lines)-1]
	}
	for len(lines) > rows {
		m.scrolled, lines, y = append(m.scrolled, string(lines[0])), lines[1:], y-1
	}
	for len(lines) < rows {
		lines = append(lines, nil)
	}
	m.columns, m.rows, m.screen, m.y = columns, rows, lines, max(y, 0)
}

// line is what stands in a row of the screen.
func (m *terminal) line(y int) string {
	if y < 0 {
		return "(above the screen)"
	}
	return strings.TrimRight(strings.ReplaceAll(string(m.screen[y]), "\x00", ""), " ")
}
