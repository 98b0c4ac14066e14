package config

import (
	"strings"
	"time"
)

// Deploy is what belongs to the deploy host.
type Deploy struct {
	StageDir     string        `yaml:"stage_dir,omitempty"` // the staged tree; empty: Staging makes it
	DeployDir    string        `yaml:"deploy_dir"`          // the deploy host's store, journal and lock
	Excludes     []string      `yaml:"excludes"`            // what of the staged tree is never deployed
	KeepReleases int           `yaml:"keep_releases"`       // good releases kept on every host
	KeepFor      time.Duration `yaml:"keep_for"`            // and all good ones younger than this
	StageTimeout time.Duration `yaml:"stage_timeout"`       // for staging on one host
	// Watch is how long after the end of a deploy its gates go on looking; 0: not at all.
	Watch time.Duration `yaml:"watch"`
	// HoldLimit is how long a deploy with nobody at the terminal holds because everything fails, also what runs the old
	// release; then the fleet goes back to one release.
	HoldLimit time.Duration `yaml:"hold_limit"`
	// Wait is how long to wait in the queue for the lock; 0: not at all.
	Wait time.Duration `yaml:"wait"`
	// Finish is done once a deploy has ended well, one after another.
	Finish []Finish `yaml:"finish"`
}

// deploy reads the section. With staging the tree comes from there and nowhere else.
func (s *section) deploy(staging bool) Deploy {
	d := Deploy{
		DeployDir:    s.text("deploy_dir", "/srv/deployment/scap", isTree),
		Excludes:     s.texts("excludes", []string{".git", ".svn", "*.swp", "*~"}, isPattern),
		KeepReleases: s.integer("keep_releases", 5, 2, 1000),
		KeepFor:      s.duration("keep_for", 24*time.Hour, 0, 365*24*time.Hour),
		StageTimeout: s.duration("stage_timeout", 15*time.Minute, time.Second, 24*time.Hour),
		Watch:        s.duration("watch", 15*time.Minute, 0, 24*time.Hour),
		HoldLimit:    s.duration("hold_limit", 30*time.Minute, time.Second, 24*time.Hour),
		Wait:         s.duration("wait", 10*time.Minute, 0, 24*time.Hour),
		Finish:       s.finishes("finish", staging),
	}
	if !staging {
		d.StageDir = s.text("stage_dir", "/srv/mediawiki-staging", isTree)
	} else if s.get("stage_dir") != nil {
		s.r.wrong(s.keyNode("stage_dir"), "deploy.stage_dir and staging: a tree comes from one place; remove one of them")
	}
	if s.has("announce") {
		s.get("announce")
		s.r.wrong(s.keyNode("announce"), "deploy.announce: say it as one of announcers now, {kind: command, command: […]}: that is told all that happens")
	}
	if d.StageDir != "" && (within(d.DeployDir, d.StageDir) || within(d.StageDir, d.DeployDir)) {
		s.r.wrong(s.keyNode("deploy_dir"), "deploy.deploy_dir %s and deploy.stage_dir %s lie in each other: a release would hold the store", d.DeployDir, d.StageDir)
	}
	s.close()
	return d
}

// within reports whether path is dir or lies below it. Both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
