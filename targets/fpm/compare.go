package fpm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"scap/targets/fpm/proc"
)

// compare holds a new master's effective settings against those of the one that serves. php-fpm starts with a php.ini that
// it cannot read to its end, and without an extension that it cannot load, and says so to nobody: users would be the first
// to know. One that serves and does not answer is no measure, and must not stand in the way of its own replacement.
func (r *Runtime) compare(ctx context.Context, serves Instance, next facts) error {
	var old facts
	err := proc.Poll(ctx, r.conf.Limits.Prove.or(defaultProve), func() (err error) {
		old, err = r.ask(ctx, serves, question{scripts: true})
		return err
	})
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	if wrong := differences(old, next); len(wrong) > 0 {
		return fmt.Errorf("php-fpm %s would run with other settings than now: %s. Is php.ini (%s) broken? What is meant to change is taken in with the host out of the pool: scap fpm adopt",
			serves.Name, strings.Join(wrong[:min(len(wrong), 5)], "; "), next.INI)
	}
	return nil
}

// differences names what two masters do not share of what decides how code runs.
func differences(old, next facts) (wrong []string) {
	for _, name := range old.Extensions {
		if !slices.Contains(next.Extensions, name) {
			wrong = append(wrong, "extension "+name+" is not loaded")
		}
	}
	for _, name := range next.Extensions {
		if !slices.Contains(old.Extensions, name) {
			wrong = append(wrong, "extension "+name+" is loaded, which is not now")
		}
	}
	for _, name := range strings.Split(settings+","+moreSettings, ",") {
		was, had := old.Settings[name]
		is, has := next.Settings[name]
		if was != is || had != has {
			wrong = append(wrong, fmt.Sprintf("%s is %q, now %q", name, is, was))
		}
	}
	if old.INI != next.INI {
		wrong = append(wrong, fmt.Sprintf("it has read %q, now %q", next.INI, old.INI))
	}
	return wrong
}
