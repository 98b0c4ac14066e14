package gerrit

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"scap/sync/change"
)

// What follows are the entities of Gerrit's REST API reference, with the fields that are read of them.

type changeInfo struct {
	Project   string                  `json:"project"`
	Branch    string                  `json:"branch"`
	Topic     string                  `json:"topic"`
	ChangeID  string                  `json:"change_id"`
	Subject   string                  `json:"subject"`
	Status    string                  `json:"status"`
	Updated   string                  `json:"updated"`
	Mergeable *bool                   `json:"mergeable"` // often left out
	Number    int                     `json:"_number"`
	Owner     accountInfo             `json:"owner"`
	Labels    map[string]labelInfo    `json:"labels"`
	WIP       bool                    `json:"work_in_progress"`
	Private   bool                    `json:"is_private"`
	RevertOf  int                     `json:"revert_of"`
	Current   string                  `json:"current_revision"`
	Revisions map[string]revisionInfo `json:"revisions"`
	Messages  []messageInfo           `json:"messages"` // of /detail
	More      bool                    `json:"_more_changes"`
}

type accountInfo struct {
	ID       int    `json:"_account_id"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Username string `json:"username"`
}

type labelInfo struct {
	All []approvalInfo `json:"all"`
}

type approvalInfo struct {
	accountInfo
	Value int    `json:"value"`
	Date  string `json:"date"`
}

type messageInfo struct {
	Author  accountInfo `json:"author"`
	Message string      `json:"message"`
}

type revisionInfo struct {
	Number int                 `json:"_number"`
	Ref    string              `json:"ref"`
	Commit *commitInfo         `json:"commit"`
	Files  map[string]fileInfo `json:"files"`
}

type commitInfo struct {
	Commit  string `json:"commit"`
	Message string `json:"message"`
	Parents []struct {
		Commit string `json:"commit"`
	} `json:"parents"`
}

type fileInfo struct {
	Status   string `json:"status"`
	Binary   bool   `json:"binary"`
	Old      string `json:"old_path"`
	Inserted int    `json:"lines_inserted"`
	Deleted  int    `json:"lines_deleted"`
}

// short is how an account is named in a vote.
func (a accountInfo) short() string {
	return cmp.Or(a.Username, a.Name, a.Email, strconv.Itoa(a.ID))
}

// long is how an account is named as an owner.
func (a accountInfo) long() string {
	if a.Name != "" && a.Email != "" {
		return a.Name + " <" + a.Email + ">"
	}
	return cmp.Or(a.Name, a.Email, a.Username, strconv.Itoa(a.ID))
}

var (
	changeIDForm = regexp.MustCompile(`^I[0-9a-f]{40}$`)
	anyIDForm    = regexp.MustCompile(`^I[0-9a-f]{8}[!-~]{0,200}$`) // what Gerrit lets pass
	commitForm   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// change makes a Change of what Gerrit says of one, or says what is wrong with it.
func (c *Client) change(i *changeInfo) (change.Change, error) {
	x, err := i.head()
	if err != nil {
		return change.Change{}, fmt.Errorf("what %s says of change %d cannot be: %w", c.url, i.Number, err)
	}
	if err := i.revision(&x); err != nil {
		return change.Change{}, fmt.Errorf("what %s says of change %d cannot be: %w", c.url, i.Number, err)
	}
	x.URL = c.url + "/c/" + (&url.URL{Path: x.Project}).EscapedPath() + "/+/" + strconv.Itoa(x.Number)
	return x, nil
}

// head reads what a change is without its patch sets.
func (i *changeInfo) head() (change.Change, error) {
	x := change.Change{
		Number: i.Number, ID: i.ChangeID, Project: i.Project, Branch: strings.TrimPrefix(i.Branch, "refs/heads/"), Subject: i.Subject,
		Topic: i.Topic, Owner: i.Owner.long(), Status: change.Status(i.Status), WIP: i.WIP, Private: i.Private, RevertOf: i.RevertOf,
	}
	switch {
	case x.Number <= 0:
		return x, errors.New("it has no number")
	case !anyIDForm.MatchString(x.ID):
		return x, fmt.Errorf("its Change-Id is %q", clip(x.ID, 60))
	case !named(x.Project) || !named(x.Branch):
		return x, fmt.Errorf("it is in project %q, branch %q", clip(x.Project, 100), clip(x.Branch, 100))
	case x.Status != change.New && x.Status != change.Merged && x.Status != change.Abandoned:
		return x, fmt.Errorf("its status is %q", clip(i.Status, 60))
	case x.RevertOf < 0:
		return x, fmt.Errorf("it reverts change %d", x.RevertOf)
	}
	if i.Mergeable != nil {
		x.Mergeable = tri(*i.Mergeable)
	}
	var err error
	if x.Updated, err = moment(i.Updated); err != nil {
		return x, err
	}
	for label, l := range i.Labels {
		for _, a := range l.All {
			if a.Value == 0 {
				continue // somebody who may vote, and has not
			}
			at := time.Time{}
			if a.Date != "" {
				if at, err = moment(a.Date); err != nil {
					return x, err
				}
			}
			x.Votes = append(x.Votes, change.Vote{Label: label, Value: a.Value, By: a.short(), At: at})
		}
	}
	slices.SortFunc(x.Votes, func(a, b change.Vote) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), a.At.Compare(b.At), cmp.Compare(a.By, b.By), cmp.Compare(a.Value, b.Value))
	})
	return x, nil
}

// revision reads the current patch set.
func (i *changeInfo) revision(x *change.Change) error {
	r, ok := i.Revisions[i.Current]
	switch {
	case !commitForm.MatchString(i.Current) || !ok:
		return fmt.Errorf("it has no current patch set (%q)", clip(i.Current, 60))
	case r.Number <= 0 || r.Ref != ref(x.Number, r.Number):
		return fmt.Errorf("patch set %d is at %q", r.Number, clip(r.Ref, 100))
	case r.Commit == nil || r.Commit.Message == "":
		return errors.New("the patch set's commit is not told")
	case r.Files == nil:
		return errors.New("the patch set's files are not told")
	}
	x.Revision, x.PatchSet, x.Ref, x.Message = i.Current, r.Number, r.Ref, r.Commit.Message
	var err error
	if x.Parents, err = r.Commit.parents(); err != nil {
		return err
	}
	x.Files, err = files(r.Files)
	return err
}

func (i *commitInfo) parents() ([]string, error) {
	var list []string
	for _, p := range i.Parents {
		if !commitForm.MatchString(p.Commit) {
			return nil, fmt.Errorf("it stands on %q", clip(p.Commit, 60))
		}
		list = append(list, p.Commit)
	}
	return list, nil
}

// files lists what a patch set touches. Gerrit's own entries, such as /COMMIT_MSG, are no files.
func files(m map[string]fileInfo) ([]change.File, error) {
	list := make([]change.File, 0, len(m))
	for path, f := range m {
		if path == "/COMMIT_MSG" || path == "/MERGE_LIST" || path == "/PATCHSET_LEVEL" {
			continue
		}
		x := change.File{Path: path, Old: f.Old, Inserted: f.Inserted, Deleted: f.Deleted, Binary: f.Binary}
		switch {
		case path == "" || f.Inserted < 0 || f.Deleted < 0:
			return nil, fmt.Errorf("of its file %q %d lines came and %d went", clip(path, 100), f.Inserted, f.Deleted)
		case len(f.Status) == 1 && f.Status[0] >= 'A' && f.Status[0] <= 'Z':
			if f.Status != "M" {
				x.Status = f.Status[0]
			}
		case f.Status != "":
			return nil, fmt.Errorf("its file %q is %q", clip(path, 100), clip(f.Status, 20))
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b change.File) int { return cmp.Compare(a.Path, b.Path) })
	return list, nil
}

// moment reads Gerrit's form of a time, which is UTC.
func moment(text string) (time.Time, error) {
	t, err := time.Parse("2006-01-02 15:04:05.999999999", text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time", clip(text, 60))
	}
	return t, nil
}

// ref is where a patch set is fetched from.
func ref(number, patchSet int) string {
	return fmt.Sprintf("refs/changes/%02d/%d/%d", number%100, number, patchSet)
}

func tri(yes bool) change.Tri {
	if yes {
		return change.Yes
	}
	return change.No
}

// named says whether a project or a branch can be called this.
func named(name string) bool {
	return name != "" && len(name) <= 1000 && !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}
