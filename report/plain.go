// Package report writes an Attestation Result for people and for machines. It
// proves nothing and decides nothing: every writer shows the same result.
package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFieldRunes bounds one value in a report for people; evidence may hold a
// megabyte where a name belongs. Machine formats are not cut.
const maxFieldRunes = 2000

// Plain makes text from evidence safe for a terminal: control and format
// characters, which could move the cursor, hide text or turn its direction, are
// written as escapes.
func Plain(s string) string {
	clean := !strings.ContainsFunc(s, dangerous) && utf8.ValidString(s)
	if clean && len(s) <= maxFieldRunes {
		return s
	}
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > maxFieldRunes {
			b.WriteString("...")
			break
		}
		switch {
		case r == utf8.RuneError && !utf8.RuneStart(s[i]) || r == utf8.RuneError && s[i] != 0xef:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < 0x100 && dangerous(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case dangerous(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func dangerous(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

// columns is the width of text on a terminal, ANSI colours not counted.
func columns(s string) int {
	n, escape := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// fold breaks text into lines of at most width columns, at spaces where it
// can.
func fold(s string, width int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(s) {
		for columns(word) > width {
			room := width
			if line != "" {
				out = append(out, line)
				line = ""
			}
			cut := []rune(word)
			out = append(out, string(cut[:room]))
			word = string(cut[room:])
		}
		switch {
		case line == "":
			line = word
		case columns(line)+1+columns(word) <= width:
			line += " " + word
		default:
			out = append(out, line)
			line = word
		}
	}
	if line != "" || len(out) == 0 {
		out = append(out, line)
	}
	return out
}
