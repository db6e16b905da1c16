package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/evidence"
)

const (
	mtdDir   = "sys/class/mtd"
	biosPath = "firmware/bios.rom"
)

var mtdName = regexp.MustCompile(`^mtd\d+$`)

// flash reads firmware images: every flash device that a kernel driver bound,
// and otherwise the copy of the boot flash that chipsets map below 4 GiB.
func flash(t *task) {
	if t.host.live {
		t.images(func(n string) (io.ReadCloser, error) { return os.Open("/dev/" + n + "ro") }, window)
	}
}

// images reads through the given ways to flash devices and to memory.
func (t *task) images(open func(string) (io.ReadCloser, error), window func(string, int64, int) ([]byte, error)) {
	found := false
	if t.host.has(mtdDir) {
		for _, n := range t.list(mtdDir) {
			if mtdName.MatchString(n) && !t.over(mtdDir+"/"+n) {
				found = t.mtd(n, open) || found
			}
		}
	}
	if !found {
		t.mappedFlash(window)
	}
}

// origin is firmware/<name>.json.
type origin struct {
	Source   string `json:"source"`
	Offset   int64  `json:"offset"`
	Length   int64  `json:"length"`
	Complete bool   `json:"complete"`
}

func (t *task) image(name string, data []byte, o origin) {
	t.add(name, data)
	o.Length, o.Complete = int64(len(data)), true
	if side, err := json.Marshal(o); err == nil {
		t.add(strings.TrimSuffix(name, ".rom")+".json", append(side, '\n'))
	}
}

// mtd reads one flash device through its read-only node.
func (t *task) mtd(n string, open func(string) (io.ReadCloser, error)) bool {
	text := func(attr string) string {
		b, err := t.host.read(t.ctx, mtdDir+"/"+n+"/"+attr, 256, time.Second)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	name := "firmware/" + imageName(text("name"), n) + ".rom"
	size, err := strconv.ParseInt(text("size"), 10, 64)
	const most = 64 << 20
	if err != nil || size <= 0 || size > most {
		t.note(name, evidence.Failed, fmt.Sprintf("%s: size %q is not between 1 and %d", n, text("size"), most))
		return false
	}
	t.at(name)
	data, err := within(t.ctx, 5*time.Minute, func(ctx context.Context) ([]byte, error) {
		f, err := open(n)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAll(ctx, f, size)
	})
	switch {
	case err != nil:
		t.fail(name, err)
		return false
	case int64(len(data)) != size:
		t.note(name, evidence.Failed, fmt.Sprintf("%d bytes read of %d", len(data), size))
		return false
	}
	t.image(name, data, origin{Source: "/dev/" + n + "ro"})
	return true
}

// imageName turns a flash device's label into an artefact's name.
func imageName(label, device string) string {
	label = strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, label), "-.")
	if label == "" {
		return device
	}
	return label
}

const (
	flashEnd    = 4 << 30
	flashWindow = 16 << 20
)

// mappedFlash reads the window below 4 GiB. Kernel lockdown closes it.
func (t *task) mappedFlash(window func(string, int64, int) ([]byte, error)) {
	t.at(biosPath)
	data, err := within(t.ctx, time.Minute, func(context.Context) ([]byte, error) { return window("/dev/mem", flashEnd-flashWindow, flashWindow) })
	switch {
	case err != nil:
		t.fail(biosPath, err)
		return
	case len(data) != flashWindow:
		t.note(biosPath, evidence.Failed, fmt.Sprintf("%d bytes read of %d", len(data), flashWindow))
		return
	}
	data = populated(data)
	if len(data) == 0 {
		t.note(biosPath, evidence.Failed, "no flash answers below 4 GiB")
		return
	}
	t.image(biosPath, data, origin{Source: "/dev/mem", Offset: flashEnd - int64(len(data))})
}

// populated cuts off the part of the window that no flash answers: chips have
// a power of two of bytes and end at 4 GiB.
func populated(data []byte) []byte {
	const smallest = 64 << 10
	for len(data) > smallest {
		half := data[:len(data)/2]
		if !uniform(half) {
			return data
		}
		data = data[len(data)/2:]
	}
	if uniform(data) {
		return nil
	}
	return data
}

func uniform(b []byte) bool {
	return b[0] == 0xff && len(bytes.Trim(b, "\xff")) == 0 || b[0] == 0 && len(bytes.Trim(b, "\x00")) == 0
}
