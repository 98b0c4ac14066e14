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
	if _, how, ok := strings.Cut(text, " exited on signal "); ok && strings.Contains(text, "child ") {
		how, _, _ = strings.Cut(how, " after ")
		return event{at: at, fails: true, print: "php-fpm child killed by signal " + clip(how)}, telling
	}
	for _, kind := range []string{"Fatal error", "Parse error", "Recoverable fatal error", "Compile error", "Core error"} {
		_, what, ok := strings.Cut(text, "PHP "+kind+": ")
		if !ok {
			continue
		}
		class := kind
		if _, thrown, ok := strings.Cut(what, "Uncaught "); ok {
			// "Uncaught TypeError: …", and "Uncaught exception 'X'" of old versions
			thrown = strings.TrimPrefix(thrown, "exception ")
			if i := strings.IndexAny(thrown, ":\n "); i > 0 {
				class = strings.Trim(thrown[:i], "'")
			}
		}
		file, no := place(what)
		return event{at: at, fails: true, print: fingerprint(class, file, no)}, telling
	}
	return event{at: at}, silent
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
