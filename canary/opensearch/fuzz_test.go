package opensearch

import (
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"scap/canary"
)

func writeCert(t *testing.T, path string, server *httptest.Server) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	head = `{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"total":{"value":9,"relation":"eq"}},"aggregations":{"hosts":{"buckets":[`
	tail = `]}}}`
)

// Answers, and whether they are whole and their counts to be used.
var answers = []struct {
	text        string
	whole, good bool
}{
	{head + `{"doc_count":3,"ticks":{"buckets":[{"key":1673986500000,"doc_count":1,"distinct":{"value":1},"nameless":{"doc_count":0}},{"key":1673986505000,"doc_count":2,"distinct":{"value":1},"nameless":{"doc_count":1}}]},"kinds":{"doc_count_error_upper_bound":0,"buckets":[]},"newest":{"value":1.67398651E12}}` + tail, true, true},
	{head + `{"doc_count":0,"ticks":{"buckets":[]},"kinds":{"buckets":[]},"newest":{"value":null}}` + tail, true, true},
	{head + `{"doc_count":9,"ticks":{"buckets":[]},"kinds":{"buckets":[]},"newest":{"value":1}}` + tail, true, false},                                                                                                                                                       // records in no tick
	{head + `{"doc_count":1,"ticks":{"buckets":[{"key":1673986500000,"doc_count":1,"distinct":{"value":1e99},"nameless":{"doc_count":0}}]},"kinds":{"buckets":[]}}` + tail, true, false},                                                                                    // more than can be
	{head + `{"doc_count":1,"ticks":{"buckets":[{"key":"1673986500000","doc_count":1,"distinct":{"value":1},"nameless":{"doc_count":0}}]},"kinds":{"buckets":[]}}` + tail, true, false},                                                                                     // a key that is a word
	{head + `{"doc_count":1,"ticks":{"buckets":[{"key":1673986500000.5,"doc_count":1,"distinct":{"value":1},"nameless":{"doc_count":0}}]},"kinds":{"buckets":[]}}` + tail, true, false},                                                                                     // half a millisecond
	{head + `{"doc_count":1,"ticks":{"buckets":[{"key":1673986500000,"doc_count":1,"distinct":{"value":1},"nameless":{"doc_count":-1}}]},"kinds":{"buckets":[]}}` + tail, true, false},                                                                                      // less than nothing
	{head + `{"doc_count":1,"ticks":{"buckets":[{"key":1673986500000,"doc_count":1,"distinct":{"value":0.5},"nameless":{"doc_count":0}}]},"kinds":{"buckets":[]}}` + tail, true, false},                                                                                     // half a request
	{head + `{"doc_count":9223372036854775807,"ticks":{"buckets":[{"key":1673986500000,"doc_count":9223372036854775807,"distinct":{"value":1},"nameless":{"doc_count":0}}]}}` + tail, true, false},                                                                          // no kinds
	{head + `{"doc_count":2,"ticks":{"buckets":[{"key":1673986500000,"doc_count":1,"distinct":{"value":1},"nameless":{"doc_count":0}},{"key":1673986500000,"doc_count":1,"distinct":{"value":1},"nameless":{"doc_count":0}}]},"kinds":{"buckets":[]}}` + tail, true, false}, // one tick in two
	{head + `null` + tail, false, false},
	{head + tail, false, false},                                                 // no host
	{strings.Replace(head, `false`, `true`, 1) + tail, false, false},            // timed out
	{strings.Replace(head, `"eq"`, `"gte"`, 1) + tail, false, false},            // a lower bound
	{strings.Replace(head, `"failed":0`, `"failed":1`, 1) + tail, false, false}, // a shard is missing
	{head, false, false},               // cut off
	{head + tail + `{}`, false, false}, // goes on
	{`[]`, false, false},
	{`null`, false, false},
	{`{}`, false, false},
	{``, false, false},
	{"\x00\xff", false, false},
	{strings.Repeat("[", 20_000), false, false},
}

// used is what the source makes of an answer about one host.
func used(text []byte) (ticks []canary.Tick, prints []canary.Print, whole bool, err error) {
	s := &Source{c: Config{Fields: Fields{Class: "class", Request: "reqId"}}.defaults()}
	a, err := parse(text)
	if err != nil {
		return nil, nil, false, err
	}
	hosts, err := a.hosts(1)
	if err != nil {
		return nil, nil, false, err
	}
	if ticks, err = hosts[0].ticks(question{zero, at(60), 5 * time.Second, true, 3000}); err != nil {
		return nil, nil, true, err
	}
	if prints, err = s.kindsOf(hosts[0]); err != nil {
		return nil, nil, true, err
	}
	_, err = hosts[0].newest()
	return ticks, prints, true, err
}

func TestAnswers(t *testing.T) {
	for i, a := range answers {
		if _, _, whole, err := used([]byte(a.text)); whole != a.whole || (err == nil) != a.good {
			t.Errorf("answer %d: whole %v, %v; want %v, %v", i, whole, err, a.whole, a.good)
		}
	}
	if ticks, _, _, _ := used([]byte(answers[0].text)); len(ticks) != 2 || ticks[0].Requests != 1 || ticks[1].Requests != 2 {
		t.Errorf("%+v", ticks)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, a := range answers {
		f.Add([]byte(a.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ticks, prints, _, err := used(text)
		if err != nil {
			if s := clean(err.Error()); len(err.Error()) > 1000 || s == "" {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("control characters in %q", err)
			}
			return
		}
		if !json.Valid(text) {
			t.Error("what is no JSON was used")
		}
		var last time.Time
		for _, k := range ticks {
			if !k.At.After(last) || k.At.Before(zero) || !k.At.Before(at(60)) || k.Requests <= 0 || k.At.UnixNano()%int64(5*time.Second) != 0 {
				t.Errorf("tick %+v after %s", k, last)
			}
			last = k.At
		}
		if len(prints) > maxPrints {
			t.Errorf("%d prints", len(prints))
		}
		for _, p := range prints {
			if p.Count <= 0 || p.Text == "" || len(p.Text) > maxText+10 || strings.ContainsFunc(p.Text+p.File+p.ID, unicode.IsControl) {
				t.Errorf("print %+v", p)
			}
		}
	})
}

func FuzzFingerprint(f *testing.F) {
	// Two messages, and whether they are of one kind.
	for _, s := range []struct {
		a, b string
		same bool
	}{
		{"user 12 of 13", "user 7 of 99", true},
		{"request 63b0c2a1-7d1f-4f6e-9c55-0123456789ab", "request 00b0c2a1-7d1f-4f6e-9c55-0123456789ff", true},
		{"undefined index a", "undefined index b", false},
		{"pointer 0x7f00deadbeef", "pointer 0x7f00deadbee0", true},
	} {
		if (normalise(s.a) == normalise(s.b)) != s.same {
			f.Errorf("%q and %q: one kind is %v", s.a, s.b, !s.same)
		}
		f.Add("TypeError", "/srv/mediawiki/src/Hook.php:12", s.a)
	}
	f.Add("", "", "")
	f.Add("\x1b[31m", "/srv/mediawiki/0123456789abcdef0123456789abcdef/a\n.php(7)", strings.Repeat("é", 500))
	f.Fuzz(func(t *testing.T, class, file, message string) {
		text, bare := fingerprint(class, relative(file, []string{"/srv/mediawiki/"}), message)
		for _, s := range []string{text, bare} {
			if len(s) > 2*maxText || strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%q is %d bytes long, or holds control characters", s, len(s))
			}
		}
		if text == "" {
			t.Error("a failure without a name")
		}
	})
}

func TestRelative(t *testing.T) {
	roots := []string{"/srv/mediawiki", "/srv/scap/releases/"}
	for in, want := range map[string]string{
		"/srv/mediawiki/src/A.php:3":                                    "src/A.php:3",
		"/srv/scap/releases/" + strings.Repeat("0a", 32) + "/src/A.php": "src/A.php",
		"/srv/mediawiki2/A.php":                                         "/srv/mediawiki2/A.php",
		"/usr/share/php/A.php(12)":                                      "/usr/share/php/A.php(12)",
		"":                                                              "",
	} {
		if got := relative(in, roots); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"src/A.php:3": "src/A.php", "src/A.php(12)": "src/A.php", "src/A.php": "src/A.php"} {
		if _, got := fingerprint("E", in, ""); got != want {
			t.Errorf("%q is of file %q, want %q", in, got, want)
		}
	}
}
