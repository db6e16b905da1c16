package firmware

import (
	"fmt"
	"slices"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/capsule"
)

// typeSignature is the type of a leaf that signs others.
const typeSignature = "signature"

// signature verifies what signs a payload of a capsule: the firmware and the
// counter behind it (UEFI 2.10, 23.1.2). It shows that the payload is the one
// that the named signer signed; whether that signer may sign firmware is known
// to the platform alone.
func (o *opener) signature(l *Leaf) {
	p7, counter, ok := capsule.Signature(l.content)
	i := slices.IndexFunc(o.decoders, func(d Decoder) bool { return d.Verify != nil })
	if !ok || i < 0 || !o.spend(l.Path, len(l.signed)) {
		l.Name += ", not checked"
		return
	}
	signer, wrong, err := o.decoders[i].Verify(p7, slices.Concat(l.signed, counter))
	switch {
	case err != nil:
		l.Name += ", not checked"
		o.problem(finding.BytesNotUnderstood, l.Path, "a signature that can be verified", fmt.Sprintf("%d bytes", len(p7)), plainName(err.Error()))
	case wrong != "":
		l.Name += ", does not hold"
		o.problem(finding.VendorSignatureInvalid, l.Path, "a signature over the payload", "another", "the signature in the capsule is not one over its payload: "+plainName(wrong))
	default:
		l.Name += " by " + plainName(signer) + ", holds; trust in the signer is not checked"
	}
}
