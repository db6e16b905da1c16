package spd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxImage bounds an image read from text; the largest EEPROM has 2048 bytes.
const maxImage = 4096

// ErrNotHex means that a text is no list of hexadecimal bytes.
var ErrNotHex = errors.New("no hexadecimal bytes")

// FromHex turns a text of two-digit hexadecimal bytes, separated by blanks, into
// an image. A "#" begins a comment.
func FromHex(text []byte) ([]byte, error) {
	var out []byte
	s := bufio.NewScanner(bytes.NewReader(text))
	for line := 1; s.Scan(); line++ {
		data, _, _ := strings.Cut(s.Text(), "#")
		for _, word := range strings.Fields(data) {
			n, err := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 8)
			if err != nil {
				return nil, fmt.Errorf("%w: line %d: %.16q", ErrNotHex, line, word)
			}
			if len(out) == maxImage {
				return nil, fmt.Errorf("%w: line %d: more than %d bytes", ErrNotHex, line, maxImage)
			}
			out = append(out, byte(n))
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotHex, err)
	}
	if len(out) == 0 {
		return nil, ErrNotHex
	}
	return out, nil
}
