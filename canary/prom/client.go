package prom

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// maxBody bounds one answer: about a million samples.
const maxBody = 32 << 20

// errTooBig says that an answer went over maxBody.
var errTooBig = fmt.Errorf("the answer is larger than %d MiB: ask for fewer series, by a narrower selector", maxBody>>20)

// dial makes a client that repeats what went wrong on the way, follows no redirect (it would take the credentials along and
// the question not) and reads no answer without end.
func dial(c Config) (*http.Client, v1.API, error) {
	transport := cleanhttp.DefaultPooledTransport()
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, nil, fmt.Errorf("prometheus: ca file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("prometheus: ca file: no certificate in PEM in %s", c.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if c.CredentialsFile != "" {
		if _, err := authorization(c.CredentialsFile); err != nil {
			return nil, nil, err
		}
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	retry := retryablehttp.NewClient()
	retry.HTTPClient = &http.Client{Transport: &guarded{next: transport, credentials: c.CredentialsFile}, CheckRedirect: stay}
	retry.Logger = nil
	retry.RetryMax, retry.RetryWaitMin, retry.RetryWaitMax = 2, 100*time.Millisecond, time.Second
	retry.ErrorHandler = retryablehttp.PassthroughErrorHandler
	retry.CheckRetry = again
	// A server that wants to be left alone for an hour is not waited for: the next look asks again.
	retry.Backoff = func(low, high time.Duration, n int, r *http.Response) time.Duration {
		return min(high, retryablehttp.DefaultBackoff(low, high, n, r))
	}
	web := retry.StandardClient()
	web.CheckRedirect = stay
	client, err := api.NewClient(api.Config{Address: c.URL, Client: web})
	if err != nil {
		return nil, nil, fmt.Errorf("prometheus: url: %w", err)
	}
	return retry.HTTPClient, v1.NewAPI(client), nil
}

// again is the library's policy, except that what cannot become better is not tried again. All that is sent are questions.
func again(ctx context.Context, r *http.Response, err error) (bool, error) {
	var secret *secretError
	if errors.As(err, &secret) {
		return false, err
	}
	return retryablehttp.DefaultRetryPolicy(ctx, r, err)
}

// guarded adds the credentials and bounds the answers.
type guarded struct {
	next        *http.Transport
	credentials string
}

// RoundTrip sends one request.
func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.credentials != "" {
		secret, err := authorization(g.credentials)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", secret)
	}
	resp, err := g.next.RoundTrip(r)
	if err == nil {
		resp.Body = &bounded{body: resp.Body, left: maxBody}
	}
	return resp, err
}

// CloseIdleConnections is for http.Client's method of that name.
func (g *guarded) CloseIdleConnections() { g.next.CloseIdleConnections() }

// bounded is a body that ends with errTooBig rather than go on for ever.
type bounded struct {
	body io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooBig
	}
	if len(p) > b.left+1 {
		p = p[:b.left+1] // one more than there may be, to see whether it is there
	}
	n, err := b.body.Read(p)
	if b.left -= n; b.left < 0 {
		return n - 1, errTooBig
	}
	return n, err
}

func (b *bounded) Close() error { return b.body.Close() }

// secretError is a credentials file that cannot be used. It never shows what is in it.
type secretError struct{ text string }

func (e *secretError) Error() string { return "prometheus: credentials file: " + e.text }

// authorization reads a credentials file into the value of a header.
func authorization(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &secretError{err.Error()}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", &secretError{err.Error()}
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o007 != 0 {
		return "", &secretError{path + " is open to everybody, or no file: chmod o= it"}
	}
	text, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return "", &secretError{err.Error()}
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > 8<<10 || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", &secretError{path + " is not one line: a bearer token, or user:password"}
	}
	if strings.ContainsRune(string(text), ':') { // which no token has
		return "Basic " + base64.StdEncoding.EncodeToString(text), nil
	}
	return "Bearer " + string(text), nil
}
