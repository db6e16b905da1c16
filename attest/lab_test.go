package attest

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
)

// The boot laboratory's captures: one machine, changed in one way each.
func labSet(t testing.TB, name string) *Observation {
	t.Helper()
	p := "../../shared/evidence/" + name + ".evidence.zip"
	if _, err := os.Stat(p); err != nil {
		t.Skip("needs " + p[3:])
	}
	b, err := evidence.Open(p, evidence.DefaultLimits())
	require.NoError(t, err)
	return Observe(b)
}

func labRoots(t testing.TB) []*ekcert.Certificate {
	t.Helper()
	var out []*ekcert.Certificate
	for _, f := range []string{"root-ca.pem", "issuer-ca.pem"} {
		b, err := os.ReadFile("testdata/roots/" + f)
		require.NoError(t, err)
		c, bad := ekcert.ParsePEM(b)
		require.Zero(t, bad)
		out = append(out, c...)
	}
	return out
}

// labParams is what a verifier asks for: the nonce of the captures, the
// laboratory's certificate authority, and a reference machine.
func labParams(t testing.TB, reference *Observation) Params {
	n, err := hex.DecodeString(strings.Repeat("00112233445566778899aabbccddeeff", 2))
	require.NoError(t, err)
	return Params{
		Nonce: n, NonceGiven: true, EKRoots: labRoots(t), RequireEK: true, Now: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC),
		References: reference.DraftReferences(), Endorsements: reference.DraftEndorsements(), Virtual: true, VolatilePCRs: []int{10},
	}
}

func TestLabMachineAgainstItsReference(t *testing.T) {
	type want struct {
		code     finding.Code
		subject  string
		severity finding.Severity
	}
	for _, tc := range []struct {
		set  string
		want []want // everything above low
	}{
		{"baseline", nil},
		{"baseline-reboot", nil},
		{"dimm-swapped", nil},
		{"missing-dimm", nil},
		{"extra-nic-norom", nil},
		{"fw-patched-sec", nil},
		{"boot-order", nil},
		{"extra-pci-with-optionrom", []want{{finding.UnexpectedEvent, "pcr:2/pci:0000:09:00.0", finding.High}}},
		{"fw-patched-dxe", []want{{finding.UnexpectedEvent, "pcr:0/base-0x900000-length-0xc00000", finding.High}}},
		{"eventlog-edited", []want{{finding.LogDoesNotReplay, "pcr:2", finding.Critical}}},
		{"eventlog-data-edited", []want{{finding.EventNotCredible, "pcr:1/Boot0001", finding.Critical}}},
		{"stale-nonce", []want{{finding.QuoteNonce, "quote:sha256", finding.Critical}, {finding.QuoteNonce, "quote:sha384", finding.Critical}}},
		{"other-tpm", []want{
			{finding.TPMChanged, "tpm:ek", finding.Critical},
			{finding.TPMChanged, "tpm:ek-0x01c00002", finding.Critical},
			{finding.TPMChanged, "tpm:ek-0x01c00016", finding.Critical},
		}},
	} {
		t.Run(tc.set, func(t *testing.T) {
			a := labSet(t, tc.set).Appraise(labParams(t, labSet(t, "baseline")))
			require.Len(t, above(a, finding.Low), len(tc.want), "%v", above(a, finding.Low))
			for _, w := range tc.want {
				f := one(t, a, w.code, w.subject)
				require.Equal(t, w.severity, f.Severity)
				require.Equal(t, finding.Proven, f.Confidence)
				require.NotEmpty(t, f.Basis)
			}
			require.True(t, a.Quoted)
			require.NotContains(t, codes(a), finding.PCRDiffers)
		})
	}
}

func TestLabReferenceIsFullyProved(t *testing.T) {
	a := labSet(t, "baseline-reboot").Appraise(labParams(t, labSet(t, "baseline")))
	require.True(t, a.Quoted && a.LogMatches && a.Fresh && a.KeyBound && a.Identified && a.EKTrusted)
	require.False(t, a.Sealed, "the captures have no index")
	require.Equal(t, "sha384", a.Bank, "the strongest quoted bank")
	require.Equal(t, a.Coverage.Referenced, a.Coverage.Golden)
	require.Equal(t, finding.Low, one(t, a, finding.BankInconsistent, "bank:sha1").Severity)
}

// IC-01: the digest ties the measured driver to the card that carries it.
func TestLabOptionROMIsBoundToItsCard(t *testing.T) {
	o := labSet(t, "extra-pci-with-optionrom")
	f := one(t, o.Appraise(labParams(t, labSet(t, "baseline"))), finding.UnexpectedEvent, "pcr:2/pci:0000:09:00.0")
	require.Equal(t, "pci0000:00/07.0/00.0", f.Location.Path)
	require.Contains(t, f.Sources, finding.SiliconAnswered)
	_, digest, _ := strings.Cut(f.Got, ":")
	require.Equal(t, "pci:0000:09:00.0", o.Drivers()[digest])
}

func TestLabKernelChangeReadsAsOneStory(t *testing.T) {
	a := labSet(t, "different-kernel").Appraise(labParams(t, labSet(t, "baseline")))
	pcr4 := 0
	for _, f := range a.Findings {
		if f.Severity > finding.Low {
			require.Equal(t, finding.UnknownBootComponent, f.Code, f.Subject)
			require.NotEmpty(t, f.Want, "each is paired with what it replaced")
		}
		if n, _ := registerOf(f.Subject); n == 4 {
			pcr4++
		}
	}
	require.Equal(t, 2, pcr4, "the unified image and the kernel in it")
}

func TestLabBootOrderIsAnExpectedChange(t *testing.T) {
	a := labSet(t, "boot-order").Appraise(labParams(t, labSet(t, "baseline")))
	require.Contains(t, codes(a), finding.ChangeConfiguration)
	one(t, a, finding.ChangeConfiguration, "pcr:1/BootOrder")
	one(t, a, finding.ChangeConfiguration, "pcr:4/Returning-from-EFI-Application-from-Boot-Option")
}

func TestLabSecureBootMachine(t *testing.T) {
	ref := labSet(t, "secure-boot-on")
	a := labSet(t, "secure-boot-on-reboot").Appraise(labParams(t, ref))
	require.Empty(t, above(a, finding.Low))
	off := labSet(t, "baseline").Appraise(labParams(t, ref))
	f := one(t, off, finding.SecureBootOff, "pcr:7/SecureBoot")
	require.Equal(t, finding.High, f.Severity)
	require.Contains(t, codes(off), finding.SecureBootKeysDiffer)
	on := ref.Appraise(labParams(t, labSet(t, "baseline")))
	require.NotContains(t, codes(on), finding.SecureBootOff, "turning Secure Boot on is no attack")
}

// E12: a TPM that calls itself an emulation is only right where the manifest
// describes a virtual machine.
func TestLabSoftwareTPMInAPhysicalMachine(t *testing.T) {
	p := labParams(t, labSet(t, "baseline"))
	p.Virtual = false
	require.Equal(t, finding.Critical, one(t, labSet(t, "baseline").Appraise(p), finding.SoftwareTPM, "tpm:manufacturer").Severity)
}

// Another machine's key and quote in the reference machine's evidence.
func TestForeignQuoteDoesNotVerify(t *testing.T) {
	files := map[string][]byte{}
	read := func(dst, src string) {
		b, err := os.ReadFile("testdata/" + src)
		require.NoError(t, err)
		files[dst] = b
	}
	read(akPath, "baseline/tpm/ak.pub")
	read(logPath, "baseline/"+logPath)
	read(pcrsPath, "baseline/tpm/pcrs.json")
	read("tpm/quote-sha256.attest", "other-tpm/tpm/quote-sha256.attest")
	read("tpm/quote-sha256.sig", "other-tpm/tpm/quote-sha256.sig")
	a := Observe(bundleOf(t, files)).Appraise(labParams(t, recorded(t, "baseline")))
	require.Equal(t, finding.Critical, one(t, a, finding.QuoteSignature, "quote:sha256").Severity)
	require.False(t, a.Quoted)
	_, ok := a.Registers.Value("sha256", 0)
	require.False(t, ok, "an unverified quote makes no registers")
}

func TestRecordedMachineProvesItself(t *testing.T) {
	o := recorded(t, "baseline")
	a := o.Appraise(labParams(t, o))
	require.Empty(t, above(a, finding.Low))
	require.True(t, a.Quoted && a.LogMatches && a.Fresh && a.KeyBound && a.EKTrusted)
	for _, r := range a.PCRs {
		require.Equal(t, Explained, r.Result, "%s PCR %d: %s", r.Bank, r.PCR, r.Cause)
	}
}

// V4: equal evidence gives equal bytes.
func TestAppraisalIsDeterministic(t *testing.T) {
	var first []byte
	for range 3 {
		o := recorded(t, "baseline")
		b, err := json.Marshal(o.Appraise(labParams(t, o)))
		require.NoError(t, err)
		if first == nil {
			first = b
		}
		require.JSONEq(t, string(first), string(b))
		require.Equal(t, first, b)
	}
}

// Losing evidence never proves more.
func TestRemovingEvidenceProvesLess(t *testing.T) {
	full := map[string][]byte{}
	b := recorded(t, "baseline").bundle
	for _, art := range b.Artifacts() {
		full[art.Path], _ = b.Read(art.Path)
	}
	ref := recorded(t, "baseline")
	for _, gone := range []string{logPath, akPath, "tpm/quote-sha256.sig", "tpm/quote-sha384.attest", pcrsPath} {
		t.Run(gone, func(t *testing.T) {
			files := map[string][]byte{}
			for n, d := range full {
				if n != gone {
					files[n] = d
				}
			}
			a := Observe(bundleOf(t, files)).Appraise(labParams(t, ref))
			switch gone {
			case logPath:
				require.True(t, a.Quoted)
				require.False(t, a.LogMatches)
				require.Empty(t, above(a, finding.Low), "the registers still have the declared values")
			case akPath:
				require.False(t, a.Quoted || a.KeyBound || a.Fresh)
			case "tpm/quote-sha384.attest":
				require.Equal(t, "sha256", a.Bank)
				require.True(t, a.Quoted)
			case pcrsPath:
				require.True(t, a.Quoted, "the log alone reproduces the quote")
			}
			require.NotEmpty(t, a.NotChecked)
		})
	}
}
