package platformcert

import (
	"testing"

	"github.com/google/go-attestation/attributecert"
	"github.com/stretchr/testify/require"
)

// A reader that is not ours: go-attestation's, which knows profile 1.1 only. It
// drops classes and status, so that what it does say is compared.
func TestAnIndependentReaderAgrees(t *testing.T) {
	ek := endorsementKey(t, "TPM Maker", 0x77)
	for name, key := range signers(t) {
		by := newAuthority(t, "Maker Inc.", nil, nil, key)
		c := make1(t, sample(), by, Options{Profile: "1.1", EK: ek, Specs: []uint8{1, 3, 22, 0, 0, 0, 1}})
		theirs, err := attributecert.ParseAttributeCertificate(c.Raw)
		require.NoError(t, err, name)
		require.NoError(t, theirs.CheckSignatureFrom(by.cert), name)
		require.Equal(t, c.Serial, theirs.SerialNumber)
		require.Equal(t, c.Holder.Serial, theirs.Holder.Serial)
		require.Equal(t, c.Platform.Manufacturer, theirs.PlatformManufacturer)
		require.Equal(t, c.Platform.Model, theirs.PlatformModel)
		require.Equal(t, c.Platform.Serial, theirs.PlatformSerial)
		require.True(t, c.NotAfter.Equal(theirs.NotAfter))
		require.Len(t, theirs.Components, len(c.Configuration.Components))
		for i, o := range theirs.Components {
			p := c.Configuration.Components[i]
			require.Equal(t, []string{p.Maker, p.Model, p.Serial, p.Revision}, []string{o.Manufacturer, o.Model, o.Serial, o.Revision})
		}
		require.Len(t, theirs.Properties, len(c.Configuration.Properties))
	}
}

// The same reader and the certificates of the field: where both read one, they
// say the same.
func TestAnIndependentReaderAgreesAboutRealCertificates(t *testing.T) {
	both, only := 0, 0
	for name, c := range attributeCertificates(t) {
		theirs, err := attributecert.ParseAttributeCertificate(c.Raw)
		if err != nil {
			only++
			continue
		}
		both++
		require.Equal(t, c.Serial, theirs.SerialNumber, name)
		require.Equal(t, c.Holder.Serial, theirs.Holder.Serial, name)
		if theirs.PlatformManufacturer != "" {
			require.Equal(t, theirs.PlatformManufacturer, c.Platform.Manufacturer, name)
			require.Equal(t, theirs.PlatformModel, c.Platform.Model, name)
			require.Equal(t, theirs.PlatformVersion, c.Platform.Version, name)
		}
		n := 0
		if c.Configuration != nil {
			n = len(c.Configuration.Components)
		}
		require.Len(t, theirs.Components, n, name)
		for i, o := range theirs.Components {
			require.Equal(t, o.Serial, c.Configuration.Components[i].Serial, name)
			require.Equal(t, o.Model, c.Configuration.Components[i].Model, name)
		}
	}
	t.Logf("%d certificates read by both, %d only here", both, only)
	require.Positive(t, both)
}
