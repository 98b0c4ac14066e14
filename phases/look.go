package phases

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"scap/canary"
	"scap/phases/journal"
)

// maxReason bounds the words of a ruling that is too large, in bytes.
const maxReason = 4 << 10

// rule lets gate look at win once, with the evidence of all looks before. What is no clear word is a Hold: an error, a
// panic, an unknown verdict, a suspect without a name, a pass that came after the time for a look. An error of rule is
// the end of ctx.
func (d *run) rule(ctx context.Context, gate canary.Gate, win canary.Window) (canary.Ruling, error) {
	limited, cancel := context.WithTimeout(ctx, d.p.Limits.Look)
	defer cancel()
	var rul canary.Ruling
	err := guard(func() (err error) {
		rul, err = gate.Judge(limited, win, d.evidence)
		return err
	})
	if err != nil {
		rul = canary.Ruling{Cause: canary.SourceDown, Reason: fmt.Sprintf("could not look: %v", err)}
	}
	if ctx.Err() != nil {
		return canary.Ruling{}, context.Cause(ctx)
	}
	switch rul.Verdict {
	case canary.Hold:
		rul.Suspects = nil
		return rul, nil
	case canary.Pass:
		if limited.Err() != nil {
			return late(rul), nil
		}
	case canary.Fail:
	case canary.Suspect:
		if len(rul.Suspects) == 0 {
			return held(rul, "a suspect without a name: "+rul.Reason), nil
		}
		rul.Cause = ""
		return rul, nil
	default:
		rul = canary.Ruling{Reason: fmt.Sprintf("unknown verdict %d: %s", int(rul.Verdict), rul.Reason), Evidence: rul.Evidence}
	}
	rul.Cause, rul.Suspects = "", nil
	return rul, nil
}

// late is a pass that came too late to count.
func late(rul canary.Ruling) canary.Ruling {
	rul.Verdict, rul.Cause, rul.Reason = canary.Hold, canary.SourceDown, "passed too late: "+rul.Reason
	return rul
}

// written makes rul fit for the journal and returns it as it stands there. Its evidence is what the next look goes on with;
// a ruling without any leaves what was there before.
func (d *run) written(rul canary.Ruling) (canary.Ruling, json.RawMessage) {
	if len(rul.Evidence) == 0 {
		rul.Evidence = d.evidence
	}
	data, err := json.Marshal(rul)
	if err == nil && len(data) > journal.MaxLine/2 {
		err = fmt.Errorf("a ruling of %d bytes", len(data))
	}
	if err != nil { // hostile or broken numbers and evidence: nobody could check this ruling later
		if rul.Verdict != canary.Fail {
			rul.Verdict, rul.Cause, rul.Suspects = canary.Hold, canary.SourceDown, nil
		}
		if len(rul.Reason) > maxReason {
			rul.Reason = strings.ToValidUTF8(rul.Reason[:maxReason], "") + " [cut]"
		}
		rul.Reason, rul.Numbers, rul.Evidence = fmt.Sprintf("%s (not to be written: %v)", rul.Reason, err), nil, d.evidence
		data, _ = json.Marshal(rul) // plain strings, and what was written before
	}
	d.evidence = rul.Evidence
	return rul, data
}

// because is the cause of a hold for people, in brackets.
func because(c canary.Cause) string {
	if c == "" {
		return ""
	}
	return " (" + string(c) + ")"
}
