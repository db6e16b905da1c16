package evidence_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

func TestSettledIsAboutWhatTwoScansHaveAlike(t *testing.T) {
	files := map[string][]byte{
		"proc/cpuinfo": []byte("processor\t: 0\nmodel name\t: X\ncpu MHz\t\t: 800.000\n"), "proc/meminfo": []byte("MemTotal: 16 kB\nMemFree: 3 kB\n"),
		"proc/uptime": []byte("300.00 280.00\n"), "proc/modules": []byte("loop 40960 2 - Live\n"), "proc/cmdline": []byte("quiet\n"),
		"tpm/quote-sha256.attest": []byte("a"), "tpm/quote-sha256.sig": []byte("b"), "tpm/time.attest": []byte("c"), "tpm/pcrs.json": []byte("{}"),
	}
	settled := func(change string, text string) [32]byte {
		f := maps.Clone(files)
		if f[change] = []byte(text); text == "" {
			delete(f, change)
		}
		b, err := evidence.FromFiles(f, "test", evidence.Limits{})
		require.NoError(t, err)
		return b.Settled()
	}
	first := settled("proc/uptime", "300.00 280.00\n")
	for name, text := range map[string]string{
		"proc/cpuinfo": "processor\t: 0\nmodel name\t: X\ncpu MHz\t\t: 3000.000\n", "proc/meminfo": "MemTotal: 16 kB\nMemFree: 1 kB\n", "proc/uptime": "301.00 1.00\n",
		"proc/modules": "loop 40960 1 - Live\n", "tpm/quote-sha256.attest": "x", "tpm/quote-sha256.sig": "y", "tpm/time.attest": "z",
	} {
		require.Equal(t, first, settled(name, text), name)
		require.NotEqual(t, first, settled(name, ""), "%s is not there", name)
	}
	for name, text := range map[string]string{
		"proc/cpuinfo": "processor\t: 0\nmodel name\t: Y\ncpu MHz\t\t: 800.000\n", "proc/meminfo": "MemTotal: 15 kB\nMemFree: 3 kB\n", "proc/cmdline": "quiet debug\n", "tpm/pcrs.json": "{} ",
		"tpm/quote/more": "x", "tpm/quote-sha384.sig": "x",
	} {
		require.NotEqual(t, first, settled(name, text), name)
	}
}
