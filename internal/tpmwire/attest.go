package tpmwire

import "math/bits"

// Generated is TPM_GENERATED_VALUE: only a TPM signs a structure that starts
// with it under a restricted key.
const Generated = 0xff544347

// The attestation types that are read here (TPM_ST_ATTEST_*).
const (
	AttestQuote uint16 = 0x8018
	AttestTime  uint16 = 0x8019
)

// Attest is TPMS_ATTEST (TPM 2.0 Library Part 2, 10.12.12). Slices alias the
// parsed bytes.
type Attest struct {
	Magic           uint32
	Type            uint16
	QualifiedSigner []byte
	ExtraData       []byte // the caller's qualifying data
	Clock           ClockInfo
	FirmwareVersion uint64
	Quote           *QuoteInfo // for AttestQuote
	Time            *TimeInfo  // for AttestTime
}

// ClockInfo is TPMS_CLOCK_INFO (10.11.1).
type ClockInfo struct {
	Clock        uint64 // milliseconds of power over the TPM's life
	ResetCount   uint32
	RestartCount uint32
	Safe         bool
}

// QuoteInfo is TPMS_QUOTE_INFO (10.12.4).
type QuoteInfo struct {
	Selections []Selection // in the order in which the TPM hashed them
	Digest     []byte
}

// Selection is TPMS_PCR_SELECTION (10.6.2): the registers of one bank.
type Selection struct {
	Bank Algorithm
	PCRs []int // ascending
}

// TimeInfo is TPMS_TIME_ATTEST_INFO (10.12.2) with TPMS_TIME_INFO.
type TimeInfo struct {
	Time            uint64 // milliseconds since the TPM was started
	Clock           ClockInfo
	FirmwareVersion uint64
}

const (
	maxSelections  = 16 // HASH_COUNT of any TPM
	maxSelectBytes = 4
)

// ParseAttest decodes a TPMS_ATTEST. Types other than quote and time are
// refused, since nothing here would check them.
func ParseAttest(b []byte) (*Attest, error) {
	r := &reader{b: b}
	a := &Attest{Magic: r.u32("magic"), Type: r.u16("type")}
	if r.err == nil && a.Magic != Generated {
		r.at = 0
		r.fail("magic 0x%08x is not TPM_GENERATED_VALUE", a.Magic)
	}
	a.QualifiedSigner = r.sized("qualified signer")
	a.ExtraData = r.sized("extra data")
	a.Clock = r.clock()
	a.FirmwareVersion = r.u64("firmware version")
	switch a.Type {
	case AttestQuote:
		a.Quote = &QuoteInfo{Selections: r.selections()}
		a.Quote.Digest = r.sized("PCR digest")
	case AttestTime:
		a.Time = &TimeInfo{Time: r.u64("time"), Clock: r.clock(), FirmwareVersion: r.u64("firmware version")}
	default:
		if r.err == nil {
			r.fail("attestation type 0x%04x", a.Type)
		}
	}
	if err := r.end("attest"); err != nil {
		return nil, err
	}
	return a, nil
}

func (r *reader) clock() ClockInfo {
	c := ClockInfo{Clock: r.u64("clock"), ResetCount: r.u32("reset count"), RestartCount: r.u32("restart count")}
	safe := r.u8("safe")
	if safe > 1 {
		r.fail("safe is 0x%02x", safe)
	}
	c.Safe = safe == 1
	return c
}

func (r *reader) selections() []Selection {
	n := r.u32("selection count")
	if n > maxSelections {
		r.fail("%d PCR selections, limit %d", n, maxSelections)
		return nil
	}
	var out []Selection
	for range n {
		s := Selection{Bank: r.alg("bank")}
		size := int(r.u8("select size"))
		if size > maxSelectBytes {
			r.fail("PCR bitmap of %d bytes, limit %d", size, maxSelectBytes)
		}
		for i, v := range r.take(size, "PCR bitmap") {
			for m := v; m != 0; m &= m - 1 {
				s.PCRs = append(s.PCRs, 8*i+bits.TrailingZeros8(m))
			}
		}
		if r.err != nil {
			return nil
		}
		out = append(out, s)
	}
	return out
}
