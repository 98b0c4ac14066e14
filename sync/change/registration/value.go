package registration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// value is a part of a registration file and where in it.
type value struct {
	at string
	is any
}

// wrong is a part of a registration file that has not the shape that MediaWiki wants.
type wrong struct{ at, text string }

// plain are the keys that need no quotes in a pointer.
var plain = regexp.MustCompile(`^[\pL\pN_:\\/@*-]+$`)

// under is the pointer of a key below at.
func under(at, key string) string {
	switch {
	case !plain.MatchString(key):
		return at + "[" + strconv.Quote(key) + "]"
	case at == "":
		return key
	}
	return at + "." + key
}

// get is what an object has under a key; the zero value when it has none.
func (v value) get(key string) value {
	m, _ := v.is.(map[string]any)
	return value{under(v.at, key), m[key]}
}

// there reports whether PHP's isset would: null is nothing.
func (v value) there() bool { return v.is != nil }

// text is a string; empty when it is something else.
func (v value) text() string {
	s, _ := v.is.(string)
	return s
}

// isText reports whether v is a string.
func (v value) isText() bool {
	_, ok := v.is.(string)
	return ok
}

// isMap reports whether v is an object.
func (v value) isMap() bool {
	_, ok := v.is.(map[string]any)
	return ok
}

// isList reports whether v is a list.
func (v value) isList() bool {
	_, ok := v.is.([]any)
	return ok
}

// each are the elements of a list, or of an object by key, which are one thing to PHP. Keys that begin with @ are remarks.
func (v value) each() []value {
	switch x := v.is.(type) {
	case []any:
		all := make([]value, len(x))
		for i := range x {
			all[i] = value{fmt.Sprintf("%s[%d]", v.at, i), x[i]}
		}
		return all
	case map[string]any:
		all := make([]value, 0, len(x))
		for _, key := range v.keys() {
			all = append(all, v.get(key))
		}
		return all
	}
	return nil
}

// keys are an object's keys but remarks, sorted.
func (v value) keys() []string {
	m, _ := v.is.(map[string]any)
	keys := make([]string, 0, len(m))
	for key := range m {
		if !strings.HasPrefix(key, "@") {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
}

// many is v as a list: PHP's (array) of a text or of a list.
func (v value) many() []value {
	if v.isText() {
		return []value{v}
	}
	return v.each()
}

// notArray says what is in place of an array, "" when it is one. An array is a list or an object: PHP has one type for both.
func (v value) notArray() string {
	if !v.there() || v.isMap() || v.isList() {
		return ""
	}
	return "has to be an array, and is " + v.kind()
}

// kind is the JSON type of v, for messages.
func (v value) kind() string {
	switch v.is.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a text"
	case json.Number, float64:
		return "a number"
	case []any:
		return "a list"
	}
	return "an object"
}
