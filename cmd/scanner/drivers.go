//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/assay-hw/assay/image/layout"
)

// drivers is the plan of kernel modules that came with the image.
type drivers struct {
	always  []string
	aliases [][2]string // pattern and module
	needs   map[string][]string
	done    map[string]bool
}

// readPlan reads the plan: lines "always NAME", "alias PATTERN NAME" and
// "needs NAME OTHER...".
func readPlan(root fs.FS) (*drivers, error) {
	raw, err := fs.ReadFile(root, layout.ModulesPlan)
	if err != nil {
		return nil, fmt.Errorf("plan of drivers: %w", err)
	}
	d := &drivers{needs: map[string][]string{}, done: map[string]bool{}}
	for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		switch f := strings.Fields(line); {
		case len(f) == 2 && f[0] == "always":
			d.always = append(d.always, f[1])
		case len(f) == 3 && f[0] == "alias":
			d.aliases = append(d.aliases, [2]string{f[1], f[2]})
		case len(f) > 2 && f[0] == "needs":
			d.needs[f[1]] = f[2:]
		default:
			return nil, fmt.Errorf("plan of drivers: line %d: %q", i+1, line)
		}
	}
	return d, nil
}

// The rounds in which devices are looked for: a driver for a bus shows the
// devices behind it, some after a while.
const (
	rounds    = 12
	roundTime = 250 * time.Millisecond
	calm      = 4 // rounds without a new device after which no more come
)

// loadAll loads the drivers that are always wanted, then those of the devices
// that are there, until no new device shows up. It returns how many it loaded.
func (d *drivers) loadAll(present func() []string, load func(string) error, sleep func(time.Duration)) int {
	n := 0
	for _, m := range d.always {
		n += d.load(m, load)
	}
	seen := map[string]bool{}
	quiet := 0
	for range rounds {
		fresh := 0
		for _, alias := range present() {
			if seen[alias] {
				continue
			}
			seen[alias] = true
			fresh++
			for _, m := range d.wantedBy(alias) {
				n += d.load(m, load)
			}
		}
		if quiet++; fresh > 0 {
			quiet = 0
		}
		if quiet == calm {
			break
		}
		sleep(roundTime)
	}
	return n
}

// wantedBy lists the drivers of a device.
func (d *drivers) wantedBy(alias string) []string {
	var out []string
	for _, a := range d.aliases {
		if ok, err := path.Match(a[0], alias); ok && err == nil && !slices.Contains(out, a[1]) {
			out = append(out, a[1])
		}
	}
	return out
}

func (d *drivers) load(name string, load func(string) error) int {
	if d.done[name] {
		return 0
	}
	d.done[name] = true
	n := 0
	for _, need := range d.needs[name] {
		n += d.load(need, load)
	}
	if load(name) == nil {
		n++
	}
	return n
}

// moduleTime is for one driver and the devices that it looks at while it is
// loaded.
const moduleTime = 20 * time.Second

// loadModule gives one module to the kernel. A driver that the kernel refuses,
// for want of its device for example, leaves its devices unread, and the
// evidence says so.
func (s *session) loadModule(name string) error {
	err := does(moduleTime, func() error {
		f, err := os.Open("/" + layout.ModulesDir + "/" + name + ".ko")
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.FinitModule(int(f.Fd()), "", 0)
	})
	if errors.Is(err, errSilent) {
		s.say("driver %s: %v; what it would have shown is missing", name, err)
	}
	return err
}

// devices lists how the devices of the machine name themselves to drivers.
func devices(root fs.FS) []string {
	var out []string
	_ = fs.WalkDir(root, "sys/devices", func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() == "modalias" {
			if b, err := fs.ReadFile(root, p); err == nil {
				out = append(out, strings.TrimSpace(string(b)))
			}
		}
		return nil
	})
	return out
}
