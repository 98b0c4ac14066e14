package logs

import (
	"strings"
	"time"
)

// phpParser reads php's error log and php-fpm's own: "[17-Jan-2023 18:31:02 UTC] PHP Fatal error:  …". A time without
// a zone is in the zone given, as php-fpm writes it.
func phpParser(local *time.Location) parser {
	return func(line []byte) (event, form) { return parsePHP(string(line), local) }
}

func parsePHP(s string, local *time.Location) (event, form) {
	stamp, text, ok := strings.Cut(strings.TrimPrefix(s, "["), "] ")
	if !ok || !strings.HasPrefix(s, "[") {
		return event{}, silent // a stack trace, or the rest of a message
	}
	at, ok := phpTime(stamp, local)
	if !ok {
		return event{}, silent
	}
	if child, how, ok := strings.Cut(text, " exited on signal "); ok && strings.Contains(child, "child ") {
		how, _, _ = strings.Cut(how, " after ")
		e := event{at: at, fails: true}
		e.worker, e.fault.class = childOf(child+" "), "php-fpm child killed by signal "+clip(how)
		return e, telling
	}
	if strings.HasPrefix(text, "{") { // MediaWiki's records, when error_log() is where it logs
		return wikiRecord(at, text)
	}
	f, ok := phpFault(text)
	if !ok {
		return event{at: at}, silent
	}
	e := event{at: at, fails: true}
	e.worker, e.fault = childOf(text), f
	return e, telling
}

// childOf is the worker in php-fpm's "[pool www] child 9 said into stderr: …".
func childOf(text string) string {
	_, rest, ok := strings.Cut(text, "] child ")
	if no := digits(rest); ok && strings.HasPrefix(rest[len(no):], " ") {
		return no
	}
	return ""
}

// phpFault finds the end of a request in what php wrote: a fatal error, or an exception that nobody caught.
func phpFault(text string) (fault, bool) {
	for _, kind := range []string{"Fatal error", "Parse error", "Recoverable fatal error", "Compile error", "Core error"} {
		_, what, ok := strings.Cut(text, "PHP "+kind+": ")
		if !ok {
			continue
		}
		f := fault{class: kind, message: what}
		f.file, f.line = place(what)
		if _, thrown, ok := strings.Cut(what, "Uncaught "); ok {
			// "Uncaught TypeError: …", and "Uncaught exception 'X'" of old versions
			thrown = strings.TrimPrefix(thrown, "exception ")
			if i := strings.IndexAny(thrown, ":\n "); i > 0 {
				f.class, f.message = strings.Trim(thrown[:i], "'"), strings.TrimLeft(thrown[i:], ": \n")
			}
		}
		if i := strings.LastIndex(f.message, " in /"); i >= 0 && f.file != "" {
			f.message = f.message[:i]
		}
		return f, true
	}
	return fault{}, false
}

// place finds "in /x/y.php:12" or "in /x/y.php on line 12" at the end of a message's first line.
func place(what string) (file, no string) {
	i := strings.LastIndex(what, " in /")
	if i < 0 {
		return "", ""
	}
	file = strings.TrimRight(what[i+len(" in "):], " \"\r")
	if f, n, ok := strings.Cut(file, " on line "); ok {
		return f, digits(n)
	}
	if i := strings.LastIndexByte(file, ':'); i > 0 {
		return file[:i], digits(file[i+1:])
	}
	return file, ""
}

func digits(s string) string {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		return s[:i]
	}
	return s
}

// phpTime reads "17-Jan-2023 18:31:02", with a fraction of a second and a zone's name behind it or without.
func phpTime(s string, local *time.Location) (time.Time, bool) {
	const layout = "02-Jan-2006 15:04:05"
	if len(s) < len(layout) {
		return time.Time{}, false
	}
	stamp, zone := s, ""
	if i := strings.IndexByte(s[len(layout):], ' '); i >= 0 {
		stamp, zone = s[:len(layout)+i], s[len(layout)+i+1:]
	}
	if zone != "" && len(zone) < 64 {
		if l, err := time.LoadLocation(zone); err == nil {
			local = l
		}
	}
	t, err := time.ParseInLocation(layout, stamp, local)
	return t, err == nil && t.Unix() > 0
}
