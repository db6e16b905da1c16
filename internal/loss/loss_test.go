package loss

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestString(t *testing.T) {
	require.Equal(t, "line 1: has no place", Loss{Where: "line 1", What: "has no place"}.String())
	require.Equal(t, `line 1: "x\n": has no place`, Loss{"line 1", "x\n", "has no place"}.String())
	long := Loss{"line 1", strings.Repeat("ä", 1000), "is long"}.String()
	require.Less(t, len(long), 200)
	require.Contains(t, long, `ä…": is long`)
}
