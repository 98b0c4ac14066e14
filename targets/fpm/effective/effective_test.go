package effective

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	const head = "[20-Nov-2026 07:09:35] NOTICE: "
	good := strings.Join([]string{
		head + "[global]", head + "\tprocess_control_timeout = 10s", head + "\tdaemonize = yes", head + " ", head + "[www]",
		head + "\tlisten = /run/php/www.sock", head + "\tpm = static", head + "\tping.path = /ping", head + "[jobs]", head + "\tlisten = 9000",
		head + "configuration file /etc/php/fpm.conf test is successful", "",
	}, "\n")
	e, err := Parse([]byte(good), "/run/php/www.sock")
	if err != nil || e.Pool != "www" || e.Timeout != 10*time.Second || e.Keys["ping.path"] != "/ping" || !slices.Equal(e.Others, []string{"jobs"}) {
		f.Fatalf("seed: %+v %v", e, err)
	}
	if _, err := Parse([]byte(good), "/run/else.sock"); err == nil {
		f.Fatal("a socket that no pool listens on is accepted")
	}
	f.Add([]byte(good), "/run/php/www.sock")
	f.Add([]byte("NOTICE: [global]\nNOTICE: \tprocess_control_timeout = -1s\n"), "x")
	f.Fuzz(func(t *testing.T, b []byte, listen string) {
		if e, err := Parse(b, listen); err == nil && (e.Pool == "" || e.Timeout < 0 || e.Keys["listen"] != listen) {
			t.Errorf("%q became %+v", b, e)
		}
	})
}
