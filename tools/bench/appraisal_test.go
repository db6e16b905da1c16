package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// signatures are quotes, verified as the library of cryptography alone does it: the
// hash over what was signed, and one operation with the key.
type signature struct {
	key  crypto.PublicKey
	body []byte
	rsa  []byte
	r, s *big.Int
}

func signatureOf(b testing.TB, e *evidence.Bundle) signature {
	read := func(name string) []byte {
		raw, err := e.Read(name)
		require.NoError(b, err)
		return raw
	}
	ak, err := tpmwire.ParsePublic(read("tpm/ak.pub"))
	require.NoError(b, err)
	sig, err := tpmwire.ParseSignature(read("tpm/quote-sha256.sig"))
	require.NoError(b, err)
	return signature{ak.Key, read("tpm/quote-sha256.attest"), sig.RSA, new(big.Int).SetBytes(sig.R), new(big.Int).SetBytes(sig.S)}
}

func (s *signature) verify() bool {
	sum := sha256.Sum256(s.body)
	switch k := s.key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], s.rsa) == nil
	case *ecdsa.PublicKey:
		return ecdsa.Verify(k, sum[:], s.r, s.s)
	}
	return false
}

var kinds = []struct {
	name string
	rsa  bool
}{{"rsa2048", true}, {"p256", false}}

// BenchmarkQuote verifies a quote: its form and its signature.
func BenchmarkQuote(b *testing.B) {
	for _, k := range kinds {
		e := newFleet(b, k.rsa, false).unit(b, 0, 7).scan(b, 0)
		body, err := e.Read("tpm/quote-sha256.attest")
		require.NoError(b, err)
		raw, err := e.Read("tpm/quote-sha256.sig")
		require.NoError(b, err)
		pub, err := e.Read("tpm/ak.pub")
		require.NoError(b, err)
		ak, err := tpmwire.ParsePublic(pub)
		require.NoError(b, err)
		b.Run("key="+k.name+"/by=assay", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a, err := tpmwire.ParseAttest(body)
				if err != nil || a.Quote == nil {
					b.Fatal(err)
				}
				sig, err := tpmwire.ParseSignature(raw)
				if err != nil || sig.Verify(ak, body) != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("key="+k.name+"/by=signature", func(b *testing.B) {
			b.ReportAllocs()
			s := signatureOf(b, e)
			for b.Loop() {
				if !s.verify() {
					b.Fatal("refused")
				}
			}
		})
	}
}

// scans are of one machine, one after the other.
const scans = 64

// BenchmarkAppraisal appraises one machine without images of firmware: again, when
// it was appraised before (warm); the first time, by a verifier that has the
// references (first); and with nothing read before (alone). The floors are the
// signature in the quote (signature), and that and one hash over the bundle (hash).
func BenchmarkAppraisal(b *testing.B) {
	for _, k := range kinds {
		u := newFleet(b, k.rsa, false).unit(b, 0, 7)
		var es []*evidence.Bundle
		var sigs []signature
		for n := range scans {
			es = append(es, u.scan(b, n))
			sigs = append(sigs, signatureOf(b, es[n]))
		}
		run := func(by string, one func(n int) bool) {
			b.Run("key="+k.name+"/by="+by, func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					if !one(n % scans) {
						b.Fatal("no pass")
					}
				}
			})
		}
		passes := func(r *assay.Result, err error) bool { return err == nil && r.Verdict == assay.Pass }
		warm, first := &assay.Verifier{Machines: 1}, &assay.Verifier{}
		for n := range 3 { // what is measured is what it says
			require.True(b, passes(warm.Verify(u.ask(es[n], n))))
		}
		_, again := warm.Counts()
		require.EqualValues(b, 2, again)
		run("warm", func(n int) bool { return passes(warm.Verify(u.ask(es[n], n))) })
		run("first", func(n int) bool { return passes(first.Verify(u.ask(es[n], n))) })
		run("alone", func(n int) bool { return passes(assay.Verify(u.ask(es[n], n))) })
		run("signature", func(n int) bool { return sigs[n].verify() })
		run("hash", func(n int) bool { return hashed1(es[n]) && sigs[n].verify() })
	}
}

// hashed1 hashes every byte of a bundle once.
func hashed1(e *evidence.Bundle) bool {
	for _, a := range e.Artifacts() {
		if raw, err := e.Read(a.Path); err == nil {
			sha256.Sum256(raw)
		}
	}
	return true
}

const boards, each, rounds = 20, 50, 10 // 10,000 bundles

// scanned are the scans of a fleet, which take minutes to make, and are made once.
var scanned struct {
	sync.Once
	cases []assay.Case
	sigs  []signature
}

func scanFleet(b *testing.B) {
	f := newFleet(b, false, false)
	var us []*unit
	for n := range boards * each {
		us = append(us, f.unit(b, n%boards, 100+n))
	}
	for r := range rounds {
		for _, u := range us {
			e := u.scan(b, r)
			scanned.cases = append(scanned.cases, u.ask(e, r))
			scanned.sigs = append(scanned.sigs, signatureOf(b, e))
		}
	}
}

// BenchmarkFleet appraises a fleet of 20 boards: each machine for the first time,
// then again and again, ten scans of each; by workers on 1 and 2 cores. The floor is
// the signatures alone.
func BenchmarkFleet(b *testing.B) {
	scanned.Do(func() { scanFleet(b) })
	cases, sigs := scanned.cases, scanned.sigs
	for _, cores := range []int{1, 2} {
		name := map[int]string{1: "cores=1", 2: "cores=2"}[cores]
		b.Run(name+"/by=assay", func(b *testing.B) {
			for b.Loop() {
				v := &assay.Verifier{Machines: boards * each}
				work(cores, len(cases), func(n int) {
					if r, err := v.Verify(cases[n]); err != nil || r.Verdict != assay.Pass {
						b.Error(err)
					}
				})
			}
			b.ReportMetric(float64(b.N*len(cases))/b.Elapsed().Seconds(), "appraisals/s")
		})
		b.Run(name+"/by=signature", func(b *testing.B) {
			for b.Loop() {
				work(cores, len(sigs), func(n int) {
					if !sigs[n].verify() {
						b.Error("refused")
					}
				})
			}
			b.ReportMetric(float64(b.N*len(cases))/b.Elapsed().Seconds(), "appraisals/s")
		})
	}
}

// work splits a range among workers.
func work(workers, n int, do func(int)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
}
