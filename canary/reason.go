package canary

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// twoLines of a terminal are what a person reads of a reason.
const twoLines = 200

// reason says in one or two lines what a finding rests on, so that a person can check it by hand. Of an error whose text
// does not fit it has the beginning; all of it is in the Numbers.
func (b *Book) reason(r *Rule, f finding, n *Numbers) string {
	said := b.words(r, f, n)
	text := ""
	switch {
	case f.kind != nil:
		text = f.kind.Text
	case len(b.Kinds) > 0:
		text = b.Kinds[0].Text
	}
	const least, dots = 40, "…"
	if most := len(text) - (len(said) - twoLines) - len(dots); len(said) > twoLines && len(text) > least {
		said = strings.Replace(said, text, clean(text, max(least, most))+dots, 1)
	}
	return said
}

func (b *Book) words(r *Rule, f finding, n *Numbers) string {
	switch f.rule {
	case byHard:
		return fmt.Sprintf("canary %s of %s requests failing (%s) in the tick of %s: stopped at once%s",
			number(b.Hard.X), number(b.Hard.N), percent(float64(b.Hard.X)/float64(max(1, b.Hard.N))), clock(b.Hard.At), b.top())
	case byRatio:
		return b.ratioReason(r, f, n)
	case byOwn:
		return b.ownReason(r, f)
	case byRise:
		return b.riseReason(r, f)
	case byPrint:
		return b.printReason(f, n)
	case bySignal:
		return b.signalReason(r, f)
	case byRed:
		return fmt.Sprintf("not this release: %s; canary and control alike", f.text)
	case byControl:
		return fmt.Sprintf("not this release: control had %s requests failing since %s where %s are usual; since the batch canary %s, control %s",
			number(b.Red.X), clock(b.Red.From), count(b.Red.E), rates(b.Batch), rates(b.Against))
	case byStrays:
		return fmt.Sprintf("%s failing requests of the machines cannot be told to be of one of their two releases: %s; %s",
			number(b.Strays), tellApart, b.counts())
	case byShare:
		if len(b.Trials) > 0 {
			return fmt.Sprintf("the trials get %s of their machines' requests and should get %s: does the web server know their sockets? %s",
				percent(b.Theta), percent(b.Expected), b.counts())
		}
		return fmt.Sprintf("canaries get %s of the requests and should get %s: are they in the pool? %s", percent(b.Theta), percent(b.Expected), b.counts())
	case byTraffic:
		return b.trafficReason(r)
	case byGathering:
		return b.wants(r, n)
	}
	by, e := fmt.Sprintf("less than %g times the control", r.HarmRatio), n.PassBy
	if b.Refuted.Rate >= math.Log(r.PassAt) && b.Refuted.Ratio < math.Log(r.PassAt) {
		by, e = "less than "+percent(r.HarmRate), n.PassBy0
	}
	return fmt.Sprintf("%s: harm refuted (%s), evidence %s >= %g, in %v%s", b.counts(), by, big(e), r.PassAt, b.dwelt(r), b.top())
}

func (b *Book) trafficReason(r *Rule) string {
	said := fmt.Sprintf("no request was served by the %d canary hosts in %v since %s", b.CanaryHosts, b.dwelt(r), clock(b.Opened))
	switch {
	case b.Against.N > 0:
		return said + fmt.Sprintf(", and %s by the control: are they in the pool?", number(b.Against.N))
	case b.ControlHosts > 0:
		return said + ", nor by the control: do users come, and is it their log?"
	}
	return said
}

// counts are both arms' totals.
func (b *Book) counts() string {
	if b.ControlHosts == 0 && b.Lone.N > 0 {
		return "canary " + rates(b.Lone) + " without control"
	}
	return "canary " + rates(b.Canary) + ", control " + rates(b.Control)
}

func rates(t total) string {
	return fmt.Sprintf("%s of %s failing (%s)", number(t.X), number(t.N), percent(t.rate()))
}

func (b *Book) ratioReason(r *Rule, f finding, n *Numbers) string {
	said, times := b.counts(), n.Ratio
	if since := ratio(b.Batch.X, b.Batch.N, b.Against.X, b.Against.N); b.Batches > 1 && since > times { // of all batches together it says little
		said, times = "since the batch canary "+rates(b.Batch)+", control "+rates(b.Against), since
	}
	if times > 0 {
		said += fmt.Sprintf(": ratio %.1f", times)
	}
	said += fmt.Sprintf(", evidence of harm %s >= %g", big(n.E), r.FailAt)
	if n.Phi > 1.05 {
		said += fmt.Sprintf(", clustering %.1f", n.Phi)
	}
	without := fmt.Sprintf(", but %s without %s", big(n.Without), n.Host)
	switch {
	case f.verdict == Fail && b.several():
		return said + fmt.Sprintf(", on %d workers of %s, the only canary", b.Hosts[0].Hands, b.Hosts[0].Host) + b.top()
	case f.verdict == Fail:
		return said + b.top()
	case f.verdict == Suspect:
		return said + without + ": that host, not the release" + b.top()
	case f.cause == OneHost:
		return said + without + ": " + b.tooFew("one of", f.hosts[0]) + b.top()
	}
	return said + without + ": too few failing requests to tell host from release yet" + b.top()
}

func (b *Book) riseReason(r *Rule, f finding) string {
	said := fmt.Sprintf("no control left: %s failing since %s where the frozen rate of %s makes %s",
		number(b.Rise.X), clock(b.Rise.From), percent(b.old(r).rate()), count(b.Rise.E))
	switch {
	case f.verdict == Fail:
		return said + ", beginning with an activation" + b.top()
	case f.verdict == Suspect:
		return said + "; mostly " + f.hosts[0] + ": that host, not the release" + b.top()
	case f.cause == OneHost:
		return fmt.Sprintf("%s; mostly %s, of %d hosts: too few to tell host from release%s", said, f.hosts[0], b.CanaryHosts, b.top())
	case f.cause == Gathering:
		return said
	}
	return "not this release: " + said + ", which is not close to an activation" + b.top()
}

func (b *Book) printReason(f finding, n *Numbers) string {
	said := fmt.Sprintf("new error, %s distinct requests on the canary (%s of %s failing), %d on control, never before: %s%s",
		number(f.kind.Count), number(b.Canary.X+b.Lone.X), number(b.Canary.N+b.Lone.N), f.kind.Control, f.kind.Text, inChange(f.kind))
	said += fmt.Sprintf("; %d suffice", n.NewAt)
	switch f.cause {
	case OneHost:
		return said + "; all on " + f.hosts[0] + ", " + b.tooFew("of", f.hosts[0])
	case BothRed:
		return "not this release by its time: " + said + "; it began at " + clock(f.kind.First) + ", not close to an activation"
	}
	return said
}

func (b *Book) signalReason(r *Rule, f finding) string {
	s := f.signal
	if drops.mean(s.Wealth) < r.FailAt {
		said := fmt.Sprintf("no control left: %s %s since %s where the frozen rate makes %s", s.Name, number(s.Fall.X), clock(s.Fall.From), count(s.Fall.E))
		if f.verdict == Fail {
			return said + ", beginning with an activation"
		}
		return "not this release: " + said + ", which is not close to an activation"
	}
	said := fmt.Sprintf("%s dropped: canary %s in %s requests (%s), control %s in %s (%s): ratio %.2f, evidence of a drop %s >= %g", s.Name,
		number(s.Canary.X), number(s.Canary.N), percent(s.Canary.rate()), number(s.Control.X), number(s.Control.N), percent(s.Control.rate()),
		ratio(s.Canary.X, s.Canary.N, s.Control.X, s.Control.N), big(drops.mean(s.Wealth)), r.FailAt)
	switch {
	case f.verdict == Suspect:
		return said + "; only on " + f.hosts[0] + ": that host, not the release"
	case f.cause == OneHost && len(f.hosts) > 0 && b.isTrial(f.hosts[0]):
		return said + "; only on " + f.hosts[0] + ", " + b.tooFew("", f.hosts[0])
	case f.cause == OneHost:
		return fmt.Sprintf("%s; %d canary hosts are too few to tell host from release", said, b.CanaryHosts)
	}
	return said
}

// tellApart is what to do about failures that are of neither of a machine's releases.
const tellApart = "let every log have the request id that the access log has, or the release"

// tooFew says why one host is no verdict on the release.
func (b *Book) tooFew(of, host string) string {
	if b.isTrial(host) {
		return "while its machine serves the old release well: too few workers are known to have failed to tell one from the release"
	}
	return fmt.Sprintf("%s %d canary hosts, too few to tell host from release", of, b.CanaryHosts)
}

// wants says what a Pass still lacks, and how long that may take.
func (b *Book) wants(r *Rule, n *Numbers) string {
	var list []string
	if d := b.dwelt(r); d < r.Dwell {
		list = append(list, fmt.Sprintf("dwell %v of %v", d, r.Dwell))
	}
	if b.Sample < r.MinRequests {
		list = append(list, fmt.Sprintf("%s of %s requests of this batch", number(b.Sample), number(r.MinRequests)))
	}
	if !b.Refuted.done(r) {
		list = append(list, fmt.Sprintf("evidence of no harm %s of %g", big(max(n.PassBy, n.PassBy0)), r.PassAt))
		if have := b.Canary.N + b.Lone.N; n.Needs > have && n.PassBy0 >= n.PassBy {
			list[len(list)-1] = fmt.Sprintf("%s of %s clean requests", number(have), number(n.Needs))
		}
	}
	said := strings.Join(list, ", ")
	switch {
	case n.More > 0:
		said += "; about " + about(n.More) + " more"
	case n.More < 0:
		said += "; at this rate it does not come"
	}
	return said + "; " + b.counts() + b.top()
}

// outlook is how many clean requests are needed in all, and about how long a Pass will take at the rates so far: -1 when
// it would not come.
func (b *Book) outlook(r *Rule) (needs int64, more time.Duration) {
	phi := b.Phi.phi(r, b.Largest)
	goal, n := math.Log(r.PassAt), b.Canary.N+b.Lone.N
	ticks := math.Max(0, math.Ceil(float64(r.Dwell-b.dwelt(r))/float64(r.Tick)))
	per := float64(b.Sample) / float64(max(1, b.Closed)) // requests a tick
	if b.Closed == 0 {
		return 0, time.Duration(ticks) * r.Tick
	}
	if lack := float64(r.MinRequests - b.Sample); lack > 0 {
		ticks = max(ticks, math.Ceil(lack/per))
	}
	if !b.Refuted.done(r) {
		all := float64(b.Batch.N) / float64(max(1, b.Closed))
		clean := (goal - b.Refuted.Rate) * phi / (r.HarmRate - r.cleanRate())
		needs = n + int64(min(1e15, math.Ceil(clean)))
		ticks = max(ticks, min(clean/all, b.byRatioIn(r, goal, phi)))
	}
	if !(ticks < 1e6) {
		return needs, -1
	}
	return needs, time.Duration(math.Ceil(ticks)) * r.Tick
}

// byRatioIn is how many ticks it takes to refute harm by its ratio at the control's rate, if the canary is as good.
func (b *Book) byRatioIn(r *Rule, goal, phi float64) float64 {
	if b.Theta <= 0 || b.Theta >= 1 || b.Against.X == 0 {
		return math.Inf(1)
	}
	m := float64(b.Against.X) / float64(max(1, b.Closed)) / (1 - b.Theta) // failing on both arms a tick
	drift := m * (math.Log(1-b.Theta+b.Theta*r.HarmRatio) - b.Theta*math.Log(r.HarmRatio)) / phi
	return (goal - b.Refuted.Ratio) / drift
}

// top is the foremost error of the canaries.
func (b *Book) top() string {
	if len(b.Kinds) == 0 {
		return ""
	}
	k := &b.Kinds[0]
	if k.isNew() {
		return "; top new error: " + k.Text + inChange(k)
	}
	return "; top error: " + k.Text
}

func inChange(k *printBook) string {
	switch k.Change {
	case inside:
		return ", in this change"
	case outside:
		return ", in no file of this change"
	}
	return ""
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// number writes 31,020.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count writes what need not be whole.
func count(f float64) string {
	if f >= 100 || f == math.Trunc(f) && f < 1e15 {
		return number(int64(math.Round(min(f, 1e15))))
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

// percent writes a share with two figures that say something.
func percent(f float64) string {
	p := 100 * f
	switch {
	case p == 0:
		return "0 %"
	case p >= 10:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
	return strconv.FormatFloat(p, 'g', 2, 64) + " %"
}

// big writes an e-value.
func big(e float64) string {
	switch {
	case e >= 1e6:
		return "over a million"
	case e >= 10:
		return number(int64(e))
	}
	return strconv.FormatFloat(e, 'g', 2, 64)
}

// about writes a duration as people say it.
func about(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%d s", int(math.Ceil(d.Seconds())))
	}
	return fmt.Sprintf("%d min", int(math.Ceil(d.Minutes())))
}
