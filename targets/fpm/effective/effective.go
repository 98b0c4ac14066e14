// Package effective reads what php-fpm makes of a configuration, by php-fpm's own word: the output of its test with -tt.
package effective

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config is a configuration as php-fpm understands it, seen from one pool.
type Config struct {
	Pool    string
	Others  []string          // more pools of the same master
	Timeout time.Duration     // process_control_timeout
	Keys    map[string]string // of the pool
	Global  map[string]string
}

const maxLine = 256 << 10

// Parse finds the pool that listens on listen in the output of php-fpm -tt: "[date] NOTICE: [pool]" and "[date] NOTICE: \tkey = value" lines.
func Parse(out []byte, listen string) (Config, error) {
	pools := map[string]map[string]string{}
	var section map[string]string
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		_, text, ok := strings.Cut(lines.Text(), "NOTICE: ")
		if !ok {
			continue
		}
		if name, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(name, "]") {
			section = map[string]string{}
			pools[strings.TrimSuffix(name, "]")] = section
			continue
		}
		if key, value, ok := strings.Cut(text, " = "); ok && section != nil && strings.HasPrefix(key, "\t") {
			section[strings.TrimSpace(key)] = value
		}
	}
	if err := lines.Err(); err != nil {
		return Config{}, err
	}
	e := Config{Global: pools["global"]}
	if e.Global == nil {
		return Config{}, errors.New("php-fpm -tt printed no configuration: does the test command have -tt?")
	}
	for name, keys := range pools {
		switch {
		case name == "global":
		case keys["listen"] == listen && e.Pool == "":
			e.Pool, e.Keys = name, keys
		default:
			e.Others = append(e.Others, name)
		}
	}
	if e.Pool == "" {
		return Config{}, fmt.Errorf("no pool listens on %s", listen)
	}
	seconds, err := strconv.Atoi(strings.TrimSuffix(e.Global["process_control_timeout"], "s"))
	if err != nil || seconds < 0 {
		return Config{}, fmt.Errorf("process_control_timeout %q: not a number of seconds", e.Global["process_control_timeout"])
	}
	e.Timeout = time.Duration(seconds) * time.Second
	return e, nil
}
