package ids

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is one populated memory device of a host.
type module struct{ host, maker, id, part string }

var (
	recordStart = regexp.MustCompile(`(?m)^Handle `)
	recordField = regexp.MustCompile(`(?m)^\t([A-Za-z ]+): (.*)$`)
)

func modules(t *testing.T) []module {
	t.Helper()
	root := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "dmidecode", "linuxhw")
	files, err := filepath.Glob(filepath.Join(root, "*.txt"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/hardware/dmidecode/linuxhw")
	}
	var out []module
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, record := range recordStart.Split(string(b), -1) {
			if !strings.Contains(record, "DMI type 17,") {
				continue
			}
			f := map[string]string{}
			for _, m := range recordField.FindAllStringSubmatch(record, -1) {
				f[m[1]] = m[2]
			}
			if strings.Contains(f["Size"], "No Module") {
				continue
			}
			out = append(out, module{filepath.Base(file), f["Manufacturer"], f["Module Manufacturer ID"], f["Part Number"]})
		}
	}
	return out
}

// Two spellings of one fact in one record: the manufacturer's name and its
// JEDEC code. They must agree, or the cross-check would cry wolf.
func TestManufacturerAgreesWithItsID(t *testing.T) {
	agree, differ, brand := 0, 0, 0
	for _, m := range modules(t) {
		if _, ok := ParseJEDEC(m.id); !ok || Maker(m.maker) == "" {
			continue
		}
		if _, ok := Brand(m.maker); ok {
			brand++
			continue
		}
		if SameMaker(m.maker, m.id) {
			agree++
		} else {
			differ++
			t.Logf("%s: %q against %q (%s)", m.host, m.maker, m.id, Maker(m.id))
		}
	}
	t.Logf("%d agree, %d differ, %d brands", agree, differ, brand)
	require.Greater(t, agree, 1000)
	require.LessOrEqual(t, float64(differ)/float64(agree+differ), 0.001)
}

// One part number on two hosts: the same maker, however each firmware spells
// it. Raw texts disagree in a third of all pairs.
func TestMakersOfOnePartNumberAgreeAcrossHosts(t *testing.T) {
	type seen struct{ host, raw, maker string }
	byPart := map[string][]seen{}
	for _, m := range modules(t) {
		if _, placeholder := Placeholder(m.part); placeholder || Maker(m.maker) == "" {
			continue
		}
		_, key := company(Maker(m.maker))
		s := seen{m.host, m.maker, key}
		if k := Key(m.part); !slices.Contains(byPart[k], s) {
			byPart[k] = append(byPart[k], s)
		}
	}
	pairs, raw, normal, labelled := 0, 0, 0, 0
	for part, list := range byPart {
		for i, a := range list {
			for _, b := range list[:i] {
				if a.host == b.host {
					continue
				}
				pairs++
				if a.raw != b.raw {
					raw++
				}
				if a.maker == b.maker {
					continue
				}
				_, brandA := Brand(a.raw)
				_, brandB := Brand(b.raw)
				if brandA || brandB {
					labelled++
					continue
				}
				normal++
				t.Logf("%s: %q against %q", part, a.raw, b.raw)
			}
		}
	}
	percent := func(n int) float64 { return 100 * float64(n) / float64(pairs) }
	t.Logf("%d pairs: raw %.2f %%, normalised %.2f %%, of which labels %.2f %%", pairs, percent(raw), percent(normal+labelled), percent(labelled))
	require.Greater(t, percent(raw), 10.0)
	require.LessOrEqual(t, percent(normal), 0.75)
}
