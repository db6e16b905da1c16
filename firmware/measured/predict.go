// Package measured joins firmware images with what machines measure: which
// events an image implies, and which part of an image a measured event is over.
//
// It proves that bytes of an image have a digest that is in a log. It does not
// say that the log is the machine's; a quote does.
package measured

import (
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/authenticode"
	"github.com/assay-hw/assay/internal/ffs"
	"github.com/assay-hw/assay/internal/oprom"
)

// Prediction is what an image lets one expect in the event log and in the
// registers of a machine that boots it, by the rules of edk2.
type Prediction struct {
	Events       []Expected            `json:"events"`
	Registers    []Register            `json:"registers"`    // whose every event is predicted
	Unmeasured   []string              `json:"unmeasured"`   // volumes that no event is over
	NotPredicted []firmware.NotChecked `json:"notPredicted"` // and why
}

// cannot lists something that is not predicted.
func (p *Prediction) cannot(what, why string) {
	p.NotPredicted = append(p.NotPredicted, firmware.NotChecked{What: what, Reason: why})
}

// Expected is one event. Without a digest only its place and length are known.
type Expected struct {
	PCR    int    `json:"pcr"`
	Type   string `json:"type"`
	SHA256 string `json:"sha256,omitempty"`
	Length int64  `json:"length,omitempty"` // of what is measured
	Source string `json:"source"`           // path of what is measured, or the variable's name
	Rule   string `json:"rule"`

	Digests map[string]string `json:"digests,omitempty"` // in the other banks that firmware may have active
}

// Register is the value of a register before anything is loaded.
type Register struct {
	PCR     int               `json:"pcr"`
	SHA256  string            `json:"sha256"`
	Digests map[string]string `json:"digests,omitempty"` // of the other banks
}

// of completes an event with the digests of what is measured.
func (e Expected) of(b []byte) Expected {
	e.Length, e.Digests = int64(len(b)), map[string]string{}
	for _, k := range banks {
		if k.name == "sha256" {
			e.SHA256 = sha256Of(b)
			continue
		}
		e.Digests[k.name] = sumOf(k.hash, b)
	}
	return e
}

// sum returns the digest in a bank, "" where it is not predicted.
func (e Expected) sum(bank string) string {
	if bank == "sha256" {
		return e.SHA256
	}
	return e.Digests[bank]
}

// register extends the digests of events, one after another.
func register(pcr int, events []Expected) Register {
	r := Register{PCR: pcr, Digests: map[string]string{}}
	for _, k := range banks {
		v := make([]byte, k.hash.Size())
		for _, e := range events {
			raw, _ := hex.DecodeString(e.sum(k.name))
			h := k.hash.New()
			h.Write(v)
			h.Write(raw)
			v = h.Sum(nil)
		}
		if k.name == "sha256" {
			r.SHA256 = hex.EncodeToString(v)
			continue
		}
		r.Digests[k.name] = hex.EncodeToString(v)
	}
	return r
}

const (
	blobEvent      = "EV_EFI_PLATFORM_FIRMWARE_BLOB"
	variableEvent  = "EV_EFI_VARIABLE_DRIVER_CONFIG"
	separatorEvent = "EV_SEPARATOR"
	driverEvent    = "EV_EFI_BOOT_SERVICES_DRIVER"
)

// Predict says what edk2 measures of an image: SecurityPkg's Tcg2Pei measures
// the volumes that PEI and DXE run from, Tcg2Dxe the variables of Secure Boot.
func Predict(m *firmware.Image) *Prediction {
	p := &Prediction{Events: []Expected{}, Registers: []Register{}, Unmeasured: []string{}, NotPredicted: []firmware.NotChecked{}}
	p.volumes(m)
	p.secureBoot(m)
	p.silicon(m)
	for pcr, why := range map[int]string{
		1: "PCR 1 holds the machine's configuration and its boot order",
		2: "PCR 2 holds the option ROMs of the cards that are plugged in",
		4: "PCR 4 and 5 hold the boot loader and the partitions it is on",
	} {
		p.NotPredicted = append(p.NotPredicted, firmware.NotChecked{What: fmt.Sprintf("PCR %d", pcr), Reason: why})
	}
	slices.SortStableFunc(p.NotPredicted, func(a, b firmware.NotChecked) int { return strings.Compare(a.What, b.What) })
	return p
}

// PredictROM says what a machine measures into PCR 2 when it starts the drivers
// in the expansion ROM of a card (TCG PFP 1.06, 3.3.4.3).
func PredictROM(name string, rom []byte) ([]Expected, error) {
	images, err := oprom.Parse(rom)
	if len(images) == 0 {
		return nil, err
	}
	var out []Expected
	for i, im := range images {
		if im.PE == nil {
			continue
		}
		e := Expected{PCR: 2, Type: driverEvent, Length: int64(len(im.PE)), Digests: map[string]string{}}
		e.Source, e.Rule = fmt.Sprintf("%s, image %d for %04x:%04x", name, i+1, im.VendorID, im.DeviceID), "the Authenticode digest of a driver that is started from a card"
		for _, k := range banks {
			sum, err := authenticode.Digest(im.PE, k.hash)
			switch {
			case err != nil:
				return nil, fmt.Errorf("%s: image %d: %w", name, i+1, err)
			case k.hash == crypto.SHA256:
				e.SHA256 = hex.EncodeToString(sum)
			default:
				e.Digests[k.name] = hex.EncodeToString(sum)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// volumeFound is a volume with what it is made of.
type volumeFound struct {
	path       string
	name       string
	bytes      []byte
	compressed bool // it is a copy in memory when it runs
	pei, dxe   bool // holds the core of this phase
	code       bool
}

// eachVolume lists the volumes in leaves that follow each other in parent.
func eachVolume(leaves []firmware.Leaf, parent []byte, compressed bool, f func(volumeFound)) {
	for i, l := range leaves {
		if l.Type == "volume" {
			if v, ok := ffs.ParseVolume(parent[l.Offset:]); ok {
				end := l.Offset + int64(v.Length)
				found := volumeFound{path: strings.TrimSuffix(l.Path, "/header"), name: ffs.NameOf(v.Name), bytes: parent[l.Offset:end], compressed: compressed}
				for _, c := range leaves[i:] {
					if c.Offset >= end {
						break
					}
					found.pei = found.pei || c.Type == peiCore
					found.dxe = found.dxe || c.Type == dxeCore
					found.code = found.code || c.Kind == firmware.Code && c.IsFile()
				}
				f(found)
			}
		}
		inner := l.Content()
		if l.Encoding != "" {
			inner = l.Expansion()
		}
		eachVolume(l.Inside, inner, compressed || l.Encoding != "", f)
	}
}

const (
	peiCore = "PEI core"
	dxeCore = "DXE core"
)

// volumes predicts the events over volumes in PCR 0. A volume that is copied to
// memory before PEI runs from it is measured after it ran: the variables of its
// modules are in it, and differ with the machine's shape.
func (p *Prediction) volumes(m *firmware.Image) {
	p.cannot("PCR 0: EV_S_CRTM_VERSION", "the text is not at a known place of the image; edk2 measures 00 00 when none was set")
	var pei, dxe []Expected
	eachVolume(m.Parts(), m.Bytes(), false, func(v volumeFound) {
		e := Expected{Type: blobEvent, Length: int64(len(v.bytes)), Source: v.path}
		switch {
		case v.pei && v.compressed:
			e.Rule = "Tcg2Pei: the volume that PEI runs from; it is a copy in memory that was written to before it is measured"
			pei = append(pei, e)
			p.cannot("PCR 0: "+v.path, "measured in memory after its modules ran: the digest depends on processors, memory and chipset; take it from a reference boot of this shape")
		case v.pei:
			e.Rule = "Tcg2Pei: the volume that PEI runs from, in flash"
			pei = append(pei, e.of(v.bytes))
		case v.dxe:
			e.Rule = "Tcg2Pei: the volume that DXE is loaded from"
			dxe = append(dxe, e.of(v.bytes))
		case v.code:
			p.Unmeasured = append(p.Unmeasured, v.path)
		}
	})
	p.Events = append(append(p.Events, pei...), dxe...)
	if len(p.Events) == 0 {
		p.cannot("PCR 0", "the image has no volume with a PEI or DXE core that could be opened")
		return
	}
	p.Events = append(p.Events, Expected{Type: separatorEvent, Source: "00000000", Rule: "end of the firmware's own measurements"}.of(make([]byte, 4)))
}

// The variables of Secure Boot in the order in which Tcg2Dxe measures them
// (TCG PFP 1.06, 3.3.4.8).
var secureBootVariables = [...]struct{ name, guid string }{
	{"SecureBoot", globalVariable}, {"PK", globalVariable}, {"KEK", globalVariable}, {"db", imageSecurity}, {"dbx", imageSecurity},
}

const (
	globalVariable = "8BE4DF61-93CA-11D2-AA0D-00E098032B8C"
	imageSecurity  = "D719B2CB-3D3A-4596-A3BC-DAD00E67656F"
	secureEnable   = "F0A30BC7-AF08-4556-99C4-001009C93A44" // gEfiSecureBootEnableDisableGuid
)

// secureBoot predicts PCR 7 from the variables in the image.
func (p *Prediction) secureBoot(m *firmware.Image) {
	vars, stores := m.Variables()
	if stores != 1 {
		p.cannot("PCR 7", fmt.Sprintf("the image has %d variable stores in a form known here, one is needed", stores))
		return
	}
	value := func(name, guid string) []byte {
		for _, v := range slices.Backward(vars) { // the newest counts
			if v.Live && v.Name == name && v.GUID == guid {
				return v.Data
			}
		}
		return nil
	}
	on := byte(0)
	if enable := value("SecureBootEnable", secureEnable); len(value("PK", globalVariable)) > 0 && (enable == nil || len(enable) > 0 && enable[0] == 1) {
		on = 1
	}
	var events []Expected
	for _, v := range secureBootVariables {
		data, rule := value(v.name, v.guid), "Tcg2Dxe: the variable as stored, empty when there is none"
		if v.name == "SecureBoot" {
			data, rule = []byte{on}, "Tcg2Dxe: on when a platform key is enrolled and Secure Boot is not switched off"
		}
		b := variableData(v.name, v.guid, data)
		events = append(events, Expected{PCR: 7, Type: variableEvent, Source: v.name, Rule: rule}.of(b))
	}
	events = append(events, Expected{PCR: 7, Type: separatorEvent, Source: "00000000", Rule: "end of the configuration"}.of(make([]byte, 4)))
	p.Events = append(p.Events, events...)
	p.Registers = append(p.Registers, register(7, events))
	if on == 1 {
		p.cannot("PCR 7 behind the separator", "which entry of db allowed a boot loader is measured when it is loaded")
	}
}

// variableData is UEFI_VARIABLE_DATA (TCG PFP 1.06, 10.2.6).
func variableData(name, guid string, data []byte) []byte {
	wide := utf16.Encode([]rune(name))
	b := guidRaw(guid)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(wide)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	for _, c := range wide {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return append(b, data...)
}

// guidRaw is a GUID as it is stored.
func guidRaw(s string) []byte {
	b, _ := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	for _, r := range [][2]int{{0, 4}, {4, 6}, {6, 8}} {
		slices.Reverse(b[r[0]:r[1]])
	}
	return b
}
