package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newSayCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "say TEXT…",
		Short: "say something where deploys are announced, in your name",
		Long: `Tells the announcers that talk to people (irc, tcpircbot, webhook, command; not those whose ` + "`on`" + ` leaves out said) one line
in your name, and waits until it is told, for at most 10 seconds. It takes no lock.

Exit code 0: everybody was told. 1: somebody could not be; the others were.
`,
		Example: `  scap say 'testing a fix on mwdebug1001, please do not deploy'`,
		Args:    argCount(1, -1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runSay(cmd.Context(), strings.Join(args, " ")) },
	}
}

// runSay is scap say.
func (a *app) runSay(ctx context.Context, text string) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	if strings.TrimSpace(text) == "" {
		return usage(errors.New("say has nothing to say"))
	}
	crew, err := openCrew(conf)
	if err != nil {
		return err
	}
	if crew == nil {
		return usage(fmt.Errorf("nobody would hear it: %s has no announcers", conf.File))
	}
	limited, cancel := context.WithTimeout(ctx, crewLimit)
	defer cancel()
	errs := crew.Say(limited, text)
	errs = append(errs, crew.Close(limited)...)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not everybody was told: %w", err)
	}
	return nil
}
