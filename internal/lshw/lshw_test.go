package lshw

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, n := range []string{"server.json", "server.xml", "server.txt"} {
		b, err := os.ReadFile("testdata/" + n)
		require.NoError(t, err)
		out[n] = b
	}
	return out
}

// The three forms of one machine are read alike, but for sizes of disks, which
// the text rounds.
func TestTheFormsAgree(t *testing.T) {
	all := fixtures(t)
	want, err := Parse(all["server.json"])
	require.NoError(t, err)
	for name, data := range all {
		require.True(t, Is(data), name)
		got, err := Parse(data)
		require.NoError(t, err, name)
		require.Len(t, got, len(want), name)
		for i := range got {
			w, g := want[i], got[i]
			require.Equal(t, []string{w.Product, w.Vendor, w.Serial, w.Slot, w.Bus}, []string{g.Product, g.Vendor, g.Serial, g.Slot, g.Bus}, name)
			require.Equal(t, w.Class, g.Class, "%s: %s", name, g.ID)
		}
	}
}

func TestHostileListings(t *testing.T) {
	deep := strings.Repeat(`{"id":"a","class":"bus","children":[`, 200) + strings.Repeat("]}", 200)
	for name, in := range map[string]string{
		"deep nesting":     deep,
		"deep XML":         `<list>` + strings.Repeat(`<node id="a" class="bus">`, 200) + strings.Repeat(`</node>`, 200) + `</list>`,
		"entities":         `<!DOCTYPE a [<!ENTITY b "cccc">]><list><node id="a" class="bus"/></list>`,
		"cut JSON":         `{"id":"a","class":"system","children":[{"id":"b"`,
		"cut XML":          `<list><node id="a" class="system">`,
		"nothing":          `[]`,
		"too many devices": `[` + strings.Repeat(`{"id":"a","class":"b"},`, maxNodes) + `{"id":"a","class":"b"}]`,
	} {
		_, err := Parse([]byte(in))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	long, err := Parse([]byte("host\n  *-core\n       serial: " + strings.Repeat("x", 1<<20) + "\n"))
	require.NoError(t, err)
	require.Less(t, len(long[1].Serial), maxLine)
}

func FuzzParse(f *testing.F) {
	for _, b := range fixtures(f) {
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		nodes, err := Parse(in)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		require.NotEmpty(t, nodes)
		for _, n := range nodes {
			require.LessOrEqual(t, n.Offset, len(in))
			require.LessOrEqual(t, n.Depth, maxDepth)
		}
	})
}
