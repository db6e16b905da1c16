package firmware

import (
	"crypto"
	_ "crypto/sha256" // Authenticode digests
	"encoding/hex"
	"slices"

	"github.com/assay-hw/assay/internal/authenticode"
)

// compared makes the digests that comparisons need: those of modules, and of all
// that modules are in.
func compared(ls []Leaf) {
	for i := range ls {
		l := &ls[i]
		l.pay()
		if !l.Module() {
			compared(l.Inside)
		}
	}
}

// withDigests returns the leaves with every digest. Those that were given out
// before stay as they are.
func withDigests(ls []Leaf) []Leaf {
	ls = slices.Clone(ls)
	for i := range ls {
		l := &ls[i]
		l.pay()
		if l.program != nil {
			if sum, err := authenticode.Digest(l.program, crypto.SHA256); err == nil {
				l.Authenticode = hex.EncodeToString(sum)
			}
		}
		l.Inside = withDigests(l.Inside)
	}
	return ls
}

// pay makes the digest of a leaf when it is owed.
func (l *Leaf) pay() {
	if l.owed {
		l.SHA256, l.owed = digest(l.content), false
	}
}
