package gerrit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"scap/sync/change"
)

const (
	batch   = 40   // numbers or Change-Ids in one query: the line of a request stays under 4 KB, and its terms under Gerrit's limit
	page    = 100  // changes in one answer, when it is not known how many there are
	maxList = 2000 // changes that one query may find
)

// wanted asks for the fields that a Change is made of and that Gerrit tells on request only.
const wanted = "&o=CURRENT_REVISION&o=CURRENT_COMMIT&o=CURRENT_FILES&o=DETAILED_LABELS&o=DETAILED_ACCOUNTS"

// Changes returns the changes with these numbers, in that order. An error that is change.ErrNotFound names all that are
// not there or that we may not see.
func (c *Client) Changes(ctx context.Context, numbers []int) ([]change.Change, error) {
	asked := slices.Compact(slices.Sorted(slices.Values(numbers)))
	if len(asked) > 0 && asked[0] <= 0 {
		return nil, fmt.Errorf("%d is no number of a change", asked[0])
	}
	terms := make([]string, len(asked))
	for i, n := range asked {
		terms[i] = fmt.Sprintf("change:%d", n)
	}
	found, err := c.each(ctx, terms, func(i *changeInfo) bool {
		_, ok := slices.BinarySearch(asked, i.Number)
		return ok
	})
	if err != nil {
		return nil, err
	}
	list := make([]change.Change, 0, len(numbers))
	for _, n := range numbers {
		if x, ok := found[n]; ok {
			list = append(list, x)
		}
	}
	if len(list) == len(numbers) {
		return list, nil
	}
	var gone []string
	for _, n := range asked {
		if _, ok := found[n]; !ok {
			gone = append(gone, strconv.Itoa(n))
		}
	}
	return nil, fmt.Errorf("change %s at %s: %w", strings.Join(gone, ", "), c.url, change.ErrNotFound)
}

// WithIDs returns all changes that carry one of these Change-Ids, by number. What is no Change-Id, nobody has.
func (c *Client) WithIDs(ctx context.Context, ids []string) (map[string][]change.Change, error) {
	asked := slices.Compact(slices.Sorted(slices.Values(ids)))
	var terms []string
	for _, id := range asked {
		if changeIDForm.MatchString(id) {
			terms = append(terms, "change:"+id)
		}
	}
	found, err := c.each(ctx, terms, func(i *changeInfo) bool { // a term also finds what only begins with it
		_, ok := slices.BinarySearch(asked, i.ChangeID)
		return ok
	})
	if err != nil {
		return nil, err
	}
	by := map[string][]change.Change{}
	for _, n := range slices.Sorted(maps.Keys(found)) {
		by[found[n].ID] = append(by[found[n].ID], found[n])
	}
	return by, nil
}

// Where is some projects' branches. A * at the end of either stands for any rest.
type Where struct{ Project, Branch string }

// ListOptions say what to list.
type ListOptions struct {
	Merged bool // those merged last, instead of those that are open and not work in progress
	Most   int  // default 100
}

// List returns the changes of some repositories, those updated last first.
func (c *Client) List(ctx context.Context, where []Where, o ListOptions) ([]change.Change, error) {
	if o.Most <= 0 {
		o.Most = page
	}
	var terms []string
	for _, w := range where {
		term, err := w.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
	}
	kind := "status:open -is:wip"
	if o.Merged {
		kind = "status:merged"
	}
	found, err := c.batches(ctx, terms, func(some []string) question {
		return question{text: kind + " (" + strings.Join(some, " OR ") + ")", n: min(o.Most, page), most: o.Most}
	}, func(*changeInfo) bool { return true })
	if err != nil {
		return nil, err
	}
	list := slices.SortedFunc(maps.Values(found), func(a, b change.Change) int {
		return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(b.Number, a.Number))
	})
	return list[:min(len(list), o.Most)], nil
}

// term is a Where in Gerrit's language of queries.
func (w Where) term() (string, error) {
	for _, name := range []string{w.Project, w.Branch} {
		if !named(name) || strings.ContainsAny(name, "\"\\{}") {
			return "", fmt.Errorf("%q is no name that Gerrit can be asked about", clip(name, 100))
		}
	}
	project, branch := "project:"+quote(w.Project), "branch:"+quote(w.Branch)
	if prefix, some := strings.CutSuffix(w.Project, "*"); some {
		project = "projects:" + quote(prefix)
	}
	if prefix, some := strings.CutSuffix(w.Branch, "*"); some {
		branch = "branch:" + quote("^"+literal(prefix)+".*")
	}
	return "(" + project + " " + branch + ")", nil
}

// literal makes a name mean itself in Gerrit's regular expressions, in which a backslash would have to survive a query's quotes.
func literal(name string) string {
	return strings.NewReplacer(".", "[.]", "+", "[+]", "*", "[*]", "?", "[?]", "(", "[(]", ")", "[)]", "[", "[[]", "|", "[|]", "~", "[~]",
		"&", "[&]", "#", "[#]", "@", "[@]", "<", "[<]", ">", "[>]").Replace(name)
}

// quote puts a value in quotes if it has more than letters in it that a query leaves alone.
func quote(value string) string {
	for _, r := range value {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-", r) {
			return `"` + value + `"`
		}
	}
	return value
}

// each asks for all that one of the terms finds and keep agrees with, by number.
func (c *Client) each(ctx context.Context, terms []string, keep func(*changeInfo) bool) (map[int]change.Change, error) {
	return c.batches(ctx, terms, func(some []string) question {
		return question{text: strings.Join(some, " OR "), n: page, most: maxList, whole: true}
	}, keep)
}

// batches puts the queries for all terms at once, as far as parallel allows, then asks whether what is open can be merged.
func (c *Client) batches(ctx context.Context, terms []string, q func([]string) question, keep func(*changeInfo) bool) (map[int]change.Change, error) {
	parts := slices.Collect(slices.Chunk(terms, batch))
	answers := make([][]*changeInfo, len(parts))
	group, inner := errgroup.WithContext(ctx)
	for i, some := range parts {
		group.Go(func() (err error) {
			answers[i], err = c.query(inner, q(some))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := map[int]change.Change{}
	for _, infos := range answers {
		for _, i := range infos {
			if _, twice := all[i.Number]; twice || !keep(i) {
				continue
			}
			x, err := c.change(i)
			if err != nil {
				return nil, err
			}
			all[i.Number] = x
		}
	}
	return all, c.complete(ctx, all)
}

// question is one query, page by page.
type question struct {
	text  string
	n     int  // changes on a page
	most  int  // changes to read
	whole bool // more than most is an error
}

// query reads what a query finds, once each. When that takes several pages, changes may move between them while they are
// read; then it reads until nothing new is found.
func (c *Client) query(ctx context.Context, q question) ([]*changeInfo, error) {
	var all []*changeInfo
	seen := map[int]bool{}
	for {
		some, pages, err := c.pages(ctx, &q)
		if err != nil {
			return nil, fmt.Errorf("ask %s for changes: %w", c.url, err)
		}
		before := len(all)
		for _, i := range some {
			if !seen[i.Number] {
				seen[i.Number] = true
				all = append(all, i)
			}
		}
		if pages == 1 || !q.whole || len(all) == before {
			return all, nil
		}
	}
}

// pages reads what a query finds, in as many pages as it takes. Pages that are too large are asked for with less on them.
func (c *Client) pages(ctx context.Context, q *question) (all []*changeInfo, pages int, err error) {
	for {
		path := fmt.Sprintf("/changes/?q=%s&n=%d", url.QueryEscape(q.text), q.n)
		if len(all) > 0 {
			path += fmt.Sprintf("&S=%d", len(all))
		}
		var some []*changeInfo
		if err := c.get(ctx, path+wanted, &some); errors.Is(err, errTooBig) && q.n > 1 {
			q.n = (q.n + 7) / 8
			continue
		} else if err != nil {
			return nil, 0, err
		}
		if some == nil || slices.Contains(some, nil) {
			return nil, 0, errors.New("the answer is no list of changes, or has an empty place")
		}
		all = append(all, some...)
		pages++
		switch {
		case len(some) == 0 || !some[len(some)-1].More:
			return all, pages, nil
		case len(all) >= q.most && q.whole:
			return nil, 0, fmt.Errorf("there are more than %d for %q", q.most, clip(q.text, 100))
		case len(all) >= q.most:
			return all, pages, nil
		}
	}
}
