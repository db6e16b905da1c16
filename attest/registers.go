package attest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/internal/tpmwire"
)

// RegisterValues are PCR values that somebody wrote down. Nothing vouches for
// them; they become proof only where a quote's digest is over them.
type RegisterValues map[string]map[int][]byte // by bank name, then PCR

const (
	maxRegisters     = 24
	maxRegisterBytes = 1 << 20
)

// ParseRegisterValues reads {"sha256":{"0":"hex",...},...}. Banks may also be
// given by their TPM_ALG_ID in decimal, as some agents do.
func ParseRegisterValues(b []byte) (RegisterValues, error) {
	if len(b) > maxRegisterBytes {
		return nil, fmt.Errorf("PCR values of %d bytes, limit %d", len(b), maxRegisterBytes)
	}
	var raw map[string]map[string]string
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("PCR values: %w", err)
	}
	out := RegisterValues{}
	for name, pcrs := range raw {
		a, ok := tpmwire.HashNamed(strings.ToLower(name))
		if n, err := strconv.ParseUint(name, 10, 16); !ok && err == nil {
			a = tpmwire.Algorithm(n)
			ok = a.Size() > 0
		}
		if !ok {
			return nil, fmt.Errorf("PCR values: unknown bank %q", name)
		}
		for k, v := range pcrs {
			if err := out.set(a, k, v); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (v RegisterValues) set(a tpmwire.Algorithm, pcr, value string) error {
	n, err := strconv.Atoi(pcr)
	if err != nil || n < 0 || n >= maxRegisters {
		return fmt.Errorf("PCR values: %s: register %q", a, pcr)
	}
	d, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(value), "0x"))
	if err != nil || len(d) != a.Size() {
		return fmt.Errorf("PCR values: %s: PCR %d: want %d bytes in hex", a, n, a.Size())
	}
	if v[a.String()] == nil {
		v[a.String()] = map[int][]byte{}
	}
	if old, ok := v[a.String()][n]; ok && hex.EncodeToString(old) != hex.EncodeToString(d) {
		return fmt.Errorf("PCR values: %s: PCR %d stands twice", a, n)
	}
	v[a.String()][n] = d
	return nil
}

func (v RegisterValues) value(a tpmwire.Algorithm, pcr int) []byte { return v[a.String()][pcr] }

// banks returns the banks with values, strongest first.
func (v RegisterValues) banks() []tpmwire.Algorithm {
	var out []tpmwire.Algorithm
	for name := range v {
		if a, ok := tpmwire.HashNamed(name); ok {
			out = append(out, a)
		}
	}
	return strongestFirst(out)
}

// strength orders hash algorithms; SHA-1 is last of the known.
func strength(a tpmwire.Algorithm) int {
	switch a {
	case tpmwire.SHA512:
		return 7
	case tpmwire.SHA3_512:
		return 6
	case tpmwire.SHA384:
		return 5
	case tpmwire.SHA3_384:
		return 4
	case tpmwire.SHA256:
		return 3
	case tpmwire.SHA3_256:
		return 2
	case tpmwire.SM3:
		return 1
	case tpmwire.SHA1:
		return 0
	}
	return -1
}

func strongestFirst(as []tpmwire.Algorithm) []tpmwire.Algorithm {
	as = slices.Clone(as)
	slices.SortFunc(as, func(a, b tpmwire.Algorithm) int { return strength(b) - strength(a) })
	return slices.Compact(as)
}

// resetValue is what a register holds before anything is extended: the
// dynamic-launch registers start with all ones (PC Client PTP 1.05, 4.6).
func resetValue(a tpmwire.Algorithm, pcr int) []byte {
	d := make([]byte, a.Size())
	if pcr >= 17 && pcr <= 22 {
		for i := range d {
			d[i] = 0xff
		}
	}
	return d
}

func sortedKeys[K int | string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
