package measured

import (
	"crypto"
	_ "crypto/sha1"   // the oldest bank of a log
	_ "crypto/sha512" // the strongest
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/assay-hw/assay/firmware"
)

// Measured is one event of a log that may be over firmware.
type Measured struct {
	Number       int
	PCR          int
	Type         string
	Digests      map[string]string // by bank name, lower-case hex
	Base, Length uint64            // where it lay and how long it was, as the event says: a hint
}

// Basis says how much an account of an event is worth.
type Basis string

// The bases. Only Exact ties the bytes of the image to the log.
const (
	Exact       Basis = "exact"       // the digest is that of the part
	Learned     Basis = "learned"     // the part fits, but firmware writes to its copy before it measures it: only a reference boot tells the digest
	Unexplained Basis = "unexplained" // no part of the image has this digest
)

// Account says which part of an image a measured event is over.
type Account struct {
	Event  int    `json:"event"` // number in the log
	PCR    int    `json:"pcr"`
	Type   string `json:"type"`
	Digest string `json:"digest"` // "sha256:…", in the strongest bank that can be computed
	Basis  Basis  `json:"basis"`
	Path   string `json:"path,omitempty"`
	Name   string `json:"name,omitempty"`
	Why    string `json:"why"`
}

// measuresFirmware lists the types of events whose digest is over firmware
// (TCG PFP 1.06, 10.4.1). Other events are over data of their own.
var measuresFirmware = map[string]bool{
	blobEvent: true, "EV_EFI_PLATFORM_FIRMWARE_BLOB2": true, "EV_POST_CODE": true, "EV_POST_CODE2": true, "EV_S_CRTM_CONTENTS": true,
	driverEvent: true, "EV_EFI_RUNTIME_SERVICES_DRIVER": true, "EV_CPU_MICROCODE": true, "EV_NONHOST_CODE": true,
}

// Explain finds, for every event over firmware in PCR 0 and 2, the part of the
// image that was measured: by digest, never by what the event says of itself.
// The lengths in events only narrow the search.
func Explain(m *firmware.Image, events []Measured) []Account {
	x := newExplainer(m)
	out := []Account{}
	for _, e := range events {
		if (e.PCR == 0 || e.PCR == 2) && measuresFirmware[e.Type] {
			out = append(out, x.account(e))
		}
	}
	return out
}

// part is a run of bytes that firmware may measure as one.
type part struct {
	path, name string
	bytes      []byte
	image      string // Authenticode digest, sha256, of a PE image
	written    bool   // PEI runs from a copy of it in memory
}

// explainer searches the parts of one image. The bytes that it may hash are
// bounded like those of taking the image apart.
type explainer struct {
	image    *firmware.Image
	parts    []part
	byLength map[int][]int
	bySHA256 map[string]int // of modules and of volumes
	work     int
}

// maxHashed bounds the bytes that are hashed to explain one log.
const maxHashed = 1 << 30

func newExplainer(m *firmware.Image) *explainer {
	x := &explainer{image: m, byLength: map[int][]int{}, bySHA256: map[string]int{}, work: maxHashed}
	leaves := m.Open()
	eachVolume(leaves, m.Bytes(), false, func(v volumeFound) {
		x.add(part{path: v.path, name: v.name, bytes: v.bytes, written: v.pei && v.compressed})
		if x.work -= len(v.bytes); x.work > 0 {
			x.know(sha256Of(v.bytes))
		}
	})
	var walk func(ls []firmware.Leaf)
	walk = func(ls []firmware.Leaf) {
		for _, l := range ls {
			if l.Kind != firmware.Volatile && len(l.Content()) > 0 {
				x.add(part{path: l.Path, name: l.Name, bytes: l.Content(), image: l.Authenticode})
				x.know(l.SHA256)
				x.know(l.Authenticode)
			}
			walk(l.Inside)
		}
	}
	walk(leaves)
	return x
}

func (x *explainer) add(p part) {
	n := len(p.bytes)
	x.byLength[n] = append(x.byLength[n], len(x.parts))
	x.parts = append(x.parts, p)
}

// know remembers a digest of the part that was added last. The first part of a
// digest is named: equal bytes explain an event wherever they lie.
func (x *explainer) know(sum string) {
	if _, ok := x.bySHA256[sum]; !ok && sum != "" {
		x.bySHA256[sum] = len(x.parts) - 1
	}
}

// banks are compared in this order: the first that an event has.
var banks = []struct {
	name string
	hash crypto.Hash
}{{"sha256", crypto.SHA256}, {"sha384", crypto.SHA384}, {"sha512", crypto.SHA512}, {"sha1", crypto.SHA1}}

func (x *explainer) account(e Measured) Account {
	a := Account{Event: e.Number, PCR: e.PCR, Type: e.Type, Basis: Unexplained}
	var want string
	var h crypto.Hash
	for _, b := range banks {
		if want = e.Digests[b.name]; want != "" {
			a.Digest, h = b.name+":"+want, b.hash
			break
		}
	}
	if h == 0 {
		a.Why = "the event has no digest in an algorithm known here"
		return a
	}
	if i, ok := x.bySHA256[want]; ok && h == crypto.SHA256 {
		return a.explained(x.parts[i], "the digest of these bytes")
	}
	if x.flashRange(&a, e, want, h) {
		return a
	}
	candidates := x.byLength[int(min(e.Length, 1<<40))]
	for _, i := range candidates {
		if x.work -= len(x.parts[i].bytes); x.work <= 0 {
			a.Why = "not searched to the end: the budget for hashing the image is used up"
			return a
		}
		if sumOf(h, x.parts[i].bytes) == want {
			return a.explained(x.parts[i], "the digest of these bytes")
		}
	}
	for _, i := range candidates {
		if p := x.parts[i]; p.written {
			a = a.explained(p, "its length fits; PEI runs from a copy in memory and writes to it before it is measured, so that the digest depends on the machine's shape")
			a.Basis = Learned
			return a
		}
	}
	a.Why = "no part of the image has this digest"
	if e.PCR == 2 {
		a.Why += "; drivers of cards are in their own expansion ROMs"
	}
	return a
}

func (a Account) explained(p part, why string) Account {
	a.Basis, a.Path, a.Name, a.Why = Exact, p.path, p.name, why
	return a
}

// flashRange tries the place that the event names, where it is in the window
// that chipsets map the flash into: the end of the flash is at 4 GiB.
func (x *explainer) flashRange(a *Account, e Measured, want string, h crypto.Hash) bool {
	const end = 4 << 30
	size := uint64(len(x.image.Bytes()))
	if e.Length == 0 || e.Length > size || e.Base < end-min(size, end) || e.Base+e.Length > end {
		return false
	}
	at := size - (end - e.Base)
	if x.work -= int(e.Length); x.work <= 0 || sumOf(h, x.image.Bytes()[at:at+e.Length]) != want {
		return false
	}
	var names []string
	for _, l := range x.image.Leaves {
		if uint64(l.Offset) < at+e.Length && uint64(l.Offset+l.Length) > at && l.Kind != firmware.Padding && l.Kind != firmware.Free {
			names = append(names, l.Path)
		}
	}
	if len(names) == 0 {
		return false
	}
	*a = a.explained(part{path: names[0]}, fmt.Sprintf("the digest of the flash from 0x%x to 0x%x: %s", at, at+e.Length, some(names)))
	return true
}

func sumOf(h crypto.Hash, b []byte) string {
	f := h.New()
	f.Write(b)
	return hex.EncodeToString(f.Sum(nil))
}

// Digests returns what firmware may measure for the parts with a path, in one
// bank: the digest of their bytes and, in the bank in which it is known, that of
// a PE image as firmware computes it.
func Digests(m *firmware.Image, path, bank string) []string {
	var h crypto.Hash
	for _, b := range banks {
		if b.name == bank {
			h = b.hash
		}
	}
	if h == 0 {
		return nil
	}
	var out []string
	eachVolume(m.Open(), m.Bytes(), false, func(v volumeFound) {
		if v.path == path {
			out = append(out, sumOf(h, v.bytes))
		}
	})
	var walk func(ls []firmware.Leaf)
	walk = func(ls []firmware.Leaf) {
		for _, l := range ls {
			if l.Path == path {
				out = append(out, sumOf(h, l.Content()))
				if h == crypto.SHA256 && l.Authenticode != "" {
					out = append(out, l.Authenticode)
				}
			}
			walk(l.Inside)
		}
	}
	walk(m.Open())
	return out
}

// Held is a prediction held against a log.
type Held struct {
	Events  []HeldEvent `json:"events"`
	Missing []Expected  `json:"missing"` // predicted by digest, and not in the log
}

// HeldEvent is an event of PCR 0, 2 or 7 with what accounts for it.
type HeldEvent struct {
	Account
	Rule string `json:"rule,omitempty"` // of the prediction that it fulfils
}

// Hold accounts for the events of a log that firmware makes by itself: by the
// part of the image that was measured, and by prediction.
func (p *Prediction) Hold(m *firmware.Image, events []Measured) Held {
	h := Held{Events: []HeldEvent{}, Missing: []Expected{}}
	taken := make([]bool, len(p.Events))
	accounts := map[int]Account{}
	for _, a := range Explain(m, events) {
		accounts[a.Event] = a
	}
	for _, e := range events {
		a, ok := accounts[e.Number]
		i := p.fulfilled(e, taken)
		switch {
		case i >= 0:
			taken[i] = true
			if !ok {
				a = Account{Event: e.Number, PCR: e.PCR, Type: e.Type, Basis: Exact, Path: p.Events[i].Source, Digest: firstDigest(e), Why: "the digest that was predicted"}
			}
			h.Events = append(h.Events, HeldEvent{a, p.Events[i].Rule})
		case ok:
			h.Events = append(h.Events, HeldEvent{Account: a})
		case e.PCR == 0:
			h.Events = append(h.Events, HeldEvent{Account: Account{Event: e.Number, PCR: e.PCR, Type: e.Type, Basis: Learned, Digest: firstDigest(e), Why: "over data of its own, not over firmware; a reference boot tells it"}})
		}
	}
	for i, e := range p.Events {
		if !taken[i] && e.SHA256 != "" {
			h.Missing = append(h.Missing, e)
		}
	}
	return h
}

// fulfilled returns which expectation an event meets by digest, or -1.
func (p *Prediction) fulfilled(e Measured, taken []bool) int {
	for i, want := range p.Events {
		if taken[i] || want.PCR != e.PCR || want.Type != e.Type && want.Type+"2" != e.Type {
			continue
		}
		for bank, sum := range e.Digests {
			if sum != "" && want.sum(bank) == sum {
				return i
			}
		}
	}
	return -1
}

func firstDigest(e Measured) string {
	for _, b := range banks {
		if sum := e.Digests[b.name]; sum != "" {
			return b.name + ":" + sum
		}
	}
	return ""
}

func sha256Of(b []byte) string { return sumOf(crypto.SHA256, b) }

// some lists the first names.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
