package bom

import (
	"fmt"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// volatile reports a part without a line that may come and go. It returns false
// when the claim that it may is not good enough, so that the part counts as any
// other.
//
// That a function is virtual is checked against registers when it is read. That
// a device belongs to the management controller is only an id, and that it can
// be pulled out only a word of a hub or a drive: such a part is named as an
// unexpected one too, so that nothing that evidence adds makes it go away.
func (m *matcher) volatile(p *partItem) bool {
	switch p.part.Volatile {
	case BootMedium:
		m.comesAndGoes(finding.ChangeHotPlug, p)
		return true
	case VirtualFunction:
		m.comesAndGoes(finding.ChangeVirtualFunction, p)
		return true
	case BMCVirtual:
		if !m.outlets[rootPort(p.part.Location.Path)] || massStorage(p.part) {
			m.doubtful(finding.Medium, p, "It calls itself a virtual device of the management controller, which any device can; no line expects it at this port.")
			return true
		}
		m.doubtful(finding.Low, p, "Its id and its port are those of the management controller.")
	case Removable:
		if p.part.Class == Storage && !m.behindUSB(p.part) {
			return false
		}
		if p.part.Class != Network { // the device that carries the port is told
			m.doubtful(finding.Low, p, "It can be pulled out, or says so.")
		}
	}
	m.comesAndGoes(finding.ChangeHotPlug, p)
	return true
}

func (m *matcher) comesAndGoes(code finding.Code, p *partItem) {
	f := m.about(code, p.part)
	f.Got = Describe(p.part.Identity)
	f.Why = fmt.Sprintf("%s is %s and may come and go.", sentence(p.part), p.part.Volatile)
	m.add(f)
}

// doubtful reports an unexpected part of a complete class with what speaks for
// it.
func (m *matcher) doubtful(severity finding.Severity, p *partItem, why string) {
	if c := m.closures[p.part.Class]; c != Closed && c != NoneThere {
		return
	}
	code, _, _ := codesOf(p.part.Class)
	f := m.about(code, p.part)
	f.Severity, f.Want, f.Got = severity, "nothing", Describe(p.part.Identity)
	f.Why = fmt.Sprintf("No line of the manifest covers %s. %s", sentence(p.part), why)
	m.coverage[p.part.Class].Unexpected++
	m.add(f)
}

// behindUSB reports whether a removable USB device offers a disk. A drive's own
// word that its medium can be removed does not say that the drive can; and the
// medium that the scanner was started from stands for no other.
func (m *matcher) behindUSB(disk *Part) bool {
	if m.usb == nil {
		m.usb = m.got.usbPlaces()
		for i := range m.got.Parts {
			m.sticks = m.sticks || stick(&m.got.Parts[i])
		}
	}
	if disk.place == "" {
		return m.sticks
	}
	up := above(m.usb, disk)
	return up != nil && stick(up)
}

// stick reports whether a part is a USB device with a disk that can be pulled out.
func stick(p *Part) bool { return p.Volatile != "" && p.Volatile != BootMedium && massStorage(p) }

// massStorage reports whether a device has an interface of USB class 8.
func massStorage(p *Part) bool {
	return p.Class == USB && strings.Contains(","+p.Attributes[attrInterfaces], ",08")
}

// rootPort is the port of the host controller that a USB place is behind,
// without the number of the bus, which changes between boots.
func rootPort(place string) string {
	host, rest, _ := strings.Cut(place, "/usb")
	if rest == "" {
		host, rest = "", place
	}
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	_, port, _ := strings.Cut(name, "-")
	port, _, _ = strings.Cut(port, ".")
	return host + " " + port
}

// passedThrough reports whether the host of a declared part is there and bound
// to a driver that hands the whole device to a guest.
func (m *matcher) passedThrough(r *refItem) bool {
	if m.at == nil {
		m.at = m.got.BySubject()
	}
	host := m.at[hostOf(r)]
	if host == nil || m.fate[host.Subject] != "" {
		return false
	}
	switch host.Attributes["driver"] {
	case "vfio-pci", "pci-stub", "uio_pci_generic", "xen-pciback":
		return true
	}
	return false
}
