package bench

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	goattestation "github.com/google/go-attestation/attest"
	"github.com/google/go-eventlog/extract"
	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// eventLog is a log and the values that its registers had.
type eventLog struct {
	name   string
	raw    []byte
	parsed *tcglog.Log
	bank   tpmwire.Algorithm // that the peers replay: SHA-256 where the log has it
	values map[tpmwire.Algorithm]softtpm.Registers
}

func (e *eventLog) banks() []tpmwire.Algorithm { return slices.Sorted(maps.Keys(e.values)) }

// registers gives the values of a bank by number.
func (e *eventLog) registers(a tpmwire.Algorithm) map[int][]byte {
	out := map[int][]byte{}
	for n, v := range e.values[a] {
		out[n] = v
	}
	return out
}

func newEventLog(b *testing.B, name string, raw []byte) *eventLog {
	b.Helper()
	l, err := tcglog.Parse(raw, tcglog.DefaultLimits())
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	e := &eventLog{name: name, raw: raw, parsed: l, bank: tpmwire.SHA1, values: softtpm.Replay(l)}
	if l.Bank(tpmwire.SHA256) {
		e.bank = tpmwire.SHA256
	}
	return e
}

// googleLogs are those of real machines that go-eventlog tests itself with.
var googleLogs = []string{
	"eventlogs/tpm/rhel8-uefi.bin", "eventlogs/tpm/arch-linux-workstation.bin", "eventlogs/tpm/ubuntu-2404-amd-sevsnp.bin",
	"legacydata/option_rom_eventlog", "legacydata/sb_cert_eventlog",
}

func eventLogs(b *testing.B) []*eventLog {
	b.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-eventlog").Output()
	if err != nil {
		b.Fatalf("where go-eventlog lies: %v", err)
	}
	var out []*eventLog
	for _, name := range googleLogs {
		raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", name))
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, newEventLog(b, strings.TrimSuffix(filepath.Base(name), ".bin"), raw))
	}
	files, err := fixture.Machine("../..", "baseline")
	if err != nil {
		b.Fatal(err)
	}
	return append(out, newEventLog(b, "lab", files["sys/kernel/security/tpm0/binary_bios_measurements"]))
}

// contenders do the same work on a log: read it, replay it against the
// registers' values, hold the data of the events against the digests that are
// defined over it, and read the Secure Boot variables. What each does beyond
// that is its own choice: Google's two parse the certificates in the variables,
// and check the digests of PCR 2 and 7 only, where Assay checks those of every
// register. assay-every-bank is what an appraisal does: everything in each bank of
// the log. floor walks the records and hashes what Assay hashes, and keeps
// nothing; floor-every-bank does so in each bank.
var contenders = []struct {
	name string
	run  func(e *eventLog) (func() error, error)
}{
	{"assay", func(e *eventLog) (func() error, error) { return byAssay(e, e.bank) }},
	{"assay-every-bank", func(e *eventLog) (func() error, error) { return byAssay(e, e.banks()...) }},
	{"go-attestation", byGoAttestation},
	{"go-eventlog", byGoEventlog},
	{"floor", func(e *eventLog) (func() error, error) { return byFloor(e, e.bank) }},
	{"floor-every-bank", func(e *eventLog) (func() error, error) { return byFloor(e, e.banks()...) }},
}

// BenchmarkEventLog measures reading and judging an event log.
func BenchmarkEventLog(b *testing.B) {
	for _, e := range eventLogs(b) {
		compete(b, e)
	}
}

// BenchmarkCorpusLog does the same with logs that lie beside the checkout, where
// there are any: those of laptops, desktops and servers of several makers.
func BenchmarkCorpusLog(b *testing.B) {
	const dir = "../../../shared/corpus/eventlogs/immune-gmbh+guard-oss/evidence"
	paths, _ := filepath.Glob(filepath.Join(dir, "*/eventlog*.bin"))
	if len(paths) == 0 {
		b.Skip("needs ../shared/corpus/eventlogs")
	}
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil {
			b.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(p)) + "-" + strings.TrimSuffix(filepath.Base(p), ".bin")
		compete(b, newEventLog(b, name, raw))
	}
}

func compete(b *testing.B, e *eventLog) {
	for _, c := range contenders {
		b.Run("log="+e.name+"/by="+c.name, func(b *testing.B) {
			run, err := c.run(e)
			if err == nil {
				err = run()
			}
			if err != nil {
				b.Skipf("refuses this log: %v", err)
			}
			b.SetBytes(int64(len(e.raw)))
			b.ReportAllocs()
			for b.Loop() {
				if err := run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type refusal string

func (r refusal) Error() string { return string(r) }

func byAssay(e *eventLog, banks ...tpmwire.Algorithm) (func() error, error) {
	values := attest.RegisterValues{}
	for _, a := range banks {
		values[a.String()] = e.registers(a)
	}
	return func() error {
		l, err := attest.ParseLog(e.raw)
		if err != nil {
			return err
		}
		r, err := l.ReadBanks(values)
		if err != nil {
			return err
		}
		return accepted(r)
	}, nil
}

// accepted is what a verifier asks of a reading at least.
func accepted(r attest.BankReading) error {
	for _, p := range r.PCRs {
		if p.Result == attest.Unexplained {
			return refusal(p.Cause)
		}
	}
	if len(r.Contradicted) > 0 {
		return refusal("contradicted")
	}
	for _, v := range r.Variables {
		if v.Name == "PK" || v.Name == "KEK" || v.Name == "db" || v.Name == "dbx" {
			if _, err := efi.ParseSignatures(v.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

func byGoAttestation(e *eventLog) (func() error, error) {
	var pcrs []goattestation.PCR
	for n := range 24 {
		pcrs = append(pcrs, goattestation.PCR{Index: n, Digest: e.values[e.bank][n], DigestAlg: e.bank.Hash()})
	}
	return func() error {
		l, err := goattestation.ParseEventLog(e.raw)
		if err != nil {
			return err
		}
		events, err := l.Verify(pcrs)
		if err != nil {
			return err
		}
		_, err = goattestation.ParseSecurebootState(events)
		return err
	}, nil
}

func byGoEventlog(e *eventLog) (func() error, error) {
	var mrs []register.MR
	for n := range 24 {
		mrs = append(mrs, register.PCR{Index: n, Digest: e.values[e.bank][n], DigestAlg: e.bank.Hash()})
	}
	return func() error {
		events, err := tcg.ParseAndReplay(e.raw, mrs, tcg.ParseOpts{AllowPadding: true})
		if err != nil {
			return err
		}
		_, err = extract.ParseSecurebootState(events, extract.TPMRegisterConfig)
		return err
	}, nil
}

// overData reports whether the digest of an event of this type is over its data.
func overData(t tcglog.EventType) bool {
	switch t {
	case tcglog.EFIVariableDriver, tcglog.EFIVariableBoot, tcglog.EFIVariableBoot2, tcglog.EFIVariableAuthority, tcglog.EFIGPT, tcglog.EFIAction, tcglog.Separator, tcglog.SCRTMVersion:
		return true
	}
	return false
}

// byFloor is what cannot be left out: one walk over the bytes, the hashes of the
// replay, and those of the data.
func byFloor(e *eventLog, banks ...tpmwire.Algorithm) (func() error, error) {
	sizes := map[tpmwire.Algorithm]int{}
	for _, b := range e.parsed.Banks {
		sizes[b.Alg] = b.Size
	}
	banks = slices.DeleteFunc(banks, func(a tpmwire.Algorithm) bool { return a.Hash() == 0 })
	start, agile := 0, e.parsed.Agile
	if h := e.parsed.Header; h != nil {
		start = h.Offset + h.Length
	}
	w := walk{raw: e.raw[:len(e.raw)-e.parsed.Padding], at: start, agile: agile, sizes: sizes}
	return func() error {
		for _, a := range banks {
			w.replay(a)
		}
		return nil
	}, nil
}

// walk goes over the records without keeping them.
type walk struct {
	raw   []byte
	at    int
	agile bool
	sizes map[tpmwire.Algorithm]int
	same  int // events whose data is what was digested
}

func (w *walk) replay(bank tpmwire.Algorithm) {
	var regs [24][64]byte
	var buf [128]byte
	size := bank.Size()
	for at := w.at; at < len(w.raw); {
		pcr, typ := binary.LittleEndian.Uint32(w.raw[at:]), tcglog.EventType(binary.LittleEndian.Uint32(w.raw[at+4:]))
		at += 8
		digest, next := w.digest(at, bank)
		at = next
		n := int(binary.LittleEndian.Uint32(w.raw[at:]))
		data := w.raw[at+4 : at+4+n]
		at += 4 + n
		if typ == tcglog.NoAction || pcr >= 24 {
			continue
		}
		copy(buf[:], regs[pcr][:size])
		copy(buf[size:], digest)
		sum(bank, &regs[pcr], buf[:2*size])
		if overData(typ) {
			var out [64]byte
			sum(bank, &out, data)
			if bytes.Equal(out[:size], digest) {
				w.same++
			}
		}
	}
}

// digest finds an event's digest of a bank, and where the size of its data stands.
func (w *walk) digest(at int, bank tpmwire.Algorithm) (digest []byte, next int) {
	if !w.agile {
		return w.raw[at : at+20], at + 20
	}
	n := binary.LittleEndian.Uint32(w.raw[at:])
	at += 4
	for range n {
		a := tpmwire.Algorithm(binary.LittleEndian.Uint16(w.raw[at:]))
		size := 0
		switch a {
		case tpmwire.SHA1:
			size = 20
		case tpmwire.SHA256:
			size = 32
		case tpmwire.SHA384:
			size = 48
		default:
			size = w.sizes[a]
		}
		if a == bank {
			digest = w.raw[at+2 : at+2+size]
		}
		at += 2 + size
	}
	return digest, at
}

func sum(a tpmwire.Algorithm, out *[64]byte, b []byte) {
	switch a {
	case tpmwire.SHA1:
		s := sha1.Sum(b)
		copy(out[:], s[:])
	case tpmwire.SHA256:
		s := sha256.Sum256(b)
		copy(out[:], s[:])
	case tpmwire.SHA384:
		s := sha512.Sum384(b)
		copy(out[:], s[:])
	case tpmwire.SHA512:
		s := sha512.Sum512(b)
		copy(out[:], s[:])
	}
}
