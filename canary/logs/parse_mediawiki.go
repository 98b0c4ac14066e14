package logs

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// parseMediaWiki reads MediaWiki's logs: JSON lines of Monolog (or of its own exception-json channel), or the plain form
// "2006-01-02 15:04:05 host wiki: [reqid] /url   Class: message" of a debug log group, with its stack traces.
func parseMediaWiki(line []byte) (event, form) {
	s := string(line)
	const stamp = len(time.DateTime)
	var at time.Time
	if len(s) > stamp && s[stamp] == ' ' {
		if t, ok := parseTime(s[:stamp]); ok {
			_, body, ok := strings.Cut(s[stamp+1:], ": ")
			if !ok {
				return event{}, silent
			}
			if !strings.HasPrefix(body, "{") {
				return plainException(t, body)
			}
			at, s = t, body
		}
	}
	return wikiRecord(at, s)
}

// wikiRecord reads one record of JSON; at is its time unless it names one.
func wikiRecord(at time.Time, s string) (event, form) {
	o, ok := parseObject([]byte(s))
	if !ok {
		// Traces and messages of several lines follow a plain line.
		return event{}, silent
	}
	if t, ok := parseTime(o.text("@timestamp", "timestamp", "time", "datetime")); ok {
		at = t
	}
	if at.IsZero() {
		return event{}, foreign
	}
	e := event{at: at, release: o.text("release")}
	e.id = requestID(o.text("reqId", "request_id", "reqid", "id"))
	ctx := o.object("context")
	if e.id == "" {
		e.id = requestID(ctx.text("reqId", "request_id"))
	}
	if !fatal(o) {
		return event{at: at}, silent
	}
	e.fails, e.uri = true, o.text("url", "uri")
	x := o.object("exception")
	if x == nil {
		x = ctx.object("exception")
	}
	if x == nil {
		x = o // the exception-json channel: the object is the exception
	}
	file, no := x.text("file"), x.text("line")
	if i := strings.LastIndexByte(file, ':'); i > 0 && no == "" {
		file, no = file[:i], file[i+1:]
	}
	class := x.text("class", "type")
	if class == "" {
		class = o.text("channel")
	}
	e.fault = fault{class: class, message: x.text("message"), file: file, line: no}
	if e.fault.message == "" {
		e.fault.message = o.text("message", "normalized_message")
	}
	if file == "" {
		e.fault.file, e.fault.line = x.frame()
	}
	if e.worker = o.text("pid", "process_id"); e.worker == "" {
		e.worker = o.object("extra").text("process_id")
	}
	return e, telling
}

// frame is the top one of an exception's trace: a list of objects, or lines of "#0 /x/y.php(12): f()".
func (o object) frame() (file, line string) {
	for _, name := range []string{"trace", "backtrace"} {
		var frames []json.RawMessage
		if json.Unmarshal(o[name], &frames) == nil && len(frames) > 0 {
			if f, ok := parseObject(frames[0]); ok && f.text("file") != "" {
				return f.text("file"), f.text("line")
			}
			var s string
			if json.Unmarshal(frames[0], &s) == nil {
				return frameOf(s)
			}
		}
		if s := o.text(name); s != "" {
			return frameOf(s)
		}
	}
	return "", ""
}

// frameOf reads the first line of a trace: "#0 /x/y.php(12): f()", "from /x/y.php(12)" or "/x/y.php:12".
func frameOf(trace string) (file, line string) {
	s, _, _ := strings.Cut(trace, "\n")
	if _, rest, ok := strings.Cut(s, "#0 "); ok {
		s = rest
	}
	s = strings.TrimPrefix(strings.TrimSpace(s), "from ")
	if i := strings.Index(s, ".php"); i >= 0 {
		file = s[:i+len(".php")]
		return file, digits(strings.TrimLeft(s[len(file):], "(:"))
	}
	return "", ""
}

// fatal reports whether a MediaWiki record means that a request failed: an exception nobody caught, a fatal error, or
// anything critical.
func fatal(o object) bool {
	level := strings.ToUpper(o.text("level", "severity", "level_name"))
	n, err := strconv.Atoi(level)
	const errorLevel, criticalLevel = 400, 500 // Monolog's numbers
	switch level {
	case "ERROR", "ERR":
		n = errorLevel
	case "CRITICAL", "ALERT", "EMERGENCY", "FATAL":
		n = criticalLevel
	case "":
		// exception-json has no level; caught_by tells it from anything else.
		return o.text("caught_by") != "" || o.text("type", "class") != "" && o.text("file") != ""
	default:
		if err != nil {
			n = 0
		}
	}
	switch o.text("channel", "type") {
	case "exception", "fatal":
		return n >= errorLevel
	}
	return n >= criticalLevel
}

// plainException reads "[reqid] /url   Class: message" or "[reqid] /url   Class from line 12 of /x/y.php: message".
func plainException(at time.Time, body string) (event, form) {
	if !strings.HasPrefix(body, "[") {
		return event{at: at}, silent
	}
	id, rest, ok := strings.Cut(body[1:], "] ")
	uri, what, found := strings.Cut(rest, "   ")
	if !ok || !found {
		return event{at: at}, silent
	}
	e := event{at: at, id: requestID(id), uri: uri, fails: true}
	class, place, ok := strings.Cut(what, " from line ")
	if ok && !strings.Contains(class, ":") {
		no, file, _ := strings.Cut(place, " of ")
		file, _, _ = strings.Cut(file, ": ")
		_, message, _ := strings.Cut(place, ": ")
		e.fault = fault{class, message, file, digits(no)}
		return e, telling
	}
	class, message, _ := strings.Cut(what, ":")
	e.fault = fault{class: class, message: message}
	return e, telling
}
