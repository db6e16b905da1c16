package doctor

import (
	"bufio"
	"io/fs"
	"strings"
)

// host is the files of the machine, where it is at hand.
type host struct{ files fs.FS }

func (h host) here() bool { return h.files != nil }

func (h host) has(name string) bool {
	if h.files == nil {
		return false
	}
	_, err := fs.Stat(h.files, name)
	return err == nil
}

func (h host) empty(dir string) bool {
	if h.files == nil {
		return false
	}
	es, err := fs.ReadDir(h.files, dir)
	return err == nil && len(es) == 0
}

const maxHostFile = 4 << 20

func (h host) text(name string) string {
	if h.files == nil {
		return ""
	}
	f, err := h.files.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, maxHostFile)
	n := 0
	for n < len(b) {
		m, err := f.Read(b[n:])
		n += m
		if err != nil || m == 0 {
			break
		}
	}
	return string(b[:n])
}

// container names what the system runs in, "" when nothing shows that it is confined.
func (h host) container() string {
	if s := strings.TrimSpace(h.text("run/systemd/container")); s != "" {
		return s
	}
	switch {
	case h.has(".dockerenv"):
		return "docker"
	case h.has("run/.containerenv"):
		return "podman"
	}
	return ""
}

// driver says where a kernel module is.
type driver string

const (
	driverLoaded    driver = "loaded"
	driverBuiltIn   driver = "built in"
	driverAvailable driver = "available"
	driverNowhere   driver = "not installed"
	driverUnknown   driver = "" // the machine is not at hand, or shows no modules
)

// driver looks for a module: among those that run, and in the lists that depmod
// writes for the running kernel (modules.dep(5)).
func (h host) driver(name string) driver {
	under := strings.ReplaceAll(name, "-", "_")
	if h.has("sys/module/" + under) {
		return driverLoaded
	}
	fields := strings.Fields(h.text("proc/version")) // "Linux version RELEASE ..."
	if len(fields) < 3 {
		return driverUnknown
	}
	dir := "lib/modules/" + fields[2]
	if !h.has(dir + "/modules.dep") {
		return driverUnknown
	}
	switch {
	case listed(h.text(dir+"/modules.builtin"), under):
		return driverBuiltIn
	case listed(h.text(dir+"/modules.dep"), under):
		return driverAvailable
	}
	return driverNowhere
}

// listed reports whether a line of a list of modules begins with the module's file.
func listed(list, name string) bool {
	for s := bufio.NewScanner(strings.NewReader(list)); s.Scan(); {
		file, _, _ := strings.Cut(s.Text(), ":")
		file = file[strings.LastIndexByte(file, '/')+1:]
		file, _, _ = strings.Cut(file, ".ko")
		if strings.ReplaceAll(file, "-", "_") == name {
			return true
		}
	}
	return false
}

// load says how to get one of some modules running, "" when one of them runs.
func (h host) load(what string, names ...string) string {
	var can []string
	nowhere := 0
	for _, n := range names {
		switch h.driver(n) {
		case driverLoaded, driverBuiltIn:
			return ""
		case driverAvailable:
			can = append(can, "sudo modprobe "+n)
		case driverNowhere:
			nowhere++
		}
	}
	switch {
	case len(can) > 0:
		return "Load the driver for " + what + " (" + strings.Join(can, "; ") + "), and scan again."
	case nowhere == len(names):
		return "This kernel has no driver for " + what + " (" + strings.Join(names, ", ") + "): install the package with its further modules, or boot the scanner stick (assay image build)."
	}
	return "Load the driver for " + what + " (" + strings.Join(names, ", ") + "), or boot the scanner stick (assay image build)."
}

// list names what a directory holds.
func (h host) list(dir string) ([]string, error) {
	if h.files == nil {
		return nil, nil
	}
	es, err := fs.ReadDir(h.files, dir)
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out, err
}
