package staging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxNesting bounds how deep JSON may be nested; PHP's own limit is 512.
const maxNesting = 512

// checkJSON says what is wrong with a JSON text, by line: its syntax, or a key that an object has twice, of which PHP
// would silently take the second.
func checkJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return errors.New("line 1: it begins with a byte order mark, which PHP does not read")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	fail := func(err error) error {
		at := dec.InputOffset()
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			at = syntax.Offset
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("line %d: %w", 1+bytes.Count(text[:min(int(max(at-1, 0)), len(text))], []byte("\n")), err)
	}
	// The decoder alone reads keys as any token, so the whole text is first held to the grammar.
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		return fail(err)
	}
	if err := checkKeys(dec, 0); err != nil {
		return fail(err)
	}
	return nil
}

// checkKeys reads one value.
func checkKeys(dec *json.Decoder, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("nested deeper than %d", maxNesting)
	}
	t, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	keys := map[string]bool{}
	for dec.More() {
		if open == '{' {
			k, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := k.(string)
			if keys[name] {
				return fmt.Errorf("key %q stands twice in one object", name)
			}
			keys[name] = true
		}
		if err := checkKeys(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
