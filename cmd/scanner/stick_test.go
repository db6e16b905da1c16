//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/gpt"
)

var stickTable = gpt.Table{
	Disk: gpt.GUID{1}, Sectors: 40960,
	Partitions: []gpt.Partition{
		{Type: gpt.ESP, ID: gpt.GUID{2}, First: 2048, Last: 20479, Name: layout.BootLabel},
		{Type: gpt.Data, ID: gpt.GUID{3}, First: 20480, Last: 38911, Name: layout.ResultLabel},
	},
}

const (
	usbPath  = "devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/"
	sataPath = "devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/"
)

// machine is a tree with the variable of the boot loader and these disks.
type machine struct {
	t    *testing.T
	dir  string
	said bytes.Buffer
}

func newMachine(t *testing.T, attributes byte) *machine {
	m := &machine{t: t, dir: t.TempDir()}
	raw := variable(stickTable.Partitions[0].ID.String())
	raw[0] = attributes
	m.write("sys/"+partUUID, string(raw))
	return m
}

func (m *machine) write(name, text string) {
	p := filepath.Join(m.dir, name)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(p), 0o755))
	require.NoError(m.t, os.WriteFile(p, []byte(text), 0o600))
}

// plug adds a disk with a copy of the stick's table and its partitions.
func (m *machine) plug(name, where string) {
	head, _, err := stickTable.Encode()
	require.NoError(m.t, err)
	m.write("dev/"+name, string(head))
	for i, p := range stickTable.Partitions {
		part := fmt.Sprintf("%s%s/%s%d", where, name, name, i+1)
		m.write("sys/"+part+"/start", fmt.Sprintf("%d\n", p.First))
		m.write("sys/"+part+"/partition", fmt.Sprintf("%d\n", i+1))
		m.link(filepath.Base(part), part)
	}
	m.link(name, where+name)
}

func (m *machine) link(name, target string) {
	dir := filepath.Join(m.dir, "sys/class/block")
	require.NoError(m.t, os.MkdirAll(dir, 0o755))
	require.NoError(m.t, os.Symlink("../../"+target, filepath.Join(dir, name)))
}

func (m *machine) search() *search {
	say := func(format string, args ...any) { fmt.Fprintf(&m.said, format+"\n", args...) }
	return &search{sys: filepath.Join(m.dir, "sys"), dev: filepath.Join(m.dir, "dev"), open: readTable, say: say, show: 200 * time.Millisecond, answer: time.Second, silent: map[string]bool{}}
}

func TestOwnStickIsFound(t *testing.T) {
	m := newMachine(t, 6)
	m.plug("sdb", usbPath)
	m.write("dev/sda", "no table")
	m.link("sda", sataPath+"sda")
	st, err := m.search().stick()
	require.NoError(t, err)
	require.Equal(t, "sdb", st.disk)
	require.Equal(t, "sdb2", st.results)
}

// An installed system can leave a variable that names one of its own disks, and
// can put the stick's partition table on it.
func TestDisksOfTheMachineAreNeverWrittenTo(t *testing.T) {
	left := newMachine(t, 7)
	left.plug("sdb", usbPath)
	_, err := left.search().stick()
	require.ErrorContains(t, err, "outlives a boot")

	inside := newMachine(t, 6)
	inside.plug("sda", sataPath)
	_, err = inside.search().stick()
	require.ErrorContains(t, err, "is no USB medium")

	both := newMachine(t, 6)
	both.plug("sda", sataPath)
	both.plug("sdb", usbPath)
	_, err = both.search().stick()
	require.ErrorContains(t, err, "2 media")
}

// A copy may take longer to show up than the stick.
func TestACopyThatShowsUpLaterIsSeen(t *testing.T) {
	m := newMachine(t, 6)
	m.plug("sdb", usbPath)
	f := m.search()
	f.again = 300 * time.Millisecond
	go func() {
		time.Sleep(50 * time.Millisecond)
		m.plug("sdc", usbPath)
	}()
	_, err := f.stick()
	require.ErrorContains(t, err, "2 media")
}

func TestADeadDiskDoesNotKeepTheScanner(t *testing.T) {
	m := newMachine(t, 6)
	m.plug("sdb", usbPath)
	dead := []string{"sda", "sdc", "sdd"}
	for _, name := range dead {
		m.write("dev/"+name, "")
		m.link(name, sataPath+name)
	}
	forever := make(chan struct{})
	defer close(forever)
	asked := make(chan string, 100)
	f := m.search()
	f.answer = 200 * time.Millisecond
	f.open = func(dev string) (*gpt.Table, error) {
		if slices.Contains(dead, filepath.Base(dev)) {
			asked <- dev
			<-forever
		}
		return readTable(dev)
	}
	began := time.Now()
	st, err := f.stick()
	require.NoError(t, err)
	require.Equal(t, "sdb", st.disk)
	require.Less(t, time.Since(began), 2*f.answer, "they are waited for together, once")
	require.Len(t, asked, len(dead), "none is asked again")
	for _, name := range dead {
		require.Contains(t, m.said.String(), "disk "+name+": no answer in time")
	}
}

func TestNoMedium(t *testing.T) {
	_, err := newMachine(t, 6).search().stick()
	require.ErrorContains(t, err, "no medium holds")
	m := newMachine(t, 6)
	require.NoError(t, os.RemoveAll(filepath.Join(m.dir, "sys", partUUID)))
	_, err = m.search().stick()
	require.ErrorContains(t, err, "does not say which medium")
}

func TestACallThatPanicsIsAnError(t *testing.T) {
	require.ErrorContains(t, does(time.Second, func() error { panic("here") }), "panic: here")
}
