package spdm_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/spdmtest"
)

func observe(t testing.TB, files map[string][]byte) *spdm.Observation {
	t.Helper()
	b, err := evidence.FromFiles(files, "test", evidence.Limits{})
	require.NoError(t, err)
	return spdm.Observe(b)
}

func record(t testing.TB, d *spdmtest.Device, c spdmtest.Conversation) map[string][]byte {
	t.Helper()
	return map[string][]byte{"spdm/gpu0/transcript.bin": converse(t, d, c), "spdm/gpu0/chain-0.bin": d.Chain()}
}

var asked = spdm.Params{Nonce: nonce, NonceGiven: true, Now: now}

func TestWhereTheChainComesFrom(t *testing.T) {
	d := device(t, usual)
	said := converse(t, d, spdmtest.Conversation{Certificates: true})
	for name, files := range map[string]map[string][]byte{
		"in the conversation":       {"spdm/a/transcript.bin": said},
		"beside it":                 {"spdm/a/transcript.bin": said, "spdm/a/chain-0.bin": d.Chain()},
		"in PEM":                    {"spdm/a/transcript.bin": said, "spdm/a/chain-0.pem": pemChain(d.Certs)},
		"its root in a file of DER": {"spdm/a/transcript.bin": said, "spdm/a/root.der": d.Certs[0].Raw},
	} {
		o := observe(t, files)
		require.Len(t, o.Devices, 1, name)
		require.NotNil(t, o.Devices[0].Signed, "%s: %s", name, o.Devices[0].Problem)
	}
	rootless := *d
	rootless.LeaveRoot = true
	files := map[string][]byte{"spdm/a/transcript.bin": said, "spdm/a/chain-0.bin": rootless.Chain()}
	require.Contains(t, observe(t, files).Devices[0].Problem, "root hash")
	files["spdm/a/root.der"] = pemChain(d.Certs[:1])
	require.NotNil(t, observe(t, files).Devices[0].Signed)

	require.Contains(t, observe(t, map[string][]byte{"spdm/a/transcript.bin": converse(t, d, spdmtest.Conversation{})}).Devices[0].Problem, "no certificate chain")
	require.Contains(t, observe(t, map[string][]byte{"spdm/a/chain-0.bin": d.Chain()}).Devices[0].Problem, "no conversation")
}

// Only a difference in what is meant is a difference: a digest stands for the
// bit stream that it is over, and one value of several is enough.
func TestValues(t *testing.T) {
	d := device(t, usual)
	o := observe(t, record(t, d, spdmtest.Conversation{}))
	refs, _ := spdm.Draft(false, o)
	require.Len(t, refs, 1)
	firmware := hex.EncodeToString(d.Blocks[1].Value)
	tests := map[string]struct {
		set  spdm.Expected
		code finding.Code // "" matches, "-" is not checked
	}{
		"digest":                {spdm.Expected{Index: 2, Digests: map[string][]string{"sha384": {firmware}}}, ""},
		"one of several":        {spdm.Expected{Index: 2, Digests: map[string][]string{"sha384": {strings.Repeat("00", 48), firmware}}}, ""},
		"the bytes behind it":   {spdm.Expected{Index: 2, Raw: []string{hex.EncodeToString([]byte("firmware 7"))}}, ""},
		"other bytes behind it": {spdm.Expected{Index: 2, Raw: []string{hex.EncodeToString([]byte("firmware 8"))}}, finding.DeviceFirmwareDiffers},
		"digest of another hash": {
			spdm.Expected{Index: 2, Digests: map[string][]string{"sha256": {strings.Repeat("00", 32)}}}, "-",
		},
		"another type":    {spdm.Expected{Index: 2, Type: "immutable-rom", Any: true}, finding.DeviceFirmwareDiffers},
		"anything":        {spdm.Expected{Index: 2, Any: true}, ""},
		"text":            {spdm.Expected{Index: 4, Raw: []string{hex.EncodeToString([]byte("7.0.1"))}}, ""},
		"digest of text":  {spdm.Expected{Index: 4, Digests: map[string][]string{"sha256": {"164f3e60dde4f0eda5dd7e38384d16d94dc6da214950a48f44b5e8ea4b34ab1b"}}}, ""},
		"other text":      {spdm.Expected{Index: 4, Raw: []string{"00"}}, finding.DeviceFirmwareDiffers},
		"number":          {spdm.Expected{Index: 5, Minimum: number(7)}, ""},
		"number too low":  {spdm.Expected{Index: 5, Minimum: number(8)}, finding.FirmwareTooOld},
		"number of a ROM": {spdm.Expected{Index: 1, Minimum: number(1)}, "-"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := refs[0]
			r.Measurements = nil
			for _, e := range refs[0].Measurements {
				if e.Index == tt.set.Index {
					e = tt.set
				}
				r.Measurements = append(r.Measurements, e)
			}
			require.NoError(t, r.Check())
			c := spdm.Match([]spdm.Reference{r}, o, asked)
			switch tt.code {
			case "":
				require.Empty(t, c.Findings)
				require.Empty(t, c.Unproved)
				require.Equal(t, 6, c.Coverage[0].Matched)
			case "-":
				require.Empty(t, c.Findings)
				require.Len(t, c.Unproved, 1)
			default:
				require.Len(t, c.Findings, 1)
				require.Equal(t, tt.code, c.Findings[0].Code)
				require.Equal(t, 5, c.Coverage[0].Matched)
			}
		})
	}
}

func number(n int64) *int64 { return &n }

func TestDeviceModes(t *testing.T) {
	for name, tt := range map[string]struct {
		value    []byte
		severity finding.Severity
		found    bool
	}{
		"normal":             {[]byte{4, 0, 0, 0, 4, 0, 0, 0, 0x1f, 0, 0, 0, 0, 0, 0, 0}, 0, false},
		"debugger was there": {[]byte{4, 0, 0, 0, 4, 0, 0, 0, 0x1f, 0, 0, 0, 8, 0, 0, 0}, finding.Medium, true},
		"debugger is there":  {[]byte{4, 0, 0, 0, 4, 0, 0, 0, 0x1f, 0, 0, 0, 1, 0, 0, 0}, finding.High, true},
		"manufacturing":      {[]byte{4, 0, 0, 0, 1, 0, 0, 0, 0x1f, 0, 0, 0, 0, 0, 0, 0}, finding.Medium, true},
		"an unknown bit":     {[]byte{4, 0, 0, 0, 4, 0, 0, 0, 0x1f, 0, 0, 0, 0, 0, 0, 0x80}, finding.Medium, true},
	} {
		d := device(t, usual)
		d.Blocks[5].Value = tt.value
		o := observe(t, record(t, d, spdmtest.Conversation{}))
		c := spdm.Match(nil, o, asked)
		require.Equal(t, tt.found, len(c.Findings) == 1, "%s: %v", name, c.Findings)
		if tt.found {
			require.Equal(t, finding.ProtectionWeakened, c.Findings[0].Code)
			require.Equal(t, tt.severity, c.Findings[0].Severity)
		}
		// A state that the signer declared is no finding.
		refs, _ := spdm.Draft(false, o)
		require.Empty(t, spdm.Match(refs, o, asked).Findings)
	}
}

// A chain that ends below its root says nothing about who made the device: that
// is a gap, not another maker.
func TestChainWithoutItsRoot(t *testing.T) {
	d := device(t, usual)
	files := map[string][]byte{"spdm/gpu0/transcript.bin": converse(t, d, spdmtest.Conversation{}), "spdm/gpu0/chain-0.pem": pemChain(d.Certs[1:])}
	o := observe(t, files)
	require.NotNil(t, o.Devices[0].Signed)
	refs, _ := spdm.Draft(false, observe(t, record(t, d, spdmtest.Conversation{})))
	c := spdm.Match(refs, o, asked)
	require.Empty(t, c.Findings)
	require.Len(t, c.Unproved, 6)

	// The very key, pinned, is enough.
	own, err := spdm.ParseChain(d.Chain())
	require.NoError(t, err)
	refs[0].Roots, refs[0].Keys = nil, []string{own.DeviceKey()}
	require.Empty(t, spdm.Match(refs, o, asked).Unproved)
}

func TestUnitsThatDiffer(t *testing.T) {
	d := device(t, usual)
	one := observe(t, record(t, d, spdmtest.Conversation{}))
	d.Blocks[1].Value = make([]byte, 48)
	d.Blocks[4].Value = []byte{3, 0, 0, 0}
	two := observe(t, record(t, d, spdmtest.Conversation{}))
	refs, notes := spdm.Draft(false, one, two)
	require.Len(t, refs, 1)
	require.Len(t, refs[0].Measurements[1].Digests["sha384"], 2)
	require.Equal(t, int64(3), *refs[0].Measurements[4].Minimum)
	require.Contains(t, strings.Join(notes, "\n"), "measurement 2 (mutable-firmware) differs between the units")
	for _, o := range []*spdm.Observation{one, two} {
		c := spdm.Match(refs, o, asked)
		require.Empty(t, c.Findings)
		require.Empty(t, c.Unproved)
	}
}

// Two records of one device must both fit.
func TestOneBadRecordOfTwo(t *testing.T) {
	d := device(t, usual)
	files := record(t, d, spdmtest.Conversation{})
	refs, _ := spdm.Draft(false, observe(t, files))
	d.Blocks[1].Value = make([]byte, 48)
	dir := "redfish/bmc/redfish/v1/ComponentIntegrity/gpu0/Actions/ComponentIntegrity.SPDMGetSignedMeasurements/index.json"
	files[dir] = answer(t, converse(t, d, spdmtest.Conversation{}))
	files["redfish/bmc/redfish/v1/C/index.json"] = certificate(t, pemChain(d.Certs))
	c := spdm.Match(refs, observe(t, files), asked)
	require.Len(t, c.Findings, 1)
	require.Equal(t, finding.DeviceFirmwareDiffers, c.Findings[0].Code)
	require.Equal(t, 5, c.Coverage[0].Matched)
}

func answer(t testing.TB, said []byte) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"SignedMeasurements": base64.StdEncoding.EncodeToString(said), "Certificate": map[string]string{"@odata.id": "/redfish/v1/C"},
	})
	require.NoError(t, err)
	return b
}

func certificate(t testing.TB, chain []byte) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]string{"CertificateString": string(chain)})
	require.NoError(t, err)
	return b
}

func FuzzComponentIntegrity(f *testing.F) {
	d := device(f, usual)
	list := `{"ComponentIntegrityType":"SPDM","SPDM":{"MeasurementSet":{"Measurements":[{"MeasurementIndex":1,"Measurement":"AAAA"}]}}}`
	f.Add([]byte(list), answer(f, converse(f, d, spdmtest.Conversation{})), certificate(f, pemChain(d.Certs)))
	f.Add([]byte(`{}`), []byte(`{"SignedMeasurements":"AA="}`), []byte(`{"CertificateString":""}`))
	refs, _ := spdm.Draft(true, observe(f, record(f, d, spdmtest.Conversation{})))
	dir := "redfish/h/redfish/v1/ComponentIntegrity/gpu0"
	f.Fuzz(func(t *testing.T, list, signed, cert []byte) {
		o := observe(t, map[string][]byte{
			dir + "/index.json": list, dir + "/Actions/ComponentIntegrity.SPDMGetSignedMeasurements/index.json": signed, "redfish/h/redfish/v1/C/index.json": cert,
		})
		c := spdm.Match(refs, o, asked)
		require.Len(t, c.Coverage, 1)
		for _, x := range o.Devices {
			require.True(t, x.Signed != nil || x.Problem != "" || strings.HasSuffix(x.Artifact, "gpu0/index.json"))
		}
	})
}

func TestMoreSourcesThanAnyServerHas(t *testing.T) {
	files := map[string][]byte{}
	for i := range 300 {
		files[fmt.Sprintf("spdm/gpu%d/transcript.bin", i)] = []byte{1}
	}
	o := observe(t, files)
	require.Len(t, o.Devices, 257)
	require.Contains(t, o.Devices[256].Problem, "nothing was read from spdm/")
	require.NotEmpty(t, spdm.Match(nil, o, asked).NotChecked)
}

// One good card must not answer for two.
func TestOneDeviceUnderTwoNames(t *testing.T) {
	d := device(t, usual)
	files := record(t, d, spdmtest.Conversation{})
	refs, _ := spdm.Draft(false, observe(t, files))
	second := refs[0]
	second.ID, second.Device = "gpu1", "pci:gpu1"
	files["spdm/gpu1/transcript.bin"], files["spdm/gpu1/chain-0.bin"] = converse(t, d, spdmtest.Conversation{}), d.Chain()
	o := observe(t, files)
	c := spdm.Match([]spdm.Reference{refs[0], second}, o, asked)
	require.Len(t, c.Findings, 1)
	require.Equal(t, finding.WrongCount, c.Findings[0].Code)
	require.Equal(t, "spdm:gpu1", c.Findings[0].Subject)

	refs, notes := spdm.Draft(false, o)
	require.Len(t, refs, 1)
	require.Contains(t, strings.Join(notes, "\n"), "spdm:gpu1 is not declared: it is the same device as spdm:gpu0")
}
