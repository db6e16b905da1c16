package evidence

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The names in a directory are what the paths of collected artefacts say.
func TestDirIsWhatPathsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := map[string][]byte{}
		for range rapid.IntRange(0, 12).Draw(t, "files") {
			p := "d"
			for range rapid.IntRange(1, 3).Draw(t, "depth") {
				p += "/" + rapid.SampledFrom([]string{"a", "a-b", "a.b", "ab", "b"}).Draw(t, "name")
			}
			files[p] = nil
		}
		b, err := FromFiles(files, "test", Limits{})
		if err != nil {
			t.Skip("a file that is a directory too")
		}
		for _, dir := range []string{"d", "d/a", "d/a-b", "e"} {
			var want []string
			for p := range files {
				if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
					name, _, _ := strings.Cut(rest, "/")
					want = append(want, name)
				}
			}
			slices.Sort(want)
			require.Equal(t, slices.Compact(want), b.Dir(dir))
		}
	})
}
