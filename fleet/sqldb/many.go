package sqldb

import (
	"fmt"
	"slices"
	"strings"
)

// mostRows is how many rows one statement inserts.
const mostRows = 32

// many runs a statement for rows of equal width, several at a time: head, a list of
// rows in brackets, tail. The number of rows of a statement is a power of two, so
// that there are few statements for a database to prepare.
func (s *Session) many(head string, rows [][]any, tail string) error {
	for size := mostRows; len(rows) > 0; {
		for size > len(rows) {
			size /= 2
		}
		if _, err := s.exec(head+brackets(size, len(rows[0]))+tail, slices.Concat(rows[:size]...)...); err != nil {
			return err
		}
		rows = rows[size:]
	}
	return nil
}

// brackets writes parameters for rows: ($1, $2), ($3, $4).
func brackets(rows, width int) string {
	var b strings.Builder
	for i := range rows * width {
		switch {
		case i%width > 0:
			b.WriteString(", ")
		case i > 0:
			b.WriteString("), (")
		default:
			b.WriteString("(")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	b.WriteString(")")
	return b.String()
}
