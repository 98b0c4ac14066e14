package sourcetest

import (
	"slices"
	"strings"

	"scap/canary"
)

func find(ps []canary.Print, part string) (canary.Print, bool) {
	i := slices.IndexFunc(ps, func(p canary.Print) bool { return strings.Contains(p.Text, part) })
	if i < 0 {
		return canary.Print{}, false
	}
	return ps[i], true
}

func prints(b *bench) {
	if b.NoPrints {
		b.t.Skip("this source knows no fingerprints")
	}
	parse := print("ParseError", "src/Parser.php", "Unexpected token")
	logic := print("LogicException", "src/Logic.php", "Never so")
	put := func(host string, k int, p canary.Print) Event {
		e := b.bad(host, b.at(k, 0))
		e.Print = p
		b.log(e)
		return e
	}
	put(one, 1, logic) // before the range
	first := put(one, 3, parse)
	put(one, 4, parse)
	put(one, 5, parse)
	put(two, 3, parse)
	put(two, 4, logic)
	if !b.NoIDs {
		b.log(first) // known by two records
	}
	b.beat(8 + settle)
	q := b.ask(2, 8, one, two, three)
	q.Prints = true
	r := b.exact(q)
	for i, want := range []map[string]int64{{"ParseError": 3}, {"ParseError": 1, "LogicException": 1}, {}} {
		h := r.Hosts[i]
		if len(h.Prints) != len(want) {
			b.t.Errorf("%q: fingerprints %v, want %v", h.Host, h.Prints, want)
		}
		for class, n := range want {
			p, ok := find(h.Prints, class)
			if !ok || p.Count != n {
				b.t.Errorf("%q: %d requests of %s, want %d", h.Host, p.Count, class, n)
			}
			if p.File != "" && !strings.Contains(p.Text, p.File) {
				b.t.Errorf("%q: the file of %q is said to be %q", h.Host, p.Text, p.File)
			}
			if p.ID != "" && !slices.ContainsFunc(b.past, func(e Event) bool {
				return e.ID == p.ID && e.Host == h.Host && strings.Contains(e.Print.Text, class)
			}) {
				b.t.Errorf("%q: request %q did not fail by %s", h.Host, p.ID, class)
			}
		}
	}
	x, _ := find(r.Hosts[0].Prints, "ParseError")
	if y, _ := find(r.Hosts[1].Prints, "ParseError"); x.Text != y.Text {
		b.t.Errorf("one failure is called %q on one host, %q on another: they cannot be compared", x.Text, y.Text)
	}
}

func boundedPrints(b *bench) {
	if b.NoPrints {
		b.t.Skip("this source knows no fingerprints")
	}
	often := print("OftenError", "src/Often.php", "Again and again")
	var es []Event
	for n := range MaxPrints + 200 {
		// Letters that no normalisation takes for a number.
		name := "Z" + strings.Map(func(r rune) rune { return 'g' + (r - '0') }, string(rune('0'+n/1000))+string(rune('0'+n/100%10))+string(rune('0'+n/10%10))+string(rune('0'+n%10)))
		e := b.bad(one, b.at(3, 0))
		e.Print = print(name+"Error", "src/"+name+".php", "Boom")
		es = append(es, e)
		if n%20 == 0 {
			e := b.bad(one, b.at(3, 0))
			e.Print = often
			es = append(es, e)
		}
	}
	long := b.bad(two, b.at(3, 0))
	long.Print = print("LongError", "src/Long.php", strings.Repeat("very ", 20_000)+"long")
	rude := b.bad(two, b.at(4, 0))
	rude.Print = print("RudeError", "src/Rude.php", "\x1b]0;owned\x07\x1b[31mred\u009b2J")
	b.log(append(es, long, rude)...)
	b.beat(6 + settle)
	q := b.ask(2, 6, one, two)
	q.Prints = true
	r := b.exact(q)
	if p, ok := find(r.Hosts[0].Prints, "OftenError"); !ok || p.Count != (MaxPrints+200)/20 {
		b.t.Errorf("the most frequent failure counts %d, want %d", p.Count, (MaxPrints+200)/20)
	}
	for _, class := range []string{"LongError", "RudeError"} {
		if _, ok := find(r.Hosts[1].Prints, class); !ok {
			b.t.Errorf("%s is not among the fingerprints", class)
		}
	}
}
