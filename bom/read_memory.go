package bom

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/smbios"
	"github.com/assay-hw/assay/internal/spd"
)

// memoryFacts gathers the sums that must agree with each other.
type memoryFacts struct {
	slots     []string // subjects of all slots in table order, empty slots as ""
	locators  []string
	installed uint64 // bytes of all modules, SMBIOS type 17
	unknown   int    // installed modules of unknown size
	mapped    uint64 // bytes of all mapped ranges, SMBIOS type 19
	from17    origin
	from19    origin
}

// modules reads the memory modules that the firmware lists (types 17 and 19).
func (r *reader) modules(t *smbios.Table) {
	fakes := indexedFakes(t.MemoryDevices)
	same := map[string]int{}
	for _, d := range t.MemoryDevices {
		same[slug(ids.Clean(d.Locator))]++
	}
	for _, d := range t.MemoryDevices {
		if system := arrayUse(t, d.ArrayHandle); system != 0 && system != useSystemMemory {
			continue // flash and cache arrays are not modules
		}
		name := moduleName(same, d)
		r.memory.locators = append(r.memory.locators, name)
		pl := Place{Designator: name, Kind: "dimm", InUse: d.Installed}
		if d.Installed {
			pl.Subject = r.module(d, name, fakes)
		}
		r.memory.slots = append(r.memory.slots, pl.Subject)
		r.inv.Places = append(r.inv.Places, pl)
	}
	for _, m := range t.MappedAddresses {
		if use := arrayUse(t, m.ArrayHandle); use != 0 && use != useSystemMemory {
			continue // the range of a flash
		}
		if m.End > m.Start {
			r.memory.mapped += m.End - m.Start + 1
			r.memory.from19 = r.dmi(19, m.Header)
		}
	}
}

// useSystemMemory is the type 16 "use" of main memory (DSP0134 7.17.2).
const useSystemMemory = 3

func arrayUse(t *smbios.Table, handle uint16) uint8 {
	for _, a := range t.MemoryArrays {
		if a.Handle == handle {
			return a.Use
		}
	}
	return 0
}

// moduleName is the locator, with the bank when another slot has the same one.
func moduleName(same map[string]int, d smbios.MemoryDevice) string {
	name := slug(ids.Clean(d.Locator))
	if same[name] > 1 || name == "" {
		name = slug(name + " " + ids.Clean(d.Bank))
	}
	return cmp.Or(name, fmt.Sprintf("handle %#04x", d.Handle))
}

// indexedFakes names the text fields that only count up over the modules, such
// as "SerNum0", "SerNum1": they make modules look unique and mean nothing.
func indexedFakes(all []smbios.MemoryDevice) map[string]bool {
	out := map[string]bool{}
	for name, at := range map[string]func(smbios.MemoryDevice) string{
		"serial":     func(d smbios.MemoryDevice) string { return d.Serial },
		"partNumber": func(d smbios.MemoryDevice) string { return d.PartNumber },
		"maker":      func(d smbios.MemoryDevice) string { return d.Manufacturer },
	} {
		var values []string
		for _, d := range all {
			values = append(values, at(d))
		}
		out[name] = ids.IndexedFakes(values)
	}
	return out
}

func (r *reader) module(d smbios.MemoryDevice, name string, fakes map[string]bool) string {
	o := r.dmi(17, d.Header)
	p := r.add(Part{Class: Memory, Subject: "dimm:" + name, Location: finding.Location{Designator: name}})
	if !fakes["maker"] {
		r.memoryMaker(p, d, o)
	}
	if !fakes["partNumber"] {
		p.set("partNumber", &p.Identity.PartNumber, d.PartNumber, o)
	}
	if !fakes["serial"] {
		p.set("serial", &p.Identity.Serial, d.Serial, o)
	}
	for field, fake := range fakes {
		if fake {
			p.Values[field] = Value{Raw: "counts up over the modules", Source: o.source, Reader: o.reader, Basis: o.basis}
		}
	}
	if d.Size > 0 {
		p.fact(attrSizeMiB, strconv.FormatUint(d.Size>>20, 10), o)
		r.memory.installed += d.Size
	} else {
		r.memory.unknown++
	}
	r.memory.from17 = o
	if d.Speed > 0 {
		p.fact("speedMTs", strconv.Itoa(int(d.Speed)), o)
	}
	r.placeholders(p, "maker", "partNumber", "serial")
	return p.Subject
}

// memoryMaker resolves the many spellings of a module's maker: names, JEDEC
// codes in every order, and Dell's text of three codes. A system vendor's label
// is the brand; who made the module is then for its own memory to say.
func (r *reader) memoryMaker(p *Part, d smbios.MemoryDevice, o origin) {
	raw := d.Manufacturer
	if c, ok := ids.ParseComposite(raw); ok {
		var chips []string
		for kind, j := range map[string]ids.JEDEC{"dram": c.DRAM, "rcd": c.Register} {
			if j.Code != 0 {
				chips = append(chips, kind+"="+cmp.Or(j.Name(), j.String()))
			}
		}
		slices.Sort(chips)
		p.subParts(strings.Join(chips, ", "), o)
	}
	j, ok := ids.ParseJEDEC(raw)
	if !ok {
		if brand, isBrand := ids.Brand(raw); isBrand {
			p.Identity.Brand = brand
			raw = ""
		}
		if word, given := ids.JEDECWord(d.ModuleManufacturerID); given && word.Name() != "" {
			j, ok = word, raw == ""
			r.makersAgree(p, raw, word, o)
		}
	}
	if ok && j.Name() != "" {
		raw = j.Name()
		p.Identity.MakerIDs = []string{j.String()}
	}
	p.set("maker", &p.Identity.Maker, raw, o)
}

// makersAgree compares the maker's name with the code beside it in the table.
func (r *reader) makersAgree(p *Part, name string, code ids.JEDEC, o origin) {
	if _, fake := ids.Placeholder(name); fake || name == "" || ids.SameMaker(name, code.Name()) {
		return
	}
	f := finding.New(finding.ImplausibleIdentity, p.Subject)
	f.Location, f.Want, f.Got = p.Location, code.Name(), ids.Clean(name)
	f.Severity = finding.Low
	f.Why = "The firmware names one maker of the module in text and another in code."
	f.Sources, f.Basis = []finding.Source{o.source}, []finding.Basis{o.basis}
	r.inv.Findings = append(r.inv.Findings, f)
}

// eeprom is one identity memory on an I2C bus.
type eeprom struct {
	client string // "0-0050"
	index  int    // position on its bus, 0 for address 0x50
	module *spd.Module
	origin origin
}

// memoryModules reads the SPD of every module that a driver bound and joins it
// with what the firmware says about the same socket.
func (r *reader) memoryModules() {
	found := r.spdModules()
	if len(found) == 0 {
		return
	}
	bound := r.bindModules(found)
	for i, e := range found {
		p := r.part(bound[i])
		if p == nil {
			p = r.add(Part{Class: Memory, Subject: "dimm:spd " + e.client, Location: finding.Location{Designator: "spd " + e.client}})
			if len(r.memory.slots) > 0 {
				r.unlistedModule(p, e)
			} else {
				r.seen(Memory, false, "SPD memories show modules, not sockets", finding.PartMemory)
			}
		}
		r.joinModule(p, e)
	}
}

// maxModules bounds the identity memories that are held against sockets. The
// largest machines have a few hundred.
const maxModules = 1024

// spdModules parses every EEPROM in the address range of SPDs.
func (r *reader) spdModules() []eeprom {
	var out []eeprom
	for _, client := range r.b.Dir(i2cDevices) {
		name := i2cDevices + "/" + client + "/eeprom"
		data, err := r.b.Read(name)
		addr, ok := i2cAddress(client)
		if err != nil || !ok || addr < 0x50 || addr > 0x57 || blank(data) {
			continue
		}
		if len(out) == maxModules {
			r.problem(name, 0, fmt.Sprintf("more than %d identity memories of modules", maxModules))
			r.partial(Memory, fmt.Sprintf("more than %d identity memories of modules", maxModules))
			break
		}
		m, err := spd.Parse(data)
		if err != nil {
			continue // other EEPROMs live at these addresses too
		}
		for _, p := range m.Problems {
			r.problem(name, p.Offset, p.What)
		}
		out = append(out, eeprom{client: client, index: addr - 0x50, module: m, origin: r.whole(finding.PartMemory, "spd", name)})
	}
	return out
}

// blank reports whether a memory was never written.
func blank(b []byte) bool {
	for _, c := range b {
		if c != b[0] || c != 0 && c != 0xff {
			return false
		}
	}
	return true
}

// bindModules finds the socket of each SPD: by serial and part number where
// these agree, else by the order of addresses and sockets, else by part number.
// The result holds subjects, "" where no socket is left.
func (r *reader) bindModules(found []eeprom) []string {
	out := make([]string, len(found))
	taken := map[string]bool{}
	byPart, byBoth := map[string][]string{}, map[string][]string{}
	for _, s := range r.memory.slots {
		if p := r.part(s); p != nil {
			part := ids.Key(p.Identity.PartNumber)
			byPart[part] = append(byPart[part], s)
			both := nonEmpty(part, ids.Key(p.Identity.Serial))
			byBoth[both] = append(byBoth[both], s)
		}
	}
	take := func(i int, sockets []string) {
		for len(sockets) > 0 && taken[sockets[0]] {
			sockets = sockets[1:]
		}
		if out[i] == "" && len(sockets) > 0 {
			out[i], taken[sockets[0]] = sockets[0], true
		}
	}
	for i, e := range found {
		if both := nonEmpty(ids.Key(e.module.PartNumber), ids.Key(e.module.Serial)); both != "" {
			take(i, byBoth[both])
		}
	}
	if oneBus(found) {
		for i, e := range found {
			if e.index < len(r.memory.slots) && r.part(r.memory.slots[e.index]) != nil {
				take(i, r.memory.slots[e.index:e.index+1])
			}
		}
	}
	for i, e := range found {
		if part := ids.Key(e.module.PartNumber); part != "" {
			take(i, byPart[part])
		}
	}
	return out
}

// nonEmpty joins parts of a key, or is empty when one of them is.
func nonEmpty(parts ...string) string {
	if slices.Contains(parts, "") {
		return ""
	}
	return strings.Join(parts, keySep)
}

// oneBus reports whether all SPDs are on one bus, where addresses follow the
// order of sockets.
func oneBus(found []eeprom) bool {
	bus, _, _ := strings.Cut(found[0].client, "-")
	for _, e := range found {
		if b, _, _ := strings.Cut(e.client, "-"); b != bus {
			return false
		}
	}
	return true
}

// unlistedModule reports a module that answers although the firmware lists no
// module for it.
func (r *reader) unlistedModule(p *Part, e eeprom) {
	r.contradiction(finding.HiddenFunction, p, "a module in the firmware's list", "an SPD without a listed module",
		"A memory module answers on the bus, and the firmware lists no module that it could be.", finding.High, e.origin)
}

// joinModule adds what the module's own memory says, and reports where it
// contradicts the firmware.
func (r *reader) joinModule(p *Part, e eeprom) {
	m, o := e.module, e.origin
	maker, _ := ids.JEDECBytes(m.Maker.Bank, m.Maker.Code)
	r.modulesAgree(p, "part number", p.Identity.PartNumber, m.PartNumber, o)
	r.modulesAgree(p, "serial number", p.Identity.Serial, m.Serial, o)
	if name := maker.Name(); name != "" && p.Identity.Maker != "" && !ids.SameMaker(p.Identity.Maker, name) {
		if _, brand := ids.Brand(p.Identity.Maker); !brand {
			r.modulesAgree(p, "maker", p.Identity.Maker, name, o)
		}
	}
	if m.Size > 0 {
		r.modulesAgree(p, attrSizeMiB, p.Attributes[attrSizeMiB], strconv.FormatUint(m.Size>>20, 10), o)
		if p.Attributes[attrSizeMiB] == "" {
			p.fact(attrSizeMiB, strconv.FormatUint(m.Size>>20, 10), o)
		}
	}
	p.set("partNumber", &p.Identity.PartNumber, m.PartNumber, o)
	p.set("serial", &p.Identity.Serial, m.Serial, o)
	p.set("maker", &p.Identity.Maker, maker.Name(), o)
	p.fact("spdType", m.Type.String(), o)
	p.fact("spdClient", e.client, o)
	if m.Year > 0 && m.Week > 0 {
		p.fact(attrMade, fmt.Sprintf("%04d-W%02d", m.Year, m.Week), o)
	}
	p.subParts(chips(m), o)
	r.moduleNumber(p, maker.Name(), m.PartNumber, o)
	r.moduleIntegrity(p, e)
}

// moduleNumber reports a module that names a maker and a number that begins as none
// of the maker's. Micron sells modules as Crucial, too.
func (r *reader) moduleNumber(p *Part, maker, number string, o origin) {
	var forms []string
	switch ids.Maker(maker) {
	case "Samsung":
		forms = []string{"[MK][0-9]"}
	case "SK hynix":
		forms = []string{"H[MY59]"}
	case "Micron":
		forms = []string{"[0-9]?", "MT", "CT", "BL"}
	}
	if _, fake := ids.Placeholder(number); fake || len(forms) == 0 || len(number) < 2 {
		return
	}
	for _, form := range forms {
		if ok, _ := path.Match(form, strings.ToUpper(number[:2])); ok {
			return
		}
	}
	r.contradiction(finding.PartNumberGrammar, p, maker+" "+strings.Join(forms, " "), number,
		"The module's memory names a maker who numbers no module like this.", finding.Medium, o)
}

func (r *reader) modulesAgree(p *Part, what, told, stored string, o origin) {
	if told == "" || stored == "" || ids.Key(told) == ids.Key(stored) {
		return
	}
	r.contradiction(finding.SourcesContradict, p, fmt.Sprintf("SMBIOS %s %s", what, told), fmt.Sprintf("SPD %s %s", what, stored),
		fmt.Sprintf("The firmware and the module's own memory give different values for the %s.", what), finding.High, r.memory.from17, o)
}

// subParts stores who made the chips on a module.
func (p *Part) subParts(chips string, o origin) {
	p.fact(attrSubParts, chips, o)
	facts := map[string]string{attrSubParts: chips}
	memoryOnly(facts)
	p.fact(attrDRAM, facts[attrDRAM], o)
}

// chips lists the makers of the chips on a module.
func chips(m *spd.Module) string {
	var out []string
	add := func(kind string, id spd.MakerID) {
		if j, ok := ids.JEDECBytes(id.Bank, id.Code); ok {
			out = append(out, kind+"="+cmp.Or(j.Name(), j.String()))
		}
	}
	add("dram", m.DRAM)
	for _, c := range m.Chips {
		if c.Installed {
			add(c.Kind, c.Maker)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// moduleIntegrity checks the checksums and the geometry of an SPD. A geometry
// that addresses more than the dies hold is how a module that aliases memory
// gives itself away.
func (r *reader) moduleIntegrity(p *Part, e eeprom) {
	for _, c := range e.module.CRCs {
		if c.OK() {
			continue
		}
		o := e.origin
		o.basis.Offset, o.basis.Length = int64(c.Offset), 2
		r.contradiction(finding.IntegrityBroken, p, fmt.Sprintf("checksum %#04x over bytes %d to %d", c.Computed, c.Start, c.End-1), fmt.Sprintf("checksum %#04x", c.Stored),
			"The checksum over the module's identity memory does not hold.", finding.Medium, o)
	}
	if g := e.module.Geometry; !g.Consistent() {
		o := e.origin
		o.basis.Offset, o.basis.Length = 4, 2
		r.contradiction(finding.IntegrityBroken, p, fmt.Sprintf("%d Mbit per die", g.DieMegabits), fmt.Sprintf("rows, columns and banks for %d Mbit", g.AddressMegabits),
			"The capacity that the module claims per die is not what its rows, columns and banks can address.", finding.High, o)
	}
}
