package assay_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/swtpm"
	"github.com/assay-hw/assay/internal/tcglog"
)

// bench is a machine with a real TPM: the recorded machine's files, and a
// software TPM that was extended with what the recorded log says.
type bench struct {
	files map[string][]byte
	tpm   *swtpm.TPM
}

// benches are two machines of one make. The TPMs are made once.
type benchPair struct {
	one, other *bench
	roots      [][]byte
	vendor     *labVendor
	golden     []byte // drafted from the first machine
}

func newBenches(t *testing.T) *benchPair {
	t.Helper()
	if err := swtpm.Available(); err != nil {
		t.Skip(err)
	}
	maker := swtpm.NewMaker(t.TempDir())
	p := &benchPair{one: newBench(t, maker), other: newBench(t, maker), vendor: newVendor(t, "Assay Lab Computer Inc.")}
	for _, f := range maker.Roots() {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		block, _ := pem.Decode(raw)
		require.NotNil(t, block)
		p.roots = append(p.roots, block.Bytes)
	}
	m, _, err := assay.Draft([]*evidence.Bundle{opened(t, p.one.scan(t, []byte{1}))}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	p.golden = p.vendor.signManifest(t, m)
	return p
}

// withoutKeys is a manifest that pins no TPM.
func (p *benchPair) withoutKeys(t *testing.T) []byte {
	t.Helper()
	m, _, err := assay.Draft([]*evidence.Bundle{opened(t, p.one.scan(t, []byte{1}))}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	m.Endorsements = nil
	return p.vendor.signManifest(t, m)
}

func newBench(t *testing.T, maker *swtpm.Maker) *bench {
	t.Helper()
	files, err := fixture.Machine(".", "baseline")
	require.NoError(t, err)
	maps.DeleteFunc(files, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "tpm/") || strings.Contains(p, "/ima/") || strings.HasPrefix(p, "firmware/")
	})
	files["proc/uptime"] = []byte("1.50 1.00\n")
	s, err := maker.Make("sha1,sha256,sha384")
	require.NoError(t, err)
	t.Cleanup(s.Close)
	b := &bench{files: files, tpm: s}
	b.boot(t, 0x04, 0x0b, 0x0c)
	return b
}

// boot measures what the recorded firmware measured, into some banks.
func (b *bench) boot(t *testing.T, algs ...uint16) {
	t.Helper()
	l, err := tcglog.Parse(b.files["sys/kernel/security/tpm0/binary_bios_measurements"], tcglog.DefaultLimits())
	require.NoError(t, err)
	for i := range l.Events {
		e := &l.Events[i]
		if !e.Measured() {
			continue
		}
		values := map[uint16][]byte{}
		for _, d := range e.Digests {
			for _, a := range algs {
				if uint16(d.Alg) == a {
					values[a] = d.Value
				}
			}
		}
		require.NoError(t, b.tpm.Extend(int(e.PCR), values))
	}
}

func (b *bench) scan(t *testing.T, nonce []byte) *evidence.Writer {
	t.Helper()
	tree := fstest.MapFS{}
	for n, data := range b.files {
		tree[n] = &fstest.MapFile{Data: data}
	}
	w, err := collect.Scan(context.Background(), collect.Captured(tree), collect.Options{
		Collector: evidence.Collector{Name: "assay", Version: "test"}, Now: time.Now(), Nonce: nonce, TPM: b.tpm.Address,
	})
	require.NoError(t, err)
	return w
}

func opened(t *testing.T, w *evidence.Writer) *evidence.Bundle {
	t.Helper()
	var z bytes.Buffer
	require.NoError(t, w.WriteZip(&z))
	b, err := evidence.OpenZip(z.Bytes(), "scan", evidence.Limits{})
	require.NoError(t, err)
	return b
}

func (p *benchPair) verify(t *testing.T, b *evidence.Bundle, nonce []byte, change ...func(*assay.Case)) *assay.Result {
	t.Helper()
	c := assay.Case{Evidence: b, Golden: [][]byte{p.golden}, Trust: p.vendor.trust(t), EKRoots: p.roots, Nonce: nonce, Now: time.Now()}
	for _, f := range change {
		f(&c)
	}
	r, err := assay.Verify(c)
	require.NoError(t, err)
	return r
}

// forged is a bundle with other artefacts and an index that fits them: what an
// attacker with the format's description writes.
func forged(t *testing.T, b *evidence.Bundle, nonce []byte, change map[string][]byte) *evidence.Writer {
	t.Helper()
	ix := b.Index()
	ix.Nonce = hex.EncodeToString(nonce)
	w := evidence.NewWriter(*ix, evidence.Limits{})
	for _, a := range b.Artifacts() {
		switch data, other := change[a.Path]; {
		case a.Path == evidence.IndexName:
		case other:
			require.NoError(t, w.Add(a.Path, data, ""))
		case a.Status != evidence.Collected:
			require.NoError(t, w.Note(a.Path, a.Status, a.Reason))
		default:
			data, err := b.Read(a.Path)
			require.NoError(t, err)
			require.NoError(t, w.Add(a.Path, data, a.Reason))
		}
	}
	return w
}

func TestRealTPM(t *testing.T) {
	p := newBenches(t)
	nonce, now := []byte("nonce of today, sixteen or more"), []byte("nonce of tomorrow, sixteen or more")
	t.Run("a machine as built passes, sealed and bound", func(t *testing.T) {
		r := p.verify(t, opened(t, p.one.scan(t, nonce)), nonce)
		require.Equal(t, assay.Pass, r.Verdict, "%v %v", codesOf(r), r.Required)
		require.True(t, r.Assurance.Sealed)
		require.True(t, r.Assurance.Quoted)
		require.True(t, r.Assurance.KeyBound)
	})
	t.Run("an old bundle is a replay", func(t *testing.T) {
		r := p.verify(t, opened(t, p.one.scan(t, nonce)), now)
		require.Equal(t, assay.Fail, r.Verdict)
		require.Contains(t, codesOf(r), finding.EvidenceReplayed)
		require.Contains(t, codesOf(r), finding.QuoteNonce)
	})
	t.Run("an inventory with another machine's quote is spliced", func(t *testing.T) {
		good, other := opened(t, p.one.scan(t, nonce)), opened(t, p.other.scan(t, nonce))
		take := map[string][]byte{}
		for _, a := range good.Artifacts() {
			if strings.HasPrefix(a.Path, "tpm/") && a.Status == evidence.Collected {
				take[a.Path], _ = good.Read(a.Path)
			}
		}
		take["sys/class/net/eth0/address"] = []byte("52:54:00:00:00:01\n") // what the other machine has to hide
		r := p.verify(t, opened(t, forged(t, other, nonce, take)), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
		require.Contains(t, codesOf(r), finding.EvidenceSpliced)
		require.False(t, r.Assurance.Sealed)
	})
	t.Run("another machine's TPM is not this one's", func(t *testing.T) {
		r := p.verify(t, opened(t, p.other.scan(t, nonce)), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
		require.Contains(t, codesOf(r), finding.TPMChanged)
	})
	t.Run("an edited inventory breaks the seal", func(t *testing.T) {
		good := opened(t, p.one.scan(t, nonce))
		r := p.verify(t, opened(t, forged(t, good, nonce, map[string][]byte{"proc/version": []byte("edited")})), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
		require.Contains(t, codesOf(r), finding.EvidenceSpliced)
	})
	t.Run("a key in software is not enrolled", func(t *testing.T) { softwareKey(t, p, nonce) })
	t.Run("a narrow selection proves too little", func(t *testing.T) { narrowSelection(t, p, nonce) })
	t.Run("enrolment binds the key where no manifest does", func(t *testing.T) { enrolment(t, p, nonce) })
	// These two spoil the second machine's TPM.
	t.Run("a TPM that was reset and fed the golden digests is younger than the system", func(t *testing.T) {
		require.NoError(t, p.one.tpm.Restart())
		p.one.boot(t, 0x04, 0x0b, 0x0c)
		up := *p.one
		up.files = with(up.files, func(f map[string][]byte) { f["proc/uptime"] = []byte("86400.00 80000.00\n") })
		r := p.verify(t, opened(t, up.scan(t, nonce)), nonce)
		require.Equal(t, assay.Fail, r.Verdict)
		require.Contains(t, codesOf(r), finding.TPMClock)
	})
	t.Run("a bank that firmware left open can be filled by anybody", func(t *testing.T) {
		require.NoError(t, p.one.tpm.Restart())
		p.one.boot(t, 0x04, 0x0b)
		r := p.verify(t, opened(t, p.one.scan(t, nonce)), nonce)
		require.Contains(t, codesOf(r), finding.BankInconsistent)
		require.NotEqual(t, assay.Pass, r.Verdict)
	})
}

// softwareKey offers a quote by a key that claims to live in the TPM.
func softwareKey(t *testing.T, p *benchPair, nonce []byte) {
	good := opened(t, p.one.scan(t, nonce))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ak, err := good.Read("tpm/ak.pub")
	require.NoError(t, err)
	ak = bytes.Clone(ak)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	n := len(ak)
	copy(ak[n-32:], point[33:])
	copy(ak[n-66:n-34], point[1:33])
	w := forged(t, good, nonce, map[string][]byte{"tpm/ak.pub": ak})
	d, err := w.Digest()
	require.NoError(t, err)
	old := sealOf(t, good, nonce)
	bound := evidence.QualifyingData(nonce, d)
	for _, a := range good.Artifacts() {
		if !strings.HasSuffix(a.Path, ".attest") {
			continue
		}
		body, err := good.Read(a.Path)
		require.NoError(t, err)
		body = bytes.Replace(body, old, bound[:], 1)
		require.NoError(t, w.Add(a.Path, body, ""))
		require.NoError(t, w.Add(strings.TrimSuffix(a.Path, ".attest")+".sig", ecdsaSignature(t, key, body), ""))
	}
	r := p.verify(t, opened(t, w), nonce)
	require.Equal(t, assay.Fail, r.Verdict)
	require.Contains(t, codesOf(r), finding.TPMChanged, "the manifest pins another key")

	// Where nothing pins a key, a forged one is told apart by enrolment alone.
	unbound := func(c *assay.Case) { c.Golden = [][]byte{p.withoutKeys(t)} }
	r = p.verify(t, opened(t, w), nonce, unbound)
	require.NotEmpty(t, find(r, finding.KeyNotResident), "%v", codesOf(r))
	require.False(t, r.Assurance.KeyBound, "the forger's key is bound to nothing")
	strict := func(c *assay.Case) { unbound(c); c.Policy, _ = assay.BuiltInPolicy("strict") }
	require.NotEqual(t, assay.Pass, p.verify(t, opened(t, w), nonce, strict).Verdict)
}

func sealOf(t *testing.T, b *evidence.Bundle, nonce []byte) []byte {
	t.Helper()
	d := b.Digest()
	q := evidence.QualifyingData(nonce, d)
	return q[:]
}

// ecdsaSignature is a TPMT_SIGNATURE.
func ecdsaSignature(t *testing.T, key *ecdsa.PrivateKey, body []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(body)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	require.NoError(t, err)
	out := []byte{0x00, 0x18, 0x00, 0x0b}
	for _, v := range []*big.Int{r, s} {
		out = binary.BigEndian.AppendUint16(out, uint16(len(v.Bytes())))
		out = append(out, v.Bytes()...)
	}
	return out
}

// narrowSelection lets the TPM sign a register that nobody cares about.
func narrowSelection(t *testing.T, p *benchPair, nonce []byte) {
	good := opened(t, p.one.scan(t, nonce))
	w := forged(t, good, nonce, nil)
	dev, err := tpm.Open(p.one.tpm.Address)
	require.NoError(t, err)
	defer dev.Close()
	ak, err := dev.AttestationKey(0)
	require.NoError(t, err)
	banks, err := dev.Banks()
	require.NoError(t, err)
	for name, alg := range banks {
		q, err := dev.Quote(ak, alg, []uint{15}, sealOf(t, good, nonce))
		require.NoError(t, err)
		require.NoError(t, w.Add("tpm/quote-"+name+".attest", q.Body, ""))
		require.NoError(t, w.Add("tpm/quote-"+name+".sig", q.Signature, ""))
	}
	r := p.verify(t, opened(t, w), nonce)
	require.Equal(t, assay.Fail, r.Verdict)
	require.Contains(t, codesOf(r), finding.QuoteNonce)
	require.False(t, r.Assurance.Quoted)
}

// enrolment exchanges the files of attest enroll and uses the record.
func enrolment(t *testing.T, p *benchPair, nonce []byte) {
	unbound := p.withoutKeys(t)
	b := opened(t, p.one.scan(t, nonce))
	loose := func(c *assay.Case) { c.Golden = [][]byte{unbound} }
	r := p.verify(t, b, nonce, loose)
	require.False(t, r.Assurance.KeyBound)

	ek, _ := b.Read(tpm.EKPath)
	ak, _ := b.Read(tpm.AKPath)
	c, err := tpm.NewChallenge(ek, ak, rand.Reader)
	require.NoError(t, err)
	dev, err := tpm.Open(p.one.tpm.Address)
	require.NoError(t, err)
	defer dev.Close()
	a, err := dev.Answer(c, 0)
	require.NoError(t, err)
	e, err := c.Check(a, time.Now())
	require.NoError(t, err)
	enrolled := func(c *assay.Case) {
		c.Enrolled = []attest.Endorsement{{Kind: "ak", Name: e.AKName}, {Kind: "ek", SHA256: e.EKSHA256, Algorithm: e.EKKind}}
	}
	require.True(t, p.verify(t, b, nonce, loose, enrolled).Assurance.KeyBound)
	r = p.verify(t, opened(t, p.other.scan(t, nonce)), nonce, loose, enrolled)
	require.Contains(t, codesOf(r), finding.TPMChanged, "the record is of another machine")
	require.False(t, r.Assurance.KeyBound)
}
