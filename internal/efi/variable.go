package efi

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Variable is UEFI_VARIABLE_DATA (TCG PFP 1.06, 10.2.6). Data aliases the
// parsed bytes.
type Variable struct {
	GUID GUID
	Name string
	Data []byte
}

// ParseVariable reads the data of a variable event. Some firmware counts the
// name with its terminating NUL, and some logs carry bytes behind the value;
// rest is how many.
func ParseVariable(b []byte) (v Variable, rest int, err error) {
	name, data, err := splitVariable(b)
	if len(b) >= 32 {
		v.GUID, v.Name = GUID(b[:16]), Text(name)
	}
	if err != nil {
		return v, 0, err
	}
	v.Data = data
	return v, len(b) - 32 - len(name) - len(data), nil
}

// VariableData returns the contents of a variable in the data of an event, and
// decodes nothing else.
func VariableData(b []byte) (data []byte, ok bool) {
	_, data, err := splitVariable(b)
	return data, err == nil
}

func splitVariable(b []byte) (name, data []byte, err error) {
	if len(b) < 32 {
		return nil, nil, malformed("variable event of %d bytes", len(b))
	}
	names, size := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	b = b[32:]
	if names > uint64(len(b)/2) {
		return nil, nil, malformed("variable name of %d characters, %d bytes left", names, len(b))
	}
	name, b = b[:2*names], b[2*names:]
	if size > uint64(len(b)) {
		return name, nil, malformed("variable %s of %d bytes, %d left", Text(name), size, len(b))
	}
	return name, b[:size:size], nil
}

// Is reports whether the variable has a GUID, in registry form, and a name.
// Both count: firmware must not be fooled by a name under a foreign GUID.
func (v Variable) Is(guid, name string) bool { return v.Name == name && v.GUID.String() == guid }

// Signature is one entry of a signature database. Data aliases the parsed
// bytes.
type Signature struct {
	Type  string // GUID of the list
	Owner GUID
	Data  []byte
}

const maxSignatures = 1 << 16

// ParseSignatures reads a sequence of EFI_SIGNATURE_LIST (UEFI 2.10, 32.4.1).
// The signature header of a list belongs to no signature; reading it as one
// would let an attacker plant entries (GO-2026-5298). Certificates stay opaque.
func ParseSignatures(b []byte) ([]Signature, error) {
	var out []Signature
	for at := 0; at < len(b); {
		if len(b)-at < 28 {
			return out, malformed("offset %d: %d bytes behind the last signature list", at, len(b)-at)
		}
		l := b[at:]
		typ := GUID(l[:16]).String()
		list, head, size := uint64(binary.LittleEndian.Uint32(l[16:])), uint64(binary.LittleEndian.Uint32(l[20:])), uint64(binary.LittleEndian.Uint32(l[24:]))
		if list > uint64(len(l)) || list < 28 || head > list-28 || size < 16 {
			return out, malformed("offset %d: signature list of %d bytes, header %d, entries of %d", at, list, head, size)
		}
		body := l[28+head : list]
		if uint64(len(body))%size != 0 {
			return out, malformed("offset %d: %d bytes are not a whole number of entries of %d", at, len(body), size)
		}
		if len(out)+len(body)/int(size) > maxSignatures {
			return out, malformed("offset %d: more than %d signatures", at, maxSignatures)
		}
		out = slices.Grow(out, len(body)/int(size))
		for ; len(body) > 0; body = body[size:] {
			out = append(out, Signature{Type: typ, Owner: GUID(body[:16]), Data: body[16:size:size]})
		}
		at += int(list)
	}
	return out, nil
}

// LoadOption is EFI_LOAD_OPTION (UEFI 2.10, 3.1.3).
type LoadOption struct {
	Attributes  uint32
	Description string
	Path        string // device path as text
	Optional    []byte
}

// ParseLoadOption reads a Boot#### variable.
func ParseLoadOption(b []byte) (LoadOption, error) {
	if len(b) < 8 {
		return LoadOption{}, malformed("load option of %d bytes", len(b))
	}
	o := LoadOption{Attributes: binary.LittleEndian.Uint32(b)}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	b = b[6:]
	end := -1
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			end = i
			break
		}
	}
	if end < 0 {
		return o, malformed("load option without the end of its description")
	}
	o.Description = Text(b[:end])
	b = b[end+2:]
	if n > len(b) {
		return o, malformed("device path of %d bytes, %d left", n, len(b))
	}
	o.Path, o.Optional = DevicePath(b[:n]), b[n:]
	return o, nil
}

// ImageLoad is UEFI_IMAGE_LOAD_EVENT (TCG PFP 1.06, 10.2.3): where an image
// was loaded. No digest covers it.
type ImageLoad struct {
	Length uint64
	Path   string // device path as text
}

// ParseImageLoad reads the data of an application or driver event.
func ParseImageLoad(b []byte) (ImageLoad, error) {
	if len(b) < 32 {
		return ImageLoad{}, malformed("image load event of %d bytes", len(b))
	}
	n := binary.LittleEndian.Uint64(b[24:])
	if n > uint64(len(b)-32) {
		return ImageLoad{}, malformed("device path of %d bytes, %d left", n, len(b)-32)
	}
	return ImageLoad{Length: binary.LittleEndian.Uint64(b[8:]), Path: DevicePath(b[32 : 32+n])}, nil
}

// Partition is one entry of a GUID partition table.
type Partition struct {
	Type, Unique GUID
	First, Last  uint64
	Name         string
}

// GPT is UEFI_GPT_DATA (TCG PFP 1.06, 10.2.5).
type GPT struct {
	Disk       GUID
	Partitions []Partition
}

const (
	gptHeader = 92
	gptEntry  = 128
)

// ParseGPT reads the data of a partition table event.
func ParseGPT(b []byte) (GPT, error) {
	if len(b) < gptHeader+8 || string(b[:8]) != "EFI PART" {
		return GPT{}, malformed("partition table event of %d bytes", len(b))
	}
	g := GPT{Disk: GUID(b[56:72])}
	n := binary.LittleEndian.Uint64(b[gptHeader:])
	rest := b[gptHeader+8:]
	if n > uint64(len(rest)/gptEntry) {
		return g, malformed("%d partitions in %d bytes", n, len(rest))
	}
	for i := range int(n) {
		e := rest[i*gptEntry:]
		g.Partitions = append(g.Partitions, Partition{
			Type: GUID(e[:16]), Unique: GUID(e[16:32]), First: binary.LittleEndian.Uint64(e[32:]),
			Last: binary.LittleEndian.Uint64(e[40:]), Name: Text(e[56:gptEntry]),
		})
	}
	return g, nil
}

// SplitName takes a file name of efivarfs apart: NAME-GUID.
func SplitName(file string) (name, guid string, ok bool) {
	i := len(file) - 36
	if i < 2 || file[i-1] != '-' {
		return "", "", false
	}
	return file[:i-1], strings.ToLower(file[i:]), true
}
