package revision

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
)

// component begins the names of lines that declare parts.
const component = "component:"

// line is what a manifest says under one name. Statements of one name, such as
// two images that are both allowed, are one line.
type line struct {
	json   string
	values []any
}

// linesOf gives every line a name that does not depend on its place.
func linesOf(m *manifest.Manifest) (map[string]line, error) {
	groups := map[string][]any{"environment": {m.Environment}}
	add := func(name string, v any) { groups[name] = append(groups[name], v) }
	for _, c := range m.Components {
		add(component+c.ID, c)
	}
	for _, r := range m.Boot {
		add("pcr:"+strconv.Itoa(r.PCR), r)
	}
	for _, r := range m.Firmware {
		add("firmware:"+r.Name, r)
	}
	for _, r := range m.SPDM {
		add("spdm:"+r.ID, r)
	}
	for _, e := range m.Endorsements {
		add("endorsement:"+e.Kind, e)
	}
	for _, k := range m.Known {
		add("known:"+string(k.Code)+":"+k.Subject, k)
	}
	for _, a := range m.Authority {
		add("authority:"+a.Signer, a)
	}
	for c, v := range m.Classes {
		add("class:"+string(c), v)
	}
	if m.Scanner != nil {
		add("scanner", *m.Scanner)
	}
	if !m.NotAfter.IsZero() {
		add("notAfter", m.NotAfter.UTC())
	}
	out := make(map[string]line, len(groups))
	for name, vs := range groups {
		text, err := encode(vs)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %s: %w", m.ID, name, err)
		}
		out[name] = line{text, vs}
	}
	return out, nil
}

// encode writes one value as itself and several as a sorted list: their order
// in the manifest means nothing.
func encode(vs []any) (string, error) {
	texts := make([]string, len(vs))
	for i, v := range vs {
		b, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		texts[i] = string(b)
	}
	if len(texts) == 1 {
		return texts[0], nil
	}
	slices.Sort(texts)
	return "[" + strings.Join(texts, ",") + "]", nil
}

// added and removed say what a line that came or went does to the rules: what is
// not declared is not checked, and what is accepted or permitted widens them.
func added(l line) []Kind {
	switch l.values[0].(type) {
	case manifest.Known, manifest.Authority:
		return []Kind{Added, Loosened}
	case attest.Reference, firmware.Reference, spdm.Reference, attest.Endorsement, bom.Closure:
		return []Kind{Added, Tightened}
	}
	return []Kind{Added}
}

func removed(l line) []Kind {
	switch l.values[0].(type) {
	case manifest.Known, manifest.Authority:
		return []Kind{Removed, Tightened}
	case attest.Reference, firmware.Reference, spdm.Reference, attest.Endorsement, bom.Closure:
		return []Kind{Removed, Loosened}
	case bom.Reference:
		return []Kind{Removed}
	}
	return []Kind{Removed, Loosened} // a date of expiry, a scanner
}

// maxFields bounds the values that one change lists.
const maxFields = 200

// fields lists the values that differ between two JSON texts.
func fields(old, fresh string) []Field {
	a, b := flat(old), flat(fresh)
	names := maps.Clone(a)
	maps.Copy(names, b)
	out := []Field{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if a[name] != b[name] {
			out = append(out, Field{name, a[name], b[name]})
		}
	}
	return out
}

func flat(text string) map[string]string {
	out := map[string]string{}
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) == nil {
		walk("", v, out)
	}
	return out
}

// walk names every value by its keys. A list of texts is one value; the entries
// of other lists are named by what tells them apart, or else counted.
func walk(at string, v any, out map[string]string) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			walk(strings.TrimPrefix(at+"."+k, "."), e, out)
		}
	case []any:
		if texts, ok := allText(x); ok {
			out[at] = strings.Join(texts, ", ")
			return
		}
		seen := map[string]int{}
		for _, e := range x {
			n := nameOf(e)
			seen[n]++
			if seen[n] > 1 || n == "" {
				n += "#" + strconv.Itoa(seen[n])
			}
			walk(at+"["+n+"]", e, out)
		}
	default:
		out[at] = fmt.Sprint(x)
	}
}

func allText(list []any) ([]string, bool) {
	out := make([]string, len(list))
	for i, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, false
		}
		out[i] = s
	}
	return out, true
}

// nameOf gives an entry of a list the name that people know it by.
func nameOf(e any) string {
	m, ok := e.(map[string]any)
	if !ok {
		return ""
	}
	var parts []string
	for _, k := range []string{"path", "version", "label", "index", "name", "type", "partNumber", "model", "code"} {
		switch v := m[k].(type) {
		case string:
			parts = append(parts, v)
		case json.Number:
			parts = append(parts, v.String())
		}
		if len(parts) == 2 {
			break
		}
	}
	return strings.Join(parts, " ")
}
