package gerrit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	maxBody  = 32 << 20 // of one answer, unpacked
	maxTries = 8        // of one question
	maxPause = 4 * time.Second
)

var errTooBig = fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)

// again are the statuses that another try may mend.
var again = []int{429, 500, 502, 503, 504}

// dial makes the two clients. Neither follows a redirect: it would take the credentials to where nobody sent them.
func (c *Client) dial() {
	c.write = &http.Client{
		Transport:     &whole{c},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.read = retryablehttp.NewClient()
	c.read.HTTPClient = c.write
	c.read.Logger = nil
	c.read.RetryMax = maxTries - 1
	c.read.ErrorHandler = retryablehttp.PassthroughErrorHandler
	c.read.CheckRetry = c.retry
	c.read.Backoff = func(_, _ time.Duration, n int, r *http.Response) time.Duration {
		if asked := retryAfter(r); asked > 0 {
			return asked
		}
		top := min(maxPause, 200*time.Millisecond<<min(n, 10))
		return top/2 + rand.N(top/2)
	}
}

// retry says whether a question is worth another try. It is not asked about writes: they do not go through c.read.
func (c *Client) retry(ctx context.Context, r *http.Response, err error) (bool, error) {
	if t, ok := ctx.Value(trailKey{}).(*trail); ok {
		t.note(r, err)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		if errors.Is(err, errTooBig) {
			return false, err
		}
		return retryablehttp.DefaultRetryPolicy(ctx, r, err) // knows certificates and addresses that stay wrong
	}
	if !slices.Contains(again, r.StatusCode) {
		return false, nil
	}
	until, ok := ctx.Deadline()
	return !ok || time.Until(until) > retryAfter(r), nil // who wants to be left alone for longer than we have, is
}

// retryAfter is for how long a server wants to be left alone, if it says so in seconds or as a date.
func retryAfter(r *http.Response) time.Duration {
	if r == nil || !slices.Contains(again, r.StatusCode) {
		return 0
	}
	text := r.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// trail remembers what became of a question's tries: when the time is up, the library knows only that.
type trail struct {
	tries int
	last  string
}

type trailKey struct{}

func (t *trail) note(r *http.Response, err error) {
	t.tries++
	switch {
	case err == nil && r.StatusCode >= 400:
		t.last = fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
	case err != nil && (t.last == "" || !errors.Is(err, context.DeadlineExceeded)):
		t.last = bare(err).Error()
	}
}

// whole carries one request: it adds who we are and reads the answer to its end, at most maxBody of it, so that one that
// is cut off is an error of the request and a question is asked again.
type whole struct{ c *Client }

// RoundTrip sends one request.
func (w *whole) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if r.Method == http.MethodGet { // one that hangs leaves time for another
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, w.c.timeout/2, fmt.Errorf("no answer within %s", w.c.timeout/2))
		defer cancel()
	}
	r = r.Clone(ctx)
	r.Header.Set("User-Agent", "scap")
	r.Header.Set("Accept", "application/json")
	if w.c.secret != nil {
		r.Header.Set("Authorization", w.c.secret.header)
	}
	resp, err := w.c.wire.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.ContentLength > maxBody {
		return nil, errTooBig
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if len(body) > maxBody {
		return nil, errTooBig
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// CloseIdleConnections is for http.Client's method of that name.
func (w *whole) CloseIdleConnections() {
	if t, ok := w.c.wire.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}
