package redfish

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"
)

// links lists the local resources that a document names with @odata.id, in
// the order of its text. This is all that the collector looks at in it.
func links(doc []byte) []string {
	var out []string
	dec := json.NewDecoder(bytes.NewReader(doc))
	isLink := false
	for {
		tok, err := dec.Token()
		if err != nil {
			return out
		}
		s, ok := tok.(string)
		if ok && isLink {
			if l, good := local(s); good {
				out = append(out, l)
			}
		}
		isLink = ok && !isLink && s == "@odata.id"
	}
}

// local accepts a plain path below the service root. Fragments name a part of
// a resource that is read anyhow.
func local(s string) (string, bool) {
	s, _, _ = strings.Cut(s, "#")
	s = strings.TrimSuffix(s, "/")
	if len(s) > 512 || s != path.Clean(s) || !strings.HasPrefix(s, rootPath+"/") || strings.ContainsAny(s, "?%\\") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", false
	}
	return s, true
}
