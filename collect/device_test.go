package collect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// fakeBMC holds FRU areas by id and answers as IPMI 2.0 says.
type fakeBMC struct {
	frus  map[byte][]byte
	words bool
	lie   func(command byte, response []byte) []byte
	err   error
	sent  [][2]byte
	lans  map[byte][]byte                                        // addresses of LAN channels
	sdr   func(netFn, command byte, data []byte) ([]byte, error) // answers for the repository; nil has none
}

func (f *fakeBMC) do(_ context.Context, netFn, command byte, data []byte) ([]byte, error) {
	f.sent = append(f.sent, [2]byte{netFn, command})
	if f.err != nil {
		return nil, f.err
	}
	r, err := f.answer(command, data)
	if err == nil && f.lie != nil {
		r = f.lie(command, r)
	}
	return r, err
}

func (f *fakeBMC) answer(command byte, data []byte) ([]byte, error) {
	if command == cmdDeviceID {
		return []byte{0x20, 1, 2, 0x31, 2, 0x8f, 0x57, 1, 0, 0x12, 9}, nil
	}
	if command == cmdDeviceGUID || command == cmdSystemGUID {
		return completed([]byte{0xc1}) // as most controllers say
	}
	if command == cmdGetLAN {
		mac, ok := f.lans[data[0]]
		if !ok {
			return completed([]byte{0xcc})
		}
		if mac == nil {
			return completed([]byte{0xc0})
		}
		return append([]byte{0x11}, mac...), nil
	}
	if command == cmdReserveSDR || command == cmdGetSDR {
		if f.sdr == nil {
			return completed([]byte{0xc1})
		}
		return f.sdr(netFnStorage, command, data)
	}
	area, ok := f.frus[data[0]]
	if !ok {
		return completed([]byte{0xcb})
	}
	unit := 1
	if f.words {
		unit = 2
	}
	if command == cmdFRUInfo {
		return []byte{byte(len(area)), byte(len(area) >> 8), byte(unit - 1)}, nil
	}
	at, n := (int(data[1])|int(data[2])<<8)*unit, int(data[3])*unit
	got := area[at:min(len(area), at+n)]
	return append([]byte{byte(len(got) / unit)}, got...), nil
}

func bmcOf(t *testing.T, f *fakeBMC) map[string]entry {
	t.Helper()
	k := newTask(t.Context(), Captured(fstest.MapFS{}), &Options{})
	k.bmc(f.do)
	out := map[string]entry{}
	for _, e := range k.finish(false) {
		out[e.path] = e
	}
	return out
}

func TestInventoryOfTheControllerIsReadWhole(t *testing.T) {
	area := func(n int) []byte { return bytes.Repeat([]byte{1, 2, 3, 4}, n/4) }
	for _, words := range []bool{false, true} {
		f := &fakeBMC{words: words, frus: map[byte][]byte{0: area(512), 3: area(100), 7: area(256), 40: area(8)}}
		got := bmcOf(t, f)
		require.Len(t, got[deviceIDPath].data, 11)
		require.Equal(t, area(512), got["ipmi/fru-0.bin"].data)
		require.Equal(t, area(100), got["ipmi/fru-3.bin"].data)
		require.Equal(t, area(256), got["ipmi/fru-7.bin"].data)
		require.NotContains(t, got, "ipmi/fru-1.bin")
		for _, c := range f.sent {
			require.Contains(t, [][2]byte{{0x06, 0x01}, {0x06, 0x08}, {0x06, 0x37}, {0x0a, 0x10}, {0x0a, 0x11}, {0x0a, 0x22}, {0x0a, 0x23}, {0x0c, 0x02}}, c, "only commands that read")
		}
	}
}

func TestAControllerThatLiesIsBounded(t *testing.T) {
	for name, lie := range map[string]func(byte, []byte) []byte{
		"gives nothing":            func(c byte, r []byte) []byte { return pick(c == cmdFRURead, []byte{0}, r) },
		"gives an empty response":  func(c byte, r []byte) []byte { return pick(c != cmdDeviceID, nil, r) },
		"counts more than it gave": func(c byte, r []byte) []byte { return pick(c == cmdFRURead, []byte{0xff, 1}, r) },
		"gives more than asked": func(c byte, r []byte) []byte {
			return pick(c == cmdFRURead, append([]byte{0xff}, make([]byte, 255)...), r)
		},
		"claims the largest area": func(c byte, r []byte) []byte { return pick(c == cmdFRUInfo, []byte{0xff, 0xff, 0}, r) },
	} {
		t.Run(name, func(t *testing.T) {
			e := bmcOf(t, &fakeBMC{frus: map[byte][]byte{0: make([]byte, 64)}, lie: lie})["ipmi/fru-0.bin"]
			require.LessOrEqual(t, len(e.data), 0xffff)
			if e.status != evidence.Collected {
				require.Equal(t, evidence.Failed, e.status)
				require.NotEmpty(t, e.reason)
			}
		})
	}
}

func pick(cond bool, a, b []byte) []byte {
	if cond {
		return a
	}
	return b
}

func TestAddressesOfAllManagementPorts(t *testing.T) {
	mac := []byte{0x52, 0x54, 0, 1, 2, 3}
	got := bmcOf(t, &fakeBMC{lans: map[byte][]byte{1: mac, 8: mac}})
	require.Equal(t, append([]byte{0x11}, mac...), got["ipmi/lan-1.bin"].data)
	require.Equal(t, evidence.Collected, got["ipmi/lan-8.bin"].status)
	require.NotContains(t, got, "ipmi/lan-2.bin")
	busy := bmcOf(t, &fakeBMC{lans: map[byte][]byte{1: nil, 8: mac}})
	require.Equal(t, evidence.Failed, busy["ipmi/lan-1.bin"].status, "it may be there")
	require.Equal(t, evidence.Collected, busy["ipmi/lan-8.bin"].status)
	none := bmcOf(t, &fakeBMC{})
	require.Equal(t, evidence.Absent, none["ipmi/lan-1.bin"].status)
	require.Contains(t, none["ipmi/lan-1.bin"].reason, "0xcc")
}

func TestAControllerThatHangsIsAskedOnce(t *testing.T) {
	f := &fakeBMC{err: errTimeout}
	got := bmcOf(t, f)
	require.Equal(t, evidence.TimedOut, got[deviceIDPath].status)
	require.Equal(t, evidence.TimedOut, got["ipmi/fru-0.bin"].status)
	require.LessOrEqual(t, len(f.sent), 2)
	require.Equal(t, evidence.Absent, bmcOf(t, &fakeBMC{})["ipmi/fru-0.bin"].status)
	require.Equal(t, evidence.Failed, bmcOf(t, &fakeBMC{err: errors.New("completion code 0xc1")})[deviceIDPath].status)
}

// The window below 4 GiB is larger than most chips.
func TestOnlyTheChipIsKeptOfTheWindow(t *testing.T) {
	chip := bytes.Repeat([]byte{0xff}, 4<<20)
	chip[0], chip[len(chip)-1] = 1, 2
	for _, floating := range []byte{0xff, 0} {
		window := append(bytes.Repeat([]byte{floating}, 12<<20), chip...)
		require.Equal(t, chip, populated(window))
	}
	require.Len(t, populated(append(bytes.Repeat([]byte{0xa5}, 8<<20), chip...)), 12<<20, "nothing is cut that may be code")
	require.Empty(t, populated(bytes.Repeat([]byte{0xff}, 16<<20)))
}

func TestAWindowIsCopiedAsItLies(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mem")
	want := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 1<<10)
	require.NoError(t, os.WriteFile(name, append(make([]byte, 4096), want...), 0o600))
	got, err := window(name, 4096, len(want))
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = window(name, 4096, 1<<20)
	require.ErrorContains(t, err, "fault", "a bus that refuses is an error and no crash")
	_, err = window(filepath.Join(t.TempDir(), "none"), 0, 4096)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestFlashDevicesHaveSafeNames(t *testing.T) {
	for label, want := range map[string]string{"BIOS": "bios", "bmc": "bmc", "../../x": "x", "": "mtd0", "a b/c": "a-b-c", "\x00": "mtd0"} {
		require.Equal(t, want, imageName(label, "mtd0"), "%q", label)
	}
}

// Only controllers become device nodes, and a drive that refuses or hangs is
// told as one.
func TestDrivesAreAskedByName(t *testing.T) {
	files := tree(nvmeDir+"/nvme0/model", nvmeDir+"/nvme1/model", nvmeDir+"/nvme2/model", nvmeDir+"/..%2fsda/model", nvmeDir+"/nvme0n1/model")
	k := newTask(t.Context(), &Host{files: files, live: true}, &Options{})
	var asked []string
	k.controllers(func(_ context.Context, n string) ([]byte, error) {
		asked = append(asked, n)
		switch n {
		case "nvme0":
			return make([]byte, 4096), nil
		case "nvme1":
			return nil, &fs.PathError{Op: "open", Path: "/dev/nvme1", Err: syscall.EACCES}
		}
		return nil, errTimeout
	})
	require.Equal(t, []string{"nvme0", "nvme1", "nvme2"}, asked)
	got := map[string]evidence.Status{}
	for _, e := range k.finish(false) {
		got[e.path] = e.status
	}
	require.Equal(t, evidence.Collected, got[nvmeDir+"/nvme0/identify"])
	require.Equal(t, evidence.Denied, got[nvmeDir+"/nvme1/identify"])
	require.Equal(t, evidence.TimedOut, got[nvmeDir+"/nvme2/identify"])
	require.NotContains(t, got, nvmeDir+"/nvme0n1/identify")
}

func TestAnAbsentDriveIsAnError(t *testing.T) {
	_, err := identifyController(t.Context(), "nvme9999")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// scripted answers for drivers by the name of the port.
type scripted struct{}

func (scripted) permanent(port string) (string, error) {
	switch port {
	case "gone":
		return "", syscall.ENODEV
	case "denied":
		return "", syscall.EPERM
	case "bare":
		return "", nil
	}
	return "02:00:00:00:00:01", nil
}

func (s scripted) info(port string) ([]byte, error) {
	if mac, err := s.permanent(port); mac == "" {
		return nil, err
	}
	return make([]byte, 196), nil
}

// silent drivers never answer.
type silent chan struct{}

func (s silent) permanent(string) (string, error) { <-s; return "", nil }
func (s silent) info(string) ([]byte, error)      { <-s; return nil, nil }

func TestDriversOfPortsAreAsked(t *testing.T) {
	m := tree(netDir+"/lo/address", netDir+"/bonding_masters")
	for _, n := range []string{"eth0", "gone", "denied", "bare"} {
		m[netDir+"/"+n+"/address"] = &fstest.MapFile{Data: []byte("02:00:00:00:00:02")}
		m[netDir+"/"+n+"/device"] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("../../../devices/x")}
	}
	ports := func(ask portDriver) map[string]entry {
		k := newTask(t.Context(), &Host{files: m, live: true}, &Options{})
		k.ports(ask)
		out := map[string]entry{}
		for _, e := range k.finish(false) {
			out[strings.TrimPrefix(e.path, netDir+"/")] = e
		}
		return out
	}
	got := ports(scripted{})
	require.Equal(t, "02:00:00:00:00:01\n", string(got["eth0/perm_address"].data))
	require.Len(t, got["eth0/ethtool"].data, 196)
	require.Equal(t, evidence.Absent, got["gone/ethtool"].status, "unplugged between listing and asking")
	require.Equal(t, evidence.Denied, got["denied/perm_address"].status)
	require.NotContains(t, got, "bare/ethtool", "a driver that has nothing to say is not missed")
	require.NotContains(t, got, "lo/ethtool", "nobody made this port")
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		defer close(forever)
		k := newTask(t.Context(), &Host{files: m, live: true}, &Options{})
		k.ports(silent(forever))
		for _, e := range k.finish(false) {
			if strings.HasSuffix(e.path, "ethtool") || strings.HasSuffix(e.path, "perm_address") {
				require.Equal(t, evidence.TimedOut, e.status, e.path)
			}
		}
	})
	got = ports(noDrivers{syscall.EACCES})
	require.Equal(t, evidence.Denied, got["eth0/ethtool"].status)
	require.Equal(t, evidence.Collected, got["eth0/address"].status)
}

// mtdOf reads the flash devices of a machine through a way that a test gives.
func mtdOf(t *testing.T, files fs.FS, open func(string) (io.ReadCloser, error)) map[string]entry {
	t.Helper()
	k := newTask(t.Context(), &Host{files: files, live: true}, &Options{})
	k.images(open, func(string, int64, int) ([]byte, error) { return nil, syscall.EPERM })
	out := map[string]entry{}
	for _, e := range k.finish(false) {
		out[e.path] = e
	}
	return out
}

func TestFlashDevicesAreReadWhole(t *testing.T) {
	m := fstest.MapFS{
		mtdDir + "/mtd0/name": {Data: []byte("BIOS\n")}, mtdDir + "/mtd0/size": {Data: []byte("65536\n")},
		mtdDir + "/mtd0ro/name": {Data: []byte("BIOS\n")}, // the read-only node of the same device
	}
	image := bytes.Repeat([]byte{0xa5}, 65536)
	var asked []string
	got := mtdOf(t, m, func(n string) (io.ReadCloser, error) {
		asked = append(asked, n)
		return io.NopCloser(bytes.NewReader(image)), nil
	})
	require.Equal(t, []string{"mtd0"}, asked)
	require.Equal(t, image, got["firmware/bios.rom"].data)
	require.JSONEq(t, `{"source":"/dev/mtd0ro","offset":0,"length":65536,"complete":true}`, string(got["firmware/bios.json"].data))
	require.Len(t, got, 2)
}

func TestFlashDevicesThatLie(t *testing.T) {
	endless := func(string) (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }
	short := func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }
	denied := func(string) (io.ReadCloser, error) {
		return nil, &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}
	}
	for name, c := range map[string]struct {
		size   string
		open   func(string) (io.ReadCloser, error)
		status evidence.Status
		reason string
	}{
		"more than they say": {"65536", endless, evidence.Failed, "limit of 65536 bytes"},
		"less than they say": {"65536", short, evidence.Failed, "1 bytes read of 65536"},
		"no number":          {"-1", endless, evidence.Failed, "is not between"},
		"larger than any":    {"1099511627776", endless, evidence.Failed, "is not between"},
		"only for root":      {"65536", denied, evidence.Denied, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			m := fstest.MapFS{mtdDir + "/mtd3/name": {Data: []byte("bmc")}, mtdDir + "/mtd3/size": {Data: []byte(c.size)}}
			got := mtdOf(t, m, c.open)
			require.Equal(t, c.status, got["firmware/bmc.rom"].status)
			require.Contains(t, got["firmware/bmc.rom"].reason, c.reason)
			require.Equal(t, evidence.Denied, got[biosPath].status, "where no device gave an image, memory is tried")
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestMemoryIsReadFromItsControllers(t *testing.T) {
	m := tree(edacDir+"/mc0/mc_name", edacDir+"/mc0/dimm3/size", edacDir+"/mc0/dimm3/dimm_label", edacDir+"/mc0/csrow0/size", edacDir+"/power/control",
		cxlDir+"/mem0/serial", cxlDir+"/mem0/ram/size", cxlDir+"/root0/serial")
	got := scanned(t, m, Options{})
	for _, name := range []string{edacDir + "/mc0/dimm3/size", edacDir + "/mc0/dimm3/dimm_label", cxlDir + "/mem0/serial", cxlDir + "/mem0/ram/size"} {
		require.Equal(t, evidence.Collected, got[name].Status, name)
	}
	require.NotContains(t, got, edacDir+"/mc0/csrow0/size")
	require.NotContains(t, got, cxlDir+"/root0/serial")
}

func TestFlashChipsAreNamed(t *testing.T) {
	m := tree(spiDir+"/spi0.0/spi-nor/jedec_id", spiDir+"/spi0.0/spi-nor/sfdp", spiDir+"/spi0.0/modalias", spiDir+"/spi1.0/modalias", spiDir+"/other/modalias", mtdDir+"/mtd0/size", mtdDir+"/mtd0ro/size")
	got := scanned(t, m, Options{})
	for _, name := range []string{spiDir + "/spi0.0/spi-nor/jedec_id", spiDir + "/spi0.0/spi-nor/sfdp", spiDir + "/spi1.0/modalias", mtdDir + "/mtd0/size"} {
		require.Equal(t, evidence.Collected, got[name].Status, name)
	}
	require.NotContains(t, got, spiDir+"/other/modalias")
	require.NotContains(t, got, mtdDir+"/mtd0ro/size")
}
