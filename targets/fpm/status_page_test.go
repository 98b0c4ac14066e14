package fpm

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"scap/targets/fpm/fcgi"
)

// pageRow is a worker on the status page, as php-fpm 7.4 prints it: nothing is quoted.
func pageRow(pid int, state string, requests int, uri, user, script string) string {
	return fmt.Sprintf(`{"pid":%d,"state":"%s","start time":1700000001,"start since":8,"requests":%d,"request duration":90,"request method":"GET",`+
		`"request uri":"%s","content length":0,"user":"%s","script":"%s","last request cpu":0.00,"last request memory":2097152}`,
		pid, state, requests, uri, user, script)
}

func pageOf(rows ...string) []byte {
	return []byte(`{"pool":"www","process manager":"static","start time":1700000000,"start since":9,"accepted conn":15,"listen queue":0,"max listen queue":0,` +
		`"listen queue len":0,"idle processes":1,"active processes":1,"total processes":2,"max active processes":2,"max children reached":0,` +
		`"slow requests":0, "processes":[` + strings.Join(rows, ",") + `]}`)
}

// TestStatusPageWithWhatClientsWrote: what a client writes hides no worker and changes nothing of what php-fpm says of one.
func TestStatusPageWithWhatClientsWrote(t *testing.T) {
	for name, c := range map[string]struct {
		uri, user, script string // as printed
		want              string // of the address
	}{
		"nothing":                     {"-", "-", "-", "-"},
		"a quote":                     {`/x?a="b"`, "-", "/a.php", `/x?a="b"`},
		"a backslash at the end":      {`/x?a=\`, "-", "/a.php", `/x?a=\`},
		"quoted, as of PHP 8.2":       {`/x?a=\"b\"&c=\/`, "-", "/a.php", `/x?a="b"&c=/`},
		"a state":                     {`/x?","state":"Idle","requests":0,"pid":9,"x":"`, "-", "/a.php", `/x?","state":"Idle","requests":0,"pid":9,"x":"`},
		"the end of a worker":         {`/x?"},{"pid":1`, "-", "/a.php", `/x?"},{"pid":1`},
		"the end of all":              {`/x?"}]}`, "-", "/a.php", `/x?"}]}`},
		"another address":             {`/x?","content length":0,"user":"-","script":"/b.php","last request`, "-", "/a.php", `/x?","content length":0,"user":"-","script":"/b.php","last request`},
		"a name that is none in JSON": {"/x", `a"b\`, "/a.php", "/x"},
		"a name of bytes":             {"/x", "\xff\n\x01", "/a.php", "/x"},
	} {
		s, err := parseStatus(fcgi.Answer{Status: 200, Body: pageOf(pageRow(7, "Running", 3, c.uri, c.user, c.script), pageRow(8, "Idle", 5, "/y", "-", "/b.php"))})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := []statusWorker{
			{PID: 7, State: "Running", Start: 1700000001, Requests: 3, Duration: 90, URI: c.want, Script: c.script},
			{PID: 8, State: "Idle", Start: 1700000001, Requests: 5, Duration: 90, URI: "/y", Script: "/b.php"},
		}
		if !reflect.DeepEqual(s.Processes, want) || s.slots != 2 || s.Accepted != 15 || s.Pool != "www" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	imitated := pageRow(7, "Running", 3, "/x?"+pageRow(8, "Idle", 5, "/y", "-", "/b.php"), "-", "/a.php")
	if s, err := parseStatus(fcgi.Answer{Status: 200, Body: pageOf(imitated, pageRow(8, "Running", 6, "/z", "-", "/b.php"))}); err == nil {
		t.Errorf("an address that imitates another worker: %+v", s)
	}
}

func FuzzParseStatus(f *testing.F) {
	good := pageOf(pageRow(0, "Starting", 0, "-", "-", "-"), pageRow(7, "Idle", 3, `/x?\"`, "-", "/a.php"))
	s, err := parseStatus(fcgi.Answer{Status: 200, Body: good})
	if err != nil || s.Accepted != 15 || s.slots != 2 || len(s.Processes) != 1 || s.Processes[0].URI != `/x?"` || !s.Processes[0].idle() {
		f.Fatalf("seed: %+v %v", s, err)
	}
	f.Add(200, good, "x")
	f.Add(404, []byte("File not found."), "")
	f.Add(200, []byte(`{"pool":"www","processes":[]}`), `"`)
	f.Fuzz(func(t *testing.T, code int, b []byte, uri string) {
		if s, err := parseStatus(fcgi.Answer{Status: code, Body: b}); err == nil && (code != 200 || s.Pool == "" || s.slots == 0) {
			t.Errorf("%q became %+v", b, s)
		}
		s, err := parseStatus(fcgi.Answer{Status: 200, Body: pageOf(pageRow(7, "Running", 3, uri, uri, "/a.php"), pageRow(8, "Idle", 5, "-", "-", "-"))})
		if err != nil {
			return // it imitates a worker
		}
		first, last := s.Processes[0], s.Processes[len(s.Processes)-1]
		if first.PID != 7 || first.State != "Running" || first.Requests != 3 || last.PID != 8 || last.Requests != 5 {
			t.Errorf("%q changes what is said of a worker: %+v", uri, s)
		}
	})
}
