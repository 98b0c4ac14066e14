package sourcetest

import (
	"slices"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"scap/canary"
)

// arms are two releases of one machine: the one that is tried, and the other.
func (b *bench) arms(machine string) (trial, old canary.Host) {
	trial, old = b.hosts[machine], b.hosts[machine]
	trial.Name, trial.On, trial.Trial, trial.Beside = machine+" canary", machine, true, Earlier
	old.On, old.Release, old.Beside, old.Nonce = machine, Earlier, Release, ""
	if b.NoNonce {
		trial.Nonce = ""
	}
	return trial, old
}

// askArms is a question about both releases of machines, the trials first.
func (b *bench) askArms(from, to int, machines ...string) canary.Query {
	q := b.ask(from, to)
	var olds []canary.Host
	for _, m := range machines {
		trial, old := b.arms(m)
		q.Hosts = append(q.Hosts, trial)
		olds = append(olds, old)
	}
	q.Hosts = append(q.Hosts, olds...)
	return q
}

// served logs what the earlier release served in ticks 2 to 10 and the one that is tried in those from 4 on, mixed.
func (b *bench) served(hosts ...string) {
	old, tried := b.traffic(2, 10, hosts...), b.traffic(4, 10, hosts...)
	for i := range old {
		old[i].Release = Earlier
	}
	es := append(old, tried...)
	slices.SortStableFunc(es, func(x, y Event) int { return x.At.Compare(y.At) })
	b.log(es...)
}

func twoArms(b *bench) {
	if b.NoArms {
		b.t.Skip("this source cannot tell two releases of one host apart")
	}
	b.served(one, two)
	b.beat(10 + settle)
	b.exact(b.askArms(2, 10, one, two))
	// One arm alone, in another order, and together with a host that has its machine for itself.
	q := b.askArms(3, 9, two)
	slices.Reverse(q.Hosts)
	b.exact(q)
	q.Hosts = q.Hosts[:1]
	b.exact(q)
	q = b.askArms(4, 10, one)
	q.Hosts[0].Since = b.at(6, 0)
	b.exact(q)
	q = b.askArms(2, 10, one)
	q.Prints = !b.NoPrints
	for i, h := range b.exact(q).Hosts {
		if p, ok := find(h.Prints, "TypeError"); q.Prints && (!ok || p.Count != b.want(q.Hosts[i], q.From, q.To).x) {
			b.t.Errorf("%q: %d requests failed by TypeError, want %d", h.Host, p.Count, b.want(q.Hosts[i], q.From, q.To).x)
		}
	}
}

func armsAgain(b *bench) {
	if b.NoArms {
		b.t.Skip("this source cannot tell two releases of one host apart")
	}
	b.served(one)
	b.beat(10 + settle)
	q := b.askArms(2, 10, one)
	first := b.exact(q)
	b.Source = b.Again
	for _, part := range [][2]int{{2, 5}, {5, 10}} { // in parts, as it is read while it is written
		b.exact(b.askArms(part[0], part[1], one))
	}
	for i, h := range b.exact(q).Hosts {
		if diff := gocmp.Diff(first.Hosts[i].Ticks, h.Ticks, cmpopts.EquateEmpty()); diff != "" {
			b.t.Errorf("%q: first (-) and by another reader (+): %s", h.Host, diff)
		}
	}
}

func strays(b *bench) {
	if b.NoArms || b.NoStrays {
		b.t.Skip("this source does not know failures that may be of either release")
	}
	b.served(one)
	e := b.bad(one, b.at(5, 0))
	e.ID, e.Stray = "", true
	e.Print = print("LogicException", "src/Logic.php", "Whose am I")
	later := e
	later.At = b.at(7, 1)
	b.log(e, later, later)
	b.beat(10 + settle)
	q := b.askArms(2, 10, one)
	q.Prints = !b.NoPrints
	for _, h := range b.exact(q).Hosts {
		if p, ok := find(h.Prints, "LogicException"); ok {
			b.t.Errorf("%q: %d requests are said to have failed by what may be of the other release", h.Host, p.Count)
		}
	}
}

func mixedArms(b *bench) {
	if !b.NoArms {
		b.t.Skip("this source can tell two releases of one host apart")
	}
	b.served(one, two)
	b.beat(10 + settle)
	q := b.askArms(2, 10, one)
	q.Hosts = append(q.Hosts, b.ask(2, 10, two).Hosts...)
	before := b.askArms(2, 10, one) // as before a deploy: there is no second release yet
	before.Hosts = before.Hosts[1:]
	before.Hosts[0].Release, before.Hosts[0].Beside = "", ""
	for _, q := range []canary.Query{q, before} {
		r, err := b.Source.Read(b.ctx, q)
		if err != nil {
			b.t.Fatal(err)
		}
		b.form(q, r)
		for i, h := range r.Hosts {
			switch on := q.Hosts[i].On != ""; {
			case on && h.Problem == "":
				b.t.Errorf("%q: two releases are mixed without a word", h.Host)
			case on:
				b.t.Log(h.Problem)
			case h.Problem != "":
				b.t.Errorf("%q has its machine for itself, and yet a problem: %s", h.Host, h.Problem)
			}
		}
	}
}
