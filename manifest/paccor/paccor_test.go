package paccor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest"
)

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", filepath.FromSlash(name)))
	if err != nil {
		t.Skip("needs ../shared/corpus/" + name)
	}
	return b
}

// Every list of the corpus is read or refused with a reason.
func TestListsOfTheCorpus(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "corpus", "platformcerts")
	if _, err := os.Stat(root); err != nil {
		t.Skip("needs ../shared/corpus/platformcerts")
	}
	lists, named := 0, 0
	require.NoError(t, filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".json" {
			return err
		}
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		if !IsList(b) {
			return nil
		}
		lists++
		if m, _, err := Import(b); err == nil {
			require.NotEmpty(t, m.Environment.Model, p)
			named++
		} else {
			require.ErrorContains(t, err, "does not name the platform", p)
		}
		return nil
	}))
	t.Log(lists, named)
	require.Positive(t, named)
}

// The three generations of the format.
func TestLists(t *testing.T) {
	for name, c := range map[string]struct {
		maker, model string
		parts        int
		class        bom.Class
		lost         string
	}{
		"hardware/tcg/hirs-sample_paccor_output.txt":                              {"innotek GmbH", "VirtualBox", 3, bom.Processor, "uname -r"},
		"hardware/tcg/hirs-sample_paccor_output_with_extra_component.txt":         {"innotek GmbH", "VirtualBox", 4, bom.FRU, "uname -r"},
		"platformcerts/paccor/deviceInfo.json":                                    {"Dell Inc.", "OptiPlex 7040", 4, bom.Network, "propertiesuri"},
		"platformcerts/paccor/sample_testgen1/localhost-componentlistv3adv.json":  {"Dell Inc.", "Latitude 5510", 5, bom.PCI, ""},
		"platformcerts/paccor/tutorials/base-bare-bones-componentlist-v1.json":    {"Sample Platform Manufacturer", "Sample Platform Model", 5, "", ""},
		"platformcerts/attribute_certificate/paccor/localhost-componentlist.json": {"", "", 0, "", ""},
	} {
		raw := recorded(t, name)
		require.True(t, IsList(raw), name)
		m, lost, err := Import(raw)
		require.NoError(t, err, name)
		if c.maker == "" {
			continue
		}
		require.Equal(t, c.maker, m.Environment.Manufacturer, name)
		require.Equal(t, c.model, m.Environment.Model, name)
		n, found := 0, c.class == ""
		for _, r := range m.Components {
			n += max(1, r.Quantity)
			found = found || r.Class == c.class
		}
		require.Equal(t, c.parts, n, name)
		require.True(t, found, "%s: %s", name, c.class)
		var all strings.Builder
		for _, l := range lost {
			all.WriteString(l.String() + "\n")
		}
		require.Contains(t, all.String(), c.lost, name)
	}
}

func TestListsThatAreRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"two keys for one thing": `{"PLATFORM":{"MODEL":"a","PLATFORMMODEL":"b","MANUFACTURER":"c"},"COMPONENTS":[]}`,
		"a class of three bytes": `{"PLATFORM":{"MODEL":"a","MANUFACTURER":"c"},"COMPONENTS":[{"COMPONENTCLASS":{"COMPONENTCLASSVALUE":"000102"}}]}`,
		"no platform's name":     `{"PLATFORM":{"MODEL":"a"},"COMPONENTS":[]}`,
		"a part that is a text":  `{"PLATFORM":{"MODEL":"a","MANUFACTURER":"c"},"COMPONENTS":["x"]}`,
		"no JSON":                `{`,
	} {
		_, _, err := Import([]byte(raw))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	require.False(t, IsList([]byte(`{"a":1}`)))
}

func FuzzImport(f *testing.F) {
	for _, s := range []string{
		`{"PLATFORM":{"PLATFORMMANUFACTURERSTR":"A","PLATFORMMODEL":"B"},"COMPONENTS":[{"COMPONENTCLASS":{"COMPONENTCLASSREGISTRY":"2.23.133.18.3.1","COMPONENTCLASSVALUE":"00030003"},"MANUFACTURER":"C","MODEL":"D","ADDRESSES":[{"ETHERNETMAC":"00:11:22:33:44:55"}]}],"PROPERTIES":[{"NAME":"a","VALUE":"b"}]}`,
		`{"PLATFORM":{"MANUFACTURER":"A","MODEL":"B"},"COMPONENTS":[[{"traitValue":{"componentClass":{"componentClassValue":{"base64":"AAEAAA=="}},"componentModel":"x"}},{"traitValue":"y"}]]}`,
		`{"PLATFORM":{"MANUFACTURER":"A","MODEL":"B"},"COMPONENTS":[{"componentIdentifierV11":{"traitValue":{"componentModel":{"string":"x"}}}}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _, err := Import(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		_, err = manifest.Encode(m)
		_ = err // a list without an id or dates is completed by whoever imports it
	})
}
