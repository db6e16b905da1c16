package platformcert

// Difference matches the parts of a build with those of a device one to one, and
// returns what is left of each: what is declared and not there, and what is there
// and not declared. A class that one side does not give fits any, and so do a serial
// number and a revision: how many of the pairs are alike in everything that both
// say, and no more, is what it proves.
func (b *Build) Difference(observed []Component) (missing, unexpected []Component) {
	declared := b.Components
	usedD, usedO := make([]bool, len(declared)), make([]bool, len(observed))
	for _, fit := range []func(a, b *Component) bool{sameInAll, sameInSaid} {
		for i := range declared {
			for j := range observed {
				if !usedD[i] && !usedO[j] && fit(&declared[i], &observed[j]) {
					usedD[i], usedO[j] = true, true
				}
			}
		}
	}
	for i, used := range usedD {
		if !used {
			missing = append(missing, declared[i])
		}
	}
	for j, used := range usedO {
		if !used {
			unexpected = append(unexpected, observed[j])
		}
	}
	return missing, unexpected
}

func sameInAll(a, b *Component) bool {
	return a.sameModel(b) && a.serialKey() == b.serialKey() && a.keys().revision == b.keys().revision
}

func sameInSaid(a, b *Component) bool {
	if !a.sameModel(b) {
		return false
	}
	s, r := a.serialKey(), said(a.Revision)
	t, q := b.serialKey(), said(b.Revision)
	return (s == "" || t == "" || s == t) && (r == "" || q == "" || r == q)
}
