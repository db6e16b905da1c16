package safe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const maxDepth = 32

// unique refuses JSON in which a name stands twice in one object, in any case:
// readers differ in which one counts (RFC 8259, 4).
func unique(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := uniqueValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data behind the document")
	}
	return nil
}

func uniqueValue(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			k, err := d.Token()
			if err != nil {
				return err
			}
			name := strings.ToLower(fmt.Sprint(k))
			if strings.ContainsFunc(name, func(r rune) bool { return r > 0x7e || r < 0x20 }) {
				return fmt.Errorf("the name %.40q is not plain text, before offset %d", name, d.InputOffset()) // readers fold such letters differently
			}
			if seen[name] {
				return fmt.Errorf("the name %.40q stands twice, before offset %d", name, d.InputOffset())
			}
			seen[name] = true
		}
		if err := uniqueValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
