package announce

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// statuspage opens an incident when a release is taken back that more users than the canaries' were served, and ends it once
// the fleet is proven on one release again. An incident of its own it knows by what it wrote into it, so that another process
// can end it. Of the reason the public is told nothing.
type statuspage struct {
	Options
	*web
	site string
	test func(phase string) bool
}

func newStatuspage(o Options, deps Deps) *statuspage {
	return &statuspage{Options: o, web: newWeb(o.CAFile), site: deps.Site, test: func(phase string) bool { return slices.Contains(deps.Test, phase) }}
}

// The words of a Statuspage.
const (
	investigating = "investigating"
	resolved      = "resolved"
)

// incident is one as the API has it.
type incident struct {
	ID         string                       `json:"id,omitempty"`
	Name       string                       `json:"name,omitempty"`
	Status     string                       `json:"status"`
	Body       string                       `json:"body,omitempty"`
	IDs        []string                     `json:"component_ids,omitempty"`
	Components map[string]string            `json:"components,omitempty"`
	Metadata   map[string]map[string]string `json:"metadata,omitempty"`
}

// Tell opens or ends an incident, where e asks for it.
func (s *statuspage) Tell(ctx context.Context, e Event) error {
	f := e.facts
	switch {
	case f == nil:
		return nil
	case e.What == Returning && f.wide(s.test), e.What == Watch:
		return s.begin(ctx, e)
	case e.What == Deployed, f.touched && (e.What == RolledBack || e.What == Cancelled || e.What == Declined):
		return s.end(ctx)
	}
	return nil
}

// begin opens an incident, unless there is one. A question whose answer was lost is asked again only after a look.
func (s *statuspage) begin(ctx context.Context, e Event) error {
	const tries = 3
	var errs []error
	for range tries {
		open, err := s.open(ctx)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if len(open) > 0 {
			return nil
		}
		i := incident{
			Name: "A change is being taken back", Status: investigating,
			Body:     "A change to the site's software made errors and is being taken back.",
			Metadata: map[string]map[string]string{"scap": {"site": s.site, "deploy": e.Deploy}},
		}
		s.component(&i, "partial_outage")
		_, err = s.api(ctx, http.MethodPost, "", &i)
		var no *status
		if err == nil || ctx.Err() != nil || errors.As(err, &no) && no.code < 500 {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// end ends every incident that was begun from here.
func (s *statuspage) end(ctx context.Context) error {
	open, err := s.open(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range open {
		i := incident{Status: resolved, Body: "The site runs as it should again."}
		s.component(&i, "operational")
		_, err := s.api(twice(ctx), http.MethodPatch, "/"+url.PathEscape(o.ID), &i)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *statuspage) component(i *incident, how string) {
	if s.Component != "" {
		i.IDs, i.Components = []string{s.Component}, map[string]string{s.Component: how}
	}
}

// open returns the incidents of this deploy host that are not resolved.
func (s *statuspage) open(ctx context.Context) ([]incident, error) {
	answer, err := s.api(twice(ctx), http.MethodGet, "/unresolved", nil)
	if err != nil {
		return nil, err
	}
	var list []incident
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, errors.New("the page's answer is no list of incidents")
	}
	return slices.DeleteFunc(list, func(i incident) bool {
		m, ours := i.Metadata["scap"]
		return !ours || m["site"] != s.site || i.ID == ""
	}), nil
}

// api asks for something of the page's incidents.
func (s *statuspage) api(ctx context.Context, method, path string, i *incident) ([]byte, error) {
	key, err := secret(s.TokenFile)
	if err != nil {
		return nil, err
	}
	var body []byte
	if i != nil {
		if body, err = json.Marshal(map[string]*incident{"incident": i}); err != nil {
			return nil, err
		}
	}
	header := http.Header{"Authorization": {"OAuth " + key}, "Content-Type": {"application/json"}}
	answer, err := s.ask(ctx, method, s.URL+"/pages/"+url.PathEscape(s.Page)+"/incidents"+path, header, body)
	return answer, without(err, key)
}
