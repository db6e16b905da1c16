//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	partUUID = "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
)

// stick is the medium that the scanner was started from.
type stick struct {
	disk    string // name of the block device
	results string // name of its partition for results
	table   *gpt.Table
	mounted bool
}

// bootPartition reads which partition the firmware started this image from.
func bootPartition(raw []byte) (string, error) {
	if len(raw) < 4+2*36 || len(raw) > 256 {
		return "", fmt.Errorf("LoaderDevicePartUUID has %d bytes", len(raw))
	}
	var u []uint16
	for i := 4; i+1 < len(raw); i += 2 {
		if c := binary.LittleEndian.Uint16(raw[i:]); c != 0 {
			u = append(u, c)
		}
	}
	return strings.ToLower(string(utf16.Decode(u))), nil
}

// findStick looks for the disk that holds the partition this image was started
// from. USB media take a while to show up. Two disks with that partition are a
// copy of each other, and none is written to then.
func findStick(patience time.Duration) (*stick, error) {
	raw, err := os.ReadFile(partUUID)
	if err != nil {
		return nil, fmt.Errorf("the firmware does not say which medium was started: %w", err)
	}
	id, err := bootPartition(raw)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		found := disksWith(id)
		switch {
		case len(found) == 1:
			return found[0], found[0].partition()
		case len(found) > 1:
			return nil, fmt.Errorf("%d media hold the partition %s; remove all but one", len(found), id)
		case time.Now().After(end):
			return nil, fmt.Errorf("no medium holds the partition %s", id)
		}
	}
}

func disksWith(id string) []*stick {
	var out []*stick
	names, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return nil
	}
	for _, n := range names {
		if _, err := os.Stat("/sys/class/block/" + n.Name() + "/partition"); err == nil {
			continue
		}
		t, err := readTable("/dev/" + n.Name())
		if err != nil {
			continue
		}
		for _, p := range t.Partitions {
			if p.ID.String() == id {
				out = append(out, &stick{disk: n.Name(), table: t})
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

// partition finds the device of the partition for results by where it starts.
func (s *stick) partition() error {
	for _, p := range s.table.Partitions {
		if p.Type != gpt.Data || p.Name != layout.ResultLabel {
			continue
		}
		dirs, err := filepath.Glob("/sys/class/block/" + s.disk + "/" + s.disk + "*")
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
	if _, err := mount.Mount("/dev/"+s.results, stickDir, "vfat", "", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV); err != nil {
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
	if err := mount.Unmount(stickDir, false, false); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}
