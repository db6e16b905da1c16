package firmware

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

// captured opens one of the recorded boots that lie beside the repository.
func captured(t testing.TB, name string) *evidence.Bundle {
	t.Helper()
	p := filepath.Join("..", "..", "shared", "evidence", name+".evidence.zip")
	if _, err := os.Stat(p); err != nil {
		t.Skip("needs ../shared/evidence/" + name + ".evidence.zip")
	}
	b, err := evidence.Open(p, evidence.DefaultLimits())
	require.NoError(t, err)
	return b
}

func TestRecordedBoots(t *testing.T) {
	const (
		patched = "firmware:bios/48DB5E17-707C-472D-91CD-1613E7EF51B0/9E21FD93-9C72-4C15-8C4B-E77F1DB2D792/" +
			"7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1/B95E9FDA-26DE-48D2-8807-1F9107AC5E3A"
		secMain = "firmware:bios/763BED0D-DE9F-48F5-81F1-3E90E1B1A015/DF1CCEF6-F301-4A63-9661-FC6030DCC880"
	)
	refs := DraftReferences(nil, Read(captured(t, "baseline")))
	require.Len(t, refs, 1)
	tests := map[string]map[string]finding.Code{
		"baseline":         {},
		"baseline-reboot":  {},
		"boot-order":       {},
		"different-kernel": {},
		"other-tpm":        {},
		"missing-dimm":     {},
		"fw-patched-dxe":   {patched: finding.CodeRegionDiffers},
		"fw-patched-sec":   {secMain: finding.CodeRegionDiffers},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			c := Match(refs, Read(captured(t, name)), nil)
			require.Equal(t, want, told(c.Findings))
			require.Empty(t, c.NotChecked)
		})
	}
	t.Run("secure-boot-on", func(t *testing.T) {
		c := Match(refs, Read(captured(t, "secure-boot-on")), nil)
		require.Empty(t, c.Findings)
		require.Equal(t, []NotChecked{{"firmware:bios", "not in the evidence"}}, c.NotChecked)
	})
}

// Flipping one byte anywhere outside the variables of a real image is seen.
func TestAnyByteOfARealImageCounts(t *testing.T) {
	m := Read(captured(t, "baseline"))[0]
	refs := DraftReferences(nil, []*Image{m})
	stable := stableOffsets(m)
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(m.data)
		at := rapid.SampledFrom(stable).Draw(t, "offset")
		b[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		require.True(t, foreign(compare(refs, b)), "byte 0x%x", at)
	})
}

// 64 bytes hidden in padding and free space leave every PCR as it was.
func TestImageWithHiddenUnmeasuredBytes(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "corpus", "firmware", "uefi")
	hidden := filepath.Join(dir, "assay-OVMF_CODE_4M-hidden-unmeasured.fd.xz")
	if _, err := os.Stat(hidden); err != nil {
		t.Skip("needs ../shared/corpus/firmware/uefi/assay-OVMF_CODE_4M-hidden-unmeasured.fd.xz")
	}
	// The flash of the recorded machine is this image behind its variables.
	b := corpusFile(t, hidden)
	whole := Read(captured(t, "baseline"))[0]
	clean := whole.data[len(whole.data)-len(b):]
	c := compare(draft(clean), b)
	require.Len(t, c.Findings, 2)
	for _, f := range c.Findings {
		require.Equal(t, finding.ForeignBytes, f.Code, f.Subject)
	}
}

// Two other programs agree on the modules of these images and their digests;
// the lists came with the images (fiano, UEFIExtract and chipsec).
func TestModulesOfOVMF(t *testing.T) {
	for _, name := range []string{"debian-OVMF_CODE_4M", "debian-OVMF_CODE_4M.secboot"} {
		t.Run(name, func(t *testing.T) {
			want := moduleList(t, name+".fd.modules.tsv")
			m := Parse("bios", ovmf(t, strings.TrimPrefix(name, "debian-")+".fd"))
			requirePartition(t, m)
			require.Empty(t, m.Inside())
			got := map[string]int{}
			for _, l := range everything(m.Open()) {
				if l.file != nil {
					got[l.SHA256+" "+l.Name]++
				}
			}
			require.NotEmpty(t, want)
			for _, f := range want {
				require.NotZero(t, got[f.sha256+" "+f.name], "%s %s", f.path, f.name)
				got[f.sha256+" "+f.name]--
			}
		})
	}
}

type listed struct{ path, sha256, name string }

// moduleList reads the files of a golden module list, pads left out.
func moduleList(t *testing.T, name string) []listed {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "corpus", "firmware", "uefi", name))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/uefi/" + name)
	}
	var out []listed
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		f := strings.Split(line, "\t")
		if f[0] != "FILE" || strings.HasSuffix(f[3], "PAD") {
			continue
		}
		l := listed{path: f[1] + "/" + f[2], sha256: f[5]}
		if len(f) > 6 {
			l.name = f[6]
		}
		if l.name == "" {
			l.name = ffs.NameOf(ffs.GUID(f[2]))
		}
		out = append(out, l)
	}
	return out
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

// Two other programs count 111 files in this build.
func TestModulesOfAnotherBuild(t *testing.T) {
	m := Parse("bios", recorded(t, "uefi", "fiano-OVMF.rom.xz"))
	requirePartition(t, m)
	n := 0
	for _, l := range everything(m.Open()) {
		if l.file != nil {
			n++
		}
	}
	require.Equal(t, 111, n)
}
