package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
)

// Answer takes a Question and gives a Report, both in JSON: the agent's side of a probe. It asks the host's own web
// server only: an agent is no way to reach others.
func Answer(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
	var q Question
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return nil, fmt.Errorf("read the probes: %w", err)
	}
	base, err := url.Parse(q.Base)
	if err != nil {
		return nil, fmt.Errorf("probe %q: %w", q.Base, err)
	}
	if ip, err := netip.ParseAddr(base.Hostname()); err != nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("probe %q: a host asks its own web server, at 127.0.0.1 or [::1]", q.Base)
	}
	report, err := Run(ctx, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(report)
}
