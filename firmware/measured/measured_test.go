package measured

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/tcglog"
)

// expected returns the digests of a register's predicted events.
func expected(p *Prediction, pcr int) []string {
	var out []string
	for _, e := range p.Events {
		if e.PCR == pcr {
			out = append(out, e.SHA256)
		}
	}
	return out
}

const separatorDigest = "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119"

// The digests are those of event logs of machines that booted these images.
func TestPredictionOfRecordedBoots(t *testing.T) {
	p := Predict(firmware.Read(captured(t, "baseline"))[0])
	require.Equal(t, []string{"", "82a0445201cb49945461acc6ed78426700fb7e92819862edc55ba3ad4559b135", separatorDigest}, expected(p, 0))
	require.Equal(t, []string{
		"115aa827dbccfb44d216ad9ecfda56bdea620b860a94bed5b7a27bba1c4d02d8", "dea7b80ab53a3daaa24d5cc46c64e1fa9ffd03739f90aadbd8c0867c4a5b4890",
		"e670e121fcebd473b8bc41bb801301fc1d9afa33904f06f7149b74f12c47a68f", "baf89a3ccace52750c5f0128351e0422a41597a1adfd50822aa363b9d124ea7c",
		"9f75b6823bff6af1024a4e2036719cdd548d3cbc2bf1de8e7ef4d0ed01f94bf9", separatorDigest,
	}, expected(p, 7))
	require.Equal(t, map[int]string{7: "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068"}, registers(p))
	require.Equal(t, []string{"763BED0D-DE9F-48F5-81F1-3E90E1B1A015"}, unmeasured(p, "763BED0D"))
}

func unmeasured(p *Prediction, prefix string) []string {
	var out []string
	for _, u := range p.Unmeasured {
		if len(u) >= len(prefix) && u[:len(prefix)] == prefix {
			out = append(out, u)
		}
	}
	return out
}

func TestPredictionOfOVMF(t *testing.T) {
	p := Predict(firmware.Parse("bios", ovmf(t, "OVMF_VARS_4M.ms.fd")))
	require.Equal(t, map[int]string{7: "4387f18f9308e9a61cf5cd7685196e15b8c410ee1405d0f07fb3bee71530619d"}, registers(p))
	p = Predict(firmware.Parse("bios", ovmf(t, "OVMF_CODE_4M.secboot.fd")))
	require.Equal(t, []string{"", "a644ed209b188dd428ea3e15c0b1dbbc1ad05d406bb2857cac4a73b98d0b6b4f", separatorDigest}, expected(p, 0))
	require.Empty(t, p.Registers)
}

func TestPredictionSaysWhatItCannot(t *testing.T) {
	p := Predict(firmware.Parse("bios", []byte("no firmware")))
	require.Empty(t, p.Events)
	require.Empty(t, p.Registers)
	require.GreaterOrEqual(t, len(p.NotPredicted), 5)
}

func registers(p *Prediction) map[int]string {
	out := map[int]string{}
	for _, r := range p.Registers {
		out[r.PCR] = r.SHA256
	}
	return out
}

// logged are the events of a recorded boot over firmware and its settings, in
// each bank that the TPM had.
func logged(t *testing.T, name string) []Measured {
	t.Helper()
	raw, err := captured(t, name).Read("sys/kernel/security/tpm0/binary_bios_measurements")
	require.NoError(t, err)
	l, err := tcglog.Parse(raw, tcglog.DefaultLimits())
	require.NoError(t, err)
	var out []Measured
	for _, e := range l.Events {
		m := Measured{Number: e.Number, PCR: int(e.PCR), Type: e.Type.String(), Digests: map[string]string{}}
		for _, d := range e.Digests {
			m.Digests[d.Alg.String()] = hex.EncodeToString(d.Value)
		}
		if e.Type == tcglog.EFIFirmwareBlob {
			m.Base, m.Length = binary.LittleEndian.Uint64(e.Data), binary.LittleEndian.Uint64(e.Data[8:])
		}
		out = append(out, m)
	}
	return out
}

// Every event that can be predicted is in the logs of real boots, in every
// bank, and the rest is named as learned.
func TestLogsOfRecordedBootsAreExplained(t *testing.T) {
	const container = "48DB5E17-707C-472D-91CD-1613E7EF51B0/9E21FD93-9C72-4C15-8C4B-E77F1DB2D792/"
	for _, name := range []string{"baseline", "baseline-reboot", "boot-order", "missing-dimm", "fw-patched-dxe", "fw-patched-sec"} {
		for _, bank := range []string{"sha1", "sha256", "sha384"} {
			t.Run(name+"/"+bank, func(t *testing.T) {
				m := firmware.Read(captured(t, name))[0]
				events := logged(t, name)
				require.NotEmpty(t, events[1].Digests[bank])
				for i := range events {
					events[i].Digests = map[string]string{bank: events[i].Digests[bank]}
				}
				h := Predict(m).Hold(m, events)
				require.Empty(t, h.Missing)
				got := map[string]Basis{}
				for _, e := range h.Events {
					got[e.Type+" "+e.Path] = e.Basis
				}
				require.Equal(t, map[string]Basis{
					"EV_S_CRTM_VERSION ": Learned,
					blobEvent + " " + container + "6938079B-B503-4E3D-9D24-B28337A25806": Learned,
					blobEvent + " " + container + "7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1": Exact,
					variableEvent + " SecureBoot":                                        Exact, variableEvent + " PK": Exact, variableEvent + " KEK": Exact,
					variableEvent + " db": Exact, variableEvent + " dbx": Exact, separatorEvent + " 00000000": Exact,
					driverEvent + " ": Unexplained,
				}, got)
			})
		}
	}
}

// An image does not explain the log of a machine that ran other code.
func TestImageDoesNotExplainAnotherBoot(t *testing.T) {
	m := firmware.Read(captured(t, "baseline"))[0]
	h := Predict(m).Hold(m, logged(t, "fw-patched-dxe"))
	require.Len(t, h.Missing, 1)
	require.Equal(t, blobEvent, h.Missing[0].Type)
	n := 0
	for _, e := range h.Events {
		if e.Type == blobEvent && e.Basis == Unexplained {
			n++
		}
	}
	require.Equal(t, 1, n)
}

func TestDriversOfCards(t *testing.T) {
	rom := recorded(t, "pe-oprom", "debian-ipxe-efi-e1000e.rom")
	got, err := PredictROM("nic", rom)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "5fdd42d1b9ce2aa779d6732619d7dd6b306c4f2f480546c66497e712cc44cced", got[0].SHA256)
	require.Equal(t, int64(174536), got[0].Length)
	found := false
	for _, e := range logged(t, "baseline") {
		found = found || e.PCR == 2 && e.Type == driverEvent && e.Digests["sha384"] == got[0].Digests["sha384"]
	}
	require.True(t, found)
	_, err = PredictROM("nothing", []byte("no ROM"))
	require.Error(t, err)
}

const shared = "../../../shared"

// captured opens one of the recorded boots that lie beside the repository.
func captured(t testing.TB, name string) *evidence.Bundle {
	t.Helper()
	p := filepath.Join(shared, "evidence", name+".evidence.zip")
	if _, err := os.Stat(p); err != nil {
		t.Skip("needs ../shared/evidence/" + name + ".evidence.zip")
	}
	b, err := evidence.Open(p, evidence.DefaultLimits())
	require.NoError(t, err)
	return b
}

func recorded(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(shared, "corpus", "firmware", dir, name))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/" + dir + "/" + name)
	}
	return b
}

// ovmf is an image of Debian's package ovmf.
func ovmf(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/usr/share/OVMF", name))
	if err != nil {
		t.Skip("needs Debian's package ovmf")
	}
	return b
}

// What an Intel processor measures first has one value of the machine in it.
func TestIntelMeasuresBeforeTheResetVector(t *testing.T) {
	e := Predict(firmware.Parse("bios", recorded(t, "intel", "css-fake_intel_firmware.fd"))).Events[0]
	require.Equal(t, []any{0, contentsEvent, "", "PCR0_DATA"}, []any{e.PCR, e.Type, e.SHA256, e.Source})
	require.Positive(t, e.Length)
}

func FuzzExplain(f *testing.F) {
	f.Add([]byte("firmware"), "EV_EFI_PLATFORM_FIRMWARE_BLOB", uint64(0xfffff000), uint64(8), "00")
	f.Add([]byte("firmware"), "EV_EFI_BOOT_SERVICES_DRIVER", uint64(1)<<63, uint64(1)<<63, "")
	f.Fuzz(func(t *testing.T, image []byte, typ string, base, length uint64, sum string) {
		m := firmware.Parse("bios", image)
		events := []Measured{{Number: 1, Type: typ, Digests: map[string]string{"sha256": sum}, Base: base, Length: length}, {Number: 2, PCR: 2, Type: typ, Base: base, Length: length}}
		for _, a := range Explain(m, events) {
			require.NotEqual(t, Learned, a.Basis)
		}
		Predict(m).Hold(m, events)
		_, _ = PredictROM("x", image)
	})
}
