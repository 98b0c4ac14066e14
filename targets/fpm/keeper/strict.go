package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds values within values: nothing that is read here needs more.
const maxNesting = 8

// strict reads exactly one JSON value into a struct. What encoding/json lets pass is an error: a key twice, a key in capital
// letters, an unknown key, a second value, text that is no UTF-8. Two readers of such a file could disagree on what it says.
func strict(b []byte, into any) error {
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := keys(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	d = json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// keys walks over one value and checks its keys.
func keys(d *json.Decoder, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("values within values, more than %d deep", maxNesting)
	}
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			key, _ := t.(string)
			if key != strings.ToLower(key) {
				return fmt.Errorf("key %.80q: write it in small letters", key)
			}
			if seen[key] {
				return fmt.Errorf("key %.80q stands there twice", key)
			}
			seen[key] = true
		}
		if err := keys(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
