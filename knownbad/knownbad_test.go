package knownbad

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

var at = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func listOf(entries ...Entry) *List {
	return &List{Format: Format, ID: "test", Version: 1, IssuedAt: at, Entries: entries}
}

func TestListsThatAreRefused(t *testing.T) {
	good := Entry{Kind: SHA256, Value: strings.Repeat("ab", 32), Title: "x"}
	tests := map[string]func(*List){
		"another format":          func(l *List) { l.Format = "assay.golden/v1" },
		"no id":                   func(l *List) { l.ID = "" },
		"no version":              func(l *List) { l.Version = 0 },
		"no time":                 func(l *List) { l.IssuedAt = time.Time{} },
		"no title":                func(l *List) { l.Entries[0].Title = "" },
		"half a digest":           func(l *List) { l.Entries[0].Value = "abcd" },
		"unknown kind":            func(l *List) { l.Entries[0].Kind = "yara" },
		"unknown severity":        func(l *List) { l.Entries[0].Severity = "apocalyptic" },
		"subject that fits all":   func(l *List) { l.Entries[0] = Entry{Kind: Subject, Value: "a", Title: "x"} },
		"version without a maker": func(l *List) { l.Entries[0] = Entry{Kind: Version, Class: "firmware", Below: "1", Title: "x"} },
		"version of any value":    func(l *List) { l.Entries[0] = Entry{Kind: Version, Class: "firmware", Maker: "a", Title: "x"} },
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			l := listOf(good)
			edit(l)
			raw, err := json.Marshal(l)
			require.NoError(t, err)
			_, err = Read(raw)
			require.Error(t, err)
		})
	}
	raw, err := json.Marshal(listOf(good))
	require.NoError(t, err)
	_, err = Read(raw)
	require.NoError(t, err)
	_, err = Read([]byte(strings.Replace(string(raw), `"id"`, `"ID"`, 1)))
	require.Error(t, err)
}

func TestBuiltInListIsRead(t *testing.T) {
	l, err := BuiltIn()
	require.NoError(t, err)
	require.NotEmpty(t, l.Entries)
}

// database is a list of certificates as a Secure Boot variable holds it.
func database(t *testing.T, subject pkix.Name) (data []byte, sum string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject, NotBefore: at, NotAfter: at.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	require.NoError(t, err)
	b := []byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
	b = binary.LittleEndian.AppendUint32(b, uint32(28+16+len(der)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(16+len(der)))
	raw := sha256.Sum256(der)
	return slices.Concat(b, make([]byte, 16), der), hex.EncodeToString(raw[:])
}

// The platform key that was shipped by several vendors was a test key whose
// private half is public.
func TestTestKeysAreKnown(t *testing.T) {
	l, err := BuiltIn()
	require.NoError(t, err)
	set := NewSet(l)
	data, sum := database(t, pkix.Name{CommonName: "DO NOT TRUST - AMI Test PK"})
	fs := set.Keys("PK", data)
	require.Len(t, fs, 1)
	require.Equal(t, finding.KnownVulnerable, fs[0].Code)
	require.Equal(t, finding.Critical, fs[0].Severity)
	require.Equal(t, "efi:PK", fs[0].Subject)
	require.Contains(t, fs[0].Got, sum)

	data, sum = database(t, pkix.Name{CommonName: "An honest key"})
	require.Empty(t, set.Keys("PK", data))
	set = NewSet(l, listOf(Entry{Kind: Certificate, Value: sum, Title: "leaked"}))
	require.Len(t, set.Keys("PK", data), 1)
	require.Empty(t, set.Keys("PK", []byte("no list")))
}

func TestVersionsAreKnown(t *testing.T) {
	parts := []bom.Part{
		{Class: bom.Firmware, Subject: "bios", Identity: bom.Identity{Maker: "Acme, Inc.", Model: "X1", Firmware: "2.3"}},
		{Class: bom.BMC, Subject: "bmc", Identity: bom.Identity{Maker: "Acme", Firmware: "2.3"}},
	}
	tests := map[string]struct {
		entry Entry
		want  []string
	}{
		"older":         {Entry{Class: "firmware", Maker: "Acme, Inc.", Below: "2.10"}, []string{"bios"}},
		"this one":      {Entry{Class: "firmware", Maker: "acme, inc.", Equals: "2.3"}, []string{"bios"}},
		"not older":     {Entry{Class: "firmware", Maker: "Acme, Inc.", Below: "2.3"}, nil},
		"another maker": {Entry{Class: "firmware", Maker: "Other", Below: "9"}, nil},
		"another model": {Entry{Class: "firmware", Maker: "Acme, Inc.", Model: "X2", Below: "9"}, nil},
		"another class": {Entry{Class: "nvme", Maker: "Acme, Inc.", Below: "9"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.entry.Kind, tt.entry.Title, tt.entry.Advisory = Version, "CVE-1", "an advisory"
			var got []string
			for _, f := range NewSet(listOf(tt.entry)).Parts(parts) {
				require.Equal(t, finding.KnownVulnerable, f.Code)
				require.Contains(t, f.Why, "an advisory")
				got = append(got, f.Subject)
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestDigestsInImagesAreKnown(t *testing.T) {
	b := []byte("known to be bad")
	sum := sha256.Sum256(b)
	m := firmware.Parse("nic", b)
	set := NewSet(listOf(Entry{Kind: SHA256, Value: hex.EncodeToString(sum[:]), Title: "an implant", Severity: "critical"}))
	fs := set.Images([]*firmware.Image{m})
	require.NotEmpty(t, fs)
	require.Equal(t, "firmware:nic", fs[0].Subject)
	require.Empty(t, set.Images([]*firmware.Image{firmware.Parse("nic", []byte("good"))}))
	_, ok := set.Event("pcr:4/x", hex.EncodeToString(sum[:]))
	require.False(t, ok, "a digest of bytes is none of a PE image")
}

// The update of the UEFI Forum of 2016 lists 77 images.
func TestPublishedUpdate(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "corpus", "firmware", "nvram", "go-efilib-dbx-MS-2016-08-08.bin"))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/nvram")
	}
	es, err := FromDBX(b, "revoked", "")
	require.NoError(t, err)
	require.Len(t, es, 77)
	f, ok := NewSet(listOf(es...)).Event("pcr:4/shim", strings.ToUpper(es[5].Value))
	require.True(t, ok)
	require.Equal(t, "pcr:4/shim", f.Subject)
}

func FuzzRead(f *testing.F) {
	raw, err := json.Marshal(listOf(Entry{Kind: SHA256, Value: strings.Repeat("ab", 32), Title: "x"}, Entry{Kind: Version, Class: "firmware", Maker: "a", Below: "1", Title: "x"}))
	require.NoError(f, err)
	f.Add(raw)
	f.Add(builtIn)
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := Read(b); err == nil {
			NewSet(l)
		}
		IsList(b)
	})
}

func FuzzFromDBX(f *testing.F) {
	f.Add(make([]byte, 100))
	f.Add(append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 2, 0xf1, 0x0e}, make([]byte, 60)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, err := FromDBX(b, "x", "")
		require.Equal(t, err == nil, len(es) > 0)
		for _, e := range es {
			require.NoError(t, e.check())
		}
		NewSet().Keys("db", b)
	})
}
