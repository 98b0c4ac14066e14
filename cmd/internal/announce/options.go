package announce

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The kinds of announcers.
const (
	IRC         = "irc"
	TCPIRCBot   = "tcpircbot"
	Webhook     = "webhook"
	Statuspage  = "statuspage"
	OnChanges   = "gerrit"
	Textfile    = "textfile"
	Pushgateway = "pushgateway"
	OTLP        = "otlp"
	Told        = "command"
)

// Options are one announcer, field by field as scap.yaml has it: a config.Announcer can be converted to it. A file of a
// secret is read whenever it is needed; it has one line and nobody but its user may read it.
type Options struct {
	Name    string
	Kind    string
	On      []string      // of Words; empty: all
	Timeout time.Duration // for telling one event, with all that is tried again; 0 is 10 s

	Address      string   // IRC, TCPIRCBot: host:port
	Plain        bool     // IRC: without TLS
	Channel      string   // IRC
	Nick         string   // IRC
	User         string   // IRC, Pushgateway: the account of the password
	PasswordFile string   // IRC, Pushgateway
	URL          string   // Webhook, Statuspage, Pushgateway, OTLP
	URLFile      string   // Webhook: a URL that is a secret itself
	TokenFile    string   // Statuspage, OTLP
	CAFile       string   // PEM; empty: the system's
	Page         string   // Statuspage
	Component    string   // Statuspage; empty: none
	Path         string   // Textfile
	Job          string   // Pushgateway
	Command      []string // Told
}

// talks reports whether the kind tells people lines, the deployer's own among them.
func (o Options) talks() bool {
	return slices.Contains([]string{IRC, TCPIRCBot, Webhook, Told}, o.Kind)
}

// open makes the announcer.
func (o *Options) open(deps Deps) (Announcer, error) {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	var errs []error
	want := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	for _, w := range o.On {
		want(slices.Contains(Words(), w), fmt.Sprintf("%q is nothing that is told; want some of %s", w, strings.Join(Words(), ", ")))
	}
	var a Announcer
	switch o.Kind {
	case IRC:
		o.Nick = or(o.Nick, "scap")
		o.User = or(o.User, o.Nick)
		want(isAddress(o.Address), "it needs an address, host:port")
		want(isWord(o.Channel) && strings.ContainsRune("#&+!", rune(o.Channel[0])), "it needs a channel, such as #operations")
		want(isWord(o.Nick) && isWord(o.User), "a nick and a user are one word")
		want(o.PasswordFile == "" || !o.Plain || local(o.Address), "its password would go over the network unencrypted")
		a = newIRC(*o)
	case TCPIRCBot:
		want(isAddress(o.Address), "it needs an address, host:port")
		a = &bot{address: o.Address}
	case Webhook:
		want((o.URL == "") != (o.URLFile == ""), "it needs one of a URL and a file with one")
		want(o.URL == "" || isURL(o.URL, false), "its URL is none")
		a = &webhook{Options: *o, web: newWeb(o.CAFile)}
	case Statuspage:
		o.URL = or(o.URL, "https://api.statuspage.io/v1")
		want(isURL(o.URL, true) && isWord(o.Page) && o.TokenFile != "", "it needs a page, a file with the key, and an https URL")
		a = newStatuspage(*o, deps)
	case OnChanges:
		want(deps.Comment != nil, "nothing can comment on changes")
		a = &comments{comment: deps.Comment}
	case Textfile:
		want(filepath.IsAbs(o.Path), "it needs the path of a file")
		a = &textfile{path: o.Path}
	case Pushgateway:
		o.Job = or(o.Job, "scap")
		want(isURL(o.URL, o.PasswordFile != ""), "it needs a URL, https where there is a password")
		a = &pushgateway{Options: *o, web: newWeb(o.CAFile), site: deps.Site}
	case OTLP:
		want(isURL(o.URL, o.TokenFile != ""), "it needs a URL, https where there is a token")
		a = &traces{Options: *o, web: newWeb(o.CAFile), site: deps.Site}
	case Told:
		want(len(o.Command) > 0 && filepath.IsAbs(o.Command[0]), "it needs a command with its whole path")
		a = &command{argv: o.Command}
	default:
		return nil, fmt.Errorf("%q is no kind of announcer", o.Kind)
	}
	return a, errors.Join(errs...)
}

func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	return err == nil && host != "" && port != ""
}

// isWord reports whether text can stand between spaces in a line of IRC, or in a URL's path.
func isWord(text string) bool {
	return text != "" && len(text) <= 100 && text[0] != ':' && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == ',' || c == '/' || c == 0x7f })
}

// isURL reports whether text is the URL of an HTTP server; a secret goes only to one that is asked with TLS, or is here.
func isURL(text string, secret bool) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && (!secret || local(u.Host))
}

// local reports whether host, with or without a port, is this machine.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}
