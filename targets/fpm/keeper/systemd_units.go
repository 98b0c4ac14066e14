package keeper

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Units returns the units for a host with systemd, to be installed where the comments say: the watch, and with
// Config.Systemd the template whose instances are the generations. conf is what Load returned.
func Units(conf Config) (string, error) {
	exe, err := ownProgram()
	if err != nil {
		return "", err
	}
	return unitsOf(conf, exe), nil
}

func unitsOf(conf Config, exe string) string {
	command := quoted(exe) + " keeper --conf " + quoted(conf.file)
	text := fmt.Sprintf(watchUnit, command)
	if conf.Systemd {
		longest := time.Duration(0)
		for _, p := range conf.Pools {
			longest = max(longest, p.Stop)
		}
		log := quoted("append:" + filepath.Join(conf.Run, "fpm-%i.log"))
		log = strings.ReplaceAll(log, "%%i", "%i")
		text += "\n" + fmt.Sprintf(masterUnit, command, int((longest+killTime)/time.Second), log)
	}
	return text
}

// quoted is a word as systemd reads it.
func quoted(word string) string {
	word = strings.ReplaceAll(word, "%", "%%")
	if !strings.ContainsAny(word, " \t\"'\\$;") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", "$$").Replace(word) + `"`
}

// The masters are children of the watch where Config.Systemd is off: ending it must not end them.
const watchUnit = `# /etc/systemd/system/scap-keeper.service
# then: systemctl daemon-reload; systemctl enable --now scap-keeper.service
[Unit]
Description=scap: keeps the masters of php-fpm alive and their deadlines kept
After=local-fs.target remote-fs.target network.target
StartLimitIntervalSec=0

[Service]
ExecStart=%s watch
Restart=always
RestartSec=2
KillMode=process
OOMPolicy=continue
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
`

// KillMode is not mixed: with that, systemd kills all workers of a master that dies, in the middle of their requests, and
// nobody answers until another one runs (0.45 s in TestSystemd). With process they serve on until the watch has put another
// master in its place, without a request lost, and it is the keeper who ends them. For the same reason a worker that is
// killed for its memory must not stop the rest.
const masterUnit = `# /etc/systemd/system/scap-fpm@.service
# started and ended by scap's keeper only; never enabled
[Unit]
Description=scap: php-fpm, generation %%i
After=local-fs.target remote-fs.target network.target

[Service]
Type=exec
ExecStart=%s enter %%i
PrivateMounts=yes
KillSignal=SIGQUIT
KillMode=process
TimeoutStopSec=%d
Restart=no
OOMPolicy=continue
StandardInput=null
StandardOutput=%s
StandardError=inherit
`
