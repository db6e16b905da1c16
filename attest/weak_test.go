package attest

import (
	"bytes"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fixture"
)

// faulty makes a modulus as the generator of CVE-2017-15361 does: both primes are
// k*M + 65537^a mod M, with M the product of the first 39 primes.
func faulty(bits int, seed uint64) *big.Int {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := big.NewInt(2)
	for _, p := range rocaPrimes {
		m.Mul(m, big.NewInt(p))
	}
	prime := func() *big.Int {
		for {
			b := make([]byte, bits/16)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			b[0] |= 0xc0
			k := new(big.Int).Div(new(big.Int).SetBytes(b), m)
			p := new(big.Int).Exp(big.NewInt(65537), big.NewInt(int64(rng.Uint32())), m)
			p.Add(p, k.Mul(k, m))
			if p.ProbablyPrime(10) {
				return p
			}
		}
	}
	return new(big.Int).Mul(prime(), prime())
}

func TestROCAFingerprint(t *testing.T) {
	require.True(t, roca(faulty(512, 1)))
	require.True(t, roca(faulty(1024, 2)))
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		b := make([]byte, 256)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		b[255] |= 1
		require.False(t, roca(new(big.Int).SetBytes(b)))
	}
	p := faulty(512, 5)
	require.False(t, roca(p.Add(p, big.NewInt(2))))
}

func TestWeakTPMs(t *testing.T) {
	props := func(maker, version string) func(map[string][]byte) {
		return func(f map[string][]byte) {
			var m map[string]any
			require.NoError(t, json.Unmarshal(f[propsPath], &m))
			m["TPM2_PT_MANUFACTURER"], m["TPM2_PT_FIRMWARE_VERSION_1"] = maker, version
			raw, err := json.Marshal(m)
			require.NoError(t, err)
			f[propsPath] = raw
		}
	}
	modulus := func(n *big.Int) func(map[string][]byte) {
		return func(f map[string][]byte) {
			ek := bytes.Clone(f[ekPath]) // the modulus of an RSA key of 2048 bits ends the public area
			n.FillBytes(ek[len(ek)-256:])
			f[ekPath] = ek
		}
	}
	for name, c := range map[string]struct {
		change   func(map[string][]byte)
		subject  string
		severity finding.Severity
	}{
		"the recorded TPM":                  {change: func(map[string][]byte) {}},
		"key of the faulty generator":       {modulus(faulty(2048, 7)), "tpm:ek", finding.High},
		"key of nearly that form":           {modulus(new(big.Int).Add(faulty(2048, 7), big.NewInt(4))), "", 0},
		"ST before its fix":                 {props("0x53544d20", "0x00490004"), "tpm", finding.Medium},
		"ST with its fix":                   {props("0x53544d20", "0x00490014"), "", 0},
		"ST of a later line":                {props("0x53544d20", "0x00010100"), "", 0},
		"Infineon before its fix":           {props("0x49465800", "0x0007003d"), "tpm", finding.Medium},
		"Infineon with its fix":             {props("0x49465800", "0x0007003e"), "", 0},
		"another maker with that version":   {props("0x4e544300", "0x0007003d"), "", 0},
		"properties that tell no firmware":  {props("0x49465800", ""), "", 0},
		"properties that are no properties": {func(f map[string][]byte) { f[propsPath] = []byte("{") }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := fixture.Machine("..", "baseline")
			require.NoError(t, err)
			c.change(files)
			a := Observe(bundleOf(t, files)).Appraise(golden(t))
			var got []finding.Finding
			for _, f := range a.Findings {
				if f.Code == finding.WeakTPMKey {
					got = append(got, f)
				}
			}
			if c.subject == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Equal(t, c.subject, got[0].Subject)
			require.Equal(t, c.severity, got[0].Severity)
			require.NotEmpty(t, got[0].Sources)
			require.NotEmpty(t, got[0].Basis)
		})
	}
}
