package opensearch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// maxBody bounds an answer. The largest that is asked for, 8000 buckets of about 150 bytes, is a tenth of it.
const maxBody = 16 << 20

// again says whether a search is asked once more. A search changes nothing, so repeating it is safe although it is a POST; the client
// sends nothing else. A server that asks for more patience than there is gets none.
func again(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return retryablehttp.DefaultRetryPolicy(ctx, resp, err) // not for a wrong certificate
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return false, nil
	}
	if resp.Request == nil || !strings.HasSuffix(resp.Request.URL.Path, "/_search") {
		return false, nil
	}
	deadline, ok := ctx.Deadline()
	return !ok || retryablehttp.DefaultBackoff(0, 0, 0, resp) < time.Until(deadline), nil
}

// ask sends one search and returns its answer, whole and well formed, or an error.
func (s *Source) ask(ctx context.Context, body object) (*answer, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("write the query: %w", err)
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, s.search, raw)
	if err != nil {
		return nil, fmt.Errorf("search %s: %w", s.place(), err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	auth, err := credentials(s.c.CredentialsFile)
	if err != nil {
		return nil, err
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		var outer *url.Error
		if errors.As(err, &outer) { // it would repeat the URL
			err = outer.Err
		}
		return nil, fmt.Errorf("search %s: %w", s.place(), cleaned{err})
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(text) > maxBody {
		err = fmt.Errorf("the answer has more than %d bytes", maxBody)
	}
	if err == nil {
		err = status(resp, text)
	}
	if err == nil {
		var a *answer
		if a, err = parse(text); err == nil {
			return a, nil
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("search %s: %w", s.place(), err)
}

func (s *Source) place() string { return clean(s.c.Index) + " at " + clean(s.c.URL) }

// status wants an answer of the API: 200, and JSON.
func status(resp *http.Response, text []byte) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("status %d, a redirect to %q: something in front of the cluster wants a login, or the url is not the API's", resp.StatusCode, clean(resp.Header.Get("Location")))
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("status %d: the credentials file gives no right to search there", resp.StatusCode)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("status 404: no such index (or the url is not the API's): %s", reason(text))
	case resp.StatusCode != http.StatusOK:
		wait := resp.Header.Get("Retry-After")
		if wait != "" {
			wait = fmt.Sprintf(", asks to come back after %q", clean(wait))
		}
		return fmt.Errorf("status %d%s: %s", resp.StatusCode, wait, reason(text))
	case !isJSON:
		return fmt.Errorf("status 200, but %q in place of JSON: the url is not the API's", clean(kind))
	}
	return nil
}

// reason is what the API says of an error.
func reason(text []byte) string {
	type cause struct{ Type, Reason string }
	var e struct {
		Error struct {
			cause
			RootCause []cause `json:"root_cause"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &e) != nil || e.Error.Type == "" {
		return "no reason given"
	}
	c := e.Error.cause
	if len(e.Error.RootCause) > 0 {
		c = e.Error.RootCause[0]
	}
	return clean(cmp.Or(c.Type, e.Error.Type) + ": " + c.Reason)
}

// credentials is the header that a file asks for. What the file holds is in no error.
func credentials(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("credentials file %s: want a file that others cannot read (chmod o= %[1]s)", path)
	}
	const most = 8 << 10
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	line := strings.TrimSpace(string(text))
	scheme, rest, spaced := strings.Cut(line, " ")
	switch {
	case len(text) > most || line == "" || clean(line) != line && len(line) <= maxText || bytes.ContainsAny(text[:len(line)], "\r\n\x00"):
		err = errors.New("want one line")
	case spaced && (scheme == "Bearer" || scheme == "ApiKey" || scheme == "Basic") && strings.TrimSpace(rest) == rest:
		return line, nil
	case strings.Contains(line, ":"):
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(line)), nil
	default:
		err = errors.New("want user:password, Bearer TOKEN or ApiKey KEY")
	}
	return "", fmt.Errorf("credentials file %s: %w", path, err)
}
