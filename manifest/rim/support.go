package rim

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// maxText bounds a text that is taken over.
const maxText = 512

// text makes of a text what a manifest may hold: normal form C without control
// characters.
func text(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, strings.TrimSpace(s)))
}

// support is a support RIM whose bytes are those that the tag lists.
type support struct {
	file       File
	references []attest.Reference
	losses     []Loss
}

// Binding says what became of the support RIMs that a tag lists.
type Binding struct {
	Bound      []string // names of the given files that the tag lists, sorted
	Findings   []finding.Finding
	NotChecked []manifest.NotChecked // support RIMs that were not given
}

// Bind finds the support RIMs among the given files, by digest: a name is a
// hint and no path is ever opened. Every digest that the tag states must be
// that of the file. A size that differs while the digests agree is told.
func (r *RIM) Bind(files map[string][]byte) Binding {
	var out Binding
	r.supports = nil
	sums := digestsOf(files)
	for _, f := range r.Files {
		name, reason := f.among(sums)
		if name == "" {
			out.NotChecked = append(out.NotChecked, manifest.NotChecked{What: "support RIM " + f.Name, Reason: reason})
			if _, given := files[path.Base(f.Name)]; given && len(f.Digests) > 0 {
				out.tell(r, finding.ManifestBadSignature, f, "the digests in the signed tag", "other contents", "the file of this name is not the one that was signed for")
			}
			continue
		}
		if slices.Contains(out.Bound, name) {
			out.tell(r, finding.ManifestContradiction, f, "one line of a support RIM", "another one", "the tag lists the same file twice; it was read once").Severity = finding.Low
			continue
		}
		out.Bound = append(out.Bound, name)
		b := files[name]
		if f.Size >= 0 && f.Size != int64(len(b)) {
			out.tell(r, finding.ManifestContradiction, f, fmt.Sprintf("%d bytes", f.Size), fmt.Sprintf("%d bytes", len(b)), "the tag states another size than that of the file with its digests").Severity = finding.Low
		}
		s, err := readSupport(f, b)
		if err != nil {
			out.tell(r, finding.InputMalformed, f, "an event log or a list of registers", "another file", err.Error())
			continue
		}
		r.supports = append(r.supports, s)
	}
	slices.Sort(out.Bound)
	out.Findings = finding.Sort(out.Findings)
	return out
}

func (b *Binding) tell(r *RIM, code finding.Code, f File, want, got, why string) *finding.Finding {
	v := finding.New(code, "rim:"+r.TagID+"/"+f.Name)
	v.Want, v.Got, v.Why, v.Confidence = want, got, why, finding.Proven
	v.Sources = []finding.Source{finding.Cryptographic}
	b.Findings = append(b.Findings, v)
	return &b.Findings[len(b.Findings)-1]
}

// digestsOf computes the digests of every file once, in the order of names.
func digestsOf(files map[string][]byte) []summed {
	var out []summed
	for _, n := range slices.Sorted(maps.Keys(files)) {
		s := summed{name: n, sums: map[string][]byte{}}
		for alg, hash := range hashes {
			h := hash.New()
			h.Write(files[n])
			s.sums[alg] = h.Sum(nil)
		}
		out = append(out, s)
	}
	return out
}

type summed struct {
	name string
	sums map[string][]byte
}

// among finds the file with all the digests of a line. Of equal files the one
// with the name of the line counts, else the first.
func (f File) among(files []summed) (name, reason string) {
	if len(f.Digests) == 0 {
		return "", "the tag states no digest of it"
	}
	for _, s := range files {
		if fits := !slices.ContainsFunc(slices.Collect(maps.Keys(f.Digests)), func(alg string) bool { return !bytes.Equal(s.sums[alg], f.Digests[alg]) }); !fits {
			continue
		}
		if name == "" || s.name == path.Base(f.Name) {
			name = s.name
		}
	}
	if name == "" {
		return "", "no given file has the digests that the tag states"
	}
	return name, ""
}

// readSupport reads a support RIM: an event log (TCG_EventLog_Assertion) or a
// list of registers (TPM_PCR_Assertion).
func readSupport(f File, b []byte) (support, error) {
	s := support{file: f}
	l, err := attest.ParseLog(b)
	if err != nil {
		refs, e := parsePCRs(b)
		if e != nil {
			return s, fmt.Errorf("as an event log: %w; as a list of registers: %w", err, e)
		}
		s.references = refs
		return s, nil
	}
	bundle, err := evidence.FromFiles(map[string][]byte{"sys/kernel/security/tpm0/binary_bios_measurements": b}, f.Name, evidence.DefaultLimits())
	if err != nil {
		return s, err
	}
	for _, ref := range attest.Observe(bundle).DraftReferences() {
		if len(ref.Events) > 0 {
			ref.Digests, ref.Note = nil, "" // the log asserts events; others may measure into the register too
			s.references = append(s.references, ref)
		}
	}
	s.lose(l)
	return s, nil
}

// lose tells which events have no place in references.
func (s *support) lose(l *attest.Log) {
	taken, left := map[int]bool{}, map[int64]int{}
	for _, r := range s.references {
		taken[r.PCR] = true
	}
	for _, e := range l.Events() {
		if e.Type != "EV_NO_ACTION" && (e.PCR > 23 || !taken[int(e.PCR)]) {
			left[e.PCR]++
		}
	}
	for _, pcr := range slices.Sorted(maps.Keys(left)) {
		s.losses = append(s.losses, Loss{Where: s.file.Name, What: fmt.Sprintf("%d events of PCR %d: no reference is kept for the register", left[pcr], pcr)})
	}
	s.losses = append(s.losses, Loss{Where: s.file.Name, What: "the data of the events: a reference holds digests, types and labels"})
}

// maxLines bounds a list of registers.
const maxLines = 4096

var bankNames = map[string]int{"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}

// parsePCRs reads a list of registers as tpm2-tools print it: a line with the
// name of a bank, then lines with a number and a value.
func parsePCRs(b []byte) ([]attest.Reference, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) > maxLines {
		return nil, fmt.Errorf("%w: %d lines", ErrMalformed, len(lines))
	}
	values := map[int]map[string][]string{}
	bank := ""
	for i, line := range lines {
		key, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		key, v = strings.ToLower(strings.TrimSpace(key)), strings.TrimPrefix(strings.ToLower(strings.TrimSpace(v)), "0x")
		switch n, err := strconv.Atoi(strings.TrimPrefix(key, "pcr")); {
		case key == "" || v == "" && (key == "pcrs" || key == "---"):
		case v == "" && bankNames[strings.ReplaceAll(key, "-", "")] > 0:
			bank = strings.ReplaceAll(key, "-", "")
		case err == nil && bank != "" && n >= 0 && n < 24:
			d, err := hex.DecodeString(v)
			if err != nil || len(d) != bankNames[bank] || len(values[n][bank]) > 0 {
				return nil, fmt.Errorf("%w: line %d: no value of %s, or the second one", ErrMalformed, i+1, bank)
			}
			if values[n] == nil {
				values[n] = map[string][]string{}
			}
			values[n][bank] = []string{v}
		default:
			return nil, fmt.Errorf("%w: line %d: %.40q", ErrMalformed, i+1, line)
		}
	}
	var out []attest.Reference
	for _, n := range slices.Sorted(maps.Keys(values)) {
		out = append(out, attest.Reference{PCR: n, Digests: values[n]})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: it names no register", ErrMalformed)
	}
	return out, nil
}
