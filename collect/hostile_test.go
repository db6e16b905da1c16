package collect

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// victims is, for every source, a file that it reads from a captured tree.
var victims = map[string]string{
	"dmi": dmiDir + "/DMI", "acpi": acpiDir + "/DSDT", "efi": efiDir + "/Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c",
	"pci": nic + "/config", "usb": usbDir + "/1-1/idVendor", "i2c": i2cDir + "/0-0050/eeprom", "spi": spiDir + "/spi0.0/spi-nor/sfdp",
	"nvme": nvmeDir + "/nvme0/model", "block": blockDir + "/sda/device/vpd_pg83", "net": netDir + "/eth0/address",
	"cpu": "proc/cpuinfo", "memory": edacDir + "/mc0/dimm0/size", "proc": "proc/meminfo", "captured": "ipmi/fru-0.bin",
	"eventlog": eventLogPath, "ima": imaPath, "tpm": tpmClass + "/pcr-sha256/0",
}

// devicesOnly are sources that read devices and no files; what devices may do
// is tried in device_test.go and sdr_test.go.
var devicesOnly = map[string]bool{"ipmi": true, "firmware": true}

// machineOf is a tree with something for every source.
func machineOf() fstest.MapFS {
	m := tree(nic+"/vendor", nic+"/device", nic+"/class", nic+"/vpd", usbDir+"/1-1/idProduct", i2cDir+"/0-0050/name", blockDir+"/sda/device/model", edacDir+"/mc0/mc_name")
	for _, v := range victims {
		m[v] = &fstest.MapFile{Data: []byte("data of " + v)}
	}
	return m
}

// troubles are what one file may do, and the statuses that tell it. A file that
// is not there when it is opened may be left out where it need not be there.
var troubles = map[string]struct {
	open func(forever chan struct{}) func() (fs.File, error)
	want evidence.Status
}{
	"vanishes": {func(chan struct{}) func() (fs.File, error) { return refuses(fs.ErrNotExist) }, evidence.Absent},
	"is taken away while it is read": {func(chan struct{}) func() (fs.File, error) {
		return opens(func([]byte) (int, error) { return 0, syscall.ENODEV }, 8)
	}, evidence.Absent},
	"is denied": {func(chan struct{}) func() (fs.File, error) { return refuses(fs.ErrPermission) }, evidence.Denied},
	"fails": {func(chan struct{}) func() (fs.File, error) {
		return opens(func([]byte) (int, error) { return 0, errors.New("input/output error") }, 8)
	}, evidence.Failed},
	"never ends": {func(chan struct{}) func() (fs.File, error) {
		return opens(func(b []byte) (int, error) { clear(b); return len(b), nil }, 8)
	}, evidence.Failed},
	"never begins": {func(chan struct{}) func() (fs.File, error) {
		return opens(func([]byte) (int, error) { return 0, nil }, 8)
	}, evidence.Failed},
	"hangs in open": {func(forever chan struct{}) func() (fs.File, error) {
		return func() (fs.File, error) { <-forever; return nil, fs.ErrClosed }
	}, evidence.TimedOut},
	"hangs in read": {func(forever chan struct{}) func() (fs.File, error) {
		return opens(func([]byte) (int, error) { <-forever; return 0, io.EOF }, 8)
	}, evidence.TimedOut},
	"says that it is huge":  {func(chan struct{}) func() (fs.File, error) { return opensAgain("ok", 1<<50) }, evidence.Collected},
	"says that it is empty": {func(chan struct{}) func() (fs.File, error) { return opensAgain("ok", 0) }, evidence.Collected},
}

// opensAgain gives the same text at every opening, whatever size it claims.
func opensAgain(text string, size int64) func() (fs.File, error) {
	return func() (fs.File, error) { return &stream{strings.NewReader(text).Read, size}, nil }
}

func TestEverySourceOutlivesEveryTrouble(t *testing.T) {
	for _, src := range sources() {
		victim, ok := victims[src.name]
		if devicesOnly[src.name] {
			continue
		}
		require.True(t, ok, "source %s has no test of what its files may do", src.name)
		for name, trouble := range troubles {
			t.Run(src.name+"/"+name, func(t *testing.T) {
				// The clock of a bubble runs only while everybody waits: waiting costs
				// nothing, and goroutines that are left behind have to end with it.
				synctest.Test(t, func(t *testing.T) {
					forever := make(chan struct{})
					defer close(forever)
					h := hostile{machineOf(), map[string]func() (fs.File, error){victim: trouble.open(forever)}}
					s := &scan{host: Captured(h), opt: &Options{}}
					began := time.Now()
					var got *entry
					for _, e := range s.runSource(t.Context(), src) {
						if e.path == victim {
							got = &e
						} else {
							require.NotEqual(t, evidence.TimedOut, e.status, "%s: one file keeps no other", e.path)
						}
					}
					require.Less(t, time.Since(began), src.limit, "one file does not use up the source's time")
					if got == nil {
						require.Equal(t, evidence.Absent, trouble.want, "nothing tells what became of it")
						return
					}
					require.Equal(t, trouble.want, got.status, got.reason)
					if got.status != evidence.Collected {
						require.NotEmpty(t, got.reason)
						require.Empty(t, got.data, "a part of a file is never taken for the whole")
					}
				})
			})
		}
	}
}

// stuck is a tree in which directories can be listed and no file ever opens.
type stuck struct {
	fstest.MapFS
	forever chan struct{}
	waiting *atomic.Int32
}

func (s stuck) Open(name string) (fs.File, error) {
	if info, err := s.Stat(name); err == nil && !info.IsDir() {
		s.waiting.Add(1)
		<-s.forever
		return nil, fs.ErrClosed
	}
	return s.MapFS.Open(name)
}

// Where nothing answers, a source ends in its time, leaves few readers behind,
// and names what it did not reach.
func TestASourceEndsWhereNothingAnswers(t *testing.T) {
	for _, src := range sources() {
		if devicesOnly[src.name] {
			continue
		}
		t.Run(src.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := machineOf()
				for _, n := range []string{"2", "3", "4", "5", "6", "7", "8", "9"} {
					for _, p := range []string{nic, usbDir + "/1-1", i2cDir + "/0-0050", nvmeDir + "/nvme0", blockDir + "/sda", netDir + "/eth0", spiDir + "/spi0.0", efiDir + "/Boot", acpiDir + "/SSDT"} {
						for name, f := range machineOf() {
							if rest, ok := strings.CutPrefix(name, p); ok {
								m[p[:len(p)-1]+n+rest] = f
							}
						}
					}
				}
				forever := make(chan struct{})
				defer close(forever)
				tree := stuck{m, forever, &atomic.Int32{}}
				s := &scan{host: Captured(tree), opt: &Options{}}
				began := time.Now()
				es := s.runSource(t.Context(), src)
				require.LessOrEqual(t, time.Since(began), src.limit+grace)
				require.LessOrEqual(t, tree.waiting.Load(), int32(64), "readers that are left behind")
				timedOut := 0
				for _, e := range es {
					require.NotEqual(t, evidence.Collected, e.status, e.path)
					if e.status == evidence.TimedOut {
						timedOut++
					}
				}
				require.Positive(t, timedOut)
			})
		})
	}
}

// What a file system can hold that no machine has: pipes without an end, links
// in circles, names that are no text, directories in place of files.
func TestATreeOfOddFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string {
		p := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		return p
	}
	require.NoError(t, syscall.Mkfifo(at(nic+"/config"), 0o600))
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		require.NoError(t, syscall.Mkfifo(at(acpiDir+"/SSDT"+n), 0o600))
	}
	require.NoError(t, os.WriteFile(at(nic+"/vendor"), []byte("0x8086\n"), 0o600))
	require.NoError(t, os.Symlink("device", at(nic+"/device")))
	require.NoError(t, os.Symlink("revision", at(nic+"/class")))
	require.NoError(t, os.Symlink("class", at(nic+"/revision")))
	require.NoError(t, os.Symlink("0000:02:00.0", at(pciDir+"/0000:02:00.0")))
	require.NoError(t, os.MkdirAll(at(nic+"/resource/x"), 0o755))
	require.NoError(t, os.WriteFile(at(efiDir+"/A\xff\xfe-8be4df61-93ca-11d2-aa0d-00e098032b8c"), []byte("x"), 0o600))
	require.NoError(t, os.Symlink("..", at("tpm/up")))
	require.NoError(t, os.WriteFile(at("proc/version"), []byte("Linux\n"), 0o600))
	if os.Geteuid() == 0 && syscall.Mknod(at(usbDir+"/1-1/idVendor"), syscall.S_IFCHR|0o600, 1<<8|5) != nil { // /dev/zero
		require.NoError(t, os.MkdirAll(at(usbDir+"/1-1/idVendor"), 0o755))
	}
	before := runtime.NumGoroutine()
	h, err := OpenTree(dir)
	require.NoError(t, err)
	began := time.Now()
	w, err := Scan(t.Context(), h, Options{})
	require.NoError(t, err)
	require.Less(t, time.Since(began), 2*time.Second, "no pipe is waited for")
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 2*time.Second, 10*time.Millisecond, "nobody is left behind")
	b, err := w.Bundle()
	require.NoError(t, err)
	require.Empty(t, b.Check())
	for name, want := range map[string]evidence.Status{
		nic + "/vendor": evidence.Collected, nic + "/config": evidence.Failed, nic + "/device": evidence.Failed, nic + "/class": evidence.Failed,
		nic + "/resource": evidence.Failed, acpiDir + "/SSDT8": evidence.Failed, pciDir + "/0000:02:00.0/vendor": evidence.Failed,
		efiDir + "/A%FF%FE-8be4df61-93ca-11d2-aa0d-00e098032b8c": evidence.Failed, "proc/version": evidence.Collected,
	} {
		a, _ := b.Artifact(name)
		require.Equal(t, want, a.Status, "%s: %s", name, a.Reason)
	}
}
