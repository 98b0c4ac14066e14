package announce

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
)

// webhook is a channel of Slack or Mattermost.
type webhook struct {
	Options
	*web
}

// Tell posts the line. It is posted again only when nobody can have heard it.
func (h *webhook) Tell(ctx context.Context, e Event) error {
	to := h.URL
	if h.URLFile != "" {
		var err error
		if to, err = secret(h.URLFile); err != nil {
			return err
		}
	}
	const most = 3000
	body, err := json.Marshal(map[string]string{"text": tame(e.Text("", most))})
	if err != nil {
		return err
	}
	_, err = h.ask(ctx, http.MethodPost, to, http.Header{"Content-Type": {"application/json"}}, body)
	if h.URLFile != "" {
		err = without(err, to)
	}
	return err
}

// calls are the words that wake everybody in a channel.
var calls = regexp.MustCompile(`(?i)@(all|channel|here|everyone|group)`)

// tame makes text what it looks like: in a chat's markup a subject could carry links, or call everybody.
func tame(text string) string {
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	return calls.ReplaceAllString(text, "@\u200B$1")
}
