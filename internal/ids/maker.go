package ids

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Maker returns the one spelling that this package uses for a manufacturer,
// from any spelling of its name or of its JEDEC code: "0xAD", "Hynix
// Semiconductor", "HYUNDAI" and "80AD" are all "SK hynix". A name it does not
// know is returned cleaned, with company suffixes kept. A placeholder returns
// "". Two makers are the same when Maker returns equal keys for both.
func Maker(s string) string {
	name, _ := maker(s)
	return name
}

// maker also says whether the company is in the list.
func maker(s string) (name string, listed bool) {
	if _, placeholder := Placeholder(s); placeholder {
		return "", false
	}
	if c, ok := ParseComposite(s); ok && c.Module.Code == 0 {
		return "", false // the register and the DRAM are named, the module is not
	}
	if j, ok := ParseJEDEC(s); ok {
		s = j.Name()
	} else if j, ok := singleByte(s); ok {
		s = j.Name()
	}
	if name, _ := company(s); name != "" {
		return name, true
	}
	return Clean(s), false
}

// SameMaker compares two makers by company, ignoring legal forms, case and
// punctuation. It is false when either names none.
func SameMaker(a, b string) bool {
	k := MakerKey(a)
	return k != "" && k == MakerKey(b)
}

// Brand returns the system vendor whose label a text is: "HP", "HPE", "Dell".
// Such companies sell parts that others make, so a brand never contradicts
// another maker.
func Brand(s string) (string, bool) {
	name := Maker(s)
	return name, brands[name]
}

// singleByte decodes "0xAD": a code of the first bank alone.
func singleByte(s string) (JEDEC, bool) {
	digits, ok := strings.CutPrefix(Key(s), "0x")
	if !ok || len(digits) != 2 {
		return JEDEC{}, false
	}
	return ParseJEDEC("00" + digits)
}

// legalForms are words that companies add to their names and firmware cuts off.
var legalForms = map[string]bool{
	"inc": true, "incorporated": true, "corp": true, "corporation": true, "co": true, "company": true, "ltd": true,
	"limited": true, "llc": true, "gmbh": true, "ag": true, "sa": true, "plc": true, "bv": true, "nv": true, "kk": true,
	"technology": true, "technologies": true, "tech": true, "semiconductor": true, "semiconductors": true, "semi": true,
	"electronics": true, "electronic": true, "microelectronics": true, "international": true, "intl": true,
	"group": true, "holdings": true, "systems": true, "computer": true, "computers": true, "memory": true,
	"enterprise": true, "solutions": true, "device": true, "devices": true, "america": true, "usa": true, "r": true, "tm": true,
}

// company folds a company name: lower case, no punctuation, no marks, no legal
// form at the end unless nothing else is left. name is the spelling used here,
// empty for a company that is not in the list.
func company(s string) (name, key string) {
	var room [keyRoom]byte
	all := words(room[:0], Key(s))
	for k := all; len(k) > 0; {
		if name = makers[string(k)]; name != "" {
			return name, makerKeys[name]
		}
		last := bytes.LastIndexByte(k, ' ') + 1
		if !legalForms[string(k[last:])] {
			break
		}
		k = k[:max(0, last-1)]
	}
	for {
		last := bytes.LastIndexByte(all, ' ')
		if last < 0 || !legalForms[string(all[last+1:])] {
			return "", string(all)
		}
		all = all[:last]
	}
}

// words appends the words of a key with one blank between them: letters and
// digits of ASCII and everything beyond it, but no marks of ownership.
func words(b []byte, k string) []byte {
	if strings.IndexByte(k, '(') >= 0 || !plain(k) {
		k = marks.Replace(k)
	}
	for i := range len(k) {
		c := k[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf:
			b = append(b, c)
		case len(b) > 0 && b[len(b)-1] != ' ':
			b = append(b, ' ')
		}
	}
	return bytes.TrimSuffix(b, []byte(" "))
}

var marks = strings.NewReplacer("(r)", " ", "(tm)", " ", "®", " ", "™", " ", "©", " ")

// MakerKey folds a company name for comparison: two names are the same company
// exactly when their keys are equal and not empty.
func MakerKey(s string) string {
	name, listed := maker(s)
	if listed {
		return makerKeys[name]
	}
	_, key := company(name)
	return key
}

// makerKeys are the keys of the spellings used here.
var makerKeys = func() map[string]string {
	m := make(map[string]string, len(makers))
	for _, name := range makers {
		m[name] = strings.ToLower(name)
	}
	return m
}()

// makers maps folded names to the spelling used here. Only names that mean the
// same company are joined; a brand and its parent stay apart.
var makers = map[string]string{
	"samsung": "Samsung", "samsung electronics": "Samsung", "sec": "Samsung",
	"hynix": "SK hynix", "sk hynix": "SK hynix", "skhynix": "SK hynix", "hyundai": "SK hynix", "hynix hyundai": "SK hynix",
	"hyundai electronics": "SK hynix", "hynix semiconducto": "SK hynix", "hynix semiconductor": "SK hynix", "hynix semi": "SK hynix",
	"micron": "Micron", "micron cms": "Micron", "micron technology": "Micron",
	"crucial": "Crucial", "crucial technology": "Crucial",
	"kingston": "Kingston",
	"nanya":    "Nanya", "elpida": "Elpida", "qimonda": "Qimonda", "infineon siemens": "Infineon", "infineon": "Infineon",
	"ramaxel": "Ramaxel", "smart": "SMART Modular", "smart modular": "SMART Modular", "smart modular technologies": "SMART Modular",
	"adata": "ADATA", "a data": "ADATA", "transcend": "Transcend", "transcend information": "Transcend",
	"corsair": "Corsair", "g skill": "G.Skill", "gskill": "G.Skill", "apacer": "Apacer", "innodisk": "InnoDisk", "virtium": "Virtium",
	"netlist": "Netlist", "mushkin": "Mushkin", "mushkin enhanced": "Mushkin", "patriot": "Patriot", "patriot scientific": "Patriot",
	"team group": "Team Group", "team": "Team Group", "super talent": "Super Talent",
	"unilc": "UniIC", "uniic": "UniIC", "xi an uniic": "UniIC", "changxin": "CXMT", "cxmt": "CXMT",
	"changxin memory technology shanghai": "CXMT", "changxin memory technologies": "CXMT", "hefei changxin": "CXMT",
	"yangtze": "YMTC", "ymtc": "YMTC", "yangtze memory technologies": "YMTC",
	"winbond": "Winbond", "macronix": "Macronix", "mxic": "Macronix", "sst": "SST", "silicon storage": "SST", "atmel": "Atmel",
	"viking": "Viking", "viking components": "Viking", "viking interworks": "Viking", "wintec": "Wintec", "wintec industries": "Wintec",
	"intel": "Intel", "genuineintel": "Intel", "amd": "AMD", "authenticamd": "AMD", "advanced micro": "AMD", "advanced micro devices": "AMD",
	"hygon": "Hygon", "hygongenuine": "Hygon", "ampere": "Ampere", "ampere computing": "Ampere",
	"hp": "HP", "hewlett packard": "HP", "hewlettpackard": "HP", "compaq": "HP", "hpe": "HPE", "hewlett packard enterprise": "HPE",
	"dell": "Dell", "dell emc": "Dell", "dell emc dell": "Dell", "lenovo": "Lenovo", "ibm": "IBM", "international business machines": "IBM",
	"supermicro": "Supermicro", "super micro": "Supermicro", "super micro computer": "Supermicro", "cisco": "Cisco", "cisco systems": "Cisco",
	"fujitsu": "Fujitsu", "fujitsu siemens": "Fujitsu", "fsc": "Fujitsu", "oracle": "Oracle", "oracle corporation": "Oracle",
	"sun": "Sun", "sun microsystems": "Sun", "gigabyte": "Gigabyte", "giga byte": "Gigabyte", "asus": "ASUS", "asustek": "ASUS", "asustek computer": "ASUS",
	"asrock": "ASRock", "asrockrack": "ASRock Rack", "asrock rack": "ASRock Rack", "huawei": "Huawei", "quanta": "Quanta", "quanta cloud": "Quanta", "inspur": "Inspur",
	"idt": "IDT", "renesas": "Renesas", "renesas electronics": "Renesas", "inphi": "Inphi", "montage": "Montage", "montage technology": "Montage", "rambus": "Rambus",
	"texas instruments": "Texas Instruments", "ti": "Texas Instruments", "broadcom": "Broadcom", "mellanox": "Mellanox", "nvidia": "NVIDIA",
	"seagate": "Seagate", "western digital": "Western Digital", "wdc": "Western Digital", "hgst": "HGST", "toshiba": "Toshiba", "kioxia": "Kioxia",
	"western digital technologies": "Western Digital", "sandisk": "SanDisk", "sandisk technologies": "SanDisk", "solidigm": "Solidigm",
	"foxconn": "Foxconn", "hon hai": "Foxconn", "delta": "Delta", "delta electronics": "Delta", "lite on": "Lite-On", "liteon": "Lite-On",
	"artesyn": "Artesyn", "astec": "Astec", "flextronics": "Flex", "flex": "Flex", "emerson": "Emerson", "acbel": "AcBel", "acbel polytech": "AcBel",
}

// brands are the system vendors among the makers.
var brands = map[string]bool{
	"HP": true, "HPE": true, "Dell": true, "Lenovo": true, "IBM": true, "Supermicro": true, "Cisco": true, "Fujitsu": true,
	"Oracle": true, "Sun": true, "Gigabyte": true, "ASUS": true, "ASRock": true, "ASRock Rack": true, "Huawei": true,
	"Quanta": true, "Inspur": true,
}
