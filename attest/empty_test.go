package attest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// A TPM that was reset and not filled again holds nothing in any bank: that is
// one statement about the TPM, not a firmware change in every register.
func TestR3EmptyTPMIsOneFinding(t *testing.T) {
	p := newPlatform(t)
	p.banks = []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256}
	p.boot()
	for _, bank := range p.banks {
		for n := range 24 {
			p.regs[bank][n] = resetValue(bank, n)
		}
	}
	p.quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters})
	a := p.observe().Appraise(golden(t))
	f := one(t, a, finding.BankInconsistent, "bank:sha256")
	require.Equal(t, finding.Critical, f.Severity)
	require.Contains(t, f.Why, "reset after the firmware had measured")
	require.Len(t, above(a, finding.Low), 1)
	require.False(t, a.LogMatches)
}

// R4: a TPM answers with an empty selection for a bank that is not active. That
// is no reason for alarm where another quote proves everything.
func TestR4EmptySelectionBesideAFullQuote(t *testing.T) {
	a := newPlatform(t).boot().quote("sha256", testNonce, selection{tpmwire.SHA256, allRegisters}).quote("sha384", testNonce).observe().Appraise(golden(t))
	require.Equal(t, finding.Low, one(t, a, finding.QuoteNonce, "quote:sha384").Severity)
	require.True(t, a.Quoted)
	require.Empty(t, above(a, finding.Low))
}
