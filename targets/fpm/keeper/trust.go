package keeper

import (
	"fmt"
	"os"
	"strings"

	"scap/targets/fpm/trust"
)

// trusted checks that nobody but root can change what lies at path, or what path leads to.
func trusted(path string) error {
	if err := trust.Check(path); err != nil {
		return fmt.Errorf("%s cannot be trusted: %w", path, err)
	}
	return nil
}

// ownProgram returns the path of the running program, which nobody but root can change: with another one in its place a
// deploy user would be root.
func ownProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if strings.HasSuffix(path, " (deleted)") {
		return "", fmt.Errorf("the program %s was replaced while it runs: start it again", strings.TrimSuffix(path, " (deleted)"))
	}
	return path, trusted(path)
}
