package logs

import (
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
	e.print = fingerprint(class, file, no)
	return e, telling
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
		return o.text("caught_by") != "" || o.text("type") != "" && o.text("file") != ""
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
		e.print = fingerprint(class, file, no)
		return e, telling
	}
	class, _, _ = strings.Cut(what, ":")
	e.print = fingerprint(class, "", "")
	return e, telling
}
