package pkcs11

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseURI(t *testing.T) {
	u, err := ParseURI("PKCS11:token=My%20Token;manufacturer=Acme;model=M;serial=01;object=release;id=%01%ff;slot-id=3;type=private?module-path=/usr/lib/m.so&pin-source=file:/run/pin")
	require.NoError(t, err)
	require.Equal(t, &URI{
		Token: "My Token", Manufacturer: "Acme", Model: "M", Serial: "01", Object: "release", ID: []byte{1, 0xff}, Slot: 3,
		Module: "/usr/lib/m.so", PINSource: "file:/run/pin",
	}, u)
	u, err = ParseURI("pkcs11:id=%00")
	require.NoError(t, err)
	require.Equal(t, []byte{0}, u.ID, "an id may be any bytes")
	require.Equal(t, -1, u.Slot)
}

func TestURIsThatAreRefused(t *testing.T) {
	for uri, want := range map[string]string{
		"tpm:handle=1":                     "does not begin with",
		"pkcs11:":                          "names no key",
		"pkcs11:token=x":                   "names no key",
		"pkcs11:object=x;object=y":         "twice",
		"pkcs11:object":                    "no attribute",
		"pkcs11:object=%4":                 "ends within",
		"pkcs11:object=%zz":                "no byte",
		"pkcs11:object=a%00b":              "zero byte",
		"pkcs11:object=x;type=public":      "a private key is needed",
		"pkcs11:object=x;slot-id=-1":       "no number",
		"pkcs11:object=x;library-version=": "not supported",
		"pkcs11:object=x?pin-value=1234":   "everybody",
		"pkcs11:object=x?x=y":              "not supported",
	} {
		_, err := ParseURI(uri)
		require.ErrorContains(t, err, want, uri)
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=My%20Token;object=release;id=%01?module-path=/usr/lib/m.so&pin-source=file:/run/pin")
	f.Add("pkcs11:object=%")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err == nil && u.Object == "" && u.ID == nil {
			t.Fatal("selects any key")
		}
	})
}
