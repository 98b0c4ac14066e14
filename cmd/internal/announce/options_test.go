package announce

import (
	"slices"
	"testing"

	"scap/cmd/internal/config"
)

// TestOptions are those of scap.yaml, word by word.
func TestOptions(t *testing.T) {
	a := config.Announcer{Name: "sal", Kind: config.IRC, Channel: "#x", Command: []string{"x"}}
	if o := Options(a); o.Name != "sal" || o.Kind != IRC || o.Channel != "#x" || o.Command[0] != "x" {
		t.Errorf("it becomes %+v", o)
	}
	if !slices.Equal(Words(), config.Events) {
		t.Errorf("told is %q, and scap.yaml has %q", Words(), config.Events)
	}
	for ours, theirs := range map[string]string{
		IRC: config.IRC, TCPIRCBot: config.TCPIRCBot, Webhook: config.Webhook, Statuspage: config.Statuspage, OnChanges: config.OnChanges,
		Textfile: config.Textfile, Pushgateway: config.Pushgateway, OTLP: config.OTLP, Told: config.Told,
	} {
		if ours != theirs {
			t.Errorf("%q is called %q in scap.yaml", ours, theirs)
		}
	}
}
