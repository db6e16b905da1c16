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
	Action   string
	Attack   []string // MITRE ATT&CK techniques
}

// Explained is an entry with what the code means, for people who ask.
type Explained struct {
	Entry
	Meaning string
	EMB3D   []string // MITRE EMB3D threats

	// Disproof says what would show that a finding of the code is wrong or harmless: the
	// first thing to try before anybody is accused.
	Disproof string
}

// Lookup returns the catalogue's entry for a code.
func Lookup(c Code) (Entry, bool) {
	i, ok := byCode[c]
	if !ok {
		return Entry{Code: c, Title: string(c)}, false
	}
	return catalogue[i], true
}

// Explain returns the catalogue's entry for a code, with its meaning.
func Explain(c Code) (Explained, bool) {
	e, ok := Lookup(c)
	x := Explained{Entry: e, Disproof: disproofs[c]}
	if c.Incident() {
		x.Meaning, x.Disproof = incidentMeaning, incidentDisproof
	}
	if i := slices.IndexFunc(details, func(d detail) bool { return d.code == c }); i >= 0 {
		x.Meaning, x.EMB3D = details[i].meaning, details[i].emb3d
	}
	return x, ok
}

// Catalogue returns all entries: findings by domain, then incidents.
func Catalogue() []Explained {
	out := make([]Explained, 0, len(catalogue))
	for _, e := range catalogue {
		x, _ := Explain(e.Code)
		out = append(out, x)
	}
	return out
}

// Incident reports whether a code names an incident.
func (c Code) Incident() bool { return strings.HasPrefix(string(c), "IC-") }

// catalogue is a table in two parts: what the machine is made of, and what
// vouches for it.
var catalogue = slices.Concat(machineCodes, trustCodes)

// byCode is where an entry stands in the catalogue.
var byCode = func() map[Code]int {
	m := make(map[Code]int, len(catalogue))
	for i := range catalogue {
		m[catalogue[i].Code] = i
	}
	return m
}()

const incidentAction = "Follow the incident's narrative and try its disproof step first."
