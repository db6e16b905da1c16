package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/foxboron/go-uefi/authenticode"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/fat32"
	"github.com/assay-hw/assay/internal/gpt"
	"github.com/assay-hw/assay/manifest"
)

// portable makes a small 64-bit PE image with one section.
func portable(text string) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x400)
	copy(b, "MZ")
	le.PutUint32(b[60:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	le.PutUint16(b[0x44:], 0x8664)
	le.PutUint16(b[0x46:], 1)
	le.PutUint16(b[0x54:], 0xf0)
	o := b[0x58:]
	le.PutUint16(o, 0x20b)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint32(o[60:], 0x400)
	le.PutUint32(o[108:], 16)
	s := b[0x58+0xf0:]
	copy(s, ".text")
	le.PutUint32(s[8:], 0x200)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 0x200)
	le.PutUint32(s[20:], 0x400)
	return append(b, append([]byte(text), make([]byte, 0x200-len(text))...)...)
}

// linux is an image with the header of a kernel that is a UEFI application.
func linux(version string) []byte {
	b := portable("kernel")
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x100)
	copy(b[0x300:], version+" (builder@host)\x00")
	copy(b[0x480:], strings.Join(measuredTexts, "\x00"))
	return b
}

// module makes an ELF object with a .modinfo section.
func module(info ...string) []byte {
	text := []byte(strings.Join(info, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	le := binary.LittleEndian
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	le.PutUint16(h[16:], 1)
	le.PutUint16(h[18:], 62)
	le.PutUint32(h[20:], 1)
	le.PutUint16(h[52:], 64)
	le.PutUint16(h[58:], 64)
	le.PutUint16(h[60:], 3)
	le.PutUint16(h[62:], 2)
	b := append(h, text...)
	at := len(b)
	b = append(b, names...)
	le.PutUint64(b[40:], uint64(len(b)))
	section := func(name, kind uint32, off, size int) {
		s := make([]byte, 64)
		le.PutUint32(s, name)
		le.PutUint32(s[4:], kind)
		le.PutUint64(s[24:], uint64(off))
		le.PutUint64(s[32:], uint64(size))
		b = append(b, s...)
	}
	section(0, 0, 0, 0)
	section(1, 1, 64, len(text))
	section(10, 3, at, len(names))
	return b
}

// inputs writes what an image is made of into a directory.
func inputs(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, b, 0o600))
		return p
	}
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	write("modules/kernel/usb/usb-storage.ko", module("alias=usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*", "depends=scsi_mod"))
	write("modules/kernel/scsi_mod.ko.zst", z.EncodeAll(module("depends="), nil))
	write("modules/kernel/fs/vfat.ko", module("depends=fat"))
	write("modules/kernel/fs/fat.ko", module("depends="))
	write("modules/kernel/not-wanted.ko", module("depends="))
	return Options{
		Scanner: []byte("\x7fELF a program"), Version: "1.2", Kernel: write("vmlinuz", linux("6.1.0-test")), Modules: filepath.Join(dir, "modules"),
		Stub:  write("stub.efi", append(portable("stub"), "#### LoaderInfo: systemd-stub 252.1 ####"...)),
		Trust: []File{{"root.pem", []byte("root")}}, Golden: []File{{"golden.json", []byte("{}")}}, EKRoots: []File{{"0000.der", []byte{1}}},
	}
}

func TestTwoBuildsGiveTheSameBytes(t *testing.T) {
	o := inputs(t)
	var sums []string
	for i := range 2 {
		m, err := Build(context.Background(), o)
		require.NoError(t, err)
		f, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprint(i)))
		require.NoError(t, err)
		defer f.Close()
		require.NoError(t, m.WriteDisk(f, []File{{layout.SettingsFile, []byte("{}")}}))
		b, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		sums = append(sums, fmt.Sprintf("%x", sha256.Sum256(b)))
		table, err := gpt.Parse(b)
		require.NoError(t, err)
		require.Equal(t, m.disk.Disk, table.Disk)
	}
	require.Equal(t, sums[0], sums[1])
	changed := o
	changed.Scanner = append(bytes.Clone(o.Scanner), 0)
	a, err := Build(context.Background(), o)
	require.NoError(t, err)
	b, err := Build(context.Background(), changed)
	require.NoError(t, err)
	require.NotEqual(t, a.Digest(), b.Digest())
	require.NotEqual(t, a.disk.Disk, b.disk.Disk, "the medium names its image")
}

// section returns one section of the image.
func section(t *testing.T, m *Image, name string) []byte {
	t.Helper()
	f, err := pe.NewFile(bytes.NewReader(m.UKI))
	require.NoError(t, err)
	s := f.Section(name)
	require.NotNil(t, s, name)
	b, err := s.Data()
	require.NoError(t, err)
	return b[:s.VirtualSize]
}

func TestInitialFileSystemHoldsWhatIsNeeded(t *testing.T) {
	m, err := Build(context.Background(), inputs(t))
	require.NoError(t, err)
	z, err := zstd.NewReader(nil)
	require.NoError(t, err)
	raw, err := z.DecodeAll(section(t, m, ".initrd"), nil)
	require.NoError(t, err)
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(raw)))
	require.NoError(t, err)
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
		require.Zero(t, r.MTime)
	}
	require.Subset(t, names, []string{
		"init", "dev/console", "modules/usb_storage.ko", "modules/scsi_mod.ko", "modules/vfat.ko", "modules/fat.ko",
		"etc/assay/modules", "etc/assay/version", "etc/assay/golden/golden.json", "etc/assay/trust/root.pem", "etc/assay/ek-roots/0000.der",
	})
	require.NotContains(t, names, "modules/not_wanted.ko")
	require.True(t, slices.IsSorted(names), "directories come before what is in them")
	for _, r := range records {
		if r.Name == "etc/assay/modules" {
			b := make([]byte, r.FileSize)
			_, err := r.ReadAt(b, 0)
			require.NoError(t, err)
			require.Equal(t, "alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage\nalways vfat\nneeds usb_storage scsi_mod\nneeds vfat fat\n", string(b))
		}
	}
}

func TestReferenceDeclaresWhatIsMeasured(t *testing.T) {
	m, err := Build(context.Background(), inputs(t))
	require.NoError(t, err)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	raw, err := manifest.Encode(m.Reference(now, 24*time.Hour))
	require.NoError(t, err)
	back, err := manifest.ReadUntrusted(raw)
	require.NoError(t, err, "a reader accepts it")
	require.Equal(t, m.Digest(), back.Scanner.Image)
	byPCR := map[int][]string{}
	for _, r := range back.Boot {
		for _, e := range r.Events {
			byPCR[r.PCR] = append(byPCR[r.PCR], e.Digests["sha256"][0])
			require.Len(t, e.Digests, len(banks), "a digest for every bank")
		}
	}
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	require.Equal(t, m.Digest(), byPCR[4][2])
	require.Equal(t, []string{sum(wide(DefaultCmdline)), sum(section(t, m, ".initrd"))}, byPCR[9])
	require.Equal(t, sum([]byte(".linux\x00")), byPCR[11][0])
	require.Equal(t, sum(section(t, m, ".initrd")), byPCR[11][7])
	require.Len(t, byPCR[11], 8)
}

func TestUnknownStubLeavesItsRegisterOut(t *testing.T) {
	o := inputs(t)
	o.Stub = filepath.Join(t.TempDir(), "stub")
	require.NoError(t, os.WriteFile(o.Stub, append(portable("stub"), "#### LoaderInfo: systemd-stub 999.1 ####"...), 0o600))
	m, err := Build(context.Background(), o)
	require.NoError(t, err)
	for _, r := range m.References() {
		require.NotEqual(t, 11, r.PCR, "how this stub measures is not known")
	}
}

func TestSecureBootSignature(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "db"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	o := inputs(t)
	plain, err := Build(context.Background(), o)
	require.NoError(t, err)
	o.Key = key
	_, err = Build(context.Background(), o)
	require.Error(t, err, "a key without its certificate")
	o.Cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	signed, err := Build(context.Background(), o)
	require.NoError(t, err)
	require.Equal(t, plain.Digest(), signed.Digest(), "the signature changes nothing that is measured")
	require.Equal(t, plain.disk, signed.disk)
	p, err := authenticode.Parse(bytes.NewReader(signed.UKI))
	require.NoError(t, err)
	ok, err := p.Verify(o.Cert)
	require.NoError(t, err)
	require.True(t, ok)
}

// An image that does not send has nothing of a network in it.
func TestOnlyAnImageThatSendsHoldsTheSender(t *testing.T) {
	o := inputs(t)
	o.Sender = []byte("\x7fELF sender")
	quiet, err := Build(context.Background(), o)
	require.NoError(t, err)
	o.SendURL = "https://intake.example/in"
	_, err = Build(context.Background(), o)
	require.Error(t, err, "a server without roots")
	o.SendRoots = []byte("roots")
	sends, err := Build(context.Background(), o)
	require.NoError(t, err)
	require.NotEqual(t, quiet.Digest(), sends.Digest(), "where it sends to is measured")
	z, err := zstd.NewReader(nil)
	require.NoError(t, err)
	for m, want := range map[*Image]bool{quiet: false, sends: true} {
		raw, err := z.DecodeAll(section(t, m, ".initrd"), nil)
		require.NoError(t, err)
		require.Equal(t, want, bytes.Contains(raw, []byte("ELF sender")))
		require.Equal(t, want, bytes.Contains(raw, []byte("https://intake.example/in")))
	}
}

func TestKernelsThatCannotBeStarted(t *testing.T) {
	good := linux("6.1.0-test")
	v, err := kernelVersion(good)
	require.NoError(t, err)
	require.Equal(t, "6.1.0-test", v)
	noStub := bytes.Clone(good)
	noStub[0] = 0
	odd := linux("../../etc")
	far := bytes.Clone(good)
	binary.LittleEndian.PutUint16(far[0x20e:], 0xffff)
	old := bytes.Replace(good, []byte(measuredTexts[1]), make([]byte, len(measuredTexts[1])), 1)
	for name, b := range map[string][]byte{"empty": nil, "no kernel": portable("x"), "no EFI stub": noStub, "version that is a path": odd, "version beyond the end": far, "measures nothing": old} {
		_, err := kernelVersion(b)
		require.Error(t, err, name)
	}
}

// What was given and cannot be used is told apart from a tool that failed.
func TestWhatIsNoUseIsAnInputError(t *testing.T) {
	for name, spoil := range map[string]func(*Options){
		"scanner":      func(o *Options) { o.Scanner = []byte("text") },
		"kernel":       func(o *Options) { o.Kernel = o.Stub },
		"no kernel":    func(o *Options) { o.Kernel += ".none" },
		"package":      func(o *Options) { o.Kernel += ".deb" },
		"modules":      func(o *Options) { o.Modules = t.TempDir() },
		"stub":         func(o *Options) { o.Stub = o.Kernel + ".none" },
		"text as stub": func(o *Options) { require.NoError(t, os.WriteFile(o.Stub, []byte("text"), 0o600)) },
		"command line": func(o *Options) { o.Cmdline = "quiet\n" },
	} {
		o := inputs(t)
		spoil(&o)
		_, err := Build(context.Background(), o)
		var in *InputError
		require.ErrorAs(t, err, &in, name)
	}
}

func TestCommandLinesThatWouldBeMeasuredDifferently(t *testing.T) {
	require.NoError(t, CheckCmdline(DefaultCmdline))
	require.NoError(t, CheckCmdline(""))
	for _, s := range []string{" quiet", "quiet ", "quiet\n", "a\x00b", "a\tb", "na\u00efve", "a\x7f", "\xff"} {
		require.Error(t, CheckCmdline(s), "%q", s)
	}
}

// The partition table is measured: a signature for Secure Boot must not move it,
// however full the last block of the boot partition is.
func TestASignatureDoesNotMoveThePartitions(t *testing.T) {
	// The largest size at which the partition is not one step larger.
	const few = 34 << 20
	edge := few + sort.Search(6<<20, func(n int) bool { return volumeBlocks(int64(few+n)) > volumeBlocks(few) }) - 1
	require.Less(t, volumeBlocks(int64(edge)), volumeBlocks(int64(edge)+1))
	for _, n := range []int{edge - signatureRoom, edge, edge + 1} {
		p := partitions(make([]byte, n)).Partitions[0]
		room := int64(p.Last-p.First+1) * gpt.Sector
		require.GreaterOrEqual(t, room, fat32.Size(int64(n)+signatureRoom), "signed, it still fits")
	}
}

func TestASignatureThatIsTooLargeIsRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "db", Organization: []string{strings.Repeat("x", signatureRoom)}}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	o := inputs(t)
	o.Key = key
	o.Cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	_, err = Build(context.Background(), o)
	require.ErrorContains(t, err, "signature for Secure Boot takes")
}

func TestAModuleIsReadInFullOrNotAtAll(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for size, ok := range map[int]bool{maxModule: true, maxModule + 1: false} {
		m, err := openModules(fstest.MapFS{"vfat.ko.zst": {Data: z.EncodeAll(make([]byte, size), nil)}})
		require.NoError(t, err)
		b, err := m.read("vfat")
		require.Equal(t, ok, err == nil, "%d: %v", size, err)
		if ok {
			require.Len(t, b, size)
		}
	}
}

func FuzzModinfo(f *testing.F) {
	f.Add(module("depends=a,b", "alias=pci:v*", "softdep=pre: c"))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := openModules(fstest.MapFS{"kernel/vfat.ko": {Data: b}})
		require.NoError(t, err)
		_, _ = m.choose()
	})
}

func FuzzKernelVersion(f *testing.F) {
	f.Add(linux("6.1.0-test"))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := kernelVersion(b); err == nil {
			require.True(t, fs.ValidPath("lib/modules/"+v))
		}
	})
}
