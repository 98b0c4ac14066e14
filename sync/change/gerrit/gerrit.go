// Package gerrit asks a Gerrit over its REST API about changes, and votes, submits, comments and reverts there. Reads are
// repeated while that may help; a write is sent once, and when its answer is lost, what became of it is looked up.
package gerrit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/go-retryablehttp"

	"scap/sync/change"
)

// parallel is how many questions are under way at once, whoever asks them.
const parallel = 8

// Options say which Gerrit, and as whom. All but URL may be left out.
type Options struct {
	URL string // https://gerrit.example.org/r, as in a browser before /c/
	// CredentialsFile holds one line user:password, the password being the HTTP one of the account's settings. Nobody but
	// its owner may read it. Netrc is a file in the form of .netrc, used when there is no CredentialsFile. Either is read
	// by Open. With neither, questions are asked as anybody and writes are refused.
	CredentialsFile string
	Netrc           string
	CAFile          string        // certificates in PEM, instead of the system's
	Timeout         time.Duration // for one question with its retries, or one write; default 30s
	Label           string        // that Vote votes on; default Code-Review
	HTTP            *http.Client  // its Transport carries the requests, CAFile is then not looked at; for tests
}

// Client is a Gerrit. It may be used from several goroutines at once.
type Client struct {
	url     string // without a slash at the end
	below   string // "/a" with credentials, where Gerrit asks for them
	timeout time.Duration
	label   string
	secret  *secret // nil: anonymous

	wire  http.RoundTripper
	write *http.Client          // sends once
	read  *retryablehttp.Client // repeats
	slots chan struct{}

	mu   sync.Mutex
	self *accountInfo
}

var _ change.Source = (*Client)(nil)

var labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}$`)

// Open checks the options and reads the files that they name. It sends nothing: Self proves address and credentials.
func Open(o Options) (*Client, error) {
	base, err := address(o.URL)
	if err != nil {
		return nil, fmt.Errorf("gerrit: url: %w", err)
	}
	c := &Client{url: strings.TrimRight(base.String(), "/"), timeout: o.Timeout, label: o.Label, slots: make(chan struct{}, parallel)}
	if c.timeout <= 0 {
		c.timeout = 30 * time.Second
	}
	if c.label == "" {
		c.label = "Code-Review"
	}
	if !labelForm.MatchString(c.label) {
		return nil, fmt.Errorf("gerrit: label: %q is no name of a label", c.label)
	}
	if c.secret, err = credentials(o, base.Hostname()); err != nil {
		return nil, err
	}
	if c.secret != nil {
		c.below = "/a"
		if base.Scheme != "https" && !loopback(base.Hostname()) {
			return nil, fmt.Errorf("gerrit: url: %s would send the password in the clear: use https", c.url)
		}
	}
	if c.wire, err = carrier(o); err != nil {
		return nil, err
	}
	c.dial()
	return c, nil
}

// address reads what people write as a server's address.
func address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("this is no address: write https://host/path") // the error would show all of it, also a password
	case u.User != nil:
		return nil, errors.New("there is a name or a password in it: they belong in credentials_file")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%q is no address: write https://host/path", clip(text, 200))
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q has a ? or a #: write https://host/path", clip(text, 200))
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// carrier makes what requests travel by.
func carrier(o Options) (http.RoundTripper, error) {
	if o.HTTP != nil && o.HTTP.Transport != nil {
		return o.HTTP.Transport, nil
	}
	t := cleanhttp.DefaultPooledTransport()
	t.MaxIdleConnsPerHost = parallel
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("gerrit: ca file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("gerrit: ca file: no certificate in PEM in %s", o.CAFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return t, nil
}

// Close lets go of idle connections. The client may be used on.
func (c *Client) Close() { c.write.CloseIdleConnections() }

// Self returns the user name, or else the name, of the account that the credentials are for, and so proves them. An
// error that is ErrUnauthorized says that there are none, or wrong ones.
func (c *Client) Self(ctx context.Context) (string, error) {
	self, err := c.account(ctx)
	if err != nil {
		return "", fmt.Errorf("ask %s who we are: %w", c.url, err)
	}
	return self.short(), nil
}

// account is whom the credentials are for; asked once.
func (c *Client) account(ctx context.Context) (*accountInfo, error) {
	if c.secret == nil {
		return nil, fmt.Errorf("%w: there is no credentials_file", ErrUnauthorized)
	}
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self != nil {
		return self, nil
	}
	self = new(accountInfo)
	if err := c.get(ctx, "/accounts/self", self); err != nil {
		return nil, err
	}
	if self.ID <= 0 {
		return nil, fmt.Errorf("the answer of %s names no account", c.url)
	}
	c.mu.Lock()
	c.self = self
	c.mu.Unlock()
	return self, nil
}
