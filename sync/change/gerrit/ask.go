package gerrit

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/hashicorp/go-retryablehttp"

	"scap/sync/change"
)

// magic begins every answer in JSON, so that no browser runs it as a script.
var magic = []byte(")]}'\n")

// maxSaid is how much of an error's text is kept.
const maxSaid = 300

// get asks a question, again if that may help, and reads the answer into into.
func (c *Client) get(ctx context.Context, path string, into any) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e := &Error{Method: http.MethodGet, Path: c.below + path}
	var t trail
	inner, cancel := context.WithTimeout(context.WithValue(ctx, trailKey{}, &t), c.timeout)
	defer cancel()
	r, err := retryablehttp.NewRequestWithContext(inner, http.MethodGet, c.url+e.Path, nil)
	if err != nil {
		return e.with(errors.New("this makes no address"))
	}
	resp, err := c.read.Do(r)
	switch {
	case ctx.Err() != nil:
		return e.with(context.Cause(ctx))
	case err != nil && inner.Err() != nil:
		e.Body, e.cause = fmt.Sprintf("no answer within %s, %d tries, the last one: %s", c.timeout, t.tries, c.said(t.last)), ErrDown
		return e
	case err != nil && errors.Is(err, errTooBig):
		return e.with(err)
	case err != nil:
		e.Body, e.cause = c.said(bare(err).Error()), ErrDown
		return e
	}
	defer resp.Body.Close()
	return c.answer(e, resp, into)
}

// post sends a write, once. An *Error with lost set says that it may have been done.
func (c *Client) post(ctx context.Context, path string, body, into any) error {
	e := &Error{Method: http.MethodPost, Path: c.below + path}
	if c.secret == nil {
		return e.with(fmt.Errorf("%w: there is no credentials_file", ErrUnauthorized))
	}
	text, err := json.Marshal(body)
	if err != nil {
		return e.with(err)
	}
	inner, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %s", c.timeout))
	defer cancel()
	r, err := http.NewRequestWithContext(inner, http.MethodPost, c.url+e.Path, bytes.NewReader(text))
	if err != nil {
		return e.with(errors.New("this makes no address"))
	}
	r.Header.Set("Content-Type", "application/json; charset=UTF-8")
	if ctx.Err() != nil {
		return e.with(context.Cause(ctx)) // and nothing is sent
	}
	resp, err := c.write.Do(r)
	if err != nil {
		e.lost = !unsent(err)
		switch {
		case ctx.Err() != nil:
			return e.with(context.Cause(ctx))
		case inner.Err() != nil:
			err = context.Cause(inner)
		}
		e.Body, e.cause = c.said(bare(err).Error()), ErrDown
		return e
	}
	defer resp.Body.Close()
	err = c.answer(e, resp, into)
	e.lost = err != nil && (e.Status < 300 || e.Status >= 500 || e.Status == http.StatusRequestTimeout)
	return err
}

// unsent says that a request surely has not reached anybody.
func unsent(err error) bool {
	var op *net.OpError
	var name *net.DNSError
	var proof *tls.CertificateVerificationError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") || errors.As(err, &name) || errors.As(err, &proof)
}

func (e *Error) with(cause error) error {
	e.Body, e.cause = cause.Error(), cause
	return e
}

// bare is an error of net/http without method and address, which Error says itself.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// said is a text from outside, fit for an error.
func (c *Client) said(text string) string { return clip(c.secret.hide(text), maxSaid) }

var htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>([^<]{1,200})`)

// answer reads what a server has said, strictly: what is not Gerrit's is an error that says what it looks like.
func (c *Client) answer(e *Error, resp *http.Response, into any) error {
	e.Status = resp.StatusCode
	e.cause = kind(resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return e.with(err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	html := media == "text/html" || bytes.HasPrefix(bytes.TrimSpace(body[:min(len(body), 1000)]), []byte("<"))
	switch {
	case e.Status >= 300 && e.Status < 400:
		e.Body = "it sends to " + c.elsewhere(resp.Header.Get("Location")) + ": a login page, or a url that is not Gerrit's own"
	case html:
		if errors.Is(e.cause, change.ErrNotFound) || errors.Is(e.cause, ErrConflict) {
			e.cause = nil // whoever says so knows nothing of changes
		}
		e.Body = "a page of HTML" + c.title(body) + " and not an answer of Gerrit's: a proxy, a login page, or a url that is not Gerrit's own"
	case e.Status != http.StatusOK && e.Status != http.StatusCreated:
		e.Body = c.said(string(body[:min(len(body), 4*maxSaid)]))
	case !bytes.HasPrefix(body, magic):
		e.Body = fmt.Sprintf("this is not an answer of Gerrit's, which begins with %q", magic)
	default:
		if err := decode(body[len(magic):], into); err != nil {
			e.Body = "the answer cannot be read: " + c.said(err.Error())
			return e
		}
		return nil
	}
	return e
}

func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	return nil
}

// elsewhere is where a redirect leads, without what may be secret in it.
func (c *Client) elsewhere(location string) string {
	u, err := url.Parse(location)
	switch {
	case err != nil || location == "":
		return "nowhere"
	case u.Host == "":
		return "another path of its own"
	}
	return c.said(u.Scheme + "://" + u.Host)
}

func (c *Client) title(body []byte) string {
	if m := htmlTitle.FindSubmatch(body[:min(len(body), 16<<10)]); m != nil {
		return fmt.Sprintf(" titled %q", clip(c.said(string(m[1])), 80))
	}
	return ""
}

// id names a change in a path. Gerrit reads a + there as a space.
func id(project string, number int) string {
	return "/changes/" + strings.ReplaceAll(url.QueryEscape(project), "+", "%20") + "~" + fmt.Sprint(number)
}
