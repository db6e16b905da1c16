// Package cpuinfo reads /proc/cpuinfo of x86 and Arm machines and relates it to
// the processor signature that SMBIOS type 4 carries.
//
// It proves what the kernel reported. A hypervisor chooses every value of its
// guests.
package cpuinfo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrEmpty means that the text describes no processor.
var ErrEmpty = errors.New("no processor in cpuinfo")

const maxCPUs = 16384

// Problem is one defect, at an offset from the start of the text.
type Problem struct {
	Offset int
	What   string
}

// Info is the machine's processors as the kernel lists them. Arm and other
// kernels print no physical id: all processors are then in one Socket with ID 0,
// which is no statement about how many packages there are.
type Info struct {
	Sockets    []Socket // by physical id
	Logical    int      // logical processors
	Hypervisor bool     // the hypervisor bit of CPUID is set
	Hardware   string   // Arm: the "Hardware" line
	Problems   []Problem
}

// Socket is one physical package, taken from its first logical processor.
// Values that differ between processors of a socket are in Problems.
type Socket struct {
	ID             int
	Vendor         string // "GenuineIntel"; Arm: implementer code "0x41"
	Brand          string // "model name"
	Family, Model  int    // displayed family and model, extended parts included; Arm: architecture and part number
	Stepping       int    // Arm: variant << 4 | revision
	Microcode      string // "0x49"
	Logical, Cores int
	Offset, Length int // of the first logical processor's block in the text
}

// Signature packs family, model and stepping as CPUID leaf 1 returns them in
// EAX, without the processor type.
func (s Socket) Signature() uint32 {
	family, extended := uint32(s.Family), uint32(0)
	if family > 15 {
		family, extended = 15, uint32(s.Family)-15
	}
	return uint32(s.Stepping)&0x0f | uint32(s.Model)&0x0f<<4 | family<<8 | uint32(s.Model)>>4&0x0f<<16 | extended&0xff<<20
}

// FromSignature unpacks EAX of CPUID leaf 1 into displayed family, model and
// stepping (Intel SDM, CPUID; AMD APM volume 3, appendix E).
func FromSignature(eax uint32) (family, model, stepping int) {
	family, model, stepping = int(eax>>8&0x0f), int(eax>>4&0x0f), int(eax&0x0f)
	if family == 6 || family == 15 {
		model |= int(eax>>16&0x0f) << 4
	}
	if family == 15 {
		family += int(eax >> 20 & 0xff)
	}
	return family, model, stepping
}

// block is one logical processor: what its lines say.
type block struct {
	lines          int
	offset, length int
	numbered       bool // has a line "processor"
	hypervisor     bool

	processor, physicalID, coreID, vendor, brand, microcode, hardware string
	family, model, stepping                                           string
	implementer, architecture, part, variant, revision                string // Arm
}

// field is where the value of a key is kept; nil for what is not read.
func (x *block) field(key []byte) *string {
	switch string(key) {
	case "processor":
		return &x.processor
	case "physical id":
		return &x.physicalID
	case "core id":
		return &x.coreID
	case "vendor_id":
		return &x.vendor
	case "model name":
		return &x.brand
	case "microcode":
		return &x.microcode
	case "hardware":
		return &x.hardware
	case "cpu family":
		return &x.family
	case "model":
		return &x.model
	case "stepping":
		return &x.stepping
	case "cpu implementer":
		return &x.implementer
	case "cpu architecture":
		return &x.architecture
	case "cpu part":
		return &x.part
	case "cpu variant":
		return &x.variant
	case "cpu revision":
		return &x.revision
	}
	return nil
}

// Parse reads the text of /proc/cpuinfo.
func Parse(b []byte) (*Info, error) {
	info := &Info{}
	cores, index := map[int]map[string]bool{}, map[int]int{}
	info.blocks(b, func(x *block) {
		if !x.numbered {
			if x.hardware != "" {
				info.Hardware = x.hardware
			}
			return
		}
		info.Logical++
		info.Hypervisor = info.Hypervisor || x.hypervisor
		s := socket(x)
		i, known := index[s.ID]
		if !known {
			info.Sockets, i = append(info.Sockets, s), len(info.Sockets)
			cores[s.ID], index[s.ID] = map[string]bool{}, i
		} else {
			info.compare(&info.Sockets[i], &s)
		}
		info.Sockets[i].Logical++
		core := x.coreID
		if core == "" {
			core = x.processor
		}
		cores[s.ID][core] = true
	})
	if info.Logical == 0 {
		return nil, ErrEmpty
	}
	for i := range info.Sockets {
		info.Sockets[i].Cores = len(cores[info.Sockets[i].ID])
	}
	slices.SortStableFunc(info.Sockets, func(a, b Socket) int { return a.ID - b.ID })
	return info, nil
}

func (i *Info) problem(offset int, format string, args ...any) {
	if len(i.Problems) < 64 {
		i.Problems = append(i.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

// blocks splits the text at empty lines.
func (i *Info) blocks(b []byte, each func(*block)) {
	var current, last block
	n, offset := 0, 0
	finish := func() {
		if current.lines > 0 {
			current.length = offset - current.offset
			each(&current)
			last = current
			n++
		}
		current = block{}
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		key, value, ok := bytes.Cut(s.Bytes(), []byte(":"))
		switch {
		case ok && n < maxCPUs:
			if current.lines == 0 {
				current.offset = offset
			}
			current.read(&last, key, bytes.TrimSpace(value))
		case ok:
			i.problem(offset, "more than %d processors", maxCPUs)
			return
		case len(bytes.TrimSpace(s.Bytes())) == 0:
			finish()
		}
		offset += len(s.Bytes()) + 1
	}
	offset = min(offset, len(b))
	finish()
	if err := s.Err(); err != nil {
		i.problem(offset, "%v", err)
	}
}

// read takes one line. Most values are those of the processor before: its texts are
// used again.
func (x *block) read(last *block, key, value []byte) {
	x.lines++
	var room [32]byte
	key = lower(room[:0], bytes.TrimSpace(key))
	if string(key) == "flags" {
		x.hypervisor = hasWord(value, "hypervisor")
		return
	}
	x.numbered = x.numbered || string(key) == "processor"
	if to := x.field(key); to != nil {
		if *to = *last.field(key); string(value) != *to {
			*to = string(value)
		}
	}
}

func hasWord(text []byte, word string) bool {
	if !bytes.Contains(text, []byte(word)) {
		return false
	}
	for w := range bytes.FieldsSeq(text) {
		if string(w) == word {
			return true
		}
	}
	return false
}

// lower appends a key in lower case; the keys that are read are ASCII.
func lower(b, key []byte) []byte {
	for _, c := range key {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

func socket(x *block) Socket {
	s := Socket{Offset: x.offset, Length: x.length, ID: number(x.physicalID), Vendor: x.vendor, Brand: x.brand, Microcode: x.microcode}
	if x.implementer != "" {
		s.Vendor = x.implementer
		s.Family, s.Model = number(x.architecture), number(x.part)
		s.Stepping = number(x.variant)<<4 | number(x.revision)
		return s
	}
	s.Family, s.Model, s.Stepping = number(x.family), number(x.model), number(x.stepping)
	return s
}

func number(s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 0, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// compare reports logical processors of one socket that differ in what must be
// equal. Arm sockets may mix core types: there nothing is compared.
func (i *Info) compare(first, next *Socket) {
	if strings.HasPrefix(first.Vendor, "0x") {
		return
	}
	if first.Vendor == next.Vendor && first.Brand == next.Brand && first.Signature() == next.Signature() && first.Microcode == next.Microcode {
		return
	}
	for _, x := range []struct{ what, a, b string }{
		{"vendor", first.Vendor, next.Vendor},
		{"brand", first.Brand, next.Brand},
		{"signature", fmt.Sprintf("%08x", first.Signature()), fmt.Sprintf("%08x", next.Signature())},
		{"microcode", first.Microcode, next.Microcode},
	} {
		if x.a != x.b {
			i.problem(next.Offset, "socket %d: %s %q differs from %q", first.ID, x.what, x.b, x.a)
		}
	}
}
