package fpm

import (
	"fmt"
	"net"
	"net/http"
	stdfcgi "net/http/fcgi"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestStatusThatIsBusyIsAskedAgain: php-fpm answers 500 while a worker holds its scoreboard, which says nothing of the host.
func TestStatusThatIsBusyIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		bad int64
		ok  bool
	}{{statusTries - 1, true}, {statusTries, false}} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		over := make(chan error, 1)
		go func() {
			over <- stdfcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) <= c.bad {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				_, _ = fmt.Fprint(w, `{"pool":"www","process manager":"static","start time":1700000000,"start since":9,"accepted conn":15,"processes":[`+
					`{"pid":7,"state":"Idle","start time":1700000000,"start since":9,"requests":1,"request duration":5,"request method":"GET",`+
					`"request uri":"/x","content length":0,"user":"-","script":"-","last request cpu":0.0,"last request memory":0}]}`)
			}))
		}()
		s, err := (&Runtime{}).statusOf(t.Context(), Instance{Listen: path, StatusPath: "/status"})
		if (err == nil) != c.ok || c.ok && s.Pool != "www" {
			t.Errorf("after %d times 500: %+v, %v", c.bad, s, err)
		}
		_ = l.Close()
		<-over
	}
}
