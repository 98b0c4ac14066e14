package opensearch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"scap/canary"
)

// maxPrints is how many kinds of failure of one host are kept.
const maxPrints = 200

// prints names the most frequent failures of each host.
func (b *batch) prints(ctx context.Context, g *errgroup.Group) {
	f := b.c.Fields
	if f.Class == "" && f.File == "" && f.Message == "" || !b.from.Before(b.to) {
		return
	}
	b.chunks(widths[0]*widths[1]*widths[2], func(lo, hi int) {
		g.Go(func() error {
			a, err := b.ask(ctx, b.kinds(b.q.Hosts[lo:hi], b.from, b.to))
			if err != nil {
				return err
			}
			hosts, err := a.hosts(hi - lo)
			if err != nil {
				return fmt.Errorf("search %s: %w", b.place(), err)
			}
			for i, h := range hosts {
				ps, err := b.kindsOf(h)
				if err != nil {
					b.wrong(lo+i, canary.Contradict, "%v", err)
					continue
				}
				b.mu.Lock()
				b.hosts[lo+i].Prints = ps
				b.mu.Unlock()
			}
			return nil
		})
	})
}

// kindsOf are the failures of one host's bucket, the most frequent first.
func (s *Source) kindsOf(h bucket) ([]canary.Print, error) {
	var fields []string
	for _, f := range []string{s.c.Fields.Class, s.c.Fields.File, s.c.Fields.Message} {
		if f != "" {
			fields = append(fields, f)
		}
	}
	found := map[string]*canary.Print{}
	if err := s.leaves(h, fields, nil, found); err != nil {
		return nil, err
	}
	list := make([]canary.Print, 0, len(found))
	for _, p := range found {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(x, y canary.Print) int { return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Text, y.Text)) })
	return list[:min(len(list), maxPrints)], nil
}

// leaves walks down the levels of terms. Kinds whose names differ only by numbers are one.
func (s *Source) leaves(b bucket, fields []string, keys []string, found map[string]*canary.Print) error {
	if len(keys) == len(fields) {
		n, err := b.requests(question{byID: s.c.Fields.Request != "", exact: int64(s.c.Precision)})
		if err != nil || n == 0 {
			return err
		}
		p := s.print(fields, keys)
		p.Count, p.ID = n, s.sample(b)
		if q := found[p.Text]; q != nil {
			q.Count += n
		} else {
			found[p.Text] = &p
		}
		return nil
	}
	if b.Kinds == nil {
		return contradicts("the kinds of failure are missing")
	}
	if b.Kinds.Error != 0 {
		// A kind that one shard did not send may be new, or counted too low.
		return contradicts("the kinds of failure are counted to within %d records only", b.Kinds.Error)
	}
	if len(b.Kinds.Buckets) > widths[0] {
		return contradicts("%d kinds of failure, at most %d were asked for", len(b.Kinds.Buckets), widths[0])
	}
	for _, k := range b.Kinds.Buckets {
		var key string
		if json.Unmarshal(k.Key, &key) != nil {
			key = string(k.Key) // a field that is a number
		}
		if err := s.leaves(k, fields, append(slices.Clone(keys), key), found); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) print(fields, keys []string) canary.Print {
	var class, file, message string
	for i, f := range fields {
		switch f {
		case s.c.Fields.Class:
			class = keys[i]
		case s.c.Fields.File:
			file = relative(keys[i], s.c.Roots)
		case s.c.Fields.Message:
			message = keys[i]
		}
	}
	text, bare := fingerprint(class, file, message)
	return canary.Print{Text: text, File: bare}
}

// sample is the id of one request that failed so; "" when there is none to be seen.
func (s *Source) sample(b bucket) string {
	if b.Sample == nil || len(b.Sample.Hits.Hits) == 0 {
		return ""
	}
	raw := b.Sample.Hits.Hits[0].Source
	for name := range strings.SplitSeq(strings.TrimSuffix(s.c.Fields.Request, ".keyword"), ".") {
		var o map[string]json.RawMessage
		if json.Unmarshal(raw, &o) != nil {
			return ""
		}
		raw = o[name]
	}
	var id string
	if json.Unmarshal(raw, &id) != nil {
		return ""
	}
	return clean(id)
}
