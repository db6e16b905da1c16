package efficacy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/manifest"
)

// goldenVerbs change what the manifest says. PATH is the names of fields with
// slashes; of a list [X] is the element whose subject, id, name, kind or pcr is X,
// [*] is all of them.
func goldenVerbs() map[string]verb {
	return map[string]verb{
		"golden":        {"gc", 2, false, "PATH JSON: sets a field of the manifest", (*scene).goldenSet},
		"golden-drop":   {"gc", 1, false, "PATH: removes a field or an element", (*scene).goldenDrop},
		"golden-add":    {"gc", 2, false, "PATH JSON: adds an element to a list", (*scene).goldenAdd},
		"golden-text":   {"c", 2, false, "OLD NEW: in the bytes that are signed, once", (*scene).goldenText},
		"golden-again":  {"gc", 0, false, ": the machine in its present state is known good too, and a manifest covers both", (*scene).goldenAgain},
		"golden-only":   {"c", 0, false, ": the manifest is made anew from the machine in its present state", (*scene).goldenOnly},
		"other-golden":  {"c", 2, false, "ORGANISATION JSON: a second manifest, trusted, that differs from the first in these fields", (*scene).otherGolden},
		"golden-delta":  {"c", 2, true, "ORGANISATION JSON [BASE]: a change to the manifest; the digest of its base is right unless it is given", (*scene).goldenDelta},
		"golden-record": {"c", 3, true, "ORGANISATION TICKET SUBJECT...: a change to the manifest with the lines of the machine in its present state: of a part, pcr:N, firmware:NAME, or tpm", (*scene).goldenRecord},
		"envelope-flip": {"c", 1, false, "OFFSET: a bit of the signed statement after it was signed", (*scene).envelopeFlip},
		"envelope-text": {"c", 2, false, "OLD NEW: in the envelope, once", (*scene).envelopeText},
	}
}

// editTree walks to the fields that a path names. at is called with the holder,
// a map or a list, and the key or index.
func editTree(v any, path string, visit func(holder any, key string, index int) error) error {
	head, rest, more := strings.Cut(path, "/")
	if strings.HasPrefix(head, "[") {
		end := strings.Index(path, "]")
		if end < 0 {
			return fmt.Errorf("%s: no closing bracket", path)
		}
		head, rest = path[1:end], strings.TrimPrefix(path[end+1:], "/")
		more = rest != ""
		return editList(v, head, rest, more, visit)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: not an object", path)
	}
	if !more {
		return visit(m, head, 0)
	}
	if m[head] == nil {
		return fmt.Errorf("%s: no such field", head)
	}
	if !strings.HasPrefix(rest, "[") || strings.Contains(rest, "]/") {
		return editTree(m[head], rest, visit)
	}
	return editList(&listIn{m, head}, rest[1:len(rest)-1], "", false, visit)
}

// listIn is a list that sits in an object, so that an element can be taken out.
type listIn struct {
	holder map[string]any
	key    string
}

func editList(v any, name, rest string, more bool, visit func(any, string, int) error) error {
	in, _ := v.(*listIn)
	if in != nil {
		v = in.holder[in.key]
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("[%s]: not a list", name)
	}
	hit := false
	for i := len(list) - 1; i >= 0; i-- {
		if !named(list[i], name) {
			continue
		}
		hit = true
		var err error
		switch {
		case more:
			err = editTree(list[i], rest, visit)
		default:
			err = visit(in, "", i)
		}
		if err != nil {
			return err
		}
	}
	if !hit {
		return fmt.Errorf("no element [%s]", name)
	}
	return nil
}

func named(v any, name string) bool {
	m, ok := v.(map[string]any)
	if name == "*" || !ok {
		return name == "*" || fmt.Sprint(v) == name
	}
	for _, k := range []string{"subject", "id", "name", "kind", "pcr", "label"} {
		if x, have := m[k]; have && fmt.Sprint(x) == name {
			return true
		}
	}
	return false
}

// edit changes the draft as JSON.
func (s *scene) edit(path string, visit func(holder any, key string, index int) error) error {
	raw, err := json.Marshal(s.draft)
	if err != nil {
		return err
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return err
	}
	if err := editTree(tree, path, visit); err != nil {
		return err
	}
	if raw, err = json.Marshal(tree); err != nil {
		return err
	}
	m := &manifest.Manifest{}
	if err := json.Unmarshal(raw, m); err != nil {
		return err
	}
	s.draft = m
	return nil
}

func parseJSON(text string) (any, error) {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return v, d.Decode(&v)
}

func (s *scene) goldenSet(a []string) error {
	var v any
	d := json.NewDecoder(strings.NewReader(a[1]))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("value %s: %w", a[1], err)
	}
	return s.edit(a[0], func(holder any, key string, i int) error {
		switch h := holder.(type) {
		case map[string]any:
			h[key] = v
		case *listIn:
			h.holder[h.key].([]any)[i] = v
		}
		return nil
	})
}

func (s *scene) goldenDrop(a []string) error {
	return s.edit(a[0], func(holder any, key string, i int) error {
		switch h := holder.(type) {
		case map[string]any:
			if _, have := h[key]; !have {
				return fmt.Errorf("no field %s", key)
			}
			delete(h, key)
		case *listIn:
			h.holder[h.key] = slices.Delete(h.holder[h.key].([]any), i, i+1)
		}
		return nil
	})
}

func (s *scene) goldenAdd(a []string) error {
	v, err := parseJSON(a[1])
	if err != nil {
		return err
	}
	return s.edit(a[0], func(holder any, key string, _ int) error {
		h, ok := holder.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is no list of an object", key)
		}
		list, _ := h[key].([]any)
		h[key] = append(list, v)
		return nil
	})
}

func once(in []byte, old, by string) ([]byte, error) {
	if !bytes.Contains(in, []byte(old)) {
		return nil, fmt.Errorf("%q is not there", old)
	}
	return bytes.Replace(in, []byte(old), []byte(by), 1), nil
}

func (s *scene) goldenText(a []string) error {
	s.payload = append(s.payload, func(b []byte) ([]byte, error) { return once(b, a[0], a[1]) })
	return nil
}

// goldenAgain drafts from two states of the machine.
func (s *scene) goldenAgain(_ []string) error {
	ref, err := s.bench.reference(s.vector)
	if err != nil {
		return err
	}
	first := s.bench.newScene(s.vector, ref.files)
	a, err := first.seal(L6)
	if err != nil {
		return err
	}
	b, err := s.seal(L6)
	if err != nil {
		return err
	}
	s.draft, _, err = assay.Draft([]*evidence.Bundle{a, b}, assay.DraftOptions{Scope: s.vector.Scope, Now: labTime})
	return err
}

func (s *scene) goldenOnly(_ []string) error {
	b, err := s.seal(L6)
	if err != nil {
		return err
	}
	s.draft, err = draft(b, s.vector.Scope)
	return err
}

// merged is the draft with other fields.
func (s *scene) merged(text string) (*manifest.Manifest, error) {
	m, err := copyManifest(s.draft)
	if err != nil {
		return nil, err
	}
	return m, json.Unmarshal([]byte(text), m)
}

func (s *scene) otherGolden(a []string) error {
	m, err := s.merged(a[1])
	if err != nil {
		return err
	}
	return s.addGolden(a[0], m)
}

func (s *scene) addGolden(organization string, m *manifest.Manifest) error {
	raw, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	p, err := s.bench.person(organization, trusted)
	if err != nil {
		return err
	}
	signed, err := manifest.Sign(raw, p.key, p.chain)
	s.more = append(s.more, signed)
	return err
}

// goldenDelta signs a change to the scene's manifest.
func (s *scene) goldenDelta(a []string) error {
	m, err := s.delta(a[0], "T-1")
	if err != nil {
		return err
	}
	digest := m.Delta.BaseDigest
	if len(a) > 2 {
		digest = a[2]
	}
	if err := json.Unmarshal([]byte(a[1]), m); err != nil {
		return err
	}
	m.Delta.BaseDigest = digest
	return s.addGolden(a[0], m)
}

// delta is a change to the scene's manifest that changes nothing yet.
func (s *scene) delta(actor, ticket string) (*manifest.Manifest, error) {
	base, err := s.signed()
	if err != nil {
		return nil, err
	}
	digest, err := manifest.PayloadDigest(base)
	if err != nil {
		return nil, err
	}
	return &manifest.Manifest{
		ID: s.draft.ID, Version: s.draft.Version + 1, IssuedAt: labTime, Environment: s.draft.Environment,
		Delta: &manifest.Delta{BaseDigest: digest, Actor: actor, Ticket: ticket},
	}, nil
}

// goldenRecord signs a change that says what the machine has become, as a service
// that looks at it afterwards would.
func (s *scene) goldenRecord(a []string) error {
	m, err := s.delta(a[0], a[1])
	if err != nil {
		return err
	}
	b, err := s.seal(L6)
	if err != nil {
		return err
	}
	now, err := draft(b, s.vector.Scope)
	if err != nil {
		return err
	}
	for _, subject := range a[2:] {
		n := len(m.Components) + len(m.Boot) + len(m.Firmware) + len(m.Endorsements)
		if subject == "tpm" {
			m.Endorsements = now.Endorsements
		}
		for _, r := range now.Boot {
			if subject == fmt.Sprintf("pcr:%d", r.PCR) {
				m.Boot = append(m.Boot, r)
			}
		}
		for _, r := range now.Firmware {
			if subject == "firmware:"+r.Name {
				m.Firmware = append(m.Firmware, r)
			}
		}
		for _, r := range now.Components {
			if r.Subject != subject {
				continue
			}
			for _, old := range s.draft.Components {
				if old.Subject == subject {
					r.ID = old.ID
				}
			}
			m.Components, m.Known = append(m.Components, r), now.Known
		}
		if n == len(m.Components)+len(m.Boot)+len(m.Firmware)+len(m.Endorsements) {
			return fmt.Errorf("the machine has no %s", subject)
		}
	}
	return s.addGolden(a[0], m)
}

func (s *scene) envelopeFlip(a []string) error {
	return s.inEnvelope(func(payload []byte) error {
		n, err := at(payload, a[0], 1)
		if err == nil {
			payload[n] ^= 1
		}
		return err
	})
}

func (s *scene) inEnvelope(edit func(payload []byte) error) error {
	s.sign.envelope = append(s.sign.envelope, func(b []byte) ([]byte, error) {
		var e map[string]any
		if err := json.Unmarshal(b, &e); err != nil {
			return nil, err
		}
		payload, err := base64.StdEncoding.DecodeString(fmt.Sprint(e["payload"]))
		if err != nil {
			return nil, err
		}
		if err := edit(payload); err != nil {
			return nil, err
		}
		e["payload"] = base64.StdEncoding.EncodeToString(payload)
		return json.Marshal(e)
	})
	return nil
}

func (s *scene) envelopeText(a []string) error {
	s.sign.envelope = append(s.sign.envelope, func(b []byte) ([]byte, error) { return once(b, a[0], a[1]) })
	return nil
}

// later is a time for whoever sees the manifest late.
func later(t time.Time, d string) (time.Time, error) {
	x, err := time.ParseDuration(d)
	return t.Add(x), err
}
