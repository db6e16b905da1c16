package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// bundleOf opens a tree held in memory as unsealed evidence.
func bundleOf(t testing.TB, files map[string][]byte) *evidence.Bundle {
	t.Helper()
	m := fstest.MapFS{}
	for n, b := range files {
		m[n] = &fstest.MapFile{Data: b}
	}
	b, err := evidence.OpenFS(m, "memory", evidence.DefaultLimits())
	require.NoError(t, err)
	return b
}

// recorded opens a tree under testdata.
func recorded(t testing.TB, name string) *Observation {
	t.Helper()
	b, err := evidence.OpenFS(os.DirFS("testdata/"+name), name, evidence.DefaultLimits())
	require.NoError(t, err)
	return Observe(b)
}

// platform is a small machine made of nothing but its measurements: it writes
// a log, holds the registers that the log gives, and signs quotes over them.
type platform struct {
	t      testing.TB
	key    *ecdsa.PrivateKey
	attrs  tpmwire.Attributes
	banks  []tpmwire.Algorithm
	events []record
	regs   map[tpmwire.Algorithm]map[int][]byte
	clock  tpmwire.ClockInfo
	files  map[string][]byte
}

// record is one event; over is what its digest is taken over.
type record struct {
	pcr    uint32
	typ    tcglog.EventType
	data   []byte
	over   []byte
	silent bool // in the log, but not extended
}

var testNonce = []byte("a nonce of the verifier")

func newPlatform(t testing.TB) *platform {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p := &platform{
		t: t, key: k, banks: []tpmwire.Algorithm{tpmwire.SHA256},
		attrs: tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.UserWithAuth | tpmwire.Restricted | tpmwire.Sign,
		clock: tpmwire.ClockInfo{Clock: 9e6, ResetCount: 7, RestartCount: 1, Safe: true}, files: map[string][]byte{},
	}
	p.add(0, tcglog.SCRTMVersion, []byte("v1\x00"))
	p.addOver(0, tcglog.EFIFirmwareBlob, make([]byte, 16), []byte("firmware"))
	p.add(7, tcglog.EFIVariableDriver, variable(guidGlobal, "SecureBoot", []byte{1}))
	p.add(7, tcglog.EFIVariableDriver, variable(guidGlobal, "PK", []byte("platform key")))
	p.add(7, tcglog.EFIVariableDriver, variable(guidSecurity, "db", []byte("allowed")))
	p.add(1, tcglog.EFIVariableBoot, variable(guidGlobal, "BootOrder", []byte{0, 0}))
	p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte("network driver"))
	p.add(4, tcglog.EFIAction, []byte("Calling EFI Application from Boot Option"))
	for pcr := range uint32(8) {
		p.add(pcr, tcglog.Separator, []byte{0, 0, 0, 0})
	}
	p.addOver(4, tcglog.EFIBootServicesApp, imageLoad(), []byte("boot loader"))
	p.addOver(8, tcglog.IPL, []byte("grub_cmd: linux /vmlinuz\x00"), []byte("linux /vmlinuz"))
	p.addOver(9, tcglog.IPL, []byte("(hd0,gpt1)/vmlinuz\x00"), []byte("kernel"))
	p.add(5, tcglog.EFIAction, []byte("Exit Boot Services Invocation"))
	p.add(5, tcglog.EFIAction, []byte("Exit Boot Services Returned with Success"))
	return p
}

var (
	guidGlobal   = [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	guidSecurity = [16]byte{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
)

func (p *platform) add(pcr uint32, typ tcglog.EventType, data []byte) {
	p.addOver(pcr, typ, data, data)
}

func (p *platform) addOver(pcr uint32, typ tcglog.EventType, data, over []byte) {
	p.events = append(p.events, record{pcr: pcr, typ: typ, data: data, over: over})
}

// find returns the n-th event of a type in a register.
func (p *platform) find(pcr uint32, typ tcglog.EventType, n int) *record {
	for i := range p.events {
		if p.events[i].pcr == pcr && p.events[i].typ == typ {
			if n == 0 {
				return &p.events[i]
			}
			n--
		}
	}
	p.t.Fatalf("no %s in PCR %d", typ, pcr)
	return nil
}

func (p *platform) remove(pcr uint32, typ tcglog.EventType, n int) {
	at := p.find(pcr, typ, n)
	for i := range p.events {
		if &p.events[i] == at {
			p.events = append(p.events[:i:i], p.events[i+1:]...)
			return
		}
	}
}

func variable(guid [16]byte, name string, data []byte) []byte {
	u := utf16.Encode([]rune(name))
	b := append([]byte{}, guid[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(u)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	for _, c := range u {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return append(b, data...)
}

func imageLoad() []byte {
	b := make([]byte, 32)
	path := []byte{1, 1, 6, 0, 0, 3, 0x7f, 0xff, 4, 0}
	b[24] = byte(len(path))
	return append(b, path...)
}

func (p *platform) log() []byte {
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 105, 2)
	spec = binary.LittleEndian.AppendUint32(spec, uint32(len(p.banks)))
	for _, a := range p.banks {
		spec = binary.LittleEndian.AppendUint16(spec, uint16(a))
		spec = binary.LittleEndian.AppendUint16(spec, uint16(a.Size()))
	}
	spec = append(spec, 0)
	b := binary.LittleEndian.AppendUint32(nil, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(tcglog.NoAction))
	b = append(b, make([]byte, 20)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(spec)))
	b = append(b, spec...)
	for _, e := range p.events {
		b = binary.LittleEndian.AppendUint32(b, e.pcr)
		b = binary.LittleEndian.AppendUint32(b, uint32(e.typ))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p.banks)))
		for _, a := range p.banks {
			b = binary.LittleEndian.AppendUint16(b, uint16(a))
			d := make([]byte, a.Size())
			if e.typ != tcglog.NoAction {
				d = a.Sum(nil, e.over)
			}
			b = append(b, d...)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.data)))
		b = append(b, e.data...)
	}
	return b
}

// boot fills the registers with what was measured so far.
func (p *platform) boot() *platform {
	p.regs = map[tpmwire.Algorithm]map[int][]byte{}
	for _, a := range p.banks {
		p.regs[a] = map[int][]byte{}
		for n := range 24 {
			p.regs[a][n] = resetValue(a, n)
		}
		for _, e := range p.events {
			if e.typ == tcglog.NoAction && bytes.HasPrefix(e.data, []byte("StartupLocality\x00")) {
				p.regs[a][0][a.Size()-1] = e.data[16]
			}
			if e.typ != tcglog.NoAction && !e.silent {
				p.extend(a, int(e.pcr), a.Sum(nil, e.over))
			}
		}
	}
	return p
}

func (p *platform) extend(a tpmwire.Algorithm, pcr int, d []byte) {
	p.regs[a][pcr] = bytes.Clone(p.regs[a][pcr])
	extend(a, p.regs[a][pcr], d)
}

func (p *platform) public() []byte {
	pub, err := p.key.PublicKey.Bytes()
	require.NoError(p.t, err)
	b := binary.BigEndian.AppendUint16(nil, uint16(tpmwire.ECC))
	b = binary.BigEndian.AppendUint16(b, uint16(tpmwire.SHA256))
	b = binary.BigEndian.AppendUint32(b, uint32(p.attrs))
	b = append(b, 0, 0)
	for _, v := range []uint16{uint16(tpmwire.Null), uint16(tpmwire.ECDSA), uint16(tpmwire.SHA256), 3, uint16(tpmwire.Null)} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	for _, v := range [][]byte{pub[1:33], pub[33:]} {
		b = binary.BigEndian.AppendUint16(b, 32)
		b = append(b, v...)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func (p *platform) head(typ uint16, extra []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, tpmwire.Generated)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(extra)))
	b = append(b, extra...)
	b = p.clockBytes(b)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 1)
}

func (p *platform) clockBytes(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, p.clock.Clock)
	b = binary.BigEndian.AppendUint32(b, p.clock.ResetCount)
	b = binary.BigEndian.AppendUint32(b, p.clock.RestartCount)
	return append(b, 1)
}

func (p *platform) sign(message []byte) []byte {
	r, s, err := ecdsa.Sign(rand.Reader, p.key, tpmwire.SHA256.Sum(nil, message))
	require.NoError(p.t, err)
	b := binary.BigEndian.AppendUint16(nil, uint16(tpmwire.ECDSA))
	b = binary.BigEndian.AppendUint16(b, uint16(tpmwire.SHA256))
	for _, v := range [][]byte{r.Bytes(), s.Bytes()} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
	}
	return b
}

// selection is the registers of one bank in a quote.
type selection struct {
	bank tpmwire.Algorithm
	pcrs []int
}

var allRegisters = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// quote writes a signed quote over selections, in their order.
func (p *platform) quote(name string, extra []byte, sels ...selection) *platform {
	b := p.head(tpmwire.AttestQuote, extra)
	b = binary.BigEndian.AppendUint32(b, uint32(len(sels)))
	h := crypto.SHA256.New()
	for _, s := range sels {
		b = binary.BigEndian.AppendUint16(b, uint16(s.bank))
		bits := [3]byte{}
		for _, n := range s.pcrs {
			bits[n/8] |= 1 << (n % 8)
			h.Write(p.regs[s.bank][n])
		}
		b = append(append(b, 3), bits[:]...)
	}
	b = append(binary.BigEndian.AppendUint16(b, 32), h.Sum(nil)...)
	p.files["tpm/quote-"+name+".attest"], p.files["tpm/quote-"+name+".sig"] = b, p.sign(b)
	return p
}

func (p *platform) signTime(since time.Duration, uptime string) *platform {
	b := p.head(tpmwire.AttestTime, testNonce)
	b = binary.BigEndian.AppendUint64(b, uint64(since.Milliseconds()))
	b = append(p.clockBytes(b), 0, 0, 0, 0, 0, 0, 0, 1)
	p.files["tpm/time.attest"], p.files["tpm/time.sig"] = b, p.sign(b)
	p.files["proc/uptime"] = []byte(uptime)
	return p
}

func (p *platform) listing() []byte {
	m := map[string]map[string]string{}
	for a, regs := range p.regs {
		m[a.String()] = map[string]string{}
		for n, v := range regs {
			m[a.String()][fmt.Sprint(n)] = fmt.Sprintf("%x", v)
		}
	}
	b, err := json.Marshal(m)
	require.NoError(p.t, err)
	return b
}

// observe writes what is not written yet and reads the machine. The log is
// the events as they are now, which an attacker may have edited after boot.
func (p *platform) observe() *Observation {
	if p.regs == nil {
		p.boot()
	}
	put := func(name string, b []byte) {
		if _, ok := p.files[name]; !ok {
			p.files[name] = b
		}
	}
	put(logPath, p.log())
	put(akPath, p.public())
	put(pcrsPath, p.listing())
	quoted := false
	for n := range p.files {
		quoted = quoted || bytes.HasPrefix([]byte(n), []byte("tpm/quote-"))
	}
	if !quoted {
		var sels []selection
		for _, a := range p.banks {
			sels = append(sels, selection{a, allRegisters})
		}
		p.quote("all", testNonce, sels...)
	}
	for n, b := range p.files {
		if b == nil {
			delete(p.files, n)
		}
	}
	return Observe(bundleOf(p.t, p.files))
}

// golden is the manifest's half, drafted from an untouched platform.
func golden(t testing.TB) Params {
	o := newPlatform(t).observe()
	return Params{Nonce: testNonce, NonceGiven: true, References: o.DraftReferences(), Virtual: true, VolatilePCRs: []int{10}}
}
