package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/assay-hw/assay"
)

// JSON writes the result in its interchange format, assay.result/v1. Equal
// results give equal bytes.
func JSON(w io.Writer, r *assay.Result) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
