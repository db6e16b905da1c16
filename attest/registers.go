package attest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
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

// ParseRegisterValues reads register values in the forms that tools write:
// {"sha256":{"0":"hex",...},...}, where banks may also be given by their
// TPM_ALG_ID in decimal or, with one bank, not at all; the same keyed by the
// name of a log, of which logName is taken; and the "pcrs:" section of
// tpm2_eventlog's output.
func ParseRegisterValues(b []byte, logName string) (RegisterValues, error) {
	if len(b) > maxRegisterBytes {
		return nil, fmt.Errorf("PCR values of %d bytes, limit %d", len(b), maxRegisterBytes)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return parseRegisterText(string(b))
	}
	if logName == "" {
		return registersOf(b)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b, &top); err != nil {
		return nil, fmt.Errorf("PCR values: %w", err)
	}
	if inner, ok := top[logName]; ok {
		v, err := registersOf(inner)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", logName, err)
		}
		return v, nil
	}
	return registersOf(b)
}

// registersOf reads values by bank and register.
func registersOf(b []byte) (RegisterValues, error) {
	if v, ok := plainRegisters(b); ok {
		return v, nil
	}
	return anyRegisters(b)
}

func anyRegisters(b []byte) (RegisterValues, error) {
	var banks map[string]map[string]string
	if err := json.Unmarshal(b, &banks); err != nil {
		return nil, fmt.Errorf("PCR values: %w", err)
	}
	out := RegisterValues{}
	for _, name := range sortedKeys(banks) {
		for _, k := range sortedKeys(banks[name]) {
			value := banks[name][k]
			a, err := bankNamed(name, value)
			if err != nil {
				return nil, err
			}
			if err := out.set(a, k, value); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// bankNamed finds a bank by name, by number, or by the length of a value where
// there is no name.
func bankNamed(name, value string) (tpmwire.Algorithm, error) {
	if a, ok := tpmwire.HashNamed(strings.ToLower(name)); ok {
		return a, nil
	}
	if n, err := strconv.ParseUint(name, 10, 16); err == nil && tpmwire.Algorithm(n).Size() > 0 {
		return tpmwire.Algorithm(n), nil
	}
	if name == "" {
		for _, a := range []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256, tpmwire.SHA384, tpmwire.SHA512} {
			if len(value) == 2*a.Size() {
				return a, nil
			}
		}
	}
	return 0, fmt.Errorf("PCR values: unknown bank %q", name)
}

// parseRegisterText reads lines "sha256:" and "0 : 0xHEX", those of a "pcrs:"
// section where there is one.
func parseRegisterText(s string) (RegisterValues, error) {
	if _, after, ok := strings.Cut("\n"+s, "\npcrs:"); ok {
		s = after
	}
	out := RegisterValues{}
	bank := tpmwire.Algorithm(0)
	for line := range strings.Lines(s) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), ":")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		switch {
		case k == "" && v == "":
		case !ok:
			return nil, fmt.Errorf("PCR values: %.40q is neither a bank nor a register", line)
		case v == "":
			a, known := tpmwire.HashNamed(strings.ToLower(k))
			if !known {
				return nil, fmt.Errorf("PCR values: unknown bank %.40q", k)
			}
			bank = a
		case bank == 0:
			return nil, fmt.Errorf("PCR values: register %.40q before its bank", k)
		default:
			if err := out.set(bank, k, v); err != nil {
				return nil, err
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("PCR values: none")
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
	name := a.String()
	bank := v[name]
	if bank == nil {
		bank = make(map[int][]byte, maxRegisters)
		v[name] = bank
	}
	if old, ok := bank[n]; ok && !bytes.Equal(old, d) {
		return fmt.Errorf("PCR values: %s: PCR %d stands twice", a, n)
	}
	bank[n] = d
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
	slices.SortStableFunc(as, func(a, b tpmwire.Algorithm) int { return strength(b) - strength(a) })
	return slices.Compact(as)
}

// registerSet is one value of every register of a bank, nil where none is known.
type registerSet [maxRegisters][]byte

// of returns the values of a bank.
func (v RegisterValues) of(a tpmwire.Algorithm) *registerSet { return newRegisterSet(v[a.String()]) }

func newRegisterSet(values map[int][]byte) *registerSet {
	var out registerSet
	if len(values) > 0 {
		for n := range out {
			out[n] = values[n]
		}
	}
	return &out
}

// resetValue is what a register holds before anything is extended: the
// dynamic-launch registers start with all ones (PC Client PTP 1.05, 4.6).
func resetValue(a tpmwire.Algorithm, pcr int) []byte {
	d := make([]byte, a.Size())
	setReset(d, pcr)
	return d
}

func setReset(v []byte, pcr int) {
	for i := range v {
		v[i] = resetByte(pcr)
	}
}

func resetByte(pcr int) byte {
	if pcr >= 17 && pcr <= 22 {
		return 0xff
	}
	return 0
}

func isReset(a tpmwire.Algorithm, pcr int, v []byte) bool {
	for _, b := range v {
		if b != resetByte(pcr) {
			return false
		}
	}
	return len(v) == a.Size()
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
