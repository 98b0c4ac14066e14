package config

import (
	"fmt"
	"slices"
	"strings"
)

// Sudoers returns the lines that a target's sudoers file needs: for every command that the configuration runs there
// through sudo, that command with exactly its arguments, and nothing with a wildcard. It is a comment alone when there are none.
func (c *Config) Sudoers() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What scap's deploy user may run on a target. Made by: scap config sudoers\n"+
		"# Install as /etc/sudoers.d/scap, owned by root, mode 0440, after: visudo -c -f FILE\n")
	seen := map[string]bool{}
	for _, g := range c.Groups {
		lines := []string{}
		for _, line := range c.granted(g) {
			if !seen[line] {
				seen[line] = true
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n# group %s\n%s\n", g.Name, strings.Join(lines, "\n"))
		}
	}
	if len(seen) == 0 {
		b.WriteString("# Nothing is run through sudo.\n")
	}
	return b.String()
}

// granted returns one line a command of a group's hosts that goes through sudo.
func (c *Config) granted(g Group) []string {
	var lines []string
	grant := func(host string, argv []string) {
		if len(argv) < 3 || !isSudo(argv[0]) {
			return
		}
		// A command without arguments would allow all arguments: "" allows none.
		command := sudoQuote(argv[2])
		for _, a := range argv[3:] {
			command += " " + sudoQuote(a)
		}
		if len(argv) == 3 {
			command += ` ""`
		}
		lines = append(lines, fmt.Sprintf("%s %s = (root) NOPASSWD: %s", c.SSH.User, host, command))
	}
	if g.Strategy == ByHandover {
		grant("ALL", g.Handover.Keeper)
	}
	for _, f := range g.FPM {
		k := f.Commands()
		for _, argv := range [][]string{k.Start, k.Quit, k.Reload, k.Kill, k.Test} {
			grant("ALL", argv)
		}
	}
	for _, name := range g.Balancers {
		b := c.Balancer(name)
		if b == nil || b.Kind != Command || b.Where != OnTarget {
			continue
		}
		for _, argv := range [][]string{b.Drain, b.Ready, b.State, b.Idle} {
			if slices.Equal(argv, FillAll(argv, "h")) { // no placeholder: the same on every host
				grant("ALL", argv)
				continue
			}
			for _, h := range g.Hosts {
				grant(Fill("{short}", h), FillAll(argv, h))
			}
		}
	}
	return lines
}

// sudoQuote escapes the letters that sudoers takes for its own; sudoWord has refused all others that mean something.
func sudoQuote(word string) string {
	return strings.NewReplacer(",", `\,`, ":", `\:`, "=", `\=`).Replace(word)
}
