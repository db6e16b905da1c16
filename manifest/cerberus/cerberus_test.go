package cerberus_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/cerberus"
)

func file(t testing.TB, name string) cerberus.File {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	require.True(t, cerberus.IsManifest(b), name)
	return cerberus.File{Name: name, Data: b}
}

// valid writes a draft and reads it again, as golden sign does.
func valid(t testing.TB, m *manifest.Manifest) {
	t.Helper()
	m.ID, m.Version, m.Environment.Manufacturer = "x", max(1, m.Version), "Example"
	if m.Environment.Model == "" {
		m.Environment.Model = "X" // a component's file names no platform
	}
	m.IssuedAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	_, err = manifest.ReadUntrusted(raw)
	require.NoError(t, err)
}

func TestPlatform(t *testing.T) {
	m, lost, err := cerberus.Import(file(t, "pfm.xml"), file(t, "spdm.xml"), file(t, "pcd.xml"))
	require.NoError(t, err)
	require.Equal(t, "R1-BMC", m.Environment.Model, "of the first file that names one")
	require.Equal(t, int64(26), m.Version)
	require.Equal(t, []string{"bmc", "1.00.0"}, []string{m.Firmware[0].Name, m.Firmware[0].Version})

	nic := m.SPDM[0]
	require.Equal(t, "spdm:NIC", nic.Device)
	require.Equal(t, []string{strings.Repeat("e", 64)}, nic.Roots)
	require.True(t, nic.Open, "measurement 3 is not in it")
	require.Len(t, nic.Measurements, 2)
	require.Len(t, nic.Measurements[0].Digests["sha384"], 2)
	require.Equal(t, []string{"76312e32", "0102"}, nic.Measurements[1].Raw)

	require.Len(t, m.Components, 3)
	require.Equal(t, "0x41", m.Components[0].Location.Path)
	require.Equal(t, "i2c-2/mux 0x66 channel 7/mux 0x45 channel 4/0x22", m.Components[1].Location.Path)
	beta := m.Components[2]
	require.Equal(t, bom.PCI, beta.Class)
	require.Equal(t, "000b:000a 000d:000c", beta.Identity.Model)
	require.Equal(t, 2, beta.Quantity)
	require.Contains(t, beta.Note, "EID 0x30")
	for _, r := range m.Components {
		require.Equal(t, "physical-only", r.Verifiability)
	}
	text := fmt.Sprint(lost)
	for _, told := range []string{
		"SHA256 " + strings.Repeat("a", 64) + " over 0x00000000-0x0004ffff, 0x00100000-0x00efffff", "0x00050000-0x000fffff may be written in operation",
		"Check GreaterThan", "Bitmask 00FF", "attestation_success_retry=86400000", "FlashMode Dual", "Policy Passive",
	} {
		require.Contains(t, text, told)
	}
	valid(t, m)
}

func TestHostileFiles(t *testing.T) {
	for name, in := range map[string]string{
		"entities":     `<!DOCTYPE a [<!ENTITY b "c">]><PCD sku="x"/>`,
		"deep nesting": `<PCD sku="x">` + strings.Repeat("<a>", 500) + strings.Repeat("</a>", 500) + `</PCD>`,
		"cut":          `<PCD sku="x"><RoT type="PA-RoT">`,
		"too many":     `<PCD sku="x"><Components>` + strings.Repeat(`<Component type="a" connection="Direct"/>`, 5000) + `</Components></PCD>`,
		"bad number":   `<PCD sku="x"><RoT type="a"><Interface type="I2C"><Address>0x4100</Address></Interface></RoT></PCD>`,
		"range":        `<Firmware version="1" platform="p"><SignedImage><Region><StartAddr>0x2</StartAddr><EndAddr>0x1</EndAddr></Region></SignedImage></Firmware>`,
		"another root": `<Rack/>`,
		"no type":      `<CFMComponent attestation_protocol="SPDM"/>`,
		"index":        `<CFMComponent type="a" attestation_protocol="SPDM"><Measurement measurement_id="0"/></CFMComponent>`,
	} {
		_, _, err := cerberus.Import(cerberus.File{Name: "in.xml", Data: []byte(in)})
		require.ErrorIs(t, err, cerberus.ErrMalformed, name)
		require.ErrorContains(t, err, "in.xml", name)
		require.ErrorContains(t, err, "offset", name)
	}
}

// Signed binaries are told by their header, and refused.
func TestBinaryForms(t *testing.T) {
	for magic, kind := range map[uint16]string{0x504d: "PFM, version 1", 0x706d: "PFM", 0xa592: "CFM", 0x1029: "PCD"} {
		b := make([]byte, 300)
		binary.LittleEndian.PutUint16(b, 300)
		binary.LittleEndian.PutUint16(b[2:], magic)
		binary.LittleEndian.PutUint32(b[4:], 7)
		binary.LittleEndian.PutUint16(b[8:], 256)
		require.True(t, cerberus.IsManifest(b))
		_, _, err := cerberus.Import(cerberus.File{Name: "x.bin", Data: b})
		require.ErrorContains(t, err, "a signed binary "+kind+" with id 7")
		require.False(t, cerberus.IsManifest(b[:299]), "its length is not what it says")
	}
}

func TestPublicManifests(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "cerberus")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs shared/corpus/hardware/cerberus beside the checkout")
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, n := range names {
		b, err := os.ReadFile(n)
		require.NoError(t, err)
		require.True(t, cerberus.IsManifest(b), n)
		m, lost, err := cerberus.Import(cerberus.File{Name: filepath.Base(n), Data: b})
		require.NoError(t, err, n)
		t.Logf("%s: %d components, %d firmware, %d SPDM, %d lost", filepath.Base(n), len(m.Components), len(m.Firmware), len(m.SPDM), len(lost))
		valid(t, m)
	}
}

func FuzzImport(f *testing.F) {
	for _, n := range []string{"pfm.xml", "spdm.xml", "pcd.xml"} {
		b := file(f, n).Data
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, _, err := cerberus.Import(cerberus.File{Name: "fuzz", Data: in})
		if err != nil {
			require.ErrorIs(t, err, cerberus.ErrMalformed)
			return
		}
		valid(t, m)
	})
}
