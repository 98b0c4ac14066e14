package fpm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"scap/sync/release"
)

const (
	defaultRounds = 2
	maxPage       = 16 << 20
	warmWidth     = 32
	userAgent     = "scap-agent (warm-up)"
)

// warm asks for every page through the host's own web server: first one after the other, then all at once. Every answer
// must be as wanted. It is also the first judge of the release: one that fails here never sees a user.
func (r *Runtime) warm(ctx context.Context, id release.ID) error {
	pages := r.conf.Warm.Pages
	if len(pages) == 0 {
		return nil
	}
	client := r.client()
	for _, p := range pages {
		if err := r.visit(ctx, client, p, id); err != nil {
			return err
		}
	}
	rounds := r.conf.Warm.Rounds
	if rounds == 0 {
		rounds = defaultRounds
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var wrong []error
	width := make(chan struct{}, warmWidth)
	for range rounds {
		for _, p := range pages {
			width <- struct{}{}
			wg.Go(func() {
				defer func() { <-width }()
				if err := r.visit(ctx, client, p, id); err != nil {
					mu.Lock()
					defer mu.Unlock()
					wrong = append(wrong, err)
				}
			})
		}
	}
	wg.Wait()
	if len(wrong) > 0 {
		return firstLine(wrong)
	}
	return nil
}

// client asks the host's own web server: no proxy, no redirect followed, no connection kept.
func (r *Runtime) client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       r.conf.Limits.Warm.or(defaultWarm),
	}
}

// visit asks for one page and checks the answer.
func (r *Runtime) visit(ctx context.Context, client *http.Client, p Page, id release.ID) error {
	res, body, err := r.get(ctx, client, p, "")
	if err == nil {
		err = p.check(res, r.conf.Warm.Same, id)
	}
	if err != nil {
		return fmt.Errorf("page %s: %w (%.120q)", p.Path, err, body)
	}
	return nil
}

// get asks for one page. query goes behind the path where the request must be told from others.
func (r *Runtime) get(ctx context.Context, client *http.Client, p Page, query string) (*http.Response, []byte, error) {
	uri := strings.TrimSuffix(r.conf.Warm.Base, "/") + p.Path
	switch {
	case query != "" && strings.Contains(p.Path, "?"):
		uri += "&" + query
	case query != "":
		uri += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Host = p.Host
	req.Header.Set("User-Agent", userAgent)
	for name, value := range p.Headers {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	r.pending.Add(1)
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return nil, nil, fmt.Errorf("it broke off: %w", err)
	}
	return res, body, nil
}

func (p Page) check(res *http.Response, same []string, id release.ID) error {
	want := p.Status
	if want == 0 {
		want = http.StatusOK
	}
	if res.StatusCode != want {
		return fmt.Errorf("status %d, want %d", res.StatusCode, want)
	}
	for name, value := range p.Want {
		value = strings.ReplaceAll(value, "{release}", id.String())
		if got := res.Header.Get(name); got != value {
			return fmt.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
	for _, name := range same {
		got, first := res.Header.Get(name), res.Header.Get(same[0])
		if got == "" {
			return errors.New("header " + name + " is missing")
		}
		if got != first {
			return fmt.Errorf("mixed: header %s is %q, %s is %q", same[0], first, name, got)
		}
	}
	return nil
}
