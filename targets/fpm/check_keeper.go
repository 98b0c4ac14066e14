package fpm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"scap/targets/fpm/keeper"
	"scap/targets/fpm/proc"
)

// checkKeeper finds where root's configuration and this one disagree, and what of the keeper's would make a handover fail. It
// returns who serves, whether the host is adopted, and whether a release is tried on it. A host that is not adopted, or that
// cannot hand over now, is no mistake: it is drained, and State says why.
func (r *Runtime) checkKeeper(ctx context.Context) (serving []Instance, adopted, trial bool, err error) {
	if err := checkCommand(ctx, r.conf.Keeper.Command); err != nil {
		return r.conf.Instances, false, false, fmt.Errorf("the keeper: %w", err)
	}
	g := r.stand(ctx)
	wrong := []error{g.broken, r.checkKeeperFile()}
	if !g.adopted {
		return r.conf.Instances, false, false, errors.Join(wrong...)
	}
	if g.broken != nil {
		return nil, true, false, errors.Join(wrong...)
	}
	for n, i := range r.conf.Instances {
		p := g.roster.pools[n]
		if i.Trial != "" && p.Trial != i.Trial {
			wrong = append(wrong, fmt.Errorf("the keeper's pool %s has %q for trials, not %s", i.Name, p.Trial, i.Trial))
		}
		if p.Problem != "" {
			wrong = append(wrong, fmt.Errorf("the keeper's pool %s: %s", i.Name, p.Problem))
		}
	}
	serving, _ = r.published(g.roster)
	return serving, true, len(r.tried(g.roster)) > 0, errors.Join(wrong...)
}

// checkKeeperFile reads the keeper's own configuration where this user may: a store or a served path of another name would be
// found only when a master is started.
func (r *Runtime) checkKeeperFile() error {
	path := keeper.DefaultFile
	for n, arg := range r.conf.Keeper.Command {
		if arg == "--conf" && n+1 < len(r.conf.Keeper.Command) {
			path = r.conf.Keeper.Command[n+1]
		}
	}
	b, err := proc.ReadSome(path, maxRegister)
	if err != nil {
		return nil //nolint:nilerr // root does not let us: what runs is asked all the same
	}
	var c keeper.Config
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var wrong []error
	if root := filepath.Dir(r.conf.Releases); c.Root != root {
		wrong = append(wrong, fmt.Errorf("%s: root is %q, here %q", path, c.Root, root))
	}
	if c.Served != r.conf.Served {
		wrong = append(wrong, fmt.Errorf("%s: served is %q, here %q", path, c.Served, r.conf.Served))
	}
	for _, i := range r.conf.Instances {
		for _, p := range c.Pools {
			if p.Name == i.Name && (p.ConfigFile != i.ConfigFile || p.Binary != i.Binary || i.INI != "" && p.INI != i.INI) {
				wrong = append(wrong, fmt.Errorf("%s: pool %s runs %s with %s (php.ini %q), here %s with %s (%q)",
					path, p.Name, p.Binary, p.ConfigFile, p.INI, i.Binary, i.ConfigFile, i.INI))
			}
		}
	}
	return errors.Join(wrong...)
}
