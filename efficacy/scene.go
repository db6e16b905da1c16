package efficacy

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware/unpack"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/redfish"
)

const logAt = "sys/kernel/security/tpm0/binary_bios_measurements"

// scene is one machine, what its TPM did, and what the verifier has, while steps
// change it.
type scene struct {
	bench  *Bench
	vector *Vector
	files  map[string][]byte
	notes  map[string]evidence.Artifact // what the collector could not read

	tpm         *softtpm.TPM
	saw         []byte // the log of what the TPM was given, when the one in evidence is another
	capped      map[tpmwire.Algorithm]bool
	selection   uint32
	banks       []tpmwire.Algorithm
	clock       softtpm.Clock
	restarted   bool // between two quotes
	age         uint64
	quoted      []byte // the nonce in the quote, when it is another
	unsealed    bool
	afterSeal   []lateStep
	collectedAt time.Time

	draft     *manifest.Manifest
	payload   []func([]byte) ([]byte, error) // edits to the statement before it is signed
	sign      signing
	golden    []byte // signed, once it was
	opened    []assay.Statement
	more      [][]byte // further manifests
	state     manifest.State
	remembers bool   // the state has something
	asked     []byte // the verifier's nonce
	now       time.Time
	records   []*inspection.Record
	known     [][]byte
	rules     *trustRules // what trust.yaml says, and who is revoked
}

func (b *Bench) newScene(v *Vector, files map[string][]byte) *scene {
	nonce := []byte("a nonce of sixteen bytes or more")
	return &scene{
		bench: b, vector: v, files: files, notes: map[string]evidence.Artifact{}, capped: map[tpmwire.Algorithm]bool{}, selection: 0xffffff,
		clock: softtpm.Clock{Milliseconds: 3_600_000, Resets: 5}, age: 360_000, collectedAt: labTime, asked: nonce, quoted: nonce, now: labTime.Add(time.Hour),
	}
}

func (s *scene) apply(ss []step) error {
	for _, st := range ss {
		if err := verbs()[st.verb].do(s, st.args); err != nil {
			return fmt.Errorf("%s: line %d: %s: %w", s.vector.File, st.line, st.verb, err)
		}
	}
	return nil
}

// draft makes a manifest of the good state of a machine.
func draft(b *evidence.Bundle, scope assay.Scope) (*manifest.Manifest, error) {
	if !redfish.Alone(b) {
		m, _, err := assay.Draft([]*evidence.Bundle{b}, assay.DraftOptions{Scope: scope, Now: labTime, Decoders: unpack.Decoders()})
		return m, err
	}
	inv, err := redfish.Inventory(b, "")
	if err != nil {
		return nil, err
	}
	lines, classes, _ := redfish.Draft(inv, scope == assay.Machine)
	m := &manifest.Manifest{ID: "by-controller", Version: 1, IssuedAt: labTime, Components: lines, Classes: classes}
	if p, ok := inv.Part("system"); ok {
		m.Environment = manifest.Environment{Manufacturer: p.Identity.Maker, Model: p.Identity.Model, Serial: p.Identity.Serial}
	}
	return m, nil
}

// verify judges the scene at a level of evidence.
func (s *scene) verify(l Level) (*assay.Result, error) {
	c, err := s.appraisal(l)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", s.vector.File, l, err)
	}
	r, err := assay.Verify(*c)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", s.vector.File, l, err)
	}
	return r, nil
}

func (s *scene) appraisal(l Level) (*assay.Case, error) {
	bundle, err := s.seal(l)
	if err != nil {
		return nil, err
	}
	if s.golden == nil {
		if s.golden, err = s.signed(); err != nil {
			return nil, err
		}
	}
	trust, err := s.bench.trust(s.rules)
	if err != nil {
		return nil, err
	}
	if s.opened == nil { // once for all levels, as package assay would each time
		for _, raw := range append([][]byte{s.golden}, s.more...) {
			t, rep := manifest.Open(raw, trust, s.now)
			s.opened = append(s.opened, assay.Statement{Trusted: t, Report: rep})
		}
	}
	c := &assay.Case{
		Evidence: bundle, Statements: s.opened, Trust: trust, State: s.state, EKRoots: [][]byte{s.bench.maker.Certificate.Raw}, Makers: s.bench.makers,
		Nonce: s.asked, Now: s.now, KnownBad: s.known, Decoders: unpack.Decoders(),
	}
	if c.Policy, err = s.policy(); err != nil {
		return nil, err
	}
	if l < L3 {
		c.Nonce = nil // nobody asked a TPM
	}
	if redfish.Alone(bundle) {
		var inv *bom.Inventory
		if inv, err = redfish.Inventory(bundle, ""); err != nil {
			return nil, err
		}
		c.Inventory = inv
	} else if told, err := redfish.Inventory(bundle, ""); err == nil {
		c.Controller = told
	}
	if l == L6 && len(s.records) > 0 {
		if c.Inspections, err = s.inspections(trust); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (s *scene) policy() (*assay.Policy, error) {
	if text := s.vector.sections["policy"]; text != nil {
		return assay.ParsePolicy(text)
	}
	p, _ := assay.BuiltInPolicy(s.vector.Policy)
	return p, nil
}

// seal makes the bundle that a collector would have written of a machine in this
// state, with what its TPM would have signed.
func (s *scene) seal(l Level) (*evidence.Bundle, error) {
	files := map[string][]byte{}
	for p, data := range s.files {
		if l.keeps(p) {
			files[p] = data
		}
	}
	if len(files) == 0 { // a bundle is never empty
		files["desk/note.txt"] = []byte("nobody looked at a machine\n")
	}
	var regs map[tpmwire.Algorithm]softtpm.Registers
	withTPM := l >= L3 && files[logAt] != nil || s.saw != nil && l >= L3
	if withTPM {
		var err error
		if regs, err = s.measured(files); err != nil {
			return nil, err
		}
	}
	collector := "assay"
	if strings.Contains(s.vector.Machine, ":") {
		collector = "capture" // by other programs, which do not account for each source
	}
	w := evidence.NewWriter(evidence.Index{
		Collector: evidence.Collector{Name: collector, Version: "vectors"}, CollectedAt: s.collectedAt, Nonce: hex.EncodeToString(s.quoted), Mode: evidence.Mode{Root: true},
	}, evidence.Limits{})
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if err := w.Add(p, files[p], ""); err != nil {
			return nil, err
		}
	}
	if collector == "assay" {
		if err := s.leftOut(w, files); err != nil {
			return nil, err
		}
	}
	for p, a := range s.notes {
		if _, have := files[p]; have || !l.keeps(p) {
			continue
		}
		if err := w.Note(p, a.Status, a.Reason); err != nil {
			return nil, err
		}
	}
	if withTPM && s.tpm != nil {
		if err := s.attest(w, regs); err != nil {
			return nil, err
		}
	}
	if s.unsealed || l < L2 {
		w.Unsealed()
	}
	b, err := w.Bundle()
	if err != nil || len(s.afterSeal) == 0 {
		return b, err
	}
	return s.broken(b, l)
}

// sources are the places for which the collector answers also when it is told to
// leave them out.
var sources = []string{
	"sys/firmware/dmi/tables/DMI", "sys/firmware/acpi/tables", "sys/firmware/efi/efivars", "sys/bus/pci/devices", "sys/bus/usb/devices", "sys/bus/i2c/devices",
	"sys/class/nvme", "sys/class/block", "sys/class/net", "proc/cpuinfo", "proc/meminfo", "proc/iomem", "ipmi/device-id.bin", "ipmi/fru-0.bin",
	"firmware/bios.rom", logAt, "tpm/properties.json",
}

// leftOut notes what the level of evidence leaves out of what the machine has.
func (s *scene) leftOut(w *evidence.Writer, files map[string][]byte) error {
	for _, place := range sources {
		below := func(files map[string][]byte) bool {
			for p := range files {
				if p == place || strings.HasPrefix(p, place+"/") {
					return true
				}
			}
			return false
		}
		if _, noted := s.notes[place]; noted || !below(s.files) || below(files) {
			continue
		}
		if err := w.Note(place, evidence.Denied, "left out by the operator"); err != nil {
			return err
		}
	}
	return nil
}

// measured sets the TPM's artefacts among the files and gives its registers.
func (s *scene) measured(files map[string][]byte) (map[tpmwire.Algorithm]softtpm.Registers, error) {
	log := files[logAt]
	if s.saw != nil {
		log = s.saw
	}
	parsed, err := tcglog.Parse(log, tcglog.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("the log that the TPM saw: %w", err)
	}
	if s.tpm == nil {
		if s.tpm, err = s.bench.tpm(s.vector.Machine, s.bench.maker); err != nil {
			return nil, err
		}
	}
	for p, data := range s.tpm.Files() {
		if _, other := files[p]; !other {
			files[p] = data
		}
	}
	regs := softtpm.Replay(parsed)
	for bank := range s.capped {
		for i := range regs[bank] {
			if i < 8 {
				regs[bank][i] = make([]byte, bank.Size())
			}
		}
	}
	if files["tpm/pcrs.json"] == nil {
		files["tpm/pcrs.json"], err = json.Marshal(softtpm.Listing(regs))
	}
	return regs, err
}

// attest adds what the TPM signs last.
func (s *scene) attest(w *evidence.Writer, regs map[tpmwire.Algorithm]softtpm.Registers) error {
	d, err := w.Digest()
	if err != nil {
		return err
	}
	q := evidence.QualifyingData(s.quoted, d)
	over := q[:]
	if s.unsealed {
		over = s.quoted
	}
	banks := s.banks
	if banks == nil {
		for b := range regs {
			if b != tpmwire.SHA1 || len(regs) == 1 {
				banks = append(banks, b)
			}
		}
	}
	slices.Sort(banks)
	clock := s.clock
	for i, bank := range banks {
		if i > 0 && s.restarted {
			clock.Resets++
		}
		attest, sig, err := s.tpm.Quote(over, bank, s.selection, regs[bank], clock)
		if err != nil {
			return err
		}
		if err := add(w, "tpm/quote-"+bank.String(), attest, sig); err != nil {
			return err
		}
	}
	if s.age == 0 {
		return nil
	}
	attest, sig, err := s.tpm.Time(over, s.age, clock)
	if err != nil {
		return err
	}
	return add(w, "tpm/time", attest, sig)
}

func add(w *evidence.Writer, name string, attest, sig []byte) error {
	if err := w.Add(name+".attest", attest, ""); err != nil {
		return err
	}
	return w.Add(name+".sig", sig, "")
}

// lateStep is a step on a file after the TPM signed.
type lateStep struct {
	path string
	do   func(files map[string][]byte) error
}

// broken changes a sealed bundle as somebody would who cannot sign it again. What
// a level of evidence does not have is not changed.
func (s *scene) broken(b *evidence.Bundle, l Level) (*evidence.Bundle, error) {
	files, err := contents(b)
	if err != nil {
		return nil, err
	}
	for _, late := range s.afterSeal {
		if !l.keeps(late.path) {
			continue
		}
		if err := late.do(files); err != nil {
			return nil, err
		}
	}
	if ix := b.Index(); ix != nil {
		return reindexed(*ix, files)
	}
	return evidence.FromFiles(files, "vector", evidence.Limits{})
}

// reindexed writes an index that fits the changed files: the format is public.
func reindexed(ix evidence.Index, files map[string][]byte) (*evidence.Bundle, error) {
	w := evidence.NewWriter(ix, evidence.Limits{})
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if err := w.Add(p, files[p], ""); err != nil {
			return nil, err
		}
	}
	for _, a := range ix.Artifacts {
		if a.Status != evidence.Collected && files[a.Path] == nil && !strings.HasPrefix(a.Path, "tpm/quote") {
			if err := w.Note(a.Path, a.Status, a.Reason); err != nil {
				return nil, err
			}
		}
	}
	return w.Bundle()
}

// inspections opens the scene's signed records.
func (s *scene) inspections(trust *manifest.Trust) (assay.Inspections, error) {
	signed, err := s.signedRecords()
	if err != nil {
		return nil, err
	}
	var out []*inspection.Opened
	for _, raw := range signed {
		out = append(out, inspection.Open(raw, trust, s.now))
	}
	return assay.Inspected(out...), nil
}

func (s *scene) signedRecords() ([][]byte, error) {
	house, err := s.bench.person("X-Ray House", trusted)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, r := range s.records {
		raw, err := inspection.Encode(r)
		if err != nil {
			return nil, err
		}
		signed, err := inspection.Sign(raw, house.key, house.chain)
		if err != nil {
			return nil, err
		}
		out = append(out, signed)
	}
	return out, nil
}
