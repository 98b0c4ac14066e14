package keeper

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func goodConfig() Config {
	return Config{
		User: "deploy", Root: "/srv/scap", Served: "/srv/mediawiki", State: "/var/lib/scap", Run: "/run/scap", Reserve: 512 << 20,
		Pools: []Pool{{
			Name: "www", Listen: "/run/php/fpm.sock", Trial: "/run/php/canary.sock", Binary: "/usr/sbin/php-fpm8.2", ConfigFile: "/etc/php/fpm.conf",
			PingPath: "/ping", Stop: time.Minute, Unit: "php8.2-fpm.service",
		}},
	}
}

func TestConfigurationIsReadStrictly(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"good":                       {func(*Config) {}, ""},
		"no user":                    {func(c *Config) { c.User = "" }, "user"},
		"relative root":              {func(c *Config) { c.Root = "srv" }, "root"},
		"root is /":                  {func(c *Config) { c.Root = "/" }, "root"},
		"unclean served":             {func(c *Config) { c.Served = "/srv/../etc" }, "served"},
		"state in the root":          {func(c *Config) { c.State = "/srv/scap/state" }, "deploy user writes"},
		"run in the served path":     {func(c *Config) { c.Run = "/srv/mediawiki/run" }, "deploy user writes"},
		"state is run":               {func(c *Config) { c.State = c.Run }, "both"},
		"run too long":               {func(c *Config) { c.Run = "/" + strings.Repeat("r", 80) }, "php-fpm cuts"},
		"no pools":                   {func(c *Config) { c.Pools = nil }, "0 pools"},
		"65 pools":                   {func(c *Config) { c.Pools = make([]Pool, 65) }, "65 pools"},
		"too large a reserve":        {func(c *Config) { c.Reserve = 1 << 60 }, "reserve"},
		"one name twice":             {func(c *Config) { c.Pools = append(c.Pools, c.Pools[0]) }, "too"},
		"trial is listen":            {func(c *Config) { c.Pools[0].Trial = c.Pools[0].Listen }, "too"},
		"a name with a slash":        {func(c *Config) { c.Pools[0].Name = "../www" }, "name"},
		"TCP":                        {func(c *Config) { c.Pools[0].Listen = "127.0.0.1:9000" }, "TCP"},
		"a socket among releases":    {func(c *Config) { c.Pools[0].Listen = "/srv/scap/x.sock" }, "among releases"},
		"a socket in run":            {func(c *Config) { c.Pools[0].Listen = "/run/scap/fpm-1.sock" }, "own directories"},
		"a socket of 108 bytes":      {func(c *Config) { c.Pools[0].Listen = "/" + strings.Repeat("x", 107) }, "cut it"},
		"a relative binary":          {func(c *Config) { c.Pools[0].Binary = "php-fpm" }, "binary"},
		"a wildcard to include":      {func(c *Config) { c.Pools[0].ConfigFile = "/etc/php/*.conf" }, "wildcards"},
		"a line end to include":      {func(c *Config) { c.Pools[0].ConfigFile = "/etc/x\nuser=root" }, "config_file"},
		"a ping with a query":        {func(c *Config) { c.Pools[0].PingPath = "/ping?x" }, "ping_path"},
		"no time to stop":            {func(c *Config) { c.Pools[0].Stop = 0 }, "stop"},
		"a day to stop":              {func(c *Config) { c.Pools[0].Stop = 24 * time.Hour }, "stop"},
		"a unit that is an option":   {func(c *Config) { c.Pools[0].Unit = "--now" }, "unit"},
		"no way to be given back":    {func(c *Config) { c.Pools[0].Unit = "" }, "given back"},
		"a pid file that is no path": {func(c *Config) { c.Pools[0].PIDFile = "x" }, "pid_file"},
	} {
		conf := goodConfig()
		c.edit(&conf)
		b, err := json.Marshal(conf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = parseConfig(b); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := json.Marshal(goodConfig())
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for name, text := range map[string]string{
		"an unknown key":           strings.Replace(good, `"user"`, `"uzer":"x","user"`, 1),
		"a key twice":              strings.Replace(good, `"user"`, `"user":"x","user"`, 1),
		"a key in capital letters": strings.Replace(good, `"user"`, `"User"`, 1),
		"a pool's key twice":       strings.Replace(good, `"binary"`, `"binary":"/bin/sh","binary"`, 1),
		"two values":               good + good,
		"cut off":                  good[:len(good)-1],
		"nothing":                  "",
		"null":                     "null",
		"a stop in words":          strings.Replace(good, `60000000000`, `"60s"`, 1),
		"a negative reserve":       strings.Replace(good, `536870912`, `-1`, 1),
		"not UTF-8":                strings.Replace(good, "deploy", "\xff", 1),
	} {
		if _, err := parseConfig([]byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzConfig(f *testing.F) {
	good, err := json.Marshal(goodConfig())
	if err != nil {
		f.Fatal(err)
	}
	if c, err := parseConfig(good); err != nil || len(c.Pools) != 1 || c.Pools[0].Stop != time.Minute {
		f.Fatalf("seed: %+v %v", c, err)
	}
	f.Add(good)
	f.Add([]byte(`{"user":"x","pools":[{}]}`))
	f.Add([]byte(`{"user":"x","user":"y"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig(b)
		if err != nil {
			return
		}
		for _, p := range c.Pools {
			if !cleanPath(p.Binary) || !cleanPath(p.Listen) || within(p.Listen, c.Root) || p.Stop < time.Second || len(p.Listen) > maxSocketPath {
				t.Errorf("%q became %+v", b, c)
			}
		}
		if within(c.State, c.Root) || within(c.Run, c.Root) || len(c.Pools) == 0 {
			t.Errorf("%q became %+v", b, c)
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseConfig(again); err != nil {
			t.Errorf("%q is read once and not twice: %v", b, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	const id = "0100000000000000000000000000000000000000000000000000000000000000"
	for line, want := range map[string]bool{
		`{"op":"state"}`: true,
		`{"op":"start","pool":"www","release":"` + id + `","until":"2030-01-01T00:00:00Z"}`:    true,
		`{"op":"publish","pool":"www","generation":2,"from":1,"until":"2030-01-01T00:00:00Z"}`: true,
		`{"op":"publish","pool":"www","generation":2}`:                                         true,
		`{"op":"try","pool":"www"}`:                                                            true,
		`{"op":"try","pool":"www","generation":1}`:                                             false,
		`{"op":"end","generation":18446744073709551615}`:                                       true,
		`{"op":"end","generation":18446744073709551616}`:                                       false,
		`{"op":"end"}`:               false,
		`{"op":"halt","kill":true}`:  true,
		`{"op":"giveup"}`:            true,
		`{"op":"adopt","kill":true}`: false,
		`{"op":"state","op":"halt"}`: false,
		`{"op":"state","Op":"halt"}`: false,
		`{"op":"state","signal":9}`:  false,
		`{"op":"start","pool":"www","release":"` + strings.ToUpper("ab"+id[2:]) + `","until":"2030-01-01T00:00:00Z"}`: false,
		`{"op":"state"} {"op":"halt"}`: false,
		`[{"op":"halt"}]`:              false,
		``:                             false,
		`null`:                         false,
		`{"op":"halt"` + strings.Repeat(" ", maxRequest) + `}`: false,
	} {
		if _, err := parseRequest([]byte(line)); (err == nil) != want {
			f.Fatalf("seed %.100q: %v", line, err)
		}
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := parseRequest(line)
		if err != nil {
			return
		}
		if _, ok := takes[q.Op]; !ok || len(line) > maxRequest {
			t.Errorf("%q became %+v", line, q)
		}
		b, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRequest(b)
		if err != nil || again.Op != q.Op || again.Pool != q.Pool || again.Release != q.Release || again.Generation != q.Generation || again.From != q.From ||
			!again.Until.Equal(q.Until) || again.Kill != q.Kill {
			t.Errorf("%q became %+v, and that %+v, %v", line, q, again, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	if r, err := parseReply([]byte(`{"error":"no","code":"refused","later":1}` + "\n")); err != nil || r.Code != Refused {
		f.Fatalf("seed: %+v %v", r, err)
	}
	if _, err := parseReply([]byte("{}")); err == nil {
		f.Fatal("a reply that broke off is accepted")
	}
	f.Add([]byte("{}\n"))
	f.Add([]byte("{}\n{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseReply(b); err == nil && strings.Count(string(b), "\n") != 1 {
			t.Errorf("%q is a reply", b)
		}
	})
}
