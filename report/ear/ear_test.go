package ear_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	veraison "github.com/veraison/ear"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/ear"
)

func token(t testing.TB, r *assay.Result, key crypto.Signer, nonce []byte) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, ear.Write(&b, r, key, ear.Options{Nonce: nonce, Build: "v1.2.3"}))
	require.Equal(t, 1, strings.Count(b.String(), "\n"))
	return strings.TrimSuffix(b.String(), "\n")
}

func keys(t testing.TB) map[jose.SignatureAlgorithm]crypto.Signer {
	t.Helper()
	out := map[jose.SignatureAlgorithm]crypto.Signer{}
	for alg, c := range map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		out[alg] = k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	out[jose.EdDSA] = ed
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	out[jose.PS256] = r
	return out
}

// results are verdicts of the efficacy bench: attacks and harmless changes, and the
// machines before them, at every level of evidence.
func results(t testing.TB, every int) []*assay.Result {
	t.Helper()
	root := filepath.Join("..", "..")
	b, err := efficacy.NewBench(root)
	require.NoError(t, err)
	vectors, err := efficacy.Load(root)
	require.NoError(t, err)
	var out []*assay.Result
	for i, v := range vectors {
		if i%every != 0 {
			continue
		}
		for _, l := range efficacy.Levels() {
			for _, make := range []func(*efficacy.Vector, efficacy.Level) (*assay.Result, error){b.Result, b.Clean} {
				r, err := make(v, l)
				if errors.Is(err, efficacy.ErrNotHere) {
					continue
				}
				require.NoError(t, err, v.Name)
				out = append(out, r)
			}
		}
	}
	require.NotEmpty(t, out)
	return out
}

func claimsOf(t testing.TB, token string, public crypto.PublicKey, alg jose.SignatureAlgorithm) []byte {
	t.Helper()
	s, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
	require.NoError(t, err)
	b, err := s.Verify(public)
	require.NoError(t, err)
	return b
}

type read struct {
	Nonce   string `json:"eat_nonce"`
	Submods map[string]struct {
		Status string          `json:"ear.status"`
		Vector map[string]int8 `json:"ear.trustworthiness-vector"`
	}
	Extension struct {
		Verdict assay.Verdict
		Result  string `json:"result-sha256"`
	} `json:"https://github.com/assay-hw/assay/ear/v1"`
}

func reading(t testing.TB, token string, public crypto.PublicKey, alg jose.SignatureAlgorithm) read {
	t.Helper()
	var c read
	require.NoError(t, json.Unmarshal(claimsOf(t, token, public, alg), &c))
	return c
}

// Two implementations that know nothing of ours check the signature, and one of them
// reads the claims as a relying party does.
func TestOthersVerifyTheToken(t *testing.T) {
	r := affirmable()
	nonce := bytes.Repeat([]byte{7}, 32)
	for alg, key := range keys(t) {
		tok := token(t, r, key, nonce)
		c := reading(t, tok, key.Public(), alg)
		require.Equal(t, r.Verdict, c.Extension.Verdict)
		require.Equal(t, "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc", c.Nonce)

		var theirs veraison.AttestationResult
		a, ok := jwa.LookupSignatureAlgorithm(string(alg))
		require.True(t, ok)
		require.NoError(t, theirs.Verify([]byte(tok), a, key.Public()), alg)
		require.Equal(t, c.Nonce, *theirs.Nonce)
		require.Equal(t, r.At.Unix(), *theirs.IssuedAt)
		require.Equal(t, "assay v1.2.3", *theirs.VerifierID.Build)
		sub := theirs.Submods[ear.Submodule]
		require.Equal(t, c.Submods[ear.Submodule].Status, veraison.TrustTierToString[*sub.Status])
		require.EqualValues(t, c.Submods[ear.Submodule].Vector["executables"], sub.TrustVector.Executables)

		head, err := jose.ParseSignedCompact(tok, []jose.SignatureAlgorithm{alg})
		require.NoError(t, err)
		require.Equal(t, "eat+jwt", head.Signatures[0].Header.ExtraHeaders[jose.HeaderType])
		thumb, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
		require.NoError(t, err)
		require.Equal(t, base64.RawURLEncoding.EncodeToString(thumb), head.Signatures[0].Header.KeyID)

		forged := []byte(tok)
		at := bytes.IndexByte(forged, '.') + 20
		forged[at] ^= 1
		s, err := jose.ParseSignedCompact(string(forged), []jose.SignatureAlgorithm{alg})
		if err == nil {
			_, err = s.Verify(key.Public())
		}
		require.Error(t, err)
		require.Error(t, theirs.Verify(forged, a, key.Public()))
	}
}

// ECDSA and EdDSA give the same bytes for the same result; PSS has a salt.
func TestEqualResultsGiveEqualTokens(t *testing.T) {
	r := affirmable()
	for alg, key := range keys(t) {
		first, second := token(t, r, key, nil), token(t, r, key, nil)
		require.Equal(t, alg != jose.PS256, first == second, alg)
	}
}

func form(t testing.TB) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "ear.schema.json"))
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("ear", doc))
	schema, err := c.Compile("ear")
	require.NoError(t, err)
	return schema
}

// The tokens say what the verdicts say, and never more: what was not checked is not
// affirmed, and no status is better than the worst claim (draft-ietf-rats-ear, 3.1).
func TestNothingIsAffirmedThatWasNotChecked(t *testing.T) {
	key := keys(t)[jose.EdDSA]
	tiers := map[assay.Verdict]string{assay.Pass: "affirming", assay.Review: "warning", assay.Fail: "contraindicated", assay.Inconclusive: "none"}
	affirmed, schema := map[string]int{}, form(t)
	for _, r := range results(t, 60) {
		tok := token(t, r, key, nil)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(claimsOf(t, tok, key.Public(), jose.EdDSA)))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(v))
		c := reading(t, tok, key.Public(), jose.EdDSA)
		sub := c.Submods[ear.Submodule]
		require.Equal(t, tiers[r.Verdict], sub.Status)
		digest, err := report.Digest(r)
		require.NoError(t, err)
		require.Equal(t, digest, c.Extension.Result)
		for claim, v := range sub.Vector {
			switch {
			case v >= 96:
				require.Equal(t, assay.Fail, r.Verdict, claim)
			case v >= 32:
				require.NotEqual(t, assay.Pass, r.Verdict, claim)
			case v >= 2:
				affirmed[claim]++
				require.True(t, r.Assurance.Quoted, "%s rests on no quote", claim)
				for _, b := range r.Boot {
					require.False(t, claim != "instance-identity" && b.Referenced && b.Result != "explained", claim)
				}
				require.False(t, claim == "hardware" && (!r.Assurance.Sealed || r.Assurance.Collector != "attested"))
			}
		}
		against := map[finding.Claim][]string{finding.ClaimHardware: {"hardware"}, finding.ClaimFirmware: {"executables", "hardware"}, finding.ClaimTPM: {"instance-identity"}}
		for _, f := range r.Findings {
			if f.Severity < finding.High || f.Confidence < finding.Strong {
				continue
			}
			if f.Code == finding.WriteProtectionOpen {
				require.GreaterOrEqual(t, sub.Vector["configuration"], int8(96))
				continue
			}
			for _, claim := range against[f.Claim] {
				require.GreaterOrEqual(t, sub.Vector[claim], int8(96), "%s stands against %s", f.Code, claim)
			}
			if slices.Contains([]finding.Code{finding.QuoteNonce, finding.EvidenceReplayed}, f.Code) {
				require.Equal(t, int8(99), sub.Vector["hardware"])
			}
		}
	}
	for _, claim := range []string{"instance-identity", "executables", "configuration"} {
		require.Positive(t, affirmed[claim], "no machine of the bench has %s: the test says nothing", claim)
	}
	t.Log(affirmed)
}

// affirmable is a result that lets every claim but the configuration be affirmed.
func affirmable() *assay.Result {
	r := &assay.Result{
		Verdict: assay.Pass, At: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
		Manifests: []assay.ManifestUse{{Status: "trusted"}},
		Assurance: assay.Assurance{Level: "L3", Sealed: true, Quoted: true, KeyBound: true, Collector: "attested"},
		Required:  []assay.Required{{What: assay.RequireClasses, Proved: true}, {What: assay.RequireQuote, Proved: true}},
		Coverage:  []bom.Coverage{{Class: bom.PCI, Declared: 3, Matched: 3}},
	}
	for _, n := range []int{0, 2, 4} {
		r.Boot = append(r.Boot, assay.BootCoverage{PCR: n, Result: "explained", Referenced: true})
	}
	return r
}

// Everything that hardware can be affirmed for, and what takes it away.
func TestHardware(t *testing.T) {
	key := keys(t)[jose.EdDSA]
	hardware := func(change func(*assay.Result)) int8 {
		r := affirmable()
		change(r)
		return reading(t, token(t, r, key, nil), key.Public(), jose.EdDSA).Submods[ear.Submodule].Vector["hardware"]
	}
	require.EqualValues(t, 2, hardware(func(*assay.Result) {}))
	for name, change := range map[string]func(*assay.Result){
		"not sealed":          func(r *assay.Result) { r.Assurance.Sealed = false },
		"not quoted":          func(r *assay.Result) { r.Assurance.Quoted = false },
		"another key":         func(r *assay.Result) { r.Assurance.KeyBound = false },
		"unknown collector":   func(r *assay.Result) { r.Assurance.Collector = "unattested" },
		"a class not seen":    func(r *assay.Result) { r.Required[0].Proved = false },
		"nobody asked":        func(r *assay.Result) { r.Required = r.Required[1:] },
		"a part not seen":     func(r *assay.Result) { r.Coverage[0].Matched, r.Coverage[0].NotObservable = 2, 1 },
		"nothing compared":    func(r *assay.Result) { r.Coverage = nil },
		"for a person to see": func(r *assay.Result) { r.ToInspect = []bom.Unseen{{Subject: "u14"}} },
		"a line not shown":    func(r *assay.Result) { r.Verifiability.Unseen = 1 },
		"firmware not quoted": func(r *assay.Result) { r.Boot = r.Boot[1:] },
		"a PCR not explained": func(r *assay.Result) { r.Boot[2].Result = "unexplained" },
		"an index that is silent": func(r *assay.Result) {
			r.Findings = []finding.Finding{finding.New(finding.EvidenceIncomplete, "evidence")}
		},
		"one refused manifest": func(r *assay.Result) { r.Manifests = append(r.Manifests, assay.ManifestUse{Status: "revoked"}) },
	} {
		require.EqualValues(t, 0, hardware(change), name)
	}
	require.EqualValues(t, 97, hardware(func(r *assay.Result) {
		r.Verdict, r.Findings = assay.Fail, []finding.Finding{finding.New(finding.UnexpectedComponent, "pci:x")}
	}))
	require.EqualValues(t, 32, hardware(func(r *assay.Result) {
		f := finding.New(finding.UnexpectedComponent, "pci:x")
		f.Confidence = finding.Weak
		r.Verdict, r.Findings = assay.Review, []finding.Finding{f}
	}))
}

func TestWhatCannotSign(t *testing.T) {
	r := &assay.Result{Verdict: assay.Pass}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	require.ErrorContains(t, ear.Write(io.Discard, r, small, ear.Options{}), "1024 bits")
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	require.ErrorContains(t, ear.Write(io.Discard, r, p224, ear.Options{}), "P-256 or P-384")
	key := keys(t)[jose.ES256]
	for _, n := range []int{1, 7, 65} {
		require.ErrorContains(t, ear.Write(io.Discard, r, key, ear.Options{Nonce: make([]byte, n)}), "8 to 64")
	}
	require.ErrorContains(t, ear.Write(io.Discard, r, broken{key}, ear.Options{}), "not one of ECDSA")
}

// broken signs with something else than ECDSA, as a token that is set up wrongly.
type broken struct{ crypto.Signer }

func (broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, 64), nil
}
