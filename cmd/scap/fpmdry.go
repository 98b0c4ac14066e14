package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scap/cmd/internal/config"
	"scap/cmd/internal/ui"
	"scap/sync/agent"
	"scap/targets/fpm/keeper"
)

// rehearseAdoption is scap fpm adopt --dry-run.
func (a *app) rehearseAdoption(ctx context.Context, names []string) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	asked, err := handedOver(conf, names)
	if err != nil {
		return err
	}
	f, err := openFleet(conf, nil, fleetOptions{})
	if err != nil {
		return err
	}
	defer f.close()
	var errs []error
	for _, ph := range conf.Phases {
		for _, h := range ph.Hosts {
			if asked[h.Name] {
				errs = append(errs, a.rehearse(ctx, f, h))
			}
		}
	}
	return errors.Join(errs...)
}

// rehearse shows for one host what root installs, what of it is there, and which lines of its web server to change.
func (a *app) rehearse(ctx context.Context, f *fleet, h config.Host) error {
	g := f.conf.Group(h.Group)
	st, err := f.hosts[h.Name].State(ctx)
	if err != nil {
		return err
	}
	web, err := f.webServer(ctx, h.Name)
	if err != nil {
		return err
	}
	todo, err := f.installed(ctx, h, g)
	if err != nil {
		return err
	}
	whose := "its distribution's"
	if st.Proof.Road.Adopted {
		whose = "the keeper's"
	}
	fmt.Fprintf(a.stdout, "%s: its php-fpm is %s, on %s\n", h.Name, whose, st.Disk.Short())
	for _, step := range todo {
		fmt.Fprintf(a.stdout, "  as root: %s\n", ui.Clean(step))
	}
	if !st.Proof.Road.Adopted && !keeperConfig(f.conf, g).Systemd {
		fmt.Fprintf(a.stdout, "  by init, for as long as the host is up: %s watch   (not looked for; the adoption asks the keeper)\n", ui.Clean(asRoot(g)))
	}
	for _, p := range web.Problems {
		fmt.Fprintf(a.stdout, "  web server: %s\n", ui.Clean(p))
	}
	if diff := web.Diff(); diff != "" {
		fmt.Fprintf(a.stdout, "  lines of %s to change, then reload it once:\n    %s\n", strings.Join(web.Servers, " and "),
			strings.ReplaceAll(strings.TrimRight(harmless(diff), "\n"), "\n", "\n    "))
	}
	for _, p := range st.Problems {
		fmt.Fprintf(a.stdout, "  stands in the way: %s\n", ui.Clean(p))
	}
	switch {
	case st.Proof.Road.Adopted:
	case len(todo) == 0 && !web.Must() && len(st.Problems) == 0:
		fmt.Fprintf(a.stdout, "  ready: `scap fpm adopt %s` takes it over, out of the pool, one host at a time\n", h.Name)
	default:
		fmt.Fprintln(a.stdout, "  not ready; nothing was changed")
	}
	return nil
}

// keeperPaths are the program and the file of a keeper's command.
func keeperPaths(argv []string) (program, file string) {
	file = keeper.DefaultFile
	for i, word := range argv {
		if word == "keeper" && i > 0 {
			program = argv[i-1]
		}
		if word == "--conf" && i+1 < len(argv) {
			file = argv[i+1]
		}
	}
	return program, file
}

// installed says what of root's part a host lacks, step by step.
func (f *fleet) installed(ctx context.Context, h config.Host, g *config.Group) (todo []string, err error) {
	program, file := keeperPaths(g.Handover.Keeper)
	beside := f.conf.SSH.AgentBinary
	if beside == "" {
		beside = agentBeside()
	}
	b, err := os.ReadFile(beside)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	said, err := f.look(ctx, h.Name, "/usr/bin/sha256sum", program)
	if err != nil {
		return nil, err
	}
	switch have, _, _ := strings.Cut(said.Stdout, " "); {
	case said.Status != 0:
		todo = append(todo, fmt.Sprintf("install -o root -g root -m 0755 scap-agent %s   (it is not there)", program))
	case have != hex.EncodeToString(sum[:]):
		todo = append(todo, fmt.Sprintf("install -o root -g root -m 0755 scap-agent %s   (another version is there)", program))
	}
	want, err := keeperFile(f.conf, g)
	if err != nil {
		return nil, err
	}
	if said, err = f.look(ctx, h.Name, "/bin/cat", file); err != nil {
		return nil, err
	}
	if said.Status != 0 || said.Stdout != want {
		todo = append(todo, fmt.Sprintf("write %s, owned by root, mode 0644: what `scap config keeper %s` prints", file, h.Group))
	}
	if len(g.Handover.Keeper) > 2 && filepath.Base(g.Handover.Keeper[0]) == "sudo" {
		argv := append(slices.Clone(g.Handover.Keeper[:2]), append([]string{"-l"}, g.Handover.Keeper[2:]...)...)
		if said, err = f.look(ctx, h.Name, argv...); err != nil {
			return nil, err
		}
		if said.Status != 0 {
			todo = append(todo, "install the lines of `scap config sudoers` as /etc/sudoers.d/scap, mode 0440")
		}
	}
	if !keeperConfig(f.conf, g).Systemd {
		return todo, nil
	}
	units, err := f.units(ctx, h, g)
	return append(todo, units...), err
}

// asRoot is the keeper's command as root types it.
func asRoot(g *config.Group) string {
	program, file := keeperPaths(g.Handover.Keeper)
	if file == keeper.DefaultFile {
		return program + " keeper"
	}
	return program + " keeper --conf " + file
}

// units says what is to be done for the units of the keeper's watch and of the masters.
func (f *fleet) units(ctx context.Context, h config.Host, g *config.Group) (todo []string, err error) {
	for _, look := range [][2]string{
		{"cat", fmt.Sprintf("install the units that `%s units` prints, as it says there", asRoot(g))},
		{"is-active", "systemctl enable --now scap-keeper.service   (the keeper's watch does not run)"},
	} {
		argv := []string{"/usr/bin/systemctl", look[0], "scap-keeper.service"}
		if look[0] == "cat" {
			argv = append(argv, "scap-fpm@.service")
		}
		said, err := f.look(ctx, h.Name, argv...)
		if err != nil {
			return nil, err
		}
		if said.Status != 0 {
			todo = append(todo, look[1])
		}
	}
	return todo, nil
}

// look runs a command on a host that changes nothing. One that is not there ends with status 127, as env says it.
func (f *fleet) look(ctx context.Context, host string, argv ...string) (agent.Done, error) {
	var d agent.Done
	if err := f.hosts[host].Ask(ctx, "command", agent.Command{Argv: append([]string{"/usr/bin/env"}, argv...)}, &d); err != nil {
		return d, fmt.Errorf("%s: %s: %w", host, argv[0], err)
	}
	return d, nil
}
