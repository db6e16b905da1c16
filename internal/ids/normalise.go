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

// Key folds a text for comparison: Clean, then lower case. Keys are compared,
// never shown.
func Key(s string) string { return strings.ToLower(Clean(s)) }
