package pciconf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const listing = `00:1d.0 USB controller: Example
	Subsystem: Example
00: 86 80 34 3a 05 00 90 02 00 00 03 0c 00 00 80 00
10: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
30: 01
0001:02:00.1 Bridge: no dump
`

func TestParseLspci(t *testing.T) {
	dumps, problems := ParseLspci([]byte(listing))
	require.Len(t, dumps, 1)
	require.Equal(t, "0000:00:1d.0", dumps[0].Address)
	require.Len(t, dumps[0].Config, 0x31)
	require.EqualValues(t, 0x86, dumps[0].Config[0])
	require.EqualValues(t, 1, dumps[0].Config[0x30])
	require.Contains(t, whats(problems), "line 0x30 where 0x20 was expected", "missing lines are reported")
}

// Every dump of the collection is read. Only the two that were collected for
// being broken have problems.
func TestPublicDumps(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "lspci")
	if _, err := os.Stat(root); err != nil {
		t.Skip("needs ../shared/corpus/hardware/lspci")
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "*"))
	require.NoError(t, err)
	functions, broken := 0, map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		dumps, problems := ParseLspci(text)
		require.Empty(t, problems, file)
		for _, d := range dumps {
			c, err := Parse(d.Config)
			require.NoError(t, err, "%s %s", file, d.Address)
			functions++
			if len(c.Problems) > 0 {
				broken[filepath.Base(file)] = true
				t.Logf("%s %s: %v", filepath.Base(file), d.Address, c.Problems)
			}
			for _, x := range c.Capabilities {
				require.NotZero(t, x.ID, "%s %s", file, d.Address)
			}
		}
	}
	require.Greater(t, functions, 100)
	require.Equal(t, map[string]bool{"broken-ecaps": true}, broken)
}

func FuzzParseLspci(f *testing.F) {
	f.Add([]byte(listing))
	f.Add([]byte("00:00.0 x\nfff: 01 02 03\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dumps, _ := ParseLspci(b)
		for _, d := range dumps {
			require.LessOrEqual(t, len(d.Config), 4096)
		}
	})
}
