package assay_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/gpt"
	"github.com/assay-hw/assay/internal/swtpm"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/manifest"
)

const (
	stickPort = "sys/bus/usb/devices/9-1"
	stickDisk = "sys/class/block/sdx"
	eventLog  = "sys/kernel/security/tpm0/binary_bios_measurements"
)

// scannerMedium is the stick that the recorded machine was booted from, with
// the partition table that its reference names.
func scannerMedium(t *testing.T) (table gpt.Table, head []byte) {
	t.Helper()
	table = gpt.Table{Disk: gpt.GUID{1, 2, 3}, Sectors: 40960, Partitions: []gpt.Partition{{Type: gpt.ESP, ID: gpt.GUID{4}, First: 2048, Last: 20479}}}
	head, _, err := table.Encode()
	require.NoError(t, err)
	return table, head
}

// plugged adds the stick to a machine's files.
func plugged(t *testing.T, f map[string][]byte) {
	_, head := scannerMedium(t)
	host := "/sys/devices/pci0000:00/0000:00:05.0/0000:07:00.0/usb9/9-1"
	descriptors := []byte{
		18, 1, 0, 2, 0, 0, 0, 64, 0x81, 0x07, 0x67, 0x55, 0, 1, 1, 2, 3, 1,
		9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 0, 8, 6, 0x50, 0,
	}
	maps.Copy(f, map[string][]byte{
		stickPort + "/idVendor": []byte("0781\n"), stickPort + "/idProduct": []byte("5567\n"), stickPort + "/serial": []byte("STICK1\n"),
		stickPort + "/path": []byte(host + "\n"), stickPort + "/descriptors": descriptors,
		stickDisk + "/path": []byte(host + "/9-1:1.0/host9/target9:0:0/9:0:0:0/block/sdx\n"), stickDisk + "/gpt": head,
		stickDisk + "/device/model": []byte("Cruzer\n"), stickDisk + "/device/vendor": []byte("SanDisk\n"), stickDisk + "/size": []byte("40960\n"),
	})
}

// scannerBench is a machine with a real TPM, booted from a scanner stick.
type scannerBench struct {
	*bench
	image string
}

func (b *scannerBench) bundle(t *testing.T, nonce []byte, change ...func(map[string][]byte)) *evidence.Bundle {
	t.Helper()
	tree := fstest.MapFS{}
	files := with(b.files, func(f map[string][]byte) {
		plugged(t, f)
		for _, c := range change {
			c(f)
		}
	})
	for n, data := range files {
		tree[n] = &fstest.MapFile{Data: data}
	}
	w, err := collect.Scan(context.Background(), collect.Captured(tree), collect.Options{
		Collector: evidence.Collector{Name: "assay-scanner", Version: "test"}, Image: b.image, Now: time.Now(), Nonce: nonce, TPM: b.tpm.Address, BootDisk: "sdx",
	})
	require.NoError(t, err)
	return opened(t, w)
}

// otherInitrd changes what was measured of the initial file system, as a boot
// from a stick with a changed one does.
func (b *bench) otherInitrd(t *testing.T) {
	t.Helper()
	raw := bytes.Clone(b.files[eventLog])
	l, err := tcglog.Parse(raw, tcglog.DefaultLimits())
	require.NoError(t, err)
	changed := false
	for i := range l.Events {
		e := &l.Events[i]
		if e.PCR != 9 || !bytes.Contains(e.Data, []byte("initrd")) && !bytes.Contains(e.Data, []byte("i\x00n\x00i\x00t\x00r\x00d")) {
			continue
		}
		for _, d := range e.Digests {
			at := bytes.LastIndex(raw, d.Value) // PCR 11 holds the same digest before
			require.Positive(t, at)
			raw[at] ^= 1
			changed = true
		}
	}
	require.True(t, changed)
	b.files = with(b.files, func(f map[string][]byte) { f[eventLog] = raw })
	require.NoError(t, b.tpm.Restart())
	b.boot(t, 0x04, 0x0b, 0x0c)
}

// scannerCase is a vendor's manifest and a scanner's reference.
type scannerCase struct {
	*benchPair
	bench     *scannerBench
	reference []byte
	both      *manifest.Trust
}

func newScannerCase(t *testing.T) *scannerCase {
	p := newBenches(t)
	c := &scannerCase{benchPair: p, bench: &scannerBench{bench: p.one, image: "assay-scanner test"}}
	plain, _, err := assay.Draft([]*evidence.Bundle{opened(t, p.one.scan(t, []byte{1}))}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	m, notes, err := assay.Draft([]*evidence.Bundle{c.bench.bundle(t, []byte{1})}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(m.Boot, attest.Reference.OfSoftware), "the scanner's registers are left to its reference")
	require.False(t, slices.ContainsFunc(m.Components, func(r bom.Reference) bool { return r.Subject == "usb:9-1" || r.Identity.Model == "Cruzer" }), "the stick is no part of the machine")
	require.True(t, slices.ContainsFunc(notes, func(n string) bool { return n != "" }))
	p.golden = p.vendor.signManifest(t, m)
	table, _ := scannerMedium(t)
	image := &manifest.Manifest{
		ID: "scanner", Version: 1, IssuedAt: labTime, Environment: manifest.Environment{Manufacturer: manifest.AnyPlatform, Model: "assay-scanner"},
		Boot:    slices.DeleteFunc(slices.Clone(plain.Boot), func(r attest.Reference) bool { return !r.OfSoftware() }),
		Scanner: &manifest.Scanner{Image: "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", Disk: table.Disk.String()},
	}
	maker := newVendor(t, "Scanner Ltd.")
	c.reference = maker.signManifest(t, image)
	trust := t.TempDir()
	for name, from := range map[string]string{"vendor.pem": p.vendor.root, "scanner.pem": maker.root} {
		b, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(trust, name), b, 0o600))
	}
	grants := "grants:\n- signer: {organization: Scanner Ltd.}\n  manufacturers: ['*']\n  classes: ['boot:software']\n"
	require.NoError(t, os.WriteFile(filepath.Join(trust, "trust.yaml"), []byte(grants), 0o600))
	c.both, err = manifest.LoadTrust([]string{trust})
	require.NoError(t, err)
	return c
}

func (c *scannerCase) verdict(t *testing.T, b *evidence.Bundle, nonce []byte) *assay.Result {
	return c.verify(t, b, nonce, func(x *assay.Case) { x.Trust, x.Golden = c.both, [][]byte{c.golden, c.reference} })
}

func TestBootableScannerIsRecognised(t *testing.T) {
	if err := swtpm.Available(); err != nil {
		t.Skip(err)
	}
	c := newScannerCase(t)
	nonce := []byte("nonce of today, sixteen or more")
	good := c.bench.bundle(t, nonce)
	t.Run("the boot record proves it, and its stick is expected", func(t *testing.T) {
		r := c.verdict(t, good, nonce)
		require.Equal(t, assay.Pass, r.Verdict, "%v %v", codesOf(r), r.Required)
		require.Equal(t, "attested", r.Assurance.Collector)
		require.Empty(t, find(r, finding.UnexpectedLowSpeedDevice))
		require.Len(t, find(r, finding.ChangeHotPlug), 2, "the stick and the disk that it shows")
	})
	t.Run("without its reference nothing is attested and the stick is unexpected", func(t *testing.T) {
		r := c.verify(t, good, nonce, func(x *assay.Case) { x.Trust = c.both })
		require.Equal(t, "unattested", r.Assurance.Collector)
		require.NotEmpty(t, find(r, finding.UnexpectedLowSpeedDevice))
		require.Empty(t, find(r, finding.CollectorUntrusted))
	})
	t.Run("a quote for another request proves nothing", func(t *testing.T) {
		r := c.verdict(t, good, []byte("another nonce, sixteen or more"))
		require.Equal(t, "unattested", r.Assurance.Collector)
	})
	t.Run("an inventory that was edited afterwards is not the scanner's", func(t *testing.T) {
		r := c.verdict(t, opened(t, forged(t, good, nonce, map[string][]byte{"proc/version": []byte("edited")})), nonce)
		require.Equal(t, "unattested", r.Assurance.Collector)
		require.Equal(t, assay.Fail, r.Verdict)
	})
	t.Run("a stick with a keyboard in it is unexpected", func(t *testing.T) {
		r := c.verdict(t, c.bench.bundle(t, nonce, func(f map[string][]byte) {
			d := bytes.Clone(f[stickPort+"/descriptors"])
			d[18+2], d[18+4] = 27, 2
			f[stickPort+"/descriptors"] = append(d, 9, 4, 1, 0, 0, 3, 1, 1, 0)
		}), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
		require.NotEmpty(t, find(r, finding.UnexpectedLowSpeedDevice))
	})
	t.Run("two media with one partition table are both unexpected", func(t *testing.T) {
		r := c.verdict(t, c.bench.bundle(t, nonce, func(f map[string][]byte) {
			f["sys/class/block/sdy/gpt"] = f[stickDisk+"/gpt"]
			f["sys/class/block/sdy/device/model"] = []byte("Copy\n")
		}), nonce)
		require.NotEmpty(t, find(r, finding.UnexpectedLowSpeedDevice))
	})
	t.Run("another TPM proves no scanner", func(t *testing.T) {
		other := &scannerBench{bench: c.other, image: c.bench.image}
		r := c.verdict(t, other.bundle(t, nonce), nonce)
		require.Equal(t, "unattested", r.Assurance.Collector)
		require.Contains(t, codesOf(r), finding.TPMChanged)
		require.Empty(t, find(r, finding.CollectorUntrusted), "what was measured is what the image measures")
	})
	t.Run("an installed system that scans makes no claim", func(t *testing.T) {
		system := &scannerBench{bench: c.other}
		system.otherInitrd(t)
		r := c.verdict(t, system.bundle(t, nonce), nonce)
		require.Equal(t, "unattested", r.Assurance.Collector)
		require.Empty(t, find(r, finding.CollectorUntrusted))
	})
	t.Run("a changed initial file system cannot pass for the scanner", func(t *testing.T) {
		c.one.otherInitrd(t)
		changed := &scannerBench{bench: c.one, image: c.bench.image}
		r := c.verdict(t, changed.bundle(t, nonce), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
		require.Equal(t, "unattested", r.Assurance.Collector)
		f := find(r, finding.CollectorUntrusted)
		require.Len(t, f, 1)
		require.Equal(t, "PCR 9 not as declared", f[0].Got)
	})
}
