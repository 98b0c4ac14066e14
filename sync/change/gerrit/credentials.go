package gerrit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret bounds a line of credentials.
const maxSecret = 8 << 10

// secret is what proves who we are. It is a pointer to a struct without a String method: nothing prints it by accident.
type secret struct{ user, password, header string }

func newSecret(user, password string) *secret {
	return &secret{user, password, "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

// hide takes out of a text what nobody may see, in case a server sends back what it was sent.
func (s *secret) hide(text string) string {
	if s == nil {
		return text
	}
	return strings.NewReplacer(strings.TrimPrefix(s.header, "Basic "), "(hidden)", s.password, "(hidden)").Replace(text)
}

// credentials reads the file that the options name. Its errors never show what is in it.
func credentials(o Options, host string) (*secret, error) {
	switch {
	case o.CredentialsFile != "":
		text, err := private(o.CredentialsFile)
		if err != nil {
			return nil, fmt.Errorf("gerrit: credentials file: %w", err)
		}
		s, err := parseCredentials(text)
		if err != nil {
			return nil, fmt.Errorf("gerrit: credentials file: %s: %w", o.CredentialsFile, err)
		}
		return s, nil
	case o.Netrc != "":
		text, err := private(o.Netrc)
		if err != nil {
			return nil, fmt.Errorf("gerrit: netrc: %w", err)
		}
		s, err := parseNetrc(string(text), host)
		if err != nil {
			return nil, fmt.Errorf("gerrit: netrc: %s: %w", o.Netrc, err)
		}
		return s, nil
	}
	return nil, nil
}

// Credentials are what the Client was opened with; both are empty without any. They also open the server's git.
func (c *Client) Credentials() (user, password string) {
	if c.secret == nil {
		return "", ""
	}
	return c.secret.user, c.secret.password
}

// private reads a file that nobody but its owner may read or write.
func private(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s is open to others (mode %04o): chmod 600 it, and change the password if they had time", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20+1))
	if err == nil && len(text) > 1<<20 {
		err = fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return text, err
}

func parseCredentials(text []byte) (*secret, error) {
	line := string(bytes.TrimRight(text, "\r\n"))
	user, password, ok := strings.Cut(line, ":")
	if !ok || !usable(user) || !usable(password) {
		return nil, errors.New("this is not one line user:password")
	}
	return newSecret(user, password), nil
}

// usable says whether a word can be sent as a name or a password.
func usable(word string) bool {
	return word != "" && len(word) <= maxSecret && !strings.ContainsFunc(word, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// parseNetrc takes the first entry that is the host's or the default one.
func parseNetrc(text, host string) (*secret, error) {
	var user, password string
	here, found := false, false
	for words := netrcWords(text); len(words) > 0; {
		word := words[0]
		words = words[1:]
		argument := func() (a string) {
			if len(words) > 0 {
				a, words = words[0], words[1:]
			}
			return a
		}
		switch word {
		case "machine", "default":
			if found {
				words = nil // the entry is over
				break
			}
			here = word == "default" || strings.EqualFold(argument(), host)
			found = here
		case "login", "password", "account":
			value := argument()
			if here && word == "login" {
				user = value
			} else if here && word == "password" {
				password = value
			}
		default:
			return nil, errors.New("it is not in the form of a netrc: machine, login and password with a word after each")
		}
	}
	switch {
	case !found:
		return nil, fmt.Errorf("no entry for machine %s", host)
	case !usable(user) || strings.Contains(user, ":") || !usable(password):
		return nil, fmt.Errorf("the entry for %s has no usable login or password", host)
	}
	return newSecret(user, password), nil
}

// netrcWords are the words of a netrc without lines of comment and without macros, which go on to the next empty line.
func netrcWords(text string) []string {
	var words []string
	macro := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if macro {
			macro = len(fields) > 0
			continue
		}
		if len(fields) > 0 && strings.HasPrefix(fields[0], "#") {
			continue
		}
		for i, f := range fields {
			if f == "macdef" && (i == 0 || fields[i-1] != "password" && fields[i-1] != "login" && fields[i-1] != "machine") {
				macro = true
				break
			}
			words = append(words, f)
		}
	}
	return words
}
