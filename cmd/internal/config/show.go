package config

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Show writes the effective configuration as YAML: ranges expanded, dsh files read, defaults filled in, what groups share
// repeated in each. Loading what it writes gives the same configuration. There are no secrets in a configuration.
func (c *Config) Show(w io.Writer) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(toNode(reflect.ValueOf(*c))); err != nil {
		return fmt.Errorf("show the configuration: %w", err)
	}
	return e.Close()
}

// toNode makes YAML of the configuration's own types. It exists because named lists (groups) are keys in the file, and
// because times and shares are written as people write them.
func toNode(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case time.Duration:
		return scalar("!!str", FormatDuration(x))
	case []Group:
		return named(x, func(g Group) string { return g.Name })
	case []Balancer:
		return named(x, func(b Balancer) string { return b.Name })
	case []Source:
		return named(x, func(c Source) string { return c.Name })
	case []Signal:
		return named(x, func(g Signal) string { return g.Name })
	case []Announcer:
		return named(x, func(a Announcer) string { return a.Name })
	case []Address:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, a := range x {
			n.Content = append(n.Content, scalar("!!str", a.Host), scalar("!!str", a.Address))
		}
		return n
	case []Param:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, p := range x {
			n.Content = append(n.Content, scalar("!!str", p.Name), scalar("!!str", p.Value))
		}
		return n
	case Width, Budget, Percent, Rate, Size:
		return scalar("", fmt.Sprint(x))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return toNode(v.Elem())
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		fields(n, v)
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, toNode(v.Index(i)))
		}
		if v.Type().Elem().Kind() == reflect.String && (v.Len() == 0 || v.Len() > 0 && v.Len() <= 4) {
			n.Style = yaml.FlowStyle
		}
		return n
	case reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool()))
	case reflect.Float64:
		return scalar("", strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case reflect.Int:
		return scalar("!!int", strconv.FormatInt(v.Int(), 10))
	}
	return scalar("!!str", v.String())
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func named[T any](list []T, name func(T) string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, x := range list {
		n.Content = append(n.Content, scalar("!!str", name(x)), toNode(reflect.ValueOf(x)))
	}
	return n
}

// fields appends the keys of a struct by their yaml tags. A tag show:"none" writes the word none for nothing.
func fields(n *yaml.Node, v reflect.Value) {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case key == "-":
		case options == "inline":
			fields(n, value)
		case f.Tag.Get("show") == none && (value.IsZero() || value.Kind() == reflect.Slice && value.Len() == 0):
			n.Content = append(n.Content, scalar("!!str", key), scalar("!!str", none))
		case options == "omitempty" && value.IsZero():
		default:
			n.Content = append(n.Content, scalar("!!str", key), toNode(value))
		}
	}
}
