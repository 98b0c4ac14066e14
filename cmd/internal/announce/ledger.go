package announce

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"
)

// ledger is metrics that outlive the process which counts them: it takes up what was counted before, and adds to it.
type ledger map[string]*dto.MetricFamily

// bounds are the histograms' upper bounds, in seconds.
var bounds = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 2400, 4800}

// help describes the metrics. There are no others.
var help = map[string]string{
	"scap_deploys_total":                         "Deploys that ended, by what was asked for and how they ended.",
	"scap_deploy_duration_seconds":               "How long deploys took.",
	"scap_deploy_last_end_timestamp_seconds":     "When a deploy ended so last.",
	"scap_deploy_last_success_timestamp_seconds": "When a release was proven on every host last.",
	"scap_phase_duration_seconds":                "How long phases took, until they passed or failed.",
	"scap_gate_duration_seconds":                 "How long gates took for a batch, by their last verdict.",
	"scap_merge_duration_seconds":                "How long the merge of a backport was waited for.",
	"scap_watches_total":                         "Watches after a deploy that ended, by how.",
}

// readLedger takes up what was counted before: the families of help in in, of metrics that have all the labels of with, which
// are then left out. What cannot be read counts as nothing.
func readLedger(in io.Reader, with map[string]string) (ledger, error) {
	l := ledger{}
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(in)
	if err != nil {
		return l, err
	}
	for name, f := range families {
		if help[name] == "" {
			continue
		}
		f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool {
			met := 0
			m.Label = slices.DeleteFunc(m.Label, func(p *dto.LabelPair) bool {
				value, ok := with[p.GetName()]
				if ok && value == p.GetValue() {
					met++
				}
				return ok
			})
			return met < len(with)
		})
		if len(f.Metric) > 0 {
			l[name] = f
		}
	}
	return l, nil
}

// metric is the one with these labels, given as name and value in turn.
func (l ledger) metric(name string, kind dto.MetricType, labels ...string) *dto.Metric {
	f := l[name]
	if f == nil || f.GetType() != kind {
		f = &dto.MetricFamily{Name: proto.String(name), Help: proto.String(help[name]), Type: kind.Enum()}
		l[name] = f
	}
	var pairs []*dto.LabelPair
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, &dto.LabelPair{Name: proto.String(labels[i]), Value: proto.String(clean(labels[i+1]))})
	}
	byName := func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) }
	slices.SortFunc(pairs, byName)
	for _, m := range f.Metric {
		slices.SortFunc(m.Label, byName)
		if slices.EqualFunc(m.Label, pairs, func(a, b *dto.LabelPair) bool { return a.GetName() == b.GetName() && a.GetValue() == b.GetValue() }) {
			return m
		}
	}
	m := &dto.Metric{Label: pairs}
	f.Metric = append(f.Metric, m)
	return m
}

func (l ledger) count(name string, labels ...string) {
	m := l.metric(name, dto.MetricType_COUNTER, labels...)
	m.Counter = &dto.Counter{Value: proto.Float64(m.GetCounter().GetValue() + 1)}
}

func (l ledger) set(name string, value float64, labels ...string) {
	l.metric(name, dto.MetricType_GAUGE, labels...).Gauge = &dto.Gauge{Value: proto.Float64(value)}
}

// observe adds to a histogram. One with other bounds, which an older version left, begins anew.
func (l ledger) observe(name string, value float64, labels ...string) {
	m := l.metric(name, dto.MetricType_HISTOGRAM, labels...)
	before := map[float64]uint64{}
	for _, b := range m.GetHistogram().GetBucket() {
		before[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	h := &dto.Histogram{}
	same := true
	for _, bound := range bounds {
		n, ok := before[bound]
		same = same && ok
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: proto.Float64(bound), CumulativeCount: proto.Uint64(n)})
	}
	if same {
		h.SampleCount, h.SampleSum = proto.Uint64(m.GetHistogram().GetSampleCount()), proto.Float64(m.GetHistogram().GetSampleSum())
	} else {
		h.SampleCount, h.SampleSum = proto.Uint64(0), proto.Float64(0)
		for _, b := range h.Bucket {
			*b.CumulativeCount = 0
		}
	}
	for _, b := range h.Bucket {
		if value <= b.GetUpperBound() {
			*b.CumulativeCount++
		}
	}
	*h.SampleCount++
	*h.SampleSum += value
	m.Histogram = h
}

// Gather returns the families, sorted.
func (l ledger) Gather() ([]*dto.MetricFamily, error) {
	list := slices.Collect(maps.Values(l))
	slices.SortFunc(list, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return list, nil
}

// counts reports whether e changes a metric.
func counts(e Event) bool {
	return e.facts != nil && (e.ended() || e.What == Watch || e.What == watched)
}

// record adds what e ended.
func (l ledger) record(e Event) {
	f := e.facts
	if !e.ended() {
		how := e.Did // of a watch that failed nothing
		if e.What == Watch {
			how = "fail"
		}
		l.count("scap_watches_total", "how", lastWord(how))
		return
	}
	verb, how := f.word(), string(e.What)
	l.count("scap_deploys_total", "verb", verb, "how", how)
	l.observe("scap_deploy_duration_seconds", f.ended.Sub(f.run).Seconds(), "verb", verb, "how", how)
	at := float64(f.ended.UnixMilli()) / 1000
	l.set("scap_deploy_last_end_timestamp_seconds", at, "verb", verb, "how", how)
	if e.What == Deployed {
		l.set("scap_deploy_last_success_timestamp_seconds", at)
	}
	for _, a := range f.acts {
		if a.ended.IsZero() || a.began.Before(f.run) {
			continue // it died, before who ended it came
		}
		how := "passed"
		if a.bad {
			how = "failed"
		}
		switch a.act {
		case "phase":
			l.observe("scap_phase_duration_seconds", a.ended.Sub(a.began).Seconds(), "phase", a.phase, "how", how)
		case "merge":
			l.observe("scap_merge_duration_seconds", a.ended.Sub(a.began).Seconds(), "how", how)
		}
	}
	for _, g := range f.gates {
		if !g.began.Before(f.run) {
			l.observe("scap_gate_duration_seconds", g.ended.Sub(g.began).Seconds(), "phase", g.phase, "verdict", g.verdict)
		}
	}
}

// lastWord is the word at the end of text.
func lastWord(text string) string { return text[strings.LastIndexByte(text, ' ')+1:] }
