package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/gpt"
)

// Stick is a raw image of a scanner stick.
type Stick struct {
	File          string
	boot, results int64 // where the partitions start, in bytes
}

// OpenStick finds the partitions of an image.
func OpenStick(file string) (*Stick, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, gpt.HeadSectors*gpt.Sector)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	t, err := gpt.Parse(head)
	if err != nil {
		return nil, err
	}
	s := &Stick{File: file}
	for _, p := range t.Partitions {
		switch p.Name {
		case layout.BootLabel:
			s.boot = int64(p.First) * gpt.Sector
		case layout.ResultLabel:
			s.results = int64(p.First) * gpt.Sector
		}
	}
	if s.boot == 0 || s.results == 0 {
		return nil, errors.New("stick: its partitions are not there")
	}
	return s, nil
}

// mtools runs one of the tools that read and write FAT without mounting it.
func mtools(tool, image string, at int64, args ...string) ([]byte, error) {
	args = append([]string{"-i", fmt.Sprintf("%s@@%d", image, at)}, args...)
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", tool, err, bytes.TrimSpace(out))
	}
	return out, nil
}

// copyTo writes the stick for one boot: with a nonce, and with little time for
// somebody to read the result.
func (s *Stick) copyTo(file, nonce string) error {
	if out, err := exec.Command("cp", "--sparse=always", s.File, file).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	settings, err := json.Marshal(map[string]string{"nonce": nonce, "wait": "2s", "name": "lab"})
	if err != nil {
		return err
	}
	tmp := file + "." + layout.SettingsFile
	if err := os.WriteFile(tmp, settings, 0o600); err != nil {
		return err
	}
	defer os.Remove(tmp)
	_, err = mtools("mcopy", file, s.results, "-o", tmp, "::"+layout.SettingsFile)
	return err
}

// take copies the evidence from a stick.
func (s *Stick) take(medium, file string) error {
	_, err := mtools("mcopy", medium, s.results, "-o", "::"+layout.ResultsDir+"/lab.evidence.zip", file)
	return err
}

// Replace makes a stick whose boot file is another one, as somebody would who
// has the stick for a minute.
func (s *Stick) Replace(file string, image []byte) (*Stick, error) {
	if out, err := exec.Command("cp", "--sparse=always", s.File, file).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cp: %w: %s", err, out)
	}
	tmp := file + ".efi"
	if err := os.WriteFile(tmp, image, 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	if _, err := mtools("mcopy", file, s.boot, "-o", tmp, "::EFI/BOOT/BOOTX64.EFI"); err != nil {
		return nil, err
	}
	return &Stick{File: file, boot: s.boot, results: s.results}, nil
}

// BootFile reads what the firmware starts.
func (s *Stick) BootFile() ([]byte, error) {
	tmp, err := os.MkdirTemp("", "stick")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "boot.efi")
	if _, err := mtools("mcopy", s.File, s.boot, "::EFI/BOOT/BOOTX64.EFI", file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// Listing names the files on the partition for results.
func (s *Stick) Listing(medium string) (string, error) {
	out, err := mtools("mdir", medium, s.results, "-/", "-b", "::")
	return strings.TrimSpace(string(out)), err
}
