package platformcert

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest"
)

func TestEveryFormIsReadAgain(t *testing.T) {
	ek := endorsementKey(t, "TPM Maker", 0x77)
	subject := endorsementKey(t, "Device", 5)
	for name, key := range signers(t) {
		by := newAuthority(t, "Maker Inc.", nil, nil, key)
		for _, opt := range []Options{
			{Profile: "1.1", EK: ek, Specs: []uint8{1, 3, 22, 0, 0, 0, 1}},
			{Profile: "2.1", EK: ek, Specs: []uint8{1, 3, 22, 0, 0, 0, 1}},
			{Profile: "2.1", Form: PublicKeyForm, EK: ek, Key: subject.Key, Specs: []uint8{1, 3, 22, 0, 0, 0, 1}},
		} {
			c := make1(t, sample(), by, opt)
			require.Equal(t, opt.Profile, c.Profile, name)
			require.Equal(t, Base, c.Kind)
			require.Len(t, c.Configuration.Components, 11)
			bound(t, c, ek)
			verified(t, c, trust(by))
			if opt.Profile == "2.1" {
				for _, n := range c.Lint() { // the manifest names no maker of the port and the drive
					require.Regexp(t, "component [78]: has no manufacturer", n.String(), "%s %s", name, opt.Form)
				}
			}
			for _, file := range [][]byte{c.Raw, c.PEM(), bytes.ReplaceAll(c.PEM(), []byte("\n"), []byte("\r\n")), append([]byte("Attribute Certificate:\n  Data:\n"), c.PEM()...), append(c.PEM(), "text"...), bytes.ReplaceAll(c.PEM(), []byte("ATTRIBUTE CERTIFICATE"), []byte("CERTIFICATE"))} {
				again, err := Parse(file)
				require.NoError(t, err)
				raw, err := again.Encode()
				require.NoError(t, err)
				require.Equal(t, c.Raw, raw)
				require.True(t, IsCertificate(file))
			}
		}
	}
}

func TestOpenSSLReadsWhatIsWritten(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl")
	}
	by, ek := newAuthority(t, "Maker Inc.", nil, nil), endorsementKey(t, "TPM Maker", 0x77)
	for _, opt := range []Options{{Profile: "1.1", EK: ek}, {Profile: "2.1", EK: ek}, {Profile: "2.1", Form: PublicKeyForm, EK: ek, Key: ek.Key}} {
		c := make1(t, sample(), by, opt)
		cmd := exec.Command(path, "asn1parse", "-inform", "DER")
		cmd.Stdin = bytes.NewReader(c.Raw)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), map[bool]string{true: "2.23.133.5.1.7", false: "Subject Directory"}[opt.Form == ""])
		if opt.Form == PublicKeyForm {
			cmd = exec.Command(path, "x509", "-inform", "DER", "-noout", "-text")
			cmd.Stdin = bytes.NewReader(c.Raw)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		}
	}
}

func TestWhatAssayDoesNotSign(t *testing.T) {
	by, other, ek := newAuthority(t, "Maker Inc.", nil, nil), newAuthority(t, "Other", nil, nil), endorsementKey(t, "TPM Maker", 1)
	c, _, err := FromManifest(sample(), Options{EK: ek})
	require.NoError(t, err)
	require.ErrorContains(t, c.Sign(by.key, other.cert), "not that of the issuer")
	require.NoError(t, c.Sign(by.key, by.cert))
	require.ErrorContains(t, c.Sign(by.key, by.cert), "signed already")
	for _, bad := range []Options{{}, {Profile: "3", EK: ek}, {Form: PublicKeyForm}, {Form: PublicKeyForm, Profile: "1.1", Key: ek.Key}, {EK: ek, Specs: []uint8{1}}, {EK: ek, Rebase: true}} {
		_, _, err := FromManifest(sample(), bad)
		require.Error(t, err)
	}
	m := sample()
	m.Environment.Manufacturer = manifest.AnyPlatform
	_, _, err = FromManifest(m, Options{EK: ek})
	require.Error(t, err)
}

// roundTrip writes a manifest, reads it and makes a manifest again.
func roundTrip(t require.TestingT, m *manifest.Manifest, by *authority, opt Options) (*manifest.Manifest, []Loss, []Loss) {
	c, lost, err := FromManifest(m, opt)
	require.NoError(t, err)
	require.NoError(t, c.Sign(by.key, by.cert))
	b, fs := Draft(c, nil)
	require.Empty(t, fs)
	again, more, err := Convert(b, ConvertOptions{})
	require.NoError(t, err)
	return again, lost, more
}

func TestRoundTripOfTheSample(t *testing.T) {
	by, ek := newAuthority(t, "Maker Inc.", nil, nil), endorsementKey(t, "TPM Maker", 0x77)
	m := sample()
	again, lost, more := roundTrip(t, m, by, Options{EK: ek, Specs: []uint8{1, 3, 22, 0, 0, 0, 1}})
	for _, l := range lost {
		require.Regexp(t, `^components\[\d+\]\.id$`, l.Where, l.String())
	}
	require.Len(t, lost, len(m.Components))
	require.Len(t, more, 1, "what is not read back: the platform specification")
	require.Len(t, again.Endorsements, 1)
	require.Equal(t, "77", again.Endorsements[0].Number)
	again.Endorsements = nil
	require.JSONEq(t, plain(t, m), plain(t, again))
}

// plain is a manifest without names of lines, alike lines in one.
func plain(t require.TestingT, m *manifest.Manifest) string {
	c := *m
	c.Components = nil
	at := map[string]int{}
	for _, r := range m.Components {
		r.ID = ""
		q := max(1, r.Quantity)
		r.Quantity = 0
		if len(r.Attributes) == 0 {
			r.Attributes = nil
		}
		if len(r.Alternates) == 0 {
			r.Alternates = nil
		}
		if len(r.Identity.MakerIDs) == 0 {
			r.Identity.MakerIDs = nil
		}
		b, err := json.Marshal(r)
		require.NoError(t, err)
		if i, ok := at[string(b)]; ok {
			c.Components[i].Quantity += q
			continue
		}
		at[string(b)] = len(c.Components)
		r.Quantity = q
		c.Components = append(c.Components, r)
	}
	slices.SortFunc(c.Components, func(a, b bom.Reference) int {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return bytes.Compare(x, y)
	})
	b, err := json.Marshal(c)
	require.NoError(t, err)
	return string(b)
}

var lossPath = regexp.MustCompile(`^components\[(\d+)\](?:\.(.*))?$`)

// without is a manifest with everything that a list of losses names taken out.
func without(t require.TestingT, m *manifest.Manifest, lost []Loss) *manifest.Manifest {
	b, err := json.Marshal(m)
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(b, &doc))
	gone := map[int]bool{}
	for _, l := range lost {
		p := lossPath.FindStringSubmatch(l.Where)
		if p == nil {
			if k, ok := strings.CutPrefix(l.Where, "classes."); ok {
				doc["classes"].(map[string]any)[k] = string(bom.Open)
				continue
			}
			delete(doc, strings.Split(strings.Split(l.Where, ".")[0], "[")[0])
			continue
		}
		i, _ := strconv.Atoi(p[1])
		if p[2] == "" {
			gone[i] = true
			continue
		}
		at := doc["components"].([]any)[i].(map[string]any)
		keys := strings.SplitN(p[2], ".", 2)
		switch {
		case p[2] == "attributes.classCode":
			at["attributes"].(map[string]any)["classCode"] = "000000"
		case len(keys) == 2:
			if sub, ok := at[keys[0]].(map[string]any); ok {
				delete(sub, keys[1])
			}
		default:
			delete(at, strings.Split(keys[0], "[")[0])
		}
	}
	var kept []any
	for i, c := range doc["components"].([]any) {
		if !gone[i] {
			kept = append(kept, c)
		}
	}
	doc["components"] = kept
	b, err = json.Marshal(doc)
	require.NoError(t, err)
	var out manifest.Manifest
	require.NoError(t, json.Unmarshal(b, &out))
	return &out
}

// Whatever a manifest declares either comes back or was said to be lost.
func TestNothingIsLostUnsaid(t *testing.T) {
	by, ek := newAuthority(t, "Maker Inc.", nil, nil), endorsementKey(t, "TPM Maker", 0x77)
	rapid.Check(t, func(t *rapid.T) {
		m := randomManifest(t)
		again, lost, _ := roundTrip(t, m, by, Options{Profile: "2.1", EK: ek})
		want := without(t, m, lost)
		want.Endorsements, again.Endorsements = nil, nil
		fill(want)
		require.JSONEq(t, plain(t, want), plain(t, again), "%v", lost)
	})
}

// fill sets what Convert knows by itself: that a TPM and a management controller
// protect, what a PCI function's vendor is called, what firmware is.
func fill(m *manifest.Manifest) {
	if m.Classes == nil {
		m.Classes = map[bom.Class]bom.Closure{}
	}
	for i := range m.Components {
		r := &m.Components[i]
		r.Security = r.Class == bom.TPM || r.Class == bom.BMC
		if r.Class == bom.Firmware && r.Identity.Model == "" {
			r.Identity.Model = "BIOS"
		}
		if r.Class == bom.PCI {
			v := r.Identity.Model[:4]
			n, _ := strconv.ParseUint(v, 16, 16)
			r.Identity.Maker, r.Identity.MakerIDs = makerOf(uint16(n)), []string{"pci:" + v}
			if r.Attributes == nil {
				r.Attributes = map[string]string{"classCode": "000000"}
			}
		}
		if r.Class == bom.Network && r.Identity.Model == "" && r.Identity.Maker == "" {
			r.Identity.Model = portModel
		}
	}
}

func randomManifest(t *rapid.T) *manifest.Manifest {
	word := rapid.StringMatching(`[A-Za-z][A-Za-z0-9()-]{3,12}`)
	maybe := func(name string) string {
		if rapid.Bool().Draw(t, name+"?") {
			return word.Draw(t, name)
		}
		return ""
	}
	m := &manifest.Manifest{
		ID: word.Draw(t, "id"), Version: rapid.Int64Range(1, 9).Draw(t, "version"), IssuedAt: issued, NotAfter: ends,
		Environment: manifest.Environment{Manufacturer: word.Draw(t, "maker"), Model: word.Draw(t, "model"), Revision: maybe("revision"), Serial: maybe("serial")},
		Classes:     map[bom.Class]bom.Closure{}, Components: []bom.Reference{},
	}
	classes := []bom.Class{bom.System, bom.Baseboard, bom.Chassis, bom.Processor, bom.Memory, bom.PCI, bom.USB, bom.Storage, bom.Network, bom.I2C, bom.FRU, bom.IPMB, bom.Flash, bom.Power, bom.TPM, bom.BMC, bom.Firmware, bom.ACPI}
	for _, c := range classes {
		m.Classes[c] = rapid.SampledFrom([]bom.Closure{bom.Closed, bom.Open, bom.NoneThere}).Draw(t, "closure")
	}
	for range rapid.IntRange(0, 8).Draw(t, "n") {
		r := bom.Reference{Class: rapid.SampledFrom(classes).Draw(t, "class"), Quantity: rapid.IntRange(0, 3).Draw(t, "quantity")}
		model := maybe("model")
		if rapid.Bool().Draw(t, "number") {
			model = "A0F1" // reads as a number
		}
		r.Identity = bom.Identity{Maker: maybe("maker"), Model: model, PartNumber: maybe("part"), Serial: maybe("serial"), Revision: maybe("revision"), Firmware: maybe("firmware"), Brand: maybe("brand"), Name: maybe("name")}
		switch r.Class {
		case bom.PCI:
			if rapid.Bool().Draw(t, "ids") {
				r.Identity.Model = "8086:10d3 15d9:1533"
				r.Identity.Revision = rapid.SampledFrom([]string{"", "03", "a0"}).Draw(t, "rev")
				r.Attributes = map[string]string{"classCode": rapid.SampledFrom([]string{"020000", "010802", "x"}).Draw(t, "code")}
				r.Identity.Serial = rapid.SampledFrom([]string{"", "dsn:0025900000000001", "VPD1"}).Draw(t, "dsn")
			}
		case bom.Network:
			r.Identity = bom.Identity{Model: portModel, Serial: "00:25:90:00:00:" + rapid.StringMatching(`[0-9a-f]{2}`).Draw(t, "mac")}
		}
		r.Note, r.Subject, r.Optional = maybe("note"), maybe("subject"), rapid.Bool().Draw(t, "optional")
		r.Level = rapid.SampledFrom([]string{"", "instance", "family"}).Draw(t, "level")
		r.Location.Designator, r.Location.Slot = maybe("designator"), maybe("slot")
		if rapid.Bool().Draw(t, "attributes") && r.Attributes == nil {
			r.Attributes = map[string]string{"sizeMiB": "1024"}
		}
		if rapid.Bool().Draw(t, "alternate") {
			r.Alternates = []bom.Identity{{Model: "other"}}
		}
		r.ID = string(r.Class) + maybe("id")
		m.Components = append(m.Components, r)
	}
	return m
}

func TestDeltaAndRebaseOfAManifest(t *testing.T) {
	by, ek := newAuthority(t, "Maker Inc.", nil, nil), endorsementKey(t, "TPM Maker", 0x77)
	for _, profile := range []string{"1.1", "2.1"} {
		for _, form := range []Form{AttributeForm, PublicKeyForm} {
			if profile == "1.1" && form == PublicKeyForm {
				continue
			}
			opt := Options{Profile: profile, Form: form, EK: ek, Key: ek.Key}
			base := make1(t, sample(), by, opt)
			m := sample()
			m.Version, m.IssuedAt = 4, issued.AddDate(0, 1, 0)
			m.Components[3] = dimm("2001")                               // one module changed for another
			m.Components[7].Identity.Firmware = "NEW"                    // one drive modified
			m.Components = append(m.Components[:6], m.Components[7:]...) // the port is gone
			opt.Previous = []*Certificate{base}
			delta := make1(t, m, by, opt)
			require.Equal(t, DeltaKind, delta.Kind)
			status := map[Status]int{}
			for _, c := range delta.Configuration.Components {
				status[c.Status]++
			}
			require.Equal(t, map[Status]int{Added: 1, Removed: 2, Modified: 1}, status)
			tr := trust(by)
			a, fs := Assemble(verified(t, base, tr), []*Verified{verified(t, delta, tr)}, nil)
			require.Empty(t, fs)
			got, _, err := Convert(a.Build(), ConvertOptions{})
			require.NoError(t, err)
			got.Endorsements = nil
			if profile == "2.1" {
				require.JSONEq(t, plain(t, m), plain(t, got))
			}
			opt.Previous, opt.Rebase = append(opt.Previous, delta), true
			m.IssuedAt = issued.AddDate(0, 2, 0)
			rebase := make1(t, m, by, opt)
			require.Equal(t, Rebase, rebase.Kind)
			a, fs = Assemble(verified(t, base, tr), []*Verified{verified(t, delta, tr), verified(t, rebase, tr)}, nil)
			require.Empty(t, fs)
			require.Len(t, a.Build().Components, 10)
		}
	}
}

func TestLossesOfOneOne(t *testing.T) {
	ek := endorsementKey(t, "TPM Maker", 0x77)
	_, lost, err := FromManifest(sample(), Options{Profile: "1.1", EK: ek})
	require.NoError(t, err)
	var paths []string
	for _, l := range lost {
		if !strings.HasSuffix(l.Where, ".id") {
			paths = append(paths, l.Where)
		}
	}
	require.Equal(t, []string{"components[3].location.designator", "components[4].location.designator", "platformSpecification"}, paths)
}
