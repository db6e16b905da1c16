package redfish

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
)

// dir is where evidence keeps what controllers tell.
const dir = "redfish"

// Alone reports whether a bundle holds what controllers tell, and nothing that the
// machine itself tells.
func Alone(b *evidence.Bundle) bool {
	found := false
	for _, a := range b.Artifacts() {
		switch {
		case !b.Has(a.Path):
		case strings.HasPrefix(a.Path, dir+"/"):
			found = true
		default:
			return false
		}
	}
	return found
}

// Inventory makes parts of what a controller tells in a bundle of one system, as
// Tree.Inventory does.
func Inventory(b *evidence.Bundle, system string) (*bom.Inventory, error) {
	files, err := fs.Sub(b.FS(), dir)
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	t, err := Read("evidence", files)
	if err != nil {
		return nil, err
	}
	inv, _, err := t.Inventory(system)
	return inv, err
}
