package bom

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/acpi"
	"github.com/assay-hw/assay/internal/cpuinfo"
	"github.com/assay-hw/assay/internal/fru"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/strictjson"
)

// cpus reads what the processors answer and compares it with what the firmware
// says about the sockets.
func (r *reader) cpus() {
	const name = "proc/cpuinfo"
	data, err := r.b.Read(name)
	if err != nil {
		return
	}
	info, err := cpuinfo.Parse(data)
	if err != nil {
		r.problem(name, 0, err.Error())
		return
	}
	for _, p := range info.Problems {
		r.problem(name, p.Offset, p.What)
	}
	if info.Hypervisor {
		r.inv.Virtual = "hypervisor bit of CPUID"
	}
	told := r.ofClass(Processor)
	for i, s := range info.Sockets {
		o := r.origin(finding.SiliconAnswered, "cpuinfo", name, s.Offset, s.Length)
		if len(told) == 0 {
			r.seen(Processor, true, "", finding.SiliconAnswered)
			p := r.add(Part{Class: Processor, Subject: fmt.Sprintf("processor:%d", s.ID), Location: finding.Location{Designator: fmt.Sprintf("socket %d", s.ID)}})
			p.set("maker", &p.Identity.Maker, s.Vendor, o)
			p.set("model", &p.Identity.Model, s.Brand, o)
			p.set("firmware", &p.Identity.Firmware, s.Microcode, o)
			continue
		}
		if i < len(told) {
			r.processorAgrees(r.part(told[i]), s, o)
		}
	}
	r.processorNumbers(r.packages(info.Sockets))
	if len(told) > 0 && len(info.Sockets) > 0 && len(told) != len(info.Sockets) {
		r.contradiction(finding.SourcesContradict, &Part{Subject: "processors"}, fmt.Sprintf("%d sockets populated", len(told)), fmt.Sprintf("%d packages answer", len(info.Sockets)),
			"The firmware lists another number of processors than answer.", finding.High,
			r.origin(finding.FirmwareTold, "smbios:4", dmiTable, 0, 0), r.whole(finding.SiliconAnswered, "cpuinfo", name))
	}
}

// ofClass lists the subjects of a class in the order they were read.
func (r *reader) ofClass(c Class) []string {
	var out []string
	for i := range r.inv.Parts {
		if p := &r.inv.Parts[i]; p.Class == c {
			out = append(out, p.Subject)
		}
	}
	return out
}

// processorAgrees compares one socket's table entry with the processor's own
// answer.
func (r *reader) processorAgrees(p *Part, s cpuinfo.Socket, o origin) {
	told := origin{source: finding.FirmwareTold, basis: p.Values["model"].Basis}
	if p.Identity.Model != "" && s.Brand != "" && ids.Key(p.Identity.Model) != ids.Key(s.Brand) {
		r.contradiction(finding.SourcesContradict, p, "SMBIOS "+p.Identity.Model, "CPUID "+ids.Clean(s.Brand),
			"The firmware's name for the processor is not the processor's own.", finding.High, told, o)
	}
	sig := fmt.Sprintf("%08x", s.Signature())
	if t := p.Attributes["signature"]; t != "" && s.Signature() != 0 && t != sig {
		r.contradiction(finding.SourcesContradict, p, "SMBIOS signature "+t, "CPUID signature "+sig,
			"The firmware's signature of the processor is not the processor's own.", finding.High, told, o)
	}
	p.set("firmware", &p.Identity.Firmware, s.Microcode, o)
	p.fact("brand", ids.Clean(s.Brand), o)
	p.fact("cpuid", sig, o)
}

var fruName = regexp.MustCompile(`^ipmi/fru-(\d{1,3})\.bin$`)

// fruDevices reads the inventory memories that the management controller
// serves.
func (r *reader) fruDevices() {
	names := r.b.Glob("ipmi/fru-*.bin")
	if len(names) == 0 {
		r.unseen(FRU, "ipmi/fru-0.bin")
		return
	}
	for _, name := range names {
		if m := fruName.FindStringSubmatch(name); m != nil {
			r.fruDevice(m[1], name)
		}
	}
}

func (r *reader) fruDevice(id, name string) {
	data, err := r.b.Read(name)
	if err != nil {
		return
	}
	inv, err := fru.Parse(data)
	if err != nil {
		r.problem(name, 0, err.Error())
		r.seen(FRU, false, "", finding.PartMemory)
		r.partial(FRU, name+" cannot be read")
		return
	}
	r.seen(FRU, true, "", finding.PartMemory)
	for _, p := range inv.Problems {
		r.problem(name, p.Offset, p.What)
	}
	p := r.add(Part{Class: FRU, Subject: "fru:" + id, Location: finding.Location{Designator: "FRU " + id}})
	at := func(a fru.Area) origin { return r.origin(finding.PartMemory, "fru", name, a.Offset, a.Length) }
	if b := inv.Board; b != nil {
		o := at(b.Area)
		p.set("maker", &p.Identity.Maker, b.Manufacturer.Text, o)
		p.set("model", &p.Identity.Model, b.Product.Text, o)
		p.set("partNumber", &p.Identity.PartNumber, b.PartNumber.Text, o)
		p.set("serial", &p.Identity.Serial, b.Serial.Text, o)
		p.fact("boardSerial", ids.Clean(b.Serial.Text), o)
		if !b.Made.IsZero() {
			p.fact(attrMade, b.Made.UTC().Format(time.DateOnly), o)
		}
		r.fruChecksum(p, "board", b.Area, o)
	}
	if x := inv.Product; x != nil {
		o := at(x.Area)
		p.set("maker", &p.Identity.Maker, x.Manufacturer.Text, o)
		p.set("model", &p.Identity.Model, x.Name.Text, o)
		p.set("serial", &p.Identity.Serial, x.Serial.Text, o)
		p.fact(attrProductSerial, ids.Clean(x.Serial.Text), o)
		p.fact(attrProductName, ids.Clean(x.Name.Text), o)
		r.fruChecksum(p, "product", x.Area, o)
	}
	if x := inv.Chassis; x != nil {
		o := at(x.Area)
		p.fact(attrChassisSerial, ids.Clean(x.Serial.Text), o)
		r.fruChecksum(p, "chassis", x.Area, o)
	}
}

func (r *reader) fruChecksum(p *Part, area string, a fru.Area, o origin) {
	if a.ChecksumOK {
		return
	}
	r.contradiction(finding.IntegrityBroken, p, "checksum of the "+area+" area holds", "checksum of the "+area+" area broken",
		"The checksum over an area of the inventory memory does not hold.", finding.Medium, o)
}

// crossCheck compares the identities that independent sources give to board,
// chassis and system.
func (r *reader) crossCheck() {
	host := r.part("fru:0")
	if host == nil {
		return
	}
	for _, c := range []struct{ subject, attr string }{
		{"baseboard", "boardSerial"}, {"system", attrProductSerial}, {"chassis", attrChassisSerial},
	} {
		p := r.part(c.subject)
		if p == nil {
			continue
		}
		told, stored := p.Identity.Serial, host.Attributes[c.attr]
		if _, fake := ids.Placeholder(stored); fake || told == "" || related(told, stored) {
			continue
		}
		r.contradiction(finding.SourcesContradict, p, "SMBIOS serial "+told, "FRU serial "+stored,
			"The firmware and the inventory memory name different serial numbers.", finding.High,
			origin{source: finding.FirmwareTold, basis: p.Values["serial"].Basis}, origin{source: finding.PartMemory, basis: host.Values[c.attr].Basis})
	}
}

// related accepts vendors that put one serial number inside the other: Dell's
// board serial in SMBIOS ends with that of the FRU.
func related(a, b string) bool {
	a, b = ids.Key(a), ids.Key(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	// A few letters are inside any number: they tie nothing together.
	return a == b || len(a) >= leastSerial && strings.Contains(b, a)
}

// leastSerial is the length of the shortest serial number that vendors put
// inside another one: Dell's service tag has seven characters.
const leastSerial = 6

// controllers reads the management controller's own identification.
func (r *reader) controllers() {
	const name = "ipmi/device-id.bin"
	r.controllerText()
	data, err := r.b.Read(name)
	if err != nil {
		return
	}
	if len(data) == 12 || len(data) == 16 {
		data = data[1:] // with the completion code in front
	}
	if len(data) != 11 && len(data) != 15 {
		r.problem(name, 0, fmt.Sprintf("a Get Device ID response has 11 or 15 bytes, not %d", len(data)))
		return
	}
	// IPMI 2.0, 20.1: major revision in binary, minor in BCD.
	r.controller(int(data[6])|int(data[7])<<8|int(data[8])<<16, int(data[9])|int(data[10])<<8,
		fmt.Sprintf("%d.%02x", data[2]&0x7f, data[3]), r.whole(finding.BMCTold, "ipmi", name))
}

func (r *reader) controller(maker, product int, firmware string, o origin) {
	model, pen := fmt.Sprintf("product %04x", product), fmt.Sprintf("pen:%d", maker)
	if p := r.part("bmc"); p != nil {
		// Told twice, by two tools: one answer must not hide the other.
		told := fmt.Sprintf("%s %s %s", p.Identity.MakerIDs[0], p.Identity.Model, minorNumber(p.Identity.Firmware))
		if again := fmt.Sprintf("%s %s %s", pen, model, minorNumber(firmware)); told != again {
			r.contradiction(finding.SourcesContradict, p, told, again, "Two answers of the management controller about itself differ.", finding.High,
				origin{source: finding.BMCTold, basis: p.Values["model"].Basis}, o)
		}
		return
	}
	r.seen(BMC, true, "", finding.BMCTold)
	p := r.add(Part{Class: BMC, Subject: "bmc", Location: finding.Location{Designator: "BMC"}})
	p.set("model", &p.Identity.Model, model, o)
	p.Identity.MakerIDs = []string{pen}
	p.set("firmware", &p.Identity.Firmware, firmware, o)
}

// minorNumber writes "1.05" as "1.5": tools differ in the leading zero.
func minorNumber(version string) string {
	major, minor, _ := strings.Cut(version, ".")
	return major + "." + strings.TrimLeft(minor, "0")
}

// controllerText reads the same facts from what "ipmitool mc info" prints.
func (r *reader) controllerText() {
	const name = "ipmi/mc-info.txt"
	text := r.b.Text(name)
	if text == "" {
		r.unseen(BMC, "ipmi/device-id.bin")
		if o := r.inv.Classes[BMC]; r.controllerTold != "" && !o.Observed {
			o.Reason = r.controllerTold + ", but " + o.Reason
			r.inv.Classes[BMC] = o
		}
		return
	}
	value := func(key string) string {
		for line := range strings.SplitSeq(text, "\n") {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	first := func(s string) int {
		n, _ := strconv.Atoi(cmp.Or(leadingNumber(s), "0"))
		return n
	}
	if value("Manufacturer ID") == "" {
		r.problem(name, 0, "no manufacturer id")
		return
	}
	r.controller(first(value("Manufacturer ID")), first(value("Product ID")), value("Firmware Revision"), r.whole(finding.BMCTold, "ipmi", name))
}

const acpiDir = "sys/firmware/acpi/tables"

// acpiTables reads the set of ACPI tables. Their order and numbering change, so
// a table is known by its signature and table id.
func (r *reader) acpiTables() {
	names := r.b.Dir(acpiDir)
	if len(names) == 0 {
		r.unseen(ACPI, acpiDir)
		return
	}
	r.seen(ACPI, true, "", finding.FirmwareTold)
	for _, n := range names {
		name := acpiDir + "/" + n
		data, err := r.b.Read(name)
		if err != nil {
			continue // a directory such as "data" or "dynamic"
		}
		t, err := acpi.Parse(data)
		if err != nil {
			r.problem(name, 0, err.Error())
			r.partial(ACPI, name+" cannot be read")
			continue
		}
		for _, p := range t.Problems {
			r.problem(name, p.Offset, p.What)
		}
		r.acpiTable(t, r.whole(finding.FirmwareTold, "acpi", name))
	}
}

func (r *reader) acpiTable(t *acpi.Table, o origin) {
	label := strings.TrimSpace(ids.Clean(t.Signature) + " " + ids.Clean(t.OEMTableID))
	p := r.add(Part{Class: ACPI, Subject: "acpi:" + label, Location: finding.Location{Designator: label}})
	p.set("model", &p.Identity.Model, label, o)
	p.set("maker", &p.Identity.Maker, t.OEMID, o)
	if !t.Volatile {
		p.fact(attrDigest, t.StableDigest, o)
	}
	p.fact(attrLength, strconv.Itoa(t.Length), o)
	if t.WPBT != nil {
		p.fact("program", fmt.Sprintf("%d bytes, arguments %q", t.WPBT.Size, ids.Clean(t.WPBT.Arguments)), o)
	}
}

// tpms reads what the TPM says about its make; whose key it holds is judged
// elsewhere. What the firmware says of a TPM (SMBIOS type 43) is often left out
// and never enough to call a TPM present.
func (r *reader) tpms() {
	const name = "tpm/properties.json"
	data, err := r.b.Read(name)
	if err != nil {
		r.unseen(TPM, name)
		return
	}
	props, err := properties(data)
	if err != nil {
		r.problem(name, 0, "not a JSON object of properties")
		r.unseen(TPM, name)
		return
	}
	o := r.whole(finding.SiliconAnswered, "tpm", name)
	word := func(key string) (uint32, bool) {
		n, err := strconv.ParseUint(props[key], 0, 32)
		return uint32(n), err == nil
	}
	maker, ok := word("TPM2_PT_MANUFACTURER")
	if !ok {
		r.problem(name, 0, "no TPM2_PT_MANUFACTURER")
		r.unseen(TPM, name)
		return
	}
	r.seen(TPM, true, "", finding.SiliconAnswered)
	id := fourChars(maker)
	p := r.add(Part{Class: TPM, Subject: "tpm", Location: finding.Location{Designator: "TPM"}, Identity: Identity{MakerIDs: []string{"tpm:" + id}, Name: ids.TPMVendor(id)}})
	p.set("maker", &p.Identity.Maker, id, o)
	model := ""
	for i := 1; i <= 4; i++ {
		n, _ := word(fmt.Sprintf("TPM2_PT_VENDOR_STRING_%d", i))
		model += fourChars(n)
	}
	p.set("model", &p.Identity.Model, model, o)
	fw1, have1 := word("TPM2_PT_FIRMWARE_VERSION_1")
	fw2, have2 := word("TPM2_PT_FIRMWARE_VERSION_2")
	if have1 && have2 {
		p.set("firmware", &p.Identity.Firmware, fmt.Sprintf("%08x.%08x", fw1, fw2), o)
	}
	p.fact("smbios", r.tpmTold, r.tpmOrigin)
}

// properties reads an object of texts; what else is in it is left out.
func properties(data []byte) (map[string]string, error) {
	if texts, ok := strictjson.Texts(data); ok {
		return texts, nil
	}
	var all map[string]any
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&all); err != nil {
		return nil, err //nolint:wrapcheck // only whether there is one counts
	}
	texts := map[string]string{}
	for k, v := range all {
		if s, ok := v.(string); ok {
			texts[k] = s
		}
	}
	return texts, nil
}

// fourChars is a TPM property that packs text, most significant byte first.
func fourChars(n uint32) string {
	b := []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	b = slices.DeleteFunc(b, func(c byte) bool { return c < 0x20 || c > 0x7e })
	return string(b)
}
