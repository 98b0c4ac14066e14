package agent

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

func TestRunCommand(t *testing.T) {
	tests := map[string]struct {
		argv         []string
		stdout, fail string
		status       int
	}{
		"prints":              {argv: []string{"/bin/echo", "a b", "$(id)", ";"}, stdout: "a b $(id) ;\n"},
		"fails":               {argv: []string{"/bin/sh", "-c", "echo no >&2; exit 3"}, status: 3},
		"is not there":        {argv: []string{"/no/such/tool"}, fail: "no such file"},
		"is relative":         {argv: []string{"echo"}, fail: "absolute"},
		"is empty":            {fail: "absolute"},
		"is ended":            {argv: []string{"/bin/sh", "-c", "kill -9 $$"}, fail: "signal"},
		"prints without end":  {argv: []string{"/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"}, stdout: strings.Repeat("x", commandOutput)},
		"leaves a child open": {argv: []string{"/bin/sh", "-c", "sleep 60 & echo done"}, stdout: "done\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			question, err := json.Marshal(Command{Argv: tt.argv})
			if err != nil {
				t.Fatal(err)
			}
			raw, err := RunCommand(context.Background(), question)
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) {
					t.Fatalf("%s, %v; want an error with %q", raw, err, tt.fail)
				}
				return
			}
			var d Done
			if err != nil || json.Unmarshal(raw, &d) != nil || d.Stdout != tt.stdout || d.Status != tt.status {
				t.Fatalf("%.100s, %v", raw, err)
			}
		})
	}
}
