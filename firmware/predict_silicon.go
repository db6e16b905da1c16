package firmware

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // banks of the TPM
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/assay-hw/assay/internal/amdfw"
	"github.com/assay-hw/assay/internal/bootguard"
)

const contentsEvent = "EV_S_CRTM_CONTENTS"

// silicon says what is measured before the reset vector: on Intel by the startup
// ACM, on AMD by the security processor.
func (p *Prediction) silicon(m *Image) {
	if g, ok := m.BootGuard(); ok {
		p.bootGuard(g)
	}
	if f, ok := m.AMD(); ok {
		p.amd(m, f)
	}
}

// bootGuard adds the event over PCR0_DATA, the first in PCR 0 of a machine whose
// fuses have Boot Guard measure, at locality 3 (converged-security-suite,
// pkg/bootflow: MeasurePCR0DATA).
func (p *Prediction) bootGuard(g BootGuard) {
	const what = "PCR 0: " + contentsEvent
	data, err := g.pcr0Data(bootguard.SHA256)
	if err != nil {
		p.NotPredicted = append(p.NotPredicted, NotChecked{what, err.Error()})
		return
	}
	p.Events = slices.Insert(p.Events, 0, Expected{
		Type: contentsEvent, Length: int64(len(data)), Source: "PCR0_DATA",
		Rule: "startup ACM, where Boot Guard measures: the status of its policy, the ACM's SVN and signature, those of the manifests, and the digest of the initial boot block",
	})
	p.NotPredicted = append(p.NotPredicted, NotChecked{what, "the status of the policy is the machine's; all else is in the image, so that a logged digest can be explained"})
}

// pcr0Data is PCR0_DATA without the status in front, which is zero here.
func (g BootGuard) pcr0Data(bank bootguard.Algorithm) ([]byte, error) {
	if len(g.modules) != 1 || len(g.keys) != 1 || len(g.policies) != 1 || len(g.policies[0].Blocks) == 0 {
		return nil, fmt.Errorf("the image has %d startup ACMs, %d key manifests and %d boot policies, one each is needed", len(g.modules), len(g.keys), len(g.policies))
	}
	for _, d := range g.policies[0].Blocks[0].Digests {
		if d.Algorithm != bank {
			continue
		}
		b := binary.LittleEndian.AppendUint16(make([]byte, 8), g.modules[0].TXTSVN)
		for _, part := range [][]byte{g.modules[0].Signature, g.keys[0].Data, g.policies[0].Data, d.Value} {
			b = append(b, part...)
		}
		return b, nil
	}
	return nil, fmt.Errorf("the boot policy has no %s digest of the initial boot block", bank)
}

var bankAlgorithms = map[crypto.Hash]bootguard.Algorithm{crypto.SHA1: bootguard.SHA1, crypto.SHA256: bootguard.SHA256, crypto.SHA384: bootguard.SHA384, crypto.SHA512: bootguard.SHA512}

// PCR0Data computes the digest that the startup ACM extends into PCR 0, for a
// bank and the value of ACM_POLICY_STATUS (at FED30378).
func (g BootGuard) PCR0Data(bank crypto.Hash, status uint64) ([]byte, error) {
	b, err := g.pcr0Data(bankAlgorithms[bank])
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint64(b, status)
	h := bank.New()
	h.Write(b)
	return h.Sum(nil), nil
}

// ExplainPCR0Data looks for a status with which the image gives a logged digest.
// Finding one proves that the machine's processor started with this ACM, these
// manifests and an initial boot block with the digest of the policy. The search
// is bounded: a status of an unusual kind is not found.
func (g BootGuard) ExplainPCR0Data(bank crypto.Hash, logged []byte) (status uint64, ok bool) {
	b, err := g.pcr0Data(bankAlgorithms[bank])
	if err != nil || len(logged) != bank.Size() {
		return 0, false
	}
	h := bank.New()
	var sum [64]byte
	for status := range statuses(g.keys[0].ID) {
		binary.LittleEndian.PutUint64(b, status)
		h.Reset()
		h.Write(b)
		if bytes.Equal(h.Sum(sum[:0]), logged) {
			return status, true
		}
	}
	return 0, false
}

// Fields of ACM_POLICY_STATUS (converged-security-suite, pkg/registers).
const (
	statusSuccess = 1 << 15 // of the TPM: there would be no event without
	maxProfile    = 8       // of TXT
)

// statuses lists plausible values of ACM_POLICY_STATUS for a key manifest's id,
// the usual ones first; 4,194,304 in all.
func statuses(id byte) iter.Seq[uint64] {
	spread := func(v uint64, bits ...int) (out uint64) {
		for i, b := range bits {
			out |= v >> i & 1 << b
		}
		return out
	}
	return func(yield func(uint64) bool) {
		for rare := range uint64(1 << 6) { // PFR, backup action, memory scrubbing, co-signing
			for profile := range uint64(maxProfile) {
				for scrtm := range uint64(4) {
					for v := range uint64(1 << 11) { // boot policy's type and restrictions, TPM's type, DMA protection, locality
						s := uint64(id&0xf) | statusSuccess | profile<<20 | 1<<scrtm>>1<<32 |
							spread(v, 4, 5, 7, 9, 10, 11, 13, 14, 36, 29, 6) | spread(rare, 25, 26, 35, 17, 18, 19)
						if !yield(s) {
							return
						}
					}
				}
			}
		}
	}
}

// amd says what the security processor may measure. No specification is public;
// the order is what others saw in logs of servers (converged-security-suite,
// pkg/bootflow/flows/amd.go), so that the digests are named and not predicted.
func (p *Prediction) amd(m *Image, f amdfw.Firmware) {
	const reason = "what AMD's security processor measures is not specified in public; seen in logs of EPYC servers"
	n := 0
	for _, d := range f.Directories {
		for _, e := range d.Entries {
			if e.Offset < 0 || e.Outside {
				continue
			}
			b := m.data[e.Offset : e.Offset+e.Length]
			switch {
			case (d.Name == "psp" || d.Name == "psp-l2") && e.Type == 0x01 && e.Header != nil:
				b = b[0x60:0x64] // the version alone
			case (d.Name == "bios" || d.Name == "bios-l2") && (e.Type == 0x62 || e.Type >= 0x64 && e.Type <= 0x66):
			default:
				continue
			}
			if n++; n > maxNamed {
				break
			}
			p.NotPredicted = append(p.NotPredicted, NotChecked{fmt.Sprintf("PCR 0: %s/%s", d.Name, entryName(e)), fmt.Sprintf("%s: %d bytes with sha256:%s", reason, len(b), digest(b))})
		}
	}
	if n == 0 {
		p.NotPredicted = append(p.NotPredicted, NotChecked{"PCR 0: AMD", reason})
	}
}

// maxNamed bounds the list of what the security processor may measure.
const maxNamed = 64
