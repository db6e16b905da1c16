package firmware

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // banks of the TPM
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/assay-hw/assay/internal/bootguard"
)

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

// PCR0Length is the number of bytes that the startup ACM measures, for a bank, or
// why the image does not tell.
func (g BootGuard) PCR0Length(bank crypto.Hash) (int, error) {
	b, err := g.pcr0Data(bankAlgorithms[bank])
	return len(b), err
}

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
