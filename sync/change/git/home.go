package git

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

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
	if m.o.User == "" {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	u, err := url.Parse(m.o.URL)
	if err != nil {
		return err
	}
	text := []byte(fmt.Sprintf("machine %s login %s password %s\n", u.Hostname(), quoteNetrc(m.o.User), quoteNetrc(m.o.Password)))
	if had, err := os.ReadFile(path); err == nil && bytes.Equal(had, text) {
		return os.Chmod(path, 0o600)
	}
	return renameio.WriteFile(path, text, 0o600, renameio.IgnoreUmask())
}

// quoteNetrc writes a word as libcurl 7.84 and later read it.
func quoteNetrc(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
