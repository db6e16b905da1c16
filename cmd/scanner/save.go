//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/image/layout"
)

const (
	evidenceEnding = ".evidence.zip"
	maxName        = 64 // characters, without the ending
	maxScans       = 9999
	saveTime       = 5 * time.Minute
)

// save writes the evidence to the stick and never over what is there. It gives
// the path on the stick.
func (s *session) save(w *evidence.Writer) (string, error) {
	if s.stick == nil || !s.stick.mounted {
		return "", fmt.Errorf("the stick's partition %s is not there", layout.ResultLabel)
	}
	return within(saveTime, func() (string, error) {
		name, err := saveIn(stickDir, s.evidenceName(serialNumber()), w, roomIn)
		if err == nil {
			unix.Sync()
		}
		return name, err
	})
}

func saveIn(stick, base string, w *evidence.Writer, room func(dir string) (int64, error)) (string, error) {
	dir := filepath.Join(stick, layout.ResultsDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name, err := freeName(dir, base)
	if err != nil {
		return "", err
	}
	if there, err := room(dir); err == nil && there < atMost(w) {
		var need counter
		if err := w.WriteZip(&need); err != nil {
			return "", err
		}
		if there < int64(need) {
			return "", fmt.Errorf("the stick has room for %d KiB and the evidence needs %d KiB; clear its folder %s", there>>10, int64(need)>>10+1, layout.ResultsDir)
		}
	}
	return layout.ResultsDir + "/" + name, w.Save(filepath.Join(dir, name))
}

// atMost bounds the size of the evidence without compressing it.
func atMost(w *evidence.Writer) int64 {
	n := int64(64 << 10)
	for _, a := range w.Artifacts() {
		n += a.Size + int64(1024+8*(len(a.Path)+len(a.Reason)))
	}
	return n
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// roomIn is how many bytes the file system of a directory still takes.
func roomIn(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// freeName is a name that no file of the directory has: a second scan under the
// same name is another machine, or this one at another time.
func freeName(dir, base string) (string, error) {
	for n := 1; n <= maxScans; n++ {
		name := base + evidenceEnding
		if n > 1 {
			name = fmt.Sprintf("%s-%d%s", base, n, evidenceEnding)
		}
		_, err := os.Lstat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("the folder %s holds %d files named %s; clear it", layout.ResultsDir, maxScans, base)
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// plainName keeps of a text what a file's name may hold everywhere.
func plainName(s string) string {
	s = strings.Trim(notInName.ReplaceAllString(strings.TrimSpace(s), "-"), ".-")
	return strings.TrimRight(s[:min(len(s), maxName)], ".-")
}

// evidenceName is made of the machine's serial number and the time of the scan,
// unless the settings name it.
func (s *session) evidenceName(serial string) string {
	if name := plainName(s.set.Name); name != "" {
		return name
	}
	at := s.began.UTC().Format("20060102-150405")
	serial = plainName(serial)
	if serial == "" || len(serial)+1+len(at) > maxName {
		serial = "machine"
	}
	return serial + "-" + at
}

func serialNumber() string { return readText("/sys/class/dmi/id/product_serial") }
