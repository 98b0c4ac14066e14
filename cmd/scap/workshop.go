package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"scap/cmd/internal/config"
	"scap/sync/change"
	"scap/sync/change/gerrit"
	"scap/sync/change/git"
	"scap/sync/change/pin"
	"scap/sync/change/staging"
	"scap/sync/store"
)

// workshop is where changes come from and trees are made: the review system, the mirrors of its repositories, what pins
// their heads and what composes a release of them.
type workshop struct {
	gerrit  *gerrit.Client
	mirrors *git.Mirrors
	pinner  *pin.Pinner
	stager  *staging.Stager
}

// fetchLimit is how long one repository may take to be fetched. The first fetch of a big one takes minutes.
const fetchLimit = 30 * time.Minute

// openWorkshop opens what conf names. With a scratch directory nothing outside it is written.
func openWorkshop(conf *config.Config, st *store.Store, scratch string) (*workshop, error) {
	g, s := conf.Gerrit, conf.Staging
	w := &workshop{}
	var err error
	if w.gerrit, err = openGerrit(g, g.Timeout); err != nil {
		return nil, usage(err)
	}
	dir := stagingDir(conf)
	o := git.Options{Dir: filepath.Join(dir, "mirrors"), URL: g.GitURL, CAFile: g.CAFile, Timeout: fetchLimit, Scratch: scratch}
	if g.Netrc == "" || sameHost(g.URL, g.GitURL) { // what a netrc says of one host is not for another
		o.User, o.Password = w.gerrit.Credentials()
	}
	w.mirrors, err = git.Open(o)
	if err != nil {
		return nil, usage(err)
	}
	prefix, _, _ := strings.Cut(s.Core.Path, "{version}")
	w.pinner = pin.New(pin.Options{
		Mirrors: w.mirrors, Config: change.Repo(s.Config), Wikiversions: s.Wikiversions, VersionPrefix: prefix,
		Core: pin.Core{Project: s.Core.Project, Branch: s.Core.Branch, Path: s.Core.Path},
	})
	steps := make([]staging.Step, len(s.Steps))
	for i, x := range s.Steps {
		steps[i] = staging.Step{
			Name: x.Name, Command: x.Command, PerVersion: x.PerVersion, Inputs: x.Inputs, Outputs: x.Outputs, After: x.After, Timeout: x.Timeout,
		}
	}
	w.stager, err = staging.New(staging.Options{
		Store: st, Mirrors: w.mirrors, Dir: dir, Patches: s.Patches, Private: s.Private, Wikiversions: s.Wikiversions, VersionPrefix: prefix,
		Steps: steps, Lint: levels[s.Lint], Registration: levels[s.Registration], PHP: s.PHP, Excludes: conf.Deploy.Excludes,
	})
	if err != nil {
		return nil, usage(err)
	}
	return w, nil
}

// openGerrit opens the review system for questions that take at most limit.
func openGerrit(g *config.Gerrit, limit time.Duration) (*gerrit.Client, error) {
	return gerrit.Open(gerrit.Options{
		URL: g.URL, CredentialsFile: g.CredentialsFile, Netrc: g.Netrc, CAFile: g.CAFile, Timeout: limit, Label: g.Label,
	})
}

// sameHost reports whether two URLs are of one host.
func sameHost(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && strings.EqualFold(x.Hostname(), y.Hostname())
}

// stagingDir is where the deploy host keeps mirrors and records.
func stagingDir(conf *config.Config) string { return filepath.Join(conf.Deploy.DeployDir, "staging") }

var levels = map[string]staging.Level{config.Block: staging.Block, config.Warn: staging.Warn, config.Off: staging.Off}

// isTest says of a phase that a backport is looked at there before it is merged.
func isTest(ph config.Phase) bool { return ph.Test }

// lastTest is the name of the last phase of that kind; "" when there is none.
func lastTest(conf *config.Config) (name string) {
	for _, ph := range conf.Phases {
		if isTest(ph) && len(ph.Hosts) > 0 {
			name = ph.Name
		}
	}
	return name
}

// noStaging is for a verb that works on git repositories where none are configured.
func noStaging(conf *config.Config) error {
	return usage(fmt.Errorf("%s has no section staging: it says of which repositories the tree is made", conf.File))
}
