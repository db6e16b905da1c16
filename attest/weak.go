package attest

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"slices"

	"github.com/assay-hw/assay/finding"
)

// checkWeakKeys looks for keys and TPMs that others may sign as: RSA keys that are
// short or made by Infineon's faulty generator, and firmware versions that a maker
// named in an advisory. Curves other than NIST's are refused when a key is read.
func (ap *appraiser) checkWeakKeys() {
	o := ap.o
	weak := func(subject, path string, key any) {
		k, ok := key.(*rsa.PublicKey)
		if !ok {
			return
		}
		f := finding.New(finding.WeakTPMKey, subject)
		f.Sources, f.Basis, f.Confidence = []finding.Source{finding.Cryptographic}, o.basis(path, 0, 0), finding.Proven
		const least = 2048 // NIST SP 800-131A rev. 2, table 2
		switch {
		case k.N.BitLen() < least:
			f.Want, f.Got = fmt.Sprintf("RSA of at least %d bits", least), fmt.Sprintf("RSA of %d bits", k.N.BitLen())
			f.Why = "The key is too short to be trusted with signatures."
		case roca(k.N):
			f.Want, f.Got = "an RSA key of random primes", "a modulus with the fingerprint of CVE-2017-15361"
			f.Why = "The key was made by a generator whose keys can be factored (ROCA): whoever paid for the computation signs as this TPM."
		default:
			return
		}
		ap.add(f)
	}
	if o.ak != nil {
		weak("tpm:ak", akPath, o.ak.Key)
	}
	if o.ek != nil {
		weak("tpm:ek", ekPath, o.ek.Key)
	}
	for i := range o.certs {
		if c := &o.certs[i]; c.forEK() {
			weak("tpm:ek-"+c.index, c.path, c.cert.Key)
		}
	}
	ap.checkWeakFirmware()
}

// rocaPrimes are the primes whose product the generator of CVE-2017-15361 uses for
// keys of every length (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017,
// 2.1).
var rocaPrimes = []int64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167}

// roca reports whether a modulus is a power of 65537 modulo every prime of the
// generator, which a random one practically never is.
func roca(n *big.Int) bool {
	for _, p := range rocaPrimes {
		r := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		x, member := int64(1), false
		for range p {
			if member = x == r; member {
				break
			}
			x = x * 65537 % p
		}
		if !member {
			return false
		}
	}
	return true
}

// weakFirmware are versions of TPM firmware that makers named in advisories. A
// version says that the TPM could be weak; whether its key is, ROCA's fingerprint
// tells.
var weakFirmware = []struct {
	maker    uint32
	advisory string
	affected func(major, minor uint16) bool
}{
	// STMicroelectronics, "ST's TPM firmware update - ECDSA signature generation".
	{0x53544d20, "CVE-2019-16863 (TPM-FAIL)", func(major, minor uint16) bool {
		return slices.Contains(map[uint16][]uint16{71: {0, 4, 12}, 73: {0, 4, 5, 8, 9}, 74: {0, 4, 5, 8, 9, 16}}[major], minor)
	}},
	// Infineon, "TPM update"; 5.62 and 7.62 are the versions of TPM 2.0 that it fixed
	// (Microsoft ADV170012).
	{0x49465800, "CVE-2017-15361 (ROCA)", func(major, minor uint16) bool {
		return (major == 5 || major == 7) && minor <= 61
	}},
}

// checkWeakFirmware holds the listed version against the advisories. The list is
// not signed, so that it is a hint to look.
func (ap *appraiser) checkWeakFirmware() {
	maker, ok1 := ap.o.property("TPM2_PT_MANUFACTURER")
	version, ok2 := ap.o.property("TPM2_PT_FIRMWARE_VERSION_1")
	if !ok1 || !ok2 {
		return
	}
	major, minor := uint16(version>>16), uint16(version)
	for _, w := range weakFirmware {
		if w.maker != maker || !w.affected(major, minor) {
			continue
		}
		f := finding.New(finding.WeakTPMKey, "tpm")
		f.Severity, f.Confidence = finding.Medium, finding.Strong
		f.Want, f.Got = "firmware that its maker did not warn of", fmt.Sprintf("version %d.%d", major, minor)
		f.Why = "The maker of the TPM named this version in an advisory: " + w.advisory + ". Keys that it made or used may be known to others."
		f.Sources, f.Basis = []finding.Source{finding.SiliconAnswered}, ap.o.basis(propsPath, 0, 0)
		ap.add(f)
	}
}
