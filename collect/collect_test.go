package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// hostile is a tree in which some files misbehave.
type hostile struct {
	fstest.MapFS
	files map[string]func() (fs.File, error)
}

func (h hostile) Open(name string) (fs.File, error) {
	if open, ok := h.files[name]; ok {
		return open()
	}
	return h.MapFS.Open(name)
}

// stream is a file whose contents come from a function; its size is a lie.
type stream struct {
	read func([]byte) (int, error)
	size int64
}

func (s *stream) Read(b []byte) (int, error) { return s.read(b) }
func (s *stream) Close() error               { return nil }
func (s *stream) Stat() (fs.FileInfo, error) { return s, nil }
func (s *stream) Name() string               { return "file" }
func (s *stream) Size() int64                { return s.size }
func (s *stream) Mode() fs.FileMode          { return 0o444 }
func (s *stream) ModTime() time.Time         { return time.Time{} }
func (s *stream) IsDir() bool                { return false }
func (s *stream) Sys() any                   { return nil }

func opens(read func([]byte) (int, error), size int64) func() (fs.File, error) {
	return func() (fs.File, error) { return &stream{read, size}, nil }
}

func refuses(err error) func() (fs.File, error) {
	return func() (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: "x", Err: err} }
}

func tree(names ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, n := range names {
		m[n] = &fstest.MapFile{Data: []byte("data of " + n)}
	}
	return m
}

func scanned(t *testing.T, files fs.FS, o Options) map[string]evidence.Artifact {
	t.Helper()
	w, err := Scan(t.Context(), Captured(files), o)
	require.NoError(t, err)
	b, err := w.Bundle()
	require.NoError(t, err)
	require.Empty(t, b.Check(), "whatever the tree holds, the bundle is a good one")
	out := map[string]evidence.Artifact{}
	for _, a := range w.Artifacts() {
		out[a.Path] = a
	}
	return out
}

const nic = "sys/bus/pci/devices/0000:01:00.0"

func TestEveryKindOfTroubleHasItsOwnStatus(t *testing.T) {
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	h := hostile{tree(nic+"/vendor", nic+"/device", nic+"/class", nic+"/config", nic+"/vpd", nic+"/rom", nic+"/revision", nic+"/resource", nic+"/label", nic+"/acpi_index",
		"sys/firmware/dmi/tables/DMI", "sys/firmware/dmi/tables/smbios_entry_point"), map[string]func() (fs.File, error){
		nic + "/device":     refuses(fs.ErrNotExist), // unplugged between listing and reading
		nic + "/class":      refuses(fs.ErrPermission),
		nic + "/config":     opens(func(b []byte) (int, error) { return copy(b, make([]byte, len(b))), nil }, 256), // endless
		nic + "/vpd":        opens(func([]byte) (int, error) { <-forever; return 0, io.EOF }, 32),                  // hangs
		nic + "/revision":   opens(func([]byte) (int, error) { return 0, nil }, 5),                                 // gives nothing, for ever
		nic + "/resource":   opens(func([]byte) (int, error) { return 0, errors.New("input/output error") }, 5),
		nic + "/label":      opens(bytewise("short reads\n"), 1<<40), // says it is huge
		nic + "/acpi_index": refuses(fs.ErrNotExist),
		// A driver says so that the device has no such value.
		nic + "/subsystem_vendor": opens(func([]byte) (int, error) { return 0, syscall.EINVAL }, 5),
	}}
	got := scanned(t, h, Options{})
	for name, want := range map[string]evidence.Status{
		"vendor": evidence.Collected, "device": evidence.Absent, "class": evidence.Denied, "config": evidence.Failed, "vpd": evidence.TimedOut,
		"revision": evidence.Failed, "resource": evidence.Failed, "label": evidence.Collected, "subsystem_vendor": evidence.Absent,
	} {
		require.Equal(t, want, got[nic+"/"+name].Status, "%s: %s", name, got[nic+"/"+name].Reason)
		if want != evidence.Collected {
			require.NotEmpty(t, got[nic+"/"+name].Reason, name)
		}
	}
	require.Contains(t, got[nic+"/config"].Reason, "limit of 4096 bytes")
	require.EqualValues(t, len("short reads\n"), got[nic+"/label"].Size)
	require.NotContains(t, got, nic+"/acpi_index", "what need not be there is not missed")
	require.Equal(t, evidence.Absent, got["sys/bus/usb/devices"].Status, "a bus that is not there was looked at")
	require.Equal(t, evidence.Collected, got["sys/firmware/dmi/tables/DMI"].Status)
}

func TestABoardWithoutSMBIOSIsNamedByItsDeviceTree(t *testing.T) {
	got := scanned(t, tree(treeDir+"/compatible", treeDir+"/model", treeDir+"/cpus/compatible"), Options{})
	require.Equal(t, evidence.Collected, got[treeDir+"/compatible"].Status)
	require.Equal(t, evidence.Collected, got[treeDir+"/model"].Status)
	require.NotContains(t, got, treeDir+"/serial-number", "not every board has a number")
	require.Equal(t, evidence.Absent, got[dmiDir+"/DMI"].Status)
	require.Contains(t, got[dmiDir+"/DMI"].Reason, "a device tree describes the board")

	both := scanned(t, tree(dmiDir+"/DMI", dmiDir+"/smbios_entry_point", treeDir+"/compatible"), Options{})
	require.NotContains(t, both, treeDir+"/compatible", "SMBIOS says more")
}

// bytewise gives a text one byte at a time.
func bytewise(s string) func([]byte) (int, error) {
	r := strings.NewReader(s)
	return func(b []byte) (int, error) { return r.Read(b[:1]) }
}

// A source that hangs must not keep the others, nor hide what it did not read.
func TestASourceThatHangsIsLeftBehind(t *testing.T) {
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	s := &scan{host: Captured(tree("a")), opt: &Options{}}
	src := source{name: "slow", limit: 20 * time.Millisecond, run: func(k *task) {
		k.read("a", file{})
		k.at("b")
		<-forever
		k.add("c", []byte("too late"))
	}}
	got := s.runSource(t.Context(), src)
	require.Len(t, got, 2)
	require.Equal(t, evidence.Collected, got[0].status)
	require.Equal(t, "b", got[1].path)
	require.Equal(t, evidence.TimedOut, got[1].status)
}

// One source that panics, or one read that does, costs what it would have given
// and nothing else.
func TestAPanicIsAFailedRead(t *testing.T) {
	s := &scan{host: Captured(tree("a")), opt: &Options{}}
	got := s.runSource(t.Context(), source{name: "usb", limit: time.Second, run: func(k *task) {
		k.read("a", file{})
		k.at("b")
		panic("a length of -1")
	}})
	require.Len(t, got, 2)
	require.Equal(t, "b", got[1].path)
	require.Equal(t, evidence.Failed, got[1].status)
	require.Contains(t, got[1].reason, "panic: a length of -1")

	got = s.runSource(t.Context(), source{name: "usb", limit: time.Second, run: func(k *task) {
		k.read("a", file{})
		panic("after the last file")
	}})
	require.Len(t, got, 2, "what was read is kept")
	require.Equal(t, usbDir, got[1].path)

	_, err := within(t.Context(), time.Second, func(context.Context) (int, error) { panic("in a read") })
	require.ErrorContains(t, err, "panic: in a read")
	require.Equal(t, evidence.Failed, statusOf(err))
}

// Devices that were listed and not reached are named one by one.
func TestWhatWasNotReachedIsNamed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k := newTask(ctx, Captured(tree(nic+"/vendor")), &Options{})
	require.True(t, k.over(nic))
	es := k.finish(true)
	require.Equal(t, evidence.TimedOut, es[0].status)
	require.Equal(t, nic, es[0].path)
}

func TestALogThatChangesIsNotTaken(t *testing.T) {
	n := 0
	growing := func() (fs.File, error) {
		n++
		return &stream{strings.NewReader(strings.Repeat("x", n)).Read, 0}, nil
	}
	settles := func() (fs.File, error) {
		n++
		return &stream{strings.NewReader(strings.Repeat("x", min(n, 3))).Read, 0}, nil
	}
	got := scanned(t, hostile{tree("proc/version"), map[string]func() (fs.File, error){eventLogPath: growing}}, Options{})
	require.Equal(t, evidence.Failed, got[eventLogPath].Status)
	require.Contains(t, got[eventLogPath].Reason, "never the same")
	n = 0
	got = scanned(t, hostile{tree("proc/version"), map[string]func() (fs.File, error){imaPath: settles}}, Options{})
	require.Equal(t, evidence.Collected, got[imaPath].Status)
	require.EqualValues(t, 3, got[imaPath].Size)
}

// Names come from firmware too: EFI variables may be called anything.
func TestOddNamesHideNothing(t *testing.T) {
	const guid = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	long := strings.Repeat("n", 1100)
	got := scanned(t, tree(efiDir+"/Boot0001"+guid, efiDir+"/BOOT0001"+guid, efiDir+"/a\\b"+guid, efiDir+"/a%b"+guid, efiDir+"/e\u0301"+guid, efiDir+"/\x01\x7f"+guid, efiDir+"/"+long+guid), Options{})
	require.Equal(t, evidence.Collected, got[efiDir+"/a%5Cb"+guid].Status)
	require.Equal(t, evidence.Collected, got[efiDir+"/a%25b"+guid].Status)
	require.Equal(t, evidence.Collected, got[efiDir+"/e%CC%81"+guid].Status)
	require.Equal(t, evidence.Collected, got[efiDir+"/%01%7F"+guid].Status)
	require.Equal(t, evidence.Collected, got[efiDir+"/BOOT0001"+guid].Status)
	require.Equal(t, evidence.Failed, got[efiDir+"/Boot0001"+guid].Status, "the format holds one of two names that differ in case; the other is told")
	found := 0
	for p, a := range got {
		if strings.HasPrefix(p, "unnamed/") {
			found++
			require.Equal(t, evidence.Failed, a.Status)
		}
	}
	require.Equal(t, 1, found)
}

func TestACrowdedDirectoryIsNotTakenInPart(t *testing.T) {
	m := tree("proc/version")
	for i := range maxListing + 10 {
		m[fmt.Sprintf("%s/%d/vendor", pciDir, i)] = &fstest.MapFile{Data: []byte("x")}
	}
	got := scanned(t, m, Options{})
	require.Equal(t, evidence.Failed, got[pciDir].Status)
	require.Contains(t, got[pciDir].Reason, "limit")
}

// The links of sysfs become texts, so that a bundle needs none.
func TestLinksBecomeTexts(t *testing.T) {
	const real = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"
	m := tree(real+"/vendor", real+"/device", real+"/class", real+"/config", real+"/net/eth0/address")
	link := func(name, target string) {
		m[name] = &fstest.MapFile{Mode: fs.ModeSymlink | 0o777, Data: []byte(target)}
	}
	link(nic, "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0")
	link(real+"/driver", "../../../../bus/pci/drivers/e1000e")
	link(real+"/physfn", "../0000:01:00.7")
	link("sys/class/net/eth0", "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/net/eth0")
	link(real+"/net/eth0/device", "../../../0000:01:00.0")
	m["sys/bus/pci/drivers/e1000e/x"] = &fstest.MapFile{}
	w, err := Scan(t.Context(), Captured(m), Options{})
	require.NoError(t, err)
	b, err := w.Bundle()
	require.NoError(t, err)
	require.Equal(t, "/"+real, b.Text(nic+"/path"))
	require.Equal(t, "e1000e", b.Text(nic+"/driver"))
	require.Equal(t, "0000:01:00.7", b.Text(nic+"/physfn"))
	require.Equal(t, "/"+real+"/net/eth0", b.Text(netDir+"/eth0/path"))
	require.Equal(t, "data of "+real+"/net/eth0/address", b.Text(netDir+"/eth0/address"))
}

// A captured tree with a link to a secret of the machine that reads it.
func TestATreeLeadsNowhereElse(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "proc"), 0o755))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "proc", "version")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "proc", "cmdline"), []byte("quiet"), 0o600))
	h, err := OpenTree(dir)
	require.NoError(t, err)
	w, err := Scan(t.Context(), h, Options{})
	require.NoError(t, err)
	b, err := w.Bundle()
	require.NoError(t, err)
	require.False(t, b.Has("proc/version"))
	a, _ := b.Artifact("proc/version")
	require.Equal(t, evidence.Failed, a.Status)
	require.Equal(t, "quiet", b.Text("proc/cmdline"))
}

func TestWhatIsLeftOutIsNotAbsent(t *testing.T) {
	m := tree(nic+"/vendor", nic+"/device", nic+"/class", nic+"/config", "firmware/bios.rom")
	got := scanned(t, m, Options{Without: []string{"pci", "usb"}})
	require.Equal(t, evidence.Denied, got[pciDir].Status)
	require.Contains(t, got[pciDir].Reason, "left out by the operator")
	require.NotContains(t, got, nic+"/vendor")
	require.Equal(t, evidence.Collected, got["firmware/bios.rom"].Status, "a captured image is there although nobody asked for one")
	for _, o := range []Options{{Without: []string{"nosuch"}}, {With: []string{"nosuch"}}, {Passes: 3}, {TPM: "nowhere"}} {
		_, err := Scan(t.Context(), Captured(m), o)
		require.Error(t, err)
	}
	_, err := Scan(t.Context(), Captured(tree("evidence.json")), Options{})
	require.ErrorContains(t, err, "already")
}

// A quote from another tool was not made over this index: to seal the bundle
// with it would make an honest machine look forged.
func TestACapturedQuoteIsNotPassedOffAsASeal(t *testing.T) {
	w, err := Scan(t.Context(), Captured(tree("proc/version", "tpm/quote-sha256.attest")), Options{})
	require.NoError(t, err)
	b, err := w.Bundle()
	require.NoError(t, err)
	require.False(t, b.Sealed())
	w, err = Scan(t.Context(), Captured(tree("proc/version")), Options{})
	require.NoError(t, err)
	b, err = w.Bundle()
	require.NoError(t, err)
	require.True(t, b.Sealed())
}

// A device that shows itself to one reader and not to the next.
func TestTwoPassesKeepWhatDiffers(t *testing.T) {
	n := 0
	h := hostile{tree(nic+"/vendor", nic+"/device", nic+"/class", nic+"/config", "proc/uptime"), map[string]func() (fs.File, error){
		nic + "/device": func() (fs.File, error) {
			n++
			return &stream{strings.NewReader(fmt.Sprint("0x", n)).Read, 4}, nil
		},
		"proc/uptime": func() (fs.File, error) {
			n++
			return &stream{strings.NewReader(fmt.Sprint(n)).Read, 4}, nil
		},
	}}
	w, err := Scan(t.Context(), Captured(h), Options{Passes: 2})
	require.NoError(t, err)
	b, err := w.Bundle()
	require.NoError(t, err)
	require.True(t, b.Has("pass2/"+nic+"/device"))
	require.False(t, b.Has("pass2/proc/uptime"), "time passes on every machine")
	fs := b.Check()
	require.Len(t, fs, 1)
	require.EqualValues(t, "EV-007", fs[0].Code)
}

func TestMachineAndModeAreLabels(t *testing.T) {
	m := tree("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_serial")
	m["proc/cpuinfo"] = &fstest.MapFile{Data: []byte("flags\t: fpu hypervisor\n")}
	m[lockdownPath] = &fstest.MapFile{Data: []byte("none [integrity] confidentiality\n")}
	w, err := Scan(t.Context(), Captured(m), Options{Nonce: []byte{0, 255}})
	require.NoError(t, err)
	b, err := w.Bundle()
	require.NoError(t, err)
	ix := b.Index()
	require.Equal(t, "data of sys/class/dmi/id/sys_vendor", ix.Machine.Manufacturer)
	require.Equal(t, "integrity", ix.Mode.Lockdown)
	require.Equal(t, "hypervisor bit of CPUID", ix.Mode.Virtual)
	require.Equal(t, "00ff", ix.Nonce)
	require.False(t, ix.Mode.Root)
}

// The machine that runs the tests, whatever it is and whoever runs them.
func TestThisMachine(t *testing.T) {
	seen := map[string]bool{}
	w, err := Scan(t.Context(), Live(), Options{Progress: func(p Progress) { seen[p.Source] = true }})
	require.NoError(t, err)
	require.True(t, seen["pci"] && seen["quote"])
	b, err := w.Bundle()
	require.NoError(t, err)
	require.Empty(t, b.Check())
	for _, a := range b.NotCollected() {
		require.NotEmpty(t, a.Reason, a.Path)
	}
	rom, listed := b.Artifact("firmware/bios.rom")
	require.True(t, listed)
	require.Equal(t, evidence.Denied, rom.Status, "flash is read when it is asked for")
}

func BenchmarkScan(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(b.Context(), Live(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
