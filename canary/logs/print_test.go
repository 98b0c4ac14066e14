package logs

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var roots = printer{roots: []string{"/srv/mediawiki", "/srv/root/current/"}}

func TestPrint(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for name, tt := range map[string]struct {
		fault fault
		want  printKind
	}{
		"in the release, by its own path": {
			fault{"TypeError", "Argument #1 ($x) must be of type string, null given, called in /srv/root/releases/" + id + "/a.php on line 5", "/srv/root/releases/" + id + "/src/Hook.php", "12"},
			printKind{"TypeError in src/Hook.php:12: Argument #N ($x) must be of type string, null given, called in * on line N", "src/Hook.php"},
		},
		"in the release, by the served path": {
			fault{"Error", "x", "/srv/mediawiki/php-1.43/includes/A.php", "3"},
			printKind{"Error in php-1.43/includes/A.php:3: x", "php-1.43/includes/A.php"},
		},
		"in the release, by its link":      {fault{"Error", "", "/srv/root/current/A.php", "3"}, printKind{"Error in A.php:3", "A.php"}},
		"relative":                         {fault{"Error", "", "src/A.php", ""}, printKind{"Error in src/A.php", "src/A.php"}},
		"outside":                          {fault{"Error", "", "/usr/share/php/A.php", "3"}, printKind{"Error in /usr/share/php/A.php:3", ""}},
		"out of it":                        {fault{"Error", "", "/srv/mediawiki/../../etc/A.php", "3"}, printKind{"Error in ../../etc/A.php:3", ""}},
		"a directory that looks alike":     {fault{"Error", "", "/srv/mediawiki2/A.php", "3"}, printKind{"Error in /srv/mediawiki2/A.php:3", ""}},
		"of no class":                      {fault{message: "x"}, printKind{"error: x", ""}},
		"of a class without a name":        {fault{class: "class@anonymous\x00/srv/x.php:12$0"}, printKind{"class", ""}},
		"ids, quotes, URLs":                {fault{"E", `no 5d41402abc4b2a76b9719d911017c592 of 'a b' and "c" at https://x/?y=1, it can't`, "", ""}, printKind{"E: no * of * and * at *, it can't", ""}},
		"names keep their short numbers":   {fault{"E", "utf8mb4 in Foo2::bar() of page12345 after 3.5s", "", ""}, printKind{"E: utf8mb4 in Foo2::bar() of pageN after N.Ns", ""}},
		"words of hexadecimal letters":     {fault{"E", "defaced effaced deadbeef1 12345678", "", ""}, printKind{"E: defaced effaced * N", ""}},
		"a stack trace is no message":      {fault{"E", "x\nStack trace:\n#0 {main}", "", ""}, printKind{"E: x", ""}},
		"nothing that a terminal obeys":    {fault{"E\x1b[31m", "a\u009b2J\u202eb\r\nc", "src/\x1b.php", "1;2"}, printKind{"E [31m in src/ .php:1: a NJ b c", ""}},
		"a line number that is none":       {fault{"E", "", "src/A.php", "x"}, printKind{"E in src/A.php", "src/A.php"}},
		"a path at the end of a long life": {fault{"E", "", "/" + strings.Repeat("d/", 200) + "A.php", "1"}, printKind{"E in …" + ("/" + strings.Repeat("d/", 200) + "A.php")[406-maxFile:] + ":1", ""}},
	} {
		got := roots.of(event{detail: detail{fault: tt.fault}})
		if got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, tt.want)
		}
	}
}

func TestParseDetails(t *testing.T) {
	for name, tt := range map[string]struct {
		parse parser
		line  string
		want  detail
	}{
		"json access": {
			parseAccessJSON, `{"msec":1,"status":302,"request":"POST /w/index.php HTTP/1.1","worker":12}`,
			detail{method: "POST", status: 302, worker: "12"},
		},
		"combined": {
			parseCombined, `::1 - - [17/Jan/2023:18:31:02 +0000] "POST /x HTTP/1.1" 503 12 "-" "ua"`,
			detail{method: "POST", status: 503, fault: fault{class: "HTTP 503"}},
		},
		"mediawiki": {
			parseMediaWiki, `{"@timestamp":"2023-01-17T18:31:02Z","level":"ERROR","channel":"exception","reqId":"abc","message":"[abc] /wiki/A TypeError",` +
				`"extra":{"process_id":77},"exception":{"class":"TypeError","message":"m","file":"/srv/mw/src/Hook.php:12"}}`,
			detail{worker: "77", fault: fault{"TypeError", "m", "/srv/mw/src/Hook.php", "12"}},
		},
		"mediawiki, a place in its trace only": {
			parseMediaWiki, `{"@timestamp":"2023-01-17T18:31:02Z","level":"ERROR","channel":"exception","message":"of it","exception":{"class":"E","trace":"#0 /srv/mw/src/Hook.php(12): f()\n#1 {main}"}}`,
			detail{fault: fault{"E", "of it", "/srv/mw/src/Hook.php", "12"}},
		},
		"mediawiki, a list of frames": {
			parseMediaWiki, `{"@timestamp":"2023-01-17T18:31:02Z","level":"ERROR","channel":"exception","exception":{"class":"E","trace":[{"file":"/a.php","line":3,"function":"f"}]}}`,
			detail{fault: fault{class: "E", file: "/a.php", line: "3"}},
		},
		"mediawiki, a list of lines": {
			parseMediaWiki, `{"@timestamp":"2023-01-17T18:31:02Z","level":"ERROR","channel":"exception","exception":{"class":"E","trace":["/a.php:3","/b.php:4"]}}`,
			detail{fault: fault{class: "E", file: "/a.php", line: "3"}},
		},
		"plain": {
			parseMediaWiki, `2023-01-17 18:31:02 mw1 wiki: [abc] /wiki/A   TypeError from line 12 of /srv/mw/Hook.php: bad thing`,
			detail{fault: fault{"TypeError", "bad thing", "/srv/mw/Hook.php", "12"}},
		},
		"a record in php's log": {
			phpParser(time.UTC), `[17-Jan-2023 18:31:02 UTC] {"channel":"exception","reqId":"abc","class":"E","message":"m","file":"src/A.php","line":1}`,
			detail{fault: fault{"E", "m", "src/A.php", "1"}},
		},
		"php": {
			phpParser(time.UTC), `[17-Jan-2023 18:31:02 UTC] PHP Fatal error:  Uncaught TypeError: f(), called in /a.php on line 5 and defined in /srv/Hook.php:12`,
			detail{fault: fault{"TypeError", "f(), called in /a.php on line 5 and defined", "/srv/Hook.php", "12"}},
		},
		"php-fpm": {
			phpParser(time.UTC), `[17-Jan-2023 18:31:02] WARNING: [pool www] child 9 exited on signal 11 (SIGSEGV) after 3.1 seconds from start`,
			detail{worker: "9", fault: fault{class: "php-fpm child killed by signal 11 (SIGSEGV)"}},
		},
		"nginx": {
			nginxParser(time.UTC), `2023/01/17 18:31:02 [error] 12#13: *45 upstream timed out (110: Connection timed out) while reading response header from upstream, client: ::1, server: w, request: "GET /x HTTP/1.1", upstream: "x", request_id: "abc"`,
			detail{method: "GET", upstream: "x", conn: "*45 GET /x HTTP/1.1", fault: fault{class: "nginx", message: "upstream timed out (110: Connection timed out) while reading response header from upstream"}},
		},
	} {
		e, form := tt.parse([]byte(tt.line))
		if form != telling || e.detail != tt.want {
			t.Errorf("%s: form %d\n got %+v\nwant %+v", name, form, e.detail, tt.want)
		}
	}
}

func FuzzPrint(f *testing.F) {
	seeds := []string{
		"", "'", "''", "a'b'c", "\"", "`x", "//", "/a/b/c", "http://", "x://y z", "0", "00000000a", "é'ü'", "\x1b[31m", "\u009b", "\u202e", "\xff\xfe",
		"…/releases/" + strings.Repeat("a", 64) + "/", strings.Repeat("/releases/", 500), strings.Repeat("é", 400), strings.Repeat("'", 1000), "#0 .php", "\nStack trace:",
	}
	if len(seeds) < 23 {
		f.Fatalf("only %d seeds", len(seeds))
	}
	for _, s := range seeds {
		f.Add(s, s, s, s)
	}
	f.Fuzz(func(t *testing.T, class, message, file, line string) {
		k := roots.of(event{detail: detail{fault: fault{class, message, file, line}}})
		if k.text == "" || len(k.text) > maxClass+maxFile+maxMessage+64 || len(k.file) > maxFile || strings.HasPrefix(k.file, "/") {
			t.Errorf("fingerprint of %d bytes, file %q", len(k.text), k.file)
		}
		if strings.ContainsFunc(k.text+k.file, func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
		}) {
			t.Errorf("fingerprint %q", k.text)
		}
		if k.file != "" && !strings.Contains(k.text, k.file) {
			t.Errorf("file %q is not in %q", k.file, k.text)
		}
		frameOf(message)
		if n := normalise(message); len(n) > maxMessage+len("…") {
			t.Errorf("%d bytes of message", len(n))
		}
	})
}

// FuzzAccessJSON holds the quick reader of access lines to the thorough one.
func FuzzAccessJSON(f *testing.F) {
	seeds := []string{
		"", "{", "{}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{"status":200,"status":500,"time":1}`, ` { "msec" : "1.5" , "status" : 200 } `, `{"msec":01,"status":200}`,
		`{"msec":1.,"status":200}`, `{"msec":-1,"status":200}`, `{"msec":1e3,"status":200}`, `{"msec":1,"status":200}x`, `{"msec":1,"status":"200","uri":"\u002f"}`,
		`{"msec":1,"status":200,"upstream":null}`, `{"msec":1,"status":200,"upstream":""}`, `{"msec":1,"status":200,"upstream":{"a":"-"}}`, "{\"msec\":1,\"status\":200,\"agent\":\"\xff\"}",
		`{"msec":1,"status":503,"request":"GET /x HTTP/1.1","reqId":"abc","worker":7,"release":"r","agent":"scap-agent heartbeat x"}`, "{\"msec\":1,\t\"status\":2}",
	}
	if len(seeds) < 20 {
		f.Fatalf("only %d seeds", len(seeds))
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		quick, form := accessParser()([]byte(line))
		slow, want := parseAccessJSON([]byte(line))
		if form != want || !quick.at.Equal(slow.at) {
			t.Fatalf("form %d at %s, want %d at %s: %q", form, quick.at, want, slow.at, line)
		}
		quick.at = slow.at
		if quick != slow {
			t.Errorf("%q\n got %+v\nwant %+v", line, quick, slow)
		}
	})
}

func TestFlatIsUsed(t *testing.T) {
	var f flat
	for line, want := range map[string]bool{
		`{"time":"2023-01-17T18:31:02+00:00","msec":"1673980262.250","reqId":"abc","status":200,"took":"0.031","agent":"x y"}`: true,
		`{"a":"\"","b":1}`: false, `{"a":[1]}`: false,
	} {
		if f.parse(line) != want {
			t.Errorf("%s: %v", line, !want)
		}
	}
	f.parse(`{"a":"x","b":12.5}`)
	if diff := cmp.Diff([]flatField{{"a", "x", true}, {"b", "12.5", false}}, f.list, cmp.AllowUnexported(flatField{})); diff != "" {
		t.Error(diff)
	}
}
