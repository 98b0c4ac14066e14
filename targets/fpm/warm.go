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
	client := r.client()
	return r.rounds(func(p Page) error { return r.visit(ctx, client, p, id) })
}

// rounds asks for all pages one after the other, then all at once as often as configured. The first error is returned.
func (r *Runtime) rounds(visit func(Page) error) error {
	pages := r.conf.Warm.Pages
	for _, p := range pages {
		if err := visit(p); err != nil {
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
				if err := visit(p); err != nil {
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
	v, err := r.get(ctx, client, p, "")
	if err == nil {
		err = p.check(v, r.conf.Warm.Same, id)
	}
	if err != nil {
		return fmt.Errorf("page %s: %w (%.120q)", p.Path, err, v.body)
	}
	return nil
}

// view is what came of a request.
type view struct {
	status int
	header http.Header
	body   []byte
}

// get asks for one page. query goes behind the path where the request must be told from others.
func (r *Runtime) get(ctx context.Context, client *http.Client, p Page, query string) (view, error) {
	uri := strings.TrimSuffix(r.conf.Warm.Base, "/") + p.Path
	switch {
	case query != "" && strings.Contains(p.Path, "?"):
		uri += "&" + query
	case query != "":
		uri += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return view{}, err
	}
	req.Host = p.Host
	req.Header.Set("User-Agent", userAgent)
	for name, value := range p.Headers {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		return view{}, err
	}
	defer res.Body.Close()
	r.pending.Add(1)
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return view{body: body}, fmt.Errorf("answered %d and broke off: %w", res.StatusCode, err)
	}
	return view{res.StatusCode, res.Header, body}, nil
}

func (p Page) check(v view, same []string, id release.ID) error {
	want := p.Status
	if want == 0 {
		want = http.StatusOK
	}
	if v.status != want {
		return fmt.Errorf("answered %d, want %d", v.status, want)
	}
	for name, value := range p.Want {
		value = strings.ReplaceAll(value, "{release}", id.String())
		if got := v.header.Get(name); got != value {
			return fmt.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
	for _, name := range same {
		got, first := v.header.Get(name), v.header.Get(same[0])
		if got == "" {
			return errors.New("header " + name + " is missing")
		}
		if got != first {
			return fmt.Errorf("mixed: header %s is %q, %s is %q", same[0], first, name, got)
		}
	}
	return nil
}
