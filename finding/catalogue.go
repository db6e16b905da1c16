package finding

import (
	"slices"
	"strings"
)

// Entry is what the catalogue knows about a code.
type Entry struct {
	Code     Code
	Name     string
	Severity Severity // default; a rule or a policy may set another
	Claim    Claim
	Title    string
	Meaning  string
	Action   string
	Attack   []string // MITRE ATT&CK techniques
	EMB3D    []string // MITRE EMB3D threats
}

// Lookup returns the catalogue's entry for a code.
func Lookup(c Code) (Entry, bool) {
	i := slices.IndexFunc(catalogue, func(e Entry) bool { return e.Code == c })
	if i < 0 {
		return Entry{Code: c, Title: string(c)}, false
	}
	return catalogue[i], true
}

// Catalogue returns all entries: findings by domain, then incidents.
func Catalogue() []Entry { return slices.Clone(catalogue) }

// Incident reports whether a code names an incident.
func (c Code) Incident() bool { return strings.HasPrefix(string(c), "IC-") }

// catalogue is a table in two parts: what the machine is made of, and what
// vouches for it.
var catalogue = slices.Concat(machineCodes, trustCodes)

const (
	incidentMeaning = "Several findings that tell one story; the incident's narrative says which, and its disproof says what would refute it."
	incidentAction  = "Follow the incident's narrative and try its disproof step first."
)
