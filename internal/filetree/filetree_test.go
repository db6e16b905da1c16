package filetree

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A name is an attacker's: a line stays one line, and its fields stay apart.
func TestHostileNamesStayOneLine(t *testing.T) {
	require.Equal(t, `-0644 0:0 "/a\nb" 3`, Entry{Path: "a\nb", Mode: Regular | 0o644, Size: 3}.String())
	require.Equal(t, `l0777 0:0 "/x y" -> "\x1b[2J"`, Entry{Path: "x y", Mode: Link | 0o777, Target: "\x1b[2J"}.String())
	require.Equal(t, `c0600 1:2 /tty 5,1`, Entry{Path: "tty", Mode: CharDevice | 0o600, UID: 1, GID: 2, Major: 5, Minor: 1}.String())
}

func TestBudget(t *testing.T) {
	b := NewBudget(10)
	require.NoError(t, b.Take(10))
	require.ErrorIs(t, b.Take(1), ErrLimit)
	require.ErrorIs(t, b.Take(-1), ErrLimit)
	b.Entries = 1
	_, err := b.Name("", "a")
	require.NoError(t, err)
	_, err = b.Name("", "b")
	require.ErrorIs(t, err, ErrLimit)
}
