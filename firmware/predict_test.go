package firmware

import (
	"testing"

	"github.com/stretchr/testify/require"
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
	p := Predict(Read(captured(t, "baseline"))[0])
	require.Equal(t, []string{"", "82a0445201cb49945461acc6ed78426700fb7e92819862edc55ba3ad4559b135", separatorDigest}, expected(p, 0))
	require.Equal(t, []string{
		"115aa827dbccfb44d216ad9ecfda56bdea620b860a94bed5b7a27bba1c4d02d8", "dea7b80ab53a3daaa24d5cc46c64e1fa9ffd03739f90aadbd8c0867c4a5b4890",
		"e670e121fcebd473b8bc41bb801301fc1d9afa33904f06f7149b74f12c47a68f", "baf89a3ccace52750c5f0128351e0422a41597a1adfd50822aa363b9d124ea7c",
		"9f75b6823bff6af1024a4e2036719cdd548d3cbc2bf1de8e7ef4d0ed01f94bf9", separatorDigest,
	}, expected(p, 7))
	require.Equal(t, []Register{{7, "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068"}}, p.Registers)
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
	p := Predict(Parse("bios", ovmf(t, "OVMF_VARS_4M.ms.fd")))
	require.Equal(t, []Register{{7, "4387f18f9308e9a61cf5cd7685196e15b8c410ee1405d0f07fb3bee71530619d"}}, p.Registers)
	p = Predict(Parse("bios", ovmf(t, "OVMF_CODE_4M.secboot.fd")))
	require.Equal(t, []string{"", "a644ed209b188dd428ea3e15c0b1dbbc1ad05d406bb2857cac4a73b98d0b6b4f", separatorDigest}, expected(p, 0))
	require.Empty(t, p.Registers)
}

func TestPredictionSaysWhatItCannot(t *testing.T) {
	p := Predict(Parse("bios", []byte("no firmware")))
	require.Empty(t, p.Events)
	require.Empty(t, p.Registers)
	require.GreaterOrEqual(t, len(p.NotPredicted), 5)
}
