package pool

import (
	"io"
	"strings"
	"testing"
)

// What a command prints is copied by io.Copy, which prefers a writer's ReadFrom: that must not go past the bound.
func TestHeadIsBounded(t *testing.T) {
	var h head
	n, err := io.Copy(&h, io.LimitReader(endless{}, 4*maxOutput))
	if err != nil || n != 4*maxOutput {
		t.Fatalf("took %d, %v: a command would block", n, err)
	}
	if got := h.kept.Len(); got != maxOutput || strings.Trim(h.kept.String(), "x") != "" {
		t.Errorf("kept %d bytes, want %d", got, maxOutput)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
