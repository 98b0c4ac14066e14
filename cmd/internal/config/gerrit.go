package config

import (
	"time"
)

// Who merges a change that was approved.
const (
	SubmitByCI   = "ci"   // what listens for approvals, such as Zuul
	SubmitByScap = "scap" // scap itself, as soon as Gerrit says that it may
)

// Gerrit is the review system that changes come from.
type Gerrit struct {
	URL             string        `yaml:"url"`                        // http(s)://host[:port][/path], without a / at its end
	GitURL          string        `yaml:"git_url"`                    // below which repositories are fetched from
	CredentialsFile string        `yaml:"credentials_file,omitempty"` // one line user:password, on the deploy host, readable by its user alone; empty: none
	Netrc           string        `yaml:"netrc,omitempty"`            // the same in a netrc; empty: none
	CAFile          string        `yaml:"ca_file,omitempty"`          // PEM; empty: the system's
	Timeout         time.Duration `yaml:"timeout"`                    // for one question with its retries
	Label           string        `yaml:"label"`                      // by which changes are approved
	Approve         int           `yaml:"approve"`                    // the vote that approves
	Submit          string        `yaml:"submit"`                     // SubmitByCI or SubmitByScap
	// CIUsers are whose negative Verified ends the wait for a merge. Empty: anybody's.
	CIUsers      []string      `yaml:"ci_users"`
	MergeTimeout time.Duration `yaml:"merge_timeout"` // from the approval until the change is merged
	Poll         time.Duration `yaml:"poll"`          // between looks at a change meanwhile
}

// gerrit reads the section; nil when there is none.
func (s *section) gerrit() *Gerrit {
	if s.get("gerrit") == nil {
		return nil
	}
	sub := s.sub("gerrit")
	sub.missing("url", "where it answers, such as https://gerrit.wikimedia.org/r")
	g := &Gerrit{
		URL:             sub.text("url", "", isURL),
		CredentialsFile: sub.text("credentials_file", "", isPath),
		Netrc:           sub.text("netrc", "", isPath),
		CAFile:          sub.text("ca_file", "", isPath),
		Timeout:         sub.duration("timeout", 30*time.Second, time.Second, 5*time.Minute),
		Label:           sub.text("label", "Code-Review", isHeader),
		Approve:         sub.integer("approve", 2, 1, 10),
		Submit:          sub.one("submit", SubmitByCI, SubmitByCI, SubmitByScap),
		CIUsers:         sub.texts("ci_users", []string{"jenkins-bot", "PipelineBot"}, notEmpty, isShort),
		MergeTimeout:    sub.duration("merge_timeout", 30*time.Minute, time.Second, 24*time.Hour),
		Poll:            sub.duration("poll", 5*time.Second, 100*time.Millisecond, 10*time.Minute),
	}
	g.GitURL = sub.text("git_url", g.URL, isURL)
	if g.CredentialsFile != "" && g.Netrc != "" {
		sub.r.wrong(sub.keyNode("netrc"), "%s has both credentials_file and netrc: want one of them", sub.name)
	}
	if g.CredentialsFile != "" || g.Netrc != "" {
		sub.encrypted("url", g.URL)
		sub.encrypted("git_url", g.GitURL)
	}
	if g.Poll > g.MergeTimeout {
		sub.r.wrong(sub.keyNode("poll"), "%s: poll %s is longer than merge_timeout %s: no merge would be seen", sub.name, FormatDuration(g.Poll), FormatDuration(g.MergeTimeout))
	}
	sub.close()
	return g
}

// encrypted demands of the URL under key, to which a secret goes, that nobody can read it on the way.
func (s *section) encrypted(key, text string) {
	if len(text) > 5 && text[:5] == "http:" && s.has(key) && !ownURL(text) {
		s.r.wrong(s.keyNode(key), "%s: credentials would go to %s unencrypted: use https", s.path(key), clip(text))
	}
}

// isShort is for names and words of other systems, whose rules are their own.
func isShort(text string) string {
	if len(text) > 200 {
		return "is longer than 200 bytes"
	}
	return noControl(text)
}
