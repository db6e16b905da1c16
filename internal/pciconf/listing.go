package pciconf

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Listed is one function as lspci prints it without a hexadecimal dump: plain,
// with -n or -nn, with -v, and with -m or -mm. A pointer is nil where the text does
// not say; names are those of the database that lspci used.
type Listed struct {
	Address                   string // "0000:02:00.0"
	Offset, Length            int    // in the text
	Name                      string // maker and device in words
	Vendor, Device            *uint16
	SubVendor, Sub            *uint16 // zero where a verbose listing names none
	Class                     *uint16 // class and subclass
	Interface                 *uint8
	Revision                  uint8
	Slot, Label, Driver       string
	Secondary                 *uint8 // bus behind a bridge
	Serial                    uint64 // device serial number, 0 for none
	BusMaster, DMA            bool
	verbose, subsystemInWords bool
}

// Limits of one listing.
const (
	maxListed     = 65536
	maxListedLine = 4096
)

var (
	listedFirst     = regexp.MustCompile(`^((?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]) (.+)$`)
	listedMachine   = regexp.MustCompile(`"([^"]*)"|-r([0-9a-fA-F]{2})|-p([0-9a-fA-F]{2})`)
	listedRevision  = regexp.MustCompile(` \(rev ([0-9a-fA-F]{2})\)`)
	listedInterface = regexp.MustCompile(` \(prog-if ([0-9a-fA-F]{2})(?: \[[^\]]*\])?\)`)
	pairInBrackets  = regexp.MustCompile(`\[([0-9a-fA-F]{4}):([0-9a-fA-F]{4})\]\s*$`)
	idInBrackets    = regexp.MustCompile(`\[([0-9a-fA-F]{4})\]\s*$`)
	bareID          = regexp.MustCompile(`^[0-9a-fA-F]{4}$`)
	barePair        = regexp.MustCompile(`^([0-9a-fA-F]{4}):([0-9a-fA-F]{4})$`)
	listedSerial    = regexp.MustCompile(`Device Serial Number ((?:[0-9a-fA-F]{2}-){7}[0-9a-fA-F]{2})`)
	listedSecondary = regexp.MustCompile(`^Bus: primary=[0-9a-fA-F]{2}, secondary=([0-9a-fA-F]{2})`)
	listedCapable   = regexp.MustCompile(`^Capabilities: \[[0-9a-fA-F]+[^\]]*\] (?:MSI:|MSI-X:|Express .*Endpoint)`)
)

// ParseListing reads what lspci prints in words. It returns no function for a
// text that is no such listing.
func ParseListing(text []byte) ([]Listed, []Problem) {
	p := &listingReader{}
	for o := 0; o < len(text); {
		line, next := text[o:], len(text)
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line, next = line[:n], o+n+1
		}
		if len(line) > maxListedLine {
			p.problems = append(p.problems, Problem{o, fmt.Sprintf("a line of %d bytes, %d are read", len(line), maxListedLine)})
			line = line[:maxListedLine]
		}
		if !p.line(string(bytes.TrimRight(line, "\r")), o) {
			p.problems = append(p.problems, Problem{o, fmt.Sprintf("more than %d functions", maxListed)})
			break
		}
		o = next
		if p.current != nil {
			p.current.Length = o - p.current.Offset
		}
	}
	p.finish()
	return p.out, p.problems
}

type listingReader struct {
	out      []Listed
	problems []Problem
	current  *Listed
}

func (p *listingReader) finish() {
	if c := p.current; c != nil && (c.Name != "" || c.Vendor != nil) {
		zero, none := uint16(0), uint8(0)
		if c.verbose && c.SubVendor == nil && !c.subsystemInWords {
			c.SubVendor, c.Sub = &zero, &zero // a verbose listing shows every one that is not zero
		}
		if c.verbose && c.Interface == nil {
			c.Interface = &none
		}
		p.out = append(p.out, *c)
	}
	p.current = nil
}

// line reads one line; false means that there are too many functions.
func (p *listingReader) line(line string, offset int) bool {
	switch {
	case strings.TrimSpace(line) == "":
		p.finish()
		return true
	case strings.HasPrefix(line, "Slot:\t") || strings.HasPrefix(line, "Device:\t") && p.current == nil:
		p.finish()
		_, address, _ := strings.Cut(line, "\t")
		if lspciAddress.MatchString(address) {
			p.current = &Listed{Address: fullAddress(address), Offset: offset}
		}
		return len(p.out) < maxListed
	}
	if m := listedFirst.FindStringSubmatch(line); m != nil {
		p.finish()
		p.current = &Listed{Address: fullAddress(m[1]), Offset: offset}
		if strings.HasPrefix(m[2], `"`) {
			p.current.machine(m[2])
		} else {
			p.current.words(m[2])
		}
		return len(p.out) < maxListed
	}
	switch {
	case p.current == nil:
	case strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "    "):
		p.current.detail(strings.TrimSpace(line))
	default:
		p.current.keyed(line)
	}
	return true
}

// words reads the first line of a function for people.
func (l *Listed) words(s string) {
	if m := listedInterface.FindStringSubmatchIndex(s); m != nil {
		l.Interface = hex8(s[m[2]:m[3]])
		s = s[:m[0]] + s[m[1]:]
	}
	if m := listedRevision.FindStringSubmatchIndex(s); m != nil {
		l.Revision = *hex8(s[m[2]:m[3]])
		s = s[:m[0]] + s[m[1]:]
	}
	class, device, ok := strings.Cut(s, ": ")
	if !ok {
		return
	}
	device = strings.TrimSpace(device)
	l.Class = idOf(class)
	l.Vendor, l.Device, l.Name = pairOf(device)
}

// machine reads a line of -m or -mm: class, maker, device, then the subsystem.
func (l *Listed) machine(s string) {
	var fields []string
	for _, m := range listedMachine.FindAllStringSubmatch(s, 16) {
		switch {
		case m[2] != "":
			l.Revision = *hex8(m[2])
		case m[3] != "":
			l.Interface = hex8(m[3])
		default:
			fields = append(fields, m[1])
		}
	}
	if len(fields) < 3 {
		return
	}
	l.Class, l.Vendor, l.Device = idOf(fields[0]), idOf(fields[1]), idOf(fields[2])
	l.Name = strings.TrimSpace(nameOf(fields[1]) + " " + nameOf(fields[2]))
	if len(fields) >= 5 && fields[3] != "" {
		l.SubVendor, l.Sub = idOf(fields[3]), idOf(fields[4])
	}
}

// keyed reads a line of -vmm.
func (l *Listed) keyed(line string) {
	key, value, ok := strings.Cut(line, ":\t")
	if !ok {
		return
	}
	switch key {
	case "Class":
		l.Class = idOf(value)
	case "Vendor":
		l.Vendor, l.Name = idOf(value), nameOf(value)
	case "Device":
		l.Device, l.Name = idOf(value), strings.TrimSpace(l.Name+" "+nameOf(value))
	case "SVendor":
		l.SubVendor = idOf(value)
	case "SDevice":
		l.Sub = idOf(value)
	case "Rev":
		if n := hex8(value); n != nil {
			l.Revision = *n
		}
	case "ProgIf":
		l.Interface = hex8(value)
	case "PhySlot":
		l.Slot = value
	case "Driver":
		l.Driver = value
	}
}

// detail reads a line below a function, of -v and more.
func (l *Listed) detail(s string) {
	l.verbose = true
	switch key, value, _ := strings.Cut(s, ":"); key {
	case "Subsystem":
		l.subsystem(strings.TrimSpace(value))
	case "DeviceName":
		l.Label = strings.TrimSpace(value)
	case "Physical Slot":
		l.Slot = strings.TrimSpace(value)
	case "Kernel driver in use":
		l.Driver = strings.TrimSpace(value)
	case "Flags":
		l.BusMaster = l.BusMaster || strings.Contains(value, "bus master")
	case "Control":
		l.BusMaster = l.BusMaster || strings.Contains(value, "BusMaster+")
	case "Bus":
		if m := listedSecondary.FindStringSubmatch(s); m != nil {
			l.Secondary = hex8(m[1])
		}
	case "Capabilities":
		l.DMA = l.DMA || listedCapable.MatchString(s)
		if _, inside, ok := strings.Cut(value, "] Subsystem:"); ok {
			l.subsystem(strings.TrimSpace(inside))
		}
		if m := listedSerial.FindStringSubmatch(s); m != nil {
			l.Serial, _ = strconv.ParseUint(strings.ReplaceAll(m[1], "-", ""), 16, 64)
		}
	}
}

func (l *Listed) subsystem(s string) {
	v, d, _ := pairOf(s)
	l.SubVendor, l.Sub = v, d
	l.subsystemInWords = v == nil
}

// pairOf reads "name [8086:10d3]" or "8086:10d3".
func pairOf(s string) (vendor, device *uint16, name string) {
	if m := barePair.FindStringSubmatch(s); m != nil {
		return hex16(m[1]), hex16(m[2]), ""
	}
	if m := pairInBrackets.FindStringSubmatchIndex(s); m != nil {
		return hex16(s[m[2]:m[3]]), hex16(s[m[4]:m[5]]), strings.TrimSpace(s[:m[0]])
	}
	return nil, nil, s
}

// idOf reads "name [8086]" or "8086".
func idOf(s string) *uint16 {
	s = strings.TrimSpace(s)
	if bareID.MatchString(s) {
		return hex16(s)
	}
	if m := idInBrackets.FindStringSubmatch(s); m != nil {
		return hex16(m[1])
	}
	return nil
}

func nameOf(s string) string {
	s = strings.TrimSpace(s)
	if bareID.MatchString(s) {
		return ""
	}
	return strings.TrimSpace(idInBrackets.ReplaceAllString(s, ""))
}

func hex16(s string) *uint16 {
	n, err := strconv.ParseUint(s, 16, 16)
	if err != nil {
		return nil
	}
	v := uint16(n)
	return &v
}

func hex8(s string) *uint8 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 16, 8)
	if err != nil {
		return nil
	}
	v := uint8(n)
	return &v
}

// Named is a function of which a tool prints maker and device each by itself,
// with or without "[8086]" and "[8086:10d3]" behind the names.
func Named(maker, device string) Listed {
	l := Listed{Vendor: idOf(maker)}
	v, d, name := pairOf(device)
	if d != nil {
		l.Vendor, l.Device = v, d
	}
	l.Name = strings.TrimSpace(nameOf(maker) + " " + name)
	return l
}
