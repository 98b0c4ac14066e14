package keeper_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scap/fixtures/real"
	"scap/targets/fpm/keeper"
)

// TestWhatPHPIncludes: php-fpm starts as root, so whoever can write a file that it reads could be root.
func TestWhatPHPIncludes(t *testing.T) {
	r := newRig(t, options{workers: 1})
	owner := real.TheOwner(t)
	conf, err := os.ReadFile(r.conf.Pools[0].ConfigFile)
	r.must(err)
	base := string(conf)
	for _, c := range []struct {
		name    string
		include string
		prepare func(file func(name, text string) string)
		says    string // empty: it is accepted
	}{
		{"nothing", "", func(func(string, string) string) {}, ""},
		{"root's own", "include=%s/etc/pool.d/*.conf", func(file func(string, string) string) { file("pool.d/a.conf", "") }, ""},
		{"none yet", "include=%s/etc/none.d/*.conf", func(func(string, string) string) {}, ""},
		{"another's", "include=%s/etc/pool.d/*.conf", func(file func(string, string) string) { owner.Own(t, file("pool.d/a.conf", "")) }, "pool.d/a.conf"},
		{"writable", "include = \"%s/etc/pool.d/*.conf\" ; pools", func(file func(string, string) string) { r.must(os.Chmod(file("pool.d/a.conf", ""), 0o666)) }, "pool.d/a.conf"},
		{"in another's directory", "include=%s/etc/pool.d/*.conf", func(file func(string, string) string) { owner.Own(t, filepath.Dir(file("pool.d/a.conf", ""))) }, "pool.d"},
		{"in another's empty directory", "include=%s/etc/*.d/*.conf", func(file func(string, string) string) {
			path := file("pool.d/a.conf", "")
			r.must(os.Remove(path))
			owner.Own(t, filepath.Dir(path))
		}, "pool.d"},
		{"by an included one", "include=%s/etc/pool.d/*.conf", func(file func(string, string) string) {
			owner.Own(t, file("more.d/b.conf", ""))
			file("pool.d/a.conf", "include="+r.dir+"/etc/more.d/b.conf\n")
		}, "more.d/b.conf"},
		{"by itself, for ever", "include=%s/etc/pool.d/*.conf", func(file func(string, string) string) {
			file("pool.d/a.conf", "include="+r.dir+"/etc/pool.d/a.conf\n")
		}, ""},
		{"a comment", "; include=%s/etc/pool.d/*.conf", func(file func(string, string) string) { owner.Own(t, file("pool.d/a.conf", "")) }, ""},
		{"an extension", "", func(file func(string, string) string) {
			owner.Own(t, file("conf.d/20-evil.ini", "extension=/tmp/x.so\n"))
		}, "20-evil.ini"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.prepare(func(name, text string) string {
				r.must(os.MkdirAll(filepath.Join(r.dir, "etc", filepath.Dir(name)), 0o755))
				r.write("etc/"+name, text)
				return filepath.Join(r.dir, "etc", name)
			})
			r.write("etc/fpm.conf", strings.ReplaceAll(c.include, "%s", r.dir)+"\n"+base)
			_, err := keeper.Load(r.file)
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
			for _, d := range []string{"pool.d", "more.d", "conf.d"} {
				r.must(os.RemoveAll(filepath.Join(r.dir, "etc", d)))
			}
		})
	}
}
