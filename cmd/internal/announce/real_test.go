package announce

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"scap/fixtures/prom"
)

// program is a server of Debian's, which ends with its test.
func program(t *testing.T, path string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s says:\n%s", path, text)
		}
		log.Close()
	})
}

// found looks for a program, also where only root looks.
func found(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	need(t, name, err == nil)
	return path
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// certificate writes a key and a certificate of its own for 127.0.0.1.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// ngircd starts an IRC server, with a password, that also speaks TLS.
func ngircd(t *testing.T) (clear, secure, ca string) {
	t.Helper()
	path := found(t, "ngircd")
	clear, secure = free(t), free(t)
	cert, key := certificate(t)
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	conf := filepath.Join(t.TempDir(), "ngircd.conf")
	text := fmt.Sprintf(`[Global]
Name = irc.example.net
Info = test
Listen = 127.0.0.1
Ports = %s
Password = sesame
ServerUID = %d
ServerGID = %d
[Limits]
MaxConnectionsIP = 50
[Options]
DNS = no
Ident = no
PAM = no
[SSL]
Ports = %s
CertFile = %s
KeyFile = %s
[Channel]
Name = #ops
Modes = t
[Channel]
Name = #closed
Modes = i
`, port(clear), os.Getuid(), os.Getgid(), port(secure), cert, key)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program(t, path, "-n", "-f", conf)
	awaits(t, func() error {
		conn, err := net.Dial("tcp", clear)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return clear, secure, cert
}

func awaits(t *testing.T, try func() error) {
	t.Helper()
	if err := prom.Await(30*time.Second, try); err != nil {
		t.Fatal(err)
	}
}

// listener is a person in the channel, whose client is netcat.
type listener struct {
	conn net.Conn
	in   *bufio.Scanner
}

func listen(t *testing.T, address, nick string) *listener {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	l := &listener{conn, bufio.NewScanner(conn)}
	fmt.Fprintf(conn, "PASS sesame\r\nNICK %s\r\nUSER x 0 * :x\r\nJOIN #ops\r\n", nick)
	l.until(t, " 366 ")
	return l
}

// until returns the first line with text in it.
func (l *listener) until(t *testing.T, text string) string {
	t.Helper()
	for l.in.Scan() {
		if strings.Contains(l.in.Text(), text) {
			return l.in.Text()
		}
	}
	t.Fatalf("%q was not heard: %v", text, l.in.Err())
	return ""
}

// said is the next line that is said in the channel.
func (l *listener) said(t *testing.T) string {
	t.Helper()
	_, text, _ := strings.Cut(l.until(t, "PRIVMSG"), " PRIVMSG ")
	return text
}

// TestRealIRC tells a whole deploy to a real server, over TLS, with a password.
func TestRealIRC(t *testing.T) {
	t.Parallel()
	clear, secure, ca := ngircd(t)
	l := listen(t, clear, "anna")
	taken := listen(t, clear, "logmsgbot")
	c, err := Open([]Options{
		{Name: "sal", Kind: IRC, Address: secure, CAFile: ca, Channel: "#ops", Nick: "logmsgbot", PasswordFile: secretFile(t, "sesame")},
		{Name: "closed", Kind: IRC, Address: clear, Plain: true, Channel: "#closed", PasswordFile: secretFile(t, "sesame")},
		{Name: "wrong", Kind: IRC, Address: clear, Plain: true, Channel: "#ops", Nick: "w", PasswordFile: secretFile(t, "open"), On: []string{"said"}},
		{Name: "stranger", Kind: IRC, Address: secure, Channel: "#ops", Nick: "s"},
	}, Deps{Site: "deploy1", User: "jd", Test: []string{"test"}})
	if err != nil {
		t.Fatal(err)
	}
	s := newScene()
	s.plan.Message += " " + strings.Repeat("größer ", 100) + "\r\nQUIT :x"
	deploy(t, s)
	for _, r := range s.records {
		c.Observe(r)
	}
	for i, want := range []string{"#ops :!log jd@deploy1 Started scap backport: Backport", "#ops :!log jd@deploy1 scap backport: Backport", "#ops :!log jd@deploy1 Finished scap backport: Backport"} {
		got := l.said(t)
		if !strings.HasPrefix(got, want) || len(got) > lineMost+len("#ops :") || !strings.Contains(got, "größer") {
			t.Errorf("said %q, want it to begin with %q", got, want)
		}
		if end := []string{"…", "… synced to the testservers (mwdebug1001, mwdebug1002)", "… (duration: 00m 47s)"}[i]; !strings.HasSuffix(got, end) {
			t.Errorf("said %q, want it to end with %q", got, end)
		}
	}
	if got := taken.said(t); !strings.Contains(got, "Started") {
		t.Errorf("who has the nick hears %q", got)
	}
	if errs := texts(c.Say(t.Context(), "all is well")); len(errs) != 3 || !strings.Contains(errs[1], `announcer wrong: the server has ended the connection: "Access denied: Bad password?"`) {
		t.Errorf("saying it ends with %q", errs)
	}
	if got := l.said(t); got != "#ops :!log jd@deploy1 all is well" {
		t.Errorf("said %q", got)
	}
	errs := texts(c.Close(t.Context()))
	slices.Sort(errs)
	if len(errs) != 2 || !strings.HasPrefix(errs[0], "announcer closed: the server says 473") || !strings.Contains(errs[1], "announcer stranger: "+secure+": tls:") {
		t.Errorf("the crew says %q", errs)
	}
	if strings.Contains(strings.Join(errs, ""), "open") {
		t.Errorf("a password is told: %q", errs)
	}
	if got := l.until(t, "QUIT"); !strings.HasPrefix(got, ":logmsgbo_!") {
		t.Errorf("who leaves is %q", got)
	}
}

// TestRealIRCComesBack loses the connection and says the next line on another.
func TestRealIRCComesBack(t *testing.T) {
	t.Parallel()
	clear, _, _ := ngircd(t)
	l := listen(t, clear, "anna")
	a := newIRC(Options{Address: clear, Plain: true, Channel: "#ops", Nick: "scap", User: "scap", PasswordFile: secretFile(t, "sesame")})
	defer a.Close()
	for _, text := range []string{"one", "two"} {
		if err := a.Tell(t.Context(), Event{Did: text}); err != nil {
			t.Fatal(err)
		}
		if got := l.said(t); got != "#ops :!log "+text {
			t.Errorf("said %q", got)
		}
		_ = a.conn.socket.Close()
	}
}

// TestRealMetrics pushes two deploys and a watch to a real gateway that a real Prometheus scrapes, by two processes.
func TestRealMetrics(t *testing.T) {
	t.Parallel()
	gate := found(t, "prometheus-pushgateway")
	prom.Need(t)
	address := free(t)
	program(t, gate, "--web.listen-address="+address, "--log.level=warn")
	awaits(t, func() error {
		r, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			r.Body.Close()
		}
		return err
	})
	server := prom.Start(t, 250*time.Millisecond, map[string][]string{"pushgateway": {address}})
	defer http.DefaultClient.CloseIdleConnections()
	good, bad := newScene(), newScene()
	bad.plan.Phases[1].Gate, bad.plan.Deploy = fails, "d2"
	deploy(t, good)
	deploy(t, bad)
	for _, scenes := range [][]*scene{{good, bad}, {good}} {
		c, err := Open([]Options{{Name: "push", Kind: Pushgateway, URL: "http://" + address}, {Name: "other", Kind: Pushgateway, URL: "http://" + address + "/", Job: "other"}}, Deps{Site: "deploy1/x"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scenes {
			for _, r := range s.records {
				c.Observe(r)
			}
		}
		if errs := c.Close(t.Context()); len(errs) > 0 {
			t.Fatalf("the crew says %q", texts(errs))
		}
	}
	for expr, want := range map[string]string{
		`scap_deploys_total{exported_job="scap",exported_instance="deploy1/x",verb="backport",how="deployed"}`: "2",
		`scap_deploys_total{exported_job="scap",verb="backport",how="rolled-back"}`:                            "1",
		`scap_deploy_duration_seconds_sum{exported_job="scap",how="deployed"}`:                                 "94.01",
		`scap_deploy_duration_seconds_count{exported_job="other",how="deployed"}`:                              "2",
		`scap_deploy_duration_seconds_bucket{exported_job="scap",how="deployed",le="60"}`:                      "2",
		`scap_deploy_duration_seconds_bucket{exported_job="scap",how="deployed",le="30"}`:                      "0",
		`scap_phase_duration_seconds_count{exported_job="scap",phase="canaries",how="failed"}`:                 "1",
		`scap_phase_duration_seconds_count{exported_job="scap",phase="canaries",how="passed"}`:                 "2",
		`scap_gate_duration_seconds_count{exported_job="scap",phase="canaries",verdict="fail"}`:                "1",
		`scap_gate_duration_seconds_sum{exported_job="scap",phase="canaries",verdict="pass"}`:                  "60",
		`scap_gate_duration_seconds_count{exported_job="scap",phase="test",verdict="off"}`:                     "3",
		`scap_deploy_last_success_timestamp_seconds{exported_job="scap"}`:                                      fmt.Sprint(float64(good.records[len(good.records)-1].At.UnixMilli()) / 1000),
		`histogram_quantile(0.9, scap_deploy_duration_seconds_bucket{exported_job="scap",how="rolled-back"})`:  "28.5",
	} {
		awaits(t, func() error {
			if got := promql(t, server.URL(), expr); !close2(got, want) {
				return fmt.Errorf("%s is %s, want %s", expr, got, want)
			}
			return nil
		})
	}
}

// close2 compares numbers, to a hundredth.
func close2(a, b string) bool {
	var x, y float64
	if _, err := fmt.Sscan(a, &x); err != nil {
		return false
	}
	_, err := fmt.Sscan(b, &y)
	return err == nil && x-y < 0.02 && y-x < 0.02
}

// promql asks the server, and answers the one value.
func promql(t *testing.T, server, expr string) string {
	t.Helper()
	r, err := http.Get(server + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Data.Result) != 1 {
		return fmt.Sprintf("%d values", len(answer.Data.Result))
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

// TestRealCommand runs programs: what they are told, what they may see, and how one that hangs ends.
func TestRealCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SCAP_PASSWORD", secretText)
	e := Event{What: RolledBack, Did: "jd@deploy1 Rolled back scap sync", Rest: ": the gate failed", Full: "errors: $(id) `id`"}
	a := &command{argv: []string{"/bin/sh", "-c", `cat > "$0"; env >> "$0"`, out}}
	if err := a.Tell(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := "jd@deploy1 Rolled back scap sync: the gate failed: errors: $(id) `id`\n"; !strings.HasPrefix(string(text), want) {
		t.Errorf("it was told %q, want %q", text, want)
	}
	if strings.Contains(string(text), secretText) || !strings.Contains(string(text), "SCAP_EVENT=rolled-back") {
		t.Errorf("its environment is %q", text)
	}
	a = &command{argv: []string{"/bin/sh", "-c", "echo no such bot >&2; exit 3"}}
	if err := a.Tell(t.Context(), e); err == nil || err.Error() != "/bin/sh: exit status 3: no such bot" {
		t.Errorf("a program that fails: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, fmt.Errorf("no end within 1s"))
	defer cancel()
	a = &command{argv: []string{"/bin/sh", "-c", `sleep 1000 & echo $! > "$0"; sleep 1000`, out}}
	if err := a.Tell(ctx, e); err == nil || err.Error() != "/bin/sh: no end within 1s" {
		t.Errorf("a program that hangs: %v", err)
	}
	text, err = os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	awaits(t, func() error { // its child ends too; somebody may still have to collect it
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return fmt.Errorf("the program's child still runs: %s", stat)
		}
		return nil
	})
}
