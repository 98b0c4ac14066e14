package logs

import (
	"path"
	"strings"
	"testing"
	"time"
)

var at = time.Date(2023, 1, 17, 18, 31, 2, 0, time.UTC)

func TestParse(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	tests := map[string]struct {
		parse parser
		line  string
		form  form
		want  event
	}{
		"json access": {
			parseAccessJSON, `{"time":"2023-01-17T18:31:02+00:00","request_id":"abc","status":200,"uri":"/wiki/A","http_user_agent":"x"}`,
			telling,
			event{at: at, id: "abc", web: true, served: true, uri: "/wiki/A", agent: "x"},
		},
		"json access, msec and status as text": {
			parseAccessJSON, `{"msec":"1673980262.000","request_id":"abc","status":"502","request":"GET /w/x?a HTTP/1.1","release":"r"}`,
			telling,
			event{at: at, id: "abc", web: true, served: true, uri: "/w/x?a", fails: true, detail: fails("HTTP 502"), release: "r"},
		},
		"json access of a whole nginx": {
			parseAccessJSON, `{"time":"2023-01-17T18:31:02+00:00","msec":"1673980262.250","reqId":"abc","status":200,"host":"w","method":"GET",` +
				`"uri":"/w/x","took":"0.031","upstream":"0.030","agent":"scap/warm","server":"mw1"}`,
			telling,
			event{at: at.Add(250 * time.Millisecond), id: "abc", web: true, served: true, uri: "/w/x", agent: "scap/warm"},
		},
		"json access of a static file": {
			parseAccessJSON, `{"time":"2023-01-17T18:31:02+00:00","status":302,"uri":"/","upstream":""}`,
			telling,
			event{at: at, web: true, uri: "/"},
		},
		"json access without a time": {parseAccessJSON, `{"status":200}`, foreign, event{}},
		"json access, not json":      {parseAccessJSON, `127.0.0.1 - -`, foreign, event{}},
		"json access, an array":      {parseAccessJSON, `[1]`, foreign, event{}},
		"json access, null":          {parseAccessJSON, `null`, foreign, event{}},
		"combined": {
			parseCombined, `10.0.0.1 - - [17/Jan/2023:19:31:02 +0100] "GET /wiki/A HTTP/1.1" 503 12 "http://r/" "Mozilla/5.0 (X)"`,
			telling,
			event{at: at, web: true, served: true, uri: "/wiki/A", fails: true, detail: fails("HTTP 503"), agent: "Mozilla/5.0 (X)"},
		},
		"combined with a request id, and a quote in the URI": {
			parseCombined, `::1 - bob [17/Jan/2023:18:31:02 +0000] "GET /\"x HTTP/1.1" 200 12 "-" "ua" "0123456789abcdef0123456789abcdef"`,
			telling,
			event{at: at, id: "0123456789abcdef0123456789abcdef", web: true, served: true, uri: `/\"x`, agent: "ua"},
		},
		"combined, a broken request line": {
			parseCombined, `10.0.0.1 - - [17/Jan/2023:18:31:02 +0000] "\x16\x03" 400 0 "-" "-"`,
			telling,
			event{at: at, web: true, served: true, uri: `\x16\x03`, agent: "-"},
		},
		"combined, torn": {parseCombined, `10.0.0.1 - - [17/Jan/2023:18:31:02 +0000] "GET /wi`, foreign, event{}},
		"mediawiki exception": {
			parseMediaWiki, `{"@timestamp":"2023-01-17T18:31:02Z","level":"ERROR","channel":"exception","reqId":"abc","wiki":"w",` +
				`"url":"/wiki/A","exception":{"class":"TypeError","message":"m","file":"/srv/mw/src/Hook.php:12"}}`,
			telling,
			event{at: at, id: "abc", uri: "/wiki/A", fails: true, detail: fails("TypeError in Hook.php:12")},
		},
		"mediawiki exception in monolog's own form": {
			parseMediaWiki, `{"datetime":"2023-01-17T18:31:02.000000+00:00","level":400,"level_name":"ERROR","channel":"exception",` +
				`"context":{"reqId":"abc","exception":{"class":"Error","file":"/x/y.php","line":3}}}`,
			telling,
			event{at: at, id: "abc", fails: true, detail: fails("Error in y.php:3")},
		},
		"exception-json behind a plain stamp": {
			parseMediaWiki, `2023-01-17 18:31:02 mw1 wiki: {"id":"abc","type":"TypeError","file":"/x/Hook.php","line":12,"message":"m","caught_by":"entrypoint"}`,
			telling,
			event{at: at, id: "abc", fails: true, detail: fails("TypeError in Hook.php:12")},
		},
		"mediawiki warning": {
			parseMediaWiki, `{"@timestamp":"2023-01-17T18:31:02Z","level":"WARNING","channel":"exception","reqId":"abc"}`,
			silent,
			event{at: at},
		},
		"mediawiki error of another channel": {
			parseMediaWiki, `{"@timestamp":"2023-01-17T18:31:02Z","level":"ERROR","channel":"DBQuery"}`, silent, event{at: at},
		},
		"mediawiki without a time": {parseMediaWiki, `{"level":"ERROR","channel":"exception"}`, foreign, event{}},
		"plain exception": {
			parseMediaWiki, `2023-01-17 18:31:02 mw1 wiki: [abc] /wiki/A   TypeError: Argument #1: bad`,
			telling,
			event{at: at, id: "abc", uri: "/wiki/A", fails: true, detail: fails("TypeError")},
		},
		"plain exception with its line": {
			parseMediaWiki, `2023-01-17 18:31:02 mw1 wiki: [abc] /wiki/A   TypeError from line 12 of /srv/mw/Hook.php: bad`,
			telling,
			event{at: at, id: "abc", uri: "/wiki/A", fails: true, detail: fails("TypeError in Hook.php:12")},
		},
		"plain trace": {parseMediaWiki, `#0 /srv/mw/index.php(44): main()`, silent, event{}},
		"php fatal": {
			phpParser(time.UTC), `[17-Jan-2023 18:31:02 UTC] PHP Fatal error:  Uncaught TypeError: Hook::f(), called in /a.php on line 5 and defined in /srv/Hook.php:12`,
			telling,
			event{at: at, fails: true, detail: fails("TypeError in Hook.php:12")},
		},
		"php out of memory, a named zone": {
			phpParser(time.UTC), `[17-Jan-2023 19:31:02 Europe/Berlin] PHP Fatal error:  Allowed memory size of 1 bytes exhausted in /srv/x.php on line 7`,
			telling,
			event{at: at, fails: true, detail: fails("Fatal error in x.php:7")},
		},
		"php-fpm's own log": {
			phpParser(berlin), `[17-Jan-2023 19:31:02.000000] WARNING: [pool www] child 9 said into stderr: "NOTICE: PHP message: PHP Fatal error:  Uncaught Error: x in /srv/x.php:7"`,
			telling,
			event{at: at, fails: true, detail: fails("Error in x.php:7")},
		},
		"php-fpm, a killed child": {
			phpParser(time.UTC), `[17-Jan-2023 18:31:02] WARNING: [pool www] child 9 exited on signal 11 (SIGSEGV) after 3.1 seconds from start`,
			telling,
			event{at: at, fails: true, detail: fails("php-fpm child killed by signal 11 (SIGSEGV)")},
		},
		"php warning": {phpParser(time.UTC), `[17-Jan-2023 18:31:02 UTC] PHP Warning:  x in /y.php on line 3`, silent, event{at: at}},
		"php trace":   {phpParser(time.UTC), `#0 {main}`, silent, event{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, form := tt.parse([]byte(tt.line))
			if form != tt.form || !got.at.Equal(tt.want.at) {
				t.Fatalf("form %d at %s, want %d at %s", form, got.at, tt.form, tt.want.at)
			}
			got.at, got.detail = tt.want.at, fails(brief(got.fault)) // the details have a test of their own
			if got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// fails is the detail of an event that failed so, in brief.
func fails(class string) detail { return detail{fault: fault{class: class}} }

func brief(f fault) string {
	s := f.class
	if f.file != "" {
		s += " in " + path.Base(f.file)
	}
	if f.line != "" {
		s += ":" + f.line
	}
	return s
}

func FuzzParse(f *testing.F) {
	seeds := []string{
		"", "[", "[]", "{}", "null", `{"time":1e300,"status":1}`, `{"time":-1,"status":500}`, `{"status":99999999999999999999}`,
		`{"@timestamp":"2023-01-17T18:31:02Z","level":"ERROR","channel":"exception","exception":{"file":":"}}`,
		`2023-01-17 18:31:02 mw1 wiki: [`, `2023-01-17 18:31:02 mw1 wiki: [a]    from line`, "2023-01-17 18:31:02 : {",
		`a [17/Jan/2023:18:31:02 +0000] "\" 200 "`, `a - - [17/Jan/2023:18:31:02 +0000] "GET / HTTP/1.1" 500 1 "-" "-"`,
		`[17-Jan-2023 18:31:02 ../../etc/passwd] PHP Fatal error:  Uncaught `, "[17-Jan-2023 18:31:02] PHP Fatal error:  in /",
		strings.Repeat(`{"a":`, 2000), "[17-Jan-2023 18:31:02 UTC] PHP Fatal error:  x\x00\xff in /\xfe.php:1",
	}
	seeds = append(seeds, "[01-JAn-0001 00:00:00] PHP Fatal error: ", "0001-01-01 00:00:00 a: [b] c   d", `{"time":"0001-01-01T00:00:00Z","status":500}`)
	seeds = append(seeds, "2023/01/17 18:31:02 [error] 1#1: *5 upstream timed out (1: x), client: x, request: \"GET /\x1b HTTP/1.1\", request_id: \"", "2023/01/17 18:31:02 [] :",
		`2023/01/17 18:31:02 [error] 1#1: *5 FastCGI sent in stderr: "PHP message: PHP Fatal error:  Uncaught `, "0000/00/00 00:00:00 [error] 1: *1 no live upstreams")
	if len(seeds) < 25 {
		f.Fatalf("only %d seeds", len(seeds))
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, p := range []parser{parseAccessJSON, accessParser(), parseCombined, parseMediaWiki, phpParser(time.UTC), nginxParser(time.UTC)} {
			e, form := p([]byte(line))
			if form == telling && e.at.IsZero() {
				t.Errorf("an event without a time: %q", line)
			}
			print := roots.of(e).text
			if e.fails && (form != telling || len(print) > maxClass+maxFile+maxMessage+64 || strings.ContainsAny(print, "\n\x1b\x00")) {
				t.Errorf("fingerprint %q of %q", print, line)
			}
			if e.fails && e.web && !strings.HasPrefix(print, "HTTP ") {
				t.Errorf("fingerprint %q of %q", print, line)
			}
		}
	})
}
