package efi

import (
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	maxNodes = 64
	maxText  = 1024
)

// DevicePath returns the text form of a device path (UEFI 2.10, 10.6). Nodes
// that are not known appear as Path(type,subtype,hex); a path that breaks off
// ends in "(malformed)". The text is bounded.
func DevicePath(b []byte) string {
	var out strings.Builder
	first := true
	for i := 0; len(b) > 0; i++ {
		if len(b) < 4 || i == maxNodes || out.Len() > maxText {
			out.WriteString("/(malformed)")
			break
		}
		n := int(binary.LittleEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			out.WriteString("/(malformed)")
			break
		}
		if b[0] == 0x7f {
			if b[1] == 0xff {
				break
			}
			out.WriteByte(',')
			first = true
		} else {
			if !first {
				out.WriteByte('/')
			}
			first = false
			out.WriteString(node(b[0], b[1], b[4:n]))
		}
		b = b[n:]
	}
	s := out.String()
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "(malformed)"
	}
	return s
}

func node(typ, sub byte, d []byte) string {
	var s string
	switch typ {
	case 1:
		s = hardwareNode(sub, d)
	case 2:
		s = acpiNode(sub, d)
	case 3:
		s = messagingNode(sub, d)
	case 4:
		s = mediaNode(sub, d)
	}
	if s == "" {
		return fmt.Sprintf("Path(%d,%d,%x)", typ, sub, d[:min(len(d), 64)])
	}
	return s
}

func hardwareNode(sub byte, d []byte) string {
	switch {
	case sub == 1 && len(d) == 2:
		return fmt.Sprintf("Pci(0x%x,0x%x)", d[1], d[0])
	case sub == 3 && len(d) == 20:
		return fmt.Sprintf("MemoryMapped(%d,0x%x,0x%x)", binary.LittleEndian.Uint32(d), binary.LittleEndian.Uint64(d[4:]), binary.LittleEndian.Uint64(d[12:]))
	case sub == 4 && len(d) >= 16:
		return fmt.Sprintf("VenHw(%s)", GUID(d[:16]))
	}
	return ""
}

func acpiNode(sub byte, d []byte) string {
	if sub != 1 || len(d) != 8 {
		return ""
	}
	hid, uid := binary.LittleEndian.Uint32(d), binary.LittleEndian.Uint32(d[4:])
	if hid&0xffff == 0x41d0 {
		switch hid >> 16 {
		case 0x0a03:
			return fmt.Sprintf("PciRoot(0x%x)", uid)
		case 0x0a08:
			return fmt.Sprintf("PcieRoot(0x%x)", uid)
		}
		return fmt.Sprintf("Acpi(PNP%04X,0x%x)", hid>>16, uid)
	}
	return fmt.Sprintf("Acpi(0x%08x,0x%x)", hid, uid)
}

func messagingNode(sub byte, d []byte) string {
	switch {
	case sub == 2 && len(d) == 4:
		return fmt.Sprintf("Scsi(0x%x,0x%x)", binary.LittleEndian.Uint16(d), binary.LittleEndian.Uint16(d[2:]))
	case sub == 5 && len(d) == 2:
		return fmt.Sprintf("USB(0x%x,0x%x)", d[0], d[1])
	case sub == 10 && len(d) >= 16:
		return fmt.Sprintf("VenMsg(%s)", GUID(d[:16]))
	case sub == 11 && len(d) == 33:
		return fmt.Sprintf("MAC(%x,0x%x)", d[:6], d[32])
	case sub == 12:
		return "IPv4()"
	case sub == 13:
		return "IPv6()"
	case sub == 18 && len(d) == 6:
		return fmt.Sprintf("Sata(0x%x,0x%x,0x%x)", binary.LittleEndian.Uint16(d), binary.LittleEndian.Uint16(d[2:]), binary.LittleEndian.Uint16(d[4:]))
	case sub == 23 && len(d) == 12:
		return fmt.Sprintf("NVMe(0x%x,%x)", binary.LittleEndian.Uint32(d), d[4:])
	case sub == 24:
		return fmt.Sprintf("Uri(%s)", Printable(string(d[:min(len(d), 256)])))
	}
	return ""
}

func mediaNode(sub byte, d []byte) string {
	switch {
	case sub == 1 && len(d) == 38:
		return fmt.Sprintf("HD(%d,%s)", binary.LittleEndian.Uint32(d), GUID(d[20:36]))
	case sub == 3 && len(d) >= 16:
		return fmt.Sprintf("VenMedia(%s)", GUID(d[:16]))
	case sub == 4:
		return Text(d)
	case sub == 6 && len(d) == 16:
		return fmt.Sprintf("FvFile(%s)", GUID(d))
	case sub == 7 && len(d) == 16:
		return fmt.Sprintf("Fv(%s)", GUID(d))
	case sub == 8 && len(d) == 20:
		return fmt.Sprintf("Offset(0x%x,0x%x)", binary.LittleEndian.Uint64(d[4:]), binary.LittleEndian.Uint64(d[12:]))
	}
	return ""
}
