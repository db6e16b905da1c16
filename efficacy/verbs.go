package efficacy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// verb is one word of the language of steps.
type verb struct {
	in   string // the sections it may stand in: b(ase), g(olden), c(hange)
	args int    // least number of arguments
	more bool   // and any number beyond
	use  string // for the documentation
	do   func(s *scene, args []string) error
}

// verbs is the whole language. It is closed: what a vector does to a machine is
// done by code that is read once, here and in the files beside.
func verbs() map[string]verb {
	out := map[string]verb{}
	for _, t := range []map[string]verb{fileVerbs(), partVerbs(), firmwareVerbs(), logVerbs(), tpmVerbs(), goldenVerbs(), signerVerbs(), sceneVerbs()} {
		maps.Copy(out, t)
	}
	return out
}

// Language documents the steps, one line a verb, sorted.
func Language() []string {
	var out []string
	all := verbs()
	for _, n := range slices.Sorted(maps.Keys(all)) {
		out = append(out, fmt.Sprintf("- `%s`", strings.TrimSpace(n+" "+all[n].use)))
	}
	return out
}

// checkStep reports a verb that does not exist, does not belong, or lacks
// arguments.
func checkStep(section string, words []string) error {
	v, ok := verbs()[words[0]]
	switch n := len(words) - 1; {
	case !ok:
		return fmt.Errorf("unknown verb %q", words[0])
	case !strings.Contains(v.in, section[:1]):
		return fmt.Errorf("%s does not belong into section %s", words[0], section)
	case n < v.args || n > v.args && !v.more:
		return fmt.Errorf("usage: %s %s", words[0], v.use)
	}
	return nil
}
