package fpm

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"scap/sync/release"
	"scap/targets/fpm/fcgi"
)

// script is the URI path of the script that the web server runs for a page.
func (p Page) script() string {
	if p.Script != "" {
		return p.Script
	}
	return withoutQuery(p.Path)
}

// visitDirect asks a master for one page, past the web server, and checks the answer as if it had come through one.
func (r *Runtime) visitDirect(ctx context.Context, i Instance, p Page, id release.ID) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.conf.Limits.Warm.or(defaultWarm), errSilent)
	defer cancel()
	a, err := fcgi.Call(ctx, i.Listen, r.pageParams(p))
	if err == nil {
		err = p.check(view{a.Status, a.Header, a.Body}, r.conf.Warm.Same, id)
	}
	if err != nil {
		return fmt.Errorf("page %s of %s: %w (%.120q %.300q)", p.Path, i.Name, err, a.Body, a.Complaint)
	}
	return nil
}

// pageParams are what a web server would pass for a page.
func (r *Runtime) pageParams(p Page) map[string]string {
	root := filepath.Join(r.conf.Served, r.conf.Keeper.DocumentRoot)
	uri, query, _ := strings.Cut(p.Path, "?")
	scheme, host, port := "http", p.Host, "80"
	if base, err := url.Parse(r.conf.Warm.Base); err == nil && base.Host != "" {
		scheme = base.Scheme
		if host == "" {
			host = base.Host
		}
		if scheme == "https" {
			port = "443"
		}
		if base.Port() != "" {
			port = base.Port()
		}
	}
	name := host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		name = bare
	}
	all := map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "scap-agent", "REDIRECT_STATUS": "200",
		"REQUEST_METHOD": http.MethodGet, "REQUEST_SCHEME": scheme, "REQUEST_URI": p.Path, "DOCUMENT_URI": p.script(), "QUERY_STRING": query,
		"CONTENT_TYPE": "", "CONTENT_LENGTH": "", "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "0", "SERVER_ADDR": "127.0.0.1",
		"SERVER_NAME": name, "SERVER_PORT": port, "DOCUMENT_ROOT": root, "SCRIPT_NAME": p.script(), "SCRIPT_FILENAME": path.Join(root, p.script()),
		"HTTP_HOST": host, "HTTP_USER_AGENT": userAgent, "HTTP_CONNECTION": "close",
	}
	if scheme == "https" {
		all["HTTPS"] = "on"
	}
	if rest, ok := strings.CutPrefix(uri, p.script()); ok && strings.HasPrefix(rest, "/") {
		all["PATH_INFO"] = rest
	}
	for name, value := range p.Headers {
		all["HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
	}
	for name, value := range r.conf.Keeper.Params {
		all[name] = value
	}
	return all
}
