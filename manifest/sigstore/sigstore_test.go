package sigstore

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

const (
	issuer  = "https://accounts.example.com"
	subject = "release@example.com"
)

// entity is what the virtual authority gives; it has no file form of its own.
func bundleOf(t testing.TB, v *ca.VirtualSigstore, e *ca.TestEntity, edit func(*protobundle.Bundle)) []byte {
	t.Helper()
	content, err := e.VerificationContent()
	require.NoError(t, err)
	b := &protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
				Certificates: []*protocommon.X509Certificate{{RawBytes: content.Certificate().Raw}},
			}},
			TimestampVerificationData: &protobundle.TimestampVerificationData{},
		},
	}
	entries, err := e.TlogEntries()
	require.NoError(t, err)
	for _, x := range entries {
		b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, entryOf(t, v, x))
	}
	stamps, err := e.Timestamps()
	require.NoError(t, err)
	for _, s := range stamps {
		b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps = append(b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps,
			&protocommon.RFC3161SignedTimestamp{SignedTimestamp: s})
	}
	signed, err := e.SignatureContent()
	require.NoError(t, err)
	if env := signed.EnvelopeContent(); env != nil {
		payload, err := env.RawEnvelope().DecodeB64Payload()
		require.NoError(t, err)
		b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: env.RawEnvelope().PayloadType, Signatures: []*protodsse.Signature{{Sig: signed.Signature()}},
		}}
	} else {
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: signed.MessageSignatureContent().Digest()},
			Signature:     signed.Signature(),
		}}
	}
	if edit != nil {
		edit(b)
	}
	raw, err := protojson.Marshal(b)
	require.NoError(t, err)
	return raw
}

// entryOf adds the kind and the promise, which the virtual log does not write
// into its entries.
func entryOf(t testing.TB, v *ca.VirtualSigstore, x *tlog.Entry) *protorekor.TransparencyLogEntry {
	t.Helper()
	e := x.TransparencyLogEntry()
	var body struct{ Kind, APIVersion string }
	require.NoError(t, json.Unmarshal(e.CanonicalizedBody, &body))
	e.KindVersion = &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion}
	set, err := v.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(e.CanonicalizedBody), IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId),
	})
	require.NoError(t, err)
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: set}
	return e
}

func rootOf(t testing.TB, v *ca.VirtualSigstore, certificateLogs bool) *Root {
	t.Helper()
	logs := map[string]*root.TransparencyLog{}
	if certificateLogs {
		logs = v.CTLogs()
	}
	entries := v.RekorLogs()
	for _, l := range []map[string]*root.TransparencyLog{logs, entries} {
		for id := range l { // the virtual log gives its id in hexadecimal, and files have the bytes
			raw, err := hex.DecodeString(id)
			require.NoError(t, err)
			l[id].ID = raw
		}
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, v.FulcioCertificateAuthorities(), logs, v.TimestampingAuthorities(), entries)
	require.NoError(t, err)
	raw, err := r.MarshalJSON()
	require.NoError(t, err)
	keep(t, "trusted_root.json", raw)
	out, err := ReadRoot(raw)
	require.NoError(t, err)
	return out
}

func draft(t testing.TB, now time.Time) []byte {
	t.Helper()
	b, err := manifest.Encode(&manifest.Manifest{
		ID: "example/r1", Version: 1, IssuedAt: now.Add(-time.Hour).UTC().Truncate(time.Second), NotAfter: now.AddDate(1, 0, 0).UTC().Truncate(time.Second),
		Environment: manifest.Environment{Manufacturer: "Example Systems", Model: "R1"},
	})
	require.NoError(t, err)
	return b
}

func grants(t testing.TB, text string) *manifest.Trust {
	t.Helper()
	trust, err := loadGrants(t, text)
	require.NoError(t, err)
	return trust
}

// loadGrants reads a trust.yaml with no root beside it.
func loadGrants(t testing.TB, text string) (*manifest.Trust, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trust.yaml"), []byte(text), 0o600))
	return manifest.LoadTrust([]string{dir})
}

func granted(who, by, rest string) string {
	return "grants:\n  - signer: {identity: {issuer: \"" + by + "\", subject: \"" + who + "\"}}\n    manufacturers: [Example Systems]\n" + rest
}

func open(t testing.TB, raw, file []byte, r *Root, trust *manifest.Trust, now time.Time) (*manifest.Trusted, manifest.Report) {
	t.Helper()
	require.True(t, IsBundle(raw))
	b, err := Read(raw)
	require.NoError(t, err)
	return Open(b, file, r, trust, now)
}

func TestBundles(t *testing.T) {
	now := time.Now()
	v, err := ca.NewVirtualSigstore()
	require.NoError(t, err)
	other, err := ca.NewVirtualSigstore()
	require.NoError(t, err)
	r, payload := rootOf(t, v, false), draft(t, now)
	e, err := v.Attest(subject, issuer, payload)
	require.NoError(t, err)
	raw := bundleOf(t, v, e, nil)
	trust := grants(t, granted(subject, issuer, ""))

	trusted, rep := open(t, raw, nil, r, trust, now.AddDate(0, 6, 0))
	require.NotNil(t, trusted, "%v", rep.Findings)
	require.Equal(t, []string{subject + " (" + issuer + ")"}, trusted.Signers())
	require.Equal(t, "example/r1", trusted.Manifest().ID)
	require.Contains(t, rep.NotChecked[0].What, "transparency")

	withLogs := rootOf(t, v, true)
	noEntry := bundleOf(t, v, e, func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil })
	tampered := bundleOf(t, v, e, func(b *protobundle.Bundle) {
		env := b.GetDsseEnvelope()
		env.Payload = bytes.Replace(env.Payload, []byte(`"version": 1`), []byte(`"version": 2`), 1)
	})
	future, err := v.Attest(subject, issuer, draft(t, now.AddDate(0, 3, 0)))
	require.NoError(t, err)
	slsa, err := v.Attest(subject, issuer, []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{"name":"x","digest":{"sha256":"`+strings.Repeat("ab", 32)+`"}}],"predicate":{}}`))
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		raw   []byte
		root  *Root
		trust *manifest.Trust
		code  finding.Code
		want  string
	}{
		"no root":                     {raw, nil, trust, finding.ManifestUntrustedSigner, "--sigstore-root"},
		"another root":                {raw, rootOf(t, other, false), trust, finding.ManifestBadSignature, "does not hold"},
		"tampered":                    {tampered, r, trust, finding.ManifestBadSignature, "does not hold"},
		"no entry in a log":           {noEntry, r, trust, finding.ManifestBadSignature, "log"},
		"no proof of the certificate": {raw, withLogs, trust, finding.ManifestBadSignature, "signed certificate timestamp"},
		"nobody granted":              {raw, r, nil, finding.ManifestUntrustedSigner, "no grant names the identity"},
		"another subject":             {raw, r, grants(t, granted("Release@example.com", issuer, "")), finding.ManifestUntrustedSigner, "no grant names"},
		"another issuer":              {raw, r, grants(t, granted(subject, "https://accounts.example.org", "")), finding.ManifestUntrustedSigner, "no grant names"},
		"another manufacturer":        {raw, r, grants(t, strings.Replace(granted(subject, issuer, ""), "Example Systems", "Other", 1)), finding.ManifestUntrustedSigner, "no grant lets it speak"},
		"two are needed":              {raw, r, grants(t, granted(subject, issuer, "    threshold: 2\n")), finding.ManifestThreshold, "fewer"},
		"changes only":                {raw, r, grants(t, granted(subject, issuer, "    deltaOnly: true\n")), finding.ManifestUntrustedSigner, "changes only"},
		"dated after the log":         {bundleOf(t, v, future, nil), r, trust, finding.ManifestTime, "dated after"},
		"another statement":           {bundleOf(t, v, slsa, nil), r, trust, finding.ManifestType, "another type"},
	} {
		t.Run(name, func(t *testing.T) {
			trusted, rep := open(t, tt.raw, nil, tt.root, tt.trust, now.AddDate(0, 6, 0))
			require.Nil(t, trusted)
			var whys []string
			for _, f := range rep.Findings {
				if f.Code == tt.code {
					whys = append(whys, f.Why)
				}
			}
			require.Contains(t, strings.Join(whys, "\n"), tt.want, "%v", rep.Findings)
		})
	}
	trusted, _ = open(t, raw, nil, r, trust, now.AddDate(2, 0, 0))
	require.Nil(t, trusted, "the manifest has expired")
}

// A bundle over a file needs the file, whole.
func TestBundleOverAFile(t *testing.T) {
	now := time.Now()
	v, err := ca.NewVirtualSigstore()
	require.NoError(t, err)
	r, file := rootOf(t, v, false), draft(t, now)
	e, err := v.Sign(subject, issuer, file)
	require.NoError(t, err)
	raw := bundleOf(t, v, e, nil)
	trust := grants(t, granted(subject, issuer, ""))
	trusted, rep := open(t, raw, file, r, trust, now.Add(time.Hour))
	require.NotNil(t, trusted, "%v", rep.Findings)
	for _, bad := range [][]byte{nil, append(bytes.Clone(file), ' '), []byte("{}")} {
		trusted, rep = open(t, raw, bad, r, trust, now.Add(time.Hour))
		require.Nil(t, trusted)
		require.Contains(t, rep.Findings[0].Why, "was not given")
	}
	a, err := v.Attest(subject, issuer, file)
	require.NoError(t, err)
	keep(t, "golden.json.sigstore.json", raw)
	keep(t, "statement.sigstore.json", bundleOf(t, v, a, nil))
	keep(t, "golden.json", file)
}

// keep records the files of cmd/assay/testdata/sigstore:
// ASSAY_KEEP_SIGSTORE=../../cmd/assay/testdata/sigstore go test ./manifest/sigstore -run OverAFile
func keep(t testing.TB, name string, b []byte) {
	t.Helper()
	if dir := os.Getenv("ASSAY_KEEP_SIGSTORE"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
}

func TestGrantsOfIdentities(t *testing.T) {
	good := granted(subject, issuer, "")
	grants(t, good)
	for name, text := range map[string]string{
		"no subject":      strings.Replace(good, subject, "", 1),
		"no issuer":       strings.Replace(good, issuer, "", 1),
		"no manufacturer": strings.Replace(good, "manufacturers: [Example Systems]", "classes: [memory]", 1),
		"and a root":      strings.Replace(good, "identity:", "root: "+strings.Repeat("ab", 32)+", identity:", 1),
		"a purpose":       good + "    extKeyUsage: [codeSigning]\n",
		"unknown key":     strings.Replace(good, "issuer:", "issuerRegexp:", 1),
	} {
		_, err := loadGrants(t, text)
		require.Error(t, err, name)
	}
}

func TestRootsThatAreRefused(t *testing.T) {
	for _, bad := range []string{"", "{}", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`, "[]"} {
		_, err := ReadRoot([]byte(bad))
		require.Error(t, err, bad)
	}
	require.False(t, IsBundle([]byte(`{"payload":""}`)))
}

func FuzzBundle(f *testing.F) {
	now := time.Now()
	v, err := ca.NewVirtualSigstore()
	require.NoError(f, err)
	r, payload := rootOf(f, v, false), draft(f, now)
	e, err := v.Attest(subject, issuer, payload)
	require.NoError(f, err)
	f.Add(bundleOf(f, v, e, nil))
	s, err := v.Sign(subject, issuer, payload)
	require.NoError(f, err)
	f.Add(bundleOf(f, v, s, nil))
	trust := grants(f, granted(subject, issuer, ""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := Read(raw)
		if err != nil {
			return
		}
		if trusted, _ := Open(b, payload, r, trust, now.Add(time.Hour)); trusted != nil {
			got, err := manifest.Encode(trusted.Manifest())
			require.NoError(t, err)
			require.Equal(t, string(payload), string(got))
		}
	})
}

func FuzzRoot(f *testing.F) {
	v, err := ca.NewVirtualSigstore()
	require.NoError(f, err)
	raw, err := json.Marshal(rootOf(f, v, false).material)
	require.NoError(f, err)
	f.Add(raw)
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ReadRoot(b) })
}
