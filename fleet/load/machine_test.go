package load

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
	"github.com/assay-hw/assay/manifest"
)

const (
	boards = 20
	root   = "../.."
	logAt  = "sys/kernel/security/tpm0/binary_bios_measurements"
)

// labTime is when all of it happens.
var labTime = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// tampering is what was done to a machine.
type tampering int

const (
	honest tampering = iota
	extraFunction
	dimmSwapped
	dimmMissing
	firmwareEvent
	driverEvent
	bootEvent
	logEdited
	sealMissing
	quoteReplayed
	spliced
	otherTPM
	kinds
)

func (k tampering) String() string {
	return [...]string{
		"honest", "an added PCI function", "a swapped DIMM", "a missing DIMM", "other firmware, measured", "another option ROM, measured", "another boot loader, measured",
		"an edited event log", "the seal removed", "a replayed quote", "evidence changed after it was signed", "another TPM",
	}[k]
}

// plan is which machines were tampered with: one of so many, each kind in turn.
type plan int

// planFor has one of a hundred tampered with, and more where that would not be each
// kind once.
func planFor(machines int) plan {
	if machines < 100*int(kinds) {
		return 20
	}
	return 100
}

func (p plan) tampered(n int) tampering {
	if n%int(p) != int(p)/2 {
		return honest
	}
	return 1 + tampering(n/int(p))%(kinds-1)
}

// boardOf spreads machines over boards.
func boardOf(n int) int { return (n + n/boards) % boards }

// maker makes machines.
type maker struct {
	plan    plan
	trees   map[tree]map[string][]byte // by board and what was done
	ca      *softtpm.Maker
	packed  map[[32]byte][]byte // of files that many machines have, compressed
	recipes map[string]map[string][]byte
	tpms    map[int]*softtpm.TPM
	deflate *flate.Writer
}

type tree struct {
	board int
	kind  tampering
}

func newMaker(p plan, ca *softtpm.Maker) (*maker, error) {
	m := &maker{plan: p, trees: map[tree]map[string][]byte{}, packed: map[[32]byte][]byte{}, ca: ca, recipes: map[string]map[string][]byte{}, tpms: map[int]*softtpm.TPM{}}
	var err error
	if m.deflate, err = flate.NewWriter(nil, flate.BestSpeed); err != nil {
		return nil, err
	}
	return m, nil
}

// recording gives a recorded machine without what is made anew for each.
func (m *maker) recording(name string) (map[string][]byte, error) {
	if m.recipes[name] != nil {
		return m.recipes[name], nil
	}
	files, err := fixture.Machine(filepath.FromSlash(root), name)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(files, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "tpm/") && p != "tpm/properties.json" || strings.Contains(p, "/ima/") || strings.HasPrefix(p, "firmware/")
	})
	m.recipes[name] = files
	return files, nil
}

// tree gives the files of a board with what was done to it, with the numbers of the
// recorded machine still in it.
func (m *maker) tree(id tree) (map[string][]byte, error) {
	if t := m.trees[id]; t != nil {
		return t, nil
	}
	base, err := m.recording([]string{"baseline", "secure-boot-on"}[id.board%2])
	if err != nil {
		return nil, err
	}
	files := maps.Clone(base)
	if other, ok := map[tampering]string{extraFunction: "extra-nic-norom", dimmSwapped: "dimm-swapped", dimmMissing: "missing-dimm"}[id.kind]; ok {
		if err := m.overlay(files, other); err != nil {
			return nil, err
		}
	}
	for p, data := range files {
		for old, as := range boardTexts(id.board) {
			data = bytes.ReplaceAll(data, []byte(old), []byte(as))
		}
		files[p] = data
	}
	if err := measure(files, id); err != nil {
		return nil, err
	}
	m.trees[id] = files
	return files, nil
}

// overlay puts on a tree what sets another recording of the first board apart, in
// the places that were tampered with.
func (m *maker) overlay(files map[string][]byte, name string) error {
	plain, err := m.recording("baseline")
	if err != nil {
		return err
	}
	other, err := m.recording(name)
	if err != nil {
		return err
	}
	within := func(p string) bool {
		return strings.HasPrefix(p, "sys/bus/") || strings.HasPrefix(p, "sys/class/net/") || strings.HasPrefix(p, "sys/firmware/dmi/tables/DMI")
	}
	for p, data := range other {
		if within(p) && !bytes.Equal(plain[p], data) {
			files[p] = data
		}
	}
	for p := range plain {
		if _, kept := other[p]; within(p) && !kept {
			delete(files, p)
		}
	}
	return nil
}

// boardTexts make one board out of another; lengths stay as they are.
func boardTexts(board int) map[string]string {
	return map[string]string{
		"SYS-6029LAB":      fmt.Sprintf("SYS-%04dLAB", 6000+board),
		"X11LAB-DRi":       fmt.Sprintf("X%02dLAB-DRi", 11+board),
		"CSE-829UTQ-R000":  fmt.Sprintf("CSE-829UTQ-R%03d", board),
		"10/22/2025":       fmt.Sprintf("%02d/22/2025", 1+board%12),
		"9ASF1G72PZ-2G9E1": fmt.Sprintf("9ASF1G72PZ-2G%dE1", 6+board%4),
	}
}

// measure gives a board firmware of its own in the event log, and another one where
// that was tampered with: version, option ROM, boot loader.
func measure(files map[string][]byte, id tree) error {
	l, err := tcglog.Parse(files[logAt], tcglog.DefaultLimits())
	if err != nil {
		return err
	}
	raw := bytes.Clone(files[logAt])
	change := func(e *tcglog.Event, text string) {
		for _, d := range e.Digests { // they lie before the data, each once
			at := bytes.Index(raw[e.Offset:e.DataOffset], d.Value) + e.Offset
			h := d.Alg.Hash().New()
			h.Write([]byte(text))
			copy(raw[at:], h.Sum(nil))
		}
	}
	seen := map[tcglog.EventType]bool{}
	for i := range l.Events {
		e := &l.Events[i]
		first := e.Measured() && !seen[e.Type]
		seen[e.Type] = seen[e.Type] || e.Measured()
		switch {
		case !first:
		case e.Type == tcglog.EFIFirmwareBlob:
			change(e, fmt.Sprintf("firmware of board %d, tampered with: %t", id.board, id.kind == firmwareEvent))
		case e.Type == tcglog.EFIBootServicesDriver && id.kind == driverEvent, e.Type == tcglog.EFIBootServicesApp && id.kind == bootEvent:
			change(e, id.kind.String())
		}
	}
	files[logAt] = raw
	return nil
}

// numbers give machine n its own serial numbers and addresses, in the lengths that
// the recorded ones have.
func numbers(n int) [][2]string {
	mac := func(port int) string { return fmt.Sprintf("%06x", 4*n+port) }
	hexed := func(s string) string { b, _ := hex.DecodeString(s); return string(b) }
	uuid := binary.BigEndian.AppendUint32(nil, uint32(n))
	out := [][2]string{
		{"S-LAB-0001", fmt.Sprintf("S-%08d", n)},
		{"C829LAB00001", fmt.Sprintf("C829%08d", n)},
		{"LB19AS0042", fmt.Sprintf("LB%08d", n)},
		{"\x0c\x0f\xfe\xe0\x00\x42", "\x0c\x0f" + string(uuid)},
		{"2F4A11", fmt.Sprintf("%06X", 0x200000+n)},
		{"\x2f\x00\x11", hexed(fmt.Sprintf("%06X", 0x200000+n))},
		{"W0M00042", fmt.Sprintf("W%07d", n)},
		{"S4EVNX0R000042", fmt.Sprintf("S4EV%010d", n)},
	}
	for port := 1; port <= 3; port++ {
		m := mac(port)
		out = append(out, [2]string{fmt.Sprintf("ac:1f:6b:00:42:%02x", port), "ac:1f:6b:" + m[:2] + ":" + m[2:4] + ":" + m[4:]})
		b := hexed(m)
		out = append(out, [2]string{string([]byte{byte(port)}) + "\x42\x00\xff\xff\x6b\x1f\xac", string([]byte{b[2], b[1], b[0]}) + "\xff\xff\x6b\x1f\xac"})
	}
	m := mac(0) // of the card that was added in a recording
	b := hexed(m)
	return append(out, [2]string{"ac:1f:6b:00:66:66", "ac:1f:6b:" + m[:2] + ":" + m[2:4] + ":" + m[4:]},
		[2]string{"\x66\x66\x00\xff\xff\x6b\x1f\xac", string([]byte{b[2], b[1], b[0]}) + "\xff\xff\x6b\x1f\xac"})
}

// sums makes the checksums of a FRU's areas right again (IPMI FRU 1.3, 8 to 12).
func sums(fru []byte) {
	if len(fru) < 8 {
		return
	}
	for _, at := range fru[2:5] {
		start := int(at) * 8
		if start == 0 || start+2 > len(fru) {
			continue
		}
		end := start + int(fru[start+1])*8
		if end > len(fru) || end <= start+2 {
			continue
		}
		var sum byte
		for _, b := range fru[start : end-1] {
			sum += b
		}
		fru[end-1] = -sum
	}
}

// request asks for machine n, or with a nonce for its evidence.
type request struct {
	N     int
	Nonce []byte
	Keep  bool // it will be asked again
	More  bool // another request follows
}

// reply is one of the two.
type reply struct {
	Host fleet.Host
	Zip  []byte
	Err  string
}

// reply makes the keys of a machine when it is asked for the first time.
func (m *maker) reply(q request) (r reply) {
	var err error
	t := m.tpms[q.N]
	if t == nil {
		if t, err = m.ca.TPM(int64(q.N) + 2); err != nil {
			return reply{Err: err.Error()}
		}
		m.tpms[q.N] = t
	}
	if q.Nonce == nil {
		return reply{Host: host(t, q.N)}
	}
	if !q.Keep {
		delete(m.tpms, q.N)
	}
	if r.Zip, err = m.evidence(q.N, t, q.Nonce); err != nil {
		r.Err = err.Error()
	}
	return r
}

// evidence makes what machine n sends when it is asked with a nonce.
func (m *maker) evidence(n int, t *softtpm.TPM, nonce []byte) ([]byte, error) {
	kind := m.plan.tampered(n)
	files, err := m.tree(tree{boardOf(n), kind})
	if err != nil {
		return nil, err
	}
	files = maps.Clone(files)
	own := numbers(n)
	for p, data := range files {
		if !slices.Contains(individual, pattern(p)) {
			continue
		}
		for _, x := range own {
			data = bytes.ReplaceAll(data, []byte(x[0]), []byte(x[1]))
		}
		if strings.HasPrefix(p, "ipmi/fru-") {
			sums(data)
		}
		files[p] = data
	}
	if kind == otherTPM {
		if t, err = m.ca.TPM(int64(n) + 2); err != nil {
			return nil, err
		}
	}
	maps.Copy(files, t.Files())
	files["proc/uptime"] = fmt.Appendf(nil, "%d.00 1.00\n", 1000+n)
	return m.answer(files, t, kind, nonce)
}

// individual are the files with numbers of a machine.
var individual = []string{"sys/firmware/dmi/tables/DMI", "ipmi/fru-0.bin", "net/address", "pci/config", "i2c/eeprom", "nvme/serial", "nvme/subsysnqn", "device/serial", "device/vpd_pg80"}

func pattern(p string) string {
	switch name := p[strings.LastIndexByte(p, '/')+1:]; {
	case strings.HasPrefix(p, "sys/class/net/"):
		return "net/" + name
	case strings.HasPrefix(p, "sys/bus/pci/"):
		return "pci/" + name
	case strings.HasPrefix(p, "sys/bus/i2c/"):
		return "i2c/" + name
	case strings.HasPrefix(p, "sys/class/nvme/"):
		return "nvme/" + name
	case strings.Contains(p, "/device/"):
		return "device/" + name
	}
	return p
}

// answer seals the files, has the TPM sign, and packs both.
func (m *maker) answer(files map[string][]byte, t *softtpm.TPM, kind tampering, nonce []byte) ([]byte, error) {
	if kind == quoteReplayed { // what the machine sent when it was asked before
		old := sha256.Sum256(nonce)
		nonce = old[:]
	}
	l, err := tcglog.Parse(files[logAt], tcglog.DefaultLimits())
	if err != nil {
		return nil, err
	}
	pcrs := softtpm.Replay(l)
	if kind == logEdited {
		edited := l.Events
		i := slices.IndexFunc(edited, func(e tcglog.Event) bool { return e.Measured() && e.Type == tcglog.EFIVariableBoot })
		edited[i].Digests = nil // the TPM saw something else
		pcrs = softtpm.Replay(l)
	}
	if files["tpm/pcrs.json"], err = json.Marshal(softtpm.Listing(pcrs)); err != nil {
		return nil, err
	}
	w := evidence.NewWriter(evidence.Index{Collector: evidence.Collector{Name: "assay", Version: "load"}, CollectedAt: labTime, Nonce: hex.EncodeToString(nonce), Mode: evidence.Mode{Root: true}}, evidence.Limits{})
	for p, data := range files {
		if err := w.Add(p, data, ""); err != nil {
			return nil, err
		}
	}
	d, err := w.Digest()
	if err != nil {
		return nil, err
	}
	q := evidence.QualifyingData(nonce, d)
	for _, bank := range []tpmwire.Algorithm{tpmwire.SHA256, tpmwire.SHA384} {
		attest, sig, err := t.Quote(q[:], bank, 0xffffff, pcrs[bank], softtpm.Clock{Milliseconds: 600_000, Resets: 5})
		if err != nil {
			return nil, err
		}
		for p, data := range map[string][]byte{"attest": attest, "sig": sig} {
			if err := w.Add("tpm/quote-"+bank.String()+"."+p, data, ""); err != nil {
				return nil, err
			}
		}
	}
	b, err := w.Bundle()
	if err != nil {
		return nil, err
	}
	return m.pack(b, kind)
}

// host is the machine as an enrolment leaves it.
func host(t *softtpm.TPM, n int) fleet.Host {
	name, _ := t.Name() // SHA-256 is always there
	return fleet.Host{
		ID: fmt.Sprintf("h-%07d", n), Name: fmt.Sprintf("node-%07d", n), Site: fmt.Sprintf("site-%d", n%7), Mode: fleet.ByAgent, Interval: 24 * time.Hour, NextDue: labTime, EnrolledAt: labTime,
		State: fleet.Enrolled, Since: labTime,
		Identity: fleet.Identity{
			EKSHA256: ekcert.KeyHash(t.EK()), EKKind: "ecc-p256", AKName: hex.EncodeToString(name), AK: t.Files()["tpm/ak.pub"],
			Chassis: fleet.Chassis{Manufacturer: "Assay Lab Computer Inc.", Product: "SYS-" + boardTexts(boardOf(n))["SYS-6029LAB"][4:] + "-TR", Serial: fmt.Sprintf("S-%08d", n)},
		},
	}
}

// golden drafts the manifest of a board from two good units that are not in the
// fleet, and signs it.
func (m *maker) golden(board int, sign func([]byte) ([]byte, error)) (*manifest.Manifest, []byte, error) {
	var units []*evidence.Bundle
	for n := 9_000_000; len(units) < 2; n++ {
		if boardOf(n) != board || m.plan.tampered(n) != honest {
			continue
		}
		x := m.reply(request{N: n, Nonce: []byte("reference")})
		if x.Err != "" {
			return nil, nil, errors.New(x.Err)
		}
		b, err := evidence.OpenZip(x.Zip, "reference", evidence.Limits{})
		if err != nil {
			return nil, nil, err
		}
		units = append(units, b)
	}
	g, _, err := assay.Draft(units, assay.DraftOptions{Now: labTime, Scope: assay.Model})
	if err != nil {
		return nil, nil, err
	}
	raw, err := manifest.Encode(g)
	if err != nil {
		return nil, nil, err
	}
	signed, err := sign(raw)
	return g, signed, err
}
