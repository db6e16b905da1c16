package platformcert

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// Bouncy Castle is what the field's own tools read with. It needs a Java compiler
// and the library (Debian: openjdk-17-jdk-headless libbcpkix-java), which is too
// much to install for one test.
func TestBouncyCastleReadsWhatIsWritten(t *testing.T) {
	java, err := exec.LookPath("java")
	jars := []string{"/usr/share/java/bcprov.jar", "/usr/share/java/bcpkix.jar", "/usr/share/java/bcutil.jar"}
	for _, jar := range jars {
		if _, e := os.Stat(jar); e != nil {
			err = e
		}
	}
	if err != nil {
		t.Skip("needs openjdk-17-jdk-headless and libbcpkix-java: ", err)
	}
	dir, ek := t.TempDir(), endorsementKey(t, "TPM Maker", 0x77)
	for name, key := range signers(t) {
		by := newAuthority(t, "Maker Inc.", nil, nil, key)
		issuer := filepath.Join(dir, name+".issuer.der")
		require.NoError(t, os.WriteFile(issuer, by.cert.Raw, 0o600))
		for form, opt := range map[string]Options{
			"ac 1.1": {Profile: "1.1", EK: ek}, "ac 2.1": {Profile: "2.1", EK: ek}, "pkc": {Profile: "2.1", Form: PublicKeyForm, EK: ek, Key: ek.Key},
		} {
			c := make1(t, sample(), by, opt)
			file := filepath.Join(dir, name+".der")
			require.NoError(t, os.WriteFile(file, c.Raw, 0o600))
			out, err := exec.Command(java, "-cp", jars[0]+":"+jars[1]+":"+jars[2], "testdata/ReadCertificate.java", file, issuer, form).CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "valid true\n", "%s %s", name, form)
			require.Contains(t, string(out), fmt.Sprintf("serial %s\n", c.Serial))
			if form != "pkc" {
				require.Contains(t, string(out), fmt.Sprintf("holder %s\n", c.Holder.Serial))
				require.Contains(t, string(out), "attribute 2.23.133.5.1.7.")
				require.Contains(t, string(out), "same true\n")
			}
		}
	}
}
