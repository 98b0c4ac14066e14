package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scap/canary/logs"
	model "scap/fixtures/opensearch"
)

// The lines that the agent of a host writes are those that a host is known by, with every name that has a default, whichever form
// of the host's name the records have.
func TestHeartbeatsOfAnAgent(t *testing.T) {
	const name, nonce = "mw1001.eqiad.wmnet", "scap-nonce-1"
	dir := t.TempDir()
	php, access, ship := filepath.Join(dir, "php"), filepath.Join(dir, "access"), filepath.Join(dir, "ship")
	for file, text := range map[string]string{access: "", php: "[17-Jan-2023 20:15:01 UTC] " + nonce + "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := at(75)
	agent, err := logs.NewIn(logs.Config{
		Sources: []logs.Log{{Path: access, Kind: logs.AccessJSON}, {Path: php, Kind: logs.PHP}}, Ship: ship, Name: name,
		Heartbeat: "http://127.0.0.1/",
	}, logs.World{
		Now: func() time.Time { return now },
		Beat: func(_ context.Context, _, _, ua string) error {
			return os.WriteFile(access, fmt.Appendf(nil, `{"msec":%d,"status":404,"agent":%q}`+"\n", now.Unix(), ua), 0o600)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	p, err := agent.Read(t.Context(), logs.Query{Since: at(0), Nonce: nonce, From: at(0), To: at(60), Step: 5 * time.Second, Now: now})
	if err != nil || p.Note != "" || !p.Nonce {
		t.Fatalf("%+v, %v", p, err)
	}
	b, err := os.ReadFile(ship)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"{host}", "{short}"} {
		w := newWorld(t)
		for line := range bytes.Lines(b) {
			var d model.Doc
			if err := json.Unmarshal(line, &d); err != nil {
				t.Fatal(err)
			}
			w.Put(index, d)
		}
		c := w.config()
		c.Host = form
		q := ask(name, "mw1002.eqiad.wmnet")
		q.Hosts[0].Since, q.Hosts[0].Nonce = at(0), nonce
		r, err := source(t, c).Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if h := r.Hosts[0]; h.Problem != "" || !h.Nonce || !h.Through.Equal(at(65)) {
			t.Errorf("%s: %+v, want it proven and known through %s", form, h, at(65))
		}
		if h := r.Hosts[1]; h.Nonce || !h.Through.IsZero() {
			t.Errorf("%s: another host is known by it: %+v", form, h)
		}
		q.Hosts[0].Nonce = "scap-nonce-2"
		if r, err = source(t, c).Read(t.Context(), q); err != nil || r.Hosts[0].Nonce {
			t.Errorf("%s: another nonce was proven, %v", form, err)
		}
	}
}
