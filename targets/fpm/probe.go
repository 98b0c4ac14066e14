package fpm

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"scap/sync/release"
	"scap/targets/fpm/fcgi"
)

//go:embed probe.php
var probeScript []byte

// settings are the PHP settings that a proof reads back from the running process: a broken php.ini passes php-fpm's own
// test and leaves the defaults.
const settings = "opcache.enable,opcache.validate_timestamps,opcache.file_cache,opcache.preload,opcache.revalidate_path," +
	"realpath_cache_ttl,realpath_cache_size,apc.enabled,auto_prepend_file,open_basedir,error_log,log_errors"

// moreSettings are those that a new generation must share with the one that it replaces.
const moreSettings = "opcache.memory_consumption,opcache.interned_strings_buffer,opcache.max_accelerated_files,opcache.jit," +
	"opcache.jit_buffer_size,apc.shm_size,memory_limit,max_execution_time,disable_functions,include_path,default_charset,date.timezone"

// facts are what one worker says of itself.
type facts struct {
	PID      int            `json:"pid"`
	Token    string         `json:"token"`
	Path     string         `json:"path"`     // where the canonical path leads by the kernel's word
	Through  int            `json:"through"`  // remembered paths that go through the link
	Believed map[string]int `json:"believed"` // where this worker believes them to lead: release -> paths
	Opcache  *struct {
		Start   int64          `json:"start"`
		Resets  int64          `json:"resets"`
		Scripts map[string]int `json:"scripts"` // release -> scripts in the opcode cache
		Foreign []string       `json:"foreign"`
		Entered int64          `json:"entered"` // times that an entry script was begun
	} `json:"opcache"`
	Settings map[string]string `json:"settings"`
	// Extensions are those that are loaded, asked for with the scripts.
	Extensions []string `json:"extensions"`
	INI        string   `json:"ini"`
	Version    string   `json:"version"`
	loud       bool     // the nonce came back on the error stream: the pool has no log of its own
}

// question is what the probe is asked besides what it always answers.
type question struct {
	scripts bool // list the opcode cache, which all workers share
	hold    time.Duration
	nonce   string
	release release.ID
}

// ask runs the probe in whichever worker of the instance takes it.
func (r *Runtime) ask(ctx context.Context, i Instance, q question) (facts, error) {
	token := random(8)
	params := map[string]string{
		"SCRIPT_FILENAME": r.probe, "SCRIPT_NAME": "/scap-probe", "REQUEST_URI": "/scap-probe", "DOCUMENT_ROOT": filepath.Dir(r.probe),
		"SCAP_SERVED": r.conf.Served, "SCAP_RELEASES": r.link.releases, "SCAP_SETTINGS": settings, "SCAP_TOKEN": token,
		"SCAP_OUTSIDE": strings.Join(append([]string{filepath.Dir(r.probe), "/usr/share/php"}, r.conf.Outside...), "\n"),
		"SCAP_HOLD":    strconv.FormatInt(q.hold.Microseconds(), 10),
	}
	if q.scripts {
		params["SCAP_SCRIPTS"], params["SCAP_ENTRIES"] = "1", strings.Join(r.conf.entries(), "\n")
	}
	if i.gen != nil {
		params["SCAP_SETTINGS"] = settings + "," + moreSettings
	}
	if q.nonce != "" {
		params["SCAP_NONCE"], params["SCAP_RELEASE"] = q.nonce, q.release.String()
	}
	a, err := r.call(ctx, i.Listen, params)
	if err != nil {
		return facts{}, err
	}
	f, err := parseFacts(a)
	f.loud = q.nonce != "" && strings.Contains(a.Complaint, q.nonce)
	if err == nil && f.Token != token {
		err = errors.New("the probe answered another question")
	}
	return f, err
}

func parseFacts(a fcgi.Answer) (facts, error) {
	said := strings.TrimSpace(a.Complaint)
	if a.Status != 200 {
		return facts{}, fmt.Errorf("the probe answers with status %d: %.300q %.300q", a.Status, a.Body, said)
	}
	var f facts
	if err := json.Unmarshal(a.Body, &f); err != nil {
		return facts{}, fmt.Errorf("the probe answers %.300q %.300q: %w", a.Body, said, err)
	}
	if f.PID <= 0 {
		return facts{}, fmt.Errorf("the probe answers with pid %d", f.PID)
	}
	return f, nil
}

// call asks an instance one question within the time that it has for an answer.
func (r *Runtime) call(ctx context.Context, listen string, params map[string]string) (fcgi.Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.conf.Limits.Answer.or(defaultAnswer), errSilent)
	defer cancel()
	all := map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "scap-agent", "REQUEST_METHOD": "GET",
		"REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "localhost", "SERVER_PORT": "80", "QUERY_STRING": "", "CONTENT_LENGTH": "",
	}
	for name, value := range params {
		all[name] = value
	}
	return fcgi.Call(ctx, listen, all)
}

// errSilent is the cause when php-fpm accepts and does not answer in time.
var errSilent = errors.New("no answer in time: every worker is busy or hangs")

// writeProbe puts the probe script where the workers can read it. Its name has its content's hash: with
// validate_timestamps off a changed script of the same name would never be read.
func (r *Runtime) writeProbe() error {
	if have, err := os.ReadFile(r.probe); err == nil && string(have) == string(probeScript) {
		return nil
	}
	dir := filepath.Dir(r.probe)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write probe script: %w", err)
	}
	_ = os.Chmod(dir, 0o755) // whatever the umask: the workers are another user
	next, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("write probe script: %w", err)
	}
	defer os.Remove(next.Name())
	_, err = next.Write(probeScript)
	// The time is long ago: opcache.file_update_protection would keep a fresh file out of the cache.
	old := time.Unix(1, 0)
	err = errors.Join(err, next.Chmod(0o644), next.Close(), os.Chtimes(next.Name(), old, old), os.Rename(next.Name(), r.probe))
	if err != nil {
		return fmt.Errorf("write probe script: %w", err)
	}
	return nil
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
