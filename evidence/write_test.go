package evidence_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

func head() evidence.Index {
	return evidence.Index{
		Collector: evidence.Collector{Name: "assay", Version: "1"}, CollectedAt: time.Date(2026, 1, 15, 12, 0, 0, 123, time.UTC), Nonce: "00ff",
		Machine: evidence.Machine{Manufacturer: "A \u00fc <&> \"", Serial: "S"}, Mode: evidence.Mode{Root: true},
	}
}

func reopened(t require.TestingT, w *evidence.Writer) *evidence.Bundle {
	var z bytes.Buffer
	require.NoError(t, w.WriteZip(&z))
	b, err := evidence.OpenZip(z.Bytes(), "written", evidence.Limits{})
	require.NoError(t, err)
	return b
}

// Whatever a collector adds, the written bundle opens, keeps its own index, and
// has the digest that the TPM was asked to sign.
func TestWhatIsWrittenIsWhatWasSealed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := evidence.NewWriter(head(), evidence.Limits{})
		name := rapid.StringMatching(`[a-zA-Z0-9:_ .-]{1,12}(/[a-zA-Z0-9:_ü-]{1,8}){0,3}`)
		for range rapid.IntRange(1, 12).Draw(t, "artefacts") {
			p := name.Draw(t, "path")
			if rapid.Bool().Draw(t, "read") {
				_ = w.Add(p, rapid.SliceOf(rapid.Byte()).Draw(t, "data"), rapid.String().Draw(t, "reason")) // a refusal leaves nothing behind
			} else {
				_ = w.Note(p, evidence.Denied, rapid.String().Draw(t, "reason"))
			}
		}
		require.NoError(t, w.Add("proc/cmdline", []byte("quiet"), ""))
		d, err := w.Digest()
		require.NoError(t, err)
		require.NoError(t, w.Add("tpm/quote-sha256.attest", []byte("later"), ""))
		require.NoError(t, w.Note("tpm/time.attest", evidence.Failed, "later"))
		b := reopened(t, w)
		require.Empty(t, b.Check())
		got := b.Digest()
		require.Equal(t, d, got, "the quote comes after the digest and must not change it")
		require.Len(t, b.Artifacts(), len(w.Artifacts()))
		require.Equal(t, "2026-01-15T12:00:00Z", b.Index().CollectedAt.Format(time.RFC3339Nano))
	})
}

func TestEqualBundlesAreEqualFiles(t *testing.T) {
	write := func(order ...string) []byte {
		w := evidence.NewWriter(head(), evidence.Limits{})
		for _, p := range order {
			require.NoError(t, w.Add(p, []byte(p), ""))
		}
		var z bytes.Buffer
		require.NoError(t, w.WriteZip(&z))
		return z.Bytes()
	}
	require.Equal(t, write("a", "b", "c/d"), write("c/d", "b", "a"))
}

// An erased flash chip compresses so well that the file would look like a bomb.
func TestErasedFlashIsNoBomb(t *testing.T) {
	w := evidence.NewWriter(head(), evidence.Limits{})
	require.NoError(t, w.Add("firmware/bios.rom", bytes.Repeat([]byte{0xff}, 16<<20), ""))
	b := reopened(t, w)
	require.Empty(t, b.Check())
	require.EqualValues(t, 16<<20, b.Artifacts()[0].Size)
}

func TestWhatTheFormatCannotHoldIsRefusedAtOnce(t *testing.T) {
	w := evidence.NewWriter(head(), evidence.Limits{ArtifactBytes: 100, BundleBytes: 10_000, Entries: 20})
	require.NoError(t, w.Add("a", make([]byte, 100), ""))
	require.ErrorContains(t, w.Add("b", make([]byte, 101), ""), "one artefact")
	for _, p := range []string{"../x", "/x", "x\\y", "x\ny", "evidence.json", "A", ""} {
		require.Error(t, w.Add(p, nil, ""), p)
	}
	require.Error(t, w.Note("c", evidence.Collected, ""))
	require.NoError(t, w.Note("A", evidence.Failed, "the name repeats another"))
	require.Empty(t, reopened(t, w).Check())
	for i := range 40 {
		if err := w.Note(fmt.Sprintf("n/%d", i), evidence.Absent, ""); err != nil {
			require.ErrorContains(t, err, "entries")
			require.Empty(t, reopened(t, w).Check(), "what was accepted still opens")
			return
		}
	}
	require.Fail(t, "the number of entries has no bound")
}

func TestAnArtefactMayBeReadAgainBeforeItIsSealed(t *testing.T) {
	w := evidence.NewWriter(head(), evidence.Limits{})
	require.NoError(t, w.Add("tpm/pcrs.json", []byte("old"), ""))
	require.NoError(t, w.Add("tpm/pcrs.json", []byte("new"), ""))
	b := reopened(t, w)
	require.Equal(t, "new", b.Text("tpm/pcrs.json"))
	require.Empty(t, b.Check())
}

func TestASavedBundleIsWholeAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.evidence.zip")
	w := evidence.NewWriter(head(), evidence.Limits{})
	require.NoError(t, w.Add("proc/cmdline", []byte("quiet"), ""))
	require.NoError(t, w.Save(path))
	b, err := evidence.Open(path, evidence.Limits{})
	require.NoError(t, err)
	require.Empty(t, b.Check())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file is left")
	require.Error(t, w.Save(filepath.Join(t.TempDir(), "missing", "x.zip")))
}

func TestWithoutASealThereIsNoIndex(t *testing.T) {
	w := evidence.NewWriter(head(), evidence.Limits{})
	require.NoError(t, w.Add("proc/cmdline", []byte("quiet"), ""))
	w.Unsealed()
	b := reopened(t, w)
	require.False(t, b.Sealed())
	d, err := w.Digest()
	require.NoError(t, err)
	got := b.Digest()
	require.Equal(t, d, got)
}

// A device that answers differently when it is asked again.
func TestAChangeBetweenPassesIsReported(t *testing.T) {
	config := func(vendor, status byte) []byte {
		c := make([]byte, 256)
		c[0], c[6] = vendor, status
		return c
	}
	w := evidence.NewWriter(head(), evidence.Limits{})
	const pci = "sys/bus/pci/devices/0000:00:0"
	require.NoError(t, w.Add(pci+"1.0/config", config(1, 0), ""))
	require.NoError(t, w.Add("pass2/"+pci+"1.0/config", config(1, 0x20), ""))
	require.NoError(t, w.Add(pci+"2.0/config", config(1, 0), ""))
	require.NoError(t, w.Add("pass2/"+pci+"2.0/config", config(2, 0), ""))
	require.NoError(t, w.Add("sys/bus/usb/devices/1-1/idVendor", []byte("1"), ""))
	require.NoError(t, w.Note("pass2/sys/bus/usb/devices/1-1/idVendor", evidence.Absent, "gone"))
	require.NoError(t, w.Add("pass2/sys/bus/usb/devices/1-2/idVendor", []byte("2"), ""))
	var got []string
	for _, f := range reopened(t, w).Check() {
		require.Equal(t, finding.EvidenceChanged, f.Code)
		got = append(got, f.Subject+" "+f.Want[:6]+" "+f.Got[:6])
	}
	require.Equal(t, []string{
		"evidence:" + pci + "2.0/config sha256 sha256",
		"evidence:sys/bus/usb/devices/1-1/idVendor sha256 absent", "evidence:sys/bus/usb/devices/1-2/idVendor absent sha256",
	}, got, "status registers move, ids do not")
}

// A scan run as root with -o /dev/null must not replace the device.
func TestSaveNeverReplacesWhatIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	done := make(chan int64, 1)
	go func() {
		f, err := os.Open(pipe)
		if err != nil {
			done <- 0
			return
		}
		defer f.Close()
		n, _ := io.Copy(io.Discard, f)
		done <- n
	}()
	w := evidence.NewWriter(head(), evidence.Limits{})
	require.NoError(t, w.Add("proc/cmdline", []byte("quiet"), ""))
	require.NoError(t, w.Save(pipe))
	require.NotZero(t, <-done)
	info, err := os.Lstat(pipe)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeNamedPipe)
}
