package knownbad

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/ids"
)

// Set is what several lists know together.
type Set struct {
	sha256, images, certificates map[string]known
	subjects, versions           []known
}

type known struct {
	Entry
	list string
}

// NewSet gathers lists.
func NewSet(lists ...*List) *Set {
	s := &Set{sha256: map[string]known{}, images: map[string]known{}, certificates: map[string]known{}}
	for _, l := range lists {
		for _, e := range l.Entries {
			k := known{e, l.ID}
			switch e.Kind {
			case SHA256:
				s.sha256[e.Value] = k
			case Authenticode:
				s.images[e.Value] = k
			case Certificate:
				s.certificates[e.Value] = k
			case Subject:
				s.subjects = append(s.subjects, k)
			case Version:
				s.versions = append(s.versions, k)
			}
		}
	}
	return s
}

func (k known) finding(subject, got string, sources ...finding.Source) finding.Finding {
	f := finding.New(finding.KnownVulnerable, subject)
	f.Severity, _ = k.severity()
	f.Want, f.Got, f.Confidence, f.Sources = "nothing on a list of known-bad firmware", got, finding.Proven, sources
	f.Why = fmt.Sprintf("%s (list %s)", k.Title, k.list)
	if k.Advisory != "" {
		f.Why += ": " + k.Advisory
	}
	return f
}

// Images looks for known digests among the parts of an image. It opens the
// image only when there is a digest to look for.
func (s *Set) Images(images []*firmware.Image) []finding.Finding {
	var out []finding.Finding
	if len(s.sha256)+len(s.images) == 0 {
		return nil
	}
	for _, m := range images {
		basis := []finding.Basis{{Artifact: m.Artifact, SHA256: m.SHA256, Length: m.Size}}
		tell := func(k known, subject, got string) {
			f := k.finding(subject, got, finding.PartMemory)
			f.Basis = basis
			out = append(out, f)
		}
		if k, ok := s.sha256[m.SHA256]; ok {
			tell(k, "firmware:"+m.Name, "sha256:"+m.SHA256)
		}
		var walk func([]firmware.Leaf)
		walk = func(ls []firmware.Leaf) {
			for _, l := range ls {
				if k, ok := s.sha256[l.SHA256]; ok && l.SHA256 != "" {
					tell(k, "firmware:"+m.Name+"/"+l.Path, "sha256:"+l.SHA256)
				}
				if k, ok := s.images[l.Authenticode]; ok && l.Authenticode != "" {
					tell(k, "firmware:"+m.Name+"/"+l.Path, "authenticode:"+l.Authenticode)
				}
				walk(l.Inside)
			}
		}
		walk(m.Open())
	}
	return out
}

// Started reports whether the set names anything that can be started: only then is
// there a reason to look at events.
func (s *Set) Started() bool { return len(s.images) > 0 }

// Event looks at the SHA-256 digest of something that was started.
func (s *Set) Event(subject, digest string) (finding.Finding, bool) {
	k, ok := s.images[strings.ToLower(digest)]
	if !ok {
		return finding.Finding{}, false
	}
	return k.finding(subject, "authenticode:"+digest, finding.Cryptographic), true
}

// Keys looks at a database of Secure Boot keys: a variable's value.
func (s *Set) Keys(variable string, data []byte) []finding.Finding {
	sigs, _ := efi.ParseSignatures(data) // what is malformed is told where the variable is compared
	var out []finding.Finding
	for _, sig := range sigs {
		if sig.Type != certX509 {
			continue
		}
		raw := sha256.Sum256(sig.Data)
		sum := hex.EncodeToString(raw[:])
		if k, ok := s.certificates[sum]; ok {
			out = append(out, k.finding("efi:"+variable, "certificate sha256:"+sum, finding.FirmwareTold))
			continue
		}
		c, err := x509.ParseCertificate(sig.Data)
		if err != nil {
			continue
		}
		who := c.Subject.String() + " " + c.Issuer.String()
		for _, k := range s.subjects {
			if strings.Contains(strings.ToUpper(who), strings.ToUpper(k.Value)) {
				out = append(out, k.finding("efi:"+variable, fmt.Sprintf("a certificate of %.200q, sha256:%s", c.Subject.String(), sum), finding.FirmwareTold))
				break
			}
		}
	}
	return out
}

// Parts looks at the versions that parts report.
func (s *Set) Parts(parts []bom.Part) []finding.Finding {
	var out []finding.Finding
	for _, k := range s.versions {
		for _, p := range parts {
			v := p.Identity.Firmware
			if v == "" || string(p.Class) != k.Class || !fits(k.Maker, p.Identity.Maker) && !slices.Contains(p.Identity.MakerIDs, k.Maker) || k.Model != "" && !fits(k.Model, p.Identity.Model) {
				continue
			}
			if k.Equals != "" && v != k.Equals || k.Below != "" && !firmware.OlderThan(v, k.Below) {
				continue
			}
			f := k.finding(p.Subject, v, finding.FirmwareTold)
			f.Confidence, f.Location = finding.Strong, p.Location
			f.Want = "another version than " + k.Equals
			if k.Below != "" {
				f.Want = "at least " + k.Below
			}
			out = append(out, f)
		}
	}
	return out
}

// fits compares names as parts are compared.
func fits(want, got string) bool { return ids.Key(want) == ids.Key(got) }
