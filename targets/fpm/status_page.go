package fpm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// rowHead is how php-fpm begins what it says of a worker: with all that it knows by itself.
var rowHead = regexp.MustCompile(`\{"pid":(-?\d+),"state":"([A-Za-z ]*)","start time":(\d+),"start since":-?\d+,` +
	`"requests":(\d+),"request duration":(\d+),"request method":"`)

// readPage reads the full status page in JSON, which is none as soon as a client wants it so: up to PHP 8.1 php-fpm quotes
// nothing of what a client wrote, and the name that somebody logs in with, the path and the script in no version. So the
// page is cut where a worker's part begins, which an address can imitate only to add a worker that /proc does not have.
func readPage(page []byte) (s status, err error) {
	head, rows, ok := bytes.Cut(page, []byte(`"processes":[`))
	if !ok {
		return s, errors.New("there are no processes in it")
	}
	head = append(bytes.TrimRight(head, ", "), '}')
	if err := json.Unmarshal(head, &s); err != nil {
		return s, err
	}
	begins := rowHead.FindAllSubmatchIndex(rows, maxWorkers+1)
	seen := map[int]bool{}
	for n, at := range begins {
		end := len(rows)
		if n+1 < len(begins) {
			end = begins[n+1][0]
		}
		w, err := readRow(func(group int) string { return string(rows[at[2*group]:at[2*group+1]]) }, rows[at[1]:end])
		if err != nil {
			return s, err
		}
		if seen[w.PID] && w.PID > 0 {
			return s, fmt.Errorf("it names worker %d twice: a client's request imitates it, until the next one takes its place", w.PID)
		}
		seen[w.PID] = true
		s.Processes = append(s.Processes, w)
	}
	return s, nil
}

// readRow reads a worker's part by the groups of rowHead and what comes after them.
func readRow(group func(int) string, rest []byte) (w statusWorker, err error) {
	var wrong [4]error
	w.PID, wrong[0] = strconv.Atoi(group(1))
	w.State = group(2)
	w.Start, wrong[1] = strconv.ParseInt(group(3), 10, 64)
	w.Requests, wrong[2] = strconv.ParseInt(group(4), 10, 64)
	w.Duration, wrong[3] = strconv.ParseInt(group(5), 10, 64)
	if _, after, ok := bytes.Cut(rest, []byte(`","request uri":"`)); ok {
		w.URI = between(after, nil, []byte(`","content length":`))
	}
	w.Script = between(rest, []byte(`","script":"`), []byte(`","last request `))
	return w, errors.Join(wrong[:]...)
}

// between is the text before the last end and after the last start before that: what a client wrote stands between others.
func between(b, start, end []byte) string {
	last := bytes.LastIndex(b, end)
	if last < 0 {
		return ""
	}
	b = b[:last]
	if start != nil {
		first := bytes.LastIndex(b, start)
		if first < 0 {
			return ""
		}
		b = b[first+len(start):]
	}
	var text string
	if json.Unmarshal([]byte(`"`+string(b)+`"`), &text) == nil {
		return text
	}
	return string(b)
}
