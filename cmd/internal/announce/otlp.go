package announce

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"scap/phases/journal"
)

// traces sends one trace a deploy, when it has ended. A deploy that was taken up again adds to its trace.
type traces struct {
	Options
	*web
	site string
}

// Tell sends the trace.
func (t *traces) Tell(ctx context.Context, e Event) error {
	if !e.ended() || e.facts == nil {
		return nil
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(t.endpoint()), otlptracehttp.WithTimeout(t.Timeout)}
	token := ""
	if t.TokenFile != "" {
		var err error
		if token, err = secret(t.TokenFile); err != nil {
			return err
		}
		options = append(options, otlptracehttp.WithHeaders(map[string]string{"Authorization": "Bearer " + token}))
	}
	client, err := t.plain()
	if err != nil {
		return err
	}
	patient := *client
	patient.Timeout = t.Timeout
	options = append(options, otlptracehttp.WithHTTPClient(&patient), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
		Enabled: true, InitialInterval: 200 * time.Millisecond, MaxInterval: 3 * time.Second, MaxElapsedTime: t.Timeout,
	}))
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return without(unnamed(ctx, err), token)
	}
	err = exporter.ExportSpans(ctx, t.spans(e))
	if bad := exporter.Shutdown(context.WithoutCancel(ctx)); err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("send the trace: %w", without(unnamed(ctx, err), token))
	}
	return nil
}

// endpoint is where traces are taken: the URL, with the usual path when it has none.
func (t *traces) endpoint() string {
	u, err := url.Parse(t.URL)
	if err != nil || u.Path != "" && u.Path != "/" {
		return t.URL
	}
	u.Path = "/v1/traces"
	return u.String()
}

// kept is a processor that keeps the spans.
type kept struct{ spans []sdk.ReadOnlySpan }

func (*kept) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (k *kept) OnEnd(s sdk.ReadOnlySpan)                 { k.spans = append(k.spans, s) }
func (*kept) Shutdown(context.Context) error             { return nil }
func (*kept) ForceFlush(context.Context) error           { return nil }

// ids are those of one run of one deploy: whoever sends it again sends the same spans.
type ids struct {
	deploy string
	run    int
	n      uint64
}

// NewIDs returns the deploy's trace and its next span.
func (i *ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	sum := sha256.Sum256([]byte("scap deploy " + i.deploy))
	id := trace.TraceID(sum[:16])
	return id, i.NewSpanID(ctx, id)
}

// NewSpanID returns the next span.
func (i *ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	i.n++
	text := fmt.Appendf(nil, "scap deploy %s run %d span ", i.deploy, i.run)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(text, i.n))
	return trace.SpanID(sum[:8])
}

// spans are the deploy, its phases, what was done on their hosts, their gates, and what came between.
func (t *traces) spans(e Event) []sdk.ReadOnlySpan {
	f, k := e.facts, &kept{}
	provider := sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysSample()), sdk.WithSpanProcessor(k),
		sdk.WithIDGenerator(&ids{deploy: t.site + " " + f.name, run: f.runs}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "scap"), attribute.String("host.name", t.site))))
	tracer := provider.Tracer("scap")
	began := f.run
	if len(f.acts) > 0 && f.acts[0].began.Before(began) {
		began = f.began // it died, and was taken up by who tells of it
	}
	root, top := tracer.Start(context.Background(), "scap "+f.word(), trace.WithTimestamp(began), trace.WithAttributes(f.attributes(e)...))
	parents := map[string]context.Context{}
	for _, a := range f.acts {
		parent := root
		if p, ok := parents[a.parent()]; ok && a.act != journal.PhaseAct {
			parent = p
		}
		ctx, s := tracer.Start(parent, a.span(), trace.WithTimestamp(a.began), trace.WithAttributes(a.attributes()...))
		if a.act == journal.PhaseAct || a.act == journal.Rollback && a.target == "" {
			parents[a.parent()] = ctx
		}
		if a.bad {
			s.SetStatus(codes.Error, "")
		}
		end := a.ended
		if end.IsZero() {
			end = f.ended
		}
		s.End(trace.WithTimestamp(end))
	}
	for _, g := range f.gates {
		parent := root
		if p, ok := parents["phase "+g.phase]; ok {
			parent = p
		}
		_, s := tracer.Start(parent, "gate", trace.WithTimestamp(g.began), trace.WithAttributes(attribute.String("scap.phase", clean(g.phase)),
			attribute.String("scap.verdict", clean(g.verdict)), attribute.String("scap.cause", clean(g.cause)), attribute.Int("scap.looks", g.looks)))
		if g.verdict == "fail" {
			s.SetStatus(codes.Error, g.counts)
		}
		s.End(trace.WithTimestamp(g.ended))
	}
	if e.What != Deployed {
		top.SetStatus(codes.Error, f.why())
	}
	top.End(trace.WithTimestamp(f.ended))
	return k.spans
}

// parent names the span that a is part of, or is.
func (a act) parent() string {
	if a.act == journal.Rollback {
		return "rollback"
	}
	return "phase " + a.phase
}

func (a act) span() string {
	if a.act == journal.PhaseAct {
		return "phase " + clean(a.phase)
	}
	return clean(a.act)
}

func (a act) attributes() []attribute.KeyValue {
	var list []attribute.KeyValue
	for _, x := range [][2]string{{"scap.phase", a.phase}, {"scap.target", a.target}, {"scap.verdict", a.verdict}} {
		if x[1] != "" {
			list = append(list, attribute.String(x[0], clean(x[1])))
		}
	}
	if a.hosts > 0 {
		list = append(list, attribute.Int("scap.hosts", a.hosts), attribute.Int("scap.failed", a.failed))
	}
	return list
}

func (f *facts) attributes(e Event) []attribute.KeyValue {
	list := []attribute.KeyValue{
		attribute.String("scap.deploy", clean(f.name)), attribute.String("scap.verb", f.word()), attribute.String("scap.how", string(e.What)),
		attribute.String("scap.from", clean(f.from)), attribute.String("scap.to", clean(f.to)), attribute.String("scap.about", e.About),
		attribute.String("scap.user", clean(f.outline.User)), attribute.Int("scap.hosts", len(f.hosts)), attribute.Bool("scap.back", f.outline.Back),
	}
	var numbers []int
	for _, c := range f.outline.Changes {
		if c.Number > 0 {
			numbers = append(numbers, c.Number)
		}
	}
	return append(list, attribute.IntSlice("scap.changes", numbers))
}
