package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gowebpki/jcs"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/strictjson"
)

// parseIndex reads evidence.json strictly: the seal is computed over its
// canonical form, so two readers must never see two meanings.
func parseIndex(raw []byte, source string, limits Limits) (*Index, error) {
	var ix Index
	file := source + ": " + IndexName
	if err := strictjson.Decode(raw, &ix, strictjson.AllowUnknown); err != nil {
		return nil, &FormatError{File: file, Offset: strictjson.Offset(err), Msg: "index", Err: err}
	}
	if ix.Format != Format {
		return nil, &FormatError{File: file, Msg: fmt.Sprintf("format is %q, want %q", ix.Format, Format)}
	}
	if len(ix.Artifacts) > limits.Entries {
		return nil, &LimitError{File: file, Offset: -1, Limit: "artefacts", Max: int64(limits.Entries)}
	}
	prev := ""
	for _, a := range ix.Artifacts {
		switch a.Status {
		case Collected, Absent, Denied, Failed, TimedOut:
		default:
			return nil, &FormatError{File: file, Msg: fmt.Sprintf("artefact %q: unknown status %q", a.Path, a.Status)}
		}
		if !fs.ValidPath(a.Path) || path.Clean(a.Path) != a.Path || strings.ContainsAny(a.Path, "\\\x00\n\r") {
			return nil, &FormatError{File: file, Msg: fmt.Sprintf("artefact name %q is not a clean relative path", a.Path)}
		}
		if a.Path <= prev {
			return nil, &FormatError{File: file, Msg: fmt.Sprintf("artefact %q is out of order or repeated", a.Path)}
		}
		prev = a.Path
	}
	return &ix, nil
}

// Digest returns D of the seal: SHA-256 over the canonical index without its
// artefact list, a line feed, then one line per artefact in path order. The
// quote and the signed time are left out, since they are made afterwards.
func (b *Bundle) Digest() [sha256.Size]byte { return b.digest }

// seal computes D.
func (b *Bundle) seal() [sha256.Size]byte {
	lines := slices.Concat(b.head, []byte("\n"))
	for _, a := range b.artifacts {
		if outsideSeal(a.Path) {
			continue
		}
		lines = a.line(lines, a.SHA256)
	}
	return sha256.Sum256(lines)
}

// line adds what an artefact is, with a digest of what it holds.
func (a *Artifact) line(to []byte, sum string) []byte {
	to = append(append(append(append(to, a.Path...), 0), a.Status...), 0)
	if a.Status == Collected {
		to = append(to, sum...)
	}
	return append(to, '\n')
}

// outsideSeal matches "tpm/quote-*" and "tpm/time.*".
func outsideSeal(p string) bool {
	name, ok := strings.CutPrefix(p, "tpm/")
	return ok && !strings.Contains(name, "/") && (strings.HasPrefix(name, "quote-") || strings.HasPrefix(name, "time."))
}

// canonicalHead is the RFC 8785 form of the index without "artifacts". The index
// was read strictly before, so that it is one object, and well formed.
func canonicalHead(raw []byte) ([]byte, error) {
	head := []byte("{")
	for _, m := range members(raw) {
		var name string // it may be written with escapes
		if err := json.Unmarshal(m.key, &name); err != nil {
			return nil, fmt.Errorf("canonical index: %w", err)
		}
		if name == "artifacts" {
			continue
		}
		if len(head) > 1 {
			head = append(head, ',')
		}
		head = append(append(append(head, m.key...), ':'), m.value...)
	}
	c, err := jcs.Transform(append(head, '}'))
	if err != nil {
		return nil, fmt.Errorf("canonical index: %w", err)
	}
	return c, nil
}

// member is one of an object's, as written; the key has its quotes.
type member struct{ key, value []byte }

// members splits a well-formed object.
func members(object []byte) []member {
	var out []member
	depth, start, text := 0, 0, false
	m := member{}
	for i := 0; i < len(object); i++ {
		switch c := object[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth == 1 {
				start = i + 1
			}
		case c == ':' && depth == 1:
			m.key, start = bytes.TrimSpace(object[start:i]), i+1
		case c == ',' && depth == 1, (c == '}' || c == ']') && depth == 1:
			if m.value = bytes.TrimSpace(object[start:i]); m.key != nil {
				out = append(out, m)
			}
			m, start = member{}, i+1
			if c != ',' {
				return out
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return out
}

// QualifyingData is what a quote over this bundle must carry: the hash that
// binds the format, the verifier's nonce and the digest of the inventory.
func QualifyingData(nonce []byte, digest [sha256.Size]byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(Format))
	h.Write([]byte{0})
	h.Write(nonce)
	h.Write([]byte{0})
	h.Write(digest[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// Check holds the index against the files. Every difference means that the
// tree is not the one the collector wrote (EV-002); artefacts the collector
// could not read are listed by their status, not reported here. What a second
// reading gave differently is EV-007.
func (b *Bundle) Check() []finding.Finding { return slices.Clone(b.differences) }

// check is Check, once.
func (b *Bundle) check() []finding.Finding {
	if b.index == nil {
		return nil
	}
	var fs []finding.Finding
	report := func(path, want, got, why string) {
		f := finding.New(finding.EvidenceSpliced, "evidence:"+path)
		f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
		f.Basis = []finding.Basis{{Artifact: path, SHA256: b.SHA256(path)}}
		fs = append(fs, f)
	}
	listed := map[string]Artifact{}
	for _, a := range b.index.Artifacts {
		listed[a.Path] = a
		data, have := b.files[a.Path]
		sum := b.status[a.Path].SHA256 // of what is there, when it is
		switch {
		case a.Status == Collected && !have:
			report(a.Path, "sha256:"+a.SHA256, "missing", "the index lists this artefact as collected, but the bundle does not hold it")
		case a.Status != Collected && have:
			report(a.Path, string(a.Status), "sha256:"+sum, "the index says this artefact was not collected, but the bundle holds it")
		case have && !strings.EqualFold(a.SHA256, sum):
			report(a.Path, "sha256:"+a.SHA256, "sha256:"+sum, "the artefact is not the one the collector hashed")
		case have && a.Size != int64(len(data)):
			report(a.Path, fmt.Sprintf("%d bytes", a.Size), fmt.Sprintf("%d bytes", len(data)), "the artefact has another size than the index says")
		}
	}
	for _, a := range b.artifacts {
		if _, ok := listed[a.Path]; !ok && a.Path != IndexName {
			report(a.Path, "not listed", "sha256:"+a.SHA256, "the bundle holds an artefact that the collector did not list")
		}
	}
	return append(fs, b.changes()...)
}

// Nonce returns the nonce the collector was given, or nil.
func (b *Bundle) Nonce() ([]byte, error) {
	if b.index == nil || b.index.Nonce == "" {
		return nil, nil
	}
	n, err := hex.DecodeString(b.index.Nonce)
	if err != nil {
		return nil, &FormatError{File: IndexName, Msg: "nonce is not hexadecimal", Err: err}
	}
	return n, nil
}

// Sealed reports whether the bundle was written by a collector with an index.
// Only a quote that carries QualifyingData turns that claim into a proof.
func (b *Bundle) Sealed() bool { return b.index != nil }

// NotCollected lists what the collector could not read, in path order.
func (b *Bundle) NotCollected() []Artifact {
	var out []Artifact
	for i := range b.artifacts {
		if b.artifacts[i].Status != Collected {
			out = append(out, b.artifacts[i])
		}
	}
	return out
}
