package collect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/evidence"
)

// Options say what is collected and how.
type Options struct {
	Collector evidence.Collector
	Image     string    // which boot image runs the collector, when it is one
	Now       time.Time // of the scan
	Nonce     []byte    // of the verifier
	With      []string  // sources that are off by default
	Without   []string  // sources that are left out
	ROM       bool      // consent to enable option ROMs of devices without a driver for reading
	BoundROM  bool      // the same for devices that a driver uses
	EarlyROMs *ROMs     // option ROMs that were read before drivers were loaded; nil for none
	BootDisk  string    // block device that a scanner was started from: partition tables are evidence then
	TPM       string    // "" or "device" for the kernel's, "swtpm:ADDRESS" for a socket
	AKHandle  uint32    // persistent handle of the attestation key; 0 keeps nothing in the TPM
	Passes    int       // 2 reads everything but the TPM twice and keeps what differs
	Extra     []Extra   // sources that the program brings
	Limits    evidence.Limits
	Progress  func(Progress) // called once per source, never concurrently; may be nil
}

// Progress tells what became of one source.
type Progress struct {
	Source string
	Took   time.Duration
	Counts map[evidence.Status]int
	Why    []string // distinct reasons of what was not collected, at most a few
}

// source is one interface of the machine.
type source struct {
	name  string
	about string
	limit time.Duration
	extra bool // only with Options.With
	late  bool // after all others, since it changes while the machine runs
	run   func(*task)
}

// sources lists every source in the order of reports.
func sources() []source {
	const quick, slow = 10 * time.Second, 60 * time.Second
	return []source{
		{name: "dmi", about: "SMBIOS tables, or what the device tree calls a board without", limit: quick, run: dmi},
		{name: "acpi", about: "ACPI tables", limit: quick, run: acpi},
		{name: "efi", about: "EFI variables", limit: 30 * time.Second, run: efi},
		{name: "pci", about: "PCI functions: registers, option ROMs, VPD", limit: slow, run: pci},
		{name: "usb", about: "USB devices", limit: quick, run: usb},
		{name: "i2c", about: "I2C clients that a driver bound, with their EEPROMs", limit: slow, run: i2c},
		{name: "spi", about: "flash chips that a driver bound: id and parameters", limit: quick, run: chips},
		{name: "nvme", about: "NVMe controllers", limit: quick, run: nvme},
		{name: "block", about: "disks", limit: quick, run: block},
		{name: "net", about: "network ports", limit: quick, run: network},
		{name: "cpu", about: "processors", limit: quick, run: cpu},
		{name: "memory", about: "memory as its controllers and CXL devices see it", limit: quick, run: memory},
		{name: "proc", about: "kernel, memory map, uptime", limit: quick, run: proc},
		{name: "ipmi", about: "management controller: device id, FRU, list of sensors and devices", limit: slow, run: ipmiBMC},
		{name: "firmware", about: "flash images; takes seconds to minutes", limit: 10 * time.Minute, extra: true, run: flash},
		{name: "captured", about: "what other tools put beside a captured tree", limit: slow, run: captured},
		{name: "eventlog", about: "measured boot", limit: quick, late: true, run: eventLog},
		{name: "ima", about: "measurements of the running system", limit: quick, late: true, run: imaLog},
		{name: "tpm", about: "TPM: keys, registers, quote", limit: slow, late: true, run: tpmSysfs},
	}
}

// Source names one source, for help texts.
type Source struct {
	Name, About string
	Default     bool
}

// Sources lists what can be collected without an Extra.
func Sources() []Source {
	var out []Source
	for _, s := range sources() {
		out = append(out, Source{s.name, s.about, !s.extra})
	}
	return out
}

// Check reports options that name no source or cannot be followed.
func (o *Options) Check() error {
	known := func(n string) bool {
		return slices.ContainsFunc(o.sources(), func(s source) bool { return s.name == n })
	}
	for _, n := range slices.Concat(o.With, o.Without) {
		if !known(n) {
			return fmt.Errorf("no source is named %q", n)
		}
	}
	if o.Passes < 0 || o.Passes > 2 {
		return fmt.Errorf("%d passes: want 1 or 2", o.Passes)
	}
	if _, err := tpm.ParseAddress(o.TPM); err != nil {
		return err
	}
	return nil
}

// sources lists the built-in sources and those that the program brings.
func (o *Options) sources() []source {
	list := sources()
	for _, x := range o.Extra {
		list = append(list, x.source())
	}
	return list
}

func (o *Options) wants(s source) bool {
	return !slices.Contains(o.Without, s.name) && (!s.extra || slices.Contains(o.With, s.name))
}

// workers is how many sources are read at a time: they wait for devices more
// than they compute.
const workers = 4

// Scan collects evidence and, on a machine with a TPM, lets it sign all of it.
// The error is about the run; what could not be read is in the bundle.
func Scan(ctx context.Context, h *Host, o Options) (*evidence.Writer, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if !h.live && h.has(evidence.IndexName) {
		return nil, fmt.Errorf("the tree holds %s: it is a bundle already and can be verified as it is", evidence.IndexName)
	}
	s := &scan{host: h, opt: &o}
	var early, late []source
	for _, src := range o.sources() {
		switch {
		case !o.wants(src):
			s.leftOut(src)
		case src.late:
			late = append(late, src)
		default:
			early = append(early, src)
		}
	}
	first := s.collect(ctx, early, true)
	if o.Passes == 2 {
		first = append(first, secondPass(first, s.collect(ctx, early, false))...)
	}
	first = append(first, s.collect(ctx, late, true)...)
	w := evidence.NewWriter(s.head(first), o.Limits)
	// What a captured tree holds counts more than that it was not asked for.
	if err := fill(w, append(s.notes, first...)); err != nil {
		return nil, err
	}
	if !h.live && slices.ContainsFunc(first, func(e entry) bool { return strings.HasPrefix(e.path, "tpm/quote-") }) {
		w.Unsealed()
		return w, nil
	}
	if src := slices.IndexFunc(late, func(x source) bool { return x.name == "tpm" }); src >= 0 && (h.live || o.TPM != "") {
		if err := s.sign(ctx, w); err != nil {
			return nil, err
		}
	}
	return w, nil
}

type scan struct {
	host  *Host
	opt   *Options
	notes []entry
}

// leftOut records a source that the operator took out: what it would have
// shown is not absent.
func (s *scan) leftOut(src source) {
	why := "left out by the operator (--without " + src.name + ")"
	if src.extra && !slices.Contains(s.opt.Without, src.name) {
		why = "not asked for (--with " + src.name + ")"
	}
	for _, p := range mainPaths(src.name) {
		s.notes = append(s.notes, entry{path: p, status: evidence.Denied, reason: why})
	}
}

// mainPaths are the artefacts that stand for a source that was not read.
func mainPaths(source string) []string {
	return map[string][]string{
		"dmi": {dmiDir + "/DMI", dmiDir + "/smbios_entry_point"}, "acpi": {acpiDir}, "efi": {efiDir}, "pci": {pciDir}, "usb": {usbDir}, "i2c": {i2cDir}, "spi": {spiDir}, "memory": {edacDir, cxlDir},
		"nvme": {nvmeDir}, "block": {blockDir}, "net": {netDir}, "cpu": {"proc/cpuinfo"}, "proc": {"proc/meminfo", "proc/iomem", "proc/uptime"},
		"ipmi": {deviceIDPath, "ipmi/fru-0.bin", sdrPath, fmt.Sprintf(lanPath, 1)}, "firmware": {"firmware/bios.rom"}, "eventlog": {eventLogPath}, "ima": {imaPath},
		"tpm": {tpm.PropertiesPath, "tpm/quote-sha256.attest"},
	}[source]
}

// collect runs sources, a few at a time, and returns what they gave.
func (s *scan) collect(ctx context.Context, list []source, tell bool) []entry {
	results := make([][]entry, len(list))
	var mu sync.Mutex
	var wg sync.WaitGroup
	gate := make(chan struct{}, workers)
	for i, src := range list {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			began := time.Now()
			results[i] = s.runSource(ctx, src)
			if tell && s.opt.Progress != nil {
				p := progressOf(src.name, results[i], time.Since(began))
				mu.Lock()
				defer mu.Unlock()
				s.opt.Progress(p)
			}
		})
	}
	wg.Wait()
	return slices.Concat(results...)
}

// grace is how long a source whose time is over may take to write down what it
// did not read.
const grace = 500 * time.Millisecond

func (s *scan) runSource(ctx context.Context, src source) []entry {
	ctx, cancel := context.WithTimeout(ctx, src.limit)
	defer cancel()
	t := newTask(ctx, s.host, s.opt)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.broken(src.name)
		src.run(t)
	}()
	select {
	case <-done:
		return t.finish(ctx.Err() != nil)
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(grace):
	}
	return t.finish(true)
}

func progressOf(name string, es []entry, took time.Duration) Progress {
	p := Progress{Source: name, Took: took, Counts: map[evidence.Status]int{}}
	for _, e := range es {
		p.Counts[e.status]++
		why := string(e.status) + ": " + cmp.Or(e.reason, "no reason")
		if e.status != evidence.Collected && !slices.Contains(p.Why, why) && len(p.Why) < 3 {
			p.Why = append(p.Why, why)
		}
	}
	return p
}

// head is the index without artefacts. The machine's names are copied from
// what the kernel prints; they are labels.
func (s *scan) head(es []entry) evidence.Index {
	text := func(name string) string {
		for _, e := range es {
			if e.path == name && len(e.data) < 1024 {
				return strings.ToValidUTF8(strings.Trim(string(e.data), " \t\r\n\x00"), "?")
			}
		}
		return ""
	}
	ix := evidence.Index{
		Collector: s.opt.Collector, CollectedAt: s.opt.Now, Nonce: fmt.Sprintf("%x", s.opt.Nonce),
		Machine: evidence.Machine{Manufacturer: text(dmiText + "/sys_vendor"), Product: text(dmiText + "/product_name"), Serial: text(dmiText + "/product_serial"), UUID: text(dmiText + "/product_uuid")},
		Mode:    evidence.Mode{Root: s.host.root, Image: s.opt.Image},
	}
	if _, rest, ok := strings.Cut(text(lockdownPath), "["); ok {
		ix.Mode.Lockdown, _, _ = strings.Cut(rest, "]")
	}
	for _, e := range es {
		if e.path == "proc/cpuinfo" && bytes.Contains(e.data, []byte(" hypervisor")) {
			ix.Mode.Virtual = "hypervisor bit of CPUID"
		}
	}
	return ix
}

// fill puts entries into the bundle. What its format cannot hold is noted, so
// that an odd name or an endless file hides nothing.
func fill(w *evidence.Writer, es []entry) error {
	for _, e := range es {
		if err := fillOne(w, e); err != nil {
			return fmt.Errorf("collect: %w", err)
		}
	}
	return nil
}

func fillOne(w *evidence.Writer, e entry) error {
	name := escape(e.path)
	if e.status == evidence.Collected {
		err := w.Add(name, e.data, e.reason)
		if err == nil {
			return nil
		}
		e.status, e.reason = evidence.Failed, "the bundle cannot hold it: "+err.Error()
	}
	if err := w.Note(name, e.status, e.reason); err != nil {
		return w.Note(fmt.Sprintf("unnamed/%x", sha256.Sum256([]byte(e.path))), e.status, err.Error())
	}
	return nil
}

// escape writes the bytes that a name in a bundle may not have as %XX: control
// characters, backslashes and text that is not in the normal form of Unicode.
func escape(name string) string {
	odd := func(r rune) bool { return r == '\\' || r == '%' || unicode.IsControl(r) }
	if utf8.ValidString(name) && norm.NFC.IsNormalString(name) && !strings.ContainsFunc(name, odd) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c == '\\' || c == '%' || c < ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
