package cyclonedx

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

func sample() *manifest.Manifest {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return &manifest.Manifest{
		ID: "acme-x1", Version: 3, IssuedAt: at, NotAfter: at.AddDate(1, 0, 0), Environment: manifest.Environment{Manufacturer: "Acme", Model: "X1", Revision: "B"},
		Components: []bom.Reference{
			{ID: "dimm-1", Class: bom.Memory, Subject: "dimm:A1", Location: finding.Location{Designator: "A1"}, Identity: bom.Identity{Maker: "Samsung", MakerIDs: []string{"jedec:00ce"}, PartNumber: "M393", Serial: "01"}, Attributes: map[string]string{"sizeMiB": "16384"}, Alternates: []bom.Identity{{Maker: "Micron", PartNumber: "MTA18"}}, Quantity: 2},
			{ID: "nic", Class: bom.Network, Identity: bom.Identity{Serial: "3c:ec:ef:00:00:01", Brand: "Acme"}, Optional: true, Origin: map[string]string{"made": "TW"}},
			{ID: "bios", Class: bom.Firmware, Identity: bom.Identity{Maker: "AMI", Model: "BIOS", Firmware: "2.3"}},
		},
		Classes: map[bom.Class]bom.Closure{bom.Memory: bom.Closed, bom.Network: bom.Open},
	}
}

func encode(t require.TestingT, m *manifest.Manifest) string {
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	return string(raw)
}

// What was written and is read again is the same manifest.
func TestRoundTrip(t *testing.T) {
	out, err := Export(sample())
	require.NoError(t, err)
	require.True(t, IsDocument(out))
	back, lost, err := Import(out)
	require.NoError(t, err)
	require.Empty(t, lost)
	require.Equal(t, encode(t, sample()), encode(t, back))
	for _, s := range []string{`"specVersion": "1.7"`, `"cdx:device:macAddress"`, `"cdx:device:quantity"`, `"name": "Samsung"`, `"name": "M393"`} {
		require.Contains(t, string(out), s)
	}
}

func TestRoundTripOfAnyManifest(t *testing.T) {
	text := rapid.StringMatching(`[a-zA-Z0-9 .:/"<>&-]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		m := sample()
		for i := range m.Components {
			c := &m.Components[i]
			c.Identity = bom.Identity{Maker: text.Draw(t, "maker"), Model: text.Draw(t, "model"), Serial: text.Draw(t, "serial"), Revision: text.Draw(t, "revision"), Firmware: text.Draw(t, "firmware")}
			c.Location = finding.Location{Slot: text.Draw(t, "slot"), Path: text.Draw(t, "path")}
			c.Quantity = rapid.IntRange(0, 50).Draw(t, "quantity")
		}
		out, err := Export(m)
		require.NoError(t, err)
		back, lost, err := Import(out)
		require.NoError(t, err)
		require.Empty(t, lost)
		a, err := json.Marshal(m)
		require.NoError(t, err)
		b, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(a), string(b))
	})
}

// The document follows the published schema.
func TestSchema(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "hbom", "schema")
	c := jsonschema.NewCompiler()
	files, _ := filepath.Glob(filepath.Join(dir, "*.schema.json"))
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/hardware/hbom/schema")
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		require.NoError(t, err)
		require.NoError(t, c.AddResource("http://cyclonedx.org/schema/"+filepath.Base(f), doc))
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.7.schema.json")
	if err != nil {
		t.Skip("needs all schemas that bom-1.7.schema.json refers to")
	}
	out, err := Export(sample())
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(out)))
	require.NoError(t, err)
	require.NoError(t, s.Validate(v))
}

// A bill of materials of a card that others wrote.
func TestForeignDocument(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "hbom", "cyclonedx-bom-examples", "pcie-sata-adapter-bom.json"))
	if err != nil {
		t.Skip("needs ../shared/corpus/hardware/hbom/cyclonedx-bom-examples")
	}
	m, lost, err := Import(raw)
	require.NoError(t, err)
	require.Equal(t, manifest.Environment{Manufacturer: "uk.ac.cam.cl", Model: "pcie-sata-adaptor-board", Revision: "rev-1"}, m.Environment)
	require.Len(t, m.Components, 6)
	require.Equal(t, bom.Reference{
		ID: "molex-47155-4001", Class: bom.Electronic, Quantity: 8, Verifiability: "physical-only", Location: finding.Location{Path: "mainboard"},
		Identity: bom.Identity{Maker: "Molex", PartNumber: "47155-4001"}, Note: "I/O Connectors HIGH SPEED CONN 1.27 VERT DIP SOLDERTAIL",
	}, m.Components[1])
	require.Contains(t, lost, Loss{Where: "molex-47155-4001", What: "property cdx:device:gs1:gtin-12"})
	require.Contains(t, lost, Loss{Where: "molex-47155-4001", What: "external references"})
}

// The documents of the branch of 2.0: those that are called valid are read, and
// those that are called invalid are refused for what they are called.
func TestNextVersion(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "hbom", "cyclonedx-2.0-dev-hardware")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/hardware/hbom/cyclonedx-2.0-dev-hardware")
	}
	lines := map[string]int{}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, IsDocument(raw))
		m, _, err := Import(raw)
		if strings.HasPrefix(filepath.Base(name), "invalid-") {
			require.ErrorIs(t, err, ErrMalformed, name)
			continue
		}
		require.NoError(t, err, name)
		lines[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "valid-"), "-2.0.json")] = len(m.Components)
	}
	require.Equal(t, map[string]int{
		"hardware-certification-cdxa": 1, "hardware-certification-software": 0, "hardware-devicetype-custom": 1, "hardware-identity-evidence": 1, "hardware-material": 1, "origin-stage-lifecycle": 1,
	}, lines)
}

const next = `{"specFormat":"CycloneDX","specVersion":"2.0","version":4,"metadata":{"component":{"type":"device","name":"R1","version":"B","parties":[{"roles":[{"role":"manufacturer"}],"organization":{"name":"Example"}}]}},
 "components":[{"bom-ref":"flash","type":"device","name":"Serial flash","parties":[{"roles":[{"role":"manufacturer"}],"organization":{"name":"Winbond"}}],
  "identifiers":[{"identities":[{"scheme":"mpn","value":"W25Q256JV"},{"scheme":"gtin","value":"1"}]}],"classification":{"category":"semiconductor","subcategory":"flash","codes":[{"standard":"HS","value":"8542"}]},
  "quantity":{"value":2},"boardLocation":{"designators":["U7","U8"],"layer":"top"},"origins":[{"stage":"manufactured","distribution":[{"isoCode":"TW","percentage":100}]},{"stage":"mined","distribution":[{"isoCode":"AU"}]}]}]}`

func TestNextVersionHasPlacesAndOrigins(t *testing.T) {
	m, lost, err := Import([]byte(next))
	require.NoError(t, err)
	require.Equal(t, manifest.Environment{Manufacturer: "Example", Model: "R1", Revision: "B"}, m.Environment)
	want := bom.Reference{
		ID: "flash", Class: bom.Electronic, Verifiability: "physical-only", Location: finding.Location{Designator: "U7"}, Note: "semiconductor flash",
		Identity: bom.Identity{Maker: "Winbond", PartNumber: "W25Q256JV", Model: "Serial flash"}, Origin: map[string]string{"made": "TW"},
	}
	second := want
	second.ID, second.Location.Designator = "flash-2", "U8"
	require.Equal(t, []bom.Reference{want, second}, m.Components)
	require.Equal(t, []Loss{
		{Where: "document", What: "that it is of a draft of CycloneDX 2.0, which may change"}, {Where: "flash", What: "board layer and subsystem top"}, {Where: "flash", What: "code HS 8542"}, {Where: "flash", What: "gtin 1"}, {Where: "flash", What: `origin "mined" in 1 countries`},
	}, lost)
}

func TestDocumentsThatAreRefused(t *testing.T) {
	deep := strings.Repeat(`{"type":"device","name":"x","components":[`, 50) + strings.Repeat(`]}`, 50)
	for name, b := range map[string]string{
		"no JSON": `{"bomFormat":"CycloneDX"`, "another format": `{"bomFormat":"SPDX","specVersion":"1.7"}`, "too deep": `{"bomFormat":"CycloneDX","specVersion":"1.7","components":[` + deep + `]}`,
		"the next version, too deep": `{"specFormat":"CycloneDX","specVersion":"2.0","components":[` + deep + `]}`, "a later version": strings.Replace(next, `"2.0"`, `"2.1"`, 1),
		"a part without a name": strings.Replace(next, `"Serial flash"`, `""`, 1), "no value": strings.Replace(next, `{"value":2}`, `{"unit":"pcs"}`, 1), "no place": strings.Replace(next, `["U7","U8"]`, `[]`, 1),
		"own property broken": `{"bomFormat":"CycloneDX","specVersion":"1.7","metadata":{"properties":[{"name":"assay:manifest","value":"{"}]}}`,
		"entities":            `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><bom xmlns="http://cyclonedx.org/schema/bom/1.6"><components><component type="device"><name>&a;</name></component></components></bom>`,
	} {
		_, _, err := Import([]byte(b))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	_, _, err := Import(make([]byte, MaxBytes+1))
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzImport(f *testing.F) {
	out, err := Export(sample())
	require.NoError(f, err)
	f.Add(out)
	f.Add([]byte(next))
	f.Add([]byte(`<bom xmlns="http://cyclonedx.org/schema/bom/1.6"><components><component type="device"><name>x</name></component></components></bom>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, _, err := Import(b); err == nil {
			_, _ = Export(m)
		}
		IsDocument(b)
	})
}
