package webserver

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// etc writes files into a directory of their own; @ in them stands for it.
func etc(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "@", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func ask(t testing.TB, file string, p Pool, share float64) Answer {
	t.Helper()
	a, err := Read(t.Context(), Question{Files: []string{file}, Pools: []Pool{p}, Served: "/srv/mediawiki", Share: share})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// apply puts what is wanted in the place of what stands there, from the last line of each file on.
func apply(t testing.TB, a Answer) {
	t.Helper()
	lines := slices.Clone(a.Lines)
	slices.SortFunc(lines, func(x, y Line) int { return y.Number - x.Number })
	for _, l := range lines {
		b, err := os.ReadFile(l.File)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Split(string(b), "\n")
		if !strings.Contains(all[l.Number-1], strings.Fields(l.Have)[0]) {
			t.Fatalf("%s:%d is %q, not %q", l.File, l.Number, all[l.Number-1], l.Have)
		}
		all[l.Number-1] = strings.TrimRight(l.Want, "\n")
		if err := os.WriteFile(l.File, []byte(strings.Join(all, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	www   = "/run/php/www.sock"
	trial = "/run/php/trial.sock"
)

var wiki = map[string]string{
	"nginx.conf": `user www-data;
http {
	log_format lines escape=json '{"time":"$time_iso8601","uri":"$request_uri"}'; # a brace in quotes
	map $http_x "$id" { "" $request_id; default $http_x; }
	include sites-enabled/*;
}
`,
	"fastcgi.conf": "fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;\nfastcgi_param QUERY_STRING $query_string;\n",
	"sites-enabled/wiki": `upstream wiki {
	server unix:/run/php/www.sock weight=3;
	keepalive 16;
}
server {
	root /srv/mediawiki/docroot;
	location ~ ^/w/(index|api)\.php$ {
		include fastcgi.conf;
		fastcgi_keep_conn on;
		fastcgi_pass wiki;
	}
	location /other { fastcgi_param SCRIPT_FILENAME $realpath_root/x; fastcgi_pass unix:/run/php/other.sock; }
}
`,
}

func TestNginx(t *testing.T) {
	dir := etc(t, wiki)
	main := filepath.Join(dir, "nginx.conf")
	a := ask(t, main, Pool{Listen: www}, 0)
	if len(a.Problems) > 0 || !slices.Equal(a.Servers, []string{"nginx"}) || len(a.Files) != 3 || !a.Must() {
		t.Fatalf("%+v", a)
	}
	var got []string
	for _, l := range a.Lines {
		got = append(got, filepath.Base(l.File)+" "+l.Have+" -> "+l.Want)
	}
	want := []string{
		"wiki keepalive 16; -> ", "wiki fastcgi_keep_conn on; -> ",
		"fastcgi.conf fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name; -> fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;",
	}
	if !slices.Equal(got, want) {
		t.Errorf("have %q\nwant %q", got, want)
	}
	if d := a.Diff(); !strings.Contains(d, "wiki:3 (needed): ") || !strings.Contains(d, "\n-    keepalive 16;\n") || !strings.Contains(d, "+    fastcgi_param SCRIPT_FILENAME $document_root") {
		t.Errorf("diff:\n%s", d)
	}
	a = ask(t, main, Pool{Listen: www, Trial: trial}, 0.05)
	if len(a.Lines) != 4 || a.Lines[1].Must || !strings.Contains(a.Lines[1].Want, "server unix:/run/php/trial.sock weight=1 max_fails=1") ||
		!strings.Contains(a.Lines[1].Want, "weight=19") {
		t.Fatalf("a trial: %+v", a.Lines)
	}
	apply(t, a)
	if a = ask(t, main, Pool{Listen: www, Trial: trial}, 0.05); len(a.Lines) > 0 || a.Must() {
		t.Errorf("after all of it: %+v", a)
	}
	if a = ask(t, main, Pool{Listen: www, Trial: trial}, 0.2); len(a.Lines) != 1 || !strings.Contains(a.Lines[0].Want, "weight=4 ") {
		t.Errorf("another share: %+v", a.Lines)
	}
}

const sticky = `http {
	upstream main { server unix:/run/php/www.sock; }
	upstream tried { server unix:/run/php/trial.sock max_fails=1 fail_timeout=1s; server unix:/run/php/www.sock backup; }
	split_clients "$cookie_session" $wiki { 5% tried; * main; }
	server { root /srv/mediawiki/docroot; location / { fastcgi_pass $wiki; } }
}
`

func TestNginxByCookie(t *testing.T) {
	file := filepath.Join(etc(t, map[string]string{"nginx.conf": sticky}), "nginx.conf")
	if a := ask(t, file, Pool{Listen: www, Trial: trial}, 0.05); a.Must() || len(a.Lines) > 0 {
		t.Errorf("%+v", a)
	}
	if a := ask(t, file, Pool{Listen: www, Trial: trial}, 0.2); len(a.Lines) != 1 || !strings.Contains(a.Lines[0].Why, "20% of the users") {
		t.Errorf("another share: %+v", a)
	}
	file = filepath.Join(etc(t, map[string]string{"nginx.conf": strings.Replace(sticky, "unix:/run/php/trial.sock", "unix:/run/php/else.sock", 1)}), "nginx.conf")
	if a := ask(t, file, Pool{Listen: www, Trial: trial}, 0.05); len(a.Lines) != 1 {
		t.Errorf("no trial: %+v", a)
	}
	file = filepath.Join(etc(t, map[string]string{"nginx.conf": strings.Replace(sticky, "www.sock; }", "www.sock; keepalive 4; }", 1)}), "nginx.conf")
	if a := ask(t, file, Pool{Listen: www}, 0); !a.Must() || len(a.Lines) != 1 {
		t.Errorf("kept connections: %+v", a)
	}
}

func TestNginxByItself(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		trial bool
		want  string // in a problem, or in the reason of a line; empty: nothing is found
	}{
		"straight to the socket": {"http { server { root /srv/mediawiki/docroot; location / { fastcgi_param SCRIPT_FILENAME $document_root/x; fastcgi_pass unix:/run/php/www.sock; } } }", false, ""},
		"a literal path":         {"http { server { root /var/www; location / { fastcgi_param SCRIPT_FILENAME /srv/mediawiki/w/x; fastcgi_pass unix:/run/php/www.sock; } } }", false, ""},
		"no upstream for trials": {"http { server { location / { fastcgi_pass unix:/run/php/www.sock; } } }", true, "trials need an upstream"},
		"nobody":                 {"http { server { location / { fastcgi_pass unix:/run/php/else.sock; } } }", false, "nothing in"},
		"another root":           {"http { server { root /srv/old; location / { fastcgi_param SCRIPT_FILENAME $document_root/x; fastcgi_pass unix:/run/php/www.sock; } } }", false, "root /srv/old is not below /srv/mediawiki"},
		"from above":             {"http { fastcgi_param SCRIPT_FILENAME $realpath_root/x; server { location / { fastcgi_pass unix:/run/php/www.sock; } } }", false, "resolves the link"},
		"hidden from above":      {"http { fastcgi_param SCRIPT_FILENAME $realpath_root/x; server { location / { fastcgi_param A b; fastcgi_pass unix:/run/php/www.sock; } } }", false, ""},
		"broken off":             {"http { server {", false, "ends in the middle"},
		"an open quote":          {"http { x \"y; }", false, "has no end"},
		"one brace too many":     {"http { } }", false, "closes nothing"},
		"an include in circles":  {"include @/nginx.conf;", false, "nested deeper"},
		"an include of nothing":  {"include @/none.conf;", false, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Pool{Listen: www}
			if c.trial {
				p.Trial = trial
			}
			a := ask(t, filepath.Join(etc(t, map[string]string{"nginx.conf": c.text}), "nginx.conf"), p, 0)
			said := strings.Join(a.Problems, "\n")
			for _, l := range a.Lines {
				said += "\n" + l.Why
			}
			if c.want == "" && said != "" || !strings.Contains(said, c.want) {
				t.Errorf("said %q, want %q", said, c.want)
			}
		})
	}
}

func TestApache(t *testing.T) {
	dir := etc(t, map[string]string{
		"apache2.conf": "ServerRoot \"@\"\n# Include nothing\nIncludeOptional sites/*.conf\n",
		"sites/wiki.conf": `<VirtualHost *:80>
  DocumentRoot /srv/mediawiki/docroot
  <Proxy "unix:/run/php/www.sock|fcgi://php" \
     enablereuse=on max=10>
  </Proxy>
  <FilesMatch "\.php$">
    SetHandler "proxy:unix:/run/php/www.sock|fcgi://php"
  </FilesMatch>
</VirtualHost>
`,
	})
	main := filepath.Join(dir, "apache2.conf")
	a := ask(t, main, Pool{Listen: www}, 0)
	if len(a.Problems) > 0 || len(a.Lines) != 1 || a.Lines[0].Number != 3 || !a.Must() || !slices.Equal(a.Servers, []string{"apache"}) {
		t.Fatalf("%+v", a)
	}
	if a = ask(t, main, Pool{Listen: www, Trial: trial}, 0.05); len(a.Lines) != 2 || !strings.Contains(a.Lines[1].Want, "loadfactor=19 disablereuse=on\nBalancerMember") {
		t.Fatalf("a trial: %+v", a.Lines)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "sites/wiki.conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("<Proxy balancer://wiki>\nBalancerMember \"unix:/run/php/www.sock|fcgi://a\" loadfactor=19\nBalancerMember \"unix:/run/php/trial.sock|fcgi://b\" loadfactor=1 retry=1\n</Proxy>\n")
	if a = ask(t, main, Pool{Listen: www, Trial: trial}, 0.05); len(a.Lines) > 0 || a.Must() {
		t.Errorf("a balancer: %+v", a)
	}
	if a = ask(t, main, Pool{Listen: www, Trial: trial}, 0.5); len(a.Lines) != 1 {
		t.Errorf("a balancer with other weights: %+v", a)
	}
}

func TestAsk(t *testing.T) {
	file := filepath.Join(etc(t, wiki), "nginx.conf")
	q, err := json.Marshal(Question{Files: []string{file}, Pools: []Pool{{Listen: www}}, Served: "/srv/mediawiki"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Ask(t.Context(), q)
	var a Answer
	if err != nil || json.Unmarshal(b, &a) != nil || len(a.Lines) != 3 {
		t.Errorf("%s %v", b, err)
	}
	for _, bad := range []string{"{", `{"pools":[]}`, `{"pools":[{"listen":"/x"}]}`} {
		if _, err := Ask(t.Context(), json.RawMessage(bad)); err == nil {
			t.Errorf("%s is answered", bad)
		}
	}
	if a, err := Read(t.Context(), Question{Files: []string{"/nowhere/nginx.conf"}, Pools: []Pool{{Listen: www}}, Served: "/s"}); err != nil || !a.Must() {
		t.Errorf("no such file: %+v %v", a, err)
	}
}

func TestWeights(t *testing.T) {
	for share, want := range map[float64][2]int{0.05: {19, 1}, 0.1: {9, 1}, 0.2: {4, 1}, 0.5: {1, 1}, 0.001: {999, 1}, 0: {19, 1}, 0.33: {67, 33}} {
		if a, b := weights(share); [2]int{a, b} != want {
			t.Errorf("%g: %d to %d, want %v", share, a, b, want)
		}
	}
}

// FuzzNginx: any text is read to an answer, in which every line is one of the file's.
func FuzzNginx(f *testing.F) {
	for _, text := range wiki {
		f.Add(text)
	}
	f.Add("a {b \"c;\n} d; ${x} \\")
	if a := ask(f, filepath.Join(etc(f, wiki), "nginx.conf"), Pool{Listen: www}, 0); len(a.Lines) != 3 {
		f.Fatalf("seed: %+v", a)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "include") { // of the machine's own files
			return
		}
		a := ask(t, filepath.Join(etc(t, map[string]string{"nginx.conf": text}), "nginx.conf"), Pool{Listen: www, Trial: trial}, 0.05)
		for _, l := range a.Lines {
			if l.Number < 1 || l.Number > strings.Count(text, "\n")+1 || l.Why == "" {
				t.Fatalf("%+v of %q", l, text)
			}
		}
	})
}
