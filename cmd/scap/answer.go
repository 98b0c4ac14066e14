package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"

	"scap/phases"
)

// who returns the deployer's name, as the journal and the lock show it. Under sudo it is the person, not the account.
func who() string {
	for _, name := range []string{os.Getenv("SUDO_USER"), os.Getenv("USER")} {
		if name != "" {
			return name
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// attended reports whether questions can be answered: by a person, or by --yes as far as it goes.
func (a *app) attended() bool {
	_, interactive := a.terminal()
	return interactive || a.yes
}

// answer puts a Runner's question to the deployer. --yes confirms phases; it never decides about a gate that holds or a
// pool that is short, because nobody saw the reason.
func (a *app) answer(ctx context.Context, q phases.Question) (phases.Answer, error) {
	if a.yes && q.Topic == phases.AskConfirm {
		return phases.Answer{Choice: phases.Yes, Who: who(), Word: "--yes"}, nil
	}
	text := fmt.Sprintf("\n%s\n%s ", harmless(q.Text), prompt(q.Choices))
	for {
		letter, err := a.question(ctx, text, 0)
		if err != nil {
			return phases.Answer{}, err
		}
		choice, ok := pick(letter, q.Choices)
		if !ok {
			continue
		}
		answer := phases.Answer{Choice: choice, Who: who()}
		if choice == phases.Pass {
			if answer.Word, err = a.reason(ctx); err != nil {
				return phases.Answer{}, err
			}
		}
		return answer, nil
	}
}

// reason asks for the words that the journal keeps when a person overrules a gate that holds.
func (a *app) reason(ctx context.Context) (string, error) {
	fmt.Fprint(a.stderr, "Why? (kept in the journal) ")
	line, err := readLine(ctx, a.stdin)
	if err != nil {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("no reason was given: the gate is not overruled")
	}
	return line, nil
}

var words = map[phases.Choice]struct {
	letter rune
	text   string
}{
	phases.Yes:      {'y', "[y]es"},
	phases.No:       {'n', "[n]o, roll back"},
	phases.Wait:     {'w', "[w]ait longer"},
	phases.Pass:     {'p', "[p]ass on your word"},
	phases.RollBack: {'r', "[r]oll back"},
}

func prompt(choices []phases.Choice) string {
	var parts []string
	for _, c := range choices {
		parts = append(parts, words[c].text)
	}
	return strings.Join(parts, ", ") + "?"
}

func pick(letter rune, choices []phases.Choice) (phases.Choice, bool) {
	for _, c := range choices {
		if words[c].letter == letter {
			return c, true
		}
	}
	return "", false
}
