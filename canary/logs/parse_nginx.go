package logs

import (
	"strings"
	"time"
)

// nginxParser reads nginx's error log: "2023/01/17 18:31:02 [error] 12#13: *45 upstream timed out (110: …) while …, client: …,
// server: …, request: "GET /x HTTP/1.1", upstream: "…", host: "…"". Its times are in the zone given, as nginx writes them.
func nginxParser(local *time.Location) parser {
	return func(line []byte) (event, form) { return parseNginx(string(line), local) }
}

func parseNginx(s string, local *time.Location) (event, form) {
	const layout = "2006/01/02 15:04:05"
	if len(s) < len(layout) {
		return event{}, silent // the rest of a message of several lines
	}
	at, err := time.ParseInLocation(layout, s[:len(layout)], local)
	if err != nil || at.Unix() <= 0 {
		return event{}, silent
	}
	level, text, ok := strings.Cut(strings.TrimPrefix(s[len(layout):], " "), "] ")
	if !ok || !strings.HasPrefix(level, "[") {
		return event{}, foreign
	}
	if _, rest, ok := strings.Cut(text, ": "); ok { // 12#13: *45
		text = rest
	}
	conn, what, ok := strings.Cut(text, " ")
	if !ok || !strings.HasPrefix(conn, "*") {
		return event{at: at}, silent // of no connection
	}
	f, ok := nginxFault(what)
	if !ok {
		return event{at: at}, silent
	}
	request := after(what, `, request: "`)
	e := event{at: at, fails: true, uri: target(request)}
	e.id = requestID(after(what, `request_id: "`))
	e.fault, e.method = f, method(request)
	e.conn = conn + " " + request
	e.upstream = after(what, `, upstream: "`)
	return e, telling
}

// nginxFault tells a request that got no answer from php from everything else in the log.
func nginxFault(what string) (fault, bool) {
	if _, said, ok := strings.Cut(what, `FastCGI sent in stderr: "`); ok {
		said, _, _ = strings.Cut(said, `" while reading`) // of several lines the first ends without it
		return phpFault(said)
	}
	message, _, _ := strings.Cut(what, ", client: ")
	for _, s := range []string{
		"upstream prematurely closed", "upstream timed out", "no live upstreams", "upstream sent", "upstream closed",
	} {
		if strings.Contains(message, s) {
			return fault{class: "nginx", message: message}, true
		}
	}
	failed := strings.Contains(message, " failed (") && strings.Contains(message, "upstream")
	for _, s := range []string{"connect() ", "recv() ", "readv() ", "send() ", "writev() "} {
		if failed && strings.HasPrefix(message, s) {
			return fault{class: "nginx", message: message}, true
		}
	}
	return fault{}, false
}

// after is what stands between mark and the next quote.
func after(s, mark string) string {
	_, rest, ok := strings.Cut(s, mark)
	if !ok {
		return ""
	}
	rest, _, ok = strings.Cut(rest, `"`)
	if !ok {
		return ""
	}
	return rest
}
