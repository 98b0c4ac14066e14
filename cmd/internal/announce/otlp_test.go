package announce

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"scap/phases"
	"scap/phases/journal"
)

var errFull = errors.New("no space left on device")

func mergeAct() *phases.After {
	return &phases.After{Act: journal.Merge, Do: func(ctx context.Context, _ func(string)) (string, error) {
		return "merged", nil
	}}
}

// collect is a collector: it decodes what it is sent.
func collect(t *testing.T, answer func(n int, w http.ResponseWriter)) (url string, spans func() []*tracepb.Span) {
	t.Helper()
	var got []*tracepb.Span
	s := serve(t, func(n int, w http.ResponseWriter, r *http.Request, body string) {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Authorization") != "Bearer "+secretText {
			t.Errorf("asked for %s as %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		if answer != nil {
			answer(n, w)
		}
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			text, _ := io.ReadAll(z)
			body = string(text)
		}
		var sent collector.ExportTraceServiceRequest
		if err := proto.Unmarshal([]byte(body), &sent); err != nil {
			t.Error(err)
		}
		got = nil
		for _, r := range sent.ResourceSpans {
			for _, scope := range r.ScopeSpans {
				got = append(got, scope.Spans...)
			}
		}
	})
	return s.URL, func() []*tracepb.Span {
		s.mu.Lock()
		defer s.mu.Unlock()
		return got
	}
}

// outline draws spans as a tree, with how long they took.
func outline(spans []*tracepb.Span) (list []string) {
	var under func(parent string, depth int)
	under = func(parent string, depth int) {
		for _, s := range spans {
			if string(s.ParentSpanId) != parent {
				continue
			}
			name := s.Name
			for _, a := range s.Attributes {
				if a.Key == "scap.target" || a.Key == "scap.verdict" && s.Name == "gate" {
					name += " " + a.Value.GetStringValue()
				}
			}
			if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
				name += "!"
			}
			took := time.Duration(s.EndTimeUnixNano - s.StartTimeUnixNano).Round(100 * time.Millisecond)
			list = append(list, fmt.Sprintf("%s%s %s", strings.Repeat("  ", depth), name, took))
			under(string(s.SpanId), depth+1)
		}
	}
	under("", 0)
	return list
}

func TestTraces(t *testing.T) {
	s := newScene()
	s.plan.Phases[0].After = mergeAct()
	s.plan.Phases[2].Gate = fails
	events := deploy(t, s).heard()
	url, spans := collect(t, func(n int, w http.ResponseWriter) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	a := &traces{Options: Options{URL: url, TokenFile: secretFile(t, secretText), Timeout: 10 * time.Second}, web: newWeb(""), site: "deploy1"}
	defer a.Close()
	for _, e := range events {
		if err := a.Tell(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"scap backport! 49s", "  preflight 0s", "  stage 1s",
		"  phase test 12s", "    activate mwdebug1001 2s", "    activate mwdebug1002 2s", "    confirm 10s", "    merge 0s", "    gate off 0s",
		"  phase canaries 32s", "    activate canary1 2s", "    activate canary2 2s", "    gate pass 30s",
		"  phase all! 2s", "    activate mw1 2s", "    activate mw2 2s", "    activate mw3 2s", "    activate mw4 2s", "    gate fail! 0s",
		"  rollback 2s",
	}
	got := outline(spans())
	for _, h := range []string{"mwdebug1001", "mwdebug1002", "canary1", "canary2", "mw1", "mw2", "mw3", "mw4"} {
		if i := slices.IndexFunc(got, func(l string) bool { return strings.HasPrefix(l, "    rollback "+h) }); i < 0 {
			t.Errorf("no span of the way back of %s", h)
		}
	}
	got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, "    rollback ") })
	sorted := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	wantLines(t, sorted(got), sorted(want)...)
	first := spans()
	for _, sp := range first {
		if strings.Contains(sp.String(), secretText) || len(sp.TraceId) != 16 || string(sp.TraceId) != string(first[0].TraceId) {
			t.Errorf("a span: %s", sp)
		}
	}
	if err := a.Tell(t.Context(), events[len(events)-1]); err != nil { // whoever sends it again sends the same
		t.Fatal(err)
	}
	if again := spans(); len(again) != len(first) || string(again[3].SpanId) != string(first[3].SpanId) || string(again[0].TraceId) != string(first[0].TraceId) {
		t.Error("a trace that is sent again is another")
	}
}

func TestTracesFail(t *testing.T) {
	events := deploy(t, newScene()).heard()
	e := events[len(events)-1]
	secretPath := secretFile(t, secretText)
	url, _ := collect(t, func(_ int, w http.ResponseWriter) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "no "+secretText)
	})
	a := &traces{Options: Options{URL: url + "/v1/traces", TokenFile: secretPath, Timeout: time.Second}, web: newWeb("")}
	defer a.Close()
	if err := a.Tell(t.Context(), e); err == nil || strings.Contains(err.Error(), secretText) {
		t.Errorf("error %v", err)
	}
	down := &traces{Options: Options{URL: "http://" + free(t), TokenFile: secretPath, Timeout: 300 * time.Millisecond}, web: newWeb("")}
	defer down.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := down.Tell(ctx, e); err == nil {
		t.Error("nobody listens, and it is told")
	}
}
