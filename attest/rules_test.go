package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// The rules of a safe verifier, each by its name. P1 to P4 are tested where
// the log is parsed, in internal/tcglog.

func TestUntouchedPlatformIsProved(t *testing.T) {
	a := newPlatform(t).observe().Appraise(golden(t))
	require.Empty(t, above(a, finding.Low))
	require.True(t, a.Quoted && a.LogMatches && a.Fresh)
	v, ok := a.Registers.Value("sha256", 0)
	require.True(t, ok)
	require.Len(t, v, 32)
	_, ok = Registers{}.Value("sha256", 0)
	require.False(t, ok, "a zero value proves nothing")
}

// P2: an event type that nobody knows is data. Other verifiers die of it.
func TestP2UnknownEventTypesAreMatchedByDigest(t *testing.T) {
	p := newPlatform(t)
	p.add(2, 0x800000e1, []byte("spdm"))
	p.add(2, 0x8401, []byte{1})
	a := p.observe().Appraise(golden(t))
	one(t, a, finding.UnexpectedEvent, "pcr:2/spdm")
	one(t, a, finding.UnexpectedEvent, "pcr:2/0x00008401")
	require.True(t, a.LogMatches)
}

// P5: a bank that an event has no digest of is unusable for its register, and
// for no other.
func TestP5EventWithoutADigestOfTheBank(t *testing.T) {
	l, err := tcglog.Parse(newPlatform(t).log(), tcglog.DefaultLimits())
	require.NoError(t, err)
	var values registerSet
	before := newReplayer(l, tpmwire.SHA256)
	for n := range values {
		values[n] = before.given(n)
	}
	for i := range l.Events {
		if l.Events[i].PCR == 2 {
			l.Events[i].Digests = nil
			break
		}
	}
	for _, r := range newReplayer(l, tpmwire.SHA256).results(&values) {
		if r.PCR == 2 {
			require.Equal(t, NotAttested, r.Result)
			require.Equal(t, causeNoDigest, r.Cause)
			continue
		}
		require.Equal(t, Explained, r.Result, "PCR %d", r.PCR)
	}
}

// R1: stripping every event of a register explains nothing.
func TestR1VacuousReplayIsUnexplained(t *testing.T) {
	p := newPlatform(t).boot()
	p.remove(2, tcglog.EFIBootServicesDriver, 0)
	p.remove(2, tcglog.Separator, 0)
	a := p.observe().Appraise(golden(t))
	f := one(t, a, finding.LogDoesNotReplay, "pcr:2")
	require.Contains(t, f.Why, causeVacuous)
	require.Equal(t, finding.Critical, f.Severity)
	require.False(t, a.LogMatches)
}

// R1: the registers of a dynamic launch start with all ones.
func TestR1DynamicLaunchRegistersStartWithOnes(t *testing.T) {
	for _, r := range newPlatform(t).observe().Appraise(golden(t)).PCRs {
		require.Equal(t, Explained, r.Result, "PCR %d", r.PCR)
	}
	require.Equal(t, bytes.Repeat([]byte{0xff}, 32), resetValue(tpmwire.SHA256, 17))
	require.Equal(t, make([]byte, 32), resetValue(tpmwire.SHA256, 16))
}

// R2: the startup locality counts only as a no-action record in PCR 0, before
// its first measurement, once, and with a value that exists.
func TestR2StartupLocality(t *testing.T) {
	locality := func(v byte, rest ...byte) record {
		return record{pcr: 0, typ: tcglog.NoAction, data: append(append([]byte("StartupLocality\x00"), v), rest...)}
	}
	front := func(p *platform, r ...record) *platform {
		p.events = append(r, p.events...)
		return p
	}
	t.Run("honest locality 3", func(t *testing.T) {
		a := front(newPlatform(t), locality(3)).observe().Appraise(Params{})
		require.NotContains(t, codes(a), finding.LogDoesNotReplay)
		require.NotContains(t, codes(a), finding.EventNotCredible)
	})
	t.Run("a record longer than it must be", func(t *testing.T) {
		a := front(newPlatform(t), locality(3, 0, 0, 0)).observe().Appraise(Params{})
		require.NotContains(t, codes(a), finding.EventNotCredible)
	})
	for name, edit := range map[string]func(*platform){
		"unknown value":     func(p *platform) { front(p, locality(2)) },
		"two records":       func(p *platform) { front(p, locality(0), locality(0)) },
		"after an extend":   func(p *platform) { p.events = append(p.events, locality(0)) },
		"bytes behind it":   func(p *platform) { front(p, locality(0, 0, 9)) },
		"in another record": func(p *platform) { front(p, record{pcr: 0, typ: tcglog.NoAction, data: []byte("StartupLocality\x00")}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t).boot()
			edit(p)
			a := p.observe().Appraise(golden(t))
			require.Equal(t, finding.High, one(t, a, finding.EventNotCredible, "pcr:0/StartupLocality").Severity)
		})
	}
	t.Run("not logged", func(t *testing.T) {
		p := front(newPlatform(t), locality(3)).boot()
		p.events = p.events[1:]
		a := p.observe().Appraise(golden(t))
		require.Contains(t, one(t, a, finding.KnownQuirk, "pcr:0").Got, "startup locality 3")
		require.True(t, a.LogMatches)
	})
}

// R3: an active bank that the firmware never extended can be filled by anyone
// (CVE-2021-42299).
func TestR3CarteBlancheBank(t *testing.T) {
	p := newPlatform(t).boot()
	p.regs[tpmwire.SHA384] = map[int][]byte{}
	for n := range 24 {
		p.regs[tpmwire.SHA384][n] = resetValue(tpmwire.SHA384, n)
	}
	p.quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters})
	a := p.observe().Appraise(golden(t))
	f := one(t, a, finding.BankInconsistent, "bank:sha384")
	require.Equal(t, finding.Critical, f.Severity)
	require.Equal(t, causeCarteBlanche, f.Got)
}

func TestR3CarteBlancheInTheQuotedBank(t *testing.T) {
	p := newPlatform(t).boot()
	for n := range 8 {
		p.regs[tpmwire.SHA256][n] = resetValue(tpmwire.SHA256, n)
	}
	a := p.observe().Appraise(golden(t))
	require.Equal(t, finding.Critical, one(t, a, finding.BankInconsistent, "bank:sha256").Severity)
	require.False(t, a.LogMatches)
}

// R3: Windows caps banks that it does not use. That explains them only where a
// stronger bank explains everything by itself.
func TestR3WindowsCapOfAnUnusedBank(t *testing.T) {
	capped := func(bank tpmwire.Algorithm) *Appraisal {
		p := newPlatform(t)
		p.banks = []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256}
		p.boot()
		for n := range 8 {
			p.extend(bank, n, make([]byte, bank.Size()))
		}
		return p.quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters}).observe().Appraise(golden(t))
	}
	a := capped(tpmwire.SHA1)
	require.Equal(t, causeCap, one(t, a, finding.KnownQuirk, "bank:sha1").Got)
	require.Empty(t, above(a, finding.Low))
	a = capped(tpmwire.SHA256)
	require.Equal(t, finding.Critical, one(t, a, finding.LogDoesNotReplay, "pcr:0").Severity)
}

// R3: the strongest quoted bank counts, another active one is mentioned, and
// SHA-1 is never taken silently.
func TestR3BankChoice(t *testing.T) {
	two := func() *platform {
		p := newPlatform(t)
		p.banks = []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256}
		return p.boot()
	}
	ref := two().observe().DraftReferences()
	a := two().quote("a", testNonce, selection{tpmwire.SHA1, allRegisters}, selection{tpmwire.SHA256, allRegisters}).observe().Appraise(Params{References: ref})
	require.Equal(t, "sha256", a.Bank)
	require.NotContains(t, codes(a), finding.BankInconsistent)
	a = two().quote("a", testNonce, selection{tpmwire.SHA256, allRegisters}).observe().Appraise(Params{References: ref})
	require.Equal(t, finding.Low, one(t, a, finding.BankInconsistent, "bank:sha1").Severity)
	a = two().quote("a", testNonce, selection{tpmwire.SHA1, allRegisters}).observe().Appraise(Params{References: ref})
	require.Equal(t, "sha1", a.Bank)
	require.Equal(t, finding.Medium, one(t, a, finding.BankInconsistent, "bank:sha1").Severity)
}

// R3: two banks that tell different stories.
func TestR3BanksThatDisagree(t *testing.T) {
	p := newPlatform(t)
	p.banks = []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256}
	p.boot()
	p.extend(tpmwire.SHA1, 2, make([]byte, 20)[:19:19])
	a := p.quote("a", testNonce, selection{tpmwire.SHA256, allRegisters}).observe().Appraise(golden(t))
	f := one(t, a, finding.BankInconsistent, "bank:sha1")
	require.Equal(t, finding.High, f.Severity)
	require.Equal(t, "PCR 2", f.Got)
}

// R4: a quote over nothing, or over less than the firmware's registers, proves
// nothing (CVE-2022-0317).
func TestR4SelectionMustCoverTheFirmware(t *testing.T) {
	a := newPlatform(t).boot().quote("sha256", testNonce).observe().Appraise(golden(t))
	require.Equal(t, finding.Critical, one(t, a, finding.QuoteNonce, "quote:sha256").Severity)
	require.False(t, a.Quoted)
	a = newPlatform(t).boot().quote("sha256", testNonce, selection{tpmwire.SHA256, []int{23}}).observe().Appraise(golden(t))
	require.Contains(t, one(t, a, finding.QuoteNonce, "quote:selection").Want, "PCR 0, 1, 2")
	require.False(t, a.Quoted)
	a = newPlatform(t).boot().quote("sha256", testNonce, selection{tpmwire.SHA256, []int{0, 1, 2, 3, 4, 5, 6, 7}}).observe().Appraise(golden(t))
	require.Contains(t, one(t, a, finding.QuoteNonce, "quote:selection").Want, "PCR 8, 9", "every referenced register too")
}

// R4: several banks in one quote, hashed in the order of the selections.
func TestR4SelectionOrderCounts(t *testing.T) {
	for _, order := range [][]tpmwire.Algorithm{{tpmwire.SHA1, tpmwire.SHA384}, {tpmwire.SHA384, tpmwire.SHA1}} {
		p := newPlatform(t)
		p.banks = order
		a := p.boot().quote("x", testNonce, selection{order[0], allRegisters}, selection{order[1], allRegisters}).observe().Appraise(Params{Nonce: testNonce, NonceGiven: true})
		require.True(t, a.Quoted, "%v", order)
		require.Equal(t, "sha384", a.Bank)
	}
}

// R4: what the key must be, and that a signature counts under no other.
func TestR4KeyAttributes(t *testing.T) {
	good := newPlatform(t).attrs
	for name, attrs := range map[string]tpmwire.Attributes{
		"not fixed to the TPM": good &^ tpmwire.FixedTPM, "not fixed to its parent": good &^ tpmwire.FixedParent,
		"not restricted": good &^ tpmwire.Restricted, "imported": good &^ tpmwire.SensitiveDataOrigin,
		"no signing key": good &^ tpmwire.Sign, "decrypts": good | tpmwire.Decrypt,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t)
			p.attrs = attrs
			a := p.observe().Appraise(golden(t))
			require.Equal(t, finding.Critical, one(t, a, finding.KeyNotResident, "tpm:ak").Severity)
			require.False(t, a.Quoted || a.Fresh || a.KeyBound)
		})
	}
}

func TestR4SignatureMustHold(t *testing.T) {
	p := newPlatform(t).boot().quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters})
	p.files["tpm/quote-sha256.sig"][20] ^= 1
	a := p.observe().Appraise(golden(t))
	require.Equal(t, finding.Critical, one(t, a, finding.QuoteSignature, "quote:sha256").Severity)
	require.False(t, a.Quoted)
}

func TestR4WithoutAKeyNothingIsQuoted(t *testing.T) {
	p := newPlatform(t).boot()
	p.files[akPath] = nil
	a := p.observe().Appraise(golden(t))
	require.False(t, a.Quoted)
	require.Empty(t, above(a, finding.Low), "an unchecked signature is no contradiction")
	require.Contains(t, a.NotChecked, NotChecked{"signature of quote:all", "no public part of the attestation key in evidence (tpm/ak.pub)"})
}

func TestR4NonceMustBeTheVerifiers(t *testing.T) {
	p := golden(t)
	p.Nonce = []byte("another nonce")
	a := newPlatform(t).observe().Appraise(p)
	require.Equal(t, finding.Critical, one(t, a, finding.QuoteNonce, "quote:all").Severity)
	require.False(t, a.Fresh)
	p.NonceGiven = false
	a = newPlatform(t).observe().Appraise(p)
	require.NotContains(t, codes(a), finding.QuoteNonce)
	require.False(t, a.Fresh, "nobody asked, so nothing is fresh")
}

// A sealed bundle: the quote must be over nonce and inventory.
func TestSealedQuoteBindsNonceAndInventory(t *testing.T) {
	digest := sha256.Sum256([]byte("inventory"))
	index := func(nonce []byte) []byte {
		b, err := json.Marshal(map[string]any{"format": evidence.Format, "collectedAt": "2026-01-01T00:00:00Z", "nonce": hexOf(nonce), "artifacts": []string{}})
		require.NoError(t, err)
		return b
	}
	bundle := func(stated []byte, extra [32]byte) *Observation {
		p := newPlatform(t).boot().quote("sha256", extra[:], selection{tpmwire.SHA256, allRegisters})
		p.files[evidence.IndexName] = index(stated)
		return p.observe()
	}
	params := golden(t)
	params.Sealed, params.SealDigest = true, digest
	other, asked := []byte("an older request"), testNonce

	a := bundle(asked, evidence.QualifyingData(asked, digest)).Appraise(params)
	require.Empty(t, above(a, finding.Low))
	require.True(t, a.Sealed && a.Fresh)

	a = bundle(other, evidence.QualifyingData(other, digest)).Appraise(params)
	one(t, a, finding.EvidenceReplayed, "quote:sha256")
	one(t, a, finding.QuoteNonce, "quote:sha256")
	require.NotContains(t, codes(a), finding.EvidenceSpliced, "the inventory is the signed one")
	require.False(t, a.Fresh)

	a = bundle(asked, evidence.QualifyingData(asked, sha256.Sum256([]byte("other inventory")))).Appraise(params)
	one(t, a, finding.EvidenceSpliced, "quote:sha256")
	require.NotContains(t, codes(a), finding.EvidenceReplayed)
	require.False(t, a.Sealed || a.Fresh)

	var bare [32]byte
	copy(bare[:], asked)
	params.Nonce = bare[:]
	a = bundle(bare[:], bare).Appraise(params)
	one(t, a, finding.EvidenceSpliced, "quote:sha256")
	require.True(t, a.Fresh, "the quote is fresh, but covers no inventory")
	require.False(t, a.Sealed)

	params = golden(t)
	params.Sealed, params.SealDigest, params.NonceGiven, params.Nonce = true, digest, false, nil
	a = bundle(other, evidence.QualifyingData(other, digest)).Appraise(params)
	require.True(t, a.Sealed)
	require.False(t, a.Fresh)
	require.Empty(t, above(a, finding.Low))
}

// R5: a TPM that was restarted during the scan, or alone.
func TestR5ResetCountsAndAge(t *testing.T) {
	p := newPlatform(t).boot().quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters})
	p.clock.ResetCount++
	a := p.signTime(time.Hour, "60.00 10.00").observe().Appraise(golden(t))
	require.Equal(t, finding.Critical, one(t, a, finding.TPMClock, "time").Severity)

	a = newPlatform(t).boot().signTime(90*time.Second, "60.00 10.00").observe().Appraise(golden(t))
	require.NotContains(t, codes(a), finding.TPMClock)

	a = newPlatform(t).boot().signTime(6*time.Second, "20.00 10.00").observe().Appraise(golden(t))
	f := one(t, a, finding.TPMClock, "time")
	require.Contains(t, f.Why, "restarted alone")

	p = newPlatform(t).boot().signTime(time.Hour, "60.00 10.00")
	p.files["tpm/time.sig"][15] ^= 1
	a = p.observe().Appraise(golden(t))
	one(t, a, finding.QuoteSignature, "time")
}

// R5: the same log with another register value is a measurement at run time.
func TestR5RuntimeExtend(t *testing.T) {
	p := newPlatform(t).boot()
	p.extend(tpmwire.SHA256, 0, tpmwire.SHA256.Sum(nil, []byte("added later")))
	a := p.observe().Appraise(golden(t))
	require.Contains(t, one(t, a, finding.LogDoesNotReplay, "pcr:0").Why, causeRuntime)
	one(t, a, finding.PCRDiffers, "pcr:0")
}

// R6: a workaround is named and explains its own register only.
func TestR6MissingExitBootServices(t *testing.T) {
	p := newPlatform(t).boot()
	p.remove(5, tcglog.EFIAction, 0)
	p.remove(5, tcglog.EFIAction, 0)
	a := p.observe().Appraise(golden(t))
	require.Equal(t, causeNoEBS, one(t, a, finding.KnownQuirk, "pcr:5").Got)
	require.True(t, a.LogMatches)

	p = newPlatform(t).boot()
	for _, s := range []string{"Exit Boot Services Invocation", "Exit Boot Services Returned with Success"} {
		p.extend(tpmwire.SHA256, 6, tpmwire.SHA256.Sum(nil, []byte(s)))
	}
	one(t, p.observe().Appraise(golden(t)), finding.LogDoesNotReplay, "pcr:6")
}

func TestR6OneEventThatWasNotExtended(t *testing.T) {
	p := newPlatform(t)
	p.find(2, tcglog.EFIBootServicesDriver, 0).silent = true
	a := p.observe().Appraise(golden(t))
	require.Contains(t, one(t, a, finding.LogDoesNotReplay, "pcr:2").Why, "event 1 of the register is in the log but was not extended")
}

// S1: retyping an event hides nothing: digests decide.
func TestS1RetypedEventIsStillMatched(t *testing.T) {
	p := newPlatform(t)
	p.addOver(0, tcglog.EFIFirmwareBlob, make([]byte, 16), []byte("implant"))
	p.boot()
	for i := range p.events {
		if string(p.events[i].over) == "implant" {
			p.events[i].typ, p.events[i].data = tcglog.Unused, nil
		}
	}
	a := p.observe().Appraise(golden(t))
	f := one(t, a, finding.UnexpectedEvent, "pcr:0/EV_UNUSED")
	require.Equal(t, finding.High, f.Severity)
}

// S1: a separator under another type moves the boundary of the firmware.
func TestS1LaunderedSeparator(t *testing.T) {
	for _, sep := range [][]byte{{0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}} {
		p := newPlatform(t)
		p.addOver(0, tcglog.IPL, []byte("harmless"), sep)
		a := p.observe().Appraise(golden(t))
		require.Equal(t, finding.Critical, one(t, a, finding.EventNotCredible, "pcr:0/harmless").Severity)
	}
}

// S2: one separator in each of PCR 0 to 7.
func TestS2Separators(t *testing.T) {
	p := newPlatform(t)
	p.remove(3, tcglog.Separator, 0)
	require.Equal(t, "0", one(t, p.observe().Appraise(golden(t)), finding.LogStructure, "pcr:3/separator").Got)
	p = newPlatform(t)
	p.add(6, tcglog.Separator, []byte{0, 0, 0, 0})
	require.Equal(t, "2", one(t, p.observe().Appraise(golden(t)), finding.LogStructure, "pcr:6/separator").Got)
	p = newPlatform(t)
	*p.find(6, tcglog.Separator, 0) = record{pcr: 6, typ: tcglog.Separator, data: []byte{1, 0, 0, 0}, over: []byte{1, 0, 0, 0}}
	require.Equal(t, finding.High, one(t, p.observe().Appraise(golden(t)), finding.LogStructure, "pcr:6/separator").Severity)
	p = newPlatform(t)
	p.addOver(0, tcglog.EFIFirmwareBlob, make([]byte, 16), []byte("late"))
	require.Contains(t, one(t, p.observe().Appraise(golden(t)), finding.LogStructure, "pcr:0/base-0x0-length-0x0").Why, "after the firmware declared")
}

// S3: a variable is its name and its GUID.
func TestS3SecureBootUnderAForeignGUID(t *testing.T) {
	p := newPlatform(t)
	r := p.find(7, tcglog.EFIVariableDriver, 0)
	r.data = variable([16]byte{}, "SecureBoot", []byte{1})
	r.over = r.data
	f := one(t, p.observe().Appraise(golden(t)), finding.SecureBootOff, "pcr:7/SecureBoot")
	require.Equal(t, finding.High, f.Severity)
}

func TestSecureBootStateAndKeys(t *testing.T) {
	p := newPlatform(t)
	r := p.find(7, tcglog.EFIVariableDriver, 0)
	r.data = variable(guidGlobal, "SecureBoot", []byte{0})
	r.over = r.data
	one(t, p.observe().Appraise(golden(t)), finding.SecureBootOff, "pcr:7/SecureBoot")

	p = newPlatform(t)
	r = p.find(7, tcglog.EFIVariableDriver, 2)
	r.data = variable(guidSecurity, "db", []byte("allowed and one more"))
	r.over = r.data
	f := one(t, p.observe().Appraise(golden(t)), finding.SecureBootKeysDiffer, "pcr:7/db")
	require.NotEmpty(t, f.Want)

	p = newPlatform(t)
	p.add(7, tcglog.EFIAction, []byte("DMA Protection Disabled"))
	one(t, p.observe().Appraise(golden(t)), finding.ProtectionWeakened, "pcr:7/DMA-Protection-Disabled")
}

// S4: the data of an event is believed only where its digest covers it.
func TestS4EditedData(t *testing.T) {
	for name, edit := range map[string]func(*platform) string{
		"boot variable": func(p *platform) string {
			r := p.find(1, tcglog.EFIVariableBoot, 0)
			r.data[len(r.data)-1] ^= 1
			return "pcr:1/BootOrder"
		},
		"secure boot": func(p *platform) string {
			r := p.find(7, tcglog.EFIVariableDriver, 1)
			r.data[len(r.data)-1] ^= 1
			return "pcr:7/PK"
		},
		"action": func(p *platform) string {
			p.find(4, tcglog.EFIAction, 0).data = []byte("nothing")
			return "pcr:4/nothing"
		},
		"separator": func(p *platform) string {
			p.find(3, tcglog.Separator, 0).data = []byte{9, 9, 9, 9}
			return "pcr:3/separator"
		},
		"kernel command": func(p *platform) string {
			p.find(8, tcglog.IPL, 0).data = []byte("grub_cmd: ls\x00")
			return "pcr:8/grub_cmd:-ls"
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t).boot()
			for i := range p.events {
				p.events[i].data = bytes.Clone(p.events[i].data)
			}
			subject := edit(p)
			a := p.observe().Appraise(golden(t))
			require.Equal(t, finding.Critical, one(t, a, finding.EventNotCredible, subject).Severity)
			require.NotContains(t, codes(a), finding.LogDoesNotReplay, "the digests are untouched")
		})
	}
}

// S4: firmware that always digests something else than its version is a quirk
// where the reference has the same digest, and reported where it has not.
func TestS4VersionQuirk(t *testing.T) {
	quirky := func() *platform {
		p := newPlatform(t)
		r := p.find(0, tcglog.SCRTMVersion, 0)
		r.over = []byte("something else")
		return p
	}
	p := golden(t)
	require.Equal(t, finding.Medium, one(t, quirky().observe().Appraise(p), finding.EventNotCredible, "pcr:0/v1").Severity)
	p.References = quirky().observe().DraftReferences()
	a := quirky().observe().Appraise(p)
	require.Empty(t, above(a, finding.Low))
	one(t, a, finding.KnownQuirk, "pcr:0/v1")
}

// S6: every golden event is consumed once: a second run of a known driver is
// not covered by the first.
func TestS6GoldenEventsAreConsumedOnce(t *testing.T) {
	p := newPlatform(t)
	p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte("network driver"))
	require.Contains(t, codes(p.observe().Appraise(golden(t))), finding.UnexpectedEvent)

	p = newPlatform(t)
	p.remove(2, tcglog.EFIBootServicesDriver, 0)
	a := p.observe().Appraise(golden(t))
	require.Contains(t, codes(a), finding.MissingEvent)
	require.NotContains(t, codes(a), finding.UnexpectedEvent)
}

func TestS6ADigestInAnotherRegisterDoesNotCount(t *testing.T) {
	p := newPlatform(t)
	p.find(2, tcglog.EFIBootServicesDriver, 0).pcr = 3
	a := p.observe().Appraise(golden(t))
	require.Contains(t, codes(a), finding.UnexpectedEvent)
	require.Contains(t, codes(a), finding.MissingEvent)
}

func TestS6Order(t *testing.T) {
	p := newPlatform(t)
	a, b := p.find(7, tcglog.EFIVariableDriver, 1), p.find(7, tcglog.EFIVariableDriver, 2)
	*a, *b = *b, *a
	got := p.observe().Appraise(golden(t))
	require.Contains(t, codes(got), finding.ReorderedEvent)
	require.NotContains(t, codes(got), finding.SecureBootKeysDiffer)
	any := golden(t)
	for i := range any.References {
		any.References[i].Order = "any"
	}
	require.NotContains(t, codes(p.observe().Appraise(any)), finding.ReorderedEvent)
}

// E27: a flood of events must not hide the line that matters.
func TestFloodOfEventsIsFolded(t *testing.T) {
	p := newPlatform(t)
	for i := range 300 {
		p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte{byte(i), byte(i >> 8)})
	}
	a := p.observe().Appraise(golden(t))
	n := 0
	for _, f := range a.Findings {
		if strings.HasPrefix(f.Subject, "pcr:2") {
			n++
		}
	}
	require.Equal(t, maxPerRegister, n)
	require.Equal(t, "269 more differences", one(t, a, finding.UnexpectedEvent, "pcr:2/more").Got)
}

func TestListingThatDisagreesWithTheQuote(t *testing.T) {
	p := newPlatform(t).boot()
	p.quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters})
	good := p.regs[tpmwire.SHA256][2]
	p.regs[tpmwire.SHA256][2] = bytes.Repeat([]byte{7}, 32)
	a := p.observe().Appraise(golden(t))
	f := one(t, a, finding.SourcesContradict, "pcr:2/listing-sha256")
	require.Equal(t, digestText(tpmwire.SHA256, good), f.Want)
	require.NotContains(t, codes(a), finding.LogDoesNotReplay, "the quote and the log agree")
	require.True(t, a.LogMatches)
}

func TestNothingReproducesTheQuote(t *testing.T) {
	p := newPlatform(t).boot()
	p.quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters})
	p.regs[tpmwire.SHA256][2] = bytes.Repeat([]byte{7}, 32)
	p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte("more"))
	a := p.observe().Appraise(golden(t))
	require.Equal(t, finding.Critical, one(t, a, finding.LogDoesNotReplay, "quote:sha256").Severity)
	require.False(t, a.Quoted)
}

func TestDigestsAloneGivePCRDiffers(t *testing.T) {
	p := golden(t)
	for i := range p.References {
		p.References[i].Events = nil
	}
	require.Empty(t, above(newPlatform(t).observe().Appraise(p), finding.Low))
	m := newPlatform(t)
	m.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte("more"))
	a := m.observe().Appraise(p)
	require.Equal(t, finding.Critical, one(t, a, finding.PCRDiffers, "pcr:2").Severity)
	require.NotContains(t, codes(a), finding.UnexpectedEvent)
}

// CH-007: a kernel that a second manifest covers is an expected change; one
// that none covers is not.
func TestSecondManifestCoversTheKernel(t *testing.T) {
	updated := func() *platform {
		p := newPlatform(t)
		p.find(4, tcglog.EFIBootServicesApp, 0).over = []byte("new loader")
		return p
	}
	p := golden(t)
	for i := range p.References {
		p.References[i].Origin = "vendor"
	}
	one(t, updated().observe().Appraise(p), finding.UnknownBootComponent, "pcr:4/Pci(0x3,0x0)")
	for _, r := range updated().observe().DraftReferences() {
		if r.PCR == 4 {
			r.Origin = "scanner"
			p.References = append(p.References, r)
		}
	}
	a := updated().observe().Appraise(p)
	require.Empty(t, above(a, finding.Low))
	require.Equal(t, "scanner", one(t, a, finding.ChangeOS, "pcr:4").CoveredBy)
}

func TestVolatileRegistersAndEvents(t *testing.T) {
	m := func() *Observation {
		p := newPlatform(t)
		p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte("more"))
		return p.observe()
	}
	p := golden(t)
	p.VolatilePCRs = append(p.VolatilePCRs, 2)
	require.Equal(t, finding.Low, one(t, m().Appraise(p), finding.UnexpectedEvent, "pcr:2/Pci(0x3,0x0)").Severity)
	p = golden(t)
	p.VolatileEvents = []string{"Pci*"}
	require.Equal(t, finding.Low, one(t, m().Appraise(p), finding.UnexpectedEvent, "pcr:2/Pci(0x3,0x0)").Severity)
}

func hexOf(b []byte) string { return lowerHex(b) }

// A machine whose registers are all at reset, with neither log nor quote: it
// has no working measured boot, and must never pass for one that has.
func TestMachineThatNeverMeasured(t *testing.T) {
	p := newPlatform(t).boot()
	for n := range 24 {
		p.regs[tpmwire.SHA256][n] = resetValue(tpmwire.SHA256, n)
	}
	a := Observe(bundleOf(t, map[string][]byte{pcrsPath: p.listing()})).Appraise(golden(t))
	require.Equal(t, finding.Critical, one(t, a, finding.BankInconsistent, "bank:sha256").Severity)
	require.False(t, a.Quoted || a.LogMatches || a.Fresh)
	require.Empty(t, a.Golden)
}

// Nothing in evidence: nothing contradicts, and nothing is proved.
func TestEmptyEvidenceProvesNothing(t *testing.T) {
	a := Observe(emptyBundle(t)).Appraise(golden(t))
	require.Empty(t, above(a, finding.Low))
	require.False(t, a.Quoted || a.LogMatches || a.Fresh || a.Sealed || a.KeyBound || a.Identified || a.EKTrusted)
	require.Zero(t, a.Coverage.Golden)
	require.NotZero(t, a.Coverage.Referenced)
	require.NotEmpty(t, a.NotChecked)
}

// An unlogged active bank without a quote is found even where it would be the
// strongest.
func TestBlankStrongerBankWithoutAQuote(t *testing.T) {
	p := newPlatform(t).boot()
	p.regs[tpmwire.SHA384] = map[int][]byte{}
	for n := range 24 {
		p.regs[tpmwire.SHA384][n] = resetValue(tpmwire.SHA384, n)
	}
	a := Observe(bundleOf(t, map[string][]byte{pcrsPath: p.listing(), logPath: p.log()})).Appraise(golden(t))
	require.Equal(t, "sha256", a.Bank, "the bank that the references speak about")
	require.Equal(t, finding.Critical, one(t, a, finding.BankInconsistent, "bank:sha384").Severity)
	require.NotContains(t, codes(a), finding.LogDoesNotReplay)
}

// E16: PCR 16 and 23 can be reset by software.
func TestReferenceToAResettableRegister(t *testing.T) {
	p := golden(t)
	p.References = append(p.References, Reference{PCR: 23, Digests: map[string][]string{"sha256": {hexOf(make([]byte, 32))}}})
	m := newPlatform(t).boot().quote("sha256", testNonce, selection{tpmwire.SHA256, append(allRegisters[:16:16], 23)})
	require.Equal(t, finding.Medium, one(t, m.observe().Appraise(p), finding.ResettablePCR, "pcr:23").Severity)
}
