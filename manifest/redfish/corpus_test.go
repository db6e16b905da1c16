package redfish_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest/redfish"
)

func corpus(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "redfish")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs shared/corpus/hardware/redfish beside the checkout")
	}
	return dir
}

// counts are the parts of a class.
func counts(inv *bom.Inventory) map[bom.Class]int {
	out := map[bom.Class]int{}
	for _, p := range inv.Parts {
		out[p.Class]++
	}
	return out
}

// agreesWithItself: what is drafted of an inventory fits it.
func agreesWithItself(t *testing.T, inv *bom.Inventory) {
	t.Helper()
	refs, closures := bom.Draft(inv, true)
	for c := range inv.Classes {
		closures[c] = bom.Closed
	}
	require.Empty(t, bom.Match(refs, closures, inv).Findings)
}

// Every tree is read, or refused with a reason.
func TestPublicTrees(t *testing.T) {
	entries, err := os.ReadDir(corpus(t))
	require.NoError(t, err)
	for _, e := range entries {
		name := filepath.Join(corpus(t), e.Name())
		if strings.HasPrefix(e.Name(), "LICENSE") {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			var tree *redfish.Tree
			var err error
			if e.IsDir() {
				require.True(t, redfish.IsTree(os.DirFS(name)))
				tree, err = redfish.Read(e.Name(), os.DirFS(name))
			} else {
				data, readErr := os.ReadFile(name)
				require.NoError(t, readErr)
				tree, err = redfish.ReadFile(e.Name(), data)
			}
			require.NoError(t, err)
			systems := tree.Systems()
			if len(systems) > 1 {
				_, _, err := tree.Inventory("")
				var ambiguous *redfish.AmbiguousError
				require.True(t, errors.As(err, &ambiguous))
				require.Equal(t, systems, ambiguous.Systems)
			} else {
				systems = []string{""}
			}
			for _, s := range systems {
				inv, lost, err := tree.Inventory(s)
				if err != nil {
					t.Logf("%s %q refused: %v", e.Name(), s, err)
					continue
				}
				agreesWithItself(t, inv)
				t.Logf("%s %q: %v, %d lost", e.Name(), s, counts(inv), len(lost))
				if os.Getenv("ASSAY_LOST") != "" {
					for _, l := range lost {
						t.Log(l)
					}
				}
			}
		})
	}
}

// Each file by itself is read, or refused with its name.
func TestPublicResources(t *testing.T) {
	read, refused := 0, 0
	require.NoError(t, filepath.WalkDir(corpus(t), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".json" {
			return err
		}
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		tree, err := redfish.ReadFile(p, data)
		if err == nil {
			_, _, err = tree.Inventory("")
		}
		if err != nil {
			require.ErrorContains(t, err, p)
			refused++
			return nil
		}
		read++
		return nil
	}))
	t.Logf("%d files have parts, %d have none", read, refused)
	require.NotZero(t, read)
}
