package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// Words are the fixed texts of reports in another language, by the English text, as
// gettext has it. What is not in it is written in English. What a finding says of its
// own case (why, wanted, found) is made for each case and is English.
type Words map[string]string

// Say returns a text in the language of the words.
func (w Words) Say(english string) string {
	if t, ok := w[english]; ok && t != "" {
		return t
	}
	return english
}

// spoken are the fixed texts of reports for people. A test holds them against the code.
var spoken = []string{
	"Verdict: %s. %s.", "Assurance %s: %s", "End of the report. Verdict: %s.",
	"Places to look at: %d.", "Place %d: %s. %s.",
	"Incidents: %d.", "Incident %d, %s, code %s: %s.", "Incident %d, what happened: %s", "Incident %d, what would disprove it: %s",
	"Findings: %d. Informational ones that are left out: %d.", "Finding %d, %s, code %s: %s. About %s.",
	"Finding %d, place: %s", "Finding %d, wanted: %s", "Finding %d, found: %s", "Finding %d, why: %s", "Finding %d, covered by: %s", "Finding %d, what to do: %s",
	"Required by policy %s: %d. Proved: %d.", "Requirement %s: proved. %s.", "Requirement %s: not proved. %s.", "No more is told",
	"Not checked: %d.", "Not checked %d: %s. Reason: %s.", "not told", "And %d more; the option --all tells them.", "What no evidence here would show: %s.",
	"Class %s: %d declared, %d matched, %d unexpected, %d not observable.", "Device %s: %d declared, %d matched, %d unexpected, %d not observable.",
	"Measured boot: %s.", "Verifiable: %s.", "Inspection: %s.", "Manifest %s version %d: %s. Signed by %s.", "nobody", "Evidence: SHA-256 %s, collected %s.", "at an unknown time",
	"Everything that the policy requires was proved, and nothing contradicts the manifest.",
	"Nothing proves a difference that fails the machine, but %s should be looked at by a person.",
	"Nothing contradicts the manifest, but the policy requires what was not proved: %s.",
	"The machine or its manifest is not as it should be: %s.",
	"pass", "fail", "review", "inconclusive", "info", "low", "medium", "high", "critical",
	"Where to look", "Incidents", "Findings", "Coverage", "Inspections", "No evidence here would show (LM-001)", "Required by policy %s", "Not checked (%d)",
	"%d informational findings are not shown; --all or --format json has them.", "... and %d more; --all or --format json has them.",
	"want", "got", "why", "do", "covered by", "would disprove it", "proved", "NOT PROVED", "measured boot", "verifiable",
	"severity", "means", "disproof", "%s by default; rules and policies may set another",
	"Look at %s: %s", "and at %d more places, named above", "To be looked at by hand: no bus shows these", "inspected by", "date", "Result %s",
	"Board    [ok] as expected or not compared   [! ] look   [!!] open this one   [  ] empty", "Processors", "Memory", "Slots", "Other places", "unnamed",
	"class", "declared", "matched", "unexpected", "not observable", "%d declared parts were shown by inspection alone; %d are left.",
	"manifest", "evidence", "policy", "%s version %d, %s, signed by %s", "sha256:%s collected %s", "no findings above low", "%s finding", "%s findings",
	"Would disprove it: %s", "Inputs", "Not checked", "code", "subject", "place", "what", "reason", "yes", "NO",
	// Pages. "en" is the language, as HTML has it (BCP 47).
	"en", "Board", "Map of the board", "empty", "a part", "To be looked at by hand", "None.", "none", "%s +%d, %d bytes", "Required by the policy",
	"No evidence here would show", "Expected changes and notes", "collected %s", "at",
}

// Messages is the catalogue: the fixed texts of all reports for people and those of the
// codes, each once, with its translation where words has one and "" where it has none.
func Messages(words Words) Words {
	out := Words{}
	add := func(texts ...string) {
		for _, t := range texts {
			if t != "" {
				out[t] = words[t]
			}
		}
	}
	add(spoken...)
	for _, e := range finding.Catalogue() {
		add(e.Title, e.Meaning, e.Action, e.Disproof)
	}
	return out
}

// maxWords bounds a file of translations.
const maxWords = 4 << 20

var verb = regexp.MustCompile(`%(\[\d+\])?[a-z%]`)

// ReadWords reads a catalogue with translations, as Messages writes it: one JSON
// object. A text that the catalogue has not, and a translation that has other values in
// it than the text or another order of them, are errors: they would show nonsense.
func ReadWords(r io.Reader) (Words, error) {
	var w Words
	dec := json.NewDecoder(io.LimitReader(r, maxWords))
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("messages: more than one JSON object")
	}
	known := Messages(nil)
	for english, text := range w {
		if _, ok := known[english]; !ok {
			return nil, fmt.Errorf("messages: %.60q is not in the catalogue", english)
		}
		if text != "" && (!slices.Equal(verb.FindAllString(english, -1), verb.FindAllString(text, -1)) || strings.Contains(verb.ReplaceAllString(text, ""), "%")) {
			return nil, fmt.Errorf("messages: the translation of %.60q has other values in it: want %v in this order", english, verb.FindAllString(english, -1))
		}
	}
	return w, nil
}
