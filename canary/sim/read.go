package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

// Count is what one host served in one tick.
type Count struct {
	At       time.Time `json:"time"` // the tick's beginning
	Host     string    `json:"host"`
	Requests int64     `json:"requests"`
	Failing  int64     `json:"failing"` // distinct failing requests
}

// What Read takes at most, so that a wrong file costs neither memory nor a senseless report.
const (
	maxLine     = 4096
	maxHostName = 253
	maxRequests = 1_000_000_000
)

// The years that a time may be of.
var earliest, latest = time.Unix(0, 0).UTC(), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

const header = "time,host,requests,failing"

// Read reads counts, one a line, in the order of their time. The first line decides between two forms:
//
//	time,host,requests,failing
//	2026-03-01T00:00:00Z,mw1,412,0
//
// and
//
//	{"time":"2026-03-01T00:00:00Z","host":"mw1","requests":412,"failing":0}
//
// A time is the beginning of a tick, RFC 3339 or seconds since the Unix epoch. A host without a line in a tick served
// nothing in it. Nothing is guessed: an unknown or missing field, a quoted CSV value, a time before that of the line
// above, more failing than requests or a line of more than 4096 bytes is an error that names its line, and the last of
// the sequence. Memory does not grow with the length of what is read.
func Read(r io.Reader) iter.Seq2[Count, error] {
	return func(yield func(Count, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, maxLine), maxLine)
		var parse func([]byte) (Count, error)
		var last time.Time
		n := 0
		for lines.Scan() {
			n++
			line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
			if parse == nil {
				parse = parseCSV
				if bytes.HasPrefix(line, []byte("{")) {
					parse = parseJSON
				} else if string(line) == header {
					continue
				} else {
					yield(Count{}, fmt.Errorf("line 1: neither the header %q nor a JSON object", header))
					return
				}
			}
			c, err := parse(line)
			if err == nil {
				err = c.check(last)
			}
			if err != nil {
				yield(Count{}, fmt.Errorf("line %d: %w", n, err))
				return
			}
			last = c.At
			if !yield(c, nil) {
				return
			}
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(Count{}, fmt.Errorf("line %d: longer than %d bytes", n+1, maxLine))
		case err != nil:
			yield(Count{}, fmt.Errorf("read after line %d: %w", n, err))
		case n == 0:
			yield(Count{}, errors.New("no line at all"))
		}
	}
}

// check holds a count to its ranges. last is the time of the line above.
func (c Count) check(last time.Time) error {
	switch {
	case c.At.Before(earliest) || !c.At.Before(latest):
		return fmt.Errorf("the time %s is not between 1970 and 2200", c.At.Format(time.RFC3339))
	case c.At.Before(last):
		return fmt.Errorf("the time %s is before that of the line above; sort the file by time", c.At.Format(time.RFC3339))
	case !hostName(c.Host):
		return fmt.Errorf("%q is no host name", cut(c.Host))
	case c.Requests < 0 || c.Requests > maxRequests:
		return fmt.Errorf("%d requests in one tick are not between 0 and %d", c.Requests, maxRequests)
	case c.Failing < 0 || c.Failing > c.Requests:
		return fmt.Errorf("%d failing of %d requests", c.Failing, c.Requests)
	}
	return nil
}

func hostName(s string) bool {
	if s == "" || len(s) > maxHostName {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._-:", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// cut shortens what is shown of somebody else's text.
func cut(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

func parseCSV(line []byte) (c Count, err error) {
	fields := strings.Split(string(line), ",")
	if len(fields) != 4 {
		return c, fmt.Errorf("%d fields, not the four of %q", len(fields), header)
	}
	if c.At, err = parseTime(fields[0]); err != nil {
		return c, err
	}
	c.Host = fields[1]
	if c.Requests, err = parseWhole("requests", fields[2]); err != nil {
		return c, err
	}
	c.Failing, err = parseWhole("failing", fields[3])
	return c, err
}

// parseTime takes RFC 3339 or whole seconds since the Unix epoch.
func parseTime(s string) (time.Time, error) {
	if sec, err := strconv.ParseInt(s, 10, 64); err == nil && sec >= 0 && sec < latest.Unix() {
		return time.Unix(sec, 0).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time like 2026-03-01T00:00:00Z nor seconds since 1970", cut(s))
	}
	return at.UTC(), nil
}

func parseWhole(what, s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || s[0] == '+' || s[0] == '-' {
		return 0, fmt.Errorf("%s: %q is no whole number of 0 or more", what, cut(s))
	}
	return n, nil
}

// parseJSON reads one object key by key, because json.Unmarshal takes a repeated key and another case of its letters.
func parseJSON(line []byte) (c Count, err error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return c, errors.New("not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return c, fmt.Errorf("not a JSON object: %w", err)
		}
		value, err := dec.Token()
		if err != nil {
			return c, fmt.Errorf("not a JSON object: %w", err)
		}
		name, _ := key.(string)
		if seen[name] {
			return c, fmt.Errorf("the key %q is there twice", cut(name))
		}
		seen[name] = true
		if err := c.set(name, value); err != nil {
			return c, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return c, fmt.Errorf("not a JSON object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("something follows the object")
	}
	for _, name := range strings.Split(header, ",") {
		if !seen[name] {
			return c, fmt.Errorf("the key %q is missing", name)
		}
	}
	return c, nil
}

// set puts one key of a JSON line in its place.
func (c *Count) set(name string, value json.Token) (err error) {
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	switch {
	case name == "time" && isText:
		c.At, err = parseTime(text)
	case name == "time" && isNumber:
		c.At, err = parseTime(number.String())
	case name == "host" && isText:
		c.Host = text
	case name == "requests" && isNumber:
		c.Requests, err = parseWhole(name, number.String())
	case name == "failing" && isNumber:
		c.Failing, err = parseWhole(name, number.String())
	case name == "time" || name == "host" || name == "requests" || name == "failing":
		return fmt.Errorf("%s has a value of the wrong kind", name)
	default:
		return fmt.Errorf("unknown key %q", cut(name))
	}
	return err
}
