package metainfo

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const hughski = `<?xml version="1.0" encoding="UTF-8"?>
<!-- Copyright 2014 -->
<component type="firmware">
  <id>com.hughski.ColorHug2.firmware</id>
  <name>ColorHug2</name>
  <provides><firmware type="flashed">40338CEB-B966-4eae-adae-9c32edfcc484</firmware></provides>
  <requires><id compare="ge" version="1.0.1">org.freedesktop.fwupd</id><firmware>not-child</firmware></requires>
  <releases>
    <release version="2.0.7" timestamp="1482901200" urgency="high">
      <checksum target="content" filename="firmware.bin" type="sha1">7C211433F02071597741E6FF5A8EA34789ABBF43</checksum>
      <checksum target="device" type="sha256">8a</checksum>
      <artifacts><artifact type="binary"><filename>other.bin</filename><checksum type="sha256">ab</checksum></artifact></artifacts>
    </release>
    <release version="2.0.6" date="2016-01-01"/>
  </releases>
</component>`

func TestComponent(t *testing.T) {
	got, err := Parse([]byte(hughski))
	require.NoError(t, err)
	require.Equal(t, Component{
		ID: "com.hughski.ColorHug2.firmware", Name: "ColorHug2", Provides: []string{"40338ceb-b966-4eae-adae-9c32edfcc484"},
		Requirements: []string{"id org.freedesktop.fwupd ge 1.0.1", "firmware not-child"},
		Releases: []Release{
			{Version: "2.0.7", Timestamp: "1482901200", Urgency: "high", Checksums: []Checksum{
				{"content", "sha1", "firmware.bin", "7c211433f02071597741e6ff5a8ea34789abbf43"},
				{"device", "sha256", "", "8a"},
				{"content", "sha256", "other.bin", "ab"},
			}},
			{Version: "2.0.6", Timestamp: "2016-01-01"},
		},
	}, got)
}

func TestWhatIsNoMetainfo(t *testing.T) {
	for name, s := range map[string]string{
		"no text":        "",
		"other element":  "<a><id>x</id></a>",
		"no id":          "<component/>",
		"cut off":        hughski[:300],
		"entity":         `<!DOCTYPE c [<!ENTITY x "` + strings.Repeat("x", 100) + `">]><component><id>&x;</id></component>`,
		"nested deeply":  "<component><id>" + strings.Repeat("<a>", 20000) + "</id></component>",
		"more than that": "<component><id>x</id>" + strings.Repeat(" ", MaxSize) + "</component>",
	} {
		_, err := Parse([]byte(s))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestListsAreBounded(t *testing.T) {
	got, err := Parse([]byte("<component><id>x</id><releases>" + strings.Repeat("<release/>", 10000) + "</releases></component>"))
	require.NoError(t, err)
	require.Len(t, got.Releases, maxEntries)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(hughski))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err == nil && (c.ID == "" || len(c.Provides) > maxEntries) {
			t.Fatal(c)
		}
	})
}
