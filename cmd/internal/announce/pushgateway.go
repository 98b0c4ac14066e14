package announce

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/push"
)

// pushgateway pushes the metrics, as the job and the instance of this deploy host. The counts so far are read from the
// gateway: it is the only one who keeps them.
type pushgateway struct {
	Options
	*web
	site string
}

// Tell reads the counts, adds what e ended, and pushes them. It reads once: what is pushed again is the same.
func (p *pushgateway) Tell(ctx context.Context, e Event) error {
	if !counts(e) {
		return nil
	}
	header, password := http.Header{}, ""
	if p.PasswordFile != "" {
		var err error
		if password, err = secret(p.PasswordFile); err != nil {
			return err
		}
		r := &http.Request{Header: header}
		r.SetBasicAuth(p.User, password)
	}
	ctx = twice(ctx)
	base := strings.TrimSuffix(p.URL, "/")
	answer, err := p.ask(ctx, http.MethodGet, base+"/metrics", header.Clone(), nil)
	if err != nil {
		return fmt.Errorf("read what was counted: %w", without(err, password))
	}
	l, err := readLedger(bytes.NewReader(answer), map[string]string{"job": p.Job, "instance": p.site})
	if err != nil {
		return fmt.Errorf("read what was counted: %w", err)
	}
	l.record(e)
	to := push.New(base, p.Job).Grouping("instance", p.site).Gatherer(l).Client(p.web).Header(header)
	if err := to.AddContext(ctx); err != nil {
		return fmt.Errorf("push: %w", without(err, password))
	}
	return nil
}
