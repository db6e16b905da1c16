package attest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/authenticode"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/imalog"
	"github.com/assay-hw/assay/internal/oprom"
	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

const (
	logPath    = "sys/kernel/security/tpm0/binary_bios_measurements"
	imaPath    = "sys/kernel/security/ima/binary_runtime_measurements"
	pcrsPath   = "tpm/pcrs.json"
	propsPath  = "tpm/properties.json"
	akPath     = "tpm/ak.pub"
	ekPath     = "tpm/ek.pub"
	timePath   = "tpm/time.attest"
	efivarsDir = "sys/firmware/efi/efivars"
	pciDir     = "sys/bus/pci/devices"
	tpmDir     = "sys/class/tpm/tpm0"
)

// Observation is everything about boot and TPM that a bundle holds, as read.
// It proves nothing; Appraise does.
type Observation struct {
	bundle     *evidence.Bundle
	events     *Log
	attests    []attestation // quotes, in path order
	time       *attestation
	listings   []listing
	ak, ek     *tpmwire.Public
	certs      []heldCertificate
	properties map[string]string
	variables  map[string][]byte // by NAME-GUID, without the attributes
	measured   []measuredVariable
	drivers    map[string][]driver // by digest in hex, of every bank; in bus order
	bound      map[int]driver      // by event number
	keys       []held              // endorsement keys
	signer     held                // the attestation key
	ima        []imalog.Entry
	uptime     time.Duration // 0 when unknown
	malformed  []finding.Finding
}

// attestation is one signed structure and its signature, not yet checked.
type attestation struct {
	path string
	name string // "quote:sha256"
	raw  []byte
	body *tpmwire.Attest
	sig  *tpmwire.Signature
}

type listing struct {
	path   string
	values RegisterValues
}

type heldCertificate struct {
	path  string
	index string // NV index, "0x01c00002"
	cert  *ekcert.Certificate
}

// driver is an EFI image in an option ROM.
type driver struct {
	subject  string
	location finding.Location
}

// Observe reads a bundle. Artefacts that do not follow their format become
// findings of the appraisal.
func Observe(b *evidence.Bundle) *Observation { return observe(b, ParseLog) }

func observe(b *evidence.Bundle, parseLog func([]byte) (*Log, error)) *Observation {
	o := &Observation{bundle: b, properties: map[string]string{}, variables: map[string][]byte{}, drivers: map[string][]driver{}, bound: map[int]driver{}}
	o.readLog(parseLog)
	o.readAttestations()
	o.readListings()
	o.ak, o.ek = o.readPublic(akPath), o.readPublic(ekPath)
	o.readCertificates()
	o.keys = o.heldKeys()
	if o.ak != nil {
		o.signer = held{path: akPath, key: ekcert.KeyHash(o.ak.Key), name: nameOf(o.ak), alg: keyKind(o.ak)}
	}
	o.readProperties()
	o.readVariables()
	o.measured = o.measuredVariables()
	o.readDrivers()
	if raw, err := b.Read(imaPath); err == nil {
		if o.ima, err = imalog.Parse(raw); err != nil {
			o.bad(imaPath, err)
		}
	}
	var err error
	if o.uptime, err = uptime(b); err != nil {
		o.bad(uptimePath, err)
	}
	return o
}

const uptimePath = "proc/uptime"

// uptime is how long the system has been running; 0 is not known.
func uptime(b *evidence.Bundle) (time.Duration, error) {
	s, _, _ := strings.Cut(b.Text(uptimePath), " ")
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v <= 0 || v >= 1e10 {
		return 0, fmt.Errorf("%.40q is not a number of seconds", s)
	}
	return time.Duration(v * float64(time.Second)), nil
}

// Drivers maps the digest of every EFI image found in an option ROM, in hex
// and in the algorithm of every bank, to the PCI function that holds it. Where
// several functions hold the same image the last in bus order is given; the
// subject of a finding about one event names the right one.
func (o *Observation) Drivers() map[string]string {
	out := make(map[string]string, len(o.drivers))
	for d, v := range o.drivers {
		out[d] = v[len(v)-1].subject
	}
	return out
}

// Log returns the event log as read, or nil when there is none.
func (o *Observation) Log() *Log { return o.events }

func (o *Observation) log() *tcglog.Log {
	if o.events == nil {
		return nil
	}
	return o.events.log
}

// bad records an artefact that does not follow its format.
func (o *Observation) bad(name string, err error) {
	f := finding.New(finding.InputMalformed, "evidence:"+name)
	f.Got, f.Why = err.Error(), "The artefact does not follow its format; nothing in it was believed."
	f.Basis = o.basis(name, 0, 0)
	o.malformed = append(o.malformed, f)
}

// maxSigned bounds how many quotes and how many certificates are looked at: a
// TPM has a handful of banks and keys, and each costs a signature check.
const maxSigned = 16

// some lists the artefacts that match a pattern, up to the bound.
func (o *Observation) some(pattern string) []string {
	all := o.bundle.Glob(pattern)
	if len(all) <= maxSigned {
		return all
	}
	f := finding.New(finding.InputLimit, "evidence:"+pattern)
	f.Want, f.Got = fmt.Sprintf("at most %d", maxSigned), fmt.Sprint(len(all))
	f.Why = "The bundle holds more of these artefacts than any TPM makes; the rest was not looked at."
	o.malformed = append(o.malformed, f)
	return all[:maxSigned]
}

func (o *Observation) basis(name string, offset, length int) []finding.Basis {
	return []finding.Basis{{Artifact: name, SHA256: o.bundle.SHA256(name), Offset: int64(offset), Length: int64(length)}}
}

func (o *Observation) readLog(parse func([]byte) (*Log, error)) {
	raw, err := o.bundle.Read(logPath)
	if err != nil {
		return
	}
	l, err := parse(raw)
	if err != nil {
		o.bad(logPath, err)
		if most := tcglog.DefaultLimits(); len(raw) > most.Bytes || len(l.log.Events) >= most.Events {
			f := finding.New(finding.InputLimit, "evidence:"+logPath) // one record that claims too much is malformed
			f.Got, f.Basis, f.Why = err.Error(), o.basis(logPath, 0, 0), "The log is larger than that of any machine; the rest was not looked at."
			o.malformed[len(o.malformed)-1] = f
		}
		if len(l.log.Events) == 0 {
			return
		}
	}
	o.events = l
}

func (o *Observation) readAttestations() {
	for _, p := range o.some("tpm/quote-*.attest") {
		name := strings.TrimSuffix(strings.TrimPrefix(p, "tpm/quote-"), ".attest")
		if a := o.readAttestation(p, "quote:"+name); a != nil {
			o.attests = append(o.attests, *a)
		}
	}
	if o.bundle.Has(timePath) {
		o.time = o.readAttestation(timePath, "time")
	}
}

func (o *Observation) readAttestation(p, name string) *attestation {
	raw, err := o.bundle.Read(p)
	if err != nil {
		return nil
	}
	a := &attestation{path: p, name: name, raw: raw}
	if a.body, err = tpmwire.ParseAttest(raw); err != nil {
		o.bad(p, err)
		return a
	}
	sigPath := strings.TrimSuffix(p, ".attest") + ".sig"
	if sig, err := o.bundle.Read(sigPath); err == nil {
		if a.sig, err = tpmwire.ParseSignature(sig); err != nil {
			o.bad(sigPath, err)
		}
	}
	return a
}

func (o *Observation) readListings() {
	if raw, err := o.bundle.Read(pcrsPath); err == nil {
		v, err := ParseRegisterValues(raw, "")
		if err != nil {
			o.bad(pcrsPath, err)
		} else {
			o.listings = append(o.listings, listing{pcrsPath, v})
		}
	}
	sysfs := RegisterValues{}
	for _, bank := range o.bundle.Dir(tpmDir) {
		name, ok := strings.CutPrefix(bank, "pcr-")
		a, known := tpmwire.HashNamed(name)
		if !ok || !known {
			continue
		}
		for _, n := range o.bundle.Dir(tpmDir + "/" + bank) {
			p := tpmDir + "/" + bank + "/" + n
			if err := sysfs.set(a, n, o.bundle.Text(p)); err != nil {
				o.bad(p, err)
			}
		}
	}
	if len(sysfs) > 0 {
		o.listings = append(o.listings, listing{tpmDir, sysfs})
	}
}

func (o *Observation) readPublic(p string) *tpmwire.Public {
	raw, err := o.bundle.Read(p)
	if err != nil {
		return nil
	}
	k, err := tpmwire.ParsePublic(raw)
	if err != nil {
		o.bad(p, err)
		return nil
	}
	return k
}

// readCertificates reads the certificates of endorsement keys. The index
// 0x01c08000 and certificates for platforms are something else.
func (o *Observation) readCertificates() {
	for _, p := range o.some("tpm/ek-*.crt") {
		index := strings.TrimSuffix(strings.TrimPrefix(p, "tpm/ek-"), ".crt")
		raw, _ := o.bundle.Read(p)
		c, err := ekcert.Parse(raw)
		if err != nil {
			o.bad(p, err)
			continue
		}
		o.certs = append(o.certs, heldCertificate{p, strings.ToLower(index), c})
	}
}

func (c *heldCertificate) forEK() bool {
	return !c.cert.CA && !c.cert.Has(ekcert.UsagePlatform) && (len(c.cert.Usages) == 0 || c.cert.Has(ekcert.UsageEK))
}

const maxProperties = 4096

func (o *Observation) readProperties() {
	raw, err := o.bundle.Read(propsPath)
	if err != nil {
		return
	}
	if texts, ok := strictjson.Texts(raw); ok && len(texts) <= maxProperties {
		o.properties = texts
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil || len(m) > maxProperties {
		o.bad(propsPath, cmp.Or(err, fmt.Errorf("%d properties, limit %d", len(m), maxProperties)))
		return
	}
	for k, v := range m {
		switch v := v.(type) {
		case string:
			o.properties[k] = v
		case json.Number:
			o.properties[k] = v.String()
		}
	}
}

func (o *Observation) property(name string) (uint32, bool) {
	s, ok := o.properties[name]
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseUint(strings.TrimSpace(s), 0, 64)
	if err != nil || v>>32 != 0 {
		return 0, false
	}
	return uint32(v), true
}

func (o *Observation) readVariables() {
	for _, n := range o.bundle.Dir(efivarsDir) {
		name, guid, ok := efi.SplitName(n)
		raw, err := o.bundle.Read(efivarsDir + "/" + n)
		if !ok || err != nil {
			continue
		}
		if len(raw) < 4 {
			if len(raw) > 0 {
				o.bad(efivarsDir+"/"+n, fmt.Errorf("%d bytes are too few for the attributes", len(raw)))
			}
			continue
		}
		o.variables[name+"-"+guid] = raw[4:]
	}
}

// readDrivers hashes the EFI images in option ROMs as firmware does before it
// starts them, so that a measured driver can be tied to a PCI function.
func (o *Observation) readDrivers() {
	banks := []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256, tpmwire.SHA384, tpmwire.SHA512}
	for _, bdf := range o.bundle.Dir(pciDir) {
		p := pciDir + "/" + bdf + "/rom"
		rom, err := o.bundle.Read(p)
		if err != nil || len(rom) == 0 {
			continue
		}
		images, _ := oprom.Parse(rom) // bom reports a broken chain
		for _, im := range images {
			for _, a := range banks {
				if im.PE == nil {
					break
				}
				d, err := authenticode.Digest(im.PE, a.Hash())
				if err != nil {
					break
				}
				key := hex.EncodeToString(d)
				o.drivers[key] = append(o.drivers[key], driver{"pci:" + bdf, finding.Location{Path: busPath(o.bundle.Text(pciDir + "/" + bdf + "/path"))}})
			}
		}
	}
	o.bindDrivers()
}

// bindDrivers gives each driver event its PCI function. Firmware runs the same
// image once per function that holds it, so the n-th event with a digest
// belongs to the n-th function in bus order.
func (o *Observation) bindDrivers() {
	l := o.log()
	if l == nil || len(o.drivers) == 0 {
		return
	}
	used := map[string]int{}
	var digits [2 * tpmwire.MaxDigest]byte
	for i := range l.Events {
		e := &l.Events[i]
		if !e.Measured() {
			continue
		}
		for _, d := range e.Digests {
			key := hex.AppendEncode(digits[:0], d.Value)
			if held := o.drivers[string(key)]; len(held) > 0 {
				o.bound[e.Number] = held[min(used[string(key)], len(held)-1)]
				used[string(key)]++
				break
			}
		}
	}
}

// busPath turns /sys/devices/pci0000:00/0000:00:04.0/0000:03:00.0 into
// pci0000:00/04.0/00.0: bus numbers move when a card is added.
func busPath(sysfs string) string {
	_, rest, ok := strings.Cut(sysfs, "/devices/")
	if !ok {
		return ""
	}
	parts := strings.Split(rest, "/")
	for i, c := range parts {
		if len(c) == 12 && c[4] == ':' && c[7] == ':' && c[10] == '.' {
			parts[i] = c[8:]
		}
	}
	return path.Clean(strings.Join(parts, "/"))
}

// driverOf returns the option ROM image whose digest an event has.
func (o *Observation) driverOf(e *tcglog.Event) (driver, bool) {
	d, ok := o.bound[e.Number]
	return d, ok
}

// logFinding starts a finding about the log, or about a stretch of it.
func (o *Observation) logFinding(code finding.Code, subject string, e *tcglog.Event) finding.Finding {
	f := finding.New(code, subject)
	f.Sources = []finding.Source{finding.FirmwareTold, finding.Cryptographic}
	f.Basis = o.basis(logPath, 0, 0)
	if e != nil {
		f.Basis = o.basis(logPath, e.Offset, e.Length)
	}
	return f
}

// eventFinding starts a finding about one event. Its subject names the
// register and what the event is about; a measured option ROM is named by its
// PCI function, since the digest ties the two.
func (o *Observation) eventFinding(code finding.Code, e *tcglog.Event) finding.Finding {
	f := o.logFinding(code, fmt.Sprintf("pcr:%d/%s", e.PCR, o.eventName(e)), e)
	if d, ok := o.driverOf(e); ok {
		f.Location = d.location
		f.Sources = append(f.Sources, finding.SiliconAnswered)
	}
	return f
}

func (o *Observation) eventName(e *tcglog.Event) string {
	if d, ok := o.driverOf(e); ok {
		return d.subject
	}
	if l := label(e); l != "" {
		return subjectText(l)
	}
	return e.Type.String()
}

// subjectText shortens a label to something that can stand in a subject.
func subjectText(s string) string {
	const limit = 80
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0xfffd }), "-")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

// Measured reports whether the log has an event in a register whose digests, in
// every bank, are those of these bytes.
func (o *Observation) Measured(pcr int, data []byte) bool {
	return slices.ContainsFunc(o.measuredIn(pcr), func(e *tcglog.Event) bool {
		known := 0
		for _, d := range e.Digests {
			var sum [tpmwire.MaxDigest]byte
			if d.Alg.Hash() == 0 {
				continue
			}
			if !bytes.Equal(d.Alg.Sum(sum[:0], data), d.Value) {
				return false
			}
			known++
		}
		return known > 0
	})
}
