//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"

	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/gpt"
)

const (
	stickDir = "/stick"
	// partUUID is where a boot loader says which partition it was started from
	// (Boot Loader Interface).
	partUUID = "firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
	// nonVolatile is the attribute of a variable that outlives a boot (UEFI 2.10,
	// 8.2.1).
	nonVolatile = 1
)

// How long media are waited for.
const (
	showTime  = 20 * time.Second // until the own medium shows up
	copyTime  = time.Second      // after that, for a copy of it
	tableTime = 3 * time.Second  // for the answer of one disk
	mountTime = 20 * time.Second
)

// stick is the medium that the scanner was started from.
type stick struct {
	disk    string // name of the block device
	results string // name of its partition for results
	table   *gpt.Table
	mounted bool
}

// bootPartition reads which partition the firmware started this image from. The
// stub sets the variable for this boot; one that outlives a boot was left by
// whoever could write to an installed system.
func bootPartition(raw []byte) (string, error) {
	if len(raw) < 4+2*36 || len(raw) > 256 {
		return "", fmt.Errorf("LoaderDevicePartUUID has %d bytes", len(raw))
	}
	if a := binary.LittleEndian.Uint32(raw); a&nonVolatile != 0 {
		return "", fmt.Errorf("LoaderDevicePartUUID has the attributes %#x: it outlives a boot, so that this boot did not set it", a)
	}
	var u []uint16
	for i := 4; i+1 < len(raw); i += 2 {
		if c := binary.LittleEndian.Uint16(raw[i:]); c != 0 {
			u = append(u, c)
		}
	}
	return strings.ToLower(string(utf16.Decode(u))), nil
}

// search looks for the medium that the scanner was started from.
type search struct {
	sys, dev string                           // "/sys" and "/dev", or trees of a test
	open     func(string) (*gpt.Table, error) // reads the table of a device; may hang
	say      func(format string, args ...any) // told of disks that do not answer
	show     time.Duration                    // how long the medium may take to show up
	again    time.Duration                    // how long after it a copy may
	answer   time.Duration                    // how long one disk may take
	silent   map[string]bool                  // disks that did not answer
}

func (s *session) search() *search {
	return &search{sys: "/sys", dev: "/dev", open: readTable, say: s.say, show: showTime, again: copyTime, answer: tableTime, silent: map[string]bool{}}
}

// stick finds the disk that holds the partition this image was started from.
// USB media take a while to show up. Two disks with that partition are a copy of
// each other, and none is written to then; nor is a disk that is no USB medium.
func (f *search) stick() (*stick, error) {
	raw, err := os.ReadFile(filepath.Join(f.sys, partUUID))
	if err != nil {
		return nil, fmt.Errorf("the firmware does not say which medium was started: %w", err)
	}
	id, err := bootPartition(raw)
	if err != nil {
		return nil, err
	}
	found := f.disksWith(id)
	for end := time.Now().Add(f.show); len(found) == 0; found = f.disksWith(id) {
		if time.Now().After(end) {
			return nil, fmt.Errorf("no medium holds the partition %s", id)
		}
		time.Sleep(f.show / 100)
	}
	time.Sleep(f.again)
	if found = f.disksWith(id); len(found) != 1 {
		return nil, fmt.Errorf("%d media hold the partition %s; leave exactly one", len(found), id)
	}
	st := found[0]
	if err := f.isUSB(st.disk); err != nil {
		return nil, err
	}
	return st, f.partition(st)
}

// disksWith asks all disks at a time, since each may take its time to say
// nothing.
func (f *search) disksWith(id string) []*stick {
	names, err := os.ReadDir(filepath.Join(f.sys, "class/block"))
	if err != nil {
		return nil
	}
	names = slices.DeleteFunc(names, func(n fs.DirEntry) bool {
		_, err := os.Stat(filepath.Join(f.sys, "class/block", n.Name(), "partition"))
		return err == nil || f.silent[n.Name()]
	})
	tables, errs := make([]*gpt.Table, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() {
			tables[i], errs[i] = within(f.answer, func() (*gpt.Table, error) { return f.open(filepath.Join(f.dev, n.Name())) })
		})
	}
	wg.Wait()
	var out []*stick
	for i, n := range names {
		if errors.Is(errs[i], errSilent) {
			f.silent[n.Name()] = true
			f.say("disk %s: %v; it is not asked again", n.Name(), errs[i])
		}
		if errs[i] != nil {
			continue
		}
		for _, p := range tables[i].Partitions {
			if p.ID.String() == id {
				out = append(out, &stick{disk: n.Name(), table: tables[i]})
			}
		}
	}
	return out
}

func readTable(dev string) (*gpt.Table, error) {
	f, err := os.Open(dev)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, gpt.HeadSectors*gpt.Sector)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	return gpt.Parse(head)
}

var usbBus = regexp.MustCompile(`/usb[0-9]+/`)

// isUSB reports a disk that is not below a USB controller: the machine's own
// disks are never written to, whatever is on them.
func (f *search) isUSB(disk string) error {
	where, err := filepath.EvalSymlinks(filepath.Join(f.sys, "class/block", disk))
	if err != nil {
		return err
	}
	base, err := filepath.EvalSymlinks(f.sys)
	if err != nil {
		return err
	}
	if where = strings.TrimPrefix(where, base); !usbBus.MatchString(where) {
		return fmt.Errorf("the medium %s (%s) is no USB medium and is not written to", disk, where)
	}
	return nil
}

// partition finds the device of the partition for results by where it starts.
func (f *search) partition(s *stick) error {
	for _, p := range s.table.Partitions {
		if p.Type != gpt.Data || p.Name != layout.ResultLabel {
			continue
		}
		dirs, err := filepath.Glob(filepath.Join(f.sys, "class/block", s.disk, s.disk+"*"))
		if err != nil {
			return err
		}
		for _, d := range dirs {
			if readText(d+"/start") == strconv.FormatUint(p.First, 10)+"\n" {
				s.results = filepath.Base(d)
				return nil
			}
		}
	}
	return fmt.Errorf("%s has no partition %s", s.disk, layout.ResultLabel)
}

func (s *stick) mount() error {
	err := does(mountTime, func() error {
		_, err := mount.Mount("/dev/"+s.results, stickDir, "vfat", "", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV)
		return err
	})
	if err != nil {
		return fmt.Errorf("mount %s: %w", s.results, err)
	}
	s.mounted = true
	return nil
}

func (s *stick) unmount() error {
	if !s.mounted {
		return nil
	}
	s.mounted = false
	err := does(mountTime, func() error { return mount.Unmount(stickDir, false, false) })
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}
