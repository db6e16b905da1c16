package assay_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/spdmtest"
	"github.com/assay-hw/assay/manifest"
)

func gpu(t testing.TB) *spdmtest.Device {
	t.Helper()
	d, err := spdmtest.New(0x12, spdmtest.ECDSAP384, spdmtest.SHA384)
	require.NoError(t, err)
	return d
}

// signedBy adds the record of a device to the files of a machine.
func signedBy(t testing.TB, files map[string][]byte, name string, d *spdmtest.Device) map[string][]byte {
	t.Helper()
	nonce, err := hex.DecodeString(labNonce)
	require.NoError(t, err)
	said, err := d.Converse(spdmtest.Conversation{Nonce: nonce})
	require.NoError(t, err)
	out := maps.Clone(files)
	out["spdm/"+name+"/transcript.bin"], out["spdm/"+name+"/chain-0.bin"] = said, d.Chain()
	return out
}

const (
	resource = "redfish/bmc/redfish/v1/ComponentIntegrity/gpu0"
	action   = resource + "/Actions/ComponentIntegrity.SPDMGetSignedMeasurements/index.json"
	certs    = "/redfish/v1/Chassis/gpu0/Certificates/CertChain"
)

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// relayedBy adds what a management controller has of a device: a list that it
// made, and, when signed, the answer of the device.
func relayedBy(t testing.TB, files map[string][]byte, d *spdmtest.Device, signed bool) map[string][]byte {
	t.Helper()
	out := maps.Clone(files)
	var list []any
	for _, b := range d.Blocks {
		if b.Type&0x80 == 0 {
			list = append(list, map[string]any{
				"MeasurementIndex": b.Index, "Measurement": base64.StdEncoding.EncodeToString(b.Value), "MeasurementHashAlgorithm": "TPM_ALG_SHA_384",
			})
		}
	}
	out[resource+"/index.json"] = asJSON(t, map[string]any{
		"ComponentIntegrityType": "SPDM", "ComponentIntegrityTypeVersion": "1.2.0",
		"SPDM": map[string]any{
			"MeasurementSet": map[string]any{"Measurements": list},
			// What the controller thinks of the device is not believed.
			"IdentityAuthentication": map[string]any{"ResponderAuthentication": map[string]any{"VerificationStatus": "Success"}},
		},
	})
	if !signed {
		return out
	}
	nonce, err := hex.DecodeString(labNonce)
	require.NoError(t, err)
	said, err := d.Converse(spdmtest.Conversation{Nonce: nonce})
	require.NoError(t, err)
	out[action] = asJSON(t, map[string]any{
		"SignedMeasurements": base64.StdEncoding.EncodeToString(said), "Version": "1.2.0", "HashingAlgorithm": "TPM_ALG_SHA_384",
		"SigningAlgorithm": "TPM_ALG_ECDSA_ECC_NIST_P384", "Certificate": map[string]string{"@odata.id": certs},
	})
	var chain []byte
	for _, c := range d.Certs {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	out["redfish/bmc"+certs+"/index.json"] = asJSON(t, map[string]any{"CertificateString": string(chain), "CertificateType": "PEMchain"})
	return out
}

func findingAt(r *assay.Result, code finding.Code, subject string) (finding.Finding, bool) {
	for _, f := range r.Findings {
		if f.Code == code && f.Subject == subject {
			return f, true
		}
	}
	return finding.Finding{}, false
}

func required(r *assay.Result, what assay.Requirement) assay.Required {
	for _, q := range r.Required {
		if q.What == what {
			return q
		}
	}
	return assay.Required{}
}

func TestDeviceThatSignsWhatIsDeclaredPasses(t *testing.T) {
	d := gpu(t)
	base := machine(t, "baseline")
	good := signedBy(t, base, "gpu0", d)
	l := newLab(t, good)
	r := l.verify(t, good)
	require.Equal(t, assay.Pass, r.Verdict, "%v", r.Findings)
	require.Equal(t, []spdm.Coverage{{Device: "spdm:gpu0", Declared: 6, Matched: 6}}, r.Devices)

	// The same device, relayed by its management controller, proves as much.
	r = l.verify(t, relayedBy(t, base, d, true))
	require.Equal(t, assay.Pass, r.Verdict, "%v", r.Findings)
	require.Equal(t, 6, r.Devices[0].Matched)

	// The controller's word alone proves nothing, whatever it calls it.
	r = l.verify(t, relayedBy(t, base, d, false))
	require.Equal(t, assay.Inconclusive, r.Verdict)
	require.Contains(t, required(r, assay.RequireClasses).Reason, "not signed by its device: spdm:gpu0 measurement 1")
	require.Equal(t, 6, r.Devices[0].NotObservable)

	// Evidence that lacks the record does not pass either.
	require.Equal(t, assay.Inconclusive, l.verify(t, base).Verdict)
}

func TestMachineWithoutSuchLinesIsJudgedAsBefore(t *testing.T) {
	base := machine(t, "baseline")
	l := newLab(t, base)
	before := l.verify(t, base)
	require.Nil(t, before.Devices)
	after := l.verify(t, relayedBy(t, base, gpu(t), false))
	before.Evidence, after.Evidence = assay.EvidenceUse{}, assay.EvidenceUse{}
	require.Equal(t, before, after)
	// A record that nobody declared is listed, and proves nothing.
	r := l.verify(t, signedBy(t, base, "gpu0", gpu(t)))
	require.Equal(t, assay.Pass, r.Verdict)
	require.Contains(t, r.NotChecked, assay.NotChecked{What: "spdm:gpu0", Reason: "the manifest declares no measurements of this device"})
}

func TestCrimesOfDevices(t *testing.T) {
	base := machine(t, "baseline")
	d := gpu(t)
	good := signedBy(t, base, "gpu0", d)
	relayed := relayedBy(t, base, d, true)
	l := newLab(t, good)
	change := func(set func(*spdmtest.Device)) map[string][]byte {
		c := *d
		c.Blocks = append([]spdmtest.Block{}, d.Blocks...)
		set(&c)
		return signedBy(t, base, "gpu0", &c)
	}
	edit := func(files map[string][]byte, path string, set func([]byte) []byte) map[string][]byte {
		out := maps.Clone(files)
		out[path] = set(bytes.Clone(out[path]))
		return out
	}
	for name, tt := range map[string]struct {
		files   map[string][]byte
		code    finding.Code
		subject string
		verdict assay.Verdict
	}{
		"other firmware": {change(func(c *spdmtest.Device) { c.Blocks[1].Value = bytes.Repeat([]byte{1}, 48) }), finding.DeviceFirmwareDiffers, "spdm:gpu0/2", assay.Fail},
		"older firmware": {change(func(c *spdmtest.Device) { c.Blocks[4].Value = []byte{6, 0, 0, 0, 0, 0, 0, 0} }), finding.FirmwareTooOld, "spdm:gpu0/5", assay.Fail},
		"newer firmware by its number alone": {
			change(func(c *spdmtest.Device) { c.Blocks[4].Value = []byte{8, 0, 0, 0, 0, 0, 0, 0} }), "", "", assay.Pass,
		},
		"debugger": {change(func(c *spdmtest.Device) { c.Blocks[5].Value = append(make([]byte, 12), 2, 0, 0, 0) }), finding.ProtectionWeakened, "spdm:gpu0/254", assay.Fail},
		"measures something new": {change(func(c *spdmtest.Device) {
			c.Blocks = append(c.Blocks, spdmtest.Block{Index: 9, Type: 1, Value: make([]byte, 48)})
		}), finding.DeviceFirmwareDiffers, "spdm:gpu0/9", assay.Fail},
		"measures less":      {change(func(c *spdmtest.Device) { c.Blocks = c.Blocks[:5] }), "", "", assay.Inconclusive},
		"another maker's":    {signedBy(t, base, "gpu0", gpu(t)), finding.ComponentReplaced, "spdm:gpu0", assay.Fail},
		"edited record":      {edit(good, "spdm/gpu0/transcript.bin", func(b []byte) []byte { b[len(b)-150] ^= 1; return b }), finding.EvidenceSpliced, "spdm:gpu0", assay.Fail},
		"other chain":        {edit(good, "spdm/gpu0/chain-0.bin", func([]byte) []byte { return gpu(t).Chain() }), finding.EvidenceSpliced, "spdm:gpu0", assay.Fail},
		"torn record":        {edit(good, "spdm/gpu0/transcript.bin", func(b []byte) []byte { return b[:len(b)-1] }), finding.InputMalformed, "artifact:spdm/gpu0/transcript.bin", assay.Inconclusive},
		"relayed and edited": {edit(relayed, action, func(b []byte) []byte { return bytes.Replace(b, []byte("AAAA"), []byte("AAAB"), 1) }), finding.EvidenceSpliced, "spdm:gpu0", assay.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, tt.files)
			require.Equal(t, tt.verdict, r.Verdict, "%v %v", r.Findings, r.Required)
			if tt.code != "" {
				_, ok := findingAt(r, tt.code, tt.subject)
				require.True(t, ok, "%v", r.Findings)
			}
		})
	}
}

func TestReplayedRecord(t *testing.T) {
	d := gpu(t)
	good := signedBy(t, machine(t, "baseline"), "gpu0", d)
	l := newLab(t, good)
	said, err := d.Converse(spdmtest.Conversation{Nonce: bytes.Repeat([]byte{9}, 32)})
	require.NoError(t, err)
	good["spdm/gpu0/transcript.bin"] = said
	r := l.verify(t, good)
	f, ok := findingAt(r, finding.EvidenceReplayed, "spdm:gpu0")
	require.True(t, ok)
	require.Equal(t, labNonce, f.Want)
	require.Equal(t, assay.Fail, r.Verdict)
	require.Zero(t, r.Devices[0].Matched, "an old record proves nothing of now")
}

func TestOtherUnitOfTheSameMaker(t *testing.T) {
	d := gpu(t)
	good := signedBy(t, machine(t, "baseline"), "gpu0", d)
	l := newLab(t, good)
	other := gpu(t)
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) {
		c, err := spdm.ParseChain(other.Chain())
		require.NoError(t, err)
		m.SPDM[0].Keys = []string{c.DeviceKey()} // as if another one had been there
	}, good)
	r := l.verify(t, good)
	f, ok := findingAt(r, finding.InstanceReplaced, "spdm:gpu0")
	require.True(t, ok)
	require.Equal(t, finding.Medium, f.Severity)
	require.Equal(t, assay.Review, r.Verdict)
}

func TestFirmwareOfAManagementController(t *testing.T) {
	d := gpu(t)
	good := signedBy(t, machine(t, "baseline"), "bmc", d)
	l := newLab(t, good)
	d.Blocks[1].Value = make([]byte, 48)
	r := l.verify(t, signedBy(t, machine(t, "baseline"), "bmc", d))
	f, ok := findingAt(r, finding.BMCFirmwareDiffers, "spdm:bmc/2")
	require.True(t, ok)
	require.Equal(t, finding.Critical, f.Severity)
}

// A management controller that tells something else than the device signed, or
// than the manifest allows, raises a question and no more.
func TestHearsay(t *testing.T) {
	d := gpu(t)
	base := machine(t, "baseline")
	good := signedBy(t, base, "gpu0", d)
	l := newLab(t, good)
	lie := *d
	lie.Blocks = append([]spdmtest.Block{}, d.Blocks...)
	lie.Blocks[1].Value = bytes.Repeat([]byte{7}, 48)

	r := l.verify(t, relayedBy(t, good, &lie, false))
	f, ok := findingAt(r, finding.SourcesContradict, "spdm:gpu0/2")
	require.True(t, ok)
	require.Equal(t, finding.Medium, f.Severity)
	require.Equal(t, assay.Review, r.Verdict)
	require.Equal(t, 6, r.Devices[0].Matched)

	r = l.verify(t, relayedBy(t, base, &lie, false))
	f, ok = findingAt(r, finding.DeviceFirmwareDiffers, "spdm:gpu0/2")
	require.True(t, ok)
	require.Equal(t, finding.Weak, f.Confidence)
	require.Equal(t, []finding.Source{finding.BMCTold}, f.Sources)
	require.Equal(t, assay.Inconclusive, r.Verdict)
}

func TestOptionalAndOpenLines(t *testing.T) {
	d := gpu(t)
	base := machine(t, "baseline")
	good := signedBy(t, base, "gpu0", d)
	l := newLab(t, good)
	l.golden = l.vendor.sign(t, func(m *manifest.Manifest) {
		m.SPDM[0].Optional, m.SPDM[0].Open = true, true
		m.SPDM[0].Measurements = m.SPDM[0].Measurements[1:]
	}, good)
	require.Equal(t, assay.Pass, l.verify(t, base).Verdict)
	r := l.verify(t, good)
	f, ok := findingAt(r, finding.DeviceFirmwareDiffers, "spdm:gpu0/1")
	require.True(t, ok)
	require.Equal(t, finding.Medium, f.Severity)
	require.Equal(t, assay.Review, r.Verdict)
}

func TestDraftPinsTheDeviceAndTellsTheSigner(t *testing.T) {
	d := gpu(t)
	files := signedBy(t, machine(t, "baseline"), "gpu0", d)
	m, notes, err := assay.Draft([]*evidence.Bundle{bundle(t, files)}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	require.Len(t, m.SPDM, 1)
	require.NoError(t, m.SPDM[0].Check())
	c, err := spdm.ParseChain(d.Chain())
	require.NoError(t, err)
	require.Equal(t, []string{c.DeviceKey()}, m.SPDM[0].Keys)
	require.Contains(t, strings.Join(notes, "\n"), c.Anchor())
	m, _, err = assay.Draft([]*evidence.Bundle{bundle(t, files)}, assay.DraftOptions{Now: labTime, Scope: assay.Model})
	require.NoError(t, err)
	require.Empty(t, m.SPDM[0].Keys)
	files["spdm/gpu0/transcript.bin"] = files["spdm/gpu0/transcript.bin"][:200]
	m, notes, err = assay.Draft([]*evidence.Bundle{bundle(t, files)}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	require.Empty(t, m.SPDM)
	require.Contains(t, strings.Join(notes, "\n"), "spdm:gpu0 is not declared")
}
