package git

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// maxCredentials bounds the credentials file.
const maxCredentials = 4 << 10

// makeHome makes git's home, with the credentials in it that libcurl looks for there. What a run that died left of its
// moment's files is removed after a day.
func (m *Mirrors) makeHome() error {
	if err := os.MkdirAll(m.o.Dir, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(m.home(), 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	left, err := filepath.Glob(filepath.Join(m.home(), "tmp-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(dir)
		}
	}
	return m.writeNetrc()
}

// temp makes a private directory for files of the moment.
func (m *Mirrors) temp() (string, error) {
	if err := os.MkdirAll(m.home(), 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(m.home(), "tmp-")
}

func (m *Mirrors) writeNetrc() error {
	path := filepath.Join(m.home(), ".netrc")
	if m.o.Credentials == "" {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	user, password, err := readCredentials(m.o.Credentials)
	if err != nil {
		return err
	}
	u, err := url.Parse(m.o.URL)
	if err != nil {
		return err
	}
	text := []byte(fmt.Sprintf("machine %s login %s password %s\n", u.Hostname(), quoteNetrc(user), quoteNetrc(password)))
	if had, err := os.ReadFile(path); err == nil && bytes.Equal(had, text) {
		return os.Chmod(path, 0o600)
	}
	return renameio.WriteFile(path, text, 0o600, renameio.IgnoreUmask())
}

// quoteNetrc writes a word as libcurl 7.84 and later read it.
func quoteNetrc(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// readCredentials reads user:password. Errors never hold what is in the file.
func readCredentials(path string) (user, password string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", fmt.Errorf("credentials: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", fmt.Errorf("credentials: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", "", fmt.Errorf("credentials %s: others than its owner may read it (mode %v): chmod 600 it, and think of the password as known", path, info.Mode())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err != nil {
		return "", "", fmt.Errorf("credentials: %w", err)
	}
	line := strings.TrimRight(string(text), "\r\n")
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" || password == "" || len(text) > maxCredentials || strings.ContainsAny(line, "\r\n\t\x00") {
		return "", "", fmt.Errorf("credentials %s: it must hold one line, user:password", path)
	}
	return user, password, nil
}
