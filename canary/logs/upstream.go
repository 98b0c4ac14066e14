package logs

import (
	"slices"
	"strconv"
	"strings"
)

// maxHops bounds how many servers one request was tried at.
const maxHops = 16

// hop is one server that a web server asked for a request.
type hop struct {
	addr   string // as address has it
	status int    // 0: not known
}

// parts are the entries of a list of servers, those of an internal redirect too.
func parts(list string) []string {
	return strings.Split(strings.ReplaceAll(list, " : ", ", "), ", ")
}

// isUpstream says whether a field of a log has servers in it, and not times or nothing.
func isUpstream(s string) bool {
	return slices.ContainsFunc(parts(s), func(p string) bool {
		return strings.ContainsAny(p, "/:") || strings.ContainsFunc(p, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
	})
}

// namesServer says so of a field that nothing but its content tells from others.
func namesServer(s string) bool {
	return strings.Contains(s, "unix:/") || strings.HasPrefix(s, "fcgi://")
}

// address is a server's name without what web servers put around it: fastcgi://unix:/run/a.sock: of nginx's error log is
// unix:/run/a.sock of its access log is /run/a.sock. Of Apache's unix:/run/a.sock|fcgi://name the path is left.
func address(s string) string {
	s = strings.TrimSpace(s)
	for _, scheme := range []string{"fastcgi://", "proxy:"} {
		s = strings.TrimPrefix(s, scheme)
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		path, _, _ = strings.Cut(path, "|")
		return strings.TrimRight(path, ":")
	}
	return s
}

// hops reads a list of servers as nginx writes it: those that it tried one after another with commas between, those of an internal
// redirect after a colon; and of each what it answered, when statuses has as many. Names that are no servers are left out: nginx
// writes its group's when none of that can be asked.
func hops(addrs, statuses string) []hop {
	list, said := parts(addrs), parts(statuses)
	if len(list) != len(said) {
		said = nil
	}
	var out []hop
	for i, a := range list {
		h := hop{addr: address(a)}
		if !strings.HasPrefix(h.addr, "/") && !strings.Contains(h.addr, "://") {
			continue
		}
		if said != nil {
			if n, err := strconv.Atoi(said[i]); err == nil && n > 0 && n < 1000 {
				h.status = n
			}
		}
		out = append(out, h)
	}
	return out[max(0, len(out)-maxHops):]
}

// asked says to which release a line belongs by whom the web server asked last.
func (l *ledger) asked(e event) whose {
	if e.upstream == "" {
		return unknown
	}
	list := hops(e.upstream, "")
	for i := len(list) - 1; i >= 0; i-- {
		if w := l.server(list[i].addr); w != neither {
			return w
		}
	}
	if len(list) > 0 || isRemote(e.upstream) {
		return neither // another service than php
	}
	return unknown
}

// isRemote says that a list has servers of another kind only: hosts with ports.
func isRemote(s string) bool {
	return !slices.ContainsFunc(parts(s), func(p string) bool { return !strings.Contains(address(p), ":") })
}

// server says whose a server is.
func (l *ledger) server(addr string) whose {
	is := func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return address(n) == addr })
	}
	w := mine
	switch {
	case is(l.c.Trial):
		if l.q.Arm != Trial {
			w = theirs
		}
	case len(l.c.Main) > 0 && !is(l.c.Main):
		return neither
	case l.q.Arm == Trial:
		w = theirs
	}
	return w
}

// passedOn says that the other release than the one that answered was asked before it, and what it said.
func (l *ledger) passedOn(e event, answered whose) (status int, ok bool) {
	list := hops(e.upstream, e.answers)
	for i := 0; i+1 < len(list); i++ {
		if w := l.server(list[i].addr); w != neither && w != answered {
			const badGateway = 502 // a server that is gone on from has not answered
			if list[i].status >= 500 {
				return list[i].status, true
			}
			if list[i].status == 0 {
				return badGateway, true
			}
		}
	}
	return 0, false
}

// tried says that a line of a host that serves one release is of another that was tried beside it before.
func (l *ledger) tried(e event) bool {
	if len(l.c.Trial) == 0 || e.upstream == "" || l.q.Release == "" || e.release != "" {
		return false
	}
	list := hops(e.upstream, "")
	return len(list) > 0 && slices.ContainsFunc(l.c.Trial, func(n string) bool { return address(n) == list[len(list)-1].addr })
}
