package pool

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// row is one server as HAProxy describes it.
type row struct {
	backend, server string
	id              uint64 // srv_id

	running bool   // srv_op_state
	admin   uint64 // srv_admin_state, a set of bits
	weight  uint64 // srv_uweight
	failed  bool   // the last check failed although the server is not down yet

	status   string // as "show stat" puts it, for people
	check    string
	sessions uint64
	queued   uint64
}

// The values of HAProxy's srv_op_state, srv_admin_state and srv_check_result that matter here.
const (
	opRunning   = 2
	adminForced = 0x01 | 0x08 // maintenance or drain by a command
	adminOut    = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20 | 0x40
	checkFailed = 2
)

// out reports whether the server is told to get nothing new: drained, in maintenance, or without weight.
func (r row) out() bool { return r.admin&adminOut != 0 || r.weight == 0 }

func (r row) green() bool { return r.running && !r.failed }

// String says for people what HAProxy says.
func (r row) String() string {
	var why string
	switch {
	case r.admin&0x08 != 0:
		why = " drained"
	case r.admin&adminForced != 0:
		why = " in maintenance"
	case r.admin&adminOut != 0:
		why = " out by its configuration"
	case r.weight == 0:
		why = " with weight 0"
	}
	check := ""
	if r.check != "" {
		check = " " + r.check
	}
	return fmt.Sprintf("%s/%s%s, %s%s, %d sessions", r.backend, r.server, why, r.status, check, r.sessions)
}

var errNoSuchServer = errors.New("haproxy knows no such server")

// readState reads the server's line in an answer to "show servers state", by the names in its header.
func (r *row) readState(answer string) error {
	col := map[string]int{}
	for line := range strings.Lines(answer) {
		line = strings.TrimRight(line, "\r\n")
		if head, ok := strings.CutPrefix(line, "# "); ok {
			for i, name := range strings.Fields(head) {
				col[name] = i
			}
			continue
		}
		f := strings.Fields(line)
		if len(col) == 0 || len(f) < 2 {
			continue // the version line, the empty line at the end
		}
		get := func(name string) string {
			if i, ok := col[name]; ok && i < len(f) {
				return f[i]
			}
			return ""
		}
		if get("be_name") != r.backend || get("srv_name") != r.server {
			continue
		}
		id, err0 := strconv.ParseUint(get("srv_id"), 10, 32)
		op, err1 := strconv.ParseUint(get("srv_op_state"), 10, 32)
		admin, err2 := strconv.ParseUint(get("srv_admin_state"), 10, 32)
		weight, err3 := strconv.ParseUint(get("srv_uweight"), 10, 32)
		check, err4 := strconv.ParseUint(get("srv_check_result"), 10, 32)
		if err := errors.Join(err0, err1, err2, err3, err4); err != nil {
			return fmt.Errorf("read the state of %s/%s: %w", r.backend, r.server, err)
		}
		r.id = id
		r.running, r.admin, r.weight, r.failed = op == opRunning, admin, weight, check == checkFailed
		return nil
	}
	if len(col) == 0 {
		return fmt.Errorf("%s/%s: haproxy says %q: %w", r.backend, r.server, cut(strings.TrimSpace(answer)), errNoSuchServer)
	}
	return fmt.Errorf("%s/%s: %w", r.backend, r.server, errNoSuchServer)
}

// readStat reads the server's row in an answer to "show stat", by the names in its header.
func (r *row) readStat(answer string) error {
	first, body, _ := strings.Cut(answer, "\n")
	head, ok := strings.CutPrefix(first, "# ")
	if !ok {
		return fmt.Errorf("%s/%s: haproxy says %q: %w", r.backend, r.server, cut(strings.TrimSpace(answer)), errNoSuchServer)
	}
	col := map[string]int{}
	for i, name := range strings.Split(strings.TrimSpace(head), ",") {
		col[name] = i
	}
	rows := csv.NewReader(strings.NewReader(body))
	rows.FieldsPerRecord = -1
	rows.ReuseRecord = true
	for {
		f, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s/%s: %w", r.backend, r.server, errNoSuchServer)
		}
		if err != nil {
			return fmt.Errorf("read haproxy's statistics: %w", err)
		}
		get := func(name string) string {
			if i, ok := col[name]; ok && i < len(f) {
				return f[i]
			}
			return ""
		}
		if get("pxname") != r.backend || get("svname") != r.server {
			continue
		}
		sessions, err1 := strconv.ParseUint(get("scur"), 10, 32)
		queued, err2 := strconv.ParseUint(get("qcur"), 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("read the sessions of %s/%s: %w", r.backend, r.server, err)
		}
		r.sessions, r.queued = sessions, queued
		r.status, r.check = cut(get("status")), cut(get("check_status"))
		return nil
	}
}
