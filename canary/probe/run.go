package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxBody      = 8 << 20
	maxRedirects = 5
	maxValue     = 8 << 10 // of a captured variable
)

// runner holds what the probes of one Run share.
type runner struct {
	q       Question
	base    *url.URL
	client  http.Client // without a session
	session http.Client
	vars    map[string]string
	secrets []string // never in a message
}

// Run asks q's probes one after the other and reports on each. Its error says that q makes no sense or that ctx ended; an
// answer that is not as expected is a Result.
func Run(ctx context.Context, q Question) (Report, error) {
	r, err := newRunner(q)
	if err != nil {
		return Report{}, err
	}
	defer r.client.CloseIdleConnections()
	var report Report
	var login *Result
	for _, p := range q.Set.Probes {
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
		if p.Session && login == nil {
			var steps []Result
			login, steps = r.login(ctx)
			report.Results = append(report.Results, steps...)
		}
		if p.Session && login.Outcome != OK {
			report.Results = append(report.Results, Result{
				Name: p.Name, Outcome: login.Outcome, Reason: fmt.Sprintf("the login's step %q did not end well", login.Name),
			})
			continue
		}
		report.Results = append(report.Results, r.probe(ctx, p))
	}
	if ctx.Err() != nil {
		return report, context.Cause(ctx)
	}
	return report, nil
}

func newRunner(q Question) (*runner, error) {
	base, err := url.Parse(q.Base)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" || strings.Trim(base.Path, "/") != "" || base.User != nil {
		return nil, fmt.Errorf("probe %q: want an address like http://127.0.0.1:80", q.Base)
	}
	if len(q.Set.Probes)+len(q.Set.Login) > maxProbes {
		return nil, fmt.Errorf("probe %s: more than %d probes", q.Base, maxProbes)
	}
	r := &runner{q: q, base: base, vars: map[string]string{}}
	for name, value := range q.Credentials {
		r.vars["credentials."+name] = value
		r.secrets = append(r.secrets, value)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	// Whatever a URL says, the connection goes to base: the host asks its own web server under the wiki's name.
	address := base.Host
	if base.Port() == "" {
		address = net.JoinHostPort(base.Hostname(), map[string]string{"http": "80", "https": "443"}[base.Scheme])
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // each probe meets the balancer as a new user does
	}
	r.client = http.Client{Transport: transport}
	r.session = http.Client{Transport: transport, Jar: overHTTPS{jar}}
	return r, nil
}

// overHTTPS keeps a wiki's Secure cookies although its own web server is asked without TLS.
type overHTTPS struct{ jar *cookiejar.Jar }

func (o overHTTPS) SetCookies(u *url.URL, cookies []*http.Cookie) {
	o.jar.SetCookies(secure(u), cookies)
}

func (o overHTTPS) Cookies(u *url.URL) []*http.Cookie { return o.jar.Cookies(secure(u)) }

func secure(u *url.URL) *url.URL {
	s := *u
	s.Scheme = "https"
	return &s
}

// login runs the steps and returns how the last one that was tried ended, and the results to report: none when all is
// well.
func (r *runner) login(ctx context.Context) (*Result, []Result) {
	last := Result{Name: "login", Outcome: Failed, Reason: "there is no login"}
	for _, step := range r.q.Set.Login {
		step.Session = true
		if last = r.probe(ctx, step); last.Outcome != OK {
			return &last, []Result{last}
		}
	}
	return &last, nil
}

// probe asks once.
func (r *runner) probe(ctx context.Context, p Probe) Result {
	began := time.Now()
	if p.Timeout <= 0 || p.Timeout > maxTimeout {
		p.Timeout = defTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	res := Result{Name: p.Name, Outcome: Failed}
	var connected bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	a, err := r.ask(ctx, p)
	if err == nil {
		res.Status = a.status
		if err = p.Expect.check(a); err == nil {
			err = r.capture(p, a)
		}
	} else if !connected && !errors.As(err, new(question)) {
		res.Outcome = Unreachable
	}
	if res.Took = time.Since(began); err == nil {
		res.Outcome = OK
		return res
	}
	if errors.Is(err, context.DeadlineExceeded) && res.Took >= p.Timeout {
		err = fmt.Errorf("no whole answer within %s", p.Timeout)
	}
	res.Reason = r.redact(err.Error())
	return res
}

// question is an error of the probe itself: nothing was sent.
type question string

func (q question) Error() string { return string(q) }

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL
}

func (r *runner) ask(ctx context.Context, p Probe) (reply, error) {
	req, err := r.request(ctx, p)
	if err != nil {
		return reply{}, err
	}
	client := r.client
	if p.Session {
		client = r.session
	}
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		switch {
		case !p.Follow:
			return http.ErrUseLastResponse
		case len(via) >= maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case next.URL.Scheme != r.base.Scheme || next.URL.Host != via[0].URL.Host:
			return fmt.Errorf("redirected away, to %s://%s", next.URL.Scheme, next.URL.Host)
		}
		return nil
	}
	res, err := client.Do(req)
	if err != nil {
		// The URL, with its tokens, is in the error's text; the cause is enough.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return reply{}, fmt.Errorf("the body of the answer %d broke off after %d bytes: %w", res.StatusCode, len(body), err)
	}
	if len(body) > maxBody {
		return reply{}, fmt.Errorf("the answer %d is longer than %d bytes", res.StatusCode, maxBody)
	}
	return reply{res.StatusCode, res.Header, body, res.Request.URL}, nil
}

func (r *runner) request(ctx context.Context, p Probe) (*http.Request, error) {
	host := p.Host
	if host == "" {
		host = r.base.Host
	}
	path, err := r.fill(p.Path, url.QueryEscape)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(path, "/") {
		return nil, question("its path does not begin with /")
	}
	var body io.Reader
	if p.Form != nil {
		form := url.Values{}
		for name, value := range p.Form {
			if value, err = r.fill(value, plain); err != nil {
				return nil, err
			}
			form.Set(name, value)
		}
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, p.Method, r.base.Scheme+"://"+host+path, body)
	if err != nil {
		return nil, question("it is no request: " + err.Error())
	}
	for name, value := range p.Headers {
		if value, err = r.fill(value, plain); err != nil {
			return nil, err
		}
		req.Header.Set(name, value)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("User-Agent", p.UserAgent)
	return req, nil
}

func plain(s string) string { return s }

// fill puts the variables' values into s.
func (r *runner) fill(s string, escape func(string) string) (string, error) {
	var missing string
	out := variable.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := r.vars[name]
		if !ok {
			missing = ref
		}
		return escape(value)
	})
	if missing != "" {
		return "", question(missing + " was captured by no earlier step")
	}
	return out, nil
}

// capture keeps what p asks for.
func (r *runner) capture(p Probe, a reply) error {
	for name, c := range p.Capture {
		value, err := r.find(c, a)
		if err != nil {
			return fmt.Errorf("capture %s: %w", name, err)
		}
		if value == "" || len(value) > maxValue {
			return fmt.Errorf("capture %s: %d characters", name, len(value))
		}
		r.vars[name] = value
		r.secrets = append(r.secrets, value)
	}
	return nil
}

// redact takes credentials and captured tokens out of a message.
func (r *runner) redact(s string) string {
	const least = 3 // shorter ones would shred the text
	secrets := slices.Clone(r.secrets)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		if len(secret) >= least {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return s
}
