package announce

import "strings"

// message is one line of IRC.
type message struct {
	from    string // the nick of who sent it, or the server
	command string // upper case, or three digits
	params  []string
}

// last is the last parameter, or "".
func (m message) last() string {
	if len(m.params) == 0 {
		return ""
	}
	return m.params[len(m.params)-1]
}

// param is a parameter, or "".
func (m message) param(i int) string {
	if i >= len(m.params) {
		return ""
	}
	return m.params[i]
}

// isError reports whether m is a numeric of an error, 400 to 599.
func (m message) isError() bool {
	return len(m.command) == 3 && (m.command[0] == '4' || m.command[0] == '5') && strings.Trim(m.command, "0123456789") == ""
}

// parse reads a line without its end. ok is false for one that holds no command.
func parse(line string) (m message, ok bool) {
	word := func() (w string) {
		w, line, _ = strings.Cut(line, " ")
		line = strings.TrimLeft(line, " ")
		return w
	}
	if strings.HasPrefix(line, "@") {
		word() // tags
	}
	if strings.HasPrefix(line, ":") {
		m.from, _, _ = strings.Cut(word()[1:], "!")
	}
	m.command = strings.ToUpper(word())
	const most = 15 // by RFC 2812, 2.3
	for line != "" && len(m.params) < most {
		if text, isLast := strings.CutPrefix(line, ":"); isLast {
			m.params = append(m.params, text)
			break
		}
		m.params = append(m.params, word())
	}
	return m, m.command != "" && strings.Trim(m.command, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}
