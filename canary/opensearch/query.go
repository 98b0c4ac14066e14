package opensearch

import (
	"fmt"
	"strings"
	"time"

	"scap/canary"
)

// object is one of a query's. Queries are only ever written by encoding/json, so no name can become more than a name.
type object = map[string]any

// value is what the host field says of a host.
func (s *Source) value(host string) string {
	short, _, _ := strings.Cut(host, ".")
	return strings.NewReplacer("{host}", host, "{short}", short).Replace(s.c.Host)
}

// span is a range of the records' own time: [from, to), to may be open.
func (s *Source) span(from, to time.Time) object {
	r := object{"gte": from.UnixMilli(), "format": "epoch_millis"}
	if !to.IsZero() {
		r["lt"] = to.UnixMilli()
	}
	return object{"range": object{s.c.Fields.Time: r}}
}

func term(field, value string) object { return object{"term": object{field: value}} }

// query wraps aggregations into a search for the records of hosts that lucene finds in a span.
func (s *Source) query(lucene string, hosts []canary.Host, span object, aggs object) object {
	var values []string
	for _, h := range hosts {
		values = append(values, s.value(h.Machine()))
	}
	return object{
		"size": 0, "track_total_hits": true,
		"timeout": fmt.Sprintf("%dms", s.c.Timeout.Milliseconds()),
		"query": object{"bool": object{
			"filter": []object{
				{"query_string": object{"query": lucene, "analyze_wildcard": true}},
				{"terms": object{s.c.Fields.Host: values}},
				span,
			},
			"must_not": []object{term(s.c.Fields.Level, "DEBUG")},
		}},
		"aggs": aggs,
	}
}

// since are the records of a host from its Since on.
func (s *Source) since(h canary.Host) []object {
	filter := []object{term(s.c.Fields.Host, s.value(h.Machine()))}
	if !h.Since.IsZero() {
		// A record of the very millisecond is after it: times are stored in whole ones.
		filter = append(filter, s.span(h.Since.Add(time.Millisecond-1).Truncate(time.Millisecond), time.Time{}))
	}
	return filter
}

func exists(field string) object { return object{"exists": object{"field": field}} }

// nobodys are the records of a host with two releases that do not say which of them served it.
func (s *Source) nobodys(h canary.Host) object {
	if h.On == "" {
		return object{"match_none": object{}}
	}
	return object{"bool": object{"filter": s.since(h), "must_not": []object{exists(s.c.Fields.Release)}}}
}

// mine are the records that belong to a host as it is asked about. One that does not say which release served it belongs to what
// the host ran: left out it would be a failure that nobody sees. Of a host that serves two releases it belongs to neither, see nobodys.
func (s *Source) mine(h canary.Host) object {
	filter := s.since(h)
	switch f := s.c.Fields.Release; {
	case f == "" || h.Release == "" && h.On == "":
	case h.Release == "":
		filter = append(filter, exists(f))
	case h.On != "":
		filter = append(filter, term(f, h.Release))
	default:
		filter = append(filter, object{"bool": object{
			"should":               []object{term(f, h.Release), {"bool": object{"must_not": []object{exists(f)}}}},
			"minimum_should_match": 1,
		}})
	}
	return object{"bool": object{"filter": filter}}
}

// byHost makes a bucket of each host, in the order asked.
func byHost(hosts []canary.Host, filter func(canary.Host) object, aggs object) object {
	var filters []object
	for _, h := range hosts {
		filters = append(filters, filter(h))
	}
	o := object{"filters": object{"filters": filters}}
	if aggs != nil {
		o["aggs"] = aggs
	}
	return o
}

// distinct counts requests: those with an id once, each record without one as one.
func (s *Source) distinct() object {
	if s.c.Fields.Request == "" {
		return object{}
	}
	return object{
		"distinct": object{"cardinality": object{"field": s.c.Fields.Request, "precision_threshold": s.c.Precision}},
		"nameless": object{"missing": object{"field": s.c.Fields.Request}},
	}
}

// counts asks for requests by host and tick.
func (s *Source) counts(lucene string, hosts []canary.Host, of func(canary.Host) object, from, to time.Time, step time.Duration) object {
	ticks := object{
		"date_histogram": object{"field": s.c.Fields.Time, "fixed_interval": fmt.Sprintf("%dms", step.Milliseconds()), "min_doc_count": 1},
		"aggs":           s.distinct(),
	}
	return s.query(lucene, hosts, s.span(from, to), object{"hosts": byHost(hosts, of, object{"ticks": ticks})})
}

// beats asks for the newest heartbeat of each host, and whether one of its heartbeats carried its nonce.
func (s *Source) beats(hosts []canary.Host, from time.Time) object {
	ofHost := func(h canary.Host) object { return term(s.c.Fields.Host, s.value(h.Machine())) }
	withNonce := func(h canary.Host) object {
		if h.Nonce == "" {
			return object{"match_none": object{}}
		}
		return object{"bool": object{"filter": []object{ofHost(h), term(s.c.Fields.Nonce, h.Nonce)}}}
	}
	return s.query(s.c.Heartbeat, hosts, s.span(from, time.Time{}), object{
		"hosts":  byHost(hosts, ofHost, object{"newest": object{"max": object{"field": s.c.Fields.Time}}}),
		"nonces": byHost(hosts, withNonce, nil),
	})
}

// How many kinds of failure of a host are told apart: classes, files of each, messages of each. The most frequent are kept.
var widths = [3]int{50, 6, 4}

// kinds asks for the most frequent failures of each host by class, file and message, with a request of each.
func (s *Source) kinds(hosts []canary.Host, from, to time.Time) object {
	f := s.c.Fields
	leaf := s.distinct()
	if f.Request != "" {
		leaf["sample"] = object{"top_hits": object{"size": 1, "_source": []string{f.Request}, "sort": []object{{f.Time: object{"order": "asc"}}}}}
	}
	aggs := leaf
	for i := 2; i >= 0; i-- {
		field := []string{f.Class, f.File, f.Message}[i]
		if field == "" {
			continue
		}
		aggs = object{"kinds": object{
			// Each shard sends more than is kept, so that what is frequent over all shards is not lost on one.
			"terms": object{"field": field, "size": widths[i], "shard_size": 20 * widths[i], "missing": ""},
			"aggs":  aggs,
		}}
	}
	return s.query(s.c.Failing, hosts, s.span(from, to), object{"hosts": byHost(hosts, s.mine, aggs)})
}
