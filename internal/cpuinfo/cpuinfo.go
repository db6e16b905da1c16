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

// block is one logical processor.
type block struct {
	fields         map[string]string
	offset, length int
}

// Parse reads the text of /proc/cpuinfo.
func Parse(b []byte) (*Info, error) {
	info := &Info{}
	blocks := info.blocks(b)
	cores, index := map[int]map[string]bool{}, map[int]int{}
	for _, x := range blocks {
		if _, ok := x.fields["processor"]; !ok {
			if h := x.fields["hardware"]; h != "" {
				info.Hardware = h
			}
			continue
		}
		info.Logical++
		info.Hypervisor = info.Hypervisor || slices.Contains(strings.Fields(x.fields["flags"]), "hypervisor")
		s := socket(x)
		i, known := index[s.ID]
		if !known {
			info.Sockets, i = append(info.Sockets, s), len(info.Sockets)
			cores[s.ID], index[s.ID] = map[string]bool{}, i
		} else {
			info.compare(info.Sockets[i], s)
		}
		info.Sockets[i].Logical++
		core := x.fields["core id"]
		if core == "" {
			core = x.fields["processor"]
		}
		cores[s.ID][core] = true
	}
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
func (i *Info) blocks(b []byte) []block {
	var out []block
	current := block{fields: map[string]string{}}
	offset := 0
	finish := func() {
		if len(current.fields) > 0 {
			current.length = offset - current.offset
			out = append(out, current)
		}
		current = block{fields: map[string]string{}}
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), ":")
		switch {
		case ok && len(out) < maxCPUs:
			if len(current.fields) == 0 {
				current.offset = offset
			}
			current.fields[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		case ok:
			i.problem(offset, "more than %d processors", maxCPUs)
			return out
		case strings.TrimSpace(s.Text()) == "":
			finish()
		}
		offset += len(s.Bytes()) + 1
	}
	offset = min(offset, len(b))
	finish()
	if err := s.Err(); err != nil {
		i.problem(offset, "%v", err)
	}
	return out
}

func socket(x block) Socket {
	f := x.fields
	s := Socket{Offset: x.offset, Length: x.length, ID: number(f["physical id"]), Vendor: f["vendor_id"], Brand: f["model name"], Microcode: f["microcode"]}
	if f["cpu implementer"] != "" {
		s.Vendor = f["cpu implementer"]
		s.Family, s.Model = number(f["cpu architecture"]), number(f["cpu part"])
		s.Stepping = number(f["cpu variant"])<<4 | number(f["cpu revision"])
		return s
	}
	s.Family, s.Model, s.Stepping = number(f["cpu family"]), number(f["model"]), number(f["stepping"])
	return s
}

func number(s string) int {
	n, err := strconv.ParseInt(s, 0, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// compare reports logical processors of one socket that differ in what must be
// equal. Arm sockets may mix core types: there nothing is compared.
func (i *Info) compare(first, next Socket) {
	if strings.HasPrefix(first.Vendor, "0x") {
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
