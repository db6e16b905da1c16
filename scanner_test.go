package assay_test

import (
	"bytes"
	"context"
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha512"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	"github.com/assay-hw/assay/internal/fixture"
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

// scannerMedium is the start of the stick that the recorded machine was booted
// from, as the firmware measured it: header, count and entries of its table.
func scannerMedium(t *testing.T, log []byte) (table *gpt.Table, head []byte) {
	t.Helper()
	l, err := tcglog.Parse(log, tcglog.DefaultLimits())
	require.NoError(t, err)
	head = make([]byte, gpt.HeadSectors*gpt.Sector)
	for i := range l.Events {
		if e := &l.Events[i]; e.Type == tcglog.EFIGPT {
			copy(head[gpt.Sector:], e.Data[:92])
			copy(head[2*gpt.Sector:], e.Data[100:])
		}
	}
	table, err = gpt.Parse(head)
	require.NoError(t, err)
	return table, head
}

// plugged adds the stick to a machine's files.
func plugged(t *testing.T, f map[string][]byte) {
	_, head := scannerMedium(t, f[eventLog])
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
	b.rewrite(t, func(raw []byte, l *tcglog.Log) []byte {
		for i := range l.Events {
			if e := &l.Events[i]; e.PCR == 9 && bytes.Contains(e.Data, []byte("initrd")) {
				for _, d := range e.Digests {
					at := bytes.LastIndex(raw, d.Value) // PCR 11 holds the same digest before
					require.Positive(t, at)
					raw[at] ^= 1
				}
				return raw
			}
		}
		require.Fail(t, "no initial file system in PCR 9")
		return nil
	})
}

// otherKernel changes what was measured of the last boot image alone, and leaves
// the initial file system as it is in the log.
func (b *bench) otherKernel(t *testing.T) {
	t.Helper()
	b.rewrite(t, func(raw []byte, l *tcglog.Log) []byte {
		last := -1
		for i := range l.Events {
			if l.Events[i].Type == tcglog.EFIBootServicesApp && l.Events[i].PCR == 4 {
				last = i
			}
		}
		require.Positive(t, last)
		for _, d := range l.Events[last].Digests {
			at := bytes.LastIndex(raw, d.Value)
			require.Positive(t, at)
			raw[at] ^= 1
		}
		return raw
	})
}

// retry adds a boot entry that was tried in vain before the one that ran.
func (b *bench) retry(t *testing.T) {
	t.Helper()
	b.rewrite(t, func(raw []byte, l *tcglog.Log) []byte {
		for i := range l.Events {
			e := &l.Events[i]
			if e.PCR != 4 || e.Type != tcglog.EFIAction {
				continue
			}
			var more []byte
			for _, text := range []string{"Calling EFI Application from Boot Option", "Returning from EFI Application from Boot Option"} {
				more = append(more, actionEvent(text)...)
			}
			return slices.Concat(raw[:e.Offset], more, raw[e.Offset:])
		}
		require.Fail(t, "no action in PCR 4")
		return nil
	})
}

// actionEvent is a TCG_PCR_EVENT2 of PCR 4 with digests of three banks.
func actionEvent(text string) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, 4)
	out = le.AppendUint32(out, uint32(tcglog.EFIAction))
	out = le.AppendUint32(out, 3)
	for _, x := range []struct {
		alg uint16
		of  crypto.Hash
	}{{4, crypto.SHA1}, {0x0b, crypto.SHA256}, {0x0c, crypto.SHA384}} {
		h := x.of.New()
		h.Write([]byte(text))
		out = h.Sum(le.AppendUint16(out, x.alg))
	}
	return append(le.AppendUint32(out, uint32(len(text))), text...)
}

func (b *bench) rewrite(t *testing.T, change func([]byte, *tcglog.Log) []byte) {
	t.Helper()
	fresh, err := fixture.Machine(".", "baseline")
	require.NoError(t, err)
	raw := bytes.Clone(fresh[eventLog])
	l, err := tcglog.Parse(raw, tcglog.DefaultLimits())
	require.NoError(t, err)
	raw = change(raw, l)
	b.files = with(b.files, func(f map[string][]byte) { f[eventLog] = raw })
	require.NoError(t, b.tpm.Restart())
	b.boot(t, 0x04, 0x0b, 0x0c)
}

// scannerCase is a vendor's manifest and a scanner's reference.
type scannerCase struct {
	*benchPair
	bench     *scannerBench
	reference []byte
	dir       string // of roots and grants
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
	table, _ := scannerMedium(t, p.one.files[eventLog])
	image := &manifest.Manifest{
		ID: "scanner", Version: 1, IssuedAt: labTime, Environment: manifest.Environment{Manufacturer: manifest.AnyPlatform, Model: "assay-scanner"},
		Boot:    scannerBoot(plain.Boot),
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
	c.dir = trust
	c.both = trustWith(t, c, "classes: ['boot:software', scanner]")
	return c
}

// trustWith grants the maker of scanners some rights for every platform.
func trustWith(t *testing.T, c *scannerCase, rights string) *manifest.Trust {
	t.Helper()
	grants := "grants:\n- signer: {organization: Scanner Ltd.}\n  manufacturers: ['*']\n  " + rights + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "trust.yaml"), []byte(grants), 0o600))
	tr, err := manifest.LoadTrust([]string{c.dir})
	require.NoError(t, err)
	return tr
}

// judgedApart gives a manifest that declares the machine's own system, and the
// scanner's reference: each boot is held against one of them as a whole.
func judgedApart(t *testing.T, c *scannerCase, nonce []byte) {
	system := &scannerBench{bench: c.other}
	system.otherInitrd(t)
	m, _, err := assay.Draft([]*evidence.Bundle{system.bundle(t, nonce)}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	own := c.vendor.signManifest(t, m)
	judge := func(b *evidence.Bundle) *assay.Result {
		return c.verify(t, b, nonce, func(x *assay.Case) { x.Trust, x.Golden = c.both, [][]byte{own, c.reference} })
	}
	r := judge(system.bundle(t, nonce))
	require.Equal(t, assay.Pass, r.Verdict, "the machine's own system: %v", codesOf(r))
	require.Equal(t, "unattested", r.Assurance.Collector)
	// A boot with some registers of the one and some of the other is neither.
	mixed := &scannerBench{bench: c.other}
	mixed.otherKernel(t)
	r = judge(mixed.bundle(t, nonce))
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotEmpty(t, find(r, finding.UnknownBootComponent))
}

// scannerBoot is what a boot from the stick measures: events where there are
// any, else values.
func scannerBoot(boot []attest.Reference) []attest.Reference {
	var out []attest.Reference
	for _, r := range boot {
		if !r.OfSoftware() {
			continue
		}
		if len(r.Events) > 0 {
			r.Digests = nil
		}
		out = append(out, r)
	}
	return out
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
	t.Run("an internal disk with a copy of the table is no stick", func(t *testing.T) {
		r := c.verdict(t, c.bench.bundle(t, nonce, func(f map[string][]byte) {
			maps.DeleteFunc(f, func(p string, _ []byte) bool { return strings.HasPrefix(p, stickPort) })
			f[stickDisk+"/path"] = []byte("/sys/devices/pci0000:00/0000:00:1f.2/ata3/host3/target3:0:0/3:0:0:0/block/sdx\n")
		}), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
		require.NotEmpty(t, find(r, finding.UnexpectedComponent))
	})
	t.Run("the stick does not stand for another removable disk", func(t *testing.T) {
		r := c.verdict(t, c.bench.bundle(t, nonce, func(f map[string][]byte) {
			maps.Copy(f, map[string][]byte{
				"sys/class/block/sdy/path": []byte("/sys/devices/pci0000:00/0000:00:1f.2/ata3/host3/target3:0:0/3:0:0:0/block/sdy\n"), "sys/class/block/sdy/removable": []byte("1\n"),
				"sys/class/block/sdy/device/model": []byte("IMPLANT\n"), "sys/class/block/sdy/device/vendor": []byte("ATA\n"), "sys/class/block/sdy/size": []byte("4096\n"),
			})
		}), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
	})
	t.Run("a table that the firmware did not measure names no stick", func(t *testing.T) {
		table, _ := scannerMedium(t, c.one.files[eventLog])
		table.Partitions[0].Name += "2"
		head, _, err := table.Encode()
		require.NoError(t, err)
		r := c.verdict(t, c.bench.bundle(t, nonce, func(f map[string][]byte) { f[stickDisk+"/gpt"] = head }), nonce)
		require.NotEmpty(t, find(r, finding.UnexpectedLowSpeedDevice))
	})
	t.Run("nothing is attested that other firmware started", func(t *testing.T) {
		for name, change := range map[string]func(*manifest.Manifest){
			"no reference for the firmware": func(m *manifest.Manifest) {
				m.Boot = slices.DeleteFunc(m.Boot, func(r attest.Reference) bool { return r.PCR == 0 })
			},
			"another firmware": func(m *manifest.Manifest) {
				for i := range m.Boot {
					if m.Boot[i].PCR == 0 {
						m.Boot[i].Digests, m.Boot[i].Events[1].Digests = nil, map[string][]string{"sha1": {strings.Repeat("00", 20)}, "sha256": {strings.Repeat("00", 32)}, "sha384": {strings.Repeat("00", 48)}}
					}
				}
			},
		} {
			m, _, err := assay.Draft([]*evidence.Bundle{good}, assay.DraftOptions{Now: labTime})
			require.NoError(t, err)
			change(m)
			golden := c.vendor.signManifest(t, m)
			r := c.verify(t, good, nonce, func(x *assay.Case) {
				x.Trust, x.Golden = c.both, [][]byte{golden, c.reference}
				x.Policy, _ = assay.BuiltInPolicy("strict")
			})
			require.Equal(t, "unattested", r.Assurance.Collector, name)
			require.NotEqual(t, assay.Pass, r.Verdict, name)
			require.Empty(t, find(r, finding.UnexpectedLowSpeedDevice), "the stick is the one that was started all the same")
		}
	})
	t.Run("no signed age, no proof that the registers are of this boot", func(t *testing.T) {
		b := forged(t, good, nonce, nil)
		require.NoError(t, b.Note("tpm/time.attest", evidence.Absent, "left out"))
		require.NoError(t, b.Note("tpm/time.sig", evidence.Absent, "left out"))
		r := c.verdict(t, opened(t, b), nonce)
		require.Equal(t, "unattested", r.Assurance.Collector)
	})
	t.Run("who may publish a system's reference may not declare a collector", func(t *testing.T) {
		r := c.verify(t, good, nonce, func(x *assay.Case) {
			x.Trust, x.Golden = trustWith(t, c, "classes: ['boot:software']"), [][]byte{c.golden, c.reference}
		})
		require.Equal(t, "unattested", r.Assurance.Collector)
		r = c.verify(t, good, nonce, func(x *assay.Case) {
			x.Trust, x.Golden = trustWith(t, c, "classes: [memory]"), [][]byte{c.golden, c.reference}
		})
		require.Equal(t, "unattested", r.Assurance.Collector)
		require.NotEqual(t, assay.Pass, r.Verdict, "a right to other lines is no right to these")
	})
	t.Run("an installed system and the stick are judged apart", func(t *testing.T) { judgedApart(t, c, nonce) })
	t.Run("a boot entry that failed before is no forgery", func(t *testing.T) {
		retried := &scannerBench{bench: c.other, image: c.bench.image}
		retried.retry(t)
		m, _, err := assay.Draft([]*evidence.Bundle{retried.bundle(t, nonce)}, assay.DraftOptions{Now: labTime})
		require.NoError(t, err)
		golden := c.vendor.signManifest(t, m)
		r := c.verify(t, retried.bundle(t, nonce), nonce, func(x *assay.Case) { x.Trust, x.Golden = c.both, [][]byte{golden, c.reference} })
		require.Equal(t, "attested", r.Assurance.Collector, "%v", r.NotChecked)
		require.Equal(t, assay.Pass, r.Verdict, "%v", codesOf(r))
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
