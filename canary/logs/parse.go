package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// event is what one line says.
type event struct {
	at      time.Time
	id      string // request id; "" when the line has none
	web     bool   // a line of an access log: the end of a request
	served  bool   // by the runtime, not by the web server alone
	fails   bool
	uri     string
	agent   string
	release string
	detail
}

// detail is what a line says besides.
type detail struct {
	method string
	status int    // of an access line
	worker string // of php that served it, when the line names it
	fault  fault  // why it fails
	// upstream is whom the web server asked, as its log has it, and answers what each said.
	upstream, answers string
	conn              string // of nginx's error log: lines of one connection in one second are of one request
}

// fault is why a request failed, as the log has it: nothing in it is cleaned or bounded but by the line's length.
type fault struct {
	class, message string
	file, line     string // of the top frame
}

// verdict on a line by its form.
type form int

const (
	foreign form = iota // not in the form that the source's kind has
	silent              // well formed, says nothing that matters: a notice, a line of a stack trace
	telling             // an event
)

// parser reads the lines of one kind of log.
type parser func(line []byte) (event, form)

// object is one line of JSON, its keys looked up by any of several names.
type object map[string]json.RawMessage

func parseObject(line []byte) (object, bool) {
	var o object
	if json.Unmarshal(line, &o) != nil || o == nil {
		return nil, false
	}
	return o, true
}

// text returns the first of names that is a string or a number, as text.
func (o object) text(names ...string) string {
	for _, n := range names {
		raw := bytes.TrimSpace(o[n])
		if len(raw) == 0 {
			continue
		}
		if raw[0] == '"' {
			var s string
			if json.Unmarshal(raw, &s) == nil && s != "" {
				return s
			}
		} else if raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9' {
			return string(raw)
		}
	}
	return ""
}

func (o object) has(name string) bool { return o[name] != nil }

func (o object) object(names ...string) object {
	for _, n := range names {
		if sub, ok := parseObject(o[n]); ok {
			return sub
		}
	}
	return nil
}

// parseTime reads the forms that nginx, Apache, MediaWiki and Monolog write.
func parseTime(s string) (time.Time, bool) {
	if sec, err := strconv.ParseFloat(s, 64); err == nil {
		const year2286 = 1e10 // above it a number counts milliseconds
		if sec >= year2286 {
			sec /= 1000
		}
		if sec <= 0 || sec >= year2286 {
			return time.Time{}, false
		}
		return time.UnixMicro(int64(sec * 1e6)), true
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "02/Jan/2006:15:04:05 -0700",
		"2006-01-02T15:04:05", "2006-01-02 15:04:05", // without a zone MediaWiki means UTC
	} {
		if t, err := time.Parse(layout, s); err == nil && t.Unix() > 0 {
			return t, true
		}
	}
	return time.Time{}, false
}

// maxText bounds every text that comes from a log.
const maxText = 200

func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' ' // nothing that a terminal obeys, also no C1 control and no change of direction
		}
		return r
	}, s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// fields are those of one line, by any of several names.
type fields interface {
	text(names ...string) string
	has(name string) bool
}

// accessParser returns a reader of access logs of JSON lines, written when a request ends. It keeps room for one line, so one
// goroutine may use it.
func accessParser() parser {
	var f flat
	return func(line []byte) (event, form) {
		if f.parse(string(line)) {
			return accessEvent(&f)
		}
		return parseAccessJSON(line)
	}
}

// parseAccessJSON reads a line of such a log, whatever JSON it is.
func parseAccessJSON(line []byte) (event, form) {
	o, ok := parseObject(line)
	if !ok {
		return event{}, foreign
	}
	return accessEvent(o)
}

func accessEvent(o fields) (event, form) {
	at, ok := parseTime(o.text("msec", "time", "@timestamp", "time_iso8601", "timestamp", "time_local"))
	status, err := strconv.Atoi(o.text("status"))
	if !ok || err != nil {
		return event{}, foreign
	}
	uri := o.text("uri", "request_uri", "url")
	if uri == "" {
		uri = target(o.text("request"))
	}
	e := access(at, status, uri)
	if e.method = o.text("method", "request_method"); e.method == "" {
		e.method = method(o.text("request"))
	}
	if e.worker = o.text("worker", "php_worker"); e.worker == "-" {
		e.worker = ""
	}
	e.id = requestID(o.text("request_id", "reqId", "x_request_id", "id"))
	e.agent = o.text("http_user_agent", "user_agent", "agent", "ua")
	e.release = o.text("release")
	for _, name := range []string{"upstream", "upstream_addr", "upstream_status", "upstream_response_time"} {
		if v := o.text(name); v == "-" || v == "" && o.has(name) {
			e.served = false // a file or a redirect of the web server's own
		}
	}
	for _, name := range []string{"upstream_addr", "upstream", "balancer_worker_name", "balancer_worker", "BALANCER_WORKER_NAME"} {
		if v := o.text(name); e.upstream == "" && isUpstream(v) {
			e.upstream, e.answers = v, o.text("upstream_status")
		}
	}
	return e, telling
}

func access(at time.Time, status int, uri string) event {
	e := event{at: at, web: true, served: true, uri: uri, detail: detail{status: status}}
	if status >= 500 {
		e.fails, e.fault.class = true, fmt.Sprintf("HTTP %d", status)
	}
	return e
}

// target is the middle of "GET /x HTTP/1.1".
func target(request string) string {
	if f := strings.Fields(request); len(f) > 1 {
		return f[1]
	}
	return request
}

// method is the beginning of "GET /x HTTP/1.1".
func method(request string) string {
	if m, _, ok := strings.Cut(request, " "); ok {
		return m
	}
	return ""
}

// requestID bounds an id; what could not be one is none.
func requestID(s string) string {
	const limit = 128
	if s == "-" || len(s) > limit {
		return ""
	}
	return s
}

// parseCombined reads nginx's and Apache's combined format, with any number of further fields; a quoted field of 32 hex
// digits behind the user agent is taken for the request id.
func parseCombined(line []byte) (event, form) {
	head, rest, ok := strings.Cut(string(line), " [")
	if !ok || head == "" {
		return event{}, foreign
	}
	stamp, rest, ok := strings.Cut(rest, "] ")
	at, known := parseTime(stamp)
	if !ok || !known {
		return event{}, foreign
	}
	request, rest, ok := quoted(rest)
	f := strings.Fields(rest)
	if !ok || len(f) < 2 {
		return event{}, foreign
	}
	status, err := strconv.Atoi(f[0])
	if err != nil {
		return event{}, foreign
	}
	e := access(at, status, target(request))
	e.method = method(request)
	for n := 0; ; n++ {
		i := strings.IndexByte(rest, '"')
		if i < 0 {
			break
		}
		var field string
		if field, rest, ok = quoted(rest[i:]); !ok {
			break
		}
		switch {
		case n == 1:
			e.agent = field
		case n > 1 && len(field) == 32 && strings.Trim(field, "0123456789abcdef") == "":
			e.id = field
		case n > 1 && namesServer(field), n > 1 && field == "-" && e.upstream == "":
			e.upstream = field
		}
	}
	return e, telling
}

// quoted cuts a leading "field" with backslash escapes off s.
func quoted(s string) (field, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[1:i], s[i+1:], true
		}
	}
	return "", s, false
}
