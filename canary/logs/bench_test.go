package logs

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkAccessLines(b *testing.B) {
	h := &host{dir: b.TempDir()}
	c := Config{Sources: []Log{{h.path("access"), AccessJSON}}, Own: []string{"/healthz"}}
	now := at
	l := newLedger(c, Query{Release: "r"}, at, func() time.Time { return now })
	l.now = at.Add(time.Hour)
	var lines [][]byte
	for i := range 1000 {
		e := at.Add(time.Duration(i) * time.Millisecond)
		lines = append(lines, fmt.Appendf(nil, `{"time":%q,"msec":"%d.%03d","reqId":"%032x","status":200,"host":"en.wikipedia.org","method":"GET",`+
			`"uri":"/wiki/Main_Page_%d?action=view","took":"0.031","upstream":"0.030","agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0","server":"mw1"}`,
			e.Format(time.RFC3339), e.Unix(), e.UnixMilli()%1000, i, i))
	}
	b.SetBytes(int64(len(lines[0])))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.line(0, lines[i%len(lines)])
	}
}
