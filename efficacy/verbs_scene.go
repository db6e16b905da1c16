package efficacy

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/knownbad"
	"github.com/assay-hw/assay/manifest"
)

// signerVerbs change who signs the manifest.
func signerVerbs() map[string]verb {
	return map[string]verb{
		"unsigned":     {"c", 0, false, ": the manifest has no envelope", func(s *scene, _ []string) error { s.sign.unsigned = true; return nil }},
		"signed-by":    {"c", 2, false, "ORGANISATION trusted|unknown|expired|encrypts|serves|weak: who signs instead of the maker; \"\" is the maker", (*scene).signedBy},
		"signed-too":   {"c", 2, false, "ORGANISATION trusted|unknown|expired: who signs beside the maker", (*scene).signedToo},
		"signed-twice": {"c", 0, false, ": the same key signs once more under another key id", func(s *scene, _ []string) error { s.sign.twice = true; return nil }},
		"key-id":       {"c", 1, false, "TEXT: the key id of the signature", func(s *scene, a []string) error { s.sign.keyID = a[0]; return nil }},
		"payload-type": {"c", 1, false, "TYPE: what the signature says that it is over", func(s *scene, a []string) error { s.sign.payloadType = a[0]; return nil }},
		"revoked":      {"c", 0, false, ": the maker's certificate is in a revocation list", (*scene).revoked},
		"trust":        {"c", 1, false, "JSON: threshold and grants of trust.yaml", (*scene).trustAs},
	}
}

func standingOf(name string) (standing, error) {
	for _, s := range []standing{trusted, unknown, expired, encrypts, serves, weak} {
		if s.name == name {
			return s, nil
		}
	}
	return standing{}, fmt.Errorf("unknown standing %s", name)
}

func (s *scene) signedBy(a []string) error {
	st, err := standingOf(a[1])
	s.sign.organization, s.sign.standing = a[0], &st
	return err
}

func (s *scene) signedToo(a []string) error {
	st, err := standingOf(a[1])
	s.sign.again = append(s.sign.again, cosigner{a[0], st})
	return err
}

func (s *scene) revoked(_ []string) error {
	p, err := s.bench.person(s.draft.Environment.Manufacturer, trusted)
	if err != nil {
		return err
	}
	s.rules = &trustRules{revoked: p}
	return nil
}

func (s *scene) trustAs(a []string) error {
	s.rules = &trustRules{}
	return json.Unmarshal([]byte(a[0]), s.rules)
}

// sceneVerbs change what the verifier knows and when it asks.
func sceneVerbs() map[string]verb {
	return map[string]verb{
		"seen":         {"c", 1, false, "VERSION: the verifier has seen this version of the manifest", (*scene).seen},
		"superseded":   {"c", 0, false, ": the verifier has seen a manifest that replaces this one", (*scene).superseded},
		"now":          {"c", 1, false, "DURATION: how much later the verifier looks", (*scene).nowLater},
		"collected-at": {"c", 1, false, "DURATION: how much later the collector says that it looked", (*scene).collectedLater},
		"inspected":    {"c", 1, false, "JSON: a signed record of an inspection of this unit, with these fields", (*scene).inspected},
		"known-bad":    {"c", 1, false, "JSON: a signed list of known-bad firmware", (*scene).knownBad},
		"ak-public":    {"c", 0, false, ": the attestation key lost the attribute that restricts it", (*scene).akPublic},
	}
}

func (s *scene) remember(change func(m *manifest.Manifest)) error {
	m, err := copyManifest(s.draft)
	if err != nil {
		return err
	}
	change(m)
	raw, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	p, err := s.bench.person(m.Environment.Manufacturer, trusted)
	if err != nil {
		return err
	}
	signed, err := manifest.Sign(raw, p.key, p.chain)
	if err != nil {
		return err
	}
	t, err := s.bench.trust(nil)
	if err != nil {
		return err
	}
	opened, rep := manifest.Open(signed, t, s.now)
	if opened == nil {
		return fmt.Errorf("the manifest that was seen before: %v", rep.Findings)
	}
	s.state, s.remembers = s.state.After(opened), true
	return nil
}

func (s *scene) seen(a []string) error {
	var version int64
	if _, err := fmt.Sscan(a[0], &version); err != nil {
		return err
	}
	return s.remember(func(m *manifest.Manifest) { m.Version = version })
}

func (s *scene) superseded(_ []string) error {
	return s.remember(func(m *manifest.Manifest) { m.Supersedes, m.ID = []string{m.ID}, "the next one" })
}

func (s *scene) nowLater(a []string) (err error) {
	s.now, err = later(s.now, a[0])
	return err
}

func (s *scene) collectedLater(a []string) (err error) {
	s.collectedAt, err = later(s.collectedAt, a[0])
	return err
}

func (s *scene) inspected(a []string) error {
	e := s.draft.Environment
	serial := e.Serial
	r := &inspection.Record{
		Format: inspection.Format, ID: fmt.Sprintf("INS-%d", len(s.records)+1), Technique: inspection.AOI, Unit: inspection.Unit{Kind: "machine", Manufacturer: e.Manufacturer, Model: e.Model, Revision: e.Revision, Serial: serial},
		Operator: inspection.Operator{Organization: "X-Ray House", Person: "Op 7"}, PerformedAt: labTime.Add(-24 * time.Hour), Reference: inspection.Reference{ID: "golden images of the board"},
		Coverage: inspection.Complete, Result: inspection.Conforms,
	}
	if err := json.Unmarshal([]byte(a[0]), r); err != nil {
		return err
	}
	s.records = append(s.records, r)
	return nil
}

func (s *scene) akPublic(_ []string) error {
	t, err := s.bench.tpm(s.vector.Machine, s.bench.maker)
	if err != nil {
		return err
	}
	b := t.Files()["tpm/ak.pub"]
	unrestricted(b)
	s.files["tpm/ak.pub"] = b
	return nil
}

func (s *scene) knownBad(a []string) error {
	maker, err := s.bench.person(s.draft.Environment.Manufacturer, trusted)
	if err != nil {
		return err
	}
	signed, err := knownbad.Sign([]byte(a[0]), maker.key, maker.chain)
	s.known = append(s.known, signed)
	return err
}
