package ids

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Clean makes a text presentable: cut at the first NUL, bytes that are not
// UTF-8 and control characters escaped, Unicode form C, blanks folded and
// trimmed. Two texts that differ in a bad byte stay different.
func Clean(s string) string {
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	if t := strings.Trim(s, " "); plain(t) {
		return t
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return strings.Join(strings.Fields(norm.NFC.String(b.String())), " ")
}

// plain reports what Clean leaves as it is, which is nearly every text: printable
// ASCII without a blank at its ends or two in a row.
func plain(s string) bool {
	blank := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == ' ' && blank {
			return false
		}
		blank = s[i] == ' '
	}
	return s == "" || !blank
}

// Key folds a text for comparison: Clean, then lower case. Keys are compared,
// never shown.
func Key(s string) string { return strings.ToLower(Clean(s)) }

// keyRoom is the length up to which a key needs no allocation when it is only
// looked at.
const keyRoom = 64

// appendKey appends Key(s).
func appendKey(b []byte, s string) []byte {
	s = Clean(s)
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return append(b[:len(b)-i], strings.ToLower(s)...)
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
