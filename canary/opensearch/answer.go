package opensearch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"scap/canary"
)

// answer is what the API says to a search. Numbers that must be there are pointers: one that is missing is not zero.
type answer struct {
	TimedOut *bool `json:"timed_out"`
	Shards   *struct {
		Total      *int64 `json:"total"`
		Successful *int64 `json:"successful"`
		Failed     *int64 `json:"failed"`
		Failures   []struct {
			Reason struct{ Type, Reason string } `json:"reason"`
		} `json:"failures"`
	} `json:"_shards"`
	Clusters *struct { // only of a search over several clusters
		Skipped int64 `json:"skipped"`
		Partial int64 `json:"partial"`
		Failed  int64 `json:"failed"`
	} `json:"_clusters"`
	Hits *struct {
		Total *struct {
			Value    *int64 `json:"value"`
			Relation string `json:"relation"`
		} `json:"total"`
	} `json:"hits"`
	Aggregations *struct {
		Hosts  *list `json:"hosts"`
		Nonces *list `json:"nonces"`
	} `json:"aggregations"`
}

// list is an aggregation with buckets.
type list struct {
	Buckets []bucket `json:"buckets"`
	// Of terms only: by how much a count may be too low because a shard did not send it.
	Error int64 `json:"doc_count_error_upper_bound"`
}

type bucket struct {
	Key      json.RawMessage `json:"key"`
	Count    *int64          `json:"doc_count"`
	Newest   *number         `json:"newest"`
	Ticks    *list           `json:"ticks"`
	Kinds    *list           `json:"kinds"`
	Distinct *number         `json:"distinct"`
	Nameless *struct {
		Count *int64 `json:"doc_count"`
	} `json:"nameless"`
	Sample *struct {
		Hits struct {
			Hits []struct {
				Source json.RawMessage `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	} `json:"sample"`
}

// number is a metric; null when nothing was there to measure.
type number struct {
	Value *float64 `json:"value"`
}

// parse reads an answer and refuses one that is not whole: what is missing in it would be missing in a count.
func parse(text []byte) (*answer, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	var a answer
	if err := dec.Decode(&a); err != nil {
		return nil, fmt.Errorf("the answer is cut off or no JSON of a search: %s", clean(err.Error()))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the answer goes on after its end")
	}
	switch sh := a.Shards; {
	case a.TimedOut == nil || sh == nil || sh.Total == nil || sh.Successful == nil || sh.Failed == nil || a.Hits == nil || a.Hits.Total == nil || a.Hits.Total.Value == nil:
		return nil, errors.New("the answer is not that of a search: timed_out, _shards or hits.total is missing")
	case *a.TimedOut:
		return nil, errors.New("the search timed out, its counts are partial")
	case *sh.Failed != 0 || *sh.Successful != *sh.Total || len(sh.Failures) > 0:
		why := ""
		if len(sh.Failures) > 0 {
			why = ": " + clean(sh.Failures[0].Reason.Type+": "+sh.Failures[0].Reason.Reason)
		}
		return nil, fmt.Errorf("%d of %d shards answered, the counts are partial%s", *sh.Successful, *sh.Total, why)
	case *sh.Total <= 0:
		return nil, errors.New("no index was searched")
	case a.Clusters != nil && (a.Clusters.Skipped != 0 || a.Clusters.Partial != 0 || a.Clusters.Failed != 0):
		return nil, errors.New("a remote cluster was left out, the counts are partial")
	case a.Hits.Total.Relation != "eq" || *a.Hits.Total.Value < 0:
		return nil, fmt.Errorf("hits.total is %d with relation %q, want an exact one", *a.Hits.Total.Value, clean(a.Hits.Total.Relation))
	case a.Aggregations == nil || a.Aggregations.Hosts == nil:
		return nil, errors.New("the answer has no aggregations")
	}
	return &a, nil
}

// errContradicts is wrapped by what is wrong in one host's part of an answer.
var errContradicts = errors.New("the answer contradicts itself")

func contradicts(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errContradicts, fmt.Sprintf(format, args...))
}

// hosts are the buckets of n hosts, in the order asked.
func (a *answer) hosts(n int) ([]bucket, error) { return exactly(a.Aggregations.Hosts, n) }

func exactly(l *list, n int) ([]bucket, error) {
	if l == nil || len(l.Buckets) != n {
		return nil, fmt.Errorf("the answer has not the %d buckets of the hosts", n)
	}
	for _, b := range l.Buckets {
		if b.Count == nil || *b.Count < 0 {
			return nil, errors.New("the answer has a bucket without a count")
		}
	}
	return l.Buckets, nil
}

// newest is the time of the newest heartbeat; zero when there is none.
func (b bucket) newest() (time.Time, error) {
	switch {
	case b.Newest == nil:
		return time.Time{}, contradicts("the newest heartbeat is missing")
	case b.Newest.Value == nil && *b.Count == 0:
		return time.Time{}, nil
	case b.Newest.Value == nil || *b.Count == 0:
		return time.Time{}, contradicts("%d heartbeats, but the newest of them is not", *b.Count)
	}
	v := *b.Newest.Value
	const year2200 = 7.3e12
	if !(v > 0 && v < year2200) {
		return time.Time{}, contradicts("the newest heartbeat is of %v", v)
	}
	return time.UnixMilli(int64(v)).UTC(), nil
}

// question is what counts were asked for.
type question struct {
	from, to time.Time
	step     time.Duration
	byID     bool
	exact    int64 // up to which a cardinality is exact
}

// ticks are the counts of one host's bucket, in order.
func (b bucket) ticks(q question) ([]canary.Tick, error) {
	if b.Ticks == nil {
		return nil, contradicts("the ticks are missing")
	}
	var ticks []canary.Tick
	sum, last := int64(0), int64(math.MinInt64)
	for _, t := range b.Ticks.Buckets {
		var key float64
		if json.Unmarshal(t.Key, &key) != nil || key != math.Trunc(key) || math.Abs(key) > 1e15 {
			return nil, contradicts("a tick has the key %s", clean(string(t.Key)))
		}
		ms := int64(key)
		switch {
		case ms <= last:
			return nil, contradicts("tick %d comes after %d", ms, last)
		case ms < q.from.UnixMilli() || ms >= q.to.UnixMilli() || ms%q.step.Milliseconds() != 0:
			return nil, contradicts("tick %d was not asked for", ms)
		}
		last = ms
		n, err := t.requests(q)
		if err != nil {
			return nil, err
		}
		if *t.Count > math.MaxInt64-sum {
			return nil, contradicts("counts too large to add up")
		}
		sum += *t.Count
		if n > 0 {
			ticks = append(ticks, canary.Tick{At: time.UnixMilli(ms).UTC(), Requests: n})
		}
	}
	if sum != *b.Count {
		return nil, contradicts("%d records in the ticks, %d in all", sum, *b.Count)
	}
	return ticks, nil
}

// requests is how many requests the records of a bucket are of.
func (b bucket) requests(q question) (int64, error) {
	if b.Count == nil || *b.Count < 0 {
		return 0, contradicts("a bucket without a count, or with a negative one")
	}
	if !q.byID {
		return *b.Count, nil
	}
	if b.Distinct == nil || b.Distinct.Value == nil || b.Nameless == nil || b.Nameless.Count == nil {
		return 0, contradicts("the distinct requests of a bucket are missing")
	}
	v, nameless := *b.Distinct.Value, *b.Nameless.Count
	named := *b.Count - nameless
	switch {
	case nameless < 0 || named < 0 || !(v >= 0) || v > 1e15 || v != math.Trunc(v):
		return 0, contradicts("%v distinct requests and %d without an id in %d records", v, nameless, *b.Count)
	case named > 0 && v == 0:
		return 0, contradicts("no request in %d records that name one", named)
	case int64(v) > named && int64(v) > q.exact:
		v = float64(named) // above the threshold it is an estimate, which records bound
	case int64(v) > named:
		return 0, contradicts("%v distinct requests in %d records", v, named)
	}
	return int64(v) + nameless, nil
}
