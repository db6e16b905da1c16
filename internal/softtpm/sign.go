package softtpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"

	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// Registers are the values of one bank, by number.
type Registers [][]byte

// registers is how many a PC client's TPM has.
const registers = 24

// Replay gives the registers that a firmware leaves which measured what the log
// says (TCG PFP 1.06, 10.2), in the banks of the log.
func Replay(l *tcglog.Log) map[tpmwire.Algorithm]Registers {
	out := map[tpmwire.Algorithm]Registers{}
	for _, b := range l.Banks {
		if b.Alg.Hash() != 0 {
			out[b.Alg] = replay(l, b.Alg)
		}
	}
	return out
}

func replay(l *tcglog.Log, alg tpmwire.Algorithm) Registers {
	out := make(Registers, registers)
	for i := range out {
		out[i] = make([]byte, alg.Size())
		if i >= 17 && i <= 22 {
			out[i] = bytes.Repeat([]byte{0xff}, alg.Size())
		}
	}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Type == tcglog.NoAction && e.PCR == 0 && len(e.Data) == 17 && bytes.HasPrefix(e.Data, []byte("StartupLocality\x00")) {
			out[0][alg.Size()-1] = e.Data[16]
		}
		if d := e.Digest(alg); e.Measured() && d != nil && e.PCR < registers {
			h := alg.Hash().New()
			h.Write(out[e.PCR])
			h.Write(d)
			out[e.PCR] = h.Sum(nil)
		}
	}
	return out
}

// Listing is what tpm/pcrs.json holds of registers.
func Listing(banks map[tpmwire.Algorithm]Registers) map[string]map[string]string {
	out := map[string]map[string]string{}
	for alg, regs := range banks {
		out[alg.String()] = map[string]string{}
		for i, v := range regs {
			out[alg.String()][fmt.Sprint(i)] = hex.EncodeToString(v)
		}
	}
	return out
}

// Clock is TPMS_CLOCK_INFO without "safe", which is always yes.
type Clock struct {
	Milliseconds     uint64
	Resets, Restarts uint32
}

// Firmware is the version that the TPM signs.
const Firmware uint64 = 0x2019_1023_0016_3636

// Quote signs registers of a bank as TPM2_Quote does (Part 2, 10.12). The
// selection is a bit for each register.
func (t *TPM) Quote(qualifying []byte, bank tpmwire.Algorithm, selection uint32, regs Registers, c Clock) (attest, sig []byte, err error) {
	b, err := t.head(tpmwire.AttestQuote, qualifying, c)
	if err != nil {
		return nil, nil, err
	}
	b = append(b, 0, 0, 0, 1, byte(bank>>8), byte(bank), 3) // one selection
	b = append(b, byte(selection), byte(selection>>8), byte(selection>>16))
	h := sha256.New() // the hash of the key's scheme
	for i, v := range regs {
		if selection&(1<<i) != 0 {
			h.Write(v)
		}
	}
	b = append(binary.BigEndian.AppendUint16(b, sha256.Size), h.Sum(nil)...)
	return t.sign(b)
}

// Time signs how long the TPM has been running, as TPM2_GetTime does.
func (t *TPM) Time(qualifying []byte, milliseconds uint64, c Clock) (attest, sig []byte, err error) {
	b, err := t.head(tpmwire.AttestTime, qualifying, c)
	if err != nil {
		return nil, nil, err
	}
	b = append(binary.BigEndian.AppendUint64(b, milliseconds), c.bytes()...)
	return t.sign(binary.BigEndian.AppendUint64(b, Firmware))
}

func (c Clock) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, c.Milliseconds)
	b = binary.BigEndian.AppendUint32(b, c.Resets)
	return append(binary.BigEndian.AppendUint32(b, c.Restarts), 1)
}

// head is what all attestations begin with.
func (t *TPM) head(kind uint16, qualifying []byte, c Clock) ([]byte, error) {
	signer, err := t.public.QualifiedName([]byte{0x40, 0, 0, 0x0b}) // of the endorsement hierarchy
	if err != nil {
		return nil, fmt.Errorf("name of the attestation key: %w", err)
	}
	b := binary.BigEndian.AppendUint32(nil, tpmwire.Generated)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(signer))), signer...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(qualifying))), qualifying...)
	return binary.BigEndian.AppendUint64(append(b, c.bytes()...), Firmware), nil
}

// sign returns the attestation and a TPMT_SIGNATURE over it.
func (t *TPM) sign(attest []byte) (body, sig []byte, err error) {
	sum := sha256.Sum256(attest)
	switch k := t.ak.(type) {
	case *rsa.PrivateKey:
		b, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		if err != nil {
			return nil, nil, fmt.Errorf("signature of a TPM: %w", err)
		}
		sig = []byte{0, 0x14, 0, 0x0b}
		return attest, append(binary.BigEndian.AppendUint16(sig, uint16(len(b))), b...), nil
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			return nil, nil, fmt.Errorf("signature of a TPM: %w", err)
		}
		sig = []byte{0, 0x18, 0, 0x0b}
		for _, v := range []*big.Int{r, s} {
			sig = append(binary.BigEndian.AppendUint16(sig, 32), v.FillBytes(make([]byte, 32))...)
		}
		return attest, sig, nil
	}
	return nil, nil, fmt.Errorf("signature of a TPM: a key of type %T", t.ak)
}
