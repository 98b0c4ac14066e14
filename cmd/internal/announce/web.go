package announce

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/go-retryablehttp"
)

// web asks HTTP servers. It follows no redirect, for that would take secrets along; reads no answer without end; and tells no
// URL in its errors, for that may be a secret. What cannot have been heard is said again, and what may be said twice.
type web struct {
	caFile string
	client *http.Client // made when it is needed first
}

func newWeb(caFile string) *web { return &web{caFile: caFile} }

// maxAnswer bounds one answer.
const maxAnswer = 8 << 20

// repeatable marks the context of a request that may arrive twice.
type repeatable struct{}

func twice(ctx context.Context) context.Context { return context.WithValue(ctx, repeatable{}, true) }

// plain is the client without retries.
func (w *web) plain() (*http.Client, error) {
	if w.client != nil {
		return w.client, nil
	}
	transport := cleanhttp.DefaultPooledTransport()
	if w.caFile != "" {
		roots, err := authorities(w.caFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	w.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w.client, nil
}

// authorities reads a file of certificates.
func authorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ca file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca file: no certificate in PEM in %s", path)
	}
	return roots, nil
}

// retrying is the client with retries.
func (w *web) retrying() (*http.Client, error) {
	plain, err := w.plain()
	if err != nil {
		return nil, err
	}
	c := retryablehttp.NewClient()
	c.HTTPClient, c.Logger = plain, nil
	c.RetryMax, c.RetryWaitMin, c.RetryWaitMax = 3, 200*time.Millisecond, 3*time.Second
	c.ErrorHandler, c.CheckRetry = retryablehttp.PassthroughErrorHandler, again
	c.Backoff = func(low, high time.Duration, n int, r *http.Response) time.Duration {
		return min(high, retryablehttp.DefaultBackoff(low, high, n, r))
	}
	std := c.StandardClient()
	std.CheckRedirect = plain.CheckRedirect
	return std, nil
}

// again decides whether a request is sent again.
func again(ctx context.Context, r *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	ok, _ := ctx.Value(repeatable{}).(bool)
	var dial *net.OpError
	switch {
	case err != nil && errors.As(err, &dial) && dial.Op == "dial":
		return true, nil // nobody heard it
	case err != nil:
		more, _ := retryablehttp.DefaultRetryPolicy(ctx, nil, err) // not where a certificate is wrong
		return ok && more, nil
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusServiceUnavailable:
		return true, nil // heard, and not done
	}
	return ok && r.StatusCode >= 500 && r.StatusCode != http.StatusNotImplemented, nil
}

// Do sends a request with retries, for libraries that want a client.
func (w *web) Do(r *http.Request) (*http.Response, error) {
	c, err := w.retrying()
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, unnamed(r.Context(), err)
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// ask sends body and returns the answer, which is an error unless its status is 2xx.
func (w *web) ask(ctx context.Context, method, to string, header http.Header, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("its URL is none")
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", "scap")
	resp, err := w.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, unnamed(ctx, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, &status{resp.StatusCode, method, r.URL.Hostname(), cut(clean(string(answer)), 200)}
	}
	return answer, nil
}

// status is an answer that is no good.
type status struct {
	code         int
	method, host string
	text         string
}

func (s *status) Error() string {
	text := fmt.Sprintf("%s to %s: %d %s", s.method, s.host, s.code, http.StatusText(s.code))
	if s.text != "" {
		text += fmt.Sprintf(": %q", s.text)
	}
	return text
}

// unnamed is err without the URL that net/http puts into it, and with why the context ended.
func unnamed(ctx context.Context, err error) error {
	var named *url.Error
	host := ""
	if errors.As(err, &named) {
		if u, bad := url.Parse(named.URL); bad == nil {
			host = u.Hostname()
		}
		err = named.Err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if host == "" {
		return err
	}
	return fmt.Errorf("%s: %w", host, err)
}

// Close ends the connections that are kept.
func (w *web) Close() error {
	if w.client != nil {
		w.client.CloseIdleConnections()
	}
	return nil
}

// without takes a secret out of an error's text.
func without(err error, secret string) error {
	if err == nil || secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	return &hiding{err, strings.ReplaceAll(err.Error(), secret, "(secret)")}
}

// hiding is an error whose text is another.
type hiding struct {
	err  error
	text string
}

func (h *hiding) Error() string { return h.text }
func (h *hiding) Unwrap() error { return h.err }
